"""Identification as an optimisation problem: unknown coefficients, weights, sources or initial state.

    E(x) = 1/2 sum_i |O_i u(t_i) - d_i|^2_w + 1/2 sum_b p_b x_b^2

One problem serves `optimise.minimise` (fields and weights: one adjoint solve a gradient, one sensitivity solve a
step) and, through `Scalars`, `optimise.gauss_newton` (few numbers: one sensitivity solve each).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.optimise import Blocks, Linearisation, Space, Tangent, product
from oncology.science.equation import Coefficients, by_name
from oncology.science.node import ScienceNODE, ScienceRun
from oncology.science.observe import Measurement
from oncology.science.unknowns import INITIAL, Unknown

__all__ = ["EquationEvaluation", "EquationProblem", "Scalars", "unflatten"]


@dataclass(frozen=True, eq=False)
class EquationProblem:
    """A least-squares problem of a science-activated NODE.

    Attributes:
        model: equation, depth and stepper.
        unknowns: what is sought.
        known: every other coefficient by name, and `INITIAL` where the initial state (K, n) is known.
        data: what was measured.

    Raises:
        ConfigError: a name is missing, unknown or given twice.
    """

    model: ScienceNODE
    unknowns: tuple[Unknown, ...]
    known: dict[str, Tensor]
    data: tuple[Measurement, ...]

    def __post_init__(self) -> None:
        given = sorted([*self.known, *(unknown.name for unknown in self.unknowns)])
        wanted = sorted([INITIAL, *(coefficient.name for coefficient in self.model.equation.coefficients)])
        if given != wanted:
            raise ConfigError(f"known and unknown {given}; {self.model.equation.name} needs each of {wanted} once")

    @cached_property
    def space(self) -> Space[Blocks]:
        """Product of the unknowns' spaces."""
        return product(*(unknown.space for unknown in self.unknowns))

    @property
    def start(self) -> Blocks:
        """Coordinates of the references: zeros."""
        return Blocks(tuple(unknown.start for unknown in self.unknowns))

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each component of the coordinates, in their flat order."""
        return tuple(
            unknown.name if unknown.start.numel() == 1 else f"{unknown.name}[{i}]"
            for unknown in self.unknowns
            for i in range(unknown.start.numel())
        )

    def values(self, x: Blocks) -> dict[str, Tensor]:
        """The unknowns in their units, by name."""
        return {unknown.name: unknown.value(part) for unknown, part in zip(self.unknowns, x.parts, strict=True)}

    def inputs(self, x: Blocks) -> tuple[Coefficients, Tensor]:
        """All coefficients and the initial state."""
        values = {**self.known, **self.values(x)}
        initial = values.pop(INITIAL)
        return by_name(self.model.equation, values), initial

    def directions(self, x: Blocks, d: Blocks) -> tuple[Coefficients, Tensor]:
        """Derivative of `inputs` along d."""
        q, initial = self.inputs(x)
        still = dict(zip((c.name for c in self.model.equation.coefficients), map(torch.zeros_like, q), strict=True))
        moved = {**still, INITIAL: torch.zeros_like(initial)}
        for unknown, part, change in zip(self.unknowns, x.parts, d.parts, strict=True):
            moved[unknown.name] = unknown.push(part, change)
        start = moved.pop(INITIAL)
        return by_name(self.model.equation, moved), start

    def evaluate(self, x: Blocks) -> EquationEvaluation:
        """Solve forward at coordinates x."""
        q, initial = self.inputs(x)
        return EquationEvaluation(self, x, self.model.run(q, initial))


@dataclass(frozen=True, eq=False)
class EquationEvaluation:
    """The problem at one point, with its forward run done.

    Attributes:
        problem: the problem.
        x: coordinates of the unknowns.
        run: the forward run.
    """

    problem: EquationProblem
    x: Blocks
    run: ScienceRun

    @cached_property
    def residuals(self) -> list[Tensor]:
        """`O u - d` of each measurement, (K, m)."""
        return [entry.observation.value(self._state(entry.step)) - entry.data for entry in self.problem.data]

    def _state(self, step: int) -> Tensor:
        return self.run.final if step == self.problem.model.count else self.run.states[step]

    @cached_property
    def misfit(self) -> float:
        """Sum of the weighted squares of the residuals."""
        pairs = zip(self.problem.data, self.residuals, strict=True)
        return sum(float((entry.weights * residual**2).sum()) for entry, residual in pairs)

    @property
    def residual(self) -> float:
        """Weighted norm of the residuals, in the unit of the noise level."""
        result: float = self.misfit**0.5
        return result

    @property
    def value(self) -> float:
        """E(x)."""
        pairs = zip(self.problem.unknowns, self.x.parts, strict=True)
        return 0.5 * self.misfit + 0.5 * sum(float((unknown.precision * part**2).sum()) for unknown, part in pairs)

    def derivative(self) -> Blocks:
        """E'(x), dual vectors: one adjoint solve."""
        model, run = self.problem.model, self.run
        along = run.final.new_zeros(model.count + 1, *run.final.shape)
        for entry, residual in zip(self.problem.data, self.residuals, strict=True):
            along[entry.step] += entry.observation.pullback(self._state(entry.step), entry.weights * residual)
        solved = run.adjoint(along)
        names = [coefficient.name for coefficient in model.equation.coefficients]
        duals = {**dict(zip(names, solved.coefficients, strict=True)), INITIAL: solved.initial}
        return Blocks(
            tuple(
                unknown.pull(part, duals[unknown.name]) + unknown.precision * part
                for unknown, part in zip(self.problem.unknowns, self.x.parts, strict=True)
            )
        )

    def sensitivity(self, direction: Blocks) -> Tensor:
        """Change of all data along a direction, times the roots of their weights; flat."""
        xi = self.run.tangent(*self.problem.directions(self.x, direction))
        return torch.cat(
            [
                (entry.weights**0.5 * entry.observation.pushforward(self._state(entry.step), xi[entry.step])).reshape(
                    -1
                )
                for entry in self.problem.data
            ]
        )

    def tangent(self, direction: Blocks) -> Tangent:
        """Gauss-Newton curvature along a direction: one sensitivity solve."""
        curvature = float((self.sensitivity(direction) ** 2).sum())
        pairs = zip(self.problem.unknowns, direction.parts, strict=True)
        return Tangent(curvature + sum(float((unknown.precision * part**2).sum()) for unknown, part in pairs))

    def jacobian(self) -> np.ndarray:
        """Sensitivity columns S of all components, (data, unknowns): one sensitivity solve each."""
        parts = self.x.parts
        total = sum(part.numel() for part in parts)
        columns = [self.sensitivity(unflatten(np.eye(total)[i], self.x)).numpy() for i in range(total)]
        return np.stack(columns, axis=1)


