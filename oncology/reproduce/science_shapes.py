"""Rows of the catalogue's second half: flows, p-Laplace, moving curves, surfaces, controls and energies.

The same refinement study as in the first half, two coefficients found from noisy data, and the two problems of the
calculus of variations with known optima.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from oncology.nodes.depth import DepthGrid
from oncology.nodes.scheme import MIDPOINT
from oncology.reproduce.science_direct import Direct, column
from oncology.reproduce.science_inverse import Inverse
from oncology.science.equation import Coefficients, Equation
from oncology.science.equations import area_flows, graphs
from oncology.science.equations import navier_stokes as flow
from oncology.science.exponential import ETDRK2
from oncology.science.forms import Clocked
from oncology.science.grid import interval
from oncology.science.node import ScienceNODE
from oncology.science.runge_kutta import BACKWARD_EULER, SDIRK2, explicit
from oncology.science.stepper import Stepper
from oncology.science.variational import brachistochrone as fall
from oncology.science.variational import mumford_shah as crack

__all__ = ["DIRECT_SHAPES", "INVERSE_SHAPES", "brachistochrone_errors", "crack_energies"]

type Exact = Callable[[Tensor, float], Tensor]

WIND = (1.0, 0.5)
END = torch.tensor([[1.0, math.sqrt(1.2)]], dtype=torch.float64)
"""State (x, sqrt y) at the brachistochrone's end point, m."""


def _zeros(size: int) -> Tensor:
    return torch.zeros(size, dtype=torch.float64)


def _error(
    equation: Equation, q: Coefficients, start: Tensor, exact: Tensor, time: float, steps: int, stepper: Stepper
) -> float:
    final = ScienceNODE(equation, DepthGrid(time, steps), stepper).run(q, start).final
    return float((final - exact).norm() / exact.norm())


def _taylor_green(level: int) -> float:
    equation = flow.NavierStokes(flow.torus(8, 2))
    start, exact = (flow.taylor_green(equation.grid, time, 0.1, 1, WIND) for time in (0.0, 1.0))
    return _error(equation, (column(0.1), _zeros(equation.size)), start, exact, 1.0, 10 * level, ETDRK2)


def _beltrami(level: int) -> float:
    equation, wind = flow.NavierStokes(flow.torus(6, 3)), (*WIND, -0.3)
    start, exact = (flow.beltrami(equation.grid, time, 0.1, wind=wind) for time in (0.0, 1.0))
    return _error(equation, (column(0.1), _zeros(equation.size)), start, exact, 1.0, 10 * level, ETDRK2)


def _vortex(level: int) -> float:
    equation = flow.NavierStokes(flow.torus(32, 2, 12.0))
    start, exact = (flow.lamb_oseen(equation, time, 0.1, 1.0, 2.0, WIND) for time in (0.0, 2.0))
    return _error(equation, (column(0.1), _zeros(equation.size)), start, exact, 2.0, 10 * level, ETDRK2)


def _cycloid(level: int) -> float:
    """The exact weights of the brachistochrone, linear in depth, lead to its end point (1, 1.2) m."""
    angle = fall.cycloid_angle(1.0, 1.2)
    radius = 1.2 / (1.0 - math.cos(angle))
    depth = DepthGrid(angle * math.sqrt(radius / 9.81), 5 * level, "linear")
    weights = (0.5 * math.pi - 0.5 * angle * depth.times / depth.length)[:, None]
    run = ScienceNODE(fall.Slide(), depth, explicit(MIDPOINT)).run((column(9.81), weights), torch.zeros_like(END))
    return float((run.final - END).norm() / END.norm())


def _curve(flux: graphs.Flux, half: float, slope: float, exact: Exact) -> Callable[[int], float]:
    def error(level: int) -> float:
        grid = interval(-half, half, 20 * level)
        x = grid.points[:, 0]
        equation = graphs.GraphFlow(grid, flux, slopes=(-slope, slope))
        return _error(equation, (_zeros(grid.size),), exact(x, 0.0), exact(x, 1.0), 1.0, 10 * level, SDIRK2)

    return error


