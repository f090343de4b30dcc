"""Reaction-diffusion tumour growth `u_t = div(D grad u) + rho f(u)` with treatment: forward run, tangent and adjoint.

Strang splitting, symmetric: half a reaction step (exact flow at every vertex), survival of chemotherapy, one
diffusion step, survival, half a reaction step; radiotherapy and resection multiply the density at exact times.
Tangent and adjoint are exact for this discrete scheme and stand beside the forward step, line against line (B4.2,
B4.4 of the specification).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from oncology.fem.diffusion import DiffusionScheme, OperatorPool, Sdirk2, ShiftedOperator
from oncology.fem.discretisation import Discretisation
from oncology.model.growth import GrowthLaw, Logistic
from oncology.model.timegrid import Interval, TimeGrid

__all__ = ["ModelDerivative", "ModelDirection", "Rates", "Run", "TumourModel"]


@dataclass(frozen=True)
class Rates:
    """Growth and diffusion: D_w and D_g in mm^2/day, rho in 1/day."""

    diffusion_white: float
    diffusion_grey: float
    proliferation: float


@dataclass(frozen=True)
class ModelDirection:
    """A direction of the model's inputs: rates, initial density (owned vertices), first interval (day)."""

    rates: Rates = Rates(0.0, 0.0, 0.0)
    initial: np.ndarray | None = None
    duration: float = 0.0


@dataclass(frozen=True)
class ModelDerivative:
    """A derivative by the model's inputs: `initial` is algebraic, its L2 gradient is `initial / lumped_mass`."""

    rates: Rates
    initial: np.ndarray
    duration: float


@dataclass(frozen=True)
class _Step:
    """What the linearisation of one step needs: start value, diffusion stages."""

    start: np.ndarray
    stages: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Run:
    """A forward run.

    Attributes:
        rates: growth and diffusion it was run with.
        grid: its time grid.
        observations: density of the owned vertices on the observation days.
        steps: one record a step and interval, for the linearisation; empty if it was not asked for.
        lowest: smallest density of the run.
        highest: largest density of the run.
        iterations: conjugate-gradient iterations.
    """

    rates: Rates
    grid: TimeGrid
    observations: tuple[np.ndarray, ...]
    steps: tuple[tuple[_Step, ...], ...]
    lowest: float
    highest: float
    iterations: int


