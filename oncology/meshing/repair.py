"""Raise the worst dihedral angles by moving single vertices.

Each vertex of a bad cell tries a fixed set of directions and distances and takes the position at which the smallest
angle of its cells is largest, if that is better than before and no cell turns over. Vertices that share no cell move
together, so the result depends neither on an order of visiting nor on the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncology.meshing.dihedral import cosine_range, dihedral_range

__all__ = ["repair"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_CUBE = np.array([(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if (x, y, z) != (0, 0, 0)])
_UNIT = _CUBE / np.sqrt((_CUBE**2).sum(axis=1))[:, None]
TRIALS = np.concatenate([_UNIT * step for step in (0.03, 0.08, 0.16)])  # in shortest edges at the vertex
BATCH = 2048  # vertex-cell pairs tried at once
# Even permutations that bring vertex k of a cell to the front and keep its orientation.
FRONT = np.array([(0, 1, 2, 3), (1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0)])


@dataclass(frozen=True, eq=False)
class _Stars:
    """The cells around each vertex that may move.

    Attributes:
        vertices: (m,) vertex numbers, ascending.
        start: (m,) where each vertex's pairs start.
        owner: (k,) position in `vertices` of each vertex-cell pair.
        cell: (k,) the cell of each pair.
        others: (k, 3) the other vertices of that cell, in positive order after the vertex.
    """

    vertices: Ints
    start: Ints
    owner: Ints
    cell: Ints
    others: Ints


def repair(points: Floats, cells: Ints, target: float, passes: int = 8) -> Floats:
    """Move vertices until no dihedral angle is below a target, or no single move helps.

    Args:
        points: (nv, 3), mm.
        cells: (nc, 4), positive volume; they keep it.
        target: smallest dihedral angle to reach, degrees.
        passes: largest number of sweeps over the vertices of bad cells.

    Returns:
        Moved points (nv, 3); vertices away from bad cells stay.
    """
    points = points.copy()
    cosine = np.cos(np.radians(dihedral_range(points, cells)[0]))
    limit = float(np.cos(np.radians(target)))
    for _ in range(passes):
        bad = cosine > limit
        if not bad.any():
            break
        moving = np.zeros(len(points), dtype=bool)
        moving[cells[bad].ravel()] = True
        stars = _stars(cells, moving)
        if not _sweep(points, stars, cosine, limit):
            break
    return points


def _stars(cells: Ints, moving: NDArray[np.bool_]) -> _Stars:
    cell, place = np.nonzero(moving[cells])
    vertex = cells[cell, place]
    order = np.argsort(vertex, kind="stable")
    cell, place, vertex = cell[order], place[order], vertex[order]
    vertices, start, owner = np.unique(vertex, return_index=True, return_inverse=True)
    others = np.take_along_axis(cells[cell], FRONT[place], axis=1)[:, 1:]
    return _Stars(vertices, start, owner, cell, others)


def _sweep(points: Floats, stars: _Stars, cosine: Floats, limit: float) -> bool:
    """Let every vertex try once, worst stars first among neighbours; updates points and cosines; True if any moved."""
    pending = np.ones(len(stars.vertices), dtype=bool)
    moved = False
    best = np.empty(len(cosine), dtype=np.int64)
    while True:
        worst = np.maximum.reduceat(cosine[stars.cell], stars.start)
        pending &= worst > limit
        if not pending.any():
            return moved
        rank = np.full(len(pending), len(pending))
        order = np.lexsort((stars.vertices, -worst))
        order = order[pending[order]]
        rank[order] = np.arange(len(order))
        best[stars.cell] = len(pending)
        np.minimum.at(best, stars.cell, rank[stars.owner])
        wins = pending & np.logical_and.reduceat(best[stars.cell] == rank[stars.owner], stars.start)
        pending &= ~wins
        for chosen in _batches(np.flatnonzero(wins), stars):
            moved |= _move(points, stars, chosen, worst[chosen], cosine)


def _batches(chosen: Ints, stars: _Stars) -> list[Ints]:
    """Split vertices so that each part has about BATCH pairs."""
    ends = np.append(stars.start, len(stars.owner))
    load = np.cumsum(ends[chosen + 1] - ends[chosen])
    return [part for part in np.split(chosen, np.searchsorted(load, np.arange(BATCH, load[-1], BATCH))) if len(part)]


def _move(points: Floats, stars: _Stars, chosen: Ints, worst: Floats, cosine: Floats) -> bool:
    """Try all trial positions of some vertices that share no cell, and take the best of each if it is better."""
    mark = np.full(len(stars.vertices), -1)
    mark[chosen] = np.arange(len(chosen))
    pairs = np.flatnonzero(mark[stars.owner] >= 0)
    owner = mark[stars.owner[pairs]]
    start = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
    here = points[stars.vertices[chosen]]
    corners = [points[stars.others[pairs, i]].T[:, :, None] for i in range(3)]
    squares = np.min([((corner[:, :, 0].T - here[owner]) ** 2).sum(axis=1) for corner in corners], axis=0)
    reach = np.sqrt(np.minimum.reduceat(squares, start))
    trial = here[:, None, :] + TRIALS[None] * reach[:, None, None]
    at = trial[owner].transpose(2, 0, 1)
    _, sharpest, volume = cosine_range(*(corner - at for corner in corners))
    sharpest[volume <= 0] = 2.0
    star = np.maximum.reduceat(sharpest, start, axis=0)
    pick = star.argmin(axis=1)
    better = star[np.arange(len(chosen)), pick] < worst - 1e-7
    points[stars.vertices[chosen[better]]] = trial[better, pick[better]]
    kept = better[owner]
    cosine[stars.cell[pairs[kept]]] = sharpest[kept, pick[owner[kept]]]
    return bool(better.any())
