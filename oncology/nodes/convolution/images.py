"""Batches of images for training a convolutional NODE, and its run as the cost sees it: by the outputs.

Outputs are integrals over the box, so that the cost converges as the pixels shrink.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from oncology.errors import ConfigError
from oncology.nodes.convolution.image_run import ConvolutionAdjoint, ConvolutionRun, ConvolutionTangent
from oncology.nodes.convolution.torus import Torus
from oncology.nodes.samples import check_samples

__all__ = ["Images", "OutputRun", "OutputTangent", "ReadOut"]


@dataclass(frozen=True, eq=False)
class Images:
    """Images with their targets.

    Attributes:
        inputs: (K, channels, *pixels).
        targets: (K, outputs): one-hot classes or values.
        lengths: edge lengths of the box that an image shows.

    Raises:
        ConfigError: there is no image, numbers differ, or a value is not finite.
    """

    inputs: Tensor
    targets: Tensor
    lengths: tuple[float, ...]

    def __post_init__(self) -> None:
        expected = f"(K, channels, {len(self.lengths)} axes of pixels) and (K, outputs)"
        check_samples(self.inputs, self.targets, 2 + len(self.lengths), expected)

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def torus(self) -> Torus:
        """Pixel grid of the images."""
        return Torus(tuple(self.inputs.shape[2:]), self.lengths)

    @property
    def classes(self) -> Tensor:
        """Largest target of each image, (K,)."""
        return self.targets.argmax(-1)

    def take(self, rows: Tensor) -> Images:
        """The images of the given rows."""
        return Images(self.inputs[rows], self.targets[rows], self.lengths)


@dataclass(frozen=True)
class ReadOut:
    """How outputs are read from states: gain times means over the box.

    Attributes:
        channels: that are read.
        gain: factor of the means.
    """

    channels: tuple[int, ...]
    gain: float

    def read(self, state: Tensor) -> Tensor:
        """Outputs (K, outputs) of states (K, c, *pixels); they do not depend on the number of pixels."""
        return self.gain * state[:, list(self.channels)].flatten(2).mean(-1)

    def write(self, outputs: Tensor, channels: int, pixels: tuple[int, ...]) -> Tensor:
        """Transpose of `read`: states (K, c, *pixels) of covectors (K, outputs)."""
        state = outputs.new_zeros(len(outputs), channels, *pixels)
        spread = outputs.reshape(*outputs.shape, *[1] * len(pixels)) * (self.gain / state[0, 0].numel())
        state[:, list(self.channels)] = spread.expand(*outputs.shape, *pixels)
        return state


@dataclass(frozen=True, eq=False)
class OutputTangent:
    """Derivative of the outputs, with the sensitivity problem that it comes from."""

    whole: ConvolutionTangent
    final: Tensor


@dataclass(frozen=True, eq=False)
class OutputRun:
    """A run of which the outputs count.

    Attributes:
        whole: the run of the images.
        readout: of the outputs.
    """

    whole: ConvolutionRun
    readout: ReadOut

    @cached_property
    def final(self) -> Tensor:
        """Outputs, (K, outputs)."""
        return self.readout.read(self.whole.final)

    @property
    def states(self) -> Tensor:
        """There are none.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("a convolutional NODE takes no running cost; set it to None")

    def tangent(self, direction: Tensor) -> OutputTangent:
        """Sensitivity of the outputs along a direction of the weights."""
        solved = self.whole.tangent(direction)
        return OutputTangent(solved, self.readout.read(solved.final))

    def adjoint(self, final: Tensor, along: Tensor | None = None) -> ConvolutionAdjoint:
        """Adjoint problem of covectors of the outputs."""
        state = self.whole.final
        return self.whole.adjoint(self.readout.write(final, state.shape[1], tuple(state.shape[2:])))

    def second(self, adjoint: ConvolutionAdjoint, tangent: OutputTangent) -> float:
        """Second derivative along the tangent's direction."""
        return self.whole.second(adjoint, tangent.whole)