@dataclass(frozen=True)
class TumourModel:
    """The discrete model on one mesh.

    Attributes:
        discretisation: matrices of the mesh.
        law: growth law f.
        scheme: diffusion step.
        resections: fraction of each owned vertex's density that each resection leaves, by index of the treatment.
        tolerance: relative residual of the diffusion solves.
    """

    discretisation: Discretisation
    law: GrowthLaw = field(default_factory=Logistic)
    scheme: DiffusionScheme = field(default_factory=Sdirk2)
    resections: dict[int, np.ndarray] = field(default_factory=dict)
    tolerance: float = 1e-9

    _pool: OperatorPool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pool", OperatorPool(self.discretisation, self.tolerance))

    def run(
        self,
        rates: Rates,
        initial: np.ndarray,
        grid: TimeGrid,
        keep: bool = True,
        record: list[np.ndarray] | None = None,
    ) -> Run:
        """Grow the initial density (owned vertices) over the time grid.

        Args:
            rates: growth and diffusion.
            initial: density at onset, (owned,).
            grid: intervals and steps.
            keep: keep the states that tangent and adjoint need.
            record: a list that receives the density after every step, for time series.

        Raises:
            NumericalError: if a diffusion solve does not converge.
        """
        u = np.array(initial, dtype=float)
        before = self._pool.iterations
        lowest, highest = float(u.min(initial=np.inf)), float(u.max(initial=-np.inf))
        observations, steps = [], []
        for interval in grid.intervals:
            operator = self._operator(rates, interval.step)
            exposure = 0.5 * rates.proliferation * interval.step
            taken = []
            for number in range(interval.steps):
                first, second = _half_step_survival(interval, number)
                stages = self.scheme.forward(operator, first * self.law.flow(u, exposure))
                if keep:
                    taken.append(_Step(u, stages))
                u = self.law.flow(second * stages[-1], exposure)
                lowest, highest = min(lowest, u.min(initial=np.inf)), max(highest, u.max(initial=-np.inf))
                if record is not None:
                    record.append(u)
            steps.append(tuple(taken))
            if interval.observe:
                observations.append(u)
            u = self._survive(interval, u)
        lowest, highest = self.discretisation.extremes(lowest, highest)
        iterations = self._pool.iterations - before
        return Run(rates, grid, tuple(observations), tuple(steps) if keep else (), lowest, highest, iterations)

    def tangent(self, run: Run, direction: ModelDirection) -> tuple[np.ndarray, ...]:
        """Return the derivative of `run.observations` along a direction."""
        du = (
            np.zeros(self.discretisation.owned)
            if direction.initial is None
            else np.array(direction.initial, dtype=float)
        )
        observations = []
        for index, (interval, steps) in enumerate(zip(run.grid.intervals, run.steps, strict=True)):
            d_step = direction.duration / interval.steps if index == 0 else 0.0
            operator = self._operator(run.rates, interval.step)
            exposure = 0.5 * run.rates.proliferation * interval.step
            d_exposure = 0.5 * (direction.rates.proliferation * interval.step + run.rates.proliferation * d_step)
            for number, step in enumerate(steps):
                first, second = _half_step_survival(interval, number)
                du = first * self._reaction_tangent(step.start, du, exposure, d_exposure)
                du = self.scheme.tangent(
                    operator, du, self._forcing(run.rates, direction.rates, interval.step, d_step, step)
                )
                du = self._reaction_tangent(second * step.stages[-1], second * du, exposure, d_exposure)
            if interval.observe:
                observations.append(du)
            du = self._survive(interval, du)
        return tuple(observations)

    def adjoint(self, run: Run, duals: Sequence[np.ndarray]) -> ModelDerivative:
        """Return the derivative of `sum_i duals[i] . observations[i]` (algebraic duals of the owned vertices)."""
        dual = np.zeros(self.discretisation.owned)
        remaining = list(duals)
        # local sums of: w'K_w v and w'K_g v weighted by the step, reaction exposure weighted by the step, and the same
        # three for the first interval without the weight, where they are the derivative by the step itself
        white = grey = growth = white_0 = grey_0 = growth_0 = 0.0
        for index in reversed(range(len(run.steps))):
            interval = run.grid.intervals[index]
            dual = self._survive(interval, dual)
            if interval.observe:
                dual = dual + remaining.pop()
            operator = self._operator(run.rates, interval.step)
            exposure = 0.5 * run.rates.proliferation * interval.step
            sum_white = sum_grey = sum_growth = 0.0
            for number in reversed(range(interval.steps)):
                step = run.steps[index][number]
                first, second = _half_step_survival(interval, number)
                grown_from = second * step.stages[-1]
                sum_growth += self._reaction_pairing(grown_from, dual, exposure)
                dual = second * self.law.flow_slope(grown_from, exposure) * dual
                dual, pairs = self.scheme.adjoint(operator, step.stages, dual)
                for w, stage in pairs:
                    sum_white += w @ _product(self.discretisation.stiffness_white, stage)
                    sum_grey += w @ _product(self.discretisation.stiffness_grey, stage)
                sum_growth += self._reaction_pairing(step.start, first * dual, exposure)
                dual = first * self.law.flow_slope(step.start, exposure) * dual
            white, grey = white + interval.step * sum_white, grey + interval.step * sum_grey
            growth += interval.step * sum_growth
            if index == 0:
                white_0, grey_0, growth_0 = (
                    sum_white / interval.steps,
                    sum_grey / interval.steps,
                    sum_growth / interval.steps,
                )
        sums = self.discretisation.total(np.array([white, grey, growth, white_0, grey_0, growth_0]))
        gamma = self.scheme.gamma
        rates = Rates(-gamma * sums[0], -gamma * sums[1], 0.5 * sums[2])
        duration = (
            -gamma * (run.rates.diffusion_white * sums[3] + run.rates.diffusion_grey * sums[4])
            + 0.5 * run.rates.proliferation * sums[5]
        )
        return ModelDerivative(rates, dual, float(duration))

    def destroy(self) -> None:
        """Free the solvers (collective); the discretisation stays."""
        self._pool.destroy()

    def _operator(self, rates: Rates, step: float) -> ShiftedOperator:
        shift = self.scheme.gamma * step
        return self._pool.get(shift * rates.diffusion_white, shift * rates.diffusion_grey)

    def _survive(self, interval: Interval, u: np.ndarray) -> np.ndarray:
        """Apply radiotherapy and resection at the end of an interval; linear and diagonal, so its own transpose."""
        if interval.survival != 1.0:
            u = interval.survival * u
        if interval.resection is not None:
            u = self.resections[interval.resection] * u
        return u

    def _reaction_tangent(self, u: np.ndarray, du: np.ndarray, exposure: float, d_exposure: float) -> np.ndarray:
        change = self.law.flow_slope(u, exposure) * du
        if d_exposure != 0.0:
            change = change + d_exposure * self.law.rate(self.law.flow(u, exposure))
        return np.asarray(change)

    def _reaction_pairing(self, u: np.ndarray, dual: np.ndarray, exposure: float) -> float:
        return float(dual @ self.law.rate(self.law.flow(u, exposure)))

    def _forcing(
        self, rates: Rates, d_rates: Rates, step: float, d_step: float, record: _Step
    ) -> tuple[np.ndarray | float, ...]:
        """Return -gamma d(tau K) stage for every stage."""
        white = step * d_rates.diffusion_white + d_step * rates.diffusion_white
        grey = step * d_rates.diffusion_grey + d_step * rates.diffusion_grey
        forcing: list[np.ndarray | float] = []
        for stage in record.stages:
            total: np.ndarray | float = 0.0
            if white != 0.0:
                total = total - self.scheme.gamma * white * _product(self.discretisation.stiffness_white, stage)
            if grey != 0.0:
                total = total - self.scheme.gamma * grey * _product(self.discretisation.stiffness_grey, stage)
            forcing.append(total)
        return tuple(forcing)


def _half_step_survival(interval: Interval, number: int) -> tuple[float, float]:
    """Return the chemotherapy survival of both halves of a step."""
    if interval.kill is None:
        return 1.0, 1.0
    first, second = np.exp(-interval.kill[number])
    return float(first), float(second)


def _product(matrix: object, values: np.ndarray) -> np.ndarray:
    """Return the product of a PETSc matrix with the owned values."""
    right, left = matrix.createVecs()  # type: ignore[attr-defined]
    right.array[:] = values
    matrix.mult(right, left)  # type: ignore[attr-defined]
    result = left.array.copy()
    right.destroy()
    left.destroy()
    return np.asarray(result)
