"""Physics in the core against physics in the loss: the same unknowns, data and time for both.

Heat, Burgers and Fisher-KPP, each solved directly and for its coefficients from noisy data of one day. The
science-activated NODE runs first; the physics-informed network then has the same processor time, and in a second row
a hundred times as much. The clock is handed in by whoever asks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from oncology.nodes.depth import DepthGrid
from oncology.reproduce.science_direct import column
from oncology.science.equation import Coefficients, Equation
from oncology.science.equation_problem import EquationProblem
from oncology.science.equations import conservation, heat
from oncology.science.equations import reaction_diffusion as growth
from oncology.science.estimation import estimate
from oncology.science.grid import Grid, interval
from oncology.science.node import ScienceNODE
from oncology.science.observe import Everywhere, Measurement, noisy
from oncology.science.pinn import Ends, FieldDerivatives, PinnProblem, Residual, fit_pinn
from oncology.science.runge_kutta import SDIRK2
from oncology.science.unknowns import number

__all__ = ["CASES", "ComparisonRow", "PinnCase", "compare"]


@dataclass(frozen=True)
class PinnCase:
    """An equation on an interval with its exact solution.

    Attributes:
        title: equation and solution.
        equation: S.
        names: of the coefficients that the inverse problem seeks.
        truth: their values.
        rest: the other coefficients, in the equation's order after those.
        exact: time -> u, (1, n).
        duration: day.
        steps: time steps.
        residual: the same equation for the network.
        boundary: of the network: "noflux" or "fixed".
    """

    title: str
    equation: Equation
    grid: Grid
    names: tuple[str, ...]
    truth: tuple[float, ...]
    rest: dict[str, Tensor]
    exact: Callable[[float], Tensor]
    duration: float
    steps: int
    residual: Residual
    boundary: Ends


@dataclass(frozen=True)
class ComparisonRow:
    """One method on one problem.

    Attributes:
        title: equation and solution.
        problem: "direct" or "inverse".
        method: and its budget.
        seconds: of processor time.
        state_error: relative L2 error of u on the last day.
        coefficient_error: largest relative error of a coefficient; nan for direct problems.
    """

    title: str
    problem: str
    method: str
    seconds: float
    state_error: float
    coefficient_error: float


def _heat() -> PinnCase:
    grid = interval(0.0, 2.0, 80)
    wave = heat.cosine_mode(grid.points, 2.0, 2)
    rate = heat.mode_rate(2, 2.0)

    def residual(f: FieldDerivatives, q: dict[str, Tensor]) -> Tensor:
        return f.t - q["conductivity"] * f.xx

    return PinnCase(
        "heat, one mode",
        heat.Heat(grid),
        grid,
        ("conductivity",),
        (0.1,),
        {"source": torch.zeros(grid.size, dtype=torch.float64)},
        lambda t: math.exp(-0.1 * rate * t) * wave,
        1.0,
        40,
        residual,
        "noflux",
    )


def _burgers() -> PinnCase:
    grid = interval(0.0, 1.0, 100, "fixed")

    def residual(f: FieldDerivatives, q: dict[str, Tensor]) -> Tensor:
        return f.t + f.u * f.x - q["viscosity"] * f.xx

    return PinnCase(
        "Burgers, sine",
        conservation.ConservationLaw(grid, conservation.central(conservation.burgers)),
        grid,
        ("viscosity",),
        (0.05,),
        {},
        lambda t: conservation.sine_start(grid.points[:, 0], t, 0.05) if t else torch.sin(math.pi * grid.points.T),
        0.5,
        60,
        residual,
        "fixed",
    )


def _fisher() -> PinnCase:
    grid = interval(-20.0, 40.0, 120)
    x = grid.points[:, 0]

    def residual(f: FieldDerivatives, q: dict[str, Tensor]) -> Tensor:
        return f.t - q["diffusion"] * f.xx - q["proliferation"] * f.u * (1.0 - f.u)

    return PinnCase(
        "Fisher-KPP, wave",
        growth.ReactionDiffusion(grid, growth.PowerLaw(1)),
        grid,
        ("diffusion", "proliferation"),
        (0.5, 0.2),
        {},
        lambda t: growth.power_wave(x, t, 0.5, 0.2, 1),
        20.0,
        60,
        residual,
        "noflux",
    )


CASES = (_heat, _burgers, _fisher)


def compare(
    clock: Callable[[], float], noise: float = 0.05, factors: tuple[float, ...] = (1.0, 100.0), most: float = 120.0
) -> Iterator[ComparisonRow]:
    """Rows of the comparison, one after the other.

    Args:
        clock: processor time, s.
        noise: norm of the noise of inverse problems over that of the data.
        factors: budgets of the network in multiples of the time of the science-activated NODE.
        most: largest budget, s.
    """
    for make in CASES:
        case = make()
        for inverse in (False, True):
            began = clock()
            state, found = _science(case, noise if inverse else None)
            spent = clock() - began
            problem = "inverse" if inverse else "direct"
            yield _row(case, problem, "science in the core", spent, state, found)
            for factor in factors:
                budget, began = min(factor * spent, most), clock()
                state, found = _pinn(case, noise if inverse else None, _deadline(clock, budget))
                method = f"physics in the loss, {factor:g} x the time"
                yield _row(case, problem, method, clock() - began, state, found)


def _deadline(clock: Callable[[], float], budget: float) -> Callable[[int], bool]:
    began = clock()
    return lambda count: count > 0 and clock() - began >= budget


def _row(
    case: PinnCase, problem: str, method: str, seconds: float, state: Tensor, found: dict[str, float]
) -> ComparisonRow:
    exact = case.exact(case.duration)
    error = float((state - exact).norm() / exact.norm())
    wrong = [abs(found[name] / true - 1.0) for name, true in zip(case.names, case.truth, strict=True) if name in found]
    return ComparisonRow(case.title, problem, method, seconds, error, max(wrong, default=math.nan))


def _coefficients(case: PinnCase, found: dict[str, float]) -> Coefficients:
    values = {name: column(found.get(name, true)) for name, true in zip(case.names, case.truth, strict=True)}
    return tuple({**values, **case.rest}[coefficient.name] for coefficient in case.equation.coefficients)


def _data(case: PinnCase, noise: float) -> tuple[Tensor, float]:
    exact = case.exact(case.duration)
    weights = case.equation.weights
    level = noise * float((weights * exact**2).sum()) ** 0.5
    return noisy(exact, noise, torch.Generator().manual_seed(3)), level


def _science(case: PinnCase, noise: float | None) -> tuple[Tensor, dict[str, float]]:
    model = ScienceNODE(case.equation, DepthGrid(case.duration, case.steps), SDIRK2)
    found: dict[str, float] = {}
    if noise is not None:
        data, level = _data(case, noise)
        unknowns = tuple(number(name, 2.0 * true) for name, true in zip(case.names, case.truth, strict=True))
        measured = (Measurement(model.count, Everywhere(), data, case.equation.weights),)
        known = {**case.rest, "initial": case.exact(0.0)}
        found = dict(estimate(EquationProblem(model, unknowns, known, measured), level).values)
    return model.run(_coefficients(case, found), case.exact(0.0)).final, found


def _pinn(case: PinnCase, noise: float | None, stop: Callable[[int], bool]) -> tuple[Tensor, dict[str, float]]:
    x = case.grid.points[:, 0]
    places = torch.stack([x, torch.zeros_like(x)], dim=1)
    values = case.exact(0.0)[0]
    unknowns: dict[str, float] = {}
    if noise is not None:
        data, _ = _data(case, noise)
        places = torch.cat([places, torch.stack([x, torch.full_like(x, case.duration)], dim=1)])
        values = torch.cat([values, data[0]])
        unknowns = {name: 2.0 * true for name, true in zip(case.names, case.truth, strict=True)}
    known = {name: true for name, true in zip(case.names, case.truth, strict=True) if name not in unknowns}
    axis = case.grid.axes[0]
    problem = PinnProblem(
        axis.lower, axis.upper, case.duration, case.residual, places, values, unknowns, known, case.boundary
    )
    fit = fit_pinn(problem, torch.Generator().manual_seed(5), stop, refine_after=1000)
    return fit.at(x, case.duration)[None], fit.values
