"""What data cannot see: exact non-identifiabilities, found from singular values before any fit.

(i) to (iv) are of a coefficient in depth, of growth and amplitude, of the duration and of a front; the others of
stationary states, of a translating curve and of a bead on a wire. Each function returns the report of a problem whose
hidden direction is known in closed form.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from oncology.nodes.depth import DepthGrid
from oncology.nodes.scheme import MIDPOINT, RK4
from oncology.optimise import euclidean
from oncology.reproduce.science_direct import column
from oncology.science.equation_problem import EquationProblem
from oncology.science.equations import advection, graphs, heat
from oncology.science.equations import reaction_diffusion as growth
from oncology.science.estimation import Identifiability, identifiability
from oncology.science.exponential import ETDRK2
from oncology.science.forms import Clocked
from oncology.science.grid import interval
from oncology.science.node import ScienceNODE
from oncology.science.observe import Everywhere, FrontPosition, Measurement
from oncology.science.runge_kutta import BACKWARD_EULER, SDIRK2, explicit
from oncology.science.unknowns import Unknown, amplitude, in_depth, number
from oncology.science.variational import brachistochrone as fall
from oncology.science.variational import mumford_shah as crack

__all__ = [
    "SYMMETRIES",
    "clock",
    "driven_curve",
    "front_directions",
    "growth_or_amplitude",
    "integral_of_conductivity",
    "layered_rod",
    "segmentation",
    "slide",
    "stationary_layer",
]


def integral_of_conductivity() -> Identifiability:
    """(i) One mode of the heat equation at time T sees the integral of the conductivity in time only."""
    grid, depth = interval(0.0, 1.0, 16), DepthGrid(1.0, 4)
    wave = heat.cosine_mode(grid.points, 1.0, 1)
    model = ScienceNODE(heat.Heat(grid), depth, ETDRK2)
    unknown = in_depth("conductivity", torch.full((4, 1), 0.1, dtype=torch.float64), depth)
    known = {"source": torch.zeros(16, dtype=torch.float64), "initial": wave}
    return identifiability(
        EquationProblem(model, (unknown,), known, (Measurement(4, Everywhere(), wave, grid.weights),))
    )


def growth_or_amplitude(days: float = 10.0) -> Identifiability:
    """(ii) Exponential growth: the start's amplitude c and the proliferation `rho - ln c / T` look the same at T."""
    grid = interval(-15.0, 15.0, 60)
    start = growth.exponential_kernel(grid.points, 0.0, 0.5, 0.1, 4.0)
    model = ScienceNODE(growth.ReactionDiffusion(grid, growth.ExponentialLaw()), DepthGrid(days, 100), explicit(RK4))
    unknowns = (
        number("diffusion", 0.5),
        number("proliferation", 0.1, 0.1, logarithmic=False),
        amplitude("initial", start),
    )
    data = growth.exponential_kernel(grid.points, days, 0.5, 0.1, 4.0)
    measurement = Measurement(model.count, Everywhere(), data, grid.weights)
    return identifiability(EquationProblem(model, unknowns, {}, (measurement,)))


def clock() -> Identifiability:
    """(iii) Unknown duration: (D, rho, T) and (D / c, rho / c, c T) look the same."""
    grid = interval(-30.0, 30.0, 60)

    def exact(t: float) -> Tensor:
        return growth.power_wave(grid.points[:, 0], t, 0.5, 0.1)

    model = ScienceNODE(Clocked(growth.ReactionDiffusion(grid)), DepthGrid(1.0, 20), SDIRK2)
    unknowns = (number("diffusion", 0.5), number("proliferation", 0.1), number("duration", 20.0))
    data = tuple(Measurement(model.at(t), Everywhere(), exact(20.0 * t), grid.weights) for t in (0.5, 1.0))
    return identifiability(EquationProblem(model, unknowns, {"initial": exact(0.0)}, data))


