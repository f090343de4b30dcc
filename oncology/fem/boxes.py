"""Boxes of the two interior lattices, with flat faces: the meshes on which exact solutions are measured.

`kuhn_box` is the lattice route's mesh in 1, 2 or 3 dimensions (Kuhn's subdivision of boxes); `bcc_box` is the interior
of the stuffing route (body-centred cubic), where a face of the box cuts the cells across it in half.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from oncology.meshing.stuffing import bcc_lattice, inner_cells
from oncology.meshing.topology import compact, oriented

__all__ = ["bcc_box", "kuhn_box"]


def kuhn_box(lower: Sequence[float], upper: Sequence[float], counts: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return points (nv, d) and cells (nc, d + 1) of a box cut into boxes, each of which is cut into d! simplices.

    Args:
        lower: lower corner, mm; its length is the dimension d.
        upper: upper corner, mm.
        counts: number of boxes along each axis.

    Example:
        >>> points, cells = kuhn_box([0, 0, 0], [1, 1, 1], [2, 2, 2])
        >>> points.shape, cells.shape
        ((27, 3), (48, 4))
    """
    dimension = len(counts)
    axes = [np.linspace(a, b, n + 1) for a, b, n in zip(lower, upper, counts, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, dimension)
    number = np.arange(len(points)).reshape([len(axis) for axis in axes])
    corner = number[(slice(-1),) * dimension].ravel()
    strides = [int(number[tuple(np.eye(dimension, dtype=int)[axis])]) for axis in range(dimension)]
    paths = [np.cumsum([0, *(strides[axis] for axis in order)]) for order in permutations(range(dimension))]
    return points, np.concatenate([corner[:, None] + path for path in paths])


def bcc_box(lower: Sequence[float], counts: Sequence[int], spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Return points (nv, 3) and cells (nc, 4) of a box of cubes on the body-centred cubic lattice.

    Args:
        lower: lower corner, mm.
        counts: number of cubes along each axis.
        spacing: edge of a cube, mm.

    Example:
        >>> points, cells = bcc_box([0, 0, 0], [2, 2, 2], 1.0)
        >>> points.shape, cells.shape
        ((59, 3), (144, 4))
    """
    low = np.asarray(lower, dtype=float)
    high = low + spacing * np.asarray(counts)
    # `bcc_lattice` adds a cube on each side: the box starts one cube inside it
    lattice = bcc_lattice(low, high, spacing, low)
    within = ((lattice.points > low - 0.1 * spacing) & (lattice.points < high + 0.1 * spacing)).all(axis=1)
    cells = inner_cells(lattice, within)
    # of a cell across a face, only the edge in the face and the inner centre are within: the outer centre moves onto it
    cells = cells[within[cells].sum(axis=1) >= 3]
    half = cells[~within[cells].all(axis=1)]
    moved = np.unique(half[~within[half]])
    points = lattice.points.copy()
    points[moved] = np.clip(points[moved], low, high)
    points, cells = compact(points, cells)
    return points, oriented(points, cells)
