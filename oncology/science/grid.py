"""Uniform cell-centred grids of boxes: differences, quadrature and the transform that makes the Laplacian diagonal.

Cells of width h touch the walls. The three-point Laplacian has the eigenvalues `-(4/h^2) sin^2(k pi / 2n)` in the
cosine transform (no flux), sine transform (fixed walls) and Fourier transform (periodic); the real
orthogonal matrices are applied axis by axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import scipy.sparse
import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.science.observe import Interpolated

__all__ = ["Axis", "Boundary", "Grid", "interval", "square"]

type Boundary = Literal["noflux", "periodic", "fixed"]


@dataclass(frozen=True)
class Axis:
    """One axis of a box.

    Attributes:
        lower: lower end, mm or dimensionless.
        upper: upper end.
        cells: number of cells.
        boundary: "noflux", "periodic", or "fixed" to the values `walls` on the two ends.
        walls: values at the lower and upper end where they are fixed.

    Raises:
        ConfigError: the ends are in the wrong order, there are fewer than two cells, or the boundary is unknown.
    """

    lower: float
    upper: float
    cells: int
    boundary: Boundary = "noflux"
    walls: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if not (-math.inf < self.lower < self.upper < math.inf and self.cells >= 2):
            raise ConfigError(f"axis from {self.lower:g} to {self.upper:g} in {self.cells} cells; need at least 2")
        if self.boundary not in ("noflux", "periodic", "fixed"):
            raise ConfigError(f"boundary {self.boundary!r} is unknown; take 'noflux', 'periodic' or 'fixed'")

    @property
    def spacing(self) -> float:
        """h, width of a cell."""
        return (self.upper - self.lower) / self.cells

    @property
    def centres(self) -> Tensor:
        """Centres of the cells, (cells,)."""
        return self.lower + self.spacing * (torch.arange(self.cells, dtype=torch.float64) + 0.5)

    @cached_property
    def angles(self) -> Tensor:
        """theta_k of each mode, in which the three-point Laplacian is `-(4/h^2) sin^2(theta_k / 2)`; (cells,)."""
        k = torch.arange(self.cells, dtype=torch.float64)
        if self.boundary == "noflux":
            return math.pi * k / self.cells
        if self.boundary == "fixed":
            return math.pi * (k + 1) / self.cells
        return 2.0 * math.pi * torch.div(k + 1, 2, rounding_mode="floor") / self.cells

    @cached_property
    def transform(self) -> Tensor:
        """Orthogonal matrix from cell values to modes, (cells, cells)."""
        j = torch.arange(self.cells, dtype=torch.float64) + 0.5
        phase = self.angles[:, None] * j
        if self.boundary == "noflux":
            rows = torch.cos(phase)
        elif self.boundary == "fixed":
            rows = torch.sin(phase)
        else:
            odd = (torch.arange(self.cells) % 2 == 1)[:, None]
            phase = self.angles[:, None] * (j - 0.5)
            rows = torch.where(odd, torch.cos(phase), torch.sin(phase))
            rows[0] = 1.0
        result: Tensor = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        return result

    def interpolation(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Linear interpolation between the centres, and the walls: cells (m, 2), weights (m, 2) and offsets (m,).

        Raises:
            ConfigError: a position lies outside the axis.
        """
        if bool(((positions < self.lower) | (positions > self.upper)).any()):
            low, high = float(positions.min()), float(positions.max())
            raise ConfigError(f"positions from {low:g} to {high:g} on an axis from {self.lower:g} to {self.upper:g}")
        place = (positions - self.lower) / self.spacing - 0.5
        left = torch.floor(place).long().clamp(-1, self.cells - 1)
        cells = torch.stack([left, left + 1], dim=-1)
        weights = torch.stack([left + 1 - place, place - left], dim=-1)
        if self.boundary == "periodic":
            return cells % self.cells, weights, torch.zeros_like(positions)
        beyond = torch.stack([cells < 0, cells >= self.cells])
        cells = cells.clamp(0, self.cells - 1)
        if self.boundary == "noflux":
            return cells, weights, torch.zeros_like(positions)
        # the ghost cell behind a fixed wall holds twice the wall's value less that of its neighbour
        walls = sum(2.0 * wall * (weights * ghost).sum(-1) for wall, ghost in zip(self.walls, beyond, strict=True))
        return cells, torch.where(beyond.any(0), -weights, weights), torch.as_tensor(walls)


