"""Costs of a standalone NODE: squared misfit, cross-entropy, output magnitude, running cost, weight decay.

    E = (1/K) sum_k [ Phi(x_k(T), y_k) + int l(t, x_k) dt ] + mu4/2 |theta|^2 + mu5/2 |theta'|^2
    Phi = mu1/2 |x - y|^2 + mu2 CE(softmax(Px), y) + mu3/2 |x - x_ref|^2

The running cost is averaged over the samples as the others are, so that a batch's size does not change its weight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from oncology.errors import ConfigError

__all__ = ["Cost", "Magnitude", "RunningCost", "Terminal"]


class RunningCost(Protocol):
    """A cost l(x) along depth, of samples (..., n); called with states at every time step at once."""

    def value(self, states: Tensor) -> Tensor:
        """l(x), (...)."""

    def derivative(self, states: Tensor) -> Tensor:
        """l'(x), (..., n)."""

    def curvature(self, states: Tensor, direction: Tensor) -> Tensor:
        """l''(x)[xi, xi] >= 0, (...)."""


@dataclass(frozen=True)
class Magnitude:
    """Running cost `weight / 2 |x|^2`, which keeps states small on their way.

    Attributes:
        weight: per unit of depth.
    """

    weight: float

    def value(self, states: Tensor) -> Tensor:
        """Weight / 2 |x|^2."""
        return 0.5 * self.weight * (states * states).sum(-1)

    def derivative(self, states: Tensor) -> Tensor:
        """Weight x."""
        return self.weight * states

    def curvature(self, states: Tensor, direction: Tensor) -> Tensor:
        """Weight |xi|^2."""
        return self.weight * (direction * direction).sum(-1)


@dataclass(frozen=True)
class Cost:
    """Weights of the terms of the cost.

    Attributes:
        squared: mu1, of the squared misfit of the whole state; targets are padded with zeros.
        entropy: mu2, of the cross-entropy of the softmax of the outputs.
        magnitude: mu3, of the squared distance of x(T) from where zero weights lead, T sigma(0).
        decay: mu4, of the squared L2 norm of the weights.
        roughness: mu5, of the squared L2 norm of their derivative in depth.
        running: cost along depth, or None.

    Raises:
        ConfigError: a weight is negative, or none of the terms at the end of depth is there.
    """

    squared: float = 1.0
    entropy: float = 0.0
    magnitude: float = 0.0
    decay: float = 0.0
    roughness: float = 0.0
    running: RunningCost | None = None

    def __post_init__(self) -> None:
        terms = (self.squared, self.entropy, self.magnitude, self.decay, self.roughness)
        if min(terms) < 0:
            raise ConfigError(f"weights {terms} of the cost; each must be >= 0")
        if max(terms[:3]) == 0 and self.running is None:
            raise ConfigError("the cost has no term of the data: set squared or entropy > 0")


@dataclass(frozen=True, eq=False)
class Terminal:
    """Phi of one batch, the mean over its samples.

    Attributes:
        cost: weights of the terms.
        targets: y, (K, outputs): one-hot classes or values.
        padded: the targets as states, (K, n).
        outputs: coordinates of the outputs.
        at_rest: every component of x_ref.
    """

    cost: Cost
    targets: Tensor
    padded: Tensor
    outputs: tuple[int, ...]
    at_rest: float

    def value(self, final: Tensor) -> float:
        """Mean of Phi at x(T), (K, n)."""
        c, total = self.cost, final.new_zeros(())
        if c.squared:
            total = total + 0.5 * c.squared * _squares(final - self.padded)
        if c.magnitude:
            total = total + 0.5 * c.magnitude * _squares(final - self.at_rest)
        if c.entropy:
            total = total - c.entropy * (self.targets * torch.log_softmax(self._read(final), -1)).sum()
        return float(total) / len(final)

    def derivative(self, final: Tensor) -> Tensor:
        """lambda(T), (K, n)."""
        c, out = self.cost, torch.zeros_like(final)
        if c.squared:
            out.add_(final - self.padded, alpha=c.squared)
        if c.magnitude:
            out.add_(final - self.at_rest, alpha=c.magnitude)
        if c.entropy:
            excess = torch.softmax(self._read(final), -1) - self.targets
            out[:, list(self.outputs)] += c.entropy * excess
        return out / len(final)

    def curvature(self, final: Tensor, xi: Tensor) -> float:
        """Phi''(x(T))[xi, xi] >= 0."""
        c = self.cost
        total = (c.squared + c.magnitude) * _squares(xi)
        if c.entropy:
            p, move = torch.softmax(self._read(final), -1), self._read(xi)
            mean = (p * move).sum(-1, keepdim=True)
            total = total + c.entropy * (p * (move - mean) ** 2).sum()
        return float(total) / len(final)

    def line(self, final: Tensor, xi: Tensor, slope: float, rest: float) -> Callable[[float], tuple[float, float]]:
        """Derivative by beta, and its slope, of the cost at x(T) + beta xi: strictly increasing in beta.

        Args:
            final: x(T), (K, n).
            xi: derivative of x(T) along the direction, (K, n).
            slope: derivative of the whole cost along the direction.
            rest: curvature of the other terms, which are quadratic along the direction.
        """
        constant = slope - self.entropy_along(final, xi, 0.0)[0]
        quadratic = rest + (self.cost.squared + self.cost.magnitude) * float(_squares(xi)) / len(final)

        def phi(beta: float) -> tuple[float, float]:
            first, second = self.entropy_along(final, xi, beta)
            return constant + quadratic * beta + first, quadratic + second

        return phi

    def entropy_along(self, final: Tensor, xi: Tensor, beta: float) -> tuple[float, float]:
        """First and second derivative by beta of the cross-entropy at x(T) + beta xi."""
        move = self._read(xi)
        p = torch.softmax(self._read(final) + beta * move, -1)
        mean = (p * move).sum(-1, keepdim=True)
        scale = self.cost.entropy / len(final)
        first = ((p - self.targets) * move).sum()
        return scale * float(first), scale * float((p * (move - mean) ** 2).sum())

    def _read(self, state: Tensor) -> Tensor:
        return state[:, list(self.outputs)]


def _squares(x: Tensor) -> Tensor:
    return (x * x).sum()
