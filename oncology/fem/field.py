"""Reconstruction of the initial density of a tumour on the finite-element model (B4.5, B4.6 of the specification).

The forward map of a field and `reconstruct_initial`: nonlinear conjugate gradients or Landweber in L2 or H1, ended by
the discrepancy principle. Location is recoverable, shape is not (B2.6).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from oncology.errors import ConfigError
from oncology.fem.discretisation import Discretisation
from oncology.fem.model import ModelDirection, Rates, Run, TumourModel
from oncology.fem.sobolev import SobolevSpace
from oncology.inverse.field import (
    FieldData,
    FieldProblem,
    LogPrior,
    Penalty,
    Unknowns,
    joint_space,
    scalar_weights,
)
from oncology.model.cells import CellSpace
from oncology.model.timegrid import TimeGrid
from oncology.optimise import (
    Armijo,
    Box,
    ConjugateGradient,
    Counts,
    State,
    Status,
    Stop,
    minimise,
    power_iteration,
)
from oncology.optimise.state import Record
from oncology.optimise.steps import Step

__all__ = [
    "FieldEstimate",
    "FieldGrowth",
    "FieldRun",
    "FieldSettings",
    "Localisation",
    "landweber_length",
    "localise",
    "reconstruct_initial",
]


@dataclass(frozen=True)
class FieldRun:
    """A run from an initial density (`oncology.inverse.field.FieldSolution`).

    Attributes:
        model: discrete growth model.
        run: the forward run with its linearisation.
        densities: density at the cell vertices, one array an observation day.
    """

    model: TumourModel
    run: Run
    densities: tuple[np.ndarray, ...] = field(repr=False)

    def tangent(self, initial: np.ndarray, rates: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the derivative of `densities` along a direction of initial density (owned,) and rates (3,)."""
        change = ModelDirection(Rates(*map(float, rates)), initial)
        return tuple(self.model.discretisation.to_cells(du) for du in self.model.tangent(self.run, change))

    def adjoint(self, duals: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Return the derivatives of `sum <duals, densities>` by the initial density (owned,) and the rates (3,)."""
        derivative = self.model.adjoint(self.run, [self.model.discretisation.from_cells(dual) for dual in duals])
        rates = derivative.rates
        return derivative.initial, np.array([rates.diffusion_white, rates.diffusion_grey, rates.proliferation])


@dataclass(frozen=True)
class FieldGrowth:
    """Forward map of an initial density (`oncology.inverse.field.FieldForward`).

    Attributes:
        model: discrete growth model.
        grid: time grid from onset to the last observation.
    """

    model: TumourModel
    grid: TimeGrid

    @property
    def space(self) -> CellSpace:
        """The cells on which densities are given."""
        return self.model.discretisation.cell_space

    def solve(self, initial: np.ndarray, rates: np.ndarray) -> FieldRun:
        """Run the model from an initial density (owned,) with D_w, D_g (mm^2/day) and rho (1/day).

        Raises:
            NumericalError: if a diffusion solve does not converge.
        """
        run = self.model.run(Rates(*map(float, rates)), initial, self.grid)
        return FieldRun(self.model, run, tuple(map(self.model.discretisation.to_cells, run.observations)))


@dataclass(frozen=True)
class Localisation:
    """Where a density lies.

    Attributes:
        centre: (d,) centre of mass weighted by max(phi, 0)^2, mm.
        peak: (d,) vertex of the largest density, mm; the mean of several that tie.
        highest: largest density.
    """

    centre: np.ndarray
    peak: np.ndarray
    highest: float


def localise(discretisation: Discretisation, initial: np.ndarray) -> Localisation:
    """Return where a density (owned,) lies (collective); nan positions where it is nowhere positive."""
    points = discretisation.points[: discretisation.owned]
    _, highest = discretisation.extremes(math.inf, float(initial.max(initial=-math.inf)))
    weights = np.stack([discretisation.lumped_mass * np.maximum(initial, 0.0) ** 2, 1.0 * (initial == highest)])
    sums = discretisation.total(np.concatenate([(weights @ points).ravel(), weights.sum(axis=1)]))
    moments, masses = sums[:-2].reshape(2, -1), sums[-2:]
    if not highest > 0.0:
        masses = np.array([math.nan, math.nan])
    centre, peak = moments / masses[:, None]
    return Localisation(centre, peak, highest)


@dataclass(frozen=True)
class FieldSettings:
    """How an initial density is reconstructed.

    Attributes:
        smoothing: length l of the H1 gradient, mm; 0 takes the L2 gradient.
        penalty: alpha of the Tikhonov term, dimensionless.
        penalty_length: length of the H1 norm in the Tikhonov term, mm; 0 takes the L2 norm.
        bounds: bounds on the density, or None.
        priors: rates to be estimated with the field.
        noise: variance of a data residual times its correlation volume, mm^d; weighs the priors against the data.
        direction: conjugate-gradient formula; `ConjugateGradient(zero)` with `Fixed` is Landweber's iteration.
        step: step length; by default that of one tangent run, backtracked if need be.
        tau: safety factor of the discrepancy principle.
        max_iterations: most iterations.
    """

    smoothing: float = 0.0
    penalty: float = 0.0
    penalty_length: float = 0.0
    bounds: tuple[float, float] | None = (0.0, 1.0)
    priors: tuple[LogPrior, ...] = ()
    noise: float = 1.0
    direction: ConjugateGradient = field(default_factory=ConjugateGradient)
    step: Step = field(default_factory=Armijo)
    tau: float = 1.1
    max_iterations: int = 200

    def __post_init__(self) -> None:
        if not (0.0 <= self.penalty < math.inf and 0.0 < self.noise < math.inf):
            raise ConfigError(f"penalty {self.penalty:g} (>= 0) or noise {self.noise:g} mm^d (> 0) of a reconstruction")
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise ConfigError(
                f"bounds {self.bounds} of the initial density: the first must be smaller, (0, 1) as a rule"
            )


@dataclass(frozen=True)
class FieldEstimate:
    """A reconstructed initial density.

    Attributes:
        initial: (owned,) density phi at onset.
        rates: growth and diffusion, estimated where they were unknown.
        localisation: centre of mass and peak of phi.
        status: why the iteration ended; `succeeded` where the data are matched to the noise level.
        iterations: accepted steps.
        residual: ||r|| at the end, mm^(d/2).
        counts: forward, adjoint and tangent runs.
        history: one record an iterate, the start included.
    """

    initial: np.ndarray = field(repr=False)
    rates: Rates
    localisation: Localisation
    status: Status
    iterations: int
    residual: float
    counts: Counts
    history: tuple[Record, ...] = field(repr=False)


def reconstruct_initial(
    model: TumourModel,
    rates: Rates,
    grid: TimeGrid,
    data: Sequence[FieldData],
    noise_level: float | None,
    settings: FieldSettings | None = None,
    start: np.ndarray | None = None,
    callback: Callable[[State[np.ndarray]], None] | None = None,
) -> FieldEstimate:
    """Reconstruct the density at onset from later densities or segmentations (collective).

    Args:
        model: discrete growth model.
        rates: growth and diffusion; those with a prior in `settings` are unknown and start at its median.
        grid: time grid whose observation days the data belong to.
        data: observations on the cells of this rank.
        noise_level: delta, norm of the data error in mm^(d/2), error of the discretisation included; the iteration ends
            at a residual of tau delta. None: iterate to `max_iterations` or convergence, which fits the noise.
        settings: method; by default conjugate gradients with the L2 gradient.
        start: first density (owned,); zero by default.
        callback: called with every accepted iterate.

    Raises:
        ConfigError: without data, or if they name an observation day that the grid does not have.
        NumericalError: if the model cannot be run from the start.
    """
    settings = FieldSettings() if settings is None else settings
    discretisation = model.discretisation
    metric = SobolevSpace(discretisation, settings.smoothing)
    roughness = SobolevSpace(discretisation, settings.penalty_length)
    try:
        problem = _problem(model, rates, grid, data, settings, roughness)
        unknowns = problem.unknowns
        growth = math.exp(rates.proliferation * sum(interval.duration for interval in grid.intervals))
        x = unknowns.join(np.zeros(discretisation.owned) if start is None else np.asarray(start, dtype=float))
        result = minimise(
            problem,
            x,
            joint_space(metric.space, unknowns, scalar_weights(problem, growth)),
            settings.direction,
            settings.step,
            Stop(noise_level=noise_level, tau=settings.tau, max_iterations=settings.max_iterations),
            _box(settings.bounds, len(x) - unknowns.scalars, unknowns.scalars),
            callback,
        )
    finally:
        metric.destroy()
        roughness.destroy()
    initial, standard = unknowns.split(result.x)
    return FieldEstimate(
        initial=initial,
        rates=Rates(*map(float, unknowns.physical(standard))),
        localisation=localise(discretisation, initial),
        status=result.status,
        iterations=result.iterations,
        residual=result.residual,
        counts=result.counts,
        history=result.history,
    )


def landweber_length(
    model: TumourModel,
    rates: Rates,
    grid: TimeGrid,
    data: Sequence[FieldData],
    initial: np.ndarray | None = None,
    iterations: int = 20,
) -> float:
    """Return `1 / |F'|^2` in L2, the longest safe step of Landweber's iteration, by power iteration (collective).

    From an initial density of zero and one density of a logistic or exponential tumour this is `exp(-2 rho T)` (B4.5).

    Args:
        model: discrete growth model.
        rates: growth and diffusion.
        grid: time grid.
        data: observations on the cells of this rank.
        initial: where to linearise, (owned,); zero by default.
        iterations: tangent and adjoint runs; the eigenvalue is approached from below.
    """
    owned = model.discretisation.owned
    metric = SobolevSpace(model.discretisation, 0.0)
    problem = _problem(model, rates, grid, data, FieldSettings(), metric)
    here = problem.evaluate(np.zeros(owned) if initial is None else np.asarray(initial, dtype=float))
    return 1.0 / power_iteration(here.normal, metric.space, np.ones(owned), iterations)


def _problem(
    model: TumourModel,
    rates: Rates,
    grid: TimeGrid,
    data: Sequence[FieldData],
    settings: FieldSettings,
    roughness: SobolevSpace,
) -> FieldProblem:
    """Return the problem on this rank's vertices.

    Raises:
        ConfigError: without data, or where they name an observation day that the grid does not have.
    """
    days = sum(interval.observe for interval in grid.intervals)
    if not data or any(not 0 <= item.index < days for item in data):
        raise ConfigError(
            f"data of observation days {[item.index for item in data]}: give at least one, from 0 to {days - 1}"
        )
    known = np.array([rates.diffusion_white, rates.diffusion_grey, rates.proliferation])
    penalty = Penalty(settings.penalty, roughness.lower) if settings.penalty > 0.0 else None
    unknowns = Unknowns(known, settings.priors)
    return FieldProblem(FieldGrowth(model, grid), tuple(data), unknowns, penalty, settings.noise)


def _box(bounds: tuple[float, float] | None, owned: int, scalars: int) -> Box | None:
    """Return the bounds of flat vectors: on the field only."""
    if bounds is None:
        return None
    free = np.full(scalars, np.inf)
    lower, upper = np.full(owned, bounds[0]), np.full(owned, bounds[1])
    return Box(np.concatenate([lower, -free]), np.concatenate([upper, free]))
