"""Stiffness matrices `int c grad u . T grad v dx` of P1 simplices with a coefficient c constant on each cell.

A fit asks for hundreds of them on one mesh, so the element matrices `V grad_i . T grad_j` are computed once, and a
table maps the coefficients to the entries that the cells of a rank contribute to.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from petsc4py import PETSc
from scipy import sparse

__all__ = ["StiffnessAssembler"]

Vector = NDArray[np.float64]


class StiffnessAssembler:
    """Fills `int c grad u . T grad v dx` for coefficients c that are constant on each cell; owns a PETSc matrix."""

    def __init__(
        self, comm: Any, index_map: Any, cells: NDArray[np.int64], volumes: Vector, flux: tuple[Vector, Vector]
    ) -> None:
        """Find the entries of this rank's cells (collective).

        Args:
            comm: MPI communicator.
            index_map: DOLFINx index map of the vertices.
            cells: (m, d + 1) local vertex numbers.
            volumes: (m,) mm^d.
            flux: gradients of the barycentric coordinates (m, d + 1, d), and the same times the tensor, 1/mm.
        """
        corners = cells.shape[1]
        vertices = index_map.size_local + index_map.num_ghosts
        pairs = (cells[:, :, None] * vertices + cells[:, None, :]).ravel()
        entries, positions = np.unique(pairs, return_inverse=True)
        elements = np.einsum("mia,mja,m->mij", *flux, volumes)
        owners = np.repeat(np.arange(len(cells)), corners**2)
        table = sparse.csr_array((elements.ravel(), (positions, owners)), shape=(len(entries), len(cells)))
        self._table = table
        rows, columns = (
            index_map.local_to_global(part.astype(np.int32)).astype(PETSc.IntType)
            for part in (entries // vertices, entries % vertices)
        )
        matrix: Any = PETSc.Mat().create(comm)
        sizes = (index_map.size_local, index_map.size_global)
        matrix.setSizes((sizes, sizes))
        matrix.setType(PETSc.Mat.Type.AIJ)
        matrix.setPreallocationCOO(rows, columns)
        self._scratch = matrix

    def __call__(self, coefficients: Vector) -> Any:
        """Return a new matrix (collective)."""
        self._scratch.setValuesCOO(self._table @ coefficients)
        return self._scratch.duplicate(copy=True)

    def destroy(self) -> None:
        """Free the matrix (collective)."""
        self._scratch.destroy()
