"""Continuous pooling inside the one ODE, each flow solved exactly over a step.

Average pooling is the heat flow. Soft-max pooling is `u_t = eps lap u + |grad u|^2`, which Cole and Hopf turn into
`u -> eps log(G * exp(u / eps))`. Down-scaling is `u_t = a x . grad u`, which shrinks the picture towards the centre of
the box, whereupon the outer part can be left out. A flow over a depth step knows its linearisation and transpose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.nodes.convolution.torus import Torus

__all__ = ["Contraction", "HeatFlow", "LinearisedFlow", "PoolingFlow", "Restriction", "SoftMaxFlow"]


class LinearisedFlow(Protocol):
    """A flow's derivative at a point; images (K, channels, *pixels)."""

    def push(self, direction: Tensor) -> Tensor:
        """P' xi."""

    def pull(self, covector: Tensor) -> Tensor:
        """P'* mu, for the sum over pixels."""

    def second(self, direction: Tensor) -> Tensor:
        """P''[xi, xi]."""


class PoolingFlow(Protocol):
    """A flow over one step."""

    def target(self, torus: Torus) -> Torus:
        """The grid on which the result lives."""

    def apply(self, torus: Torus, images: Tensor) -> tuple[Tensor, LinearisedFlow]:
        """The images after the step, with the derivative there."""


@dataclass(frozen=True)
class HeatFlow:
    """Average pooling: Gaussian smoothing of standard deviation sqrt(2 time).

    Attributes:
        time: length of the flow, in unit of length^2.
    """

    time: float

    def target(self, torus: Torus) -> Torus:
        """The same grid."""
        return torus

    def apply(self, torus: Torus, images: Tensor) -> tuple[Tensor, LinearisedFlow]:
        """Smoothed images."""
        symbol = torch.exp(self.time * torus.laplacian()).to(images)
        flow = _Multiplier(torus, symbol)
        return flow.push(images), flow


@dataclass(frozen=True, eq=False)
class _Multiplier:
    """A self-adjoint linear map that multiplies each Fourier coefficient by a real number."""

    torus: Torus
    symbol: Tensor

    def push(self, direction: Tensor) -> Tensor:
        return self.torus.backward(self.symbol * self.torus.forward(direction))

    def pull(self, covector: Tensor) -> Tensor:
        return self.push(covector)

    def second(self, direction: Tensor) -> Tensor:
        return torch.zeros_like(direction)


@dataclass(frozen=True)
class SoftMaxFlow:
    """Soft-max pooling by `u_t = eps lap u + |grad u|^2`; a maximum as eps -> 0, the mean as eps grows.

    Attributes:
        time: length of the flow, in units of depth; the window has the variance 2 eps time.
        softness: eps, in unit of length^2 per unit of depth.

    Raises:
        ConfigError: the softness or the time is not positive.
    """

    time: float
    softness: float

    def __post_init__(self) -> None:
        if not (self.time > 0 and self.softness > 0):
            raise ConfigError(f"soft-max flow of time {self.time:g} and softness {self.softness:g}; need both > 0")

    def target(self, torus: Torus) -> Torus:
        """The same grid."""
        return torus

    def apply(self, torus: Torus, images: Tensor) -> tuple[Tensor, LinearisedFlow]:
        """`top + eps log(G * exp((u - top) / eps))`, with the largest value taken out against overflow."""
        variance = 2.0 * self.softness * self.time
        axes = zip(torus.pixels, torus.lengths, strict=True)
        smoothing = _Resampling(tuple(_gaussian(count, length, variance).to(images) for count, length in axes))
        top = images.amax(dim=tuple(range(2, images.ndim)), keepdim=True)
        weight = torch.exp((images - top) / self.softness)
        mean = smoothing.push(weight).clamp(min=torch.finfo(images.dtype).tiny)
        return top + self.softness * torch.log(mean), _SoftMean(smoothing, weight, mean, self.softness)


@dataclass(frozen=True, eq=False)
class _SoftMean:
    """Derivative of soft-max pooling: means with the weights `G exp(u / eps)`, normalised."""

    smoothing: _Resampling
    weight: Tensor
    mean: Tensor
    softness: float

    def push(self, direction: Tensor) -> Tensor:
        return self.smoothing.push(self.weight * direction) / self.mean

    def pull(self, covector: Tensor) -> Tensor:
        return self.weight * self.smoothing.pull(covector / self.mean)

    def second(self, direction: Tensor) -> Tensor:
        return (self.push(direction * direction) - self.push(direction) ** 2) / self.softness


