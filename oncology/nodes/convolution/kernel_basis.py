"""Kernels as functions of space, `K(z) = sum_j kappa_j psi_j(z)`, known by their Fourier transforms.

Every psi_j is a product of functions of one coordinate. Transforms are those of functions on R^d, so that a kernel
means the same on every pixel grid; Gram matrices in L2 and H1 come from Parseval's formula, exact to rounding.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from oncology.errors import ConfigError

__all__ = ["GaussianDerivatives", "KernelBasis", "RadialGaussians", "Splines", "kernel_gram"]


class KernelBasis(Protocol):
    """Functions psi_j of d coordinates, products of real functions of one coordinate each."""

    @property
    def dimension(self) -> int:
        """Number d of coordinates."""

    @property
    def number(self) -> int:
        """Number of functions."""

    @property
    def widths(self) -> tuple[float, float]:
        """Narrowest and widest length of the functions, in the unit of length of the images."""

    def factor(self, axis: int, frequency: Tensor) -> Tensor:
        """Fourier transforms of the factors that depend on one coordinate.

        Args:
            axis: the coordinate.
            frequency: angular frequencies, (F,), radian per unit of length.

        Returns:
            (number, F), complex: `int f(x) exp(-i w x) dx`.
        """


@dataclass(frozen=True)
class GaussianDerivatives:
    """Derivatives of Gaussians up to an order, at each scale s: `s^|a| d^a G_s` with `int G_s = 1`.

    Attributes:
        scales: standard deviations, in the unit of length of the images.
        order: highest total order of the derivatives.
        dimension: d.

    Raises:
        ConfigError: a scale is not positive or the order is negative.
    """

    scales: tuple[float, ...]
    order: int = 2
    dimension: int = 2

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0 or self.order < 0:
            raise ConfigError(f"scales {self.scales} and order {self.order}; need scales > 0 and an order >= 0")

    @property
    def members(self) -> list[tuple[float, tuple[int, ...]]]:
        """Scale and orders by coordinate of each function."""
        orders = [
            alpha
            for alpha in itertools.product(range(self.order + 1), repeat=self.dimension)
            if sum(alpha) <= self.order
        ]
        return [(scale, alpha) for scale in self.scales for alpha in sorted(orders, key=lambda a: (sum(a), a))]

    @property
    def number(self) -> int:
        """Number of functions."""
        return len(self.members)

    @property
    def widths(self) -> tuple[float, float]:
        """Narrowest and widest length of the functions."""
        return min(self.scales), max(self.scales)

    def factor(self, axis: int, frequency: Tensor) -> Tensor:
        """Transforms `(i w s)^a exp(-w^2 s^2 / 2)`, (number, F)."""
        rows = []
        for scale, alpha in self.members:
            w = scale * frequency
            rows.append((1j * w) ** alpha[axis] * torch.exp(-0.5 * w * w))
        return torch.stack(rows)


@dataclass(frozen=True)
class RadialGaussians:
    """Differences of Gaussians of growing width, the first one itself: radial, hence equivariant under rotations.

    Attributes:
        scales: standard deviations, increasing, in the unit of length of the images.
        dimension: d.

    Raises:
        ConfigError: scales are not positive and increasing.
    """

    scales: tuple[float, ...]
    dimension: int = 2

    def __post_init__(self) -> None:
        if not self.scales or self.scales[0] <= 0 or any(b <= a for a, b in itertools.pairwise(self.scales)):
            raise ConfigError(f"scales {self.scales} of radial kernels; need positive and increasing ones")

    @property
    def number(self) -> int:
        """Number of functions."""
        return len(self.scales)

    @property
    def widths(self) -> tuple[float, float]:
        """Narrowest and widest length of the functions."""
        return self.scales[0], self.scales[-1]

    def factor(self, axis: int, frequency: Tensor) -> Tensor:
        """Transforms of Gaussians, (number, F)."""
        rows = [torch.exp(-0.5 * (scale * frequency) ** 2) for scale in self.scales]
        return torch.stack(rows).to(torch.complex128 if frequency.dtype == torch.float64 else torch.complex64)


@dataclass(frozen=True)
class Splines:
    """Tensor products of B-splines on equidistant knots, with support in the cube of half-width `reach`.

    Attributes:
        reach: half-width of the support, in the unit of length of the images.
        number_per_axis: splines along each coordinate.
        degree: of the splines, at least 3; kernels have that many continuous derivatives less one.
        dimension: d.

    Raises:
        ConfigError: the reach is not positive, there is no spline, or the degree is below 3.
    """

    reach: float
    number_per_axis: int = 3
    degree: int = 3
    dimension: int = 2

    def __post_init__(self) -> None:
        if self.reach <= 0 or self.number_per_axis < 1 or self.degree < 3:
            given = f"reach {self.reach:g}, {self.number_per_axis} splines of degree {self.degree}"
            raise ConfigError(f"{given}; need a reach > 0, at least one spline and a degree >= 3")

    @property
    def spacing(self) -> float:
        """Distance of neighbouring splines."""
        return 2.0 * self.reach / (self.number_per_axis + self.degree)

    @property
    def members(self) -> list[tuple[int, ...]]:
        """Number of the spline along each coordinate."""
        return list(itertools.product(range(self.number_per_axis), repeat=self.dimension))

    @property
    def number(self) -> int:
        """Number of functions."""
        return len(self.members)

    @property
    def widths(self) -> tuple[float, float]:
        """Narrowest and widest length of the functions."""
        return self.spacing, self.reach

    def factor(self, axis: int, frequency: Tensor) -> Tensor:
        """Transforms `sinc(w d / 2)^(p + 1) exp(-i w x_k)` of splines with integral 1, (number, F)."""
        window = torch.sinc(frequency * self.spacing / (2.0 * math.pi)) ** (self.degree + 1)
        rows = []
        for member in self.members:
            centre = (member[axis] - 0.5 * (self.number_per_axis - 1)) * self.spacing
            rows.append(window * torch.exp(-1j * frequency * centre))
        return torch.stack(rows)


def kernel_gram(basis: KernelBasis, smoothing: float = 0.0) -> Tensor:
    """Gram matrix `int psi_i psi_j + l^2 grad psi_i . grad psi_j` over R^d, (number, number), double precision.

    Args:
        basis: the functions.
        smoothing: l, in the unit of length of the images.

    Raises:
        ConfigError: the functions are linearly dependent to rounding.
    """
    narrowest, widest = basis.widths
    # a period of many widths and a band of many inverse widths: both tails are below rounding for Gaussians
    period = 60.0 * widest
    step, number = 2.0 * math.pi / period, math.ceil(20.0 * period / narrowest)
    frequency = step * torch.arange(-number, number + 1, dtype=torch.float64)
    plain, steep = [], []
    for axis in range(basis.dimension):
        f = basis.factor(axis, frequency)
        plain.append((f @ f.conj().mT).real / period)
        steep.append(((f * frequency**2) @ f.conj().mT).real / period)
    gram = math.prod(plain[1:], start=plain[0])
    if smoothing > 0:
        for axis in range(basis.dimension):
            others = [plain[a] for a in range(basis.dimension) if a != axis]
            gram = gram + smoothing**2 * math.prod(others, start=steep[axis])
    values = torch.linalg.eigvalsh(gram)
    if float(values[0]) <= 1e-13 * float(values[-1]):
        raise ConfigError("kernel functions are linearly dependent; take scales further apart or fewer functions")
    return gram
