"""What an inverse problem needs of a forward model, whichever engine solves it.

A forward map takes the physical parameters of a tumour to its density at the observation days, with exact tangent and
adjoint products of the discrete scheme. Densities are seen cell by cell as P1 functions: the view in which misfits
are integrals over the brain in mm^3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["PARAMETERS", "CellSpace", "ForwardMap", "Solution", "cell_gradients"]

Vector = NDArray[np.float64]

# Order of the entries of every parameter vector, in mm^2/day, mm^2/day, 1/day, mm, mm, mm, day.
PARAMETERS = ("diffusion_white", "diffusion_grey", "proliferation", "seed_x", "seed_y", "seed_z", "onset")


@dataclass(frozen=True)
class CellSpace:
    """The cells of this rank as plain arrays.

    Attributes:
        points: (n, d) vertices, mm.
        cells: (m, d + 1) vertex indices.
        volumes: (m,) cell volumes, mm^d.
        total: sum over the ranks of an array, the same bits on every rank.
    """

    points: Vector
    cells: NDArray[np.int64]
    volumes: Vector
    total: Callable[[Vector], Vector]

    @property
    def centres(self) -> Vector:
        """Cell centres, (m, d), mm."""
        return np.asarray(self.points[self.cells].mean(axis=1))


def cell_gradients(space: CellSpace, densities: Vector) -> Vector:
    """Return grad u on each cell, (m, d), 1/mm, of densities at the cell vertices (m, d + 1)."""
    corners = space.points[space.cells]
    edges = corners[:, 1:] - corners[:, :1]
    differences = densities[:, 1:] - densities[:, :1]
    return np.asarray(np.linalg.solve(edges, differences[..., None])[..., 0])


class Solution(Protocol):
    """A forward run and its linearisation."""

    @property
    def densities(self) -> tuple[Vector, ...]:
        """Density at the vertices of each cell (m, d + 1), one array an observation day."""

    def tangent(self, direction: Vector) -> tuple[Vector, ...]:
        """Return the derivative of `densities` along a direction of the parameter vector."""

    def adjoint(self, duals: tuple[Vector, ...]) -> Vector:
        """Return the derivative by the parameters of the sum of `<duals, densities>` over cells and ranks."""


class ForwardMap(Protocol):
    """Parameters to densities at the observation days."""

    @property
    def space(self) -> CellSpace:
        """The cells on which densities are given."""

    def solve(self, parameters: Vector) -> Solution:
        """Return the run for a parameter vector in the order of `PARAMETERS` (physical units)."""