def _torsion(level: int) -> float:
    grid = interval(0.0, 1.0, 20 * level, "fixed")
    r = grid.points[:, 0]
    equation = graphs.GraphFlow(grid, graphs.PowerFlux(5e-5 / level), 2, (0.0, None))
    q = (column(3.0), torch.ones(grid.size, dtype=torch.float64))
    return _error(equation, q, 0.3 * (1.0 - r**2)[None], graphs.torsion(r, 3.0, 1.0, 2), 1e4, 12, BACKWARD_EULER)


def _disc(level: int) -> float:
    """One step of backward Euler is the least total variation; what is left is the softness of the modulus."""
    grid = interval(0.0, 2.0, 40)
    r = grid.points[:, 0]
    equation = graphs.GraphFlow(grid, graphs.PowerFlux(4e-3 / level), 2, (0.0, 0.0))
    start, exact = (r < 1.0).double()[None], graphs.smoothed_disc(r, 0.2, 1.0, 2.0)
    return _error(equation, (column(1.0), _zeros(grid.size)), start, exact, 0.2, 1, BACKWARD_EULER)


def _barenblatt(level: int) -> float:
    grid = interval(0.0, 5.0, 40 * level)
    r = grid.points[:, 0]
    equation = graphs.GraphFlow(grid, graphs.PowerFlux(2.5e-4 / level), 1, (0.0, 0.0))
    start, exact = (graphs.barenblatt(r, time, 3.0, 1) for time in (0.2, 1.2))
    return _error(equation, (column(3.0), _zeros(grid.size)), start, exact, 1.0, 40 * level, SDIRK2)


def _scherk(level: int) -> float:
    cells = 8 * level
    exact = area_flows.scherk(1.0, cells)
    equation = area_flows.AreaFlow(1.0, cells, exact)
    inside = exact[1:-1, 1:-1].reshape(1, -1)
    return _error(equation, (column(1.0),), _zeros(equation.size)[None], inside, 1e3, 8, BACKWARD_EULER)


def _catenoid(level: int) -> float:
    ring, tube = 0.8 * math.cosh(0.5 / 0.8), area_flows.RevolutionFlow(0.5, 10 * level)
    start = torch.full((1, tube.size), ring, dtype=torch.float64)
    exact = area_flows.catenoid(tube.points, 0.8).reshape(1, -1)
    return _error(tube, (column(ring),), start, exact, 1e3, 10, BACKWARD_EULER)


def _arc(x: Tensor, time: float) -> Tensor:
    return graphs.length_flow_arc(x, time, 1.0)


DIRECT_SHAPES = (
    Direct("N1", "Navier-Stokes: Taylor-Green in a wind, 2-D", 2.0, (1, 2, 4), _taylor_green),
    Direct("N2", "Navier-Stokes: Beltrami flow in a wind, 3-D", 2.0, (1, 2, 4), _beltrami),
    Direct("N3", "Navier-Stokes: vortex of Lamb and Oseen in a wind", 2.0, (1, 2, 4), _vortex),
    Direct("P1", "p-Laplace, p = 3: torsion of a disc", 2.0, (1, 2, 4), _torsion),
    Direct("P2", "p-Laplace, p = 3: Barenblatt, not smooth at its front", 2.0, (1, 2, 4), _barenblatt),
    Direct("ROF", "total variation of a disc, by softness", 1.0, (1, 2, 4), _disc),
    Direct("S1 Scherk", "minimal surface over a square", 2.0, (1, 2, 4), _scherk),
    Direct("S1 catenoid", "minimal surface between rings", 2.0, (1, 2, 4), _catenoid),
    Direct(
        "S2",
        "curve shortening: grim reaper",
        2.0,
        (1, 2, 4),
        _curve(graphs.CURVE_SHORTENING, 1.2, math.tan(1.2), graphs.grim_reaper),
    ),
    Direct("S3", "area flow of graphs: arc", 2.0, (1, 2, 4), _curve(graphs.LENGTH_FLOW, 0.8, 0.8 / 0.6, _arc)),
    Direct("V1", "brachistochrone: the exact weights forward", 2.0, (1, 2, 4), _cycloid),
)


def _viscosity() -> Inverse:
    equation = flow.NavierStokes(flow.torus(8, 2))

    def exact(time: float) -> Tensor:
        return flow.taylor_green(equation.grid, time, 0.1, 1, WIND)

    known = {"force": _zeros(equation.size)}
    return Inverse(
        "N1", "Navier-Stokes: viscosity", (0.1,), 2.0, ("viscosity",), equation, exact, known, (1.0,), 20, ETDRK2
    )


