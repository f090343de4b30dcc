"""Training a convolutional NODE: cost, derivative and sensitivity on a batch of images.

The terms at the end of depth are those of `oncology.nodes.cost`, of the outputs; `optimise.minimise` descends them. The
problem is stated with integrals, so that its cost converges as the pixels shrink.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.nodes.convolution.convolutional import ConvolutionalNODE
from oncology.nodes.convolution.image_run import ConvolutionAdjoint, ConvolutionRun
from oncology.nodes.convolution.torus import Torus
from oncology.nodes.cost import Cost, Terminal
from oncology.nodes.depth import apply
from oncology.optimise import Tangent

__all__ = ["ConvolutionProblem", "Images"]


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
        if len(self.inputs) != len(self.targets) or self.inputs.ndim != 2 + len(self.lengths):
            shapes = f"{tuple(self.inputs.shape)} and {tuple(self.targets.shape)} on a box {self.lengths}"
            raise ConfigError(f"images and targets of shapes {shapes}; need (K, channels, *pixels) and (K, outputs)")
        if len(self.inputs) == 0 or not (self.inputs.isfinite().all() and self.targets.isfinite().all()):
            raise ConfigError("images are missing or hold values that are not finite; mend the data")

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


@dataclass(frozen=True, eq=False)
class ConvolutionProblem:
    """Cost of weights on a batch of images.

    Attributes:
        model: the network.
        cost: what is minimised, of the outputs; without a running cost.
        images: the batch.
        second: whether tangents carry the full second derivative.

    Raises:
        ConfigError: the cost has a running cost.
    """

    model: ConvolutionalNODE
    cost: Cost
    images: Images
    second: bool = False

    def __post_init__(self) -> None:
        if self.cost.running is not None:
            raise ConfigError("a convolutional NODE takes no running cost; set it to None")

    @cached_property
    def terminal(self) -> Terminal:
        """The cost at the end of depth, of outputs."""
        targets = self.images.targets
        return Terminal(self.cost, targets, targets, tuple(range(targets.shape[1])), 0.0)

    @cached_property
    def penalty(self) -> Tensor | None:
        """Matrix of the penalties on weights, mu4 (mass) + mu5 (stiffness); (nodes, nodes)."""
        if self.cost.decay == 0 and self.cost.roughness == 0:
            return None
        grid = self.model.grid
        return (self.cost.decay * grid.mass() + self.cost.roughness * grid.stiffness()).to(self.images.inputs)

    def evaluate(self, theta: Tensor) -> ConvolutionEvaluation:
        """Run the network on the batch."""
        state = self.model.embed(self.images.inputs)
        return ConvolutionEvaluation(self, theta, self.model.run(theta, state, self.images.torus))


@dataclass(frozen=True, eq=False)
class ConvolutionEvaluation:
    """The cost at one set of weights, with its forward run done.

    Attributes:
        problem: the problem.
        theta: the weights.
        run: the forward run.
    """

    problem: ConvolutionProblem
    theta: Tensor
    run: ConvolutionRun

    @cached_property
    def outputs(self) -> Tensor:
        """Outputs of the network, (K, outputs)."""
        return self.problem.model.read(self.run.final)

    @cached_property
    def value(self) -> float:
        """E(theta)."""
        total = self.problem.terminal.value(self.outputs)
        if self.problem.penalty is not None:
            total += 0.5 * float((self.theta * apply(self.problem.penalty, self.theta)).sum())
        return total

    @property
    def residual(self) -> float:
        """Root mean square over the images of |y(T) - y|."""
        return float(torch.linalg.vector_norm(self.outputs - self.problem.images.targets)) / len(self.outputs) ** 0.5

    @cached_property
    def adjoint(self) -> ConvolutionAdjoint:
        """The adjoint solve, without the penalties."""
        covector = self.problem.terminal.derivative(self.outputs)
        return self.run.adjoint(self.problem.model.write(covector, tuple(self.run.final.shape[2:])))

    def derivative(self) -> Tensor:
        """E'(theta), a dual vector in the shape of the weights."""
        dual = self.adjoint.theta
        return dual if self.problem.penalty is None else dual + apply(self.problem.penalty, self.theta)

    def tangent(self, direction: Tensor) -> Tangent:
        """Curvature of E along a direction of the weights, from one sensitivity solve."""
        problem = self.problem
        solved = self.run.tangent(direction)
        xi = problem.model.read(solved.final)
        rest = 0.0
        if problem.penalty is not None:
            rest = float((direction * apply(problem.penalty, direction)).sum())
        curvature = rest + problem.terminal.curvature(self.outputs, xi)
        second = curvature + self.run.second(self.adjoint, solved) if problem.second else None
        if problem.cost.entropy == 0:
            return Tangent(curvature, second)
        slope = float((self.derivative() * direction).sum())
        return Tangent(curvature, second, problem.terminal.line(self.outputs, xi, slope, rest))
