"""Products and solves with one PETSc matrix for several vectors at once, as tangents along several directions need.

A sparse product is limited by reading the matrix, which serves all vectors here; ghosts of all travel in one message.
Vectors are the rows of C-ordered arrays (k, n) of owned values, which PETSc takes as the columns of a dense matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from petsc4py import PETSc
from scipy.linalg.blas import daxpy, dscal

from oncology.errors import NumericalError

__all__ = ["BlockMatrix"]

Vector = NDArray[np.float64]

# Entries of a vector at a time: those of all vectors of an update stay in the cache, and OpenBLAS starts no threads.
CHUNK = 8192


class BlockMatrix:
    """A square PETSc matrix with its work space for k vectors; the matrix itself belongs to somebody else."""

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix
        self._dense: dict[int, tuple[Any, Any]] = {}

    def multiply(self, rows: Vector) -> Vector:
        """Return the products with k vectors, (k, n) (collective)."""
        (right, values), (left, products) = self._workspace(len(rows))
        values[:] = rows
        self._matrix.matMult(right, left)
        return products.copy()

    def solve(self, right: Vector, x: Vector, tolerance: float, most: int) -> int:
        """Solve `A x = right` for k right-hand sides by conjugate gradients without preconditioner (collective).

        Each is iterated until its residual is `tolerance` times its right-hand side, in the Euclidean norm.

        Args:
            right: (k, n).
            x: (k, n) start values; the solutions take their place.
            tolerance: relative residual.
            most: largest number of iterations.

        Returns:
            Number of iterations.

        Raises:
            NumericalError: on every rank, if one of them does not converge.
        """
        (directions_matrix, directions), (products_matrix, products) = self._workspace(len(right))
        residual = right - self.multiply(x)
        directions[:] = residual
        squares, norm = self._totals(_dots(right, right), _dots(residual, residual))
        limit = tolerance**2 * squares
        for iteration in range(most):
            active = np.flatnonzero(~(norm <= limit))  # what is not a number has not converged
            if not len(active):
                return iteration
            self._matrix.matMult(directions_matrix, products_matrix)
            (curvature,) = self._totals(_dots(directions, products))
            if not (curvature[active] > 0.0).all():
                break
            own = np.zeros(len(right))
            for k in active:
                own[k] = _advance(norm[k] / curvature[k], directions[k], products[k], x[k], residual[k])
            (after,) = self._totals(own)
            for k in active:
                _turn(after[k] / norm[k], directions[k], residual[k])
            norm[active] = after[active]
        raise NumericalError(
            f"the diffusion solves along {len(right)} directions did not converge in {most} iterations: diffusivities "
            "or time step are not finite or far too large; lower them"
        )

    def destroy(self) -> None:
        """Free the work space (collective)."""
        while self._dense:
            for dense in self._dense.popitem()[1]:
                dense.destroy()

    def _workspace(self, count: int) -> tuple[tuple[Any, Vector], tuple[Any, Vector]]:
        """Return right and left of a product with `count` vectors: PETSc's matrices, and their rows as arrays."""
        if count not in self._dense:
            rows, _ = self._matrix.getSizes()
            right: Any = PETSc.Mat().createDense((rows, (PETSc.DECIDE, count)), comm=self._matrix.comm)
            right.setUp()
            right.assemble()
            self._dense[count] = right, self._matrix.matMult(right)
        right, left = self._dense[count]
        return (right, right.getDenseArray().T), (left, left.getDenseArray().T)

    def _totals(self, *parts: Vector) -> list[Vector]:
        """Return the sums of arrays over the ranks."""
        own = np.concatenate(parts)
        summed = np.empty_like(own)
        self._matrix.comm.tompi4py().Allreduce(own, summed)
        return list(summed.reshape(len(parts), -1))


def _dots(a: Vector, b: Vector) -> Vector:
    """Return the inner products of the rows of two arrays."""
    return np.array([x @ y for x, y in zip(a, b, strict=True)])


def _advance(step: float, direction: Vector, product: Vector, x: Vector, residual: Vector) -> float:
    """Move a solution and its residual in place; return this rank's part of the residual's square."""
    square = 0.0
    for start in range(0, len(x), CHUNK):
        part = slice(start, start + CHUNK)
        daxpy(direction[part], x[part], a=step)
        rest = residual[part]
        daxpy(product[part], rest, a=-step)
        square += float(rest @ rest)
    return square


def _turn(weight: float, direction: Vector, residual: Vector) -> None:
    """Replace a direction by the residual plus a multiple of it, in place."""
    for start in range(0, len(direction), CHUNK):
        part = slice(start, start + CHUNK)
        dscal(weight, direction[part])
        daxpy(residual[part], direction[part])
