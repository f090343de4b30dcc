"""Reaction-diffusion tumour growth `u_t = div(D grad u) + rho f(u)` with treatment on one mesh.

A run is a march (`oncology.model.march`) through steps (`oncology.fem.step`), treatments and observations: radiotherapy
and resection multiply the density at exact times. Tangent and adjoint are exact for the discrete scheme.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from oncology.errors import NumericalError
from oncology.fem.diffusion import DiffusionScheme, Sdirk2
from oncology.fem.discretisation import Discretisation
from oncology.fem.rates import Rates, RatesChange
from oncology.fem.step import DerivativeSums, GrowthStep, StepRecord
from oncology.fem.stiffness import MatrixPool
from oncology.model.engine import TangentRecord
from oncology.model.growth import GrowthLaw, Logistic
from oncology.model.march import Observe, Operation, Scaling, march, march_adjoint, march_tangent
from oncology.model.timegrid import Interval, TimeGrid

__all__ = ["ModelDerivative", "ModelDirection", "Run", "TumourModel"]


@dataclass(frozen=True, eq=False)
class ModelDirection:
    """A direction of the model's inputs: rates, initial density (owned vertices), first interval (day)."""

    rates: Rates = field(default_factory=lambda: Rates(0.0, 0.0, 0.0))
    initial: np.ndarray | None = None
    duration: float = 0.0


@dataclass(frozen=True, eq=False)
class ModelDerivative:
    """A derivative by the model's inputs: fields are algebraic, their L2 gradient is `field / lumped_mass`."""

    rates: Rates
    initial: np.ndarray
    duration: float


