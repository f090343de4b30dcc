"""Stiffness matrices of the diffusivities at given rates, and the operators `M + shift K` made of them.

`K = D_w K_w + D_g K_g + rho K_r` with the slopes of the cells' diffusivities (`oncology.model.front`) as coefficients:
these are homogeneous of degree one in the rates, so K is that sum and its derivatives are the three parts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncology.fem.diffusion import ShiftedOperator
from oncology.fem.discretisation import Discretisation
from oncology.fem.rates import Rates

__all__ = ["MatrixPool", "Stiffness"]

Vector = NDArray[np.float64]


class Stiffness:
    """The stiffness matrix at given rates, with its derivatives by them where they are asked for."""

    def __init__(self, discretisation: Discretisation, rates: Rates) -> None:
        """Compute the cells' diffusivities and assemble K (collective).

        Args:
            discretisation: mesh and tissue.
            rates: D_w, D_g, rho, and the field m_D where there is one.
        """
        self._assemble = discretisation.assemble
        slopes = discretisation.tissue.coefficients(rates.diffusion_white, rates.diffusion_grey, rates.proliferation)
        if rates.log_diffusion is not None:
            slopes = slopes * np.exp(discretisation.cell_means(rates.log_diffusion))
        self._slopes = slopes
        self.diffusivity: Vector = rates.scalars @ slopes
        """(m,) D_c of each cell, mm^2/day."""
        self.whole = self._assemble(self.diffusivity)
        """K, mm^d/day."""
        self._parts: tuple[Any, ...] = ()

    @property
    def parts(self) -> tuple[Any, ...]:
        """Derivatives of K by D_w, D_g and rho (collective the first time)."""
        if not self._parts:
            self._parts = tuple(self._assemble(slope) for slope in self._slopes)
        return self._parts

    def destroy(self) -> None:
        """Free the matrices (collective)."""
        for matrix in (self.whole, *self._parts):
            matrix.destroy()


class MatrixPool:
    """Stiffness matrices by rates and shifted operators by rates and shift; the oldest are freed or filled again.

    A run needs one operator for each distinct step length. Asking twice gives the same matrices, so a linearisation
    that is kept while other runs go on stays correct.
    """

    def __init__(self, discretisation: Discretisation, tolerance: float, stiffnesses: int = 4, operators: int = 12):
        """Start with nothing.

        Args:
            discretisation: mesh, mass and tissue.
            tolerance: relative residual of the diffusion solves.
            stiffnesses: number of rates whose matrices are kept.
            operators: number of operators that are kept.
        """
        self._d, self._tolerance = discretisation, tolerance
        self._most = (stiffnesses, operators)
        self._stiffnesses: dict[bytes, Stiffness] = {}
        self._operators: dict[tuple[bytes, float], ShiftedOperator] = {}

    def key(self, rates: Rates) -> bytes:
        """Return what stands for rates, the same on every rank (collective)."""
        field = rates.log_diffusion
        digest = b"" if field is None else self._d.fingerprint(np.asarray(field, dtype=float))
        return rates.scalars.tobytes() + digest

    def stiffness(self, key: bytes, rates: Rates) -> Stiffness:
        """Return the stiffness matrix at rates with this key (collective)."""
        found = self._stiffnesses.pop(key, None)
        if found is None:
            if len(self._stiffnesses) >= self._most[0]:
                self._stiffnesses.pop(next(iter(self._stiffnesses))).destroy()
            found = Stiffness(self._d, rates)
        self._stiffnesses[key] = found
        return found

    def operator(self, key: bytes, rates: Rates, shift: float) -> ShiftedOperator:
        """Return `M + shift K` at rates with this key (collective); the shift is in days."""
        found = self._operators.pop((key, shift), None)
        if found is None:
            if len(self._operators) >= self._most[1]:
                found = self._operators.pop(next(iter(self._operators)))
            else:
                found = ShiftedOperator(self._d, self._tolerance)
            found.fill(shift, self.stiffness(key, rates).whole)
        self._operators[key, shift] = found
        return found

    @property
    def iterations(self) -> int:
        """Conjugate-gradient iterations of all operators so far."""
        return sum(operator.iterations for operator in self._operators.values())

    def destroy(self) -> None:
        """Free all matrices and solvers (collective)."""
        for kept in (self._operators, self._stiffnesses):
            while kept:
                kept.popitem()[1].destroy()
