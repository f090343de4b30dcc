"""A convolutional NODE as a layer of an ordinary torch network, with our discrete adjoint as its backward pass (B3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from oncology.nodes.convolution.model import ConvolutionalNODE
from oncology.nodes.convolution.torus import Torus

__all__ = ["ConvolutionalLayer"]


class ConvolutionalLayer(nn.Module):
    """Images to images: all channels go in and come out.

    Attributes:
        model: the network; its `inputs` and `outputs` play no part here.
        lengths: edge lengths of the box that an image shows.
        theta: its weights, the layer's parameter.
    """

    def __init__(self, model: ConvolutionalNODE, lengths: tuple[float, ...], theta: Tensor) -> None:
        super().__init__()
        self.model = model
        self.lengths = lengths
        self.theta = nn.Parameter(theta)

    def forward(self, images: Tensor) -> Tensor:
        """Final states (K, c, *pixels) of images (K, c, *pixels)."""
        torus = Torus(tuple(images.shape[2:]), self.lengths)
        final: Tensor = _Flow.apply(self.theta, images, self.model, torus)
        return final


class _Flow(torch.autograd.Function):
    """The run as a torch operation; once differentiable."""

    @staticmethod
    def forward(context: Any, theta: Tensor, images: Tensor, model: ConvolutionalNODE, torus: Torus) -> Tensor:
        context.run = model.run(theta, images, torus)
        return context.run.final.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, covector: Tensor) -> tuple[Tensor, Tensor, None, None]:
        adjoint = context.run.adjoint(covector)
        return adjoint.theta, adjoint.input, None, None
