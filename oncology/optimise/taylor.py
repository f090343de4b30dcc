"""Taylor tests of derivatives and dot tests of adjoints: numbers, not verdicts.

The remainder of a Taylor expansion of order k shrinks as h^k; its measured rates say whether a derivative is right. A
rounding floor decides which remainders are trusted, so that a rate is never computed from noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from oncology.optimise.problem import Vector

__all__ = ["DotResult", "TaylorResult", "dot_test", "taylor_test"]

HALVINGS = tuple(0.5**k for k in range(8))


@dataclass(frozen=True)
class TaylorResult:
    """Remainders of a Taylor expansion.

    Attributes:
        order: expected rate: 1 without derivatives, 2 with the slope, 3 with the curvature too.
        steps: step lengths h, decreasing.
        residuals: size of the remainder at each h.
        rates: observed rate between each two neighbouring h with trusted remainders, coarse to fine.
        floor: remainders below this are rounding and are not trusted.
    """

    order: int
    steps: tuple[float, ...]
    residuals: tuple[float, ...]
    rates: tuple[float, ...]
    floor: float

    @property
    def rate(self) -> float:
        """Finest trusted rate; inf where the expansion is exact to rounding, nan where no rate can be determined."""
        if self.rates:
            return self.rates[-1]
        return math.inf if max(self.residuals) <= self.floor else math.nan


def taylor_test[V: Vector](
    value: Callable[[V], Any],
    x: V,
    direction: V,
    slope: Any = None,
    curvature: Any = None,
    steps: Sequence[float] = HALVINGS,
    norm: Callable[[Any], float] = abs,
    precision: float = 1e-13,
) -> TaylorResult:
    """Remainders and rates of `F(x + h d) - F(x) [- h F'(x)[d] [- h^2/2 F''(x)[d, d]]]`.

    Args:
        value: x -> F(x): a cost, or with `norm` a vector such as a final state.
        x: point.
        direction: d.
        slope: F'(x)[d], from the gradient or the tangent.
        curvature: F''(x)[d, d].
        steps: step lengths h, decreasing.
        norm: size of a value; of a cost its absolute value.
        precision: relative accuracy of `value`; take the solver's tolerance where it solves iteratively.

    Returns:
        Remainders with their rates, in which only remainders above `precision * max |F|` take part.

    Example:
        >>> round(taylor_test(lambda x: x**3, 1.0, 1.0, slope=3.0).rate, 2)
        2.0
    """
    base = value(x)
    size = norm(base)
    residuals = []
    for h in steps:
        moved = value(x + h * direction)
        size = max(size, norm(moved))
        remainder = moved - base
        if slope is not None:
            remainder = remainder - h * slope
        if curvature is not None:
            remainder = remainder - 0.5 * h**2 * curvature
        residuals.append(float(norm(remainder)))
    floor = precision * float(size)
    rates = tuple(
        math.log(coarse / fine) / math.log(h / smaller)
        for (coarse, fine), (h, smaller) in zip(pairwise(residuals), pairwise(steps), strict=True)
        if min(coarse, fine) > floor
    )
    order = 1 + (slope is not None) + (curvature is not None)
    return TaylorResult(order, tuple(steps), tuple(residuals), rates, floor)


@dataclass(frozen=True)
class DotResult:
    """Both sides of `(J d, w) = (d, J* w)`, and their difference relative to `|J d| |w|`."""

    forward: float
    backward: float
    error: float


def dot_test[D: Vector, R: Vector](
    tangent: Callable[[D], R],
    adjoint: Callable[[R], D],
    direction: D,
    covector: R,
    range_inner: Callable[[R, R], float],
    domain_inner: Callable[[D, D], float],
) -> DotResult:
    """Test that an adjoint is the transpose of a tangent.

    Args:
        tangent: d -> J d.
        adjoint: w -> J* w.
        direction: d, at random.
        covector: w, at random.
        range_inner: (J d, w) -> number, symmetric.
        domain_inner: (d, J* w) -> number; the pairing where the adjoint returns a dual vector.

    Example:
        >>> import numpy as np
        >>> matrix = np.array([[1.0, 2.0], [3.0, 4.0]])
        >>> dot = lambda a, b: float(a @ b)
        >>> dot_test(lambda d: matrix @ d, lambda w: matrix.T @ w, np.ones(2), np.ones(2), dot, dot).error
        0.0
    """
    image = tangent(direction)
    forward = range_inner(image, covector)
    backward = domain_inner(direction, adjoint(covector))
    scale = math.sqrt(range_inner(image, image) * range_inner(covector, covector))
    return DotResult(forward, backward, abs(forward - backward) / scale if scale > 0 else abs(forward - backward))
