"""Volume fractions of cells above a threshold: what a segmentation sees of a P1 density.

The exact fraction of a tetrahedron with u > threshold is a closed form, once differentiable in the vertex values. Far
from the solution a sigmoid of the cell's mean density takes its place: the exact fraction has no slope away from the
front, the sigmoid is biased, so one continues from one to the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["sigmoid_fraction", "volume_fraction"]

Vector = NDArray[np.float64]

# Smallest spread of vertex densities in a cut cell: below it the fraction is a step, and its slope is limited.
_SPREAD = 1e-9


def sigmoid_fraction(densities: Vector, threshold: float, sharpness: float) -> tuple[Vector, Vector]:
    """Return `1 / (1 + exp(-sharpness (mean(u) - threshold)))` and its slopes, (m,) and (m, 4)."""
    fraction = 0.5 * (1.0 + np.tanh(0.5 * sharpness * (densities.mean(axis=1) - threshold)))
    slope = sharpness * fraction * (1.0 - fraction) / densities.shape[1]
    return fraction, np.repeat(slope[:, None], densities.shape[1], axis=1)


def volume_fraction(densities: Vector, threshold: float) -> tuple[Vector, Vector]:
    """Return the fraction of each P1 tetrahedron where the density exceeds the threshold, and its slopes.

    With the vertex values sorted, a cut tetrahedron is a corner, a wedge or the complement of a corner; each volume is
    a polynomial in the fractions at which the edges are cut, written without cancellation.

    Args:
        densities: (m, 4) density at the vertices of each cell.
        threshold: density at the boundary of the region.

    Returns:
        Fractions (m,) in [0, 1] and slopes (m, 4).
    """
    above = densities > threshold
    count = above.sum(axis=1)
    fractions = (count == 4).astype(float)
    slopes = np.zeros(densities.shape)
    for number, cut in ((1, _corner), (2, _wedge), (3, _corner)):
        rows = np.flatnonzero(count == number)
        if not len(rows):
            continue
        # three vertices above: the complement of a corner, with the signs turned
        sign = -1.0 if number == 3 else 1.0
        values = sign * (densities[rows] - threshold)
        order = np.argsort(values, axis=1)
        fraction, slope = cut(np.take_along_axis(values, order, axis=1))
        fractions[rows] = fraction if number != 3 else 1.0 - fraction
        # both the values and, for the complement, the fraction change sign: the slopes keep theirs
        unsorted = np.empty_like(slope)
        np.put_along_axis(unsorted, order, slope, axis=1)
        slopes[rows] = unsorted
    return fractions, slopes


def _cut(high: Vector, low: Vector) -> tuple[Vector, Vector, Vector]:
    """Return the fraction of an edge above zero, from its high end, and its slopes by the high and the low value."""
    spread = np.maximum(high - low, _SPREAD)
    part = high / spread
    return part, (1.0 - part) / spread, part / spread


def _corner(values: Vector) -> tuple[Vector, Vector]:
    """Only the last of four ascending values is above zero: the product of three edge fractions."""
    a, b, c, d = values.T
    (p, p_d, p_a), (q, q_d, q_b), (r, r_d, r_c) = _cut(d, a), _cut(d, b), _cut(d, c)
    slope = np.stack([p_a * q * r, p * q_b * r, p * q * r_c, p_d * q * r + p * q_d * r + p * q * r_d], axis=1)
    return p * q * r, slope


def _wedge(values: Vector) -> tuple[Vector, Vector]:
    """The last two of four ascending values are above zero: three tetrahedra make up the wedge."""
    a, b, c, d = values.T
    (p, p_d, p_a), (q, q_d, q_b) = _cut(d, a), _cut(d, b)
    (r, r_c, r_a), (s, s_c, s_b) = _cut(c, a), _cut(c, b)
    fraction = r * s + p * s * (1.0 - r) + p * q * (1.0 - s)
    by_p, by_q = s * (1.0 - r) + q * (1.0 - s), p * (1.0 - s)
    by_r, by_s = s * (1.0 - p), r + p * (1.0 - r) - p * q
    slope = np.stack(
        [by_p * p_a + by_r * r_a, by_q * q_b + by_s * s_b, by_r * r_c + by_s * s_c, by_p * p_d + by_q * q_d], axis=1
    )
    return fraction, slope