def flatten(x: Blocks) -> np.ndarray:
    """Components of all blocks in one vector."""
    return np.concatenate([part.reshape(-1).numpy() for part in x.parts])


def unflatten(flat: np.ndarray, like: Blocks) -> Blocks:
    """Blocks in the shapes of others."""
    ends = np.cumsum([part.numel() for part in like.parts])[:-1]
    pieces = np.split(flat, ends)
    return Blocks(
        tuple(torch.from_numpy(np.array(p)).reshape(part.shape) for p, part in zip(pieces, like.parts, strict=True))
    )


@dataclass(frozen=True)
class Scalars:
    """The same problem for `gauss_newton`: a flat vector of a few numbers.

    Attributes:
        problem: the problem.
    """

    problem: EquationProblem

    @property
    def start(self) -> np.ndarray:
        """Coordinates of the references: zeros."""
        return flatten(self.problem.start)

    def blocks(self, x: np.ndarray) -> Blocks:
        """Coordinates as blocks."""
        return unflatten(np.asarray(x, dtype=float), self.problem.start)

    def evaluate(self, x: np.ndarray) -> float:
        """E(x)."""
        return self.problem.evaluate(self.blocks(x)).value

    def linearise(self, x: np.ndarray) -> Linearisation:
        """E(x) with gradient and Gauss-Newton matrix."""
        here = self.problem.evaluate(self.blocks(x))
        columns = here.jacobian()
        pairs = zip(self.problem.data, here.residuals, strict=True)
        residual = np.concatenate([(entry.weights**0.5 * r).reshape(-1).numpy() for entry, r in pairs])
        precision = flatten(
            Blocks(
                tuple(
                    unknown.precision * torch.ones_like(part)
                    for unknown, part in zip(self.problem.unknowns, here.x.parts, strict=True)
                )
            )
        )
        gradient = columns.T @ residual + precision * x
        return Linearisation(here.value, gradient, columns.T @ columns + np.diag(precision))
