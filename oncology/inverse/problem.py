"""The inverse problem: unknowns -> map -> inputs -> engine -> densities -> observations -> misfit, plus prior.

`J(x) = 1/(2 s) sum_i int |f_i(u) - m_i|^2 dx + 1/2 (x - mean)' R (x - mean)`: an integral over the brain in mm^3, so
its value converges as mesh and voxels are refined; the noise level s (mm^3) turns it into a log-likelihood. Every
derivative is that of the discrete chain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncology.errors import ConfigError
from oncology.inverse.maps import Change, Inputs, ParameterMap
from oncology.inverse.misfit import DeclaredErrors, MaskObservation, Observation, Seen
from oncology.inverse.observe import Data
from oncology.inverse.unknowns import Unbound
from oncology.model.cells import CellSpace, cell_gradients
from oncology.model.engine import Engine, EngineRun, TangentRecord, WatchedEngine
from oncology.model.tumour import Tumour, TumourChange
from oncology.optimise import Linearisation, Tangent

__all__ = [
    "Boundary",
    "DenseCost",
    "Evaluated",
    "InverseProblem",
    "ResidualTable",
    "SecantCost",
    "residual_tables",
    "secant_update",
]

Vector = NDArray[np.float64]

_UNSET = Tumour(math.nan, math.nan, math.nan, (math.nan,) * 3, math.nan)
_CURVED = 0.2  # smallest curvature of a secant update, as a fraction of the metric's (Powell 1978)


@dataclass(frozen=True, eq=False)
class InverseProblem:
    """Unknowns of one engine against data (`oncology.optimise.Problem`).

    Attributes:
        engine: turns inputs into densities.
        data: what is compared.
        unknowns: what is unknown, with its prior: a parameter map, or names such as `Scalars() + Field(...)`, which
            become one on the engine.
        noise: s, the variance of a residual times its correlation volume, mm^3; `solve` measures it.
        sharpness: of the sigmoid that stands for a volume fraction; None: the exact fraction.
        around: unknowns for which time steps are planned; None: the first guess.
        plan: time steps of every run; None: those that suit `around`.
        observations: the data on the engine's cells.
    """

    engine: Engine
    data: Data
    unknowns: Any
    noise: float = 50.0
    sharpness: float | None = None
    around: Vector | None = field(default=None, repr=False)
    plan: Any = field(default=None, repr=False)
    observations: tuple[Observation, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Put the data on the cells and plan the time steps."""
        if not (math.isfinite(self.noise) and self.noise > 0.0):
            raise ConfigError(f"noise level {self.noise:g} mm^3 of an inverse problem: give a positive number")
        observations = self.data.on(self.engine.space)
        count = len(self.data.days)
        if not observations or any(not 0 <= o.index < count for o in observations):
            raise ConfigError(
                f"data of observation days {[o.index for o in observations]}: give at least one, from 0 to {count - 1}"
            )
        object.__setattr__(self, "observations", observations)
        if isinstance(self.unknowns, Unbound):
            object.__setattr__(self, "unknowns", self.unknowns.on(self.engine, self.data))
        if self.plan is not None:
            return
        x = self.map.start if self.around is None else self.around
        object.__setattr__(self, "plan", self.engine.plan(self.inputs(x).tumour, self.data.days))

    @property
    def map(self) -> ParameterMap:
        """The unknowns on the engine."""
        unknowns: ParameterMap = self.unknowns
        return unknowns

    @property
    def space(self) -> CellSpace:
        """The cells of this rank."""
        return self.engine.space

    def inputs(self, x: Vector) -> Inputs:
        """Return what a vector of unknowns stands for."""
        return self.map.apply(x, Inputs(_UNSET))

    def evaluate(self, x: Vector, /) -> Evaluated:
        """Run the engine at x.

        Raises:
            NumericalError: on every rank, where it cannot be run.
        """
        x = np.array(x, dtype=float)
        inputs = self.inputs(x)
        run = self.engine.run(inputs.tumour, self.plan)
        space = self.space
        corners = [space.to_cells(u) for u in run.densities]
        seen = tuple(
            o.compare(corners[o.index], inputs.levels.get(o.region, o.level), self.sharpness) for o in self.observations
        )
        squares = np.array([float((self.weights(s) * s.residual**2).sum()) for s in seen])
        misfit = float(space.total(squares).sum())
        prior = self.map.prior
        away = x - prior.mean
        penalty = 0.5 * self.dot(prior.precision(away), away)
        return Evaluated(self, x, inputs, run, seen, misfit, 0.5 * misfit / self.noise + penalty)

    def weights(self, seen: Seen) -> Vector:
        """Return the volume that each number of a residual (m, k) stands for, (m, 1), mm^3."""
        return np.asarray(self.space.volumes[:, None] / seen.residual.shape[1])

    def dot(self, dual: Vector, direction: Vector) -> float:
        """Return the pairing of a dual vector with a direction over all ranks."""
        count = self.map.prior.replicated
        if count is None or count == len(direction) == len(dual):
            return float(dual @ direction)
        own = float(self.space.total(np.array([dual[count:] @ direction[count:]]))[0])
        return float(dual[:count] @ direction[:count]) + own


