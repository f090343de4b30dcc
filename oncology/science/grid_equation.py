"""What equations on a grid have in common: sizes, quadrature, neighbours, and derivatives by torch.

An equation says what is its own, `coefficients` and `value`; where hand-written products of its derivative are faster
or exact where torch's would not be, it defines them again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import scipy.sparse
from torch import Tensor

from oncology.science.equation import Coefficients, pullback_of, pushforward_of
from oncology.science.grid import Grid

__all__ = ["DifferentiatedEquation", "DiffusiveEquation", "GridEquation"]


class DifferentiatedEquation(ABC):
    """An equation whose derivatives are those of its `value`, by torch."""

    @abstractmethod
    def value(self, u: Tensor, q: Coefficients) -> Tensor:
        """S(u; q), (K, n)."""

    def pushforward(self, u: Tensor, q: Coefficients, du: Tensor, dq: Coefficients) -> Tensor:
        """S_u du + S_q dq, (K, n)."""
        return pushforward_of(self.value, u, q, du, dq)

    def pullback(self, u: Tensor, q: Coefficients, covector: Tensor) -> tuple[Tensor, Coefficients]:
        """Products S_u* mu and S_q* mu."""
        return pullback_of(self.value, u, q, covector)


@dataclass(frozen=True, eq=False)
class GridEquation(DifferentiatedEquation):
    """An equation of one or several fields on the cells of a grid, one field after the other.

    Attributes:
        grid: cells, with their walls.
    """

    grid: Grid

    parts: ClassVar[int] = 1
    """Number of fields in the state."""

    @property
    def size(self) -> int:
        """Number n of nodal values, that of the cells for each field."""
        return self.parts * self.grid.size

    @property
    def weights(self) -> Tensor:
        """Volumes of the cells, for each field; (n,)."""
        return self.grid.weights if self.parts == 1 else self.grid.weights.repeat(self.parts)

    @property
    def pattern(self) -> scipy.sparse.csr_array | None:
        """Neighbouring cells; of several fields everything, unless the equation knows better."""
        return self.grid.pattern if self.parts == 1 else None


@dataclass(frozen=True, eq=False)
class DiffusiveEquation(GridEquation):
    """An equation of one field whose stiff part is a multiple of the grid's Laplacian: `SemiLinear`."""

    def modes(self, u: Tensor) -> Tensor:
        """Transform in which the Laplacian is diagonal, (K, n)."""
        return self.grid.modes(u)

    def values(self, modes: Tensor) -> Tensor:
        """Its inverse."""
        return self.grid.values(modes)

    @abstractmethod
    def eigenvalues(self, q: Coefficients) -> Tensor:
        """Those of the stiff part, (n,)."""
