"""Images as samples of periodic functions: discrete Fourier transforms on a pixel grid, with its quadrature.

A convolution multiplies the trigonometric interpolant of an image by the transform of its kernel. At the highest
frequency of an even number of pixels, where a real interpolant cannot tell the sign, the mean over both signs is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.nodes.convolution.kernel_basis import KernelBasis

__all__ = ["Torus"]

DENSE = 400
"""Most pixels whose transform is one product with a dense matrix: several times faster there than an FFT."""


@cache
def _dense(pixels: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Matrices of the transform and of its inverse, real and imaginary parts in turn: (N, 2 F) and (2 F, N)."""
    axes = tuple(range(1, len(pixels) + 1))
    number, half = math.prod(pixels), pixels[-1] // 2 + 1
    units = torch.eye(number, dtype=torch.float64).reshape(number, *pixels)
    forward = torch.view_as_real(torch.fft.rfftn(units, dim=axes).flatten(1)).flatten(1)
    modes = number // pixels[-1] * half
    ones = torch.view_as_complex(torch.eye(2 * modes, dtype=torch.float64).unflatten(-1, (-1, 2)))
    backward = torch.fft.irfftn(ones.unflatten(-1, (*pixels[:-1], half)), s=pixels, dim=axes).flatten(1)
    return forward.to(device, dtype), backward.to(device, dtype)


@dataclass(frozen=True)
class Torus:
    """A periodic box of pixels.

    Attributes:
        pixels: number of pixels along each axis.
        lengths: edge lengths of the box, in a unit of length that kernels and images share.

    Raises:
        ConfigError: an axis has no pixel or no length.
    """

    pixels: tuple[int, ...]
    lengths: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.pixels) != len(self.lengths) or not self.pixels or min(self.pixels) < 1 or min(self.lengths) <= 0:
            raise ConfigError(f"pixels {self.pixels} on a box {self.lengths}; need one length > 0 for every axis")

    @property
    def dimension(self) -> int:
        """Number of axes."""
        return len(self.pixels)

    @property
    def number(self) -> int:
        """Number of pixels."""
        return math.prod(self.pixels)

    @property
    def pixel_volume(self) -> float:
        """Quadrature weight of a pixel, in unit of length^d."""
        return math.prod(self.lengths) / self.number

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-self.dimension, 0))

    def forward(self, images: Tensor) -> Tensor:
        """Fourier coefficients of real images (..., *pixels): (..., F), half of the spectrum."""
        if self.number > DENSE:
            spectrum: Tensor = torch.fft.rfftn(images, dim=self._axes).flatten(-self.dimension)
            return spectrum
        parts = images.flatten(-self.dimension) @ _dense(self.pixels, images.dtype, images.device)[0]
        return torch.view_as_complex(parts.unflatten(-1, (-1, 2)))

    def backward(self, spectrum: Tensor) -> Tensor:
        """Real images of Fourier coefficients (..., F)."""
        if self.number > DENSE:
            shape = (*self.pixels[:-1], self.pixels[-1] // 2 + 1)
            images: Tensor = torch.fft.irfftn(spectrum.unflatten(-1, shape), s=self.pixels, dim=self._axes)
            return images
        parts = torch.view_as_real(spectrum.resolve_conj().contiguous()).flatten(-2)
        result: Tensor = (parts @ _dense(self.pixels, parts.dtype, parts.device)[1]).unflatten(-1, self.pixels)
        return result

    @cached_property
    def parseval(self) -> Tensor:
        """Weights with which half spectra add up to sums over pixels, (F,), double precision."""
        last = self.pixels[-1]
        line = torch.full((last // 2 + 1,), 2.0, dtype=torch.float64)
        line[0] = 1.0
        if last % 2 == 0:
            line[-1] = 1.0
        return line.repeat(self.number // last) / self.number

    def frequencies(self, axis: int) -> Tensor:
        """Angular frequencies along an axis in the order of the half spectrum, radian per unit of length."""
        count, length = self.pixels[axis], self.lengths[axis]
        cycles = torch.fft.rfftfreq if axis == self.dimension - 1 else torch.fft.fftfreq
        result: Tensor = 2.0 * math.pi * cycles(count, d=length / count, dtype=torch.float64)
        return result

    def transform(self, basis: KernelBasis) -> Tensor:
        """Transforms of kernel functions at the frequencies of the grid, (number, F), complex double.

        Raises:
            ConfigError: kernels and images have different dimensions.
        """
        if basis.dimension != self.dimension:
            raise ConfigError(f"kernels in {basis.dimension} dimensions on images in {self.dimension}")
        product: Tensor | None = None
        for axis in range(self.dimension):
            factor = basis.factor(axis, self.frequencies(axis))
            if self.pixels[axis] % 2 == 0:
                factor[:, self.pixels[axis] // 2] = factor[:, self.pixels[axis] // 2].real.to(factor.dtype)
            product = factor if product is None else (product[:, :, None] * factor[:, None, :]).flatten(1)
        assert product is not None
        return product

    def laplacian(self) -> Tensor:
        """Symbol `-|w|^2` of the Laplacian at the frequencies of the grid, (F,), double precision."""
        squares = [self.frequencies(axis) ** 2 for axis in range(self.dimension)]
        total = squares[0]
        for square in squares[1:]:
            total = (total[..., None] + square).flatten()
        return -total
