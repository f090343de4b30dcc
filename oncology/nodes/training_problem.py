"""Training as an optimisation problem: cost, derivative and curvature of any network in depth on a batch.

`TrainingProblem` is what `optimise.minimise` descends. A forward run is shared by the cost's value, one adjoint solve
for the derivative and one sensitivity solve for the curvature along a direction. Networks differ in what they run;
`DepthNetwork` is all that is asked of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from oncology.nodes.cost import Cost, Terminal
from oncology.nodes.depth import DepthGrid, apply
from oncology.nodes.samples import Batch
from oncology.optimise import Tangent

__all__ = ["DepthNetwork", "NetworkRun", "TrainingEvaluation", "TrainingProblem"]


class NetworkRun(Protocol):
    """A forward run of a batch, as the cost sees it."""

    @property
    def final(self) -> Tensor:
        """What the terms at the end of depth are of: the state x(T) or the outputs, (K, n)."""

    @property
    def states(self) -> Tensor:
        """What the running cost is of: x at each time step, (steps + 1, K, n)."""

    def tangent(self, direction: Tensor, /) -> Any:
        """Sensitivity problem along a direction of the weights; its `final` and `states` are those of the run."""

    def adjoint(self, final: Tensor, along: Tensor | None = None, /) -> Any:
        """Adjoint problem of covectors of `final` and `states`; its `theta` is the derivative by the weights."""

    def second(self, adjoint: Any, tangent: Any, /) -> float:
        """Second derivative of the run along the tangent's direction, paired with the adjoint's covectors."""


class DepthNetwork(Protocol):
    """A network whose weights are functions of depth."""

    @property
    def grid(self) -> DepthGrid:
        """Grid of the weights."""

    @property
    def steps(self) -> int:
        """Time steps in each cell of the grid."""

    def terminal(self, cost: Cost, targets: Tensor) -> Terminal:
        """Terms at the end of depth, for targets (K, outputs)."""

    def solve(self, theta: Tensor, batch: Any, noise: Tensor | None) -> NetworkRun:
        """Run a batch, with increments of the states after each time step, (steps, K, n), or None."""


@dataclass(frozen=True, eq=False)
class TrainingProblem[N: DepthNetwork]:
    """Cost of weights on a batch of samples.

    Attributes:
        model: the network.
        cost: what is minimised.
        samples: the batch.
        noise: increments of the states after each time step, (steps, K, n), fixed for this problem; or None.
        second: whether tangents carry the full second derivative (for `newton_step`), at no further solve.

    Raises:
        ConfigError: the network has no such cost.
    """

    model: N
    cost: Cost
    samples: Batch
    noise: Tensor | None = None
    second: bool = False

    def __post_init__(self) -> None:
        self.__dict__["terminal"] = self.model.terminal(self.cost, self.samples.targets)

    @cached_property
    def terminal(self) -> Terminal:
        """The cost at the end of depth."""
        return self.model.terminal(self.cost, self.samples.targets)

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
        h, count = self.model.grid.step / self.model.steps, self.model.grid.cells * self.model.steps
        weights = torch.full((count + 1, 1), h, dtype=torch.float64)
        weights[0] = weights[-1] = 0.5 * h
        return (weights / len(self.samples)).to(self.samples.inputs)

    def evaluate(self, theta: Tensor) -> TrainingEvaluation[N]:
        """Run the network on the batch."""
        return TrainingEvaluation(self, theta, self.model.solve(theta, self.samples, self.noise))


@dataclass(frozen=True, eq=False)
class TrainingEvaluation[N: DepthNetwork]:
    """The cost at one set of weights, with its forward run done.

    Attributes:
        problem: the problem.
        theta: the weights.
        run: the forward run.
    """

    problem: TrainingProblem[N]
    theta: Tensor
    run: NetworkRun

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
        """Root mean square over the samples of the distance of `run.final` from the targets."""
        misfit = self.run.final - self.problem.terminal.padded
        result: float = float(torch.linalg.vector_norm(misfit)) / len(misfit) ** 0.5
        return result

    @cached_property
    def adjoint(self) -> Any:
        """The adjoint solve, without the penalties."""
        running = self.problem.cost.running
        sources = None
        if running is not None:
            sources = self.problem.quadrature[..., None] * running.derivative(self.run.states)
        return self.run.adjoint(self.problem.terminal.derivative(self.run.final), sources)

    def derivative(self) -> Tensor:
        """E'(theta), a dual vector in the shape of the weights."""
        dual: Tensor = self.adjoint.theta
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
