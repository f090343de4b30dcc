"""Weights as functions of depth: piecewise constant or linear on a uniform grid, with their inner products.

Weights W(t), b(t) are one tensor theta of shape (nodes, n + 1, m): at each node the affine map `z = (x, 1) theta` of
row vectors, W transposed above b. Derivatives by it are dual vectors; `depth_space` holds the Riesz map of L2 and H1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.optimise import Space

__all__ = ["DepthGrid", "Interpolation", "depth_space", "prolong", "smooth_weights"]

type Kind = Literal["constant", "linear"]


@dataclass(frozen=True)
class DepthGrid:
    """Uniform grid of the depth interval (0, T).

    Attributes:
        length: T, in units of depth.
        cells: number N of intervals, of length h = T / N.
        kind: "constant" on each interval (N nodes) or "linear" between N + 1 nodes.

    Raises:
        ConfigError: length or cells are not positive, or the kind is unknown.
    """

    length: float
    cells: int
    kind: Kind = "constant"

    def __post_init__(self) -> None:
        if not (0 < self.length < math.inf and self.cells >= 1):
            raise ConfigError(f"depth {self.length:g} in {self.cells} cells; need a length > 0 and at least one cell")
        if self.kind not in ("constant", "linear"):
            raise ConfigError(f"weights {self.kind!r} in depth; take 'constant' or 'linear'")

    @property
    def step(self) -> float:
        """h, length of a cell."""
        return self.length / self.cells

    @property
    def nodes(self) -> int:
        """Number of values a weight has."""
        return self.cells if self.kind == "constant" else self.cells + 1

    @property
    def times(self) -> Tensor:
        """Depth of each node, (nodes,): the middle of its cell for constant weights."""
        if self.kind == "constant":
            return self.step * (torch.arange(self.cells, dtype=torch.float64) + 0.5)
        return self.step * torch.arange(self.cells + 1, dtype=torch.float64)

    def refined(self, factor: int = 2) -> DepthGrid:
        """The grid with every cell cut into `factor` equal ones."""
        return DepthGrid(self.length, factor * self.cells, self.kind)

    def mass(self) -> Tensor:
        """Matrix of `int a b`, (nodes, nodes), double precision."""
        if self.kind == "constant":
            return self.step * torch.eye(self.cells, dtype=torch.float64)
        return self.step / 6.0 * self._tridiagonal(2.0, 1.0)

    def stiffness(self) -> Tensor:
        """Matrix of `int a' b'`; of constant weights, of the jumps between neighbouring cells over h."""
        return self._tridiagonal(1.0, -1.0) / self.step

    def _tridiagonal(self, share: float, neighbour: float) -> Tensor:
        """Sum over neighbouring nodes of the 2 x 2 matrices ((share, neighbour), (neighbour, share))."""
        matrix = torch.zeros(self.nodes, self.nodes, dtype=torch.float64)
        left = torch.arange(self.nodes - 1)
        matrix[left, left] += share
        matrix[left + 1, left + 1] += share
        matrix[left, left + 1] = neighbour
        matrix[left + 1, left] = neighbour
        return matrix

    def interpolation(self, steps: int, stages: tuple[float, ...]) -> Interpolation:
        """Where the stages of equal time steps read the weights.

        Args:
            steps: time steps in each cell.
            stages: position of the stages in a step, 0 to 1.
        """
        offsets = torch.tensor(stages, dtype=torch.float64)
        times = ((torch.arange(self.cells * steps, dtype=torch.float64)[:, None] + offsets) / steps).reshape(-1)
        if self.kind == "constant":
            cell = torch.arange(self.cells).repeat_interleave(steps * len(stages))
            return Interpolation(cell, None, self.nodes)
        cell = torch.arange(self.cells).repeat_interleave(steps * len(stages))
        return Interpolation(cell, times - cell, self.nodes)


@dataclass(frozen=True, eq=False)
class Interpolation:
    """Linear map from nodal weights to the weights of every stage, and its transpose.

    Attributes:
        cell: (stages,) cell of each stage.
        share: (stages,) weight of the cell's right node; None for piecewise constant weights.
        nodes: number of nodes.
    """

    cell: Tensor
    share: Tensor | None
    nodes: int

    @property
    def is_identity(self) -> bool:
        """Whether stages and nodes are the same."""
        return self.share is None and len(self.cell) == self.nodes

    def push(self, theta: Tensor) -> Tensor:
        """Weights of the stages, (stages, ...); theta itself where nothing is to be done."""
        if self.is_identity:
            return theta
        cell = self.cell.to(theta.device)
        if self.share is None:
            return theta[cell]
        share = self.share.to(theta).reshape(-1, *[1] * (theta.ndim - 1))
        return torch.lerp(theta[cell], theta[cell + 1], share)

    def pull(self, dual: Tensor) -> Tensor:
        """Transpose of `push`: dual vectors of stages to those of nodes."""
        if self.is_identity:
            return dual
        cell = self.cell.to(dual.device)
        out = torch.zeros(self.nodes, *dual.shape[1:], dtype=dual.dtype, device=dual.device)
        if self.share is None:
            return out.index_add_(0, cell, dual)
        share = self.share.to(dual).reshape(-1, *[1] * (dual.ndim - 1))
        return out.index_add_(0, cell, (1.0 - share) * dual).index_add_(0, cell + 1, share * dual)


def depth_space(grid: DepthGrid, smoothing: float = 0.0, like: Tensor | None = None) -> Space[Tensor]:
    """L2(0, T) or H1(0, T) of weights, `(a, b) = int a b + l^2 int a' b'` with natural ends.

    Riesz images come from one product with the inverse Gram matrix, (nodes, nodes): one kernel on a GPU, where a
    recurrence through depth would need two launches a layer. On constant weights it is `h1_in_time` of `optimise`.

    Args:
        grid: the weights' grid.
        smoothing: l, in units of depth; 0 gives L2.
        like: a tensor with the type and device of the weights; double precision on the CPU if not given.

    Raises:
        ConfigError: the smoothing length is negative or not finite.
    """
    if not 0 <= smoothing < math.inf:
        raise ConfigError(f"smoothing length {smoothing:g}; need a finite length >= 0, in units of depth")
    like = torch.zeros((), dtype=torch.float64) if like is None else like
    exact = grid.mass() + smoothing**2 * grid.stiffness()
    gram, inverse = exact.to(like), torch.linalg.inv(exact).to(like)
    step = grid.step if grid.kind == "constant" and smoothing == 0 else None

    def inner(a: Tensor, b: Tensor) -> float:
        return step * _dot(a, b) if step is not None else _dot(a, apply(gram, b))

    def riesz(f: Tensor) -> Tensor:
        return f / step if step is not None else apply(inverse, f)

    return Space(inner=inner, dual=_dot, riesz=riesz)


def apply(matrix: Tensor, theta: Tensor) -> Tensor:
    """Product of a (nodes, nodes) matrix with weights, along depth."""
    return (matrix @ theta.reshape(len(theta), -1)).reshape(theta.shape)


def _dot(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a.reshape(-1), b.reshape(-1)))


def prolong(theta: Tensor, grid: DepthGrid, fine: DepthGrid) -> Tensor:
    """The same function of depth on a finer grid.

    Args:
        theta: weights on `grid`, (nodes, ...).
        grid: their grid.
        fine: a grid of the same length and kind, whose cells divide those of `grid`.

    Raises:
        ConfigError: the grids do not nest.
    """
    factor, rest = divmod(fine.cells, grid.cells)
    if rest or fine.length != grid.length or fine.kind != grid.kind:
        raise ConfigError(f"{fine} does not divide the cells of {grid}; refine by a whole factor")
    if grid.kind == "constant":
        return theta.repeat_interleave(factor, dim=0)
    shares = torch.arange(factor, dtype=theta.dtype, device=theta.device).reshape(1, factor, *[1] * (theta.ndim - 1))
    inside = torch.lerp(theta[:-1, None], theta[1:, None], shares / factor)
    return torch.cat([inside.reshape(-1, *theta.shape[1:]), theta[-1:]])


def smooth_weights(grid: DepthGrid, shape: tuple[int, ...], generator: torch.Generator, scale: float = 1.0) -> Tensor:
    """Random weights that are smooth in depth: normal values at whole depths, joined by a cubic spline.

    Args:
        grid: the weights' grid.
        shape: of the weights at one depth.
        generator: source of the random numbers, on the CPU.
        scale: standard deviation of the values at whole depths; the prototype takes 1 / n.

    Returns:
        (nodes, *shape), double precision on the CPU.
    """
    from scipy.interpolate import CubicSpline  # slow to import

    knots = max(2, round(grid.length) + 1)
    values = scale * torch.randn(knots, *shape, generator=generator, dtype=torch.float64)
    positions = torch.linspace(0.0, grid.length, knots, dtype=torch.float64)
    return torch.from_numpy(CubicSpline(positions.numpy(), values.numpy())(grid.times.numpy()))
