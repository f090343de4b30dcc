"""Direct rows of the catalogue: each equation solved on refined grids and compared with its exact solution.

A case halves cells and time steps together; its error is relative, in L2 (L1 at shocks), and its order is the slope.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from oncology.nodes.depth import DepthGrid
from oncology.nodes.scheme import EULER, RK4
from oncology.science.equation import Coefficients, Equation
from oncology.science.equations import advection, conservation, heat, kinetic
from oncology.science.equations import reaction_diffusion as growth
from oncology.science.exponential import ETDRK2
from oncology.science.grid import interval, square
from oncology.science.node import ScienceNODE
from oncology.science.runge_kutta import BACKWARD_EULER, CRANK_NICOLSON, SDIRK2, explicit
from oncology.science.stepper import Stepper

__all__ = ["DIRECT", "Direct", "DirectRow", "column"]


@dataclass(frozen=True)
class Direct:
    """A direct case.

    Attributes:
        id: number in the catalogue, with a word where there are several.
        title: equation and solution.
        order: expected order of convergence.
        levels: refinements, doubled.
        error: refinement -> relative error.
    """

    id: str
    title: str
    order: float
    levels: tuple[int, ...]
    error: Callable[[int], float]

    def row(self) -> DirectRow:
        """Solve on every level."""
        return DirectRow(self, tuple(self.error(level) for level in self.levels))


@dataclass(frozen=True)
class DirectRow:
    """Errors of a direct case on its levels."""

    case: Direct
    errors: tuple[float, ...]

    @property
    def orders(self) -> tuple[float, ...]:
        """Observed order between each two levels."""
        return tuple(math.log2(coarse / fine) for coarse, fine in pairwise(self.errors))


def column(*values: float) -> Tensor:
    """Coefficients as a vector."""
    return torch.tensor(values, dtype=torch.float64)


def _solved(equation: Equation, q: Coefficients, start: Tensor, time: float, steps: int, stepper: Stepper) -> Tensor:
    return ScienceNODE(equation, DepthGrid(time, steps), stepper).run(q, start).final


def _relative(found: Tensor, exact: Tensor, power: float = 2.0) -> float:
    return float(torch.linalg.vector_norm(found - exact, power) / torch.linalg.vector_norm(exact, power))


def _heat_kernel(level: int) -> float:
    grid = square(-10.0, 10.0, 10 * level)

    def exact(t: float) -> Tensor:
        return heat.heat_kernel(grid.points, t, 0.5, 1.0)

    q = (column(0.5), torch.zeros(grid.size, dtype=torch.float64))
    return _relative(_solved(heat.Heat(grid), q, exact(0.0), 2.0, 1, ETDRK2), exact(2.0))


def _heat_mode(level: int) -> float:
    grid = interval(0.0, 2.0, 8 * level)
    wave = heat.cosine_mode(grid.points, 2.0, 3)
    q = (column(0.1), torch.zeros(grid.size, dtype=torch.float64))
    found = _solved(heat.Heat(grid), q, wave, 1.0, 8 * level, CRANK_NICOLSON)
    return _relative(found, math.exp(-0.1 * heat.mode_rate(3, 2.0)) * wave)


def _wave(
    law: growth.Law, exact: Callable[[Tensor, float], Tensor], q: Coefficients, time: float, stepper: Stepper
) -> Callable[[int], float]:
    def error(level: int) -> float:
        grid = interval(-60.0, 140.0, 100 * level)
        x = grid.points[:, 0]
        equation = growth.ReactionDiffusion(grid, law)
        return _relative(_solved(equation, q, exact(x, 0.0), time, 30 * level, stepper), exact(x, time))

    return error


def _gompertz(level: int) -> float:
    grid = square(-50.0, 50.0, 32 * level)

    def exact(t: float) -> Tensor:
        return growth.gompertz_gaussian(grid.points, t, 0.5, 0.05, 40.0, -0.3)

    equation = growth.ReactionDiffusion(grid, growth.GompertzLaw())
    found = _solved(equation, (column(0.5), column(0.05)), exact(0.0), 10.0, 8 * level, ETDRK2)
    return _relative(found, exact(10.0))


def _exponential(level: int) -> float:
    grid = interval(-15.0, 15.0, 40 * level)

    def exact(t: float) -> Tensor:
        return growth.exponential_kernel(grid.points, t, 0.5, 0.3, 1.0)

    equation = growth.ReactionDiffusion(grid, growth.ExponentialLaw())
    found = _solved(equation, (column(0.5), column(0.3)), exact(0.0), 3.0, 10 * level, CRANK_NICOLSON)
    return _relative(found, exact(3.0))


def _uniform(law: growth.Law, exact: Callable[[float, float, float], float]) -> Callable[[int], float]:
    def error(level: int) -> float:
        grid = interval(0.0, 1.0, 2)
        start, equation = torch.full((1, 2), 0.2, dtype=torch.float64), growth.ReactionDiffusion(grid, law)
        found = _solved(equation, (column(0.5), column(0.3)), start, 5.0, 8 * level, SDIRK2)
        return _relative(found, torch.full_like(start, exact(0.2, 5.0, 0.3)))

    return error


def _carried(level: int) -> float:
    grid, velocity = square(-8.0, 8.0, 24 * level, "periodic"), column(0.8, -0.5)

    def exact(t: float) -> Tensor:
        return advection.carried_kernel(grid.points, t, velocity, 0.2, 0.3, 2.0)

    equation = advection.Advection(grid, advection.winds(grid))
    found = _solved(equation, (velocity, column(0.2), column(0.3)), exact(0.0), 2.0, 16 * level, ETDRK2)
    return _relative(found, exact(2.0))


def _rotated(level: int) -> float:
    grid, centre = square(-8.0, 8.0, 24 * level), column(2.0, 0.0)
    start = heat.heat_kernel(grid.points - centre, 0.0, 0.2, 2.0)
    exact = advection.rotated_kernel(grid.points, 1.5, 0.7, centre, 0.2, 0.3, 2.0)
    equation = advection.Advection(grid, advection.rotation(grid))
    return _relative(_solved(equation, (column(0.7), column(0.2), column(0.3)), start, 1.5, 16 * level, ETDRK2), exact)


def _layer(level: int) -> float:
    grid = interval(0.0, 1.0, 20 * level, "fixed", (0.0, 1.0))
    x = grid.points[:, 0]
    equation = advection.Advection(grid, advection.winds(grid))
    found = _solved(equation, (column(1.0), column(0.1), column(0.0)), x[None], 1e9, 1, BACKWARD_EULER)
    return _relative(found, advection.boundary_layer(x, 10.0))


def _burgers_mode(level: int) -> float:
    grid = interval(0.0, 2.0 * math.pi, 32 * level, "periodic")

    def exact(t: float) -> Tensor:
        return conservation.cole_hopf_mode(grid.points[:, 0], t, 0.1, 1.0, 0.7)

    equation = conservation.ConservationLaw(grid, conservation.central(conservation.burgers))
    return _relative(_solved(equation, (column(0.1),), exact(0.0), 2.0, 10 * level, SDIRK2), exact(2.0))


def _burgers_shock(level: int) -> float:
    grid = interval(-12.0, 16.0, 70 * level)

    def exact(t: float) -> Tensor:
        return conservation.viscous_shock(grid.points[:, 0], t, 0.5, 0.5, 1.0)

    equation = conservation.ConservationLaw(grid, conservation.central(conservation.burgers))
    return _relative(_solved(equation, (column(0.5),), exact(0.0), 4.0, 20 * level, SDIRK2), exact(4.0))


def _burgers_sine(level: int) -> float:
    grid = interval(0.0, 1.0, 25 * level, "fixed")
    x = grid.points[:, 0]
    equation = conservation.ConservationLaw(grid, conservation.central(conservation.burgers))
    found = _solved(equation, (column(0.05),), torch.sin(math.pi * x)[None], 0.5, 20 * level, SDIRK2)
    return _relative(found, conservation.sine_start(x, 0.5, 0.05))


def _riemann(left: float, right: float) -> Callable[[int], float]:
    def error(level: int) -> float:
        grid = interval(-1.0, 2.0, 60 * level)
        x = grid.points[:, 0]
        equation = conservation.ConservationLaw(grid, conservation.engquist_osher)
        start = conservation.riemann(x, 1e-12, left, right)
        found = _solved(equation, (column(0.0),), start, 0.8, 40 * level, explicit(EULER))
        error = _relative(found, conservation.riemann(x, 0.8, left, right), 1.0)
        # a monotone scheme of first order is wrong by h ln(1/h) in a fan, by h at a shock
        return error if left > right else error / math.log(20 * level)

    return error


def _fokker_planck(level: int) -> float:
    grid = interval(-8.0, 8.0, 40 * level)

    def exact(t: float) -> Tensor:
        return kinetic.ornstein_uhlenbeck(grid.points[:, 0], t, 1.0, 1.0, 2.0, 0.5)

    found = _solved(kinetic.FokkerPlanck(grid), (column(1.0), column(1.0)), exact(0.0), 1.0, 10 * level, SDIRK2)
    return _relative(found, exact(1.0))


def _bgk(level: int) -> float:
    grid = interval(-12.0, 12.0, 80)
    v, model = grid.points[:, 0], kinetic.BGK(grid)
    start = (kinetic.maxwellian(v, 0.7, -1.5, 0.6) + kinetic.maxwellian(v, 0.3, 2.0, 1.2))[None]
    rest = model.equilibrium(start)
    found = _solved(model, (column(0.5),), start, 1.0, 4 * level, explicit(RK4))
    return _relative(found, rest + math.exp(-1.0 / 0.5) * (start - rest))


def _telegraph(turning: float) -> Callable[[int], float]:
    def error(level: int) -> float:
        grid = interval(0.0, 2.0 * math.pi, 16 * level, "periodic")

        def exact(t: float) -> Tensor:
            return kinetic.telegraph_mode(grid.points[:, 0], t, 1.0, turning, 2.0)

        q = (column(1.0), column(turning))
        return _relative(
            _solved(kinetic.GoldsteinTaylor(grid), q, exact(0.0), 1.0, 8 * level, explicit(RK4)), exact(1.0)
        )

    return error


_F = (column(0.13), column(0.012))
_FISHER = _wave(growth.PowerLaw(), lambda x, t: growth.power_wave(x, t, 0.13, 0.012), _F, 300.0, ETDRK2)
_POWER = _wave(growth.PowerLaw(2), lambda x, t: growth.power_wave(x, t, 0.13, 0.012, 2), _F, 300.0, SDIRK2)
_BISTABLE = _wave(
    growth.BistableLaw(0.25),
    lambda x, t: growth.bistable_wave(x, t, 0.5, 0.1, 0.25),
    (column(0.5), column(0.1)),
    100.0,
    SDIRK2,
)

DIRECT = (
    Direct("H1", "heat kernel, 2-D", 2.0, (2, 4, 8), _heat_kernel),
    Direct("H2", "cosine mode of the heat equation", 2.0, (1, 2, 4), _heat_mode),
    Direct("F1", "Fisher-KPP: wave of Ablowitz and Zeppetella", 2.0, (1, 2, 4), _FISHER),
    Direct("F2", "growth u(1 - u^2): wave of Wang", 2.0, (1, 2, 4), _POWER),
    Direct("F3", "bistable growth: wave", 2.0, (1, 2, 4), _BISTABLE),
    Direct("F4", "Gompertz growth: Gaussian, 2-D", 2.0, (1, 2, 4), _gompertz),
    Direct("F5", "exponential growth of the heat kernel", 2.0, (1, 2, 4), _exponential),
    Direct(
        "F5 logistic",
        "logistic law without space",
        2.0,
        (4, 8, 16),
        _uniform(growth.PowerLaw(), growth.logistic_growth),
    ),
    Direct(
        "F5 Gompertz",
        "GompertzLaw law without space",
        2.0,
        (4, 8, 16),
        _uniform(growth.GompertzLaw(), growth.gompertz_growth),
    ),
    Direct("A1", "kernel in a constant wind, 2-D", 2.0, (1, 2, 4), _carried),
    Direct("A1 vortex", "kernel in a rotation, 2-D", 2.0, (1, 2, 4), _rotated),
    Direct("A2", "stationary boundary layer", 2.0, (1, 2, 4), _layer),
    Direct("B1", "Burgers: one mode of Cole and Hopf", 2.0, (1, 2, 4), _burgers_mode),
    Direct("B2", "Burgers: viscous shock", 2.0, (1, 2, 4), _burgers_shock),
    Direct("B3", "Burgers from sin(pi x)", 2.0, (1, 2, 4), _burgers_sine),
    Direct("B4 shock", "inviscid shock, L1", 1.0, (1, 2, 4), _riemann(1.0, 0.0)),
    Direct("B4 fan", "inviscid rarefaction, L1 over ln(1/h)", 1.0, (2, 4, 8), _riemann(-0.5, 1.0)),
    Direct("K1", "Fokker-Planck: Ornstein and Uhlenbeck", 2.0, (1, 2, 4), _fokker_planck),
    Direct("K2", "BGK relaxation", 4.0, (2, 4, 8), _bgk),
    Direct("K3 waves", "Goldstein-Taylor, k < cq", 2.0, (1, 2, 4), _telegraph(0.3)),
    Direct("K3 diffusive", "Goldstein-Taylor, k > cq", 2.0, (1, 2, 4), _telegraph(3.0)),
)
