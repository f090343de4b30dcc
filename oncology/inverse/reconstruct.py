"""The initial density of a tumour as an unknown field, alone or with the rates.

Nonlinear conjugate gradients or Landweber's iteration in L2 or H1, ended by the discrepancy principle. The problem is
exponentially ill-posed: the heat kernel damps a mode of wave number k by exp(-D k^2 T), so the location is recoverable
and the shape is not, and the iteration has to stop at `||r|| <= tau delta` instead of at the minimum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from oncology.errors import ConfigError
from oncology.inverse.maps import FieldMap, MapSum
from oncology.inverse.misfit import Observation
from oncology.inverse.observe import FixedData
from oncology.inverse.priors import EllipticSolver, Tikhonov
from oncology.inverse.problem import InverseProblem
from oncology.inverse.rates import LogPrior, RatesMap
from oncology.model.engine import Engine
from oncology.model.tumour import Tumour
from oncology.optimise import (
    Armijo,
    Blocks,
    Box,
    ConjugateGradient,
    Counts,
    Space,
    State,
    Status,
    Stop,
    h1_by_solve,
    minimise,
    power_iteration,
    product,
    weighted_l2,
)
from oncology.optimise.state import Record
from oncology.optimise.steps import Step

__all__ = [
    "FieldEngine",
    "FieldEstimate",
    "FieldSettings",
    "Localisation",
    "initial_problem",
    "joint_space",
    "landweber_length",
    "localise",
    "reconstruct_initial",
    "sobolev_space",
]

Vector = NDArray[np.float64]


class FieldEngine(Engine, Protocol):
    """An engine on whose mesh elliptic problems can be solved."""

    def elliptic(self, stiffness: float, mass: float, boundary: float = 0.0) -> EllipticSolver:
        """Return `stiffness K + mass M_L + boundary S` with unit diffusivity."""


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
        sharpness: of the sigmoid that stands for the volume fraction of a segmentation; None: the exact fraction, on
            tetrahedra only.
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
    sharpness: float | None = None
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
class Localisation:
    """Where a density lies.

    Attributes:
        centre: (d,) centre of mass weighted by max(phi, 0)^2, mm.
        peak: (d,) vertex of the largest density, mm; the mean of several that tie.
        highest: largest density.
    """

    centre: Vector
    peak: Vector
    highest: float


@dataclass(frozen=True)
class FieldEstimate:
    """A reconstructed initial density.

    Attributes:
        initial: (n,) density phi at onset.
        tumour: the tumour that grows from it, with the rates estimated where they were unknown.
        localisation: centre of mass and peak of phi.
        status: why the iteration ended; `succeeded` where the data are matched to the noise level.
        iterations: accepted steps.
        residual: ||r|| at the end, mm^(d/2).
        counts: forward, adjoint and tangent runs.
        history: one record for each iterate, the start included.
    """

    initial: Vector = field(repr=False)
    tumour: Tumour
    localisation: Localisation
    status: Status
    iterations: int
    residual: float
    counts: Counts
    history: tuple[Record, ...] = field(repr=False)


def reconstruct_initial(
    engine: FieldEngine,
    tumour: Tumour,
    days: Sequence[float],
    data: Sequence[Observation],
    noise_level: float | None,
    settings: FieldSettings | None = None,
    start: Vector | None = None,
    callback: Callable[[State[Vector]], None] | None = None,
    plan: Any = None,
) -> FieldEstimate:
    """Reconstruct the density at onset from later densities or segmentations (collective).

    Args:
        engine: grows the density.
        tumour: rates and onset; rates with a prior in `settings` are unknown and start at its median.
        days: observation days, ascending.
        data: observations on the cells of this rank.
        noise_level: delta, norm of the data error in mm^(d/2), error of the discretisation included; the iteration ends
            at a residual of tau delta. None: iterate to `max_iterations` or convergence, which fits the noise.
        settings: method; by default conjugate gradients with the L2 gradient.
        start: first density (n,); zero by default.
        callback: called with every accepted iterate.
        plan: time steps; None: those that suit the tumour.

    Raises:
        ConfigError: without data, or if they name an observation day that there is not.
        NumericalError: if the model cannot be run from the start.
    """
    settings = FieldSettings() if settings is None else settings
    # divided by the noise as the cost is, so that gradients and step lengths do not depend on it
    metric = _operator(engine, settings.smoothing, settings.noise)
    roughness = _operator(engine, settings.penalty_length)
    try:
        problem = initial_problem(engine, tumour, days, data, settings, roughness, start, plan)
        scalars = len(settings.priors)
        x = problem.map.start
        growth = math.exp(tumour.proliferation * (max(days) - tumour.onset))
        space = sobolev_space(metric, engine.space.total)
        result = minimise(
            problem,
            x,
            joint_space(space, scalars, _scalar_weights(problem, settings.priors, growth)),
            settings.direction,
            settings.step,
            Stop(noise_level=noise_level, tau=settings.tau, max_iterations=settings.max_iterations),
            _box(settings.bounds, len(x), scalars),
            callback,
        )
    finally:
        metric.destroy()
        roughness.destroy()
    initial = result.x[scalars:]
    return FieldEstimate(
        initial=initial,
        tumour=problem.inputs(result.x).tumour,
        localisation=localise(engine, initial),
        status=result.status,
        iterations=result.iterations,
        residual=result.residual,
        counts=result.counts,
        history=result.history,
    )


def initial_problem(
    engine: Engine,
    tumour: Tumour,
    days: Sequence[float],
    data: Sequence[Observation],
    settings: FieldSettings,
    roughness: EllipticSolver | None = None,
    start: Vector | None = None,
    plan: Any = None,
) -> InverseProblem:
    """Return the problem of an unknown density at onset, with the log-rates before the field.

    Raises:
        ConfigError: without data, or where they name an observation day that there is not.
    """
    owned = len(engine.space.owned)
    known = replace(tumour, initial=np.zeros(owned))
    operator = None if roughness is None or settings.penalty == 0.0 else roughness.apply
    prior = Tikhonov(np.zeros(owned), settings.penalty / settings.noise, operator)
    first = np.zeros(owned) if start is None else np.asarray(start, dtype=float)
    unknowns = MapSum((RatesMap(known, settings.priors), FieldMap("initial", first, prior)))
    observed = FixedData(tuple(days), tuple(data))
    return InverseProblem(engine, observed, unknowns, settings.noise, settings.sharpness, plan=plan)


def landweber_length(
    engine: FieldEngine,
    tumour: Tumour,
    days: Sequence[float],
    data: Sequence[Observation],
    initial: Vector | None = None,
    iterations: int = 20,
    plan: Any = None,
    sharpness: float | None = None,
) -> float:
    """Return `1 / |F'|^2` in L2, the longest safe step of Landweber's iteration, by power iteration (collective).

    From an initial density of zero and one density of a logistic or exponential tumour this is `exp(-2 rho T)`.

    Args:
        engine: grows the density.
        tumour: rates and onset.
        days: observation days, ascending.
        data: observations on the cells of this rank.
        initial: where to linearise, (n,); zero by default.
        iterations: tangent and adjoint runs; the eigenvalue is approached from below.
        plan: time steps; None: those that suit the tumour.
        sharpness: of the sigmoid that stands for the volume fraction of a segmentation.
    """
    metric = _operator(engine, 0.0)
    problem = initial_problem(engine, tumour, days, data, FieldSettings(sharpness=sharpness), None, initial, plan)
    here = problem.evaluate(problem.map.start)
    space = sobolev_space(metric, engine.space.total)
    return 1.0 / power_iteration(here.data_normal, space, np.ones(len(here.x)), iterations)


def localise(engine: FieldEngine, initial: Vector) -> Localisation:
    """Return where a density (n,) lies (collective); nan positions where it is nowhere positive."""
    space, lumped = engine.space, engine.elliptic(0.0, 1.0).lumped_mass
    points = space.owned
    _, highest = space.extremes(math.inf, float(initial.max(initial=-math.inf)))
    weights = np.stack([lumped * np.maximum(initial, 0.0) ** 2, 1.0 * (initial == highest)])
    sums = space.total(np.concatenate([(weights @ points).ravel(), weights.sum(axis=1)]))
    moments, masses = sums[:-2].reshape(2, -1), sums[-2:]
    if not highest > 0.0:
        masses = np.array([math.nan, math.nan])
    centre, peak = moments / masses[:, None]
    return Localisation(centre, peak, highest)


def sobolev_space(operator: EllipticSolver, total: Callable[[Vector], Vector]) -> Space[Vector]:
    """Return the inner product `(a, A b)` of fields; with `A = M_L + l^2 K` that of H1, with l = 0 that of L2."""

    def summed(part: float) -> float:
        return float(total(np.array([part]))[0])

    return h1_by_solve(operator.solve, operator.apply, summed)


def joint_space(fields: Space[Vector], scalars: int, weights: Vector) -> Space[Vector]:
    """Inner product of flat vectors (scalars, field): that of the fields plus the scalars' with weights (k,)."""
    if scalars == 0:
        return fields
    both = product(weighted_l2(weights), fields)

    def blocks(x: Vector) -> Blocks:
        return Blocks((x[:scalars], x[scalars:]))

    return Space(
        inner=lambda a, b: both.inner(blocks(a), blocks(b)),
        dual=lambda f, d: both.dual(blocks(f), blocks(d)),
        riesz=lambda f: np.concatenate(both.riesz(blocks(f)).parts),
    )


