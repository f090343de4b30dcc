"""One Strang step of `u_t = div(D grad u) + rho f(u)`: forward, tangent and adjoint, line against line.

Half a reaction step (exact flow at every vertex), survival of chemotherapy, one diffusion step, survival, half a
reaction step (Strang 1968): `u~ = s1 Phi(u)`, `uh = R(tau K) u~`, `v = Phi(s2 uh)`, with exposure `rho tau / 2` in
both flows. Derivatives are exact for this discrete step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oncology.fem.diffusion import DiffusionScheme, Pairs
from oncology.fem.discretisation import Discretisation
from oncology.fem.rates import Rates, RatesChange
from oncology.fem.stiffness import MatrixPool, Stiffness
from oncology.model.growth import GrowthLaw

__all__ = ["DerivativeSums", "GrowthStep", "StepRecord"]


@dataclass(frozen=True, eq=False)
class StepRecord:
    """What the linearisation of one step needs: start value, diffusion stages."""

    start: np.ndarray
    stages: tuple[np.ndarray, ...]


@dataclass
class DerivativeSums:
    """Sums over steps, local to this rank, from which the derivatives by the model's inputs are made.

    Attributes:
        stiffness: (3,) sum of `tau w' K_i v` over steps and stages, with the derivatives K_i of K by D_w, D_g, rho.
        growth: sum of `tau dual . f(Phi)` over both reactions of all steps, with the field's factor exp(m_r).
        first: (4,) the same four for the first interval, by its length.
        cells: (m,) sum of `tau k_c(w, v)` on each cell, where m_D is a field.
        vertices: (n,) sum of `exposure dual f(Phi)` at each vertex, where m_r is a field.
    """

    stiffness: np.ndarray = field(default_factory=lambda: np.zeros(3))
    growth: float = 0.0
    first: np.ndarray = field(default_factory=lambda: np.zeros(4))
    cells: np.ndarray | None = None
    vertices: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class GrowthStep:
    """One step of one interval.

    Attributes:
        discretisation: mesh and mass.
        law: growth law f.
        scheme: diffusion step.
        pool: stiffness matrices, and operators `M + shift K`.
        rates: growth and diffusion.
        key: what stands for the rates in the pool.
        tau: length of the step, day.
        survival: surviving fractions of chemotherapy over both halves of the step.
        per_duration: derivative of tau by the length of the first interval: 1 / steps there, else 0.
    """

    discretisation: Discretisation
    law: GrowthLaw
    scheme: DiffusionScheme
    pool: MatrixPool
    rates: Rates
    key: bytes
    tau: float
    survival: tuple[float, float]
    per_duration: float

    @property
    def exposure(self) -> Any:
        """Exposure `rho tau / 2` of each reaction: a number, or (n,) where m_r is a field."""
        base = 0.5 * self.rates.proliferation * self.tau
        return base if self.rates.log_proliferation is None else base * np.exp(self.rates.log_proliferation)

    @property
    def _operator(self) -> Any:
        return self.pool.operator(self.key, self.rates, self.scheme.gamma * self.tau)

    @property
    def _stiffness(self) -> Stiffness:
        return self.pool.stiffness(self.key, self.rates)

    def forward(self, u: np.ndarray) -> tuple[np.ndarray, StepRecord]:
        """Return the density after the step, and what its linearisation needs."""
        first, second = self.survival
        exposure = self.exposure
        stages = self.scheme.forward(self._operator, first * self.law.flow(u, exposure))
        return self.law.flow(second * stages[-1], exposure), StepRecord(u, stages)

    def tangent(self, record: StepRecord, du: np.ndarray, changes: Sequence[RatesChange]) -> np.ndarray:
        """Return the changes of the density after the step, (k, n), of those before it and k changes of the rates."""
        first, second = self.survival
        exposure = self.exposure
        d_exposure = np.stack([np.atleast_1d(self._exposure_change(change)) for change in changes])
        du = first * self._reaction_tangent(record.start, du, exposure, d_exposure)
        forcing = self._stiffness_change(changes)
        du = self.scheme.tangent(self._operator, du, tuple(forcing(stage) for stage in record.stages))
        return self._reaction_tangent(second * record.stages[-1], second * du, exposure, d_exposure)

    def adjoint(self, record: StepRecord, dual: np.ndarray, gather: DerivativeSums) -> np.ndarray:
        """Return the dual of the density before the step; the derivatives by the inputs go to `gather`."""
        first, second = self.survival
        exposure = self.exposure
        grown_from = second * record.stages[-1]
        growth = self._reaction_pairing(grown_from, dual, exposure, gather)
        dual = second * self.law.flow_slope(grown_from, exposure) * dual
        dual, pairs = self.scheme.adjoint(self._operator, record.stages, dual)
        paired = self._stiffness_pairing(pairs, gather)
        growth += self._reaction_pairing(record.start, first * dual, exposure, gather)
        dual = first * self.law.flow_slope(record.start, exposure) * dual
        gather.stiffness += self.tau * paired
        gather.growth += self.tau * growth
        gather.first += self.per_duration * np.array([*paired, growth])
        return dual

    def _reaction_tangent(self, u: np.ndarray, du: np.ndarray, exposure: Any, d_exposure: Any) -> np.ndarray:
        change = self.law.flow_slope(u, exposure) * du
        if np.any(d_exposure):
            change = change + d_exposure * self.law.rate(self.law.flow(u, exposure))
        return np.asarray(change)

    def _reaction_pairing(self, u: np.ndarray, dual: np.ndarray, exposure: Any, gather: DerivativeSums) -> float:
        rate = self.law.rate(self.law.flow(u, exposure))
        if self.rates.log_proliferation is None:
            return float(dual @ rate)
        paired = dual * rate
        gather.vertices = exposure * paired if gather.vertices is None else gather.vertices + exposure * paired
        return float(paired @ np.exp(self.rates.log_proliferation))

    def _exposure_change(self, change: RatesChange) -> Any:
        rates, d_tau = change.rates, self.per_duration * change.duration
        base = 0.5 * (rates.proliferation * self.tau + self.rates.proliferation * d_tau)
        if self.rates.log_proliferation is None:
            return base
        moved = base * np.exp(self.rates.log_proliferation)
        return moved if rates.log_proliferation is None else moved + self.exposure * rates.log_proliferation

    def _stiffness_change(self, changes: Sequence[RatesChange]) -> Any:
        """Return the map of a stage v to `-gamma d(tau K) v` for each of the changes, (k, n)."""
        stiffness = self._stiffness
        weights = -self.scheme.gamma * np.array(
            [[*(self.tau * change.rates.scalars), self.per_duration * change.duration] for change in changes]
        )
        moving = np.flatnonzero(weights.any(axis=0))
        # the parts are assembled where they are needed
        matrices = [stiffness.whole if place == 3 else stiffness.parts[place] for place in moving]
        by_cell = {}
        for number, change in enumerate(changes):
            if self.rates.log_diffusion is not None and change.rates.log_diffusion is not None:
                means = self.discretisation.cell_means(change.rates.log_diffusion)
                by_cell[number] = -self.scheme.gamma * self.tau * stiffness.diffusivity * means

        def forcing(stage: np.ndarray) -> np.ndarray:
            total = np.zeros((len(changes), len(stage)))
            if matrices:
                total += weights[:, moving] @ np.stack([_product(matrix, stage) for matrix in matrices])
            for number, coefficients in by_cell.items():
                total[number] += self.discretisation.cell_product(coefficients, stage)
            return total

        return forcing

    def _stiffness_pairing(self, pairs: Pairs, gather: DerivativeSums) -> np.ndarray:
        """Return the sums of w'K_i v over the stages, (3,); those of each cell go to `gather`."""
        sums = np.zeros(3)
        for w, stage in pairs:
            sums += [w @ _product(part, stage) for part in self._stiffness.parts]
            if self.rates.log_diffusion is not None:
                paired = self.tau * self.discretisation.cell_pairing(w, stage)
                gather.cells = paired if gather.cells is None else gather.cells + paired
        return sums


def _product(matrix: Any, values: np.ndarray) -> np.ndarray:
    """Return the product of a PETSc matrix with the owned values."""
    right, left = matrix.createVecs()
    right.array[:] = values
    matrix.mult(right, left)
    result = left.array.copy()
    right.destroy()
    left.destroy()
    return np.asarray(result)
