"""Heat equation `u_t = div(kappa grad u) + s` with its exact solutions H1 and H2, and a rod of layers.

H1 is the fundamental solution in free space, H2 the cosine mode between walls without flux, also of the semi-discrete
equation, whose eigenvalue is `(4/h^2) sin^2(k pi h / 2L)`. Evans, Partial Differential Equations, chapter 2.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from oncology.science.equation import Coefficient, Coefficients
from oncology.science.grid_equation import DiffusiveEquation, GridEquation

__all__ = ["Heat", "LayeredHeat", "cosine_mode", "heat_kernel", "mode_rate", "rippled_rod"]


@dataclass(frozen=True, eq=False)
class Heat(DiffusiveEquation):
    """Heat conduction with a source; coefficients "conductivity" (1) and "source" (n).

    Attributes:
        grid: cells, with their walls.
    """

    name: str = "heat"

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Conductivity, mm^2/day, and source, 1/day."""
        return Coefficient("conductivity", 1, "mm^2/day", positive=True), Coefficient("source", self.size, "1/day")

    def value(self, u: Tensor, q: Coefficients) -> Tensor:
        """Kappa times the Laplacian of u, plus s."""
        return q[0] * self.grid.laplacian(u) + q[1]

    def pushforward(self, u: Tensor, q: Coefficients, du: Tensor, dq: Coefficients) -> Tensor:
        """Derivative along state, conductivity and source."""
        linear = self.grid.laplacian(du) - self.grid.laplacian(torch.zeros_like(du))
        return q[0] * linear + dq[0] * self.grid.laplacian(u) + dq[1]

    def pullback(self, u: Tensor, q: Coefficients, covector: Tensor) -> tuple[Tensor, Coefficients]:
        """Transposed products; the Laplacian is symmetric."""
        linear = self.grid.laplacian(covector) - self.grid.laplacian(torch.zeros_like(covector))
        return q[0] * linear, ((covector * self.grid.laplacian(u)).sum().reshape(1), covector.sum(0))

    def eigenvalues(self, q: Coefficients) -> Tensor:
        """Kappa times those of the Laplacian."""
        return q[0] * self.grid.laplacian_eigenvalues


@dataclass(frozen=True, eq=False)
class LayeredHeat(GridEquation):
    """Heat conduction on an interval with a conductivity that varies in space.

    Attributes:
        grid: cells of an interval between fixed walls; at a wall the flux sees the half cell.
    """

    name: str = "layered heat"

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Conductivity at the n + 1 faces, mm^2/day, and source in the cells, 1/day."""
        faces = Coefficient("conductivity", self.size + 1, "mm^2/day", positive=True)
        return faces, Coefficient("source", self.size, "1/day")

    @property
    def faces(self) -> Tensor:
        """Positions of the faces, (n + 1,), mm."""
        axis = self.grid.axes[0]
        return torch.linspace(axis.lower, axis.upper, axis.cells + 1, dtype=torch.float64)

    def value(self, u: Tensor, q: Coefficients) -> Tensor:
        """`(kappa u_x)_x + s`, (K, n)."""
        slopes = torch.diff(self.grid.padded(u, 0)) / self.grid.axes[0].spacing
        return self.grid.divergence(q[0] * slopes) + q[1]


def rippled_rod(x: Tensor, peak: float, ripple: float) -> tuple[Tensor, Tensor]:
    """Stationary temperature (1, n) under a unit source, 0 at x = 0, and its conductivity `1 / (1 + a cos 2 pi x)`.

    The flux `kappa u_x` is `c - x`, and `(c - x)(1 + a cos 2 pi x)` has an elementary integral.

    Args:
        x: positions, (n,).
        peak: c, where the flux turns.
        ripple: a, |a| < 1.
    """
    wave = 2.0 * math.pi
    bent = (peak - x) * torch.sin(wave * x) / wave - (torch.cos(wave * x) - 1.0) / wave**2
    return (peak * x - 0.5 * x**2 + ripple * bent)[None], 1.0 / (1.0 + ripple * torch.cos(wave * x))


def heat_kernel(points: Tensor, time: float, conductivity: float, started: float) -> Tensor:
    """H1: `(4 pi kappa (t + t0))^(-d/2) exp(-|x|^2 / (4 kappa (t + t0)))`, (1, n).

    Args:
        points: (n, d), mm.
        time: t, day.
        conductivity: kappa, mm^2/day.
        started: t0 > 0, day, how long before t = 0 it was a point.
    """
    spread = 4.0 * conductivity * (time + started)
    radius = (points**2).sum(-1)
    result: Tensor = (math.pi * spread) ** (-0.5 * points.shape[1]) * torch.exp(-radius / spread)[None]
    return result


def mode_rate(mode: int, length: float, cells: int | None = None) -> float:
    """H2: eigenvalue of -Laplacian for the mode k on (0, L), 1/mm^2; of the cells where their number is given."""
    if cells is None:
        return (mode * math.pi / length) ** 2
    return (2.0 * cells / length * math.sin(0.5 * mode * math.pi / cells)) ** 2


def cosine_mode(points: Tensor, length: float, mode: int) -> Tensor:
    """H2: `cos(k pi x / L)` at points (n, 1): (1, n)."""
    return torch.cos(mode * math.pi / length * points[:, 0])[None]
