"""Dihedral angles of tetrahedra from the Gram matrix of their face normals.

With edges a, b, c out of one vertex, the outward normals of the faces there are c x b, a x c and b x a, and the fourth
is minus their sum; the angle at an edge is the arc cosine of minus the product of the two unit normals.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["cosine_range", "dihedral_range"]

type Floats = NDArray[np.float64]

CHUNK = 1 << 15  # cells at a time: the temporaries stay in the cache


def cosine_range(a: Floats, b: Floats, c: Floats) -> tuple[Floats, Floats, Floats]:
    """Smallest and largest cosine of the six dihedral angles, and six times the volume.

    Args:
        a: edges from the first vertex to the second, shape (3, ...).
        b: edges to the third.
        c: edges to the fourth.

    Returns:
        Arrays of shape (...): smallest cosine (largest angle), largest cosine (smallest angle), 6 x signed volume.
    """
    n1, n2, n3 = _cross(c, b), _cross(a, c), _cross(b, a)
    g11, g22, g33 = _dot(n1, n1), _dot(n2, n2), _dot(n3, n3)
    g12, g13, g23 = _dot(n1, n2), _dot(n1, n3), _dot(n2, n3)
    g01, g02, g03 = -(g11 + g12 + g13), -(g12 + g22 + g23), -(g13 + g23 + g33)
    tiny = np.finfo(float).tiny
    l0, l1, l2, l3 = (1.0 / np.sqrt(np.maximum(g, tiny)) for g in (-(g01 + g02 + g03), g11, g22, g33))
    smallest = -(g01 * l0 * l1)
    largest = smallest.copy()
    for product in (g02 * l0 * l2, g03 * l0 * l3, g12 * l1 * l2, g13 * l1 * l3, g23 * l2 * l3):
        np.minimum(smallest, -product, out=smallest)
        np.maximum(largest, -product, out=largest)
    return smallest, largest, -_dot(a, n1)


def dihedral_range(points: Floats, cells: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Smallest and largest dihedral angle of each cell, degrees, two arrays (nc,)."""
    smallest, largest = np.empty(len(cells)), np.empty(len(cells))
    for start in range(0, len(cells), CHUNK):
        part = slice(start, start + CHUNK)
        p, q, r, s = (points.take(cells[part, i], axis=0).T for i in range(4))
        low, high, _ = cosine_range(q - p, r - p, s - p)
        smallest[part] = np.degrees(np.arccos(np.clip(high, -1.0, 1.0)))
        largest[part] = np.degrees(np.arccos(np.clip(low, -1.0, 1.0)))
    return smallest, largest


def _cross(a: Floats, b: Floats) -> Floats:
    return np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def _dot(a: Floats, b: Floats) -> Floats:
    return np.asarray(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])
