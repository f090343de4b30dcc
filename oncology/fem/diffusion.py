"""One diffusion step `M u' = -K u`, its tangent and its adjoint, for two schemes.

`Sdirk2` is the L-stable second-order SDIRK method of Alexander (1977), gamma = 1 - 1/sqrt(2). Its rational function
is `(1 + sqrt 2) a^2 - sqrt 2 a` with `a = (M + gamma tau K)^-1 M`, so a step is two solves with one matrix and no
product with K. `BackwardEuler` is one solve; with the lumped mass on a lattice it obeys the discrete maximum
principle exactly. All arrays hold the owned vertices of a rank; duals are algebraic vectors (derivatives, not Riesz
images).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from petsc4py import PETSc

from oncology.errors import NumericalError
from oncology.fem.block import BlockMatrix
from oncology.fem.discretisation import Discretisation

__all__ = ["BackwardEuler", "DiffusionScheme", "Pairs", "Sdirk2", "ShiftedOperator"]

MOST = 500  # iterations of a solve

# What the adjoint of a step leaves for the derivative by `tau K`: pairs (w, stage), each -gamma w' (tau K) stage.
Pairs = tuple[tuple[np.ndarray, np.ndarray], ...]


class ShiftedOperator:
    """`A = M + shift K` with a Jacobi-preconditioned conjugate-gradient solver; owns its PETSc objects.

    The preconditioner is in the matrix, `S A S` with a unit diagonal, so that neither PETSc nor the solver of several
    right-hand sides applies it in every iteration. Values are those of one vector (n,) or of several (k, n).
    """

    def __init__(self, discretisation: Discretisation, tolerance: float) -> None:
        self._d, self._tolerance = discretisation, tolerance
        self._matrix = discretisation.mass.duplicate(copy=True)
        self._scale = np.ones(discretisation.owned)
        self._block, self._mass_block = BlockMatrix(self._matrix), BlockMatrix(discretisation.mass)
        self._left, self._right = self._matrix.createVecs()
        solver = PETSc.KSP().create(discretisation.comm)
        solver.setType(PETSc.KSP.Type.CG)
        solver.getPC().setType(PETSc.PC.Type.NONE)
        solver.setNormType(PETSc.KSP.NormType.NATURAL)  # type: ignore[arg-type]
        solver.setTolerances(rtol=tolerance, atol=1e-300, max_it=MOST)
        solver.setInitialGuessNonzero(True)
        self._solver = solver
        self.iterations = 0

    def fill(self, shift: float, stiffness: Any) -> None:
        """Set `A = M + shift K`, the shift in days."""
        pattern = PETSc.Mat.Structure.SAME_NONZERO_PATTERN
        self._d.mass.copy(self._matrix, pattern)
        self._matrix.axpy(shift, stiffness, pattern)
        self._matrix.getDiagonal(self._right)
        self._scale = self._right.array**-0.5
        self._right.array[:] = self._scale
        self._matrix.diagonalScale(self._right, self._right)
        self._solver.setOperators(self._matrix)

    def solve(self, right: np.ndarray, guess: np.ndarray) -> np.ndarray:
        """Return the solution of `A x = right`, started from `guess`.

        Raises:
            NumericalError: on every rank, if the iteration does not converge.
        """
        if right.ndim == 2 and len(right) == 1:
            return self.solve(right[0], guess[0])[None]
        if right.ndim == 2:
            x = guess / self._scale
            self.iterations += self._block.solve(right * self._scale, x, self._tolerance, MOST)
            return np.asarray(x * self._scale)
        self._right.array[:] = right * self._scale
        self._left.array[:] = guess / self._scale
        self._solver.solve(self._right, self._left)
        self.iterations += self._solver.getIterationNumber()
        reason = int(self._solver.getConvergedReason())  # type: ignore[call-overload]
        if reason < 0:
            raise NumericalError(
                f"the diffusion solve stopped after {self._solver.getIterationNumber()} iterations (PETSc reason "
                f"{reason}): diffusivities or time step are not finite or far too large; lower them"
            )
        return np.asarray(self._left.array * self._scale)

    def mass(self, values: np.ndarray) -> np.ndarray:
        """Return `M values`."""
        if values.ndim == 2:
            return self._mass_block.multiply(values)
        self._left.array[:] = values
        self._d.mass.mult(self._left, self._right)
        return np.asarray(self._right.array.copy())

    def destroy(self) -> None:
        """Free the PETSc objects (collective)."""
        for thing in (self._block, self._mass_block, self._solver, self._matrix, self._left, self._right):
            thing.destroy()


class DiffusionScheme(Protocol):
    """A one-step method; `gamma` tells by how much of the step the operator is shifted."""

    @property
    def gamma(self) -> float:
        """Shift of the operator in units of the step."""

    def forward(self, operator: ShiftedOperator, u: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the stages of a step from u; the last one is its result."""

    def tangent(self, operator: ShiftedOperator, du: np.ndarray, forcing: tuple[np.ndarray | float, ...]) -> np.ndarray:
        """Return the derivative of the step along du, with `forcing[i] = -gamma d(tau K) stages[i]`."""

    def adjoint(
        self, operator: ShiftedOperator, stages: tuple[np.ndarray, ...], dual: np.ndarray
    ) -> tuple[np.ndarray, Pairs]:
        """Return the dual of the start value and the pairs (w, stage) of the derivative by `tau K`."""