def _abc_viscosity() -> Inverse:
    equation = flow.NavierStokes(flow.torus(6, 3))

    def exact(time: float) -> Tensor:
        return flow.beltrami(equation.grid, time, 0.1, wind=(*WIND, -0.3))

    known, names = {"force": _zeros(equation.size)}, ("viscosity",)
    return Inverse("N2", "Beltrami flow: viscosity", (0.1,), 2.0, names, equation, exact, known, (1.0,), 10, ETDRK2)


def _vortex_viscosity() -> Inverse:
    equation = flow.NavierStokes(flow.torus(32, 2, 12.0))

    def exact(time: float) -> Tensor:
        return flow.lamb_oseen(equation, time, 0.1, 1.0, 2.0)

    known, names = {"force": _zeros(equation.size)}, ("viscosity",)
    return Inverse("N3", "Lamb-Oseen: viscosity", (0.1,), 2.0, names, equation, exact, known, (2.0,), 10, ETDRK2)


def _torsion_exponent() -> Inverse:
    grid = interval(0.0, 1.0, 60, "fixed")
    r = grid.points[:, 0]
    equation = graphs.GraphFlow(grid, graphs.PowerFlux(1e-4), 2, (0.0, None))

    def exact(time: float) -> Tensor:
        return graphs.torsion(r, 3.0, 1.0, 2) if time else 0.3 * (1.0 - r**2)[None]

    names, load = ("exponent", "source"), {"source": torch.ones(60, dtype=torch.float64)}
    return Inverse(
        "P1", "torsion: exponent, load", (3.0, 1.0), 0.9, names, equation, exact, {}, (1e4,), 12, BACKWARD_EULER, load
    )


def _exponent() -> Inverse:
    grid = interval(0.0, 5.0, 60)
    equation = graphs.GraphFlow(grid, graphs.PowerFlux(1e-4), 1, (0.0, 0.0))

    def exact(time: float) -> Tensor:
        return graphs.barenblatt(grid.points[:, 0], 0.2 + time, 3.0, 1)

    known = {"source": _zeros(grid.size)}
    return Inverse("P2", "p-Laplace: exponent", (3.0,), 0.85, ("exponent",), equation, exact, known, (1.0,), 20, SDIRK2)


def _smoothing() -> Inverse:
    """Of a disc by total variation: the weight is the length of the step, sought as a duration."""
    grid = interval(0.0, 2.0, 40)
    r = grid.points[:, 0]
    equation = Clocked(graphs.GraphFlow(grid, graphs.PowerFlux(1e-3), 2, (0.0, 0.0)))
    smooth, disc = graphs.smoothed_disc(r, 0.2, 1.0, 2.0), (r < 1.0).double()[None]
    known, names = {"exponent": column(1.0), "source": _zeros(grid.size)}, ("duration",)
    return Inverse(
        "ROF",
        "total variation: weight",
        (0.2,),
        1.5,
        names,
        equation,
        lambda time: smooth if time else disc,
        known,
        (1.0,),
        1,
        BACKWARD_EULER,
    )


def _height() -> Inverse:
    frame = area_flows.scherk(1.0, 16)
    inside, equation = frame[1:-1, 1:-1].reshape(1, -1), area_flows.AreaFlow(1.0, 16, frame)

    def exact(time: float) -> Tensor:
        return inside if time else torch.zeros_like(inside)

    names = ("height",)
    return Inverse("S1 Scherk", "boundary's height", (1.0,), 1.5, names, equation, exact, {}, (1e3,), 8, BACKWARD_EULER)


def _ring() -> Inverse:
    ring, tube = 0.8 * math.cosh(0.5 / 0.8), area_flows.RevolutionFlow(0.5, 20)
    neck = area_flows.catenoid(tube.points, 0.8)

    def exact(time: float) -> Tensor:
        return neck if time else torch.full_like(neck, ring)

    names = ("ring",)
    return Inverse(
        "S1 catenoid", "radius of the rings", (ring,), 1.15, names, tube, exact, {}, (3.0,), 60, BACKWARD_EULER
    )