@dataclass(frozen=True, eq=False)
class Run:
    """A forward run.

    Attributes:
        rates: growth and diffusion it was run with.
        grid: its time grid.
        observations: density of the owned vertices on the observation days.
        lowest: smallest density of the run.
        highest: largest density of the run.
        iterations: conjugate-gradient iterations.
        operations: what the run went through.
        records: one for each operation, for the linearisation; empty if it was not asked for.
    """

    rates: Rates
    grid: TimeGrid
    observations: tuple[np.ndarray, ...]
    lowest: float
    highest: float
    iterations: int
    operations: tuple[Operation | Observe, ...] = field(repr=False)
    records: tuple[object, ...] = field(repr=False)

    @property
    def steps(self) -> tuple[tuple[GrowthStep, StepRecord], ...]:
        """Every step with its record, in order."""
        pairs = zip(self.operations, self.records, strict=True)
        return tuple((o, r) for o, r in pairs if isinstance(o, GrowthStep) and isinstance(r, StepRecord))


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

    _pool: MatrixPool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Start without matrices; the runs make them."""
        object.__setattr__(self, "_pool", MatrixPool(self.discretisation, self.tolerance))

    def run(
        self,
        rates: Rates,
        initial: np.ndarray,
        grid: TimeGrid,
        keep: bool = True,
        record: Callable[[float, np.ndarray], None] | None = None,
    ) -> Run:
        """Grow the initial density (owned vertices) over the time grid.

        Args:
            rates: growth and diffusion.
            initial: density at onset, (owned,).
            grid: intervals and steps.
            keep: keep the states that tangent and adjoint need.
            record: called with day and density at the start and after every step.

        Raises:
            NumericalError: if a diffusion solve does not converge.
        """
        start = np.array(initial, dtype=float)
        before = self._pool.iterations
        operations, days = self._operations(rates, grid)
        low, high = float(start.min(initial=np.inf)), float(start.max(initial=-np.inf))
        extremes = [low, high]
        if record is not None:
            record(grid.intervals[0].start, start)

        def watch(number: int, u: np.ndarray) -> None:
            if not isinstance(operations[number], GrowthStep):
                return
            extremes[0], extremes[1] = min(extremes[0], u.min(initial=np.inf)), max(extremes[1], u.max(initial=-np.inf))
            if record is not None:
                record(days[number], u)

        done = march(operations, start, keep, watch)
        lowest, highest = self.discretisation.extremes(*map(float, extremes))
        iterations = self._pool.iterations - before
        return Run(rates, grid, done.observations, lowest, highest, iterations, operations, done.records)

    def tangent(
        self, run: Run, directions: Sequence[ModelDirection], record: TangentRecord | None = None
    ) -> tuple[np.ndarray, ...]:
        """Return the derivatives of `run.observations` along k directions, (k, n) each.

        All directions go through the steps together, so that each step reads its states and matrices once.

        Args:
            run: with its states.
            directions: of the model's inputs.
            record: called with day, density and its derivatives before every step and on the last observation day.

        Raises:
            NumericalError: the run kept no states.
        """
        _require_states(run)
        du = np.zeros((len(directions), self.discretisation.owned))
        for row, direction in zip(du, directions, strict=True):
            if direction.initial is not None:
                row[:] = direction.initial
        changes = [RatesChange(direction.rates, direction.duration) for direction in directions]
        if record is None:
            return march_tangent(run.operations, run.records, du, changes)
        days = iter(run.grid.days)

        def watch(state: object, du: np.ndarray) -> None:
            if isinstance(state, StepRecord):
                record(float(next(days)), state.start, du)

        observed = march_tangent(run.operations, run.records, du, changes, watch)
        record(float(next(days)), run.observations[-1], observed[-1])
        return observed

    def adjoint(self, run: Run, duals: Sequence[np.ndarray]) -> ModelDerivative:
        """Return the derivative of `sum_i duals[i] . observations[i]` (algebraic duals of the owned vertices).

        Raises:
            NumericalError: the run kept no states.
        """
        _require_states(run)
        sums = DerivativeSums()
        dual = march_adjoint(run.operations, run.records, np.zeros(self.discretisation.owned), duals, sums)
        totals = self.discretisation.total(np.array([*sums.stiffness, sums.growth, *sums.first]))
        stiffness, growth, first = totals[:3], float(totals[3]), totals[4:]
        gamma, rates = self.scheme.gamma, run.rates
        by_diffusion = None
        if rates.log_diffusion is not None and sums.cells is not None:
            diffusivity = self._pool.stiffness(self._pool.key(rates), rates).diffusivity
            by_diffusion = -gamma * self.discretisation.cell_means_transposed(diffusivity * sums.cells)
        white, grey, diffusing = map(float, -gamma * stiffness)
        by_rates = Rates(white, grey, diffusing + 0.5 * growth, by_diffusion, sums.vertices)
        duration = -gamma * rates.scalars @ first[:3] + 0.5 * rates.proliferation * first[3]
        return ModelDerivative(by_rates, dual, float(duration))

    def destroy(self) -> None:
        """Free the solvers (collective); the discretisation stays."""
        self._pool.destroy()

    def _operations(self, rates: Rates, grid: TimeGrid) -> tuple[tuple[Operation | Observe, ...], list[float]]:
        """Return what a run goes through, and the day after each operation."""
        key = self._pool.key(rates)
        operations: list[Operation | Observe] = []
        days: list[float] = []
        for index, interval in enumerate(grid.intervals):
            per_duration = 1.0 / interval.steps if index == 0 else 0.0
            base = GrowthStep(
                discretisation=self.discretisation,
                law=self.law,
                scheme=self.scheme,
                pool=self._pool,
                rates=rates,
                key=key,
                tau=interval.step,
                survival=(1.0, 1.0),
                per_duration=per_duration,
            )
            for number in range(interval.steps):
                survival = _half_step_survival(interval, number)
                operations.append(base if survival == (1.0, 1.0) else replace(base, survival=survival))
                days.append(interval.start + interval.step * (number + 1))
            ends: list[Operation | Observe] = [Observe()] if interval.observe else []
            if interval.survival != 1.0:
                ends.append(Scaling(interval.survival))
            if interval.resection is not None:
                ends.append(Scaling(self.resections[interval.resection]))
            operations += ends
            days += [interval.start + interval.duration] * len(ends)
        return tuple(operations), days


def _require_states(run: Run) -> None:
    if run.operations and not run.records:
        raise NumericalError("this run kept no states, so it has no derivatives: run it with keep=True")


def _half_step_survival(interval: Interval, number: int) -> tuple[float, float]:
    """Return the chemotherapy survival of both halves of a step."""
    if interval.kill is None:
        return 1.0, 1.0
    first, second = np.exp(-interval.kill[number])
    return float(first), float(second)
