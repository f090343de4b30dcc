"""L2 and H1 inner products of P1 fields: lumped mass, and a solve with `M + l^2 K` (B4.4 of the specification).

K is the stiffness matrix of unit diffusivity. The H1 gradient is the L2 gradient smoothed over the length l.
"""

from __future__ import annotations

import math
from typing import Any

import dolfinx
import dolfinx.fem.petsc
import numpy as np
import ufl
from petsc4py import PETSc

from oncology.errors import ConfigError, NumericalError
from oncology.fem.discretisation import Discretisation
from oncology.optimise import Space, h1_by_solve

__all__ = ["SobolevSpace"]


class SobolevSpace:
    """Fields with the inner product `int a b + l^2 grad a . grad b` of P1 functions, mass lumped; l = 0 is L2.

    Owns PETSc objects: call `destroy` when done.
    """

    def __init__(self, discretisation: Discretisation, length: float, tolerance: float = 1e-10) -> None:
        """Assemble `A = M + l^2 K`.

        Args:
            discretisation: mesh and lumped mass.
            length: smoothing length l, mm; 0 gives L2, which needs no solve.
            tolerance: relative residual of the solves with A.

        Raises:
            ConfigError: if the length is negative or not finite.
        """
        if not 0.0 <= length < math.inf:
            raise ConfigError(f"smoothing length {length:g} mm of the initial density: give 0 (L2) or a few cells")
        self._d = discretisation
        self._length = float(length)
        if length > 0.0:
            self._matrix = _sobolev_matrix(discretisation, self._length)
            self._left, self._right = self._matrix.createVecs()
            solver: Any = PETSc.KSP().create(discretisation.comm)
            solver.setType(PETSc.KSP.Type.CG)
            solver.getPC().setType(PETSc.PC.Type.JACOBI)
            solver.setTolerances(rtol=tolerance, atol=1e-300, max_it=5000)
            solver.setOperators(self._matrix)
            self._solver = solver

    @property
    def space(self) -> Space[np.ndarray]:
        """The inner product as the optimiser sees it."""
        return h1_by_solve(self.riesz, self.lower, self._total)

    def lower(self, values: np.ndarray) -> np.ndarray:
        """Return `A values`, the dual vector of a field."""
        if self._length == 0.0:
            return np.asarray(self._d.lumped_mass * values)
        self._left.array[:] = values
        self._matrix.mult(self._left, self._right)
        return np.array(self._right.array)

    def riesz(self, derivative: np.ndarray) -> np.ndarray:
        """Return the gradient of a derivative, `A^-1 derivative`.

        Raises:
            NumericalError: on every rank, if the solve does not converge.
        """
        if self._length == 0.0:
            return np.asarray(derivative / self._d.lumped_mass)
        self._right.array[:] = derivative
        self._solver.solve(self._right, self._left)
        if self._solver.getConvergedReason() < 0:
            raise NumericalError(
                f"the H1 gradient with smoothing length {self._length:g} mm stopped after "
                f"{self._solver.getIterationNumber()} iterations: take a shorter length"
            )
        return np.array(self._left.array)

    def destroy(self) -> None:
        """Free the PETSc objects (collective)."""
        if self._length > 0.0:
            for thing in (self._solver, self._matrix, self._left, self._right):
                thing.destroy()

    def _total(self, part: float) -> float:
        return float(self._d.total(np.array([part]))[0])


def _sobolev_matrix(discretisation: Discretisation, length: float) -> Any:
    """Return `M + l^2 K` with lumped mass and unit diffusivity."""
    trial, test = ufl.TrialFunction(discretisation.space), ufl.TestFunction(discretisation.space)
    squared = dolfinx.fem.Constant(discretisation.space.mesh, length**2)
    form = dolfinx.fem.form(squared * ufl.inner(ufl.grad(trial), ufl.grad(test)) * ufl.dx)
    matrix = dolfinx.fem.petsc.assemble_matrix(form)
    matrix.assemble()
    lumped = matrix.createVecLeft()
    lumped.array[:] = discretisation.lumped_mass
    matrix.setDiagonal(lumped, addv=PETSc.InsertMode.ADD_VALUES)
    lumped.destroy()
    return matrix
