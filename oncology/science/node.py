"""The science-activated standalone NODE `x' = S(x; q(t))`, its run, and exact discrete sensitivity and adjoint.

S is an equation (form A), an equation activated by learned weights (B) or closed by a small network (C; `forms`): all
three are right-hand sides with coefficients in depth, so that one run, one adjoint and one training loop serve them.
States are kept, never integrated backwards, which would amplify errors; with `keep` > 1 only every k-th, and the
adjoint repeats the steps between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from oncology.errors import ConfigError, NumericalError
from oncology.nodes.depth import DepthGrid, Interpolation
from oncology.science.equation import Coefficients, Equation
from oncology.science.stepper import Stepper, StepTaken

__all__ = ["ScienceAdjoint", "ScienceNODE", "ScienceRun"]


@dataclass(frozen=True, eq=False)
class ScienceAdjoint:
    """The adjoint problem of one covector.

    Attributes:
        coefficients: derivatives by the coefficients, dual vectors in their shapes.
        states: lambda at each time step, (steps + 1, K, n), dual vectors; M^-1 times them is the L2 adjoint.
    """

    coefficients: Coefficients
    states: Tensor

    @property
    def initial(self) -> Tensor:
        """Derivative by the initial state, (K, n), a dual vector."""
        return self.states[0]


@dataclass(frozen=True)
class ScienceNODE:
    """A differential equation as a network: depth is time.

    Attributes:
        equation: right-hand side, in form A, B or C.
        grid: depth interval (0, T) and the grid of the coefficients that vary in depth; day, or unit of depth.
        stepper: time integrator.
        steps: time steps in each cell of the grid.
        keep: distance in time steps of the states that are kept; memory falls and time grows with it.

    Raises:
        ConfigError: steps or keep are below 1.
    """

    equation: Equation
    grid: DepthGrid
    stepper: Stepper
    steps: int = 1
    keep: int = 1

    def __post_init__(self) -> None:
        if min(self.steps, self.keep) < 1:
            raise ConfigError(f"{self.steps} steps in a cell, every {self.keep} kept; both must be at least 1")

    @property
    def count(self) -> int:
        """Number of time steps."""
        return self.grid.cells * self.steps

    @property
    def time_step(self) -> float:
        """h, length of a time step."""
        return self.grid.step / self.steps

    def at(self, time: float) -> int:
        """Number of the time step that ends at a time.

        Raises:
            ConfigError: none does.
        """
        number = round(time / self.time_step)
        if abs(number * self.time_step - time) > 1e-9 * self.grid.length or not 0 <= number <= self.count:
            raise ConfigError(f"time {time:g} is no time step; take a multiple of {self.time_step:g}")
        return number

    def run(self, q: Coefficients, state: Tensor) -> ScienceRun:
        """Solve forward.

        Args:
            q: coefficients, (size,) each; or (nodes, size) where they vary in depth.
            state: initial states, (K, n).

        Raises:
            NumericalError: the state is not finite at the end.
        """
        rule = self.grid.interpolation(self.steps, self.stepper.positions)
        here = _Stages(rule, q, len(self.stepper.positions))
        states, taken = [state], []
        for j in range(self.count):
            step = self.stepper.step(self.equation, self.time_step, here.of(j), states[-1])
            states.append(step.final)
            if self.keep == 1:
                taken.append(step)
        if not bool(torch.isfinite(states[-1]).all()):
            raise NumericalError(
                f"{self.equation.name} left the finite numbers with {self.stepper.name} and steps of "
                f"{self.time_step:g}; take shorter steps or an implicit stepper"
            )
        kept = torch.stack(states if self.keep == 1 else states[:: self.keep])
        return ScienceRun(self, q, rule, kept, states[-1], taken)


@dataclass(frozen=True, eq=False)
class _Stages:
    """Coefficients, or their directions, as the stages of each step read them."""

    rule: Interpolation
    q: Coefficients
    count: int

    @cached_property
    def pushed(self) -> Coefficients:
        """Of every stage, (stages, size), where they vary in depth."""
        return tuple(part if part.ndim == 1 else self.rule.push(part) for part in self.q)

    def of(self, step: int) -> list[Coefficients]:
        """Coefficients of the stages of a step."""
        first = step * self.count
        return [tuple(p if p.ndim == 1 else p[first + i] for p in self.pushed) for i in range(self.count)]


@dataclass(frozen=True, eq=False)
class ScienceRun:
    """A forward run with what its linearisation needs.

    Attributes:
        model: the model.
        q: coefficients.
        rule: from coefficients in depth to those of the stages.
        kept: states at every `keep`-th time step, the first one included; (kept, K, n).
        final: state at the end, (K, n).
        taken: the steps, where all are kept.
    """

    model: ScienceNODE
    q: Coefficients
    rule: Interpolation
    kept: Tensor
    final: Tensor
    taken: list[StepTaken]

    @property
    def states(self) -> Tensor:
        """States at every time step, (steps + 1, K, n).

        Raises:
            ConfigError: not all are kept.
        """
        if self.model.keep > 1:
            raise ConfigError(f"only every {self.model.keep}th state was kept; set keep=1 to see all of them")
        return self.kept

    def tangent(self, dq: Coefficients | None, initial: Tensor | None = None) -> Tensor:
        """Sensitivity problem `xi' = S_u xi + S_q dq`, `xi(0) = xi0`: xi at every time step, (steps + 1, K, n).

        Args:
            dq: directions in the shapes of the coefficients; None for zero.
            initial: xi0, (K, n); None for zero.
        """
        dq = tuple(torch.zeros_like(part) for part in self.q) if dq is None else dq
        along = _Stages(self.rule, dq, len(self.model.stepper.positions))
        xi = [torch.zeros_like(self.final) if initial is None else initial]
        for first in range(0, self.model.count, self._stride):
            for offset, step in enumerate(self._segment(first)):
                xi.append(step.tangent(xi[-1], along.of(first + offset)))
        return torch.stack(xi)

    def adjoint(self, along: Tensor) -> ScienceAdjoint:
        """Adjoint problem `-lambda' = S_u* lambda + g(t)` of covectors at the time steps.

        Args:
            along: derivative of the cost by the state at each time step, (steps + 1, K, n).
        """
        model, stages = self.model, len(self.model.stepper.positions)
        spread: list[Tensor | None] = [
            None if part.ndim == 1 else part.new_zeros(model.count * stages, part.shape[1]) for part in self.q
        ]
        total = [torch.zeros_like(part) for part in self.q]
        states = torch.empty_like(along)
        states[-1] = along[-1]
        for first in reversed(range(0, model.count, self._stride)):
            segment = self._segment(first)
            for j in range(first + len(segment) - 1, first - 1, -1):
                pulled, duals = segment[j - first].adjoint(states[j + 1])
                states[j] = pulled + along[j]
                for i, dual in enumerate(duals):
                    for number, part in enumerate(dual):
                        rows = spread[number]
                        if rows is None:
                            total[number] += part
                        else:
                            rows[j * stages + i] = part
        coefficients = tuple(
            constant if rows is None else self.rule.pull(rows) for constant, rows in zip(total, spread, strict=True)
        )
        return ScienceAdjoint(coefficients, states)

    @property
    def _stride(self) -> int:
        return self.model.count if self.model.keep == 1 else self.model.keep

    def _segment(self, first: int) -> list[StepTaken]:
        """The steps from a kept state to the next one, repeated where they were not kept."""
        model = self.model
        if model.keep == 1:
            return self.taken
        here = _Stages(self.rule, self.q, len(model.stepper.positions))
        state, steps = self.kept[first // model.keep], []
        for j in range(first, min(first + model.keep, model.count)):
            steps.append(model.stepper.step(model.equation, model.time_step, here.of(j), state))
            state = steps[-1].final
        return steps
