"""Gradient flows of area: graphs over a square (Scherk) and surfaces of revolution (catenoids), S1.

The discrete energy is the area of the surface through the nodes, exactly; the flow is minus its gradient in the L2
inner product of lumped masses, so that every step of a dissipative stepper lowers it. Scherk, J. reine angew.
Math. 13, 1835; Nitsche, Lectures on Minimal Surfaces, 1989.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.science.equation import Coefficient, Coefficients
from oncology.science.grid_equation import DifferentiatedEquation

__all__ = ["AreaFlow", "RevolutionFlow", "catenoid", "catenoid_area", "scherk"]


@dataclass(frozen=True, eq=False)
class AreaFlow(DifferentiatedEquation):
    """Area flow of a graph over a square of right triangles; the unknowns are the inner nodes.

    The coefficient "height" multiplies the values on the boundary.

    Attributes:
        half: half the edge of the square, whose centre is the origin.
        cells: number of cells along an edge.
        boundary: values at all nodes, of which those on the boundary count; (cells + 1, cells + 1).

    Raises:
        ConfigError: the boundary values have another shape.
    """

    half: float
    cells: int
    boundary: Tensor
    name: str = "minimal surface"

    def __post_init__(self) -> None:
        if tuple(self.boundary.shape) != (self.cells + 1, self.cells + 1):
            wanted = (self.cells + 1, self.cells + 1)
            raise ConfigError(f"boundary values of shape {tuple(self.boundary.shape)}; need {wanted}")

    @property
    def spacing(self) -> float:
        """h, edge of a cell."""
        return 2.0 * self.half / self.cells

    @property
    def size(self) -> int:
        """Number of inner nodes."""
        return (self.cells - 1) ** 2

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Height of the boundary."""
        return (Coefficient("height"),)

    @property
    def weights(self) -> Tensor:
        """Lumped mass of the nodes."""
        return torch.full((self.size,), self.spacing**2, dtype=torch.float64)

    @cached_property
    def pattern(self) -> scipy.sparse.csr_array:
        """Nodes that share a triangle."""
        n = self.cells - 1
        line = scipy.sparse.diags_array([np.ones(n - 1), np.ones(n), np.ones(n - 1)], offsets=[-1, 0, 1])
        return scipy.sparse.csr_array(scipy.sparse.kron(line, line))

    @cached_property
    def _frame(self) -> Tensor:
        frame = self.boundary.clone()
        frame[1:-1, 1:-1] = 0.0
        return frame

    def surface(self, u: Tensor, q: Coefficients) -> Tensor:
        """Heights at all nodes, (K, cells + 1, cells + 1)."""
        inner = u.reshape(len(u), self.cells - 1, self.cells - 1)
        return q[0] * self._frame + torch.nn.functional.pad(inner, (1, 1, 1, 1))

    def _slopes(self, heights: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Slopes along both axes on the lower and on the upper triangle of each cell, (K, cells, cells)."""
        x, y = torch.diff(heights, dim=1) / self.spacing, torch.diff(heights, dim=2) / self.spacing
        return x[:, :, :-1], y[:, :-1], x[:, :, 1:], y[:, 1:]

    def area(self, u: Tensor, q: Coefficients) -> Tensor:
        """Area of the surface, (K,)."""
        a, b, c, d = self._slopes(self.surface(u, q))
        density = torch.sqrt(1.0 + a * a + b * b) + torch.sqrt(1.0 + c * c + d * d)
        return 0.5 * self.spacing**2 * density.sum((1, 2))

    def value(self, u: Tensor, q: Coefficients) -> Tensor:
        """Minus the gradient of the area over the lumped mass, (K, n)."""
        a, b, c, d = self._slopes(self.surface(u, q))
        lower, upper = torch.sqrt(1.0 + a * a + b * b), torch.sqrt(1.0 + c * c + d * d)
        pad = torch.nn.functional.pad
        # fluxes through the edges along both axes: each edge has a lower triangle on one side, an upper on the other
        along_x = pad(a / lower, (0, 1)) + pad(c / upper, (1, 0))
        along_y = pad(b / lower, (0, 0, 0, 1)) + pad(d / upper, (0, 0, 1, 0))
        change = torch.diff(along_x, dim=1)[:, :, 1:-1] + torch.diff(along_y, dim=2)[:, 1:-1]
        return (0.5 / self.spacing) * change.reshape(u.shape)


@dataclass(frozen=True, eq=False)
class RevolutionFlow(DifferentiatedEquation):
    """Area flow of a surface of revolution between two rings at z = +-a; unknowns are the radii between them.

    The coefficient "ring" is the radius of both rings. Without a minimal surface (a / R > 0.6627) the neck closes.

    Attributes:
        half: a, half the distance of the rings.
        cells: number of frusta.
    """

    half: float
    cells: int
    name: str = "surface of revolution"

    @property
    def spacing(self) -> float:
        """Height of a frustum."""
        return 2.0 * self.half / self.cells

    @property
    def size(self) -> int:
        """Number of radii between the rings."""
        return self.cells - 1

    @property
    def points(self) -> Tensor:
        """Places z of the radii, (n,)."""
        return self.spacing * (torch.arange(1, self.cells, dtype=torch.float64) - 0.5 * self.cells)

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Radius of the rings."""
        return (Coefficient("ring", 1, "mm", positive=True),)

    @property
    def weights(self) -> Tensor:
        """Length of the axis that belongs to each radius."""
        return torch.full((self.size,), self.spacing, dtype=torch.float64)

    @property
    def pattern(self) -> scipy.sparse.csr_array:
        """Neighbouring radii."""
        ones = np.ones(self.size)
        return scipy.sparse.csr_array(scipy.sparse.diags_array([ones[1:], ones, ones[1:]], offsets=[-1, 0, 1]))

    def _radii(self, u: Tensor, q: Coefficients) -> Tensor:
        ring = q[0].expand(len(u), 1)
        return torch.cat([ring, u, ring], dim=1)

    def area(self, u: Tensor, q: Coefficients) -> Tensor:
        """Area of the frusta, (K,)."""
        r = self._radii(u, q)
        sides = torch.sqrt(torch.diff(r) ** 2 + self.spacing**2)
        return math.pi * ((r[:, 1:] + r[:, :-1]) * sides).sum(1)

    def value(self, u: Tensor, q: Coefficients) -> Tensor:
        """Minus the gradient of the area over 2 pi and the length of axis, (K, n)."""
        r = self._radii(u, q)
        rise = torch.diff(r)
        side = torch.sqrt(rise * rise + self.spacing**2)
        pull = 0.5 * (r[:, 1:] + r[:, :-1]) * rise / side
        return (torch.diff(pull) - 0.5 * (side[:, 1:] + side[:, :-1])) / self.spacing


def scherk(half: float, cells: int) -> Tensor:
    """Scherk's surface `ln(cos x / cos y)` at the nodes of a square, half < pi/2; (cells + 1, cells + 1)."""
    line = torch.linspace(-half, half, cells + 1, dtype=torch.float64)
    return torch.log(torch.cos(line))[:, None] - torch.log(torch.cos(line))


def catenoid(z: Tensor, neck: float) -> Tensor:
    """Radii `c cosh(z / c)` at z; (1, n)."""
    return (neck * torch.cosh(z / neck))[None]


def catenoid_area(half: float, neck: float) -> float:
    """Area `2 pi c a + pi c^2 sinh(2 a / c)` of the catenoid between z = +-a."""
    return 2.0 * math.pi * neck * half + math.pi * neck**2 * math.sinh(2.0 * half / neck)
