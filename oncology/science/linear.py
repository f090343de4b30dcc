"""Newton's method and the linear solves of implicit steps, `(I - s S'(u)) x = r` and their transposes.

The Jacobian of a stencil comes from a few Jacobian products, one for each colour of its columns (Curtis, Powell and
Reid, IMA J. Appl. Math. 13, 1974), and is factorised by SuperLU; without a stencil it is dense.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse
import torch
from scipy.sparse.linalg import splu
from torch import Tensor

from oncology.errors import NumericalError
from oncology.science.equation import Coefficients, Equation

__all__ = ["Factor", "factorise", "newton"]

NEWTON_STEPS = 40
ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class _Colouring:
    """Columns that share no row have the same colour.

    Attributes:
        colours: of each column, (n,).
        rows: of the entries, (entries,).
        columns: of the entries.
    """

    colours: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    @property
    def count(self) -> int:
        """Number of colours."""
        return int(self.colours.max()) + 1


@lru_cache(maxsize=64)
def _colouring(equation: Equation) -> _Colouring | None:
    if equation.pattern is None:
        return None
    pattern = scipy.sparse.csr_array(equation.pattern)
    conflicts = scipy.sparse.csr_array(pattern.T @ pattern)
    colours = np.full(equation.size, -1)
    for column in range(equation.size):
        near = conflicts.indices[conflicts.indptr[column] : conflicts.indptr[column + 1]]
        taken = set(colours[near].tolist())
        colours[column] = next(colour for colour in range(len(taken) + 1) if colour not in taken)
    entries = pattern.tocoo()
    return _Colouring(colours, entries.row, entries.col)


@dataclass(frozen=True, eq=False)
class Factor:
    """Factorised `I - s S'(u)` of each sample.

    Attributes:
        parts: SuperLU objects, one a sample; or LU factors and pivots of dense matrices (K, n, n).
    """

    parts: list[Any] | tuple[Tensor, Tensor]

    def solve(self, right: Tensor, transposed: bool = False) -> Tensor:
        """Solve for each sample, (K, n)."""
        if isinstance(self.parts, tuple):
            result: Tensor = torch.linalg.lu_solve(*self.parts, right[..., None], adjoint=transposed)[..., 0]
            return result
        mode = "T" if transposed else "N"
        rows = [part.solve(row.numpy(), mode) for part, row in zip(self.parts, right, strict=True)]
        return torch.from_numpy(np.stack(rows))


def factorise(equation: Equation, u: Tensor, q: Coefficients, shift: float) -> Factor:
    """Factorise `I - shift S'(u)` for each sample of states (K, n)."""
    colouring = _colouring(equation)
    count = equation.size if colouring is None else colouring.count
    unit = torch.eye(count, dtype=u.dtype)
    seeds = unit if colouring is None else unit[:, torch.from_numpy(colouring.colours)]
    still = tuple(torch.zeros_like(part) for part in q)
    images = equation.pushforward(u.repeat_interleave(count, 0), q, seeds.repeat(len(u), 1), still)
    images = images.reshape(len(u), count, equation.size)
    if colouring is None:
        return Factor(tuple(torch.linalg.lu_factor(torch.eye(count, dtype=u.dtype) - shift * images.mT)))
    shape = (equation.size, equation.size)
    parts = []
    for image in images.numpy():
        entries = image[colouring.colours[colouring.columns], colouring.rows]
        jacobian = scipy.sparse.csc_array((entries, (colouring.rows, colouring.columns)), shape=shape)
        try:
            parts.append(splu(scipy.sparse.csc_matrix(scipy.sparse.eye_array(*shape) - shift * jacobian)))
        except RuntimeError as error:
            raise NumericalError(f"an implicit step of {equation.name} is singular ({error}); shorten it") from error
    return Factor(parts)


def newton(equation: Equation, base: Tensor, q: Coefficients, shift: float) -> Tensor:
    """Solve `y = base + shift S(y; q)`, to rounding, by Newton's method with factors kept while they serve.

    Raises:
        NumericalError: it does not converge.
    """
    y, factor, last = base, factorise(equation, base, q, shift), np.inf
    for _ in range(NEWTON_STEPS):
        step = factor.solve(y - base - shift * equation.value(y, q))
        y = y - step
        size, scale = float(step.abs().max()), float(y.abs().max())
        if not np.isfinite(scale):
            break
        if size <= ROUNDING * max(scale, 1e-300) or (size <= 1e3 * ROUNDING * scale and size > 0.5 * last):
            return y
        if size > 0.1 * last or (last == np.inf and size > 0.1 * scale):
            factor = factorise(equation, y, q, shift)
        last = size
    raise NumericalError(f"Newton's method found no implicit step of {equation.name}; take shorter time steps")