def _mobility(
    name: str, title: str, function: Callable[[Tensor], Tensor], half: float, slope: float, exact: Exact
) -> Inverse:
    grid = interval(-half, half, 40)
    equation = graphs.GraphFlow(grid, graphs.SlopeFlux(function, graphs.MOBILITY), slopes=(-slope, slope))

    def moved(time: float) -> Tensor:
        return exact(grid.points[:, 0], 0.7 * time)

    known, names = {"source": _zeros(grid.size)}, ("mobility",)
    return Inverse(name, f"{title}: mobility", (0.7,), 2.0, names, equation, moved, known, (1.0,), 10, SDIRK2)


def _gravity() -> Inverse:
    """From positions of the bead at every cell of depth, with the midpoints of the exact weights."""
    angle = fall.cycloid_angle(1.0, 1.2)
    radius, cells = 1.2 / (1.0 - math.cos(angle)), 20
    duration = angle * math.sqrt(radius / 9.81)
    depth = DepthGrid(duration, cells)
    known = {"angle": (0.5 * math.pi - 0.5 * angle * depth.times / duration)[:, None]}

    def exact(time: float) -> Tensor:
        return fall.cycloid(angle * time / duration, radius)

    times, names = tuple(float(depth.step * (i + 1)) for i in range(cells)), ("gravity",)
    stepper = explicit(MIDPOINT)
    return Inverse("V1", "cycloid: gravity", (9.81,), 2.0, names, fall.Slide(), exact, known, times, cells, stepper)


def _smoothness() -> Inverse:
    """From the smoothed image where cracks are so dear that there is none."""
    grid = interval(-1.0, 1.0, 60)
    x = grid.points[:, 0]
    equation = crack.AmbrosioTortorelli(grid, 0.5 * torch.sign(x), 0.1)
    whole = torch.ones_like(x)
    found = torch.cat([crack.uncracked_image(x, 1.0, 1.0, 0.1), whole])[None]
    start = torch.cat([torch.zeros_like(x), whole])[None]
    known, names = {"alpha": column(1.0), "gamma": column(1e4)}, ("beta",)
    return Inverse(
        "AT",
        "Ambrosio-Tortorelli: smoothness",
        (0.1,),
        2.0,
        names,
        equation,
        lambda time: found if time else start,
        known,
        (1e3,),
        4,
        BACKWARD_EULER,
        seen=torch.arange(grid.size),
    )


INVERSE_SHAPES = (
    _viscosity(),
    _abc_viscosity(),
    _vortex_viscosity(),
    _torsion_exponent(),
    _exponent(),
    _smoothing(),
    _height(),
    _ring(),
    _mobility("S2", "curve shortening", torch.atan, 1.2, math.tan(1.2), graphs.grim_reaper),
    _mobility("S3", "area flow of graphs", graphs.LENGTH_FLOW.function, 0.8, 0.8 / 0.6, _arc),
    _gravity(),
    _smoothness(),
)


def brachistochrone_errors() -> Iterator[tuple[int, float, float]]:
    """V1: cells, error of the time of descent (s) and of the path's angle (rad), from (0, 0) to (1, 1.2) m."""
    angle = fall.cycloid_angle(1.0, 1.2)
    time = angle * math.sqrt(1.2 / (1.0 - math.cos(angle)) / 9.81)
    for cells in (10, 20, 40):
        found = fall.descend_by_programming(fall.Brachistochrone(1.0, 1.2, cells, 9.81))
        depth = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
        wrong = (found.angles - (0.5 * math.pi - 0.5 * angle * depth)).abs().max()
        yield cells, found.time - time, float(wrong)


def crack_energies() -> Iterator[tuple[float, float, float, float]]:
    """Ambrosio-Tortorelli: width, gamma over its threshold, energies without and with a crack over the threshold."""
    bound = crack.uncracked_energy(1.0, 1.0, 0.1)
    for width in (0.02, 0.01, 0.005):
        grid = interval(-1.0, 1.0, round(10.0 / width))
        x = grid.points[:, 0]
        image = torch.where(x > 0, 0.5, -0.5).double()
        equation = crack.AmbrosioTortorelli(grid, image, width)
        for share in (0.8, 0.9, 1.1, 1.2):
            q = (column(1.0), column(0.1), column(share * bound))
            starts = (torch.cat([0.0 * image, torch.ones_like(x)]), torch.cat([image, crack.crack_profile(x, width)]))
            whole, split = (float(equation.energy(crack.alternate(equation, s, q), q)) / bound for s in starts)
            yield width, share, whole, split