@dataclass(frozen=True)
class Contraction:
    """Down-scaling `u(x) -> u(exp(rate) x)` about the centre of the box, zero where that leaves it; cubic in space.

    Attributes:
        rate: integral of a(t) over the step; log 2 halves the picture.
    """

    rate: float

    def target(self, torus: Torus) -> Torus:
        """The same grid."""
        return torus

    def apply(self, torus: Torus, images: Tensor) -> tuple[Tensor, LinearisedFlow]:
        """Contracted images."""
        flow = _Resampling(tuple(_sampling(count, math.exp(self.rate)).to(images) for count in torus.pixels))
        return flow.push(images), flow


@dataclass(frozen=True)
class Restriction:
    """Keeps the central half of the box, once the picture is contracted into it.

    Raises:
        ConfigError: an axis has a number of pixels that 4 does not divide.
    """

    def target(self, torus: Torus) -> Torus:
        """The central half, with the same pixels."""
        if any(count % 4 for count in torus.pixels):
            raise ConfigError(f"{torus.pixels} pixels cannot be halved about their centre; take multiples of 4")
        return Torus(tuple(n // 2 for n in torus.pixels), tuple(length / 2.0 for length in torus.lengths))

    def apply(self, torus: Torus, images: Tensor) -> tuple[Tensor, LinearisedFlow]:
        """The central part."""
        self.target(torus)
        flow = _Resampling(tuple(torch.eye(n)[n // 4 : n // 4 + n // 2].to(images) for n in torus.pixels))
        return flow.push(images), flow


@dataclass(frozen=True, eq=False)
class _Resampling:
    """A matrix along each axis."""

    matrices: tuple[Tensor, ...]

    def push(self, direction: Tensor) -> Tensor:
        out = direction
        for axis, matrix in enumerate(self.matrices):
            out = torch.movedim(torch.movedim(out, axis + 2, -1) @ matrix.T, -1, axis + 2)
        return out

    def pull(self, covector: Tensor) -> Tensor:
        return _Resampling(tuple(matrix.T for matrix in self.matrices)).push(covector)

    def second(self, direction: Tensor) -> Tensor:
        return torch.zeros_like(self.push(direction))


def _gaussian(count: int, length: float, variance: float) -> Tensor:
    """Periodic Gaussian means along a line of pixels, (count, count), rows summing to 1.

    Positive weights, and no sum of large terms of both signs as in a Fourier series: means keep their relative
    accuracy however far an image is below its maximum.
    """
    offset = torch.arange(count, dtype=torch.float64) * (length / count)
    copies = torch.arange(-math.ceil(1.0 + 9.0 * math.sqrt(variance) / length), 2 + int(9.0 * variance**0.5 / length))
    line = torch.exp(-((offset[:, None] + length * copies) ** 2) / (2.0 * variance)).sum(-1)
    line = 0.5 * (line + torch.roll(line.flip(0), 1))  # symmetric to the last bit
    pixel = torch.arange(count)
    return (line / line.sum())[(pixel[:, None] - pixel) % count]


def _sampling(count: int, factor: float) -> Tensor:
    """Matrix that samples `count` pixels of a line at `factor` times their distance from its centre, (count, count).

    Catmull-Rom cubics, exact for parabolas; pixels outside the line are zero.
    """
    centre = 0.5 * (count - 1)
    place = centre + factor * (torch.arange(count, dtype=torch.float64) - centre)
    left = torch.floor(place).long()
    t = place - left
    weights = torch.stack(
        [
            0.5 * t * (-1.0 + t * (2.0 - t)),
            1.0 + 0.5 * t * t * (3.0 * t - 5.0),
            0.5 * t * (1.0 + t * (4.0 - 3.0 * t)),
            0.5 * t * t * (t - 1.0),
        ]
    )
    matrix = torch.zeros(count, count, dtype=torch.float64)
    for offset, weight in zip((-1, 0, 1, 2), weights, strict=True):
        column = left + offset
        inside = (column >= 0) & (column < count)
        matrix[torch.nonzero(inside)[:, 0], column[inside]] += weight[inside]
    return matrix
