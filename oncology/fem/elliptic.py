"""The elliptic operator `A = g K + c M_L + b S` of P1 fields: what Sobolev inner products and Matern priors solve with.

K is the stiffness matrix of unit diffusivity, M_L the lumped mass, S the mass of the boundary. With g = l^2 and c = 1
a solve is the Riesz map of the inner product `int a b + l^2 grad a . grad b`.
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

__all__ = ["EllipticOperator"]


class EllipticOperator:
    """`A = g K + c M_L + b S` with its solver; owns PETSc objects, so call `destroy` when done."""

    def __init__(
        self, discretisation: Discretisation, stiffness: float, mass: float, boundary: float, tolerance: float = 1e-10
    ) -> None:
        """Assemble A (collective).

        Args:
            discretisation: mesh and lumped mass.
            stiffness: g, mm^2 times the unit of c; 0 leaves the lumped mass, which needs no solver.
            mass: c.
            boundary: b, mm times the unit of c.
            tolerance: relative residual of the solves.

        Raises:
            ConfigError: a coefficient is negative or not finite, or the mass is zero.
        """
        if not (0.0 <= stiffness < math.inf and 0.0 < mass < math.inf and 0.0 <= boundary < math.inf):
            raise ConfigError(
                f"elliptic operator with stiffness {stiffness:g} mm^2, mass {mass:g} and boundary {boundary:g} mm: "
                "give a length of 0 (L2) or a few cells"
            )
        self._d = discretisation
        self._mass = mass
        self._diagonal = stiffness == 0.0 and boundary == 0.0
        if self._diagonal:
            return
        self._matrix = _assembled(discretisation, stiffness, mass, boundary)
        self._left, self._right = self._matrix.createVecs()
        solver: Any = PETSc.KSP().create(discretisation.comm)
        solver.setType(PETSc.KSP.Type.CG)
        solver.getPC().setType(PETSc.PC.Type.JACOBI)
        solver.setTolerances(rtol=tolerance, atol=1e-300, max_it=5000)
        solver.setOperators(self._matrix)
        self._solver = solver

    @property
    def lumped_mass(self) -> np.ndarray:
        """(n,) lumped mass M_L of the owned vertices, mm^d."""
        return self._d.lumped_mass

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return `A values`, the dual vector of a field."""
        if self._diagonal:
            return np.asarray(self._mass * self._d.lumped_mass * values)
        self._left.array[:] = values
        self._matrix.mult(self._left, self._right)
        return np.array(self._right.array)

    def solve(self, dual: np.ndarray) -> np.ndarray:
        """Return `A^-1 dual`.

        Raises:
            NumericalError: on every rank, if the solve does not converge.
        """
        if self._diagonal:
            return np.asarray(dual / (self._mass * self._d.lumped_mass))
        self._right.array[:] = dual
        self._solver.solve(self._right, self._left)
        if self._solver.getConvergedReason() < 0:
            raise NumericalError(
                f"an elliptic solve stopped after {self._solver.getIterationNumber()} iterations: take a shorter "
                "smoothing or correlation length"
            )
        return np.array(self._left.array)

    def destroy(self) -> None:
        """Free the PETSc objects (collective)."""
        if not self._diagonal:
            for thing in (self._solver, self._matrix, self._left, self._right):
                thing.destroy()


def _assembled(discretisation: Discretisation, stiffness: float, mass: float, boundary: float) -> Any:
    """Return `g K + c M_L + b S`."""
    trial, test = ufl.TrialFunction(discretisation.space), ufl.TestFunction(discretisation.space)
    g, b = (dolfinx.fem.Constant(discretisation.space.mesh, value) for value in (stiffness, boundary))
    form = g * ufl.inner(ufl.grad(trial), ufl.grad(test)) * ufl.dx
    if boundary > 0.0:
        form = form + b * trial * test * ufl.ds
    matrix = dolfinx.fem.petsc.assemble_matrix(dolfinx.fem.form(form))
    matrix.assemble()
    lumped = matrix.createVecLeft()
    lumped.array[:] = mass * discretisation.lumped_mass
    matrix.setDiagonal(lumped, addv=PETSc.InsertMode.ADD_VALUES)
    lumped.destroy()
    return matrix
