"""Activations of a standalone NODE: elementwise ones, and the protocol of vector-valued ones.

An activation is a map S: R^m -> R^n applied to every sample's z = W x + b. The solver asks for its value, its Jacobian
and its second derivative along a direction; where an elementwise function computes them from its slope, a differential
equation computes them from the state. Smoothed rectifiers are C1, a parabola joining both lines on [-0.1, 0.1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch
from torch import Tensor

from oncology.errors import ConfigError

__all__ = ["ACTIVATIONS", "TANH", "Activation", "Elementwise", "activation_named"]

HALF_WIDTH = 0.1


class Activation(Protocol):
    """A map of samples (..., m) -> (..., n) with first and second derivatives; leading axes are independent samples."""

    @property
    def name(self) -> str:
        """Name in files and on the command line."""

    @property
    def lipschitz(self) -> float:
        """Largest 2-norm of the Jacobian, inf where there is none."""

    def value(self, z: Tensor) -> Tensor:
        """S(z)."""

    def memory(self, z: Tensor, value: Tensor) -> Tensor:
        """What `pushforward` and `pullback` need of the point, given z and S(z): (..., k)."""

    def pushforward(self, memory: Tensor, direction: Tensor) -> Tensor:
        """S'(z) dz."""

    def pullback(self, memory: Tensor, covector: Tensor) -> Tensor:
        """S'(z)* u."""

    def curvature(self, z: Tensor, direction: Tensor) -> Tensor:
        """S''(z)[dz, dz]."""


@dataclass(frozen=True)
class Elementwise:
    """A scalar function applied to each component; its memory is the slope.

    Attributes:
        name: name in files and on the command line.
        function: z -> sigma(z).
        slope: (z, sigma(z)) -> sigma'(z); of rectifiers one of the one-sided slopes at the kink.
        bend: z -> sigma''(z), zero where it exists almost everywhere only.
        at_zero: sigma(0).
        slopes: lowest and highest slope; certificates need them in [0, 1].
        largest: sup |sigma|, which bounds how far a state can move.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor, Tensor], Tensor]
    bend: Callable[[Tensor], Tensor]
    at_zero: float = 0.0
    slopes: tuple[float, float] = (0.0, 1.0)
    largest: float = float("inf")

    @property
    def lipschitz(self) -> float:
        """Largest slope in absolute value."""
        return max(abs(self.slopes[0]), abs(self.slopes[1]))

    def __reduce__(self) -> tuple[Callable[..., Elementwise], tuple[Any, ...]]:
        """Copies and pickles of a named activation are that one: kernels know it by identity."""
        if ACTIVATIONS.get(self.name) is self:
            return activation_named, (self.name,)
        return Elementwise, tuple(getattr(self, field.name) for field in fields(self))

    def value(self, z: Tensor) -> Tensor:
        """sigma(z)."""
        return self.function(z)

    def memory(self, z: Tensor, value: Tensor) -> Tensor:
        """sigma'(z)."""
        return self.slope(z, value)

    def pushforward(self, memory: Tensor, direction: Tensor) -> Tensor:
        """sigma'(z) dz."""
        return memory * direction

    def pullback(self, memory: Tensor, covector: Tensor) -> Tensor:
        """sigma'(z) u."""
        return memory * covector

    def curvature(self, z: Tensor, direction: Tensor) -> Tensor:
        """sigma''(z) dz^2."""
        return self.bend(z) * direction * direction


def _elu(alpha: float) -> Elementwise:
    return Elementwise(
        f"elu{alpha:g}",
        lambda z: torch.where(z > 0, z, alpha * torch.expm1(z.clamp(max=0.0))),
        lambda z, a: torch.where(z > 0, torch.ones_like(z), a + alpha),
        lambda z: torch.where(z > 0, torch.zeros_like(z), alpha * torch.exp(z.clamp(max=0.0))),
        slopes=(0.0, max(1.0, alpha)),
    )


def _rectifier(name: str, leak: float, width: float) -> Elementwise:
    """Rectifier with slope `leak` below zero; for width > 0 a parabola joins both lines on [-width, width]."""

    def function(z: Tensor) -> Tensor:
        if width == 0:
            return torch.where(z > 0, z, leak * z)
        parabola = leak * z + (1.0 - leak) * (z + width) ** 2 / (4.0 * width)
        return torch.where(z >= width, z, torch.where(z <= -width, leak * z, parabola))

    def slope(z: Tensor, _: Tensor) -> Tensor:
        if width == 0:
            return torch.where(z > 0, torch.ones_like(z), torch.full_like(z, leak))
        return leak + (1.0 - leak) * ((z + width) / (2.0 * width)).clamp(0.0, 1.0)

    def bend(z: Tensor) -> Tensor:
        if width == 0:
            return torch.zeros_like(z)
        return torch.where(z.abs() < width, torch.full_like(z, (1.0 - leak) / (2.0 * width)), torch.zeros_like(z))

    return Elementwise(name, function, slope, bend, at_zero=(1.0 - leak) * width / 4.0, slopes=(leak, 1.0))


def _sigmoid_bend(z: Tensor) -> Tensor:
    a = torch.sigmoid(z)
    return a * (1.0 - a) * (1.0 - 2.0 * a)


def _tanh_bend(z: Tensor) -> Tensor:
    a = torch.tanh(z)
    return -2.0 * a * (1.0 - a * a)


TANH = Elementwise(
    "tanh", torch.tanh, lambda z, a: torch.addcmul(torch.ones_like(a), a, a, value=-1.0), _tanh_bend, largest=1.0
)

ACTIVATIONS: dict[str, Elementwise] = {
    entry.name: entry
    for entry in (
        TANH,
        Elementwise(
            "sigmoid",
            torch.sigmoid,
            lambda z, a: a * (1.0 - a),
            _sigmoid_bend,
            at_zero=0.5,
            slopes=(0.0, 0.25),
            largest=1.0,
        ),
        Elementwise(
            "softplus",
            torch.nn.functional.softplus,
            lambda z, a: torch.sigmoid(z),
            lambda z: torch.sigmoid(z) * torch.sigmoid(-z),
            at_zero=0.6931471805599453,
        ),
        Elementwise(
            "identity", lambda z: z.clone(), lambda z, a: torch.ones_like(z), torch.zeros_like, slopes=(1.0, 1.0)
        ),
        _rectifier("relu", 0.0, 0.0),
        _rectifier("leaky-relu", 0.1, 0.0),
        _rectifier("smooth-relu", 0.0, HALF_WIDTH),
        _rectifier("smooth-leaky-relu", 0.1, HALF_WIDTH),
        _elu(0.2),
        _elu(1.0),
    )
}


def activation_named(name: str) -> Elementwise:
    """Elementwise activation by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in ACTIVATIONS:
        raise ConfigError(f"activation {name!r} is unknown; take one of {', '.join(sorted(ACTIVATIONS))}")
    return ACTIVATIONS[name]