@dataclass(frozen=True)
class BackwardEuler:
    """`(M + tau K) u+ = M u`: first order, monotone where A is an M-matrix."""

    gamma: float = 1.0

    def forward(self, operator: ShiftedOperator, u: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the single stage u+."""
        return (operator.solve(operator.mass(u), u),)

    def tangent(self, operator: ShiftedOperator, du: np.ndarray, forcing: tuple[np.ndarray | float, ...]) -> np.ndarray:
        """Return du+."""
        return operator.solve(operator.mass(du) + forcing[0], du)

    def adjoint(
        self, operator: ShiftedOperator, stages: tuple[np.ndarray, ...], dual: np.ndarray
    ) -> tuple[np.ndarray, Pairs]:
        """Return the dual of u and the pair of the stage."""
        w = operator.solve(dual, np.zeros_like(dual))
        return operator.mass(w), ((w, stages[0]),)


_ROOT2 = math.sqrt(2.0)


@dataclass(frozen=True)
class Sdirk2:
    """`A v = M u`, `A u+ = M ((1 + sqrt 2) v - sqrt 2 u)`, `A = M + gamma tau K`: second order, L-stable."""

    gamma: float = 1.0 - 1.0 / _ROOT2

    def forward(self, operator: ShiftedOperator, u: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the stages (v, u+)."""
        v = operator.solve(operator.mass(u), u)
        # first-order extrapolation of the stage as the start value of the second solve
        guess = u + (v - u) / self.gamma
        return v, operator.solve(operator.mass((1.0 + _ROOT2) * v - _ROOT2 * u), guess)

    def tangent(self, operator: ShiftedOperator, du: np.ndarray, forcing: tuple[np.ndarray | float, ...]) -> np.ndarray:
        """Return du+."""
        dv = operator.solve(operator.mass(du) + forcing[0], du)
        right = operator.mass((1.0 + _ROOT2) * dv - _ROOT2 * du) + forcing[1]
        return operator.solve(right, du + (dv - du) / self.gamma)

    def adjoint(
        self, operator: ShiftedOperator, stages: tuple[np.ndarray, ...], dual: np.ndarray
    ) -> tuple[np.ndarray, Pairs]:
        """Return the dual of u and the pairs of both stages."""
        w = operator.solve(dual, np.zeros_like(dual))
        mass_w = operator.mass(w)
        y = operator.solve((1.0 + _ROOT2) * mass_w, (1.0 + _ROOT2) * w)
        return operator.mass(y) - _ROOT2 * mass_w, ((y, stages[0]), (w, stages[1]))