@dataclass(frozen=True, eq=False)
class Evaluated:
    """The problem at one x (`oncology.optimise.Evaluation`).

    Attributes:
        problem: what was evaluated.
        x: where.
        inputs: what x stands for.
        run: the engine's run.
        seen: residuals of the observations.
        misfit: sum of the integrals of the squared residuals, mm^3.
        value: J(x).
    """

    problem: InverseProblem
    x: Vector = field(repr=False)
    inputs: Inputs
    run: EngineRun = field(repr=False)
    seen: tuple[Seen, ...] = field(repr=False)
    misfit: float
    value: float

    @property
    def residual(self) -> float:
        """Norm of the data residual, mm^1.5: the unit of the noise level of the discrepancy principle."""
        return math.sqrt(self.misfit)

    def derivative(self) -> Vector:
        """Return the derivative of J as a dual vector: one adjoint run."""
        prior = self.problem.map.prior
        by_data = self.pull_back(tuple(s.residual for s in self.seen))
        return np.asarray(by_data / self.problem.noise + prior.precision(self.x - prior.mean))

    def tangent(self, direction: Vector) -> Tangent:
        """Return the Gauss-Newton curvature of J along a direction: one tangent run."""
        problem = self.problem
        changes = self.push_forward(direction)
        squares = [float((problem.weights(s) * c**2).sum()) for s, c in zip(self.seen, changes, strict=True)]
        by_data = float(problem.space.total(np.array(squares)).sum()) / problem.noise
        return Tangent(by_data + problem.dot(problem.map.prior.precision(direction), direction))

    def data_normal(self, direction: Vector) -> Vector:
        """Return the Gauss-Newton product of the data term, without the prior: a tangent and an adjoint run."""
        return np.asarray(self.pull_back(self.push_forward(direction)) / self.problem.noise)

    def push_forward(self, direction: Vector) -> tuple[Vector, ...]:
        """Return the change of every residual, (m, k) each, along a direction of x."""
        return tuple(column[..., 0] for column in self.jacobian(direction[:, None]))

    def jacobian(self, directions: Vector, record: TangentRecord | None = None) -> tuple[Vector, ...]:
        """Return the changes of every residual, (m, k, p) each, along the p columns of `directions`.

        Args:
            directions: (n, p).
            record: called with day, density and its derivatives along all p columns before every step, where the
                engine lets them be seen (`WatchedEngine`).
        """
        problem, space = self.problem, self.problem.space
        changes = [problem.map.tangent(self.x, column) for column in directions.T]
        moving = [k for k, change in enumerate(changes) if _moves(change)]
        tangents: tuple[Vector, ...] = ()
        if moving:
            tangents = self._tangents([changes[k].tumour for k in moving], moving, len(changes), record)
        columns = []
        for observation, seen in zip(problem.observations, self.seen, strict=True):
            result = np.zeros((*seen.residual.shape, len(changes)))
            for place, k in enumerate(moving):
                corners = space.to_cells(tangents[observation.index][place])
                result[..., k] = np.einsum("mkv,mv->mk", seen.slopes, corners)
            if seen.by_level is not None:
                for k, change in enumerate(changes):
                    moved = change.levels.get(observation.region, 0.0)
                    if moved != 0.0:
                        result[..., k] += moved * seen.by_level
            columns.append(result)
        return tuple(columns)

    def _tangents(
        self, changes: list[TumourChange], moving: list[int], count: int, record: TangentRecord | None
    ) -> tuple[Vector, ...]:
        """Return the derivatives of the densities along changes of the tumour: numbers `moving` of `count` columns."""
        engine = self.problem.engine
        if record is None or not isinstance(engine, WatchedEngine):
            return engine.tangent(self.run, changes)
        seen = record

        def among_all(day: float, density: Vector, moved: Vector) -> None:
            everything = np.zeros((count, moved.shape[1]))
            everything[moving] = moved
            seen(day, density, everything)

        return engine.watched_tangent(self.run, changes, among_all)

    def pull_back(self, residuals: tuple[Vector, ...]) -> Vector:
        """Return the derivative of `sum int residuals . seen` by x as a dual vector: one adjoint run."""
        problem, space = self.problem, self.problem.space
        duals = [np.zeros(space.cells.shape) for _ in self.run.densities]
        regions = sorted({o.region for o in problem.observations})
        by_level = dict.fromkeys(regions, 0.0)
        for observation, seen, residual in zip(problem.observations, self.seen, residuals, strict=True):
            weighted = problem.weights(seen) * residual
            duals[observation.index] += np.einsum("mk,mkv->mv", weighted, seen.slopes)
            if seen.by_level is not None:
                by_level[observation.region] += float((weighted * seen.by_level).sum())
        derivative = problem.engine.adjoint(self.run, [space.from_cells(dual) for dual in duals])
        totals = space.total(np.array([by_level[region] for region in regions]))
        levels = dict(zip(regions, map(float, totals), strict=True))
        return problem.map.adjoint(self.x, Change(derivative, levels))


