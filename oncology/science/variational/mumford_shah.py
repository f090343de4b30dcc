"""Segmentation with cracks: the Ambrosio-Tortorelli energy in one dimension as a gradient flow in (u, v).

    E = int alpha (u - g)^2 + beta v^2 |u'|^2 + gamma (eps |v'|^2 + (1 - v)^2 / (4 eps))

A crack, v = 1 - exp(-|x| / 2 eps), costs gamma in the limit. Of a step of height h in the middle of (-1, 1) the optimum
without a crack costs `h^2/2 sqrt(alpha beta) tanh sqrt(alpha / beta)`: a crack is optimal exactly if gamma is less.
Ambrosio and Tortorelli, Comm. Pure Appl. Math. 43, 1990.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.linalg
import scipy.sparse
import torch
from torch import Tensor

from oncology.errors import NumericalError
from oncology.science.equation import Coefficient, Coefficients
from oncology.science.grid_equation import GridEquation

__all__ = ["AmbrosioTortorelli", "alternate", "crack_profile", "uncracked_energy", "uncracked_image"]


@dataclass(frozen=True, eq=False)
class AmbrosioTortorelli(GridEquation):
    """Gradient flow of the energy in L2; the state is u, then v; coefficients "alpha", "beta", "gamma".

    Attributes:
        grid: an interval without flux.
        image: g, (n,).
        width: eps, half the width of a crack's profile.
    """

    image: Tensor
    width: float
    name: str = "ambrosio-tortorelli"

    parts: ClassVar[int] = 2

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Weights of fidelity, smoothness and cracks."""
        return tuple(Coefficient(name, positive=True) for name in ("alpha", "beta", "gamma"))

    @property
    def pattern(self) -> scipy.sparse.csr_array:
        """Neighbouring cells of both fields."""
        return scipy.sparse.csr_array(scipy.sparse.kron(np.ones((2, 2)), self.grid.pattern))

    def _fields(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Fields u and v, their slopes at the inner faces and v there."""
        u, v = state.chunk(2, dim=-1)
        h = self.grid.axes[0].spacing
        return u, v, torch.diff(u) / h, torch.diff(v) / h, 0.5 * (v[..., 1:] + v[..., :-1])

    def energy(self, state: Tensor, q: Coefficients) -> Tensor:
        """E, (K,)."""
        alpha, beta, gamma = q
        u, v, du, dv, face = self._fields(state)
        cells = alpha * (u - self.image) ** 2 + gamma / (4.0 * self.width) * (1.0 - v) ** 2
        faces = beta * face**2 * du**2 + gamma * self.width * dv**2
        return self.grid.axes[0].spacing * (cells.sum(-1) + faces.sum(-1))

    def value(self, u: Tensor, q: Coefficients) -> Tensor:
        """Minus the L2 gradient, (K, 2 n)."""
        alpha, beta, gamma = q
        field, v, du, dv, face = self._fields(u)
        h, pad = self.grid.axes[0].spacing, torch.nn.functional.pad
        by_u = 2.0 * beta * torch.diff(pad(face**2 * du, (1, 1))) / h - 2.0 * alpha * (field - self.image)
        pulled = pad(beta * face * du**2, (1, 1))  # half of the energy of a face acts on each of its cells
        bent = 2.0 * gamma * self.width * torch.diff(pad(dv, (1, 1))) / h
        by_v = bent + gamma / (2.0 * self.width) * (1.0 - v) - (pulled[..., 1:] + pulled[..., :-1])
        return torch.cat([by_u, by_v], dim=-1)


def alternate(
    equation: AmbrosioTortorelli, state: Tensor, q: Coefficients, tolerance: float = 1e-10, most: int = 5000
) -> Tensor:
    """Minimise over u and over v in turn, each a linear problem, until the energy stands still.

    Bourdin, Interfaces Free Bound. 9, 2007. A local minimum: whether it has a crack depends on the start.

    Args:
        equation: energy.
        state: start (2 n,), u then v.
        q: weights alpha, beta, gamma, (1,) each.
        tolerance: relative decrease of the energy that ends the iteration.
        most: iterations at most.

    Returns:
        (2 n,).

    Raises:
        NumericalError: the energy still falls after the last iteration.
    """
    alpha, beta, gamma = (float(part) for part in q)
    h, width = equation.grid.axes[0].spacing, equation.width
    image = equation.image.numpy()
    energy = float(equation.energy(state, q))
    u, v = (part.numpy() for part in state.chunk(2))
    for _ in range(most):
        u = _solved(beta * (0.5 * (v[1:] + v[:-1])) ** 2 / h**2, np.full_like(u, alpha), alpha * image)
        pulled = 0.25 * beta * (np.diff(u) / h) ** 2
        # (v_i + v_i+1)^2 / 4 couples neighbours like a spring of negative constant between ground springs
        ground = np.full_like(v, gamma / (4.0 * width))
        right = ground.copy()
        ground[1:] += 2.0 * pulled
        ground[:-1] += 2.0 * pulled
        v = _solved(gamma * width / h**2 - pulled, ground, right)
        state = torch.from_numpy(np.concatenate([u, v]))
        last, energy = energy, float(equation.energy(state, q))
        if last - energy <= tolerance * energy:
            return state
    raise NumericalError(f"the energy still falls after {most} alternations; take a wider profile than {width:g}")


def _solved(springs: np.ndarray, ground: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve for places held to the ground and to their neighbours by springs."""
    diagonal = ground.copy()
    diagonal[1:] += springs
    diagonal[:-1] += springs
    bands = np.vstack([np.append(0.0, -springs), diagonal])
    return np.asarray(scipy.linalg.solveh_banded(bands, right))


def crack_profile(x: Tensor, width: float) -> Tensor:
    """Edge field v of a crack at 0, `1 - exp(-|x| / 2 eps)`."""
    return 1.0 - torch.exp(-x.abs() / (2.0 * width))


def uncracked_image(x: Tensor, height: float, alpha: float, beta: float) -> Tensor:
    """Smoothed image u of a step at 0 in the middle of (-1, 1), the optimum without a crack (v = 1), (n,).

    `h/2 sgn x (1 - cosh k(1 - |x|) / cosh k)` with `k^2 = alpha / beta`: it solves `beta u'' = alpha (u - g)`.
    """
    k = math.sqrt(alpha / beta)
    return 0.5 * height * torch.sign(x) * (1.0 - torch.cosh(k * (1.0 - x.abs())) / math.cosh(k))


def uncracked_energy(height: float, alpha: float, beta: float) -> float:
    """Least energy without a crack of a step of the given height in the middle of (-1, 1)."""
    return 0.5 * height**2 * math.sqrt(alpha * beta) * math.tanh(math.sqrt(alpha / beta))
