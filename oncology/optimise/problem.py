"""What the optimiser needs from a problem: values, derivatives and tangents at a point, on vectors of any type.

A vector is anything with `+`, `-` and multiplication by a float from the left: numpy arrays (the local part of a
distributed vector), torch tensors, `Blocks` of them. A derivative is a dual vector, as automatic differentiation or a
discrete adjoint returns it; `spaces` turns it into a gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Counts", "Evaluation", "FunctionProblem", "Problem", "Tangent", "Vector"]


class Vector(Protocol):
    """A member of a linear space: sums, differences and `float * vector`."""

    def __add__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...
    def __rmul__(self, factor: Any, /) -> Any: ...


@dataclass(frozen=True)
class Tangent:
    """What one sensitivity solve along a direction d says about the cost E near x (Baravdish et al., arXiv:2202.05766).

    Attributes:
        curvature: q, the Gauss-Newton curvature of E along d: non-negative.
        second: E''(x)[d, d], or None where the problem does not provide it.
        model: beta -> (phi(beta), phi'(beta)), the derivative of the linearised-state cost along d and its slope;
            strictly increasing. None where that cost is quadratic.
    """

    curvature: float
    second: float | None = None
    model: Callable[[float], tuple[float, float]] | None = None


class Evaluation[V: Vector](Protocol):
    """The problem at one point, with its forward solve done; derivative and tangent reuse that solve.

    All numbers are the same on every rank.
    """

    @property
    def value(self) -> float:
        """Cost E(x)."""

    @property
    def residual(self) -> float:
        """Norm of the data residual, in the unit of the noise level; nan where there is none."""

    def derivative(self) -> V:
        """E'(x) as a dual vector: one adjoint solve."""

    def tangent(self, direction: V) -> Tangent:
        """Behaviour of E along the direction: one sensitivity solve."""


class Problem[V: Vector](Protocol):
    """A differentiable cost; `evaluate` raises `NumericalError` (on every rank) where it cannot be computed."""

    def evaluate(self, x: V, /) -> Evaluation[V]:
        """Solve the forward problem at x."""


@dataclass(frozen=True)
class Counts:
    """Numbers of forward, adjoint (gradient) and sensitivity (tangent) solves."""

    forward: int = 0
    gradient: int = 0
    tangent: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.forward + other.forward, self.gradient + other.gradient, self.tangent + other.tangent)


@dataclass(frozen=True)
class FunctionProblem[V: Vector]:
    """A problem made of plain functions, for costs whose value and derivative have no work in common.

    Attributes:
        value: x -> E(x).
        derivative: x -> E'(x), a dual vector.
        tangent: (x, d) -> `Tangent`; only the sensitivity steps ask for it.
        residual: x -> norm of the data residual; only the discrepancy principle asks for it.

    Example:
        >>> import numpy as np
        >>> bowl = FunctionProblem(lambda x: 0.5 * float(x @ x), lambda x: x)
        >>> bowl.evaluate(np.array([3.0, 4.0])).value
        12.5
    """

    value: Callable[[V], float]
    derivative: Callable[[V], V]
    tangent: Callable[[V, V], Tangent] | None = None
    residual: Callable[[V], float] | None = None

    def evaluate(self, x: V, /) -> Evaluation[V]:
        """Evaluate the cost at x."""
        residual = float("nan") if self.residual is None else float(self.residual(x))
        return _FunctionEvaluation(self, x, float(self.value(x)), residual)


@dataclass(frozen=True)
class _FunctionEvaluation[V: Vector]:
    problem: FunctionProblem[V]
    x: V
    value: float
    residual: float

    def derivative(self) -> V:
        return self.problem.derivative(self.x)

    def tangent(self, direction: V) -> Tangent:
        if self.problem.tangent is None:
            raise TypeError("this FunctionProblem has no tangent; give one, or take Armijo(proposal=scaled_previous)")
        return self.problem.tangent(self.x, direction)
