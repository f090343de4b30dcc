"""Unknowns of an identification: coefficients or the initial state, in coordinates of order one.

Positive values are sought as logarithms, and each block is measured in units of its prior standard deviation; each
block has its own named inner product, in which its gradient is a Riesz image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.nodes.depth import DepthGrid, depth_space
from oncology.optimise import Space, euclidean, weighted_l2

__all__ = ["INITIAL", "Unknown", "amplitude", "in_depth", "in_space", "number"]

INITIAL = "initial"
"""Name of the unknown that is the state at depth 0."""


@dataclass(frozen=True, eq=False)
class Unknown:
    """A block of unknowns: the value `reference exp(scale x)` or `reference + scale x` of coordinates x.

    Attributes:
        name: of a coefficient, or `INITIAL`.
        reference: value at x = 0, in the coefficient's unit and shape: (size,), (nodes, size) or (K, n).
        space: inner product of the coordinates.
        scale: prior standard deviation, of the logarithm or of the value.
        logarithmic: whether x is a logarithm, so that the value stays positive.
        precision: weights p of the penalty `1/2 sum p x^2`, a number or in the shape of x; 0 has none.
        shape: of x where it is smaller than the value and spread over it: one amplitude of a field, say.

    Raises:
        ConfigError: the scale is not positive, or the reference of a logarithm is not.
    """

    name: str
    reference: Tensor
    space: Space[Tensor]
    scale: float = 1.0
    logarithmic: bool = False
    precision: Tensor | float = 0.0
    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ConfigError(f"scale {self.scale:g} of {self.name}; need its prior standard deviation, > 0")
        if self.logarithmic and not bool((self.reference > 0).all()):
            raise ConfigError(f"reference {float(self.reference.min()):g} of {self.name}; a logarithm needs it > 0")

    @property
    def start(self) -> Tensor:
        """Coordinates of the reference: zeros."""
        return torch.zeros_like(self.reference) if self.shape is None else self.reference.new_zeros(self.shape)

    def value(self, x: Tensor) -> Tensor:
        """Value in the coefficient's unit."""
        return self.reference * torch.exp(self.scale * x) if self.logarithmic else self.reference + self.scale * x

    def coordinates(self, value: Tensor) -> Tensor:
        """The x of a value."""
        moved = torch.log(value / self.reference) if self.logarithmic else value - self.reference
        return moved / self.scale

    def push(self, x: Tensor, direction: Tensor) -> Tensor:
        """Derivative of the value along a direction of the coordinates."""
        moved = self.scale * direction * torch.ones_like(self.reference)
        return self.value(x) * moved if self.logarithmic else moved

    def pull(self, x: Tensor, dual: Tensor) -> Tensor:
        """Its transpose: dual vectors of the value to those of the coordinates."""
        pulled = self.scale * dual
        return (self.value(x) * pulled if self.logarithmic else pulled).sum_to_size(x.shape)


def number(name: str, reference: float, scale: float = 1.0, logarithmic: bool = True, prior: bool = False) -> Unknown:
    """A single number, such as a diffusivity.

    Args:
        name: of the coefficient.
        reference: first guess, in its unit.
        scale: prior standard deviation of its logarithm, or of itself.
        logarithmic: whether it is positive and sought as a logarithm.
        prior: whether to add the prior `x^2 / 2` to the cost.
    """
    value = torch.tensor([reference], dtype=torch.float64)
    return Unknown(name, value, euclidean(), scale, logarithmic, 1.0 if prior else 0.0)


def amplitude(name: str, field: Tensor, scale: float = 1.0) -> Unknown:
    """The unknown positive factor of a known field, sought as a logarithm.

    Args:
        name: of the coefficient, or `INITIAL`.
        field: its shape and first guess.
        scale: prior standard deviation of the factor's logarithm.

    Raises:
        ConfigError: the field is not positive everywhere.
    """
    return Unknown(name, field, euclidean(), scale, True, 0.0, (1,) * field.ndim)


def in_space(name: str, reference: Tensor, weights: Tensor, scale: float = 1.0, penalty: float = 0.0) -> Unknown:
    """A function of space in L2, such as a source (n,) or the initial state (K, n).

    Args:
        name: of the coefficient, or `INITIAL`.
        reference: first guess.
        weights: quadrature weights, (n,).
        scale: prior standard deviation.
        penalty: alpha of Tikhonov's term `alpha/2 |x|^2` in L2.
    """
    spread = weights.expand(reference.shape)
    return Unknown(name, reference, weighted_l2(spread), scale, False, penalty * spread)


def in_depth(name: str, reference: Tensor, grid: DepthGrid, smoothing: float = 0.0, scale: float = 1.0) -> Unknown:
    """A function of depth, (nodes, size), in L2 or in H1 with a smoothing length in units of depth."""
    return Unknown(name, reference, depth_space(grid, smoothing), scale)