def _operator(engine: FieldEngine, length: float, noise: float = 1.0) -> EllipticSolver:
    if not 0.0 <= length < math.inf:
        raise ConfigError(f"smoothing length {length:g} mm of the initial density: give 0 (L2) or a few cells")
    return engine.elliptic(length**2 / noise, 1.0 / noise)


def _scalar_weights(problem: InverseProblem, priors: tuple[LogPrior, ...], growth: float) -> Vector:
    """Return the weights of the log-rates beside the field, (k,): both are then equally stiff.

    The curvature of J by a log-rate is about `sd_log^2 ||data||^2 / s + 1` (the data scale with the density), that by
    the field at most the square of its growth in the field's inner product, which is divided by s.
    """
    space = problem.space
    nothing = np.zeros(space.cells.shape)
    seen = [o.compare(nothing, o.level, problem.sharpness) for o in problem.observations]
    squares = np.array([float((problem.weights(s) * s.residual**2).sum()) for s in seen])
    squared = float(space.total(squares).sum()) / problem.noise
    deviations = np.array([prior.sd_log for prior in priors])
    return np.asarray((deviations**2 * squared + 1.0) / growth**2)


def _box(bounds: tuple[float, float] | None, size: int, scalars: int) -> Box | None:
    """Return the bounds of flat vectors: on the field only."""
    if bounds is None:
        return None
    free = np.full(scalars, np.inf)
    lower, upper = np.full(size - scalars, bounds[0]), np.full(size - scalars, bounds[1])
    return Box(np.concatenate([-free, lower]), np.concatenate([free, upper]))