def front_directions(days: float = 150.0, diffusion: float = 0.5, rho: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """(iv) What a front tells of (ln D, ln rho): gradients of ln speed and of ln width, each (2,).

    A developed front moves at the speed 2 sqrt(rho D), whose gradient is (1/2, 1/2): one level set at two times sees
    the product. Its width between two levels at one time scales as sqrt(D / rho), with gradient (1/2, -1/2).

    Args:
        days: duration; positions are taken at half of it and at its end.
        diffusion: D, mm^2/day.
        rho: proliferation, 1/day.
    """
    grid = interval(0.0, 120.0, 240)
    x = grid.points[:, 0]
    start = torch.sigmoid(-2.0 * (x - 10.0))[None]
    model = ScienceNODE(growth.ReactionDiffusion(grid), DepthGrid(days, 300), ETDRK2)
    one, zero = column(1.0), torch.zeros(1, 1, dtype=torch.float64)
    data = tuple(
        Measurement(step, FrontPosition(x, threshold), zero, one)
        for step, threshold in ((150, 0.3), (300, 0.3), (300, 0.1), (300, 0.7))
    )
    unknowns = (number("diffusion", diffusion), number("proliferation", rho))
    here = EquationProblem(model, unknowns, {"initial": start}, data)
    evaluation = here.evaluate(here.start)
    positions, rows = torch.cat(evaluation.residuals)[:, 0].numpy(), evaluation.jacobian()
    speed, width = positions[1] - positions[0], positions[2] - positions[3]
    return (rows[1] - rows[0]) / speed, (rows[2] - rows[3]) / width


def stationary_layer() -> Identifiability:
    """(v) A stationary boundary layer: (v, D) and (c v, c D) look the same."""
    grid = interval(0.0, 1.0, 40, "fixed", (0.0, 1.0))
    x = grid.points[:, 0]
    model = ScienceNODE(advection.Advection(grid, advection.winds(grid)), DepthGrid(1e9, 1), BACKWARD_EULER)
    data = (Measurement(1, Everywhere(), advection.boundary_layer(x, 10.0), grid.weights),)
    unknowns = (number("velocity", 1.0), number("diffusion", 0.1))
    return identifiability(EquationProblem(model, unknowns, {"decay": column(0.0), "initial": x[None]}, data))


def layered_rod(peak: float = 1.2) -> Identifiability:
    """(vi) A rod at rest between fixed walls, with flux c - x: ln kappa and ln kappa + e / (c - x) look the same.

    Args:
        peak: c; the symmetry needs it outside of (0, 1), else the flux turns inside the rod and fixes itself.
    """
    wall = heat.rippled_rod(column(1.0), peak, 0.4)[0]
    grid = interval(0.0, 1.0, 24, "fixed", (0.0, float(wall)))
    equation = heat.LayeredHeat(grid)
    temperature, _ = heat.rippled_rod(grid.points[:, 0], peak, 0.4)
    # the conductivity of the faces that the cells' own flux c - x belongs to, so that this state is at rest exactly
    slopes = torch.diff(grid.padded(temperature, 0)) / grid.axes[0].spacing
    conductivity = ((peak - equation.faces) / slopes)[0]
    model = ScienceNODE(equation, DepthGrid(1e9, 1), BACKWARD_EULER)
    unknown = Unknown("conductivity", conductivity, euclidean(), logarithmic=True)
    known = {"source": torch.ones(grid.size, dtype=torch.float64), "initial": temperature}
    data = (Measurement(1, Everywhere(), temperature, grid.weights),)
    return identifiability(EquationProblem(model, (unknown,), known, data))


def driven_curve() -> Identifiability:
    """(vii) A grim reaper that is driven, too: mobility m and driving s move it at m + s."""
    grid = interval(-1.2, 1.2, 40)
    slope = math.tan(1.2)
    equation = graphs.GraphFlow(grid, graphs.SlopeFlux(torch.atan, graphs.MOBILITY), slopes=(-slope, slope))
    force = torch.full((40,), 0.5, dtype=torch.float64)
    # the cells' own translating curve, to which the exact one settles
    start = graphs.grim_reaper(grid.points[:, 0], 0.0)
    settled = ScienceNODE(equation, DepthGrid(20.0, 20), BACKWARD_EULER).run((column(1.0), force), start).final
    unknowns = (number("mobility", 1.0, logarithmic=False), Unknown("source", force, euclidean(), shape=(1,)))
    data = (Measurement(10, Everywhere(), settled + 1.5, grid.weights),)
    model = ScienceNODE(equation, DepthGrid(1.0, 10), SDIRK2)
    return identifiability(EquationProblem(model, unknowns, {"initial": settled}, data))


def slide() -> Identifiability:
    """(viii) A bead on a wire by the fraction of its time: (g, T) and (g / c^2, c T) look the same."""
    angle, cells = fall.cycloid_angle(1.0, 1.2), 10
    depth = DepthGrid(1.0, cells)
    radius = 1.2 / (1.0 - math.cos(angle))
    model = ScienceNODE(Clocked(fall.Slide()), depth, explicit(MIDPOINT))
    unknowns = (number("gravity", 9.81), number("duration", angle * math.sqrt(radius / 9.81)))
    known = {"angle": (0.5 * math.pi - 0.5 * angle * depth.times)[:, None], "initial": fall.cycloid(0.0, radius)}
    data = tuple(
        Measurement(i, Everywhere(), fall.cycloid(angle * i / cells, radius), torch.ones(2, dtype=torch.float64))
        for i in range(1, cells + 1)
    )
    return identifiability(EquationProblem(model, unknowns, known, data))


def segmentation() -> Identifiability:
    """(ix) Minimisers of Ambrosio and Tortorelli: a common factor of all three weights changes nothing."""
    grid = interval(-1.0, 1.0, 40)
    x = grid.points[:, 0]
    equation = crack.AmbrosioTortorelli(grid, 0.5 * torch.sign(x), 0.1)
    start = torch.cat([crack.uncracked_image(x, 1.0, 1.0, 0.1), torch.ones_like(x)])
    model = ScienceNODE(equation, DepthGrid(1e9, 1), BACKWARD_EULER)
    weights = {"alpha": 1.0, "beta": 0.1, "gamma": 0.5}
    rest = crack.alternate(equation, start, tuple(column(value) for value in weights.values()), 1e-14)[None]
    unknowns = tuple(number(name, value) for name, value in weights.items())
    data = (Measurement(1, Everywhere(), rest, equation.weights),)
    return identifiability(EquationProblem(model, unknowns, {"initial": rest}, data))


SYMMETRIES: dict[str, Callable[[], Identifiability]] = {
    "(i) one mode of heat, conductivity in 4 parts of depth": integral_of_conductivity,
    "(ii) exponential growth, amplitude and proliferation": growth_or_amplitude,
    "(iii) unknown duration of Fisher-KPP": clock,
    "(v) stationary boundary layer, velocity and diffusion": stationary_layer,
    "(vi) rod at rest, conductivity of 25 faces": layered_rod,
    "(vii) driven grim reaper, mobility and driving": driven_curve,
    "(viii) bead on a wire, gravity and duration": slide,
    "(ix) minimiser of Ambrosio-Tortorelli, all weights": segmentation,
}
"""Titles and problems; (iv), of fronts, holds in the limit only and has a table of its own."""