def _moves(change: Change) -> bool:
    t = change.tumour
    fields = (t.initial, t.log_diffusion, t.log_proliferation)
    return bool(np.any(t.values)) or any(values is not None for values in fields)


@dataclass(frozen=True)
class Boundary:
    """A segmented boundary as the residuals see it.

    Attributes:
        region: "whole" or "core".
        session: number of the observation day.
        outward: (m,) derivative of the residual by an outward shift of the boundary, mm^0.5.
        shifts: (m, d) its derivatives by a shift of the image, mm^0.5.
        by_level: (m,) its derivative by the density at the boundary, mm^1.5.
        errors: of the segmentation as a whole.
    """

    region: str
    session: int
    outward: Vector
    shifts: Vector
    by_level: Vector
    errors: DeclaredErrors = field(default_factory=DeclaredErrors)


@dataclass(frozen=True)
class ResidualTable:
    """Residuals of one observation on the cells of this rank, weighted by the root of the cell volume.

    Attributes:
        residual: (m,) `sqrt(V) (f - m)`, mm^1.5.
        jacobian: (m, n) its derivative by the unknowns.
        boundary: what it would answer to a displaced boundary; None where the observation is no segmentation.
    """

    residual: Vector
    jacobian: Vector
    boundary: Boundary | None = None


def residual_tables(here: Evaluated, record: TangentRecord | None = None) -> list[ResidualTable]:
    """Return residuals, Jacobian and boundary derivatives of every observation: one tangent run for each unknown.

    Args:
        here: the problem at a point.
        record: sees the tangents along all unknowns before every step (`Evaluated.jacobian`).
    """
    problem, space = here.problem, here.problem.space
    root = np.sqrt(space.volumes)
    tables = []
    columns = here.jacobian(np.eye(len(here.x)), record)
    for observation, seen, column in zip(problem.observations, here.seen, columns, strict=True):
        boundary = None
        if isinstance(observation, MaskObservation):
            # a boundary moved outwards by dr lowers the density there by |grad u| dr, an image by dx by grad u . dx
            gradients = cell_gradients(space, space.to_cells(here.run.densities[observation.index]))
            by_level = -root * seen.slopes.sum(axis=(1, 2))
            outward, shifts = by_level * np.linalg.norm(gradients, axis=1), by_level[:, None] * gradients
            errors = observation.errors
            if observation.region in here.inputs.levels:  # an unknown has its error in its prior
                errors = replace(errors, level=0.0)
            boundary = Boundary(observation.region, observation.index, outward, shifts, by_level, errors)
        tables.append(ResidualTable(root * seen.residual[:, 0], root[:, None] * column[:, 0], boundary))
    return tables


