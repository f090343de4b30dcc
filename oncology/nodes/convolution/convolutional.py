"""The convolutional NODE `u_t = sigma(K(t) u + b(t))` on images of any size, with pooling flows on its way.

Channels are the state's components, kernels are functions of space and depth, and outputs are integrals over the box:
one set of weights means the same network on every pixel grid. Weights are one tensor (nodes, J c + 1, c): at each node
the coefficients kappa_j (c x c) of the kernel functions, above the bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.nodes.activation import TANH, Elementwise
from oncology.nodes.convolution.image_run import ConvolutionRun, march
from oncology.nodes.convolution.images import Images, OutputRun, ReadOut
from oncology.nodes.convolution.kernel_basis import KernelBasis, kernel_gram
from oncology.nodes.convolution.pooling import PoolingFlow
from oncology.nodes.convolution.torus import Torus
from oncology.nodes.cost import Cost, Terminal
from oncology.nodes.depth import DepthGrid, smooth_weights
from oncology.nodes.scheme import EULER, Scheme
from oncology.optimise import Space

__all__ = ["ConvolutionalNODE"]


@dataclass(frozen=True)
class ConvolutionalNODE:
    """A network of images that is one differential equation, continuous in depth and space.

    Attributes:
        channels: c.
        grid: depth interval and the grid of the weights.
        basis: kernel functions.
        inputs: channels that hold the input image; the others start at zero.
        outputs: channels whose mean over the box is the output (average pooling).
        activation: elementwise sigma.
        scheme: explicit Runge-Kutta scheme.
        pooling: flows applied after the depth cells of the given numbers.
        gain: weight of the read-out; states move by at most T sup|sigma|, so that means over a box that is mostly
            background need one well above 1 to serve as arguments of a softmax.

    Raises:
        ConfigError: a channel lies outside, or a pooling flow stands after a cell that is not there.
    """

    channels: int
    grid: DepthGrid
    basis: KernelBasis
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    activation: Elementwise = TANH
    scheme: Scheme = EULER
    pooling: Mapping[int, PoolingFlow] = field(default_factory=dict)
    gain: float = 1.0

    def __post_init__(self) -> None:
        for name, channels in (("inputs", self.inputs), ("outputs", self.outputs)):
            inside = channels and 0 <= min(channels) and max(channels) < self.channels
            if not inside or len(set(channels)) < len(channels):
                raise ConfigError(f"{name} {channels}: need different channels from 0 to {self.channels - 1}")
        outside = [cell for cell in self.pooling if not 0 <= cell < self.grid.cells]
        if outside:
            raise ConfigError(f"pooling after cells {outside}; cells are numbered 0 to {self.grid.cells - 1}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the weights: (nodes, J c + 1, c)."""
        return self.grid.nodes, self.basis.number * self.channels + 1, self.channels

    def initial(self, generator: torch.Generator, scale: float | None = None) -> Tensor:
        """Random weights, smooth in depth; standard deviation 1 / (J c) of each if no scale is given."""
        scale = 1.0 / (self.basis.number * self.channels) if scale is None else scale
        return smooth_weights(self.grid, self.shape[1:], generator, scale)

    def embed(self, images: Tensor) -> Tensor:
        """States (K, c, *pixels) of images (K, inputs, *pixels).

        Raises:
            ConfigError: the images have another number of channels.
        """
        if images.ndim != 2 + self.basis.dimension or images.shape[1] != len(self.inputs):
            expected = f"(number, {len(self.inputs)}, {self.basis.dimension} axes of pixels)"
            raise ConfigError(f"images of shape {tuple(images.shape)}; need {expected}")
        state = images.new_zeros(len(images), self.channels, *images.shape[2:])
        state[:, list(self.inputs)] = images
        return state

    def run(self, theta: Tensor, state: Tensor, torus: Torus) -> ConvolutionRun:
        """Solve forward from states (K, c, *pixels) on a grid, keeping what adjoint and tangent need."""
        stages = self.grid.interpolation(1, self.scheme.c)
        step = self.grid.step
        return march(self.activation, self.scheme, step, self.basis, self.pooling, stages, theta, state, torus)

    @property
    def steps(self) -> int:
        """Time steps in each depth cell."""
        return 1

    def solve(self, theta: Tensor, batch: Images, noise: Tensor | None = None) -> OutputRun:
        """Run a batch of images for its outputs.

        Raises:
            ConfigError: there is noise of the states, or images have another number of channels.
        """
        if noise is not None:
            raise ConfigError("a convolutional NODE takes no noise of its states; put it on the images")
        return OutputRun(self.run(theta, self.embed(batch.inputs), batch.torus), ReadOut(self.outputs, self.gain))

    def terminal(self, cost: Cost, targets: Tensor) -> Terminal:
        """Terms at the end of depth, of the outputs.

        Raises:
            ConfigError: the cost has a running cost.
        """
        if cost.running is not None:
            raise ConfigError("a convolutional NODE takes no running cost; set it to None")
        return Terminal(cost, targets, targets, tuple(range(targets.shape[1])), 0.0)

    def read(self, state: Tensor) -> Tensor:
        """Outputs (K, outputs): gain times means over the box, which do not depend on the number of pixels."""
        return ReadOut(self.outputs, self.gain).read(state)

    def write(self, outputs: Tensor, pixels: tuple[int, ...]) -> Tensor:
        """Transpose of `read`: states (K, c, *pixels) of covectors (K, outputs)."""
        return ReadOut(self.outputs, self.gain).write(outputs, self.channels, pixels)

    def space(self, smoothing: float = 0.0, kernel_smoothing: float = 0.0, like: Tensor | None = None) -> Space[Tensor]:
        """Sobolev space of kernels in depth and space, `(I - l_t^2 d_t^2)(I - l_z^2 lap_z)`.

        Args:
            smoothing: l_t, in units of depth.
            kernel_smoothing: l_z, in the unit of length of the images.
            like: a tensor with the type and device of the weights; double precision on the CPU if not given.
        """
        like = torch.zeros((), dtype=torch.float64) if like is None else like
        depth = self.grid.mass() + smoothing**2 * self.grid.stiffness()
        rows = self.basis.number * self.channels
        across = torch.eye(rows + 1, dtype=torch.float64)
        eye = torch.eye(self.channels, dtype=torch.float64)
        across[:rows, :rows] = torch.kron(kernel_gram(self.basis, kernel_smoothing), eye)
        gram, inverse = (depth.to(like), across.to(like)), (depth.inverse().to(like), across.inverse().to(like))

        def both(matrices: tuple[Tensor, Tensor], theta: Tensor) -> Tensor:
            return torch.einsum("nm,ij,mjo->nio", *matrices, theta)

        def dual(f: Tensor, d: Tensor) -> float:
            return float((f * d).sum())

        return Space(lambda a, b: dual(a, both(gram, b)), dual, lambda f: both(inverse, f))
