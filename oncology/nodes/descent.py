"""Baselines of training through the interface of the conjugate gradients: SGD, Adam and L-BFGS.

Momentum and Adam are those of Polyak (1964) and Kingma & Ba (2015); L-BFGS is the two-loop recursion of Nocedal &
Wright, algorithm 7.4, with pairings of derivatives and directions, so that it works in any Hilbert space. Their
gradient is the Riesz image in the space of the weights. Steepest descent is `ConjugateGradients` with `zero`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.nodes.optimisers import Iterate, Visit, fitted
from oncology.optimise import Counts, Problem, Space, StrongWolfe, Vector
from oncology.optimise.steps import Line

__all__ = ["LBFGS", "Adam", "AdamMemory", "LBFGSMemory", "StochasticGradient", "StochasticMemory"]


def _check_rate(rate: float, horizon: int | None) -> None:
    if not 0 < rate < math.inf or (horizon is not None and horizon < 1):
        raise ConfigError(f"learning rate {rate:g} with horizon {horizon}; need a finite rate > 0 and a horizon >= 1")


def _rate(rate: float, horizon: int | None, step: int) -> float:
    """Rate of a step: constant, or falling to zero at the horizon like half a cosine."""
    if horizon is None:
        return rate
    return 0.5 * rate * (1.0 + math.cos(math.pi * min(step / horizon, 1.0)))


@dataclass(frozen=True, eq=False)
class StochasticMemory:
    """Momentum, a sum of past gradients, and the steps so far."""

    momentum: Tensor
    step: int


@dataclass(frozen=True)
class StochasticGradient:
    """Gradient steps with momentum, `m <- mu m + g`, `theta <- theta - rate m`.

    Attributes:
        rate: learning rate.
        momentum: mu, in [0, 1).
        horizon: steps after which a cosine takes the rate to zero; None keeps it.
        iterations: steps on each visit of a batch.

    Raises:
        ConfigError: a number is out of range.
    """

    rate: float
    momentum: float = 0.9
    horizon: int | None = None
    iterations: int = 1

    def __post_init__(self) -> None:
        _check_rate(self.rate, self.horizon)
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"momentum {self.momentum:g}; need 0 <= momentum < 1")

    def visit(
        self, problem: Problem[Tensor], space: Space[Tensor], theta: Tensor, memory: Any, same: bool, counts: Counts
    ) -> Visit:
        """Take steps on a batch."""
        past, iterates = memory or StochasticMemory(torch.zeros_like(theta), 0), []
        for _ in range(self.iterations):
            rate = _rate(self.rate, self.horizon, past.step)
            gradient, counts, record = _measured(problem, space, theta, rate, counts)
            past = StochasticMemory(self.momentum * past.momentum + gradient, past.step + 1)
            theta = theta - rate * past.momentum
            iterates.append(record)
        return Visit(theta, past, tuple(iterates), counts)


@dataclass(frozen=True, eq=False)
class AdamMemory:
    """Running means of the gradient and of its squared components, and the steps so far."""

    first: Tensor
    second: Tensor
    step: int


@dataclass(frozen=True)
class Adam:
    """Adam with bias correction.

    Attributes:
        rate: learning rate.
        decays: of the running means of the gradient and of its square.
        floor: added to the root of the second mean.
        horizon: steps after which a cosine takes the rate to zero; None keeps it.
        iterations: steps on each visit of a batch.

    Raises:
        ConfigError: a number is out of range.
    """

    rate: float = 1e-3
    decays: tuple[float, float] = (0.9, 0.999)
    floor: float = 1e-8
    horizon: int | None = None
    iterations: int = 1

    def __post_init__(self) -> None:
        _check_rate(self.rate, self.horizon)
        if not (0 <= min(self.decays) and max(self.decays) < 1 and self.floor > 0):
            raise ConfigError(f"decays {self.decays} and floor {self.floor:g} of Adam; need [0, 1) and > 0")

    def visit(
        self, problem: Problem[Tensor], space: Space[Tensor], theta: Tensor, memory: Any, same: bool, counts: Counts
    ) -> Visit:
        """Take steps on a batch."""
        past, iterates = memory or AdamMemory(torch.zeros_like(theta), torch.zeros_like(theta), 0), []
        a, b = self.decays
        for _ in range(self.iterations):
            rate = _rate(self.rate, self.horizon, past.step)
            g, counts, record = _measured(problem, space, theta, rate, counts)
            past = AdamMemory(a * past.first + (1 - a) * g, b * past.second + (1 - b) * g * g, past.step + 1)
            size = (past.second / (1 - b**past.step)).sqrt() + self.floor
            theta = theta - rate / (1 - a**past.step) * (past.first / size)
            iterates.append(record)
        return Visit(theta, past, tuple(iterates), counts)


def _measured(
    problem: Problem[Tensor], space: Space[Tensor], theta: Tensor, rate: float, counts: Counts
) -> tuple[Tensor, Counts, Iterate]:
    """Gradient at the weights, with the solves and a record of it."""
    here = problem.evaluate(theta)
    derivative = here.derivative()
    gradient = space.riesz(derivative)
    counts = counts + Counts(forward=1, gradient=1)
    norm = math.sqrt(max(space.dual(derivative, gradient), 0.0))
    return gradient, counts, Iterate(here.value, norm, rate, counts)


@dataclass(frozen=True, eq=False)
class LBFGSMemory:
    """Derivative at the weights, and the last steps with the changes of the derivative along them."""

    derivative: Tensor
    steps: tuple[Tensor, ...]
    changes: tuple[Tensor, ...]


@dataclass(frozen=True)
class _First:
    """A first length for a search, at no solve."""

    length: float

    def __call__[V: Vector](self, line: Line[V]) -> tuple[float, Counts]:
        return self.length, Counts()


@dataclass(frozen=True)
class LBFGS:
    """Limited-memory BFGS with a Wolfe search, started anew on every new batch.

    Attributes:
        pairs: steps that are remembered.
        curvature: constant of the Wolfe search.
        iterations: on each visit of a batch.

    Raises:
        ConfigError: a number is out of range.
    """

    pairs: int = 10
    curvature: float = 0.9
    iterations: int = 6

    def __post_init__(self) -> None:
        if self.pairs < 1:
            raise ConfigError(f"{self.pairs} pairs of L-BFGS; need at least 1")

    def visit(
        self, problem: Problem[Tensor], space: Space[Tensor], theta: Tensor, memory: Any, same: bool, counts: Counts
    ) -> Visit:
        """Iterate on a batch; on the batch of the visit before the iteration goes on where it was."""
        here, counts = problem.evaluate(theta), counts + Counts(forward=1)
        if not same or memory is None:
            memory, counts = LBFGSMemory(here.derivative(), (), ()), counts + Counts(gradient=1)
        iterates: list[Iterate] = []
        for _ in range(self.iterations):
            direction = -1.0 * self._inverse(memory, space)
            slope = space.dual(memory.derivative, direction)
            first = 1.0 if memory.steps else 1.0 / math.sqrt(max(-slope, torch.finfo(theta.dtype).tiny))
            line = Line(problem, space, theta, here, memory.derivative, direction, slope, first)
            trial, more = fitted(StrongWolfe(_First(first), curvature=self.curvature), theta)(line)
            counts += more
            if trial is None:
                return Visit(theta, memory, tuple(iterates), counts, finished=True)
            derivative = trial.evaluation.derivative() if trial.derivative is None else trial.derivative
            memory = self._remember(memory, space, trial.x - theta, derivative)
            theta, here = trial.x, trial.evaluation
            norm = math.sqrt(max(space.dual(derivative, space.riesz(derivative)), 0.0))
            iterates.append(Iterate(here.value, norm, trial.length, counts))
        return Visit(theta, memory, tuple(iterates), counts)

    def _remember(self, memory: LBFGSMemory, space: Space[Tensor], step: Tensor, derivative: Tensor) -> LBFGSMemory:
        change = derivative - memory.derivative
        if space.dual(change, step) <= 0:  # rounding: the search has seen to a positive curvature
            return LBFGSMemory(derivative, memory.steps, memory.changes)
        steps, changes = (*memory.steps, step), (*memory.changes, change)
        return LBFGSMemory(derivative, steps[-self.pairs :], changes[-self.pairs :])

    def _inverse(self, memory: LBFGSMemory, space: Space[Tensor]) -> Tensor:
        """Product of the approximate inverse of the second derivative with the derivative (algorithm 7.4)."""
        q, shares = memory.derivative, []
        for step, change in zip(reversed(memory.steps), reversed(memory.changes), strict=True):
            shares.append(space.dual(q, step) / space.dual(change, step))
            q = q - shares[-1] * change
        out = space.riesz(q)
        if memory.steps:
            step, change = memory.steps[-1], memory.changes[-1]
            out = (space.dual(change, step) / space.dual(change, space.riesz(change))) * out
        for step, change, share in zip(memory.steps, memory.changes, reversed(shares), strict=True):
            out = out + (share - space.dual(change, out) / space.dual(change, step)) * step
        return out
