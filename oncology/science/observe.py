"""What is measured of a state, with noise: nodal values, points, positions of a front.

An observation operator is a differentiable map of states (K, n) to data (K, m) with its Jacobian products. Noise is
Gaussian, independent, seeded, and has the stated norm relative to the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from oncology.errors import NumericalError

__all__ = ["Everywhere", "FrontPosition", "Interpolated", "Measurement", "Points", "StateObservation", "noisy"]


class StateObservation(Protocol):
    """A differentiable map of states to data."""

    def value(self, u: Tensor) -> Tensor:
        """Data (K, m) of states (K, n)."""

    def pushforward(self, u: Tensor, du: Tensor) -> Tensor:
        """Derivative along du, (K, m)."""

    def pullback(self, u: Tensor, covector: Tensor) -> Tensor:
        """Its transpose, (K, n)."""


@dataclass(frozen=True)
class Everywhere:
    """Every nodal value."""

    def value(self, u: Tensor) -> Tensor:
        """U itself."""
        return u

    def pushforward(self, u: Tensor, du: Tensor) -> Tensor:
        """The direction itself."""
        return du

    def pullback(self, u: Tensor, covector: Tensor) -> Tensor:
        """The covector itself."""
        return covector


@dataclass(frozen=True, eq=False)
class Points:
    """Some nodal values.

    Attributes:
        index: numbers of the nodes, (m,).
    """

    index: Tensor

    def value(self, u: Tensor) -> Tensor:
        """Values at the nodes."""
        return u[:, self.index]

    def pushforward(self, u: Tensor, du: Tensor) -> Tensor:
        """Direction at the nodes."""
        return du[:, self.index]

    def pullback(self, u: Tensor, covector: Tensor) -> Tensor:
        """Covector at the nodes, zero elsewhere."""
        return torch.zeros_like(u).index_add_(1, self.index, covector)


@dataclass(frozen=True, eq=False)
class Interpolated:
    """Values between the nodes, as weighted sums of a few nodal values: what `Grid.interpolation` returns.

    Attributes:
        index: numbers of the nodes, (m, corners).
        weights: of their values, (m, corners).
        offset: what fixed walls add, (m,).
    """

    index: Tensor
    weights: Tensor
    offset: Tensor

    def value(self, u: Tensor) -> Tensor:
        """Interpolated values."""
        return self.pushforward(u, u) + self.offset

    def pushforward(self, u: Tensor, du: Tensor) -> Tensor:
        """Interpolated direction."""
        return (du[:, self.index] * self.weights).sum(-1)

    def pullback(self, u: Tensor, covector: Tensor) -> Tensor:
        """Covector spread over the nodes."""
        spread = (covector[..., None] * self.weights).flatten(1)
        return torch.zeros_like(u).index_add_(1, self.index.reshape(-1), spread)


@dataclass(frozen=True, eq=False)
class FrontPosition:
    """Where a front that falls from left to right passes a threshold, by linear interpolation between nodes.

    Attributes:
        points: positions of the nodes, ascending, (n,).
        threshold: value at the front.
    """

    points: Tensor
    threshold: float

    def _bracket(self, u: Tensor) -> tuple[Tensor, Tensor]:
        above = u >= self.threshold
        if not bool((above[:, 0] & ~above[:, -1]).all()):
            raise NumericalError(f"no front passes {self.threshold:g}; enlarge the domain or change the start")
        left = u.shape[1] - 2 - (above[:, :-1] & ~above[:, 1:]).flip(1).to(torch.int8).argmax(1)
        return left[:, None], left[:, None] + 1

    def value(self, u: Tensor) -> Tensor:
        """Position, (K, 1)."""
        left, right = self._bracket(u)
        low, high = u.gather(1, left), u.gather(1, right)
        share = (low - self.threshold) / (low - high)
        return self.points[left] + share * (self.points[right] - self.points[left])

    def _slopes(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        left, right = self._bracket(u)
        low, high = u.gather(1, left), u.gather(1, right)
        width = (self.points[right] - self.points[left]) / (low - high) ** 2
        return left, right, width * (self.threshold - high), width * (low - self.threshold)

    def pushforward(self, u: Tensor, du: Tensor) -> Tensor:
        """Change of the position."""
        left, right, by_low, by_high = self._slopes(u)
        return by_low * du.gather(1, left) + by_high * du.gather(1, right)

    def pullback(self, u: Tensor, covector: Tensor) -> Tensor:
        """Covectors of the two nodes beside the front."""
        left, right, by_low, by_high = self._slopes(u)
        return torch.zeros_like(u).scatter_add_(1, left, by_low * covector).scatter_add_(1, right, by_high * covector)


@dataclass(frozen=True, eq=False)
class Measurement:
    """Data at one time.

    Attributes:
        step: number of the time step at whose end it is made; 0 is the start.
        observation: what is measured.
        data: (K, m).
        weights: of the squared residuals, (m,): quadrature weights, or inverse variances.
    """

    step: int
    observation: StateObservation
    data: Tensor
    weights: Tensor


def noisy(data: Tensor, level: float, generator: torch.Generator) -> Tensor:
    """Data with Gaussian noise of norm `level |data|`.

    Args:
        data: exact data.
        level: noise norm over data norm: 0.05 is 5 %.
        generator: source of the random numbers, on the CPU.
    """
    noise = torch.randn(data.shape, generator=generator, dtype=data.dtype)
    result: Tensor = data + level * torch.linalg.vector_norm(data) / torch.linalg.vector_norm(noise) * noise
    return result
