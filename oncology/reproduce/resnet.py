"""Residual networks: the Euler net as a torch module and back, and a plain ResNet to compare with.

A standalone NODE run by Euler's scheme is a ResNet `x + h sigma(W x + b)` of constant width without a trained layer
before or after; `EulerResNet` is that one, weight for weight. `PlainResNet` is what practice uses: trained layers at
both ends and unit steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from oncology.errors import ConfigError
from oncology.nodes.activation import TANH, Elementwise
from oncology.nodes.depth import DepthGrid
from oncology.nodes.scheme import EULER
from oncology.nodes.standalone import StandaloneNODE

__all__ = ["EulerResNet", "PlainResNet", "from_resnet", "parameter_count", "resnet_of_size", "to_resnet"]


class EulerResNet(nn.Module):
    """The Euler net of a standalone NODE as a torch module, with one `Linear` for each time step.

    Attributes:
        model: the network that it came from.
        blocks: the layers.
    """

    model: StandaloneNODE
    blocks: nn.ModuleList

    def __init__(self, model: StandaloneNODE) -> None:
        """Make the module, with weights as torch draws them.

        Args:
            model: network with Euler's scheme.

        Raises:
            ConfigError: the scheme is another one.
        """
        super().__init__()
        if model.scheme != EULER:
            raise ConfigError(f"scheme {model.scheme.name!r} is no residual network; take 'euler'")
        self.model = model
        size, count = model.size, model.grid.cells * model.steps
        self.blocks = nn.ModuleList(nn.Linear(size, size, dtype=torch.float64) for _ in range(count))

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (K, outputs) of inputs (K, inputs)."""
        state = self.model.embed(inputs)
        for block in self.blocks:
            state = state + self.model.time_step * self.model.activation.value(block(state))
        return self.model.read(state)

    @property
    def layers(self) -> list[nn.Linear]:
        """The blocks with their type, first to last."""
        return [block for block in self.blocks if isinstance(block, nn.Linear)]


def to_resnet(model: StandaloneNODE, theta: Tensor) -> EulerResNet:
    """The Euler net as a torch module, in the type of its weights.

    Args:
        model: network with Euler's scheme.
        theta: its weights; those of each time step are copied.
    """
    module = EulerResNet(model).to(theta)
    weights = model.grid.interpolation(model.steps, model.scheme.c).push(theta)
    with torch.no_grad():
        for block, layer in zip(module.layers, weights, strict=True):
            block.weight.copy_(layer[:-1].T)
            block.bias.copy_(layer[-1])
    return module


def from_resnet(module: EulerResNet) -> tuple[StandaloneNODE, Tensor]:
    """Standalone NODE with weights constant on each time step, and the weights: the inverse of `to_resnet`."""
    model, blocks = module.model, module.layers
    weights = [torch.cat([block.weight.detach().T, block.bias.detach()[None]]) for block in blocks]
    return replace(model, grid=DepthGrid(model.grid.length, len(blocks), "constant"), steps=1), torch.stack(weights)


class PlainResNet(nn.Module):
    """ResNet of fully connected blocks `x + sigma(W x + b)` between two trained linear layers.

    Attributes:
        first: from the inputs to the width.
        blocks: the layers.
        last: from the width to the outputs.
        activation: elementwise function.
    """

    activation: Callable[[Tensor], Tensor]

    def __init__(
        self, features: int, classes: int, width: int, blocks: int, activation: Callable[[Tensor], Tensor] = torch.tanh
    ) -> None:
        """Make the network, with weights as torch draws them.

        Args:
            features: number of inputs.
            classes: number of outputs.
            width: of the blocks.
            blocks: number of blocks.
            activation: elementwise function.
        """
        super().__init__()
        self.first = nn.Linear(features, width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.last = nn.Linear(width, classes)
        self.activation = activation

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (K, classes) of inputs (K, features)."""
        state = self.first(inputs)
        for block in self.blocks:
            state = state + self.activation(block(state))
        result: Tensor = self.last(state)
        return result


def resnet_of_size(
    features: int, classes: int, parameters: int, blocks: int, activation: Elementwise = TANH
) -> PlainResNet:
    """Plain ResNet whose number of parameters is as close to the given one as its width allows.

    Args:
        features: number of inputs.
        classes: number of outputs.
        parameters: wanted number of parameters.
        blocks: number of blocks.
        activation: of the blocks.

    Raises:
        ConfigError: there is no block, or not even a width of one has so few parameters.
    """

    def count(width: int) -> int:
        return (features + 1) * width + blocks * (width + 1) * width + (width + 1) * classes

    if blocks < 1 or parameters < count(1):
        raise ConfigError(
            f"{parameters} parameters in {blocks} blocks; need at least one block and {count(1)} parameters"
        )
    width = 1
    while count(width + 1) <= parameters:
        width += 1
    if count(width + 1) - parameters < parameters - count(width):
        width += 1
    return PlainResNet(features, classes, width, blocks, activation.value)


def parameter_count(network: nn.Module | StandaloneNODE) -> int:
    """Number of trained parameters."""
    if isinstance(network, StandaloneNODE):
        nodes, rows, columns = network.shape
        return nodes * rows * columns
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
