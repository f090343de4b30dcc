"""One descent loop for tumours and networks: nonlinear conjugate gradients and Landweber iteration.

An iteration is a direction times a step. `ConjugateGradient` with a sensitivity step is the method of Baravdish et al.
(arXiv:2202.05766); steepest descent with a fixed step is the nonlinear Landweber iteration (Hanke, Neubauer and
Scherzer 1995). The state of each iterate is a plain value, so that an interrupted run continues bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from oncology.errors import NumericalError
from oncology.optimise.bounds import Box
from oncology.optimise.directions import ConjugateGradient, Gradient, Search, conjugate, gradient_of, steepest
from oncology.optimise.problem import Counts, Evaluation, Problem, Vector
from oncology.optimise.spaces import Space
from oncology.optimise.state import Record, Result, State, Status, Stop
from oncology.optimise.steps import Armijo, Line, Step

__all__ = ["minimise"]


@dataclass(frozen=True)
class _Setting[V: Vector]:
    """What stays the same from iterate to iterate."""

    problem: Problem[V]
    space: Space[V]
    direction: ConjugateGradient
    step: Step
    stop: Stop
    bounds: Box | None


POLAK_RIBIERE = ConjugateGradient()
BACKTRACKED_SENSITIVITY = Armijo()
DEFAULT_STOP = Stop()


def minimise[V: Vector](
    problem: Problem[V],
    start: V | State[V],
    space: Space[V],
    direction: ConjugateGradient = POLAK_RIBIERE,
    step: Step = BACKTRACKED_SENSITIVITY,
    stop: Stop = DEFAULT_STOP,
    bounds: Box | None = None,
    callback: Callable[[State[V]], None] | None = None,
) -> Result[V]:
    """Minimise a differentiable cost by descent in a Hilbert space.

    Args:
        problem: cost, its derivative and tangent.
        start: first point, or the `State` of an earlier run, from which the iteration continues bit for bit.
        space: inner product, which defines gradient, conjugacy and norms alike.
        direction: conjugate-gradient formula; `ConjugateGradient(zero)` is steepest descent.
        step: step length: `Armijo`, `StrongWolfe` or `Fixed` (Landweber).
        stop: when to end.
        bounds: bounds on the components; the start is projected onto them.
        callback: called with the state of every accepted iterate, the start included.

    Returns:
        The last iterate with status, counts, history and state.

    Raises:
        NumericalError: the cost cannot be computed, or is not finite, at the start.

    Example:
        >>> import numpy as np
        >>> from oncology.optimise import FunctionProblem, Tangent, euclidean
        >>> scale = np.array([1.0, 10.0])
        >>> bowl = FunctionProblem(
        ...     value=lambda x: 0.5 * float(x @ (scale * x)),
        ...     derivative=lambda x: scale * x,
        ...     tangent=lambda x, d: Tangent(curvature=float(d @ (scale * d))),
        ... )
        >>> result = minimise(bowl, np.array([1.0, 1.0]), euclidean())
        >>> str(result.status), len(result.history) - 1
        ('converged', 2)
    """
    setting = _Setting(problem, space, direction, step, stop, bounds)
    if isinstance(start, State):
        state, here = start, problem.evaluate(start.x)
    else:
        state, here = _begin(setting, start)
        if callback is not None:
            callback(state)
    while (status := stop.status(state)) is None:
        state, there = _advance(setting, state, here)
        if there is None:
            status = Status.NO_STEP
            break
        here = there
        if callback is not None:
            callback(state)
    return Result(state.x, state.value, state.residual, state.gradient.norm, status, state.counts, state.history, state)


def _gradient[V: Vector](setting: _Setting[V], x: V, derivative: V) -> tuple[Gradient[V], V | None]:
    """Gradient on the components that are free to move, and which these are."""
    space, bounds = setting.space, setting.bounds
    if bounds is None:
        return gradient_of(space, derivative), None
    free = bounds.free(x, derivative)
    reduced = free * derivative
    riesz = free * space.riesz(reduced)
    return Gradient(reduced, riesz, space.dual(reduced, riesz)), free


def _begin[V: Vector](setting: _Setting[V], x: V) -> tuple[State[V], Evaluation[V]]:
    if setting.bounds is not None:
        x = setting.bounds.project(x)
    here = setting.problem.evaluate(x)
    if not math.isfinite(here.value):
        raise NumericalError(f"the cost at the starting point is {here.value}; start where the model can be solved")
    gradient, free = _gradient(setting, x, here.derivative())
    state = State(
        x=x,
        value=here.value,
        residual=here.residual,
        gradient=gradient,
        free=free,
        search=_inward(setting, x, gradient, steepest(gradient)),
        first_norm=gradient.norm,
        iteration=0,
        stalled=0,
        counts=Counts(forward=1, gradient=1),
        history=(Record(0, here.value, here.residual, gradient.norm, 0.0, 0.0),),
    )
    return state, here


def _advance[V: Vector](
    setting: _Setting[V], state: State[V], here: Evaluation[V]
) -> tuple[State[V], Evaluation[V] | None]:
    """Next accepted iterate, or the same one and None where even steepest descent finds no step."""
    search = state.search
    trial, counts = setting.step(_line(setting, state, here, search))
    if trial is None and search.coefficient != 0:
        search = _inward(setting, state.x, state.gradient, steepest(state.gradient))
        trial, more = setting.step(_line(setting, state, here, search))
        counts += more
    if trial is None:
        return replace(state, counts=state.counts + counts), None
    there = trial.evaluation
    derivative = trial.derivative
    if derivative is None:
        derivative = there.derivative()
        counts += Counts(gradient=1)
    gradient, free = _gradient(setting, trial.x, derivative)
    iteration = state.iteration + 1
    decreased = state.value - there.value > setting.stop.stagnation * abs(state.value)
    record = Record(iteration, there.value, there.residual, gradient.norm, trial.length, search.coefficient)
    advanced = replace(
        state,
        x=trial.x,
        value=there.value,
        residual=there.residual,
        gradient=gradient,
        free=free,
        search=_next_search(setting, replace(state, search=search), trial.x, gradient, free),
        iteration=iteration,
        stalled=0 if decreased else state.stalled + 1,
        counts=state.counts + counts,
        history=(*state.history, record),
    )
    return advanced, there


def _line[V: Vector](setting: _Setting[V], state: State[V], here: Evaluation[V], search: Search[V]) -> Line[V]:
    last = state.history[-1]
    change = last.value - state.history[-2].value if last.iteration > 0 else -abs(last.value)
    guess = 2.0 * change / search.slope if change < 0 and search.slope < 0 else last.length or 1.0
    return Line(
        problem=setting.problem,
        space=setting.space,
        x=state.x,
        here=here,
        derivative=state.gradient.derivative,
        direction=search.direction,
        slope=search.slope,
        guess=guess,
        bounds=setting.bounds,
    )


def _next_search[V: Vector](
    setting: _Setting[V], old: State[V], x: V, gradient: Gradient[V], free: V | None
) -> Search[V]:
    """Conjugate direction; steepest descent where another set of components is free now."""
    space = setting.space
    if old.free is not None and free is not None:
        changed = free - old.free
        if space.dual(changed, changed) > 0:
            return _inward(setting, x, gradient, steepest(gradient))
    search = conjugate(setting.direction, space, gradient, old.gradient, old.search, old.iteration + 1)
    return _inward(setting, x, gradient, search)


def _inward[V: Vector](setting: _Setting[V], x: V, gradient: Gradient[V], search: Search[V]) -> Search[V]:
    """The search direction without components that bounds block; these pointed uphill, so the slope gets steeper."""
    if setting.bounds is None:
        return search
    space, direction = setting.space, setting.bounds.inward(x, search.direction)
    slope, squared = space.dual(gradient.derivative, direction), space.inner(direction, direction)
    return Search(direction, slope, search.coefficient, squared)
