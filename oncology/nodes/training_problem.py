"""Training as an optimisation problem: cost, derivative and sensitivity of a standalone NODE on a batch.

`TrainingProblem` is what `optimise.minimise` descends. A forward run is shared by the cost's value, one adjoint solve
for the derivative and one sensitivity solve for the curvature along a direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.nodes.cost import Cost, Terminal
from oncology.nodes.depth import apply
from oncology.nodes.depth_run import DepthAdjoint, DepthRun
from oncology.nodes.standalone import StandaloneNODE
from oncology.optimise import Tangent

__all__ = ["Samples", "TrainingEvaluation", "TrainingProblem"]


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs with their targets.

    Attributes:
        inputs: (K, features).
        targets: (K, outputs): one-hot classes or values.

    Raises:
        ConfigError: there is no sample, numbers differ, or a value is not finite.
    """

    inputs: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        if self.inputs.ndim != 2 or self.targets.ndim != 2 or len(self.inputs) != len(self.targets):
            shapes = f"{tuple(self.inputs.shape)} and {tuple(self.targets.shape)}"
            raise ConfigError(f"inputs and targets of shapes {shapes}; need (K, features) and (K, outputs)")
        if len(self.inputs) == 0 or not (self.inputs.isfinite().all() and self.targets.isfinite().all()):
            raise ConfigError("samples are empty or hold values that are not finite; mend the data")

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def classes(self) -> Tensor:
        """Largest target of each sample, (K,)."""
        return self.targets.argmax(-1)

    def take(self, rows: Tensor) -> Samples:
        """The samples of the given rows."""
        return Samples(self.inputs[rows], self.targets[rows])

    def to(self, like: Tensor) -> Samples:
        """The samples with the type and on the device of a tensor."""
        return Samples(self.inputs.to(like), self.targets.to(like))


@dataclass(frozen=True, eq=False)
class TrainingProblem:
    """Cost of weights on a batch of samples.

    Attributes:
        model: the network.
        cost: what is minimised.
        samples: the batch.
        noise: increments of the states after each time step, (steps, K, n), fixed for this problem; or None.
        second: whether tangents carry the full second derivative (for `newton_step`), at no further solve.
    """

    model: StandaloneNODE
    cost: Cost
    samples: Samples
    noise: Tensor | None = None
    second: bool = False

    @cached_property
    def terminal(self) -> Terminal:
        """The cost at the end of depth."""
        targets = self.samples.targets
        return Terminal(self.cost, targets, self.model.write(targets), self.model.outputs, self.model.at_rest())

    @cached_property
    def penalty(self) -> Tensor | None:
        """Matrix of the penalties on weights, mu4 (mass) + mu5 (stiffness); (nodes, nodes)."""
        if self.cost.decay == 0 and self.cost.roughness == 0:
            return None
        grid = self.model.grid
        return (self.cost.decay * grid.mass() + self.cost.roughness * grid.stiffness()).to(self.samples.inputs)

    @cached_property
    def quadrature(self) -> Tensor:
        """Weights of the trapezoidal rule at the time steps over the number of samples, (steps + 1, 1)."""
        h, count = self.model.time_step, self.model.grid.cells * self.model.steps
        weights = torch.full((count + 1, 1), h, dtype=torch.float64)
        weights[0] = weights[-1] = 0.5 * h
        return (weights / len(self.samples)).to(self.samples.inputs)

    def evaluate(self, theta: Tensor) -> TrainingEvaluation:
        """Run the network on the batch."""
        return TrainingEvaluation(self, theta, self.model.run(theta, self.model.embed(self.samples.inputs), self.noise))


@dataclass(frozen=True, eq=False)
class TrainingEvaluation:
    """The cost at one set of weights, with its forward run done.

    Attributes:
        problem: the problem.
        theta: the weights.
        run: the forward run.
    """

    problem: TrainingProblem
    theta: Tensor
    run: DepthRun

    @cached_property
    def value(self) -> float:
        """E(theta)."""
        problem = self.problem
        total = problem.terminal.value(self.run.final)
        if problem.cost.running is not None:
            total += float((problem.quadrature * problem.cost.running.value(self.run.states)).sum())
        if problem.penalty is not None:
            total += 0.5 * float((self.theta * apply(problem.penalty, self.theta)).sum())
        return total

    @property
    def residual(self) -> float:
        """Root mean square over the samples of |x(T) - y|."""
        misfit = self.run.final - self.problem.terminal.padded
        return float(torch.linalg.vector_norm(misfit)) / len(misfit) ** 0.5

    @cached_property
    def adjoint(self) -> DepthAdjoint:
        """The adjoint solve, without the penalties."""
        running = self.problem.cost.running
        sources = None
        if running is not None:
            sources = self.problem.quadrature[..., None] * running.derivative(self.run.states)
        return self.run.adjoint(self.problem.terminal.derivative(self.run.final), sources)

    def derivative(self) -> Tensor:
        """E'(theta), a dual vector in the shape of the weights."""
        dual = self.adjoint.theta
        return dual if self.problem.penalty is None else dual + apply(self.problem.penalty, self.theta)

    def tangent(self, direction: Tensor) -> Tangent:
        """Curvature of E along a direction of the weights, from one sensitivity solve."""
        problem, run = self.problem, self.run
        xi = run.tangent(direction)
        rest = 0.0
        if problem.cost.running is not None:
            curved = problem.cost.running.curvature(run.states, xi.states)
            rest += float((problem.quadrature * curved).sum())
        if problem.penalty is not None:
            rest += float((direction * apply(problem.penalty, direction)).sum())
        curvature = rest + problem.terminal.curvature(run.final, xi.final)
        second = curvature + run.second(self.adjoint, xi) if problem.second else None
        if problem.cost.entropy == 0:
            return Tangent(curvature, second)
        slope = float((self.derivative() * direction).sum())
        return Tangent(curvature, second, problem.terminal.line(run.final, xi.final, slope, rest))
