"""Nonlinear conjugate gradients on batches (arXiv:2205.13933): the optimisers' interface and its first member.

An optimiser works on one batch at a time, a visit: it takes the weights and what it remembers, and returns both with a
record of each iteration. Solves are counted alike for all, so that methods can be compared at equal cost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from oncology.optimise import (
    Armijo,
    ConjugateGradient,
    Counts,
    Problem,
    Space,
    State,
    Status,
    Stop,
    StrongWolfe,
    minimise,
)
from oncology.optimise.minimise import POLAK_RIBIERE
from oncology.optimise.steps import ROUNDING, Step, root_step

__all__ = [
    "ConjugateGradients",
    "Iterate",
    "Optimiser",
    "Visit",
    "fitted",
    "forward_equivalents",
    "rounding_of",
    "since",
]

BACKTRACKED_ROOT = Armijo(root_step)


def forward_equivalents(counts: Counts) -> int:
    """Cost of solves in forward solves, by their matrix products: an adjoint or a sensitivity solve has two a layer."""
    return counts.forward + 2 * counts.gradient + 2 * counts.tangent


@dataclass(frozen=True)
class Iterate:
    """One iteration on a batch.

    Attributes:
        value: cost of the batch at the last weights whose cost was computed.
        gradient_norm: |g|_H at the same weights.
        length: step length that led there or, of methods without a search, leads on; 0 if there is none.
        counts: solves so far.
    """

    value: float
    gradient_norm: float
    length: float
    counts: Counts


@dataclass(frozen=True, eq=False)
class Visit:
    """What an optimiser did on one batch.

    Attributes:
        theta: weights after it.
        memory: what the optimiser takes to the next visit; plain data that `checkpoint` can store.
        iterates: one record per iteration.
        counts: solves up to the end of it.
        finished: whether nothing more is to be gained on this batch.
    """

    theta: Tensor
    memory: Any
    iterates: tuple[Iterate, ...]
    counts: Counts
    finished: bool = False


class Optimiser(Protocol):
    """A method of training."""

    def visit(
        self, problem: Problem[Tensor], space: Space[Tensor], theta: Tensor, memory: Any, same: bool, counts: Counts
    ) -> Visit:
        """Work on a batch.

        Args:
            problem: cost of the batch.
            space: Hilbert space of the weights.
            theta: weights.
            memory: that of the visit before; None on the first one and after a change of the weights' space.
            same: whether the problem is that of the visit before.
            counts: solves so far.
        """


def rounding_of(theta: Tensor) -> float:
    """Relative rounding error of a cost in the precision of the weights."""
    return ROUNDING * torch.finfo(theta.dtype).eps / torch.finfo(torch.float64).eps


def fitted(step: Step, theta: Tensor) -> Step:
    """The step rule with a slack that fits the precision of the weights."""
    if isinstance(step, Armijo | StrongWolfe):
        return replace(step, rounding=max(step.rounding, rounding_of(theta)))
    return step


@dataclass(frozen=True)
class ConjugateGradients:
    """Nonlinear conjugate gradients, restarted on every new batch; steepest descent with the formula `zero`.

    Attributes:
        direction: conjugate formula with its restarts.
        step: rule of the step length; its slack is fitted to the precision of the weights.
        iterations: on each visit of a batch; the paper takes 6.
    """

    direction: ConjugateGradient = POLAK_RIBIERE
    step: Step = BACKTRACKED_ROOT
    iterations: int = 6

    def visit(
        self, problem: Problem[Tensor], space: Space[Tensor], theta: Tensor, memory: Any, same: bool, counts: Counts
    ) -> Visit:
        """Iterate on a batch; on the batch of the visit before the iteration goes on where it was."""
        going_on = same and memory is not None
        start = memory if going_on else theta
        base = counts + Counts(forward=1) if going_on else counts
        first = memory.counts if going_on else Counts()
        iterates: list[Iterate] = []

        def keep(state: State[Tensor]) -> None:
            if state.iteration > (memory.iteration if going_on else 0):
                spent = base + since(state.counts, first)
                iterates.append(Iterate(state.value, state.gradient.norm, state.history[-1].length, spent))

        end = self.iterations + (memory.iteration if going_on else 0)
        stop = Stop(relative_gradient=0.0, stagnation=0.0, max_iterations=end)
        result = minimise(problem, start, space, self.direction, fitted(self.step, theta), stop, callback=keep)
        state = replace(result.state, history=result.history[-2:])
        finished = result.status is not Status.MAX_ITERATIONS
        return Visit(result.x, state, tuple(iterates), base + since(result.counts, first), finished)


def since(now: Counts, before: Counts) -> Counts:
    """Solves between two counts."""
    return Counts(now.forward - before.forward, now.gradient - before.gradient, now.tangent - before.tangent)
