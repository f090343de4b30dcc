"""The cells of an engine as plain arrays: the view of a mesh in which misfits are integrals over the brain in mm^3.

Densities are P1 functions: values at the vertices that a rank owns. Misfits see them cell by cell, and whatever an
engine does to reach the vertices of other ranks hides behind `spread` and its transpose `collect`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["CellSpace", "cell_gradients"]

Vector = NDArray[np.float64]


def _alone(values: Vector) -> Vector:
    return values


def _alone_extremes(low: float, high: float) -> tuple[float, float]:
    return low, high


@dataclass(frozen=True)
class CellSpace:
    """The cells of this rank.

    Attributes:
        points: (n + ghosts, d) vertices, those that this rank owns first, mm.
        cells: (m, d + 1) vertex indices.
        volumes: (m,) cell volumes, mm^d.
        total: sum over the ranks of an array, the same bits on every rank.
        extremes: smallest of the first and largest of the second argument over the ranks.
        spread: owned values (n,) to owned and ghost values (n + ghosts,).
        collect: duals of owned and ghost vertices to duals of the owned ones: the transpose of `spread`.
        owned_count: number n of vertices that this rank owns; None: all of them.
        numbers: (n,) number of each owned vertex in the whole mesh; None: in order.
    """

    points: Vector
    cells: NDArray[np.int64]
    volumes: Vector
    total: Callable[[Vector], Vector] = _alone
    extremes: Callable[[float, float], tuple[float, float]] = _alone_extremes
    spread: Callable[[Vector], Vector] = _alone
    collect: Callable[[Vector], Vector] = _alone
    owned_count: int | None = None
    numbers: NDArray[np.int64] | None = None

    @property
    def vertex_numbers(self) -> NDArray[np.int64]:
        """Number of each owned vertex in the whole mesh, (n,)."""
        return np.arange(len(self.owned)) if self.numbers is None else self.numbers

    @property
    def vertex_count(self) -> int:
        """Number of vertices of the whole mesh (collective)."""
        return round(float(self.total(np.array([float(len(self.owned))]))[0]))

    @property
    def owned(self) -> Vector:
        """Vertices that this rank owns, (n, d), mm."""
        return self.points[: self.owned_count]

    @cached_property
    def spacing(self) -> float:
        """Edge of a cube with a vertex's part of a typical cell, mm: the geometric mean over all cells (collective)."""
        dimension = self.points.shape[1]
        sums = self.total(np.array([np.log(self.volumes).sum(), float(len(self.volumes))]))
        return float((math.factorial(dimension) * np.exp(sums[0] / sums[1])) ** (1.0 / dimension))

    def bounds(self) -> tuple[Vector, Vector]:
        """Return the lower and upper corner of all vertices, mm, the same on every rank (collective)."""
        axes = self.owned.T
        ends = [self.extremes(float(x.min(initial=np.inf)), float(x.max(initial=-np.inf))) for x in axes]
        low, high = (np.array(corner) for corner in zip(*ends, strict=True))
        return low, high

    @property
    def centres(self) -> Vector:
        """Cell centres, (m, d), mm."""
        return np.asarray(self.points.take(self.cells, axis=0).mean(axis=1))

    def blocks(self, edge: float) -> tuple[NDArray[np.int64], int]:
        """Number the cubes of a lattice through the origin, and tell in which of them each cell's centre lies.

        The numbers are the same for any number of ranks (collective).

        Args:
            edge: edge length of the cubes, mm.

        Returns:
            Number of the cube of each cell of this rank, (m,), and how many cubes there are.
        """
        low, high = self.bounds()
        first = np.floor(low / edge).astype(np.int64)
        counts = np.floor(high / edge).astype(np.int64) - first + 1
        index = np.clip(np.floor(self.centres / edge).astype(np.int64) - first, 0, counts - 1)
        return np.ravel_multi_index(tuple(index.T), tuple(counts)), int(counts.prod())

    def to_cells(self, owned: Vector) -> Vector:
        """Return the values of a P1 function (n,) at the vertices of each cell, (m, d + 1)."""
        return np.asarray(self.spread(owned)[self.cells])

    def from_cells(self, duals: Vector) -> Vector:
        """Add up duals at cell vertices (m, d + 1) into duals of the owned vertices (n,): transpose of `to_cells`."""
        return self.collect(np.bincount(self.cells.ravel(), duals.ravel(), minlength=len(self.points)))


def cell_gradients(space: CellSpace, densities: Vector) -> Vector:
    """Return grad u on each cell, (m, d), 1/mm, of densities at the cell vertices (m, d + 1)."""
    corners = space.points.take(space.cells, axis=0)
    edges = corners[:, 1:] - corners[:, :1]
    differences = densities[:, 1:] - densities[:, :1]
    return np.asarray(np.linalg.solve(edges, differences[..., None])[..., 0])
