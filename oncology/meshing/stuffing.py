"""Isosurface stuffing: tetrahedra of guaranteed shape between a smooth surface and a body-centred cubic lattice.

Labelle and Shewchuk, "Isosurface stuffing: fast tetrahedral meshes with good dihedral angles", ACM Transactions on
Graphics 26 (2007): lattice points close to a crossing of the surface move onto it, the remaining crossings cut the
lattice cells, and a stencil for each sign pattern fills what lies inside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncology.meshing.topology import oriented

__all__ = ["MEAN_EDGE", "Lattice", "bcc_lattice", "inner_cells", "stuff"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]
type Flags = NDArray[np.bool_]

MEAN_EDGE = (6.0 + 8.0 * np.sqrt(0.75)) / 14.0  # mean edge over the period; 6 long and 8 short edges per point
SNAP_LONG = 0.24999  # a crossing this close to an end (fraction of a long edge) moves that end (paper, section 3)
SNAP_SHORT = 0.41189  # the same on a short edge

# Nodes of a cell: corners 0-3 (inside, then on, then outside the surface), then crossings 4-9 of these pairs.
PAIRS = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
# Stencils by (corners inside, corners outside). A quadrilateral on a lattice face is split at the crossing of its long
# edge, which `_ordered` puts last among the inner corners: both cells at the face then agree, and angles are largest.
STENCILS: dict[tuple[int, int], tuple[tuple[int, int, int, int], ...]] = {
    (1, 1): ((0, 1, 2, 6),),
    (1, 2): ((0, 1, 5, 6),),
    (1, 3): ((0, 4, 5, 6),),
    (2, 1): ((0, 1, 8, 2), (0, 8, 6, 2)),
    (3, 1): ((0, 1, 2, 9), (0, 1, 8, 9), (0, 6, 8, 9)),
}
# Two corners each side. Across short edges 01: the crossings of the long edges 02 and 13 take the diagonals. Along the
# long edge 01 all four cut edges are short: lower vertex numbers decide, and the shorter of two inner diagonals.
TWO_ACROSS = ((0, 1, 5, 8), (0, 5, 6, 8), (1, 5, 7, 8))
TWO_ALONG = ((0, 1, 7, 8), (0, 5, 6, 8), (0, 5, 8, 7))
TWO_ALONG_OTHER = ((0, 1, 7, 8), (0, 5, 6, 7), (0, 6, 8, 7))


@dataclass(frozen=True, eq=False)
class Lattice:
    """Points of a body-centred cubic lattice: first the corners of its cubes, then their centres.

    Attributes:
        points: (n, 3), mm.
        shape: number of cubes along each axis; there is one corner more.
    """

    points: Floats
    shape: tuple[int, int, int]

    @property
    def corners(self) -> int:
        """Number of corners; the points from here on are centres."""
        return int(np.prod(np.array(self.shape) + 1))


def bcc_lattice(lower: Floats, upper: Floats, spacing: float, anchor: Floats) -> Lattice:
    """A lattice of cubes with edge `spacing` (mm) over a box, with a corner at `anchor` plus whole multiples."""
    first = np.floor((lower - anchor) / spacing).astype(np.int64) - 1
    last = np.ceil((upper - anchor) / spacing).astype(np.int64) + 1
    corner_axes = [anchor[d] + spacing * np.arange(first[d], last[d] + 1) for d in range(3)]
    centre_axes = [axis[:-1] + spacing / 2 for axis in corner_axes]
    grids = [np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3) for axes in (corner_axes, centre_axes)]
    nx, ny, nz = (int(n) for n in last - first)
    return Lattice(np.concatenate(grids), (nx, ny, nz))


def inner_cells(lattice: Lattice, inside: Flags) -> Ints:
    """Lattice cells with a corner inside, (n, 4): two neighbouring centres and an edge of the square between them."""
    shape = np.array(lattice.shape)
    corner = np.arange(lattice.corners).reshape(shape + 1)
    centre = lattice.corners + np.arange(int(np.prod(shape))).reshape(shape)
    cells = []
    for axis in range(3):
        one, two = (axis + 1) % 3, (axis + 2) % 3
        below = centre.take(range(shape[axis] - 1), axis=axis).ravel()
        above = centre.take(range(1, shape[axis]), axis=axis).ravel()
        square = corner.take(range(1, shape[axis]), axis=axis)
        ring = [_shifted(square, {one: i, two: j}).ravel() for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
        near = inside[below] | inside[above] | np.logical_or.reduce([inside[r] for r in ring])
        below, above, ring = below[near], above[near], [r[near] for r in ring]
        for side in range(4):
            cells.append(np.stack([below, above, ring[side], ring[(side + 1) % 4]], axis=1))
    found = np.concatenate(cells)
    return np.asarray(found[inside[found].any(axis=1)])


def stuff(lattice: Lattice, cells: Ints, values: Floats) -> tuple[Floats, Ints]:
    """Fill the region where a function on the lattice is positive.

    Args:
        lattice: points, possibly mapped by a grading.
        cells: (n, 4) lattice cells, at least those with a point where the function is positive.
        values: (number of points,) the function; linear along each edge.

    Returns:
        Points (lattice and crossings, some unused) and cells of positive volume; empty cells where nothing is inside.
    """
    centred = np.arange(len(lattice.points)) >= lattice.corners
    values = np.where(values == 0.0, np.finfo(float).tiny, values)
    inside = values > 0
    count = inside[cells].sum(axis=1)
    whole, cut = cells[count == 4], cells[(count > 0) & (count < 4)]
    edges = _cut_edges(cut, inside)
    points, values, live, crossings = _snap(lattice.points, values, edges, centred)
    sign = np.sign(values).astype(np.int8)
    cut = cut[(sign[cut] > 0).any(axis=1)]
    locate = _crossing_numbers(edges[live], len(points))
    nodes = np.concatenate([points, crossings[live]])
    filled = _fill(_ordered(cut, sign, centred), sign, centred, nodes, locate)
    return nodes, oriented(nodes, np.concatenate([whole, filled]))


def _shifted(square: Ints, offsets: dict[int, int]) -> Ints:
    """One corner of each square of a grid of corners."""
    for axis, start in offsets.items():
        square = square.take(range(start, square.shape[axis] - 1 + start), axis=axis)
    return square


def _cut_edges(cells: Ints, inside: Flags) -> Ints:
    """Each edge with one end inside once, (ne, 2), smaller number first, in ascending order."""
    ends = [cells[:, pair] for pair in PAIRS]
    cut = np.concatenate([e[inside[e[:, 0]] != inside[e[:, 1]]] for e in ends])
    keys = np.unique(cut.min(axis=1) * len(inside) + cut.max(axis=1))
    return np.stack([keys // len(inside), keys % len(inside)], axis=1)


def _snap(points: Floats, values: Floats, edges: Ints, centred: Flags) -> tuple[Floats, Floats, Flags, Floats]:
    """Move lattice points onto close crossings, nearest first; the other crossings at a moved point vanish.

    Works in rounds: of all points with a close crossing, those move together whose crossing is closer than that of
    every point they share a live edge with, so that the outcome does not depend on any order of visiting.

    Returns:
        Moved points, values with zeros there, which edges still carry a crossing, and all crossings (ne, 3).
    """
    points, values = points.copy(), values.copy()
    tail, head = edges.T
    fraction = values[tail] / (values[tail] - values[head])
    crossings = points[tail] * (1 - fraction)[:, None] + points[head] * fraction[:, None]
    limit = np.where(centred[tail] == centred[head], SNAP_LONG, SNAP_SHORT)
    ends = np.concatenate([tail, head])
    distance = np.concatenate([fraction, 1 - fraction])
    edge = np.tile(np.arange(len(edges)), 2)
    close = np.flatnonzero(distance < np.tile(limit, 2))
    close = close[np.lexsort((edge[close], ends[close], distance[close]))]
    live = np.ones(len(edges), dtype=bool)
    while len(close := close[live[edge[close]]]):
        vertex, first = np.unique(ends[close], return_index=True)
        rank = np.full(len(points), len(close))
        rank[vertex] = first  # `close` is in order of distance, so the first entry of a vertex is its rank
        rival = np.full(len(points), len(close))
        np.minimum.at(rival, tail[live], rank[head[live]])
        np.minimum.at(rival, head[live], rank[tail[live]])
        wins = rank[vertex] < rival[vertex]
        points[vertex[wins]] = crossings[edge[close[first[wins]]]]
        values[vertex[wins]] = 0.0
        live &= (values[tail] != 0) & (values[head] != 0)
    return points, values, live, crossings


def _crossing_numbers(edges: Ints, count: int) -> Callable[[Ints, Ints], Ints]:
    """A function from the two ends of cut edges to the node number of their crossing (edges in ascending order)."""
    keys = edges[:, 0] * count + edges[:, 1]

    def locate(a: Ints, b: Ints) -> Ints:
        return np.asarray(count + np.searchsorted(keys, np.minimum(a, b) * count + np.maximum(a, b)))

    return locate


def _ordered(cells: Ints, sign: NDArray[np.int8], centred: Flags) -> Ints:
    """Corners inside first, then on, then outside the surface; ties by vertex number, but see STENCILS for one outside.

    With one corner outside, the inner corner at the other end of its long edge (same kind of lattice point) goes last.
    """
    signs = sign[cells]
    single = (signs < 0).sum(axis=1) == 1
    outside_kind = (centred[cells] & (signs < 0)).any(axis=1)
    long_end = (centred[cells] == outside_kind[:, None]) & single[:, None] & (signs > 0)
    order = np.lexsort((cells, long_end, -signs), axis=1)
    return np.take_along_axis(cells, order, axis=1)


def _fill(
    cells: Ints, sign: NDArray[np.int8], centred: Flags, nodes: Floats, locate: Callable[[Ints, Ints], Ints]
) -> Ints:
    """Apply the stencils to ordered cells."""
    positive = (sign[cells] > 0).sum(axis=1)
    negative = (sign[cells] < 0).sum(axis=1)
    filled = [cells[negative == 0]]
    for (p, m), stencil in STENCILS.items():
        chosen = cells[(positive == p) & (negative == m)]
        filled += _applied(stencil, _with_crossings(chosen, p, m, locate))
    two = cells[(positive == 2) & (negative == 2)]
    across = centred[two[:, 0]] != centred[two[:, 1]]
    turned = two[across]
    swap = centred[turned[:, 2]] != centred[turned[:, 0]]  # corner 2 is to be the far end of the long edge from 0
    turned[swap] = turned[swap][:, [0, 1, 3, 2]]
    filled += _applied(TWO_ACROSS, _with_crossings(turned, 2, 2, locate))
    along = _with_crossings(two[~across], 2, 2, locate)
    shorter = _squared(nodes, along[:, 5], along[:, 8]) <= _squared(nodes, along[:, 6], along[:, 7])
    filled += _applied(TWO_ALONG, along[shorter]) + _applied(TWO_ALONG_OTHER, along[~shorter])
    return np.concatenate(filled)


def _with_crossings(cells: Ints, inside: int, outside: int, locate: Callable[[Ints, Ints], Ints]) -> Ints:
    """Corners and crossings of cells of one pattern, (n, 10); -1 for pairs without a crossing."""
    nodes = np.full((len(cells), 10), -1)
    nodes[:, :4] = cells
    for number, (a, b) in enumerate(PAIRS):
        if a < inside and b >= 4 - outside:
            nodes[:, 4 + number] = locate(cells[:, a], cells[:, b])
    return nodes


def _applied(stencil: tuple[tuple[int, int, int, int], ...], nodes: Ints) -> list[Ints]:
    return [nodes[:, tet] for tet in stencil]


def _squared(nodes: Floats, a: Ints, b: Ints) -> Floats:
    return np.asarray(((nodes[a] - nodes[b]) ** 2).sum(axis=1))
