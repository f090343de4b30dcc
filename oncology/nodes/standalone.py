"""The standalone NODE `x' = S(W(t) x + b(t))`: one differential equation is the whole network.

Jaroudi et al., arXiv:2205.13933.

Inputs are embedded in chosen coordinates of the state and outputs are read from chosen ones; no layer before or after
is trained. The model is frozen data: weights are passed in and runs are returned (`solve`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.nodes.activation import TANH, Activation, Elementwise
from oncology.nodes.cost import Cost, Terminal
from oncology.nodes.depth import DepthGrid, depth_space, smooth_weights
from oncology.nodes.depth_run import DepthRun, march
from oncology.nodes.samples import Samples
from oncology.nodes.scheme import EULER, Scheme
from oncology.optimise import Space

__all__ = ["StandaloneNODE", "prototype"]


@dataclass(frozen=True)
class StandaloneNODE:
    """A network that is one ordinary differential equation.

    Attributes:
        size: n, number of components of the state.
        grid: depth interval and the grid of the weights.
        inputs: coordinates of the state that hold the input; the others start at zero.
        outputs: coordinates of the state that are read as the output.
        activation: S; elementwise or vector-valued.
        scheme: explicit Runge-Kutta scheme of the forward run.
        steps: time steps in each cell of the grid.

    Raises:
        ConfigError: a coordinate lies outside the state or is named twice, or steps < 1.
    """

    size: int
    grid: DepthGrid
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    activation: Activation = TANH
    scheme: Scheme = EULER
    steps: int = 1

    def __post_init__(self) -> None:
        for name, coordinates in (("inputs", self.inputs), ("outputs", self.outputs)):
            inside = coordinates and 0 <= min(coordinates) and max(coordinates) < self.size
            if not inside or len(set(coordinates)) < len(coordinates):
                raise ConfigError(f"{name} {coordinates}: need different coordinates from 0 to {self.size - 1}")
        if self.steps < 1:
            raise ConfigError(f"{self.steps} time steps in a cell; need at least 1")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the weights: (nodes, n + 1, n)."""
        return self.grid.nodes, self.size + 1, self.size

    @property
    def time_step(self) -> float:
        """Time step of the forward run, in units of depth."""
        return self.grid.step / self.steps

    def initial(self, generator: torch.Generator, scale: float | None = None) -> Tensor:
        """Random weights, smooth in depth, with standard deviation `scale` (1/n if not given)."""
        return smooth_weights(self.grid, self.shape[1:], generator, 1.0 / self.size if scale is None else scale)

    def space(self, smoothing: float = 0.0, like: Tensor | None = None) -> Space[Tensor]:
        """Hilbert space of the weights: L2, or H1 with a smoothing length in units of depth."""
        return depth_space(self.grid, smoothing, like)

    def embed(self, samples: Tensor) -> Tensor:
        """State at depth 0 of inputs (K, inputs): (K, n).

        Raises:
            ConfigError: the samples have another number of features.
        """
        if samples.ndim != 2 or samples.shape[1] != len(self.inputs):
            raise ConfigError(f"samples of shape {tuple(samples.shape)}; need (number, {len(self.inputs)})")
        state = samples.new_zeros(len(samples), self.size)
        state[:, list(self.inputs)] = samples
        return state

    def read(self, state: Tensor) -> Tensor:
        """Outputs (..., outputs) of states (..., n)."""
        return state[..., list(self.outputs)]

    def write(self, outputs: Tensor) -> Tensor:
        """States (..., n) with the given outputs and zeros elsewhere: the transpose of `read`, and padded targets."""
        state = outputs.new_zeros(*outputs.shape[:-1], self.size)
        state[..., list(self.outputs)] = outputs
        return state

    def run(self, theta: Tensor, state: Tensor, noise: Tensor | None = None) -> DepthRun:
        """Solve forward from states at depth 0, keeping what adjoint and tangent need.

        Args:
            theta: weights, (nodes, n + 1, n).
            state: states at depth 0, (K, n).
            noise: increments added after each time step, (steps, K, n); none if not given.
        """
        stages = self.grid.interpolation(self.steps, self.scheme.c)
        return march(self.activation, self.scheme, self.time_step, stages, theta, state, noise)

    def solve(self, theta: Tensor, batch: Samples, noise: Tensor | None = None) -> DepthRun:
        """Run a batch of inputs."""
        return self.run(theta, self.embed(batch.inputs), noise)

    def terminal(self, cost: Cost, targets: Tensor) -> Terminal:
        """Terms at the end of depth, of the whole state; targets are padded with zeros."""
        return Terminal(cost, targets, self.write(targets), self.outputs, self.at_rest())

    def outputs_of(self, theta: Tensor, samples: Tensor) -> Tensor:
        """Outputs (K, outputs) of inputs (K, inputs)."""
        return self.read(self.run(theta, self.embed(samples)).final)

    def at_rest(self) -> float:
        """T sigma(0): where a component of the state ends for zero weights (x_ref of `cost`)."""
        return self.grid.length * self.activation.at_zero if isinstance(self.activation, Elementwise) else 0.0


def prototype(features: int, classes: int, length: float = 3.0, cells: int = 150) -> StandaloneNODE:
    """The network of the authors of arXiv:2205.13933: state of the input's size, output in its first coordinates.

    Args:
        features: number of inputs, at least `classes`.
        classes: number of outputs.
        length: T.
        cells: number of Euler steps.
    """
    return StandaloneNODE(features, DepthGrid(length, cells), tuple(range(features)), tuple(range(classes)))
