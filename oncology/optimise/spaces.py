"""Inner products: the Riesz maps that turn derivatives into gradients (Neuberger 1997).

A `Space` holds three functions: the inner product of primal vectors, the pairing of a derivative with a direction, and
the Riesz map between them, so that `inner(riesz(f), d) == dual(f, d)`. Sums over MPI ranks enter as a plain `total`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from oncology.errors import ConfigError
from oncology.optimise.problem import Vector

__all__ = ["Space", "Total", "euclidean", "h1_by_solve", "h1_in_time", "solve_neumann", "weighted_l2"]

type Array = Any
"""A numpy array or a torch tensor: elementwise arithmetic, indexing and `sum()` are all that is used."""

type Total = Callable[[float], float]
"""Sum of a rank's part over all ranks, the same number on each; the identity on one rank."""


@dataclass(frozen=True)
class Space[V: Vector]:
    """A Hilbert space as the optimiser sees it.

    Attributes:
        inner: (a, b) -> (a, b)_H of two primal vectors.
        dual: (f, d) -> f[d], the pairing of a derivative with a direction.
        riesz: f -> g with (g, d)_H = f[d] for every d.
    """

    inner: Callable[[V, V], float]
    dual: Callable[[V, V], float]
    riesz: Callable[[V], V]

    def norm(self, a: V) -> float:
        """Norm of a primal vector."""
        return math.sqrt(max(self.inner(a, a), 0.0))


def _one_rank(part: float) -> float:
    return part


def _dot(a: Array, b: Array) -> float:
    return float((a * b).sum())


def _identity(derivative: Array) -> Array:
    return derivative


def euclidean(total: Total = _one_rank) -> Space[Array]:
    """Plain dot product, for a few scalars that are already scaled.

    Args:
        total: sum over ranks; omit it where every rank holds the whole vector.

    Example:
        >>> import numpy as np
        >>> euclidean().norm(np.array([3.0, 4.0]))
        5.0
    """

    def dot(a: Array, b: Array) -> float:
        return total(_dot(a, b))

    return Space(dot, dot, _identity)


def weighted_l2(weights: Array, total: Total = _one_rank) -> Space[Array]:
    """L2 by quadrature, `(a, b) = sum_i w_i a_i b_i`: the lumped mass of P1 elements, or voxel volumes.

    Args:
        weights: positive weights in the shape of a (rank's part of a) vector, mm^3 for fields in space.
        total: sum over ranks.

    Raises:
        ConfigError: a weight is not positive.

    Example:
        >>> import numpy as np
        >>> weighted_l2(np.array([1.0, 0.5])).riesz(np.array([1.0, 1.0]))
        array([1., 2.])
    """
    smallest = float(weights.min()) if math.prod(weights.shape) else 1.0
    if not smallest > 0:
        raise ConfigError(f"smallest weight of the inner product is {smallest:g}; every weight must be > 0")
    return Space(
        inner=lambda a, b: total(_dot(weights * a, b)),
        dual=lambda f, d: total(_dot(f, d)),
        riesz=lambda f: f / weights,
    )


def h1_by_solve(
    solve: Callable[[Array], Array], apply: Callable[[Array], Array], total: Total = _one_rank
) -> Space[Array]:
    """Sobolev space of a symmetric positive operator A, `(a, b) = a' A b`; in finite elements A = M + l^2 K with D = 1.

    Args:
        solve: derivative -> gradient, a solve with A to a tolerance below that of the optimiser.
        apply: vector -> A vector.
        total: sum over ranks.
    """
    return Space(
        inner=lambda a, b: total(_dot(a, apply(b))),
        dual=lambda f, d: total(_dot(f, d)),
        riesz=solve,
    )


def h1_in_time(step: float, length: float, total: Total = _one_rank) -> Space[Array]:
    """H1 in depth or time, `int ab + l^2 int a'b'`, for functions that are constant on each of N intervals.

    The derivative by the value on interval j, as automatic differentiation returns it, is `h G_j` with G the L2
    gradient; the gradient solves `(I + (l/h)^2 L_N) g = G` with natural (Neumann) ends.

    Args:
        step: h, length of an interval (day, or unit of depth).
        length: l, smoothing length in the same unit; 0 gives L2.
        total: sum over ranks, where the trailing axes are distributed.

    Returns:
        Space of arrays of shape (N, ...), time first.

    Raises:
        ConfigError: step is not positive or length is negative.
    """
    if not (step > 0 and 0 <= length < math.inf):
        raise ConfigError(f"step {step:g} and smoothing length {length:g}: need step > 0 and 0 <= length < inf")

    def inner(a: Array, b: Array) -> float:
        jumps = _dot(a[1:] - a[:-1], b[1:] - b[:-1])
        return total(step * _dot(a, b) + length**2 / step * jumps)

    return Space(
        inner=inner,
        dual=lambda f, d: total(_dot(f, d)),
        riesz=lambda f: solve_neumann((1.0 / step) * f, (length / step) ** 2),
    )


def solve_neumann(right: Array, ratio: float) -> Array:
    """Solve `(I + ratio L_N) g = right` along the first axis, L_N the Neumann second-difference matrix.

    L D L' elimination without pivoting (the matrix is diagonally dominant), O(N), vectorised over trailing axes and
    symmetric to rounding; unlike the kernel with cosh it cannot overflow.

    Args:
        right: array or tensor of shape (N, ...).
        ratio: (l/h)^2 >= 0.

    Example:
        >>> import numpy as np
        >>> solve_neumann(np.array([0.0, 3.0, 0.0]), 1.0)
        array([0.75, 1.5 , 0.75])
    """
    count = len(right)
    pivots = [1.0 + ratio * min(1, count - 1)]
    for j in range(1, count):
        neighbours = 1 if j == count - 1 else 2
        pivots.append(1.0 + neighbours * ratio - ratio**2 / pivots[-1])
    g = 1.0 * right  # a copy, for any type of array
    for j in range(1, count):
        g[j] = g[j] + (ratio / pivots[j - 1]) * g[j - 1]
    g[count - 1] = g[count - 1] / pivots[count - 1]
    for j in range(count - 2, -1, -1):
        g[j] = (g[j] + ratio * g[j + 1]) / pivots[j]
    return g
