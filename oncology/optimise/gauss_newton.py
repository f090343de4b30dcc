"""Levenberg-Marquardt for a few scalar parameters, with bounds, trust limits and a resumable state.

The problem provides value, gradient and Gauss-Newton matrix as small dense arrays, already summed over ranks. Each
step minimises the damped quadratic model inside the box of bounds and trust limits exactly. Damping follows the gain
ratio and is relative to the largest diagonal so far (More, Lecture Notes in Mathematics 630, 1978).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from oncology.errors import ConfigError, NumericalError
from oncology.optimise.quadratic import Linearisation, Matrix, Parameters, box_minimiser
from oncology.optimise.state import Status

__all__ = [
    "GaussNewtonRecord",
    "GaussNewtonResult",
    "GaussNewtonState",
    "LeastSquares",
    "LevenbergMarquardt",
    "gauss_newton",
]


class LeastSquares(Protocol):
    """A least-squares cost of n <= 20 parameters in their transformed (log or scaled) form, each of order one.

    Both methods return the same bits on every rank, and raise `NumericalError` on every rank or on none.
    """

    def evaluate(self, x: Parameters, /) -> float:
        """Cost at x: one forward solve."""

    def linearise(self, x: Parameters, /) -> Linearisation:
        """Cost, gradient and Gauss-Newton matrix at x."""


@dataclass(frozen=True)
class LevenbergMarquardt:
    """Settings of `gauss_newton`.

    Attributes:
        damping: first damping, relative to the largest diagonal of the Gauss-Newton matrix so far.
        relative_decrease: converged where the model predicts a decrease below this fraction of the cost.
        step_tolerance: converged where the undamped step changes no parameter by more than this.
        trust: largest change of each parameter in one step, a number or shape (n,).
        lower: lower bounds, a number or shape (n,).
        upper: upper bounds, a number or shape (n,).
        max_iterations: largest number of accepted steps, those before a resumption included.
        max_trials: largest number of steps tried from one iterate.
    """

    damping: float = 1e-3
    relative_decrease: float = 1e-8
    step_tolerance: float = 1e-6
    trust: float | Parameters = np.inf
    lower: float | Parameters = -np.inf
    upper: float | Parameters = np.inf
    max_iterations: int = 50
    max_trials: int = 25

    def __post_init__(self) -> None:
        if not 0 < self.damping < np.inf:
            raise ConfigError(f"first damping {self.damping:g}; take a positive number, 1e-3 as a rule")
        if not np.all(np.asarray(self.trust) > 0):
            raise ConfigError(f"trust limit {np.min(self.trust):g}; each must be > 0 (inf switches it off)")
        if not np.all(np.asarray(self.lower) < np.asarray(self.upper)):
            raise ConfigError(f"lower bounds {self.lower} must lie below the upper bounds {self.upper}")


@dataclass(frozen=True)
class GaussNewtonRecord:
    """One line of the history: an accepted iterate, the damping that led to it and the trials it took."""

    iteration: int
    value: float
    gradient_norm: float
    damping: float
    trials: int


@dataclass(frozen=True)
class GaussNewtonState:
    """An accepted iterate with all that the iteration needs to continue.

    Attributes:
        x: parameters.
        linearisation: value, gradient and matrix at x.
        scale: largest diagonal of the matrix so far, shape (n,).
        damping: damping of the next trial.
        growth: factor by which the damping grows at the next rejection.
        evaluations: cost evaluations so far.
        linearisations: linearisations so far.
        history: one record per iterate, the start included.
    """

    x: Parameters
    linearisation: Linearisation
    scale: Parameters
    damping: float
    growth: float
    evaluations: int
    linearisations: int
    history: tuple[GaussNewtonRecord, ...]

    @property
    def iteration(self) -> int:
        """Accepted steps so far."""
        return self.history[-1].iteration


@dataclass(frozen=True)
class GaussNewtonResult:
    """Where the iteration ended and why (`status.explanation`); `hessian` is what a Laplace posterior needs."""

    x: Parameters
    value: float
    gradient: Parameters
    hessian: Matrix
    damping: float
    status: Status
    iterations: int
    evaluations: int
    linearisations: int
    history: tuple[GaussNewtonRecord, ...]
    state: GaussNewtonState


DEFAULT_SETTINGS = LevenbergMarquardt()


def gauss_newton(
    problem: LeastSquares,
    start: Parameters | GaussNewtonState,
    settings: LevenbergMarquardt = DEFAULT_SETTINGS,
    callback: Callable[[GaussNewtonState], None] | None = None,
) -> GaussNewtonResult:
    """Minimise a least-squares cost of a few parameters.

    Args:
        problem: cost and its linearisation.
        start: first parameters, shape (n,), or the state of an earlier run, which continues bit for bit.
        settings: tolerances, bounds and trust limits.
        callback: called with the state of every accepted iterate, the start included.

    Returns:
        The last accepted parameters with the linearisation there.

    Raises:
        ConfigError: the start lies outside the bounds.
        NumericalError: the cost cannot be computed, or is not finite, at the start.

    Example:
        >>> import numpy as np
        >>> class Line:  # residuals x_0 + x_1 t - y at t = 0, 1, 2
        ...     jacobian, data = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), np.array([1.0, 3.0, 5.0])
        ...     def evaluate(self, x):
        ...         return 0.5 * float(np.sum((self.jacobian @ x - self.data) ** 2))
        ...     def linearise(self, x):
        ...         residual = self.jacobian @ x - self.data
        ...         return Linearisation(self.evaluate(x), self.jacobian.T @ residual, self.jacobian.T @ self.jacobian)
        >>> gauss_newton(Line(), np.zeros(2)).x.round(6)
        array([1., 2.])
    """
    if isinstance(start, GaussNewtonState):
        state = start
    else:
        state = _begin(problem, np.array(start, dtype=float), settings)
        if callback is not None:
            callback(state)
    while (status := _status(state, settings)) is None:
        state, failure = _advance(problem, state, settings)
        if failure is not None:
            status = failure
            break
        if callback is not None:
            callback(state)
    model = state.linearisation
    return GaussNewtonResult(
        x=state.x,
        value=model.value,
        gradient=model.gradient,
        hessian=model.hessian,
        damping=state.damping,
        status=status,
        iterations=state.iteration,
        evaluations=state.evaluations,
        linearisations=state.linearisations,
        history=state.history,
        state=state,
    )


def _begin(problem: LeastSquares, x: Parameters, settings: LevenbergMarquardt) -> GaussNewtonState:
    if not np.all((settings.lower <= x) & (x <= settings.upper)):
        raise ConfigError(f"start {x} lies outside the bounds {settings.lower} to {settings.upper}; move it inside")
    model = problem.linearise(x)
    if not _finite(model):
        raise NumericalError(f"cost {model.value} or its derivatives are not finite at the start {x}; start elsewhere")
    record = GaussNewtonRecord(0, model.value, float(np.linalg.norm(model.gradient)), settings.damping, 0)
    return GaussNewtonState(x, model, _scale(model, np.zeros(len(x))), settings.damping, 2.0, 0, 1, (record,))


def _scale(model: Linearisation, before: Parameters) -> Parameters:
    """Largest diagonal so far; a parameter without information gets a small fraction of the others'."""
    largest = np.maximum(np.diag(model.hessian), before)
    return np.maximum(largest, 1e-12 * largest.max() or 1.0)