@dataclass(frozen=True, eq=False)
class DenseCost:
    """A problem of a few scalars with its Gauss-Newton matrix (`oncology.optimise.LeastSquares`).

    Attributes:
        problem: the inverse problem; every rank holds all its unknowns.
    """

    problem: InverseProblem
    _last: list[Evaluated] = field(default_factory=list, init=False, repr=False)

    def at(self, x: Vector) -> Evaluated:
        """Return the problem at x; the last one is kept, since a trial that is accepted is linearised next."""
        if not self._last or not np.array_equal(self._last[0].x, x):
            self._last[:] = []
            self._last.append(self.problem.evaluate(x))
        return self._last[0]

    def evaluate(self, x: Vector, /) -> float:
        """Return J(x)."""
        return self.at(x).value

    def linearise(self, x: Vector, /) -> Linearisation:
        """Return J(x), its gradient and its Gauss-Newton matrix: one tangent run for each unknown."""
        here, problem, size = self.at(x), self.problem, len(x)
        sums = np.zeros((size + 1, size + 1))
        for seen, column in zip(here.seen, here.jacobian(np.eye(size)), strict=True):
            root = np.sqrt(problem.weights(seen))[..., None]
            both = (root * np.concatenate([column, seen.residual[..., None]], axis=-1)).reshape(-1, size + 1)
            sums += both.T @ both
        sums = problem.space.total(sums.ravel()).reshape(sums.shape) / problem.noise
        prior = problem.map.prior
        precision = np.stack([prior.precision(unit) for unit in np.eye(size)], axis=1)
        gradient = sums[:-1, -1] + prior.precision(x - prior.mean)
        return Linearisation(here.value, gradient, sums[:-1, :-1] + precision)


@dataclass(frozen=True, eq=False)
class SecantCost:
    """The same cost with a metric instead of the Gauss-Newton matrix: one adjoint run for each iterate.

    The metric starts as given and is corrected at every accepted iterate so that it maps the last step to the change
    of the gradient along it (BFGS, damped as by Powell 1978 so that it stays positive definite).

    Attributes:
        dense: the cost.
        metric: (n, n) first metric, prior included.
    """

    dense: DenseCost
    metric: Vector
    _last: list[tuple[Vector, Vector, Vector]] = field(default_factory=list, init=False, repr=False)

    def evaluate(self, x: Vector, /) -> float:
        """Return J(x)."""
        return self.dense.evaluate(x)

    def linearise(self, x: Vector, /) -> Linearisation:
        """Return J(x), its gradient and the corrected metric."""
        here = self.dense.at(x)
        gradient, metric = here.derivative(), self.metric
        if self._last:
            before, old, metric = self._last.pop()
            metric = secant_update(metric, x - before, gradient - old)
        self._last.append((np.array(x), gradient, metric))
        return Linearisation(here.value, gradient, metric)


def secant_update(metric: Vector, step: Vector, change: Vector) -> Vector:
    """Return the BFGS update of a positive definite metric for a step and the change of the gradient along it.

    Example:
        >>> secant_update(np.eye(2), np.array([1.0, 0.0]), np.array([3.0, 0.0]))
        array([[3., 0.],
               [0., 1.]])
    """
    seen = metric @ step
    curvature = float(step @ seen)
    if not curvature > 0.0:
        return metric
    measured = float(step @ change)
    if measured < _CURVED * curvature:
        kept = (1.0 - _CURVED) * curvature / (curvature - measured)
        change = kept * change + (1.0 - kept) * seen
        measured = float(step @ change)
    return np.asarray(metric - np.outer(seen, seen) / curvature + np.outer(change, change) / measured)
