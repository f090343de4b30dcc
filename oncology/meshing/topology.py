"""Combinatorics of tetrahedral meshes: shared faces, the boundary, face-connected components, unused vertices.

Pure functions of index arrays; only the signed volume uses coordinates. Results do not depend on the
order in which equal sort keys come out, so they are the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

__all__ = ["FaceTable", "boundary_edges", "cell_volumes", "compact", "component_labels", "face_table", "oriented"]

type Ints = NDArray[np.int64]
type Floats = NDArray[np.float64]

# Face i lies opposite vertex i and is seen counter-clockwise from outside a cell of positive volume.
FACES = np.array([(1, 2, 3), (0, 3, 2), (0, 1, 3), (0, 2, 1)])
PACKING_LIMIT = 2**21  # three vertex numbers below this fit one int64 key


@dataclass(frozen=True)
class FaceTable:
    """How the cells of a mesh share faces.

    Attributes:
        boundary: (nb, 3) vertices of the faces of one cell only, counter-clockwise from outside.
        neighbours: (ni, 2) the two cells of each inner face.
        overfull: number of faces that three or more cells claim (0 in a valid mesh).
        folded: number of inner faces with both cells on the same side (0 in a valid mesh).
    """

    boundary: Ints
    neighbours: Ints
    overfull: int
    folded: int


def cell_volumes(points: Floats, cells: Ints) -> Floats:
    """Signed volume of each cell, (nc,), mm^3 for points in mm."""
    first, *others = (points.take(cells[:, i], axis=0) for i in range(4))
    a, b, c = (other - first for other in others)
    cross = np.stack([a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1], a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2]])
    return np.asarray(cross[0] * c[:, 0] + cross[1] * c[:, 1] + (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) * c[:, 2]) / 6.0


def oriented(points: Floats, cells: Ints) -> Ints:
    """The same cells with two vertices swapped where the volume was negative."""
    negative = cell_volumes(points, cells) < 0
    turned = cells.copy()
    turned[negative, 2], turned[negative, 3] = cells[negative, 3], cells[negative, 2]
    return turned


def compact(points: Floats, cells: Ints) -> tuple[Floats, Ints]:
    """Drop vertices that no cell uses and renumber the rest in their old order."""
    used = np.zeros(len(points), dtype=bool)
    used[cells.ravel()] = True
    number = np.cumsum(used) - 1
    return points[used], number[cells]


def face_table(cells: Ints) -> FaceTable:
    """Match the faces of all cells by sorting their vertex triples; memory about 100 bytes per face."""
    count = len(cells)
    faces = np.concatenate([cells.take(face, axis=1) for face in FACES])
    low, mid, high = _sorted_triples(faces)
    order = _order(low, mid, high, int(cells.max(initial=0)) + 1)
    low, mid, high = low[order], mid[order], high[order]
    same = (low[1:] == low[:-1]) & (mid[1:] == mid[:-1]) & (high[1:] == high[:-1])
    alone = np.ones(len(faces), dtype=bool)
    alone[1:] &= ~same
    alone[:-1] &= ~same
    first = np.flatnonzero(same)
    a, b = order[first], order[first + 1]
    return FaceTable(
        boundary=faces.take(np.sort(order[alone]), axis=0),
        neighbours=np.stack([np.minimum(a % count, b % count), np.maximum(a % count, b % count)], axis=1),
        overfull=int((same[1:] & same[:-1]).sum()),
        folded=int((_even(faces.take(a, axis=0)) == _even(faces.take(b, axis=0))).sum()),
    )


def component_labels(count: int, neighbours: Ints) -> Ints:
    """Label of the face-connected component of each of `count` cells, (count,), numbered by their first cell."""
    ones = np.ones(len(neighbours), dtype=np.int8)
    graph = sparse.coo_matrix((ones, (neighbours[:, 0], neighbours[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph.tocsr(), directed=False)[1], dtype=np.int64)


def boundary_edges(boundary: Ints) -> Ints:
    """Number of boundary faces at each edge of the boundary surface: 2 on a manifold, always even on a closed one."""
    if not len(boundary):
        return np.zeros(0, dtype=np.int64)
    a, b = boundary.ravel(), np.roll(boundary, -1, axis=1).ravel()
    keys = np.minimum(a, b) * (int(boundary.max()) + 1) + np.maximum(a, b)
    return np.asarray(np.unique(keys, return_counts=True)[1], dtype=np.int64)


def _sorted_triples(faces: Ints) -> tuple[Ints, Ints, Ints]:
    """Smallest, middle and largest vertex of each face; far cheaper than sorting rows."""
    a, b, c = faces.T
    low = np.minimum(np.minimum(a, b), c)
    high = np.maximum(np.maximum(a, b), c)
    return low, a + b + c - low - high, high


def _order(low: Ints, mid: Ints, high: Ints, count: int) -> Ints:
    """A permutation that brings equal triples together."""
    if count <= PACKING_LIMIT:
        return np.asarray(np.argsort((low * count + mid) * count + high))
    return np.asarray(np.lexsort((high, low * count + mid)))


def _even(faces: Ints) -> NDArray[np.bool_]:
    """Whether each triple is an even permutation of its sorted order."""
    a, b, c = faces.T
    return np.asarray(~((a > b) ^ (b > c) ^ (a > c)), dtype=bool)