@dataclass(frozen=True)
class Grid:
    """A box of cells; fields are flattened, (..., n), the last axis of the box fastest.

    Attributes:
        axes: the axes of the box.
    """

    axes: tuple[Axis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of cells along each axis."""
        return tuple(axis.cells for axis in self.axes)

    @property
    def size(self) -> int:
        """n, number of cells."""
        return math.prod(self.shape)

    @cached_property
    def weights(self) -> Tensor:
        """Volume of each cell, (n,)."""
        return torch.full((self.size,), math.prod(axis.spacing for axis in self.axes), dtype=torch.float64)

    @cached_property
    def points(self) -> Tensor:
        """Centres of the cells, (n, d)."""
        mesh = torch.meshgrid(*(axis.centres for axis in self.axes), indexing="ij")
        return torch.stack([part.reshape(-1) for part in mesh], dim=-1)

    @cached_property
    def laplacian_eigenvalues(self) -> Tensor:
        """Eigenvalues of the Laplacian in the order of the modes, (n,)."""
        total = torch.zeros(self.shape, dtype=torch.float64)
        for number, axis in enumerate(self.axes):
            part = -4.0 / axis.spacing**2 * torch.sin(0.5 * axis.angles) ** 2
            total = total + part.reshape([-1 if i == number else 1 for i in range(len(self.axes))])
        return total.reshape(-1)

    @cached_property
    def pattern(self) -> scipy.sparse.csr_array:
        """Neighbours that share a face, and the cell itself: (n, n)."""
        total = scipy.sparse.csr_array((self.size, self.size))
        for number, axis in enumerate(self.axes):
            corners = [axis.cells - 1, 1 - axis.cells] if axis.boundary == "periodic" else []
            line = scipy.sparse.diags_array(
                [1.0] * (3 + len(corners)), offsets=[-1, 0, 1, *corners], shape=[axis.cells] * 2
            )
            before, after = math.prod(self.shape[:number]), math.prod(self.shape[number + 1 :])
            total = total + scipy.sparse.kron(
                scipy.sparse.kron(scipy.sparse.eye_array(before), line), scipy.sparse.eye_array(after)
            )
        return scipy.sparse.csr_array(total)

    def interpolation(self, points: Tensor) -> Interpolated:
        """Multilinear interpolation of cell values, which knows what holds at the walls.

        Args:
            points: positions (m, d), or (m,) in an interval.

        Raises:
            ConfigError: points have another dimension or lie outside the box.
        """
        points = points[:, None] if points.ndim == 1 else points
        if points.ndim != 2 or points.shape[1] != len(self.axes) or len(points) == 0:
            raise ConfigError(f"points of shape {tuple(points.shape)}; need (number, {len(self.axes)})")
        index = torch.zeros(len(points), 1, dtype=torch.long)
        weights, offset = torch.ones(len(points), 1, dtype=torch.float64), torch.zeros(len(points), dtype=torch.float64)
        for axis, positions in zip(self.axes, points.double().T, strict=True):
            cells, shares, wall = axis.interpolation(positions)
            index = (index[:, :, None] * axis.cells + cells[:, None]).flatten(1)
            weights = (weights[:, :, None] * shares[:, None]).flatten(1)
            offset = offset * shares.sum(-1) + wall
        return Interpolated(index, weights, offset)

    def modes(self, u: Tensor) -> Tensor:
        """Transform of cell values (..., n), orthogonal."""
        return self._along(u, [axis.transform for axis in self.axes])

    def values(self, modes: Tensor) -> Tensor:
        """Cell values of modes (..., n)."""
        return self._along(modes, [axis.transform.T for axis in self.axes])

    def _along(self, u: Tensor, matrices: list[Tensor]) -> Tensor:
        field = u.reshape(*u.shape[:-1], *self.shape)
        for number, matrix in enumerate(matrices):
            place = number - len(self.axes)
            field = torch.movedim(torch.movedim(field, place, -1) @ matrix.T, -1, place)
        return field.reshape(u.shape)

    def padded(self, u: Tensor, axis: int) -> Tensor:
        """Field (..., *shape) of (..., n) with one ghost cell at both ends of an axis."""
        field = u.reshape(*u.shape[:-1], *self.shape)
        dim, which = axis - len(self.axes), self.axes[axis]
        first, last = field.narrow(dim, 0, 1), field.narrow(dim, which.cells - 1, 1)
        if which.boundary == "noflux":
            before, after = first, last
        elif which.boundary == "periodic":
            before, after = last, first
        else:
            before, after = 2.0 * which.walls[0] - first, 2.0 * which.walls[1] - last
        return torch.cat([before, field, after], dim=dim)

    def laplacian(self, u: Tensor) -> Tensor:
        """Three-point Laplacian of (..., n)."""
        total = torch.zeros_like(u)
        for axis in range(len(self.axes)):
            jumps = torch.diff(self.padded(u, axis), n=2, dim=axis - len(self.axes))
            total = total + jumps.reshape(u.shape) / self.axes[axis].spacing ** 2
        return total

    def slope(self, u: Tensor, axis: int = 0) -> Tensor:
        """Central difference of (..., n) along an axis."""
        field, dim = self.padded(u, axis), axis - len(self.axes)
        count = self.axes[axis].cells
        difference = field.narrow(dim, 2, count) - field.narrow(dim, 0, count)
        return difference.reshape(u.shape) / (2.0 * self.axes[axis].spacing)

    def divergence(self, flux: Tensor, axis: int = 0) -> Tensor:
        """Difference (..., n) of the fluxes through a cell's faces along an axis, (..., *shape) with one more there."""
        difference = torch.diff(flux, dim=axis - len(self.axes)) / self.axes[axis].spacing
        return difference.reshape(*difference.shape[: -len(self.axes)], self.size)


def interval(
    lower: float, upper: float, cells: int, boundary: Boundary = "noflux", walls: tuple[float, float] = (0.0, 0.0)
) -> Grid:
    """Grid of an interval."""
    return Grid((Axis(lower, upper, cells, boundary, walls),))


def square(lower: float, upper: float, cells: int, boundary: Boundary = "noflux") -> Grid:
    """Grid of a square."""
    return Grid((Axis(lower, upper, cells, boundary), Axis(lower, upper, cells, boundary)))