def _finite(model: Linearisation) -> bool:
    return bool(np.isfinite(model.value) and np.isfinite(model.gradient).all() and np.isfinite(model.hessian).all())


def _status(state: GaussNewtonState, settings: LevenbergMarquardt) -> Status | None:
    """Converged where the (nearly) undamped model predicts no further decrease."""
    step = _model_step(state, settings, damping=1e-12, trust=np.inf)
    if step is not None:
        gain = _predicted_decrease(state.linearisation, step)
        if gain <= settings.relative_decrease * abs(state.linearisation.value):
            return Status.CONVERGED
        if np.max(np.abs(step)) <= settings.step_tolerance:
            return Status.CONVERGED
    return Status.MAX_ITERATIONS if state.iteration >= settings.max_iterations else None


def _advance(
    problem: LeastSquares, state: GaussNewtonState, settings: LevenbergMarquardt
) -> tuple[GaussNewtonState, Status | None]:
    """Raise the damping until a step lowers the cost and can be linearised; says why where none did.

    If the model predicts no further decrease, the iteration has converged if no step from this iterate was rejected,
    and stagnated otherwise.
    """
    worthwhile = settings.relative_decrease * abs(state.linearisation.value)
    for trial in range(1, settings.max_trials + 1):
        step = _model_step(state, settings, state.damping, settings.trust)
        if step is not None:
            predicted = _predicted_decrease(state.linearisation, step)
            if predicted <= worthwhile:
                return state, Status.CONVERGED if trial == 1 else Status.STAGNATION
            x = np.clip(state.x + step, settings.lower, settings.upper)
            gain = (state.linearisation.value - _or_nan(problem.evaluate, x)) / predicted
            state = replace(state, evaluations=state.evaluations + 1)
            model = _or_none(problem.linearise, x) if gain > 1e-4 else None
            if model is not None:
                return _accept(state, x, model, gain, trial), None
        state = replace(state, damping=state.damping * state.growth, growth=2.0 * state.growth)
    return state, Status.NO_STEP


def _accept(state: GaussNewtonState, x: Parameters, model: Linearisation, gain: float, trials: int) -> GaussNewtonState:
    iteration = state.iteration + 1
    gradient_norm = float(np.linalg.norm(model.gradient))
    return replace(
        state,
        x=x,
        linearisation=model,
        scale=_scale(model, state.scale),
        damping=state.damping * (2.0 if gain < 0.25 else 1.0 if gain < 0.75 else 1.0 / 3.0),
        growth=2.0,
        linearisations=state.linearisations + 1,
        history=(*state.history, GaussNewtonRecord(iteration, model.value, gradient_norm, state.damping, trials)),
    )


def _or_nan(evaluate: Callable[[Parameters], float], x: Parameters) -> float:
    try:
        return evaluate(x)
    except NumericalError:
        return np.nan


def _or_none(linearise: Callable[[Parameters], Linearisation], x: Parameters) -> Linearisation | None:
    try:
        model = linearise(x)
    except NumericalError:
        return None
    return model if _finite(model) else None


def _predicted_decrease(model: Linearisation, step: Parameters) -> float:
    return float(-model.gradient @ step - 0.5 * step @ model.hessian @ step)


def _model_step(
    state: GaussNewtonState, settings: LevenbergMarquardt, damping: float, trust: float | Parameters
) -> Parameters | None:
    """Minimiser of the damped quadratic model within bounds and trust limits."""
    model = state.linearisation
    low = np.maximum(settings.lower - state.x, -trust)
    high = np.minimum(settings.upper - state.x, trust)
    return box_minimiser(model.hessian, model.gradient, low, high, damping * state.scale)
