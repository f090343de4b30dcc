"""Step lengths along a descent direction: from one sensitivity solve, backtracked, or fixed.

A step rule is a proposal (a first length) and a test of it. The sensitivity proposals minimise the cost of the
linearised state exactly (Baravdish et al., arXiv:2202.05766); where that model is good, which is the usual case, the
test costs one forward solve and no step is halved.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from oncology.errors import ConfigError, NumericalError
from oncology.optimise.bounds import Box
from oncology.optimise.problem import Counts, Evaluation, Problem, Vector
from oncology.optimise.spaces import Space

__all__ = [
    "Armijo",
    "Fixed",
    "Line",
    "Proposal",
    "Step",
    "Trial",
    "increasing_root",
    "newton_step",
    "power_iteration",
    "root_step",
    "scaled_previous",
    "sensitivity_step",
]

ROUNDING = 8.0 * sys.float_info.epsilon
"""Relative changes of a cost in double precision below this cannot be distinguished from rounding."""


@dataclass(frozen=True)
class Trial[V: Vector]:
    """A point on a line, with its forward solve.

    Attributes:
        length: step length beta.
        x: the point, inside the bounds.
        evaluation: the problem there.
        change: first-order change of the cost from the start of the line, E'[x - x_0].
        derivative: E'(x) where the test needed it, else None.
    """

    length: float
    x: V
    evaluation: Evaluation[V]
    change: float
    derivative: V | None = None


@dataclass(frozen=True)
class Line[V: Vector]:
    """The problem along `x + beta d`, bent at the bounds.

    Attributes:
        problem: cost to descend.
        space: inner product.
        x: start of the line.
        here: evaluation at x.
        derivative: E'(x), on the components that are free to move.
        direction: d.
        slope: E'(x)[d] < 0.
        guess: length that would lower the cost as much as the last step did if the cost were quadratic along the line.
        bounds: bounds on the components, or None.
    """

    problem: Problem[V]
    space: Space[V]
    x: V
    here: Evaluation[V]
    derivative: V
    direction: V
    slope: float
    guess: float
    bounds: Box | None = None

    def at(self, length: float) -> Trial[V] | None:
        """Evaluate the cost at a length; None where it cannot be computed or is not finite."""
        x: V = self.x + length * self.direction
        change = length * self.slope
        if self.bounds is not None:
            x = self.bounds.project(x)
            change = self.space.dual(self.derivative, x - self.x)
        try:
            evaluation = self.problem.evaluate(x)
        except NumericalError:
            return None
        return Trial(length, x, evaluation, change) if math.isfinite(evaluation.value) else None

    def descends(self, trial: Trial[V], sufficient: float, rounding: float = ROUNDING) -> bool:
        """Armijo's test, `E(x + beta d) <= E(x) + sufficient E'[step]`, up to a relative rounding error of E."""
        slack = rounding * abs(self.here.value)
        return trial.change < 0 and trial.evaluation.value <= self.here.value + sufficient * trial.change + slack


class Proposal(Protocol):
    """First length to try on a line, with the solves it cost."""

    def __call__[V: Vector](self, line: Line[V], /) -> tuple[float, Counts]:
        """Propose a length > 0."""


class Step(Protocol):
    """Rule that finds an acceptable point on a line, or None, with the solves it cost."""

    def __call__[V: Vector](self, line: Line[V], /) -> tuple[Trial[V] | None, Counts]:
        """Search the line."""


_ONE_TANGENT = Counts(tangent=1)


def _usable(length: float, otherwise: float) -> float:
    return length if 0 < length < math.inf else otherwise


def _quotient(slope: float, curvature: float) -> float:
    return -slope / curvature if curvature > 0 else math.nan


def sensitivity_step[V: Vector](line: Line[V]) -> tuple[float, Counts]:
    """Exact minimiser `beta = -E'[d] / q` of the cost with linearised state; the line's guess where q = 0."""
    tangent = line.here.tangent(line.direction)
    return _usable(_quotient(line.slope, tangent.curvature), line.guess), _ONE_TANGENT


def newton_step[V: Vector](line: Line[V]) -> tuple[float, Counts]:
    """Newton's `beta = -E'[d] / E''[d, d]` where that curvature is positive, else the sensitivity step."""
    tangent = line.here.tangent(line.direction)
    fallback = _usable(_quotient(line.slope, tangent.curvature), line.guess)
    newton = math.nan if tangent.second is None else _quotient(line.slope, tangent.second)
    return _usable(newton, fallback), _ONE_TANGENT


def root_step[V: Vector](line: Line[V]) -> tuple[float, Counts]:
    """Root of phi, the derivative of the linearised-state cost, for costs with cross-entropy."""
    tangent = line.here.tangent(line.direction)
    first = _usable(_quotient(line.slope, tangent.curvature), line.guess)
    if tangent.model is None:
        return first, _ONE_TANGENT
    return _usable(increasing_root(tangent.model, first), first), _ONE_TANGENT


def scaled_previous[V: Vector](line: Line[V]) -> tuple[float, Counts]:
    """Length that repeats the last decrease of the cost (Nocedal & Wright, eq. 3.60): no tangent solve.

    With conjugate gradients combine it with `StrongWolfe`, which searches for the minimum; halving alone is slow.
    """
    return line.guess, Counts()


def increasing_root(phi: Callable[[float], tuple[float, float]], first: float, tolerance: float = 1e-12) -> float:
    """Root beta > 0 of a strictly increasing function with phi(0) < 0, by Newton's method kept inside a bracket.

    Args:
        phi: beta -> (value, slope).
        first: first guess, > 0.
        tolerance: relative width of the root.

    Returns:
        The root, or inf where phi stays negative up to 2^100 first (a separable cross-entropy, say).

    Example:
        >>> round(increasing_root(lambda b: (b**3 - 8.0, 3 * b**2), first=1.0), 9)
        2.0
    """
    low, high, beta = 0.0, math.inf, first
    for _ in range(200):
        value, slope = phi(beta)
        if value == 0:
            return beta if slope > 0 else math.inf  # flat: phi has underflowed and there is no root
        low, high = (beta, high) if value < 0 else (low, beta)
        if high < math.inf and high - low <= tolerance * high:
            return high
        newton = beta - value / slope if slope > 0 else math.nan
        if abs(newton - beta) <= 0.5 * tolerance * beta:
            return newton
        outside = 2.0 * low if high == math.inf else 0.5 * (low + high)
        furthest = 10.0 * low if high == math.inf else high
        beta = newton if low < newton < furthest else outside
        if beta > 2.0**100 * first:
            return math.inf
    return beta


def power_iteration[V: Vector](normal: Callable[[V], V], space: Space[V], start: V, iterations: int = 20) -> float:
    """Largest eigenvalue |F'|^2 of the normal operator: Landweber converges with lengths below its inverse.

    Args:
        normal: x -> F'* F' x as a dual vector: a tangent solve, then an adjoint solve with its outcome.
        space: inner product.
        start: any vector that is not orthogonal to the leading one.
        iterations: products with the normal operator.

    Returns:
        Rayleigh quotient, which approaches the eigenvalue from below.
    """
    x: V = (1.0 / space.norm(start)) * start
    eigenvalue = 0.0
    for _ in range(iterations):
        image = normal(x)
        eigenvalue = space.dual(image, x)
        gradient = space.riesz(image)
        size = space.norm(gradient)
        if size == 0:
            return 0.0
        x = (1.0 / size) * gradient
    return eigenvalue


@dataclass(frozen=True)
class Fixed:
    """One length for every step: Landweber's omega with the direction `-g`.

    Attributes:
        length: omega <= 1 / |F'|^2 (2 / |F'|^2 at most); exp(-2 rho T) is safe for logistic
            growth over a time T at rate rho, since the tangent grows by at most exp(rho T).
    """

    length: float

    def __post_init__(self) -> None:
        if not 0 < self.length < math.inf:
            raise ConfigError(f"fixed step length {self.length:g}; take a positive number, at most 1 / |F'|^2")

    def __call__[V: Vector](self, line: Line[V]) -> tuple[Trial[V] | None, Counts]:
        """Take the step without a test."""
        return line.at(self.length), Counts(forward=1)


@dataclass(frozen=True)
class Armijo:
    """Proposed length, halved until the cost decreases sufficiently.

    Attributes:
        proposal: first length to try.
        sufficient: required fraction of the first-order decrease.
        shrink: factor of each backtracking.
        trials: largest number of lengths tried.
        rounding: relative rounding error of the cost; take a larger one for costs in single precision.
    """

    proposal: Proposal = sensitivity_step
    sufficient: float = 1e-4
    shrink: float = 0.5
    trials: int = 40
    rounding: float = ROUNDING

    def __call__[V: Vector](self, line: Line[V]) -> tuple[Trial[V] | None, Counts]:
        """First acceptable point."""
        length, counts = self.proposal(line)
        for _ in range(self.trials):
            trial = line.at(length)
            counts += Counts(forward=1)
            if trial is not None and line.descends(trial, self.sufficient, self.rounding):
                return trial, counts
            length *= self.shrink
        return None, counts
