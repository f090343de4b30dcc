"""Reaction-diffusion tumour growth `u_t = div(D grad u) + rho f(u)` on voxels: forward run, tangent and adjoint.

Symmetric splitting as in the finite-element engine: half a reaction step (exact flow), survival of chemotherapy, one
diffusion step, survival, half a reaction step; radiotherapy and resection multiply the density at exact times. The
diffusion step is a polynomial of the symmetric operator (`legendre`), so its transpose is the same recursion run with
duals. Nothing is integrated backwards: the density before every step is kept, and a linearisation runs the stages of
that step again. Tangent and adjoint are exact for this discrete scheme, line against line (B4.4 of the specification).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from oncology.errors import ConfigError, NumericalError
from oncology.model.growth import GrowthLaw, Logistic
from oncology.model.timegrid import Interval, TimeGrid
from oncology.voxel.diffusion import (
    Couplings,
    Diffusion,
    change,
    collect,
    column,
    couplings,
    diffuse,
    diffuse_adjoint,
    diffuse_stages,
    diffuse_tangent,
    diffusion_step,
)
from oncology.voxel.kernel import compiled
from oncology.voxel.stencil import Stencil

__all__ = ["VoxelDerivative", "VoxelDirections", "VoxelModel", "VoxelRun"]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class VoxelDirections:
    """R directions of the inputs of each of B runs.

    Attributes:
        rates: (R, B, 3) of D_w, D_g (mm^2/day) and rho (1/day).
        initial: (R, B, n) of the initial density; None: zero.
        duration: (R, B) of the first interval, day.
    """

    rates: Vector
    initial: torch.Tensor | None
    duration: Vector


@dataclass(frozen=True)
class VoxelDerivative:
    """Derivatives by the inputs of each of B runs; `initial` is algebraic, its L2 gradient is `initial / h^d`.

    Attributes:
        rates: (B, 3) by D_w, D_g and rho.
        initial: (B, n) by the initial density.
        duration: (B,) by the length of the first interval.
    """

    rates: Vector
    initial: torch.Tensor
    duration: Vector


@dataclass(frozen=True)
class VoxelRun:
    """A batch of forward runs.

    Attributes:
        rates: (B, 3) D_w, D_g (mm^2/day) and rho (1/day).
        grid: time grid; its interval lengths hold unless `durations` says otherwise.
        durations: (intervals, B) length of each interval, day.
        stages: of the diffusion steps of each interval.
        observations: density on the observation days, (B, n) each.
        starts: density before every step, by interval; empty if it was not asked for.
        lowest: smallest density.
        highest: largest density.
    """

    rates: Vector
    grid: TimeGrid
    durations: Vector
    stages: tuple[int, ...]
    observations: tuple[torch.Tensor, ...]
    starts: tuple[tuple[torch.Tensor, ...], ...] = field(repr=False)
    lowest: float
    highest: float

    @property
    def products(self) -> int:
        """How often the stencil was applied."""
        return sum(s * interval.steps for s, interval in zip(self.stages, self.grid.intervals, strict=True))


@dataclass(frozen=True)
class _Step:
    """One step of an interval: exposures to growth of each half (B, 1), and the share of cells that survives it."""

    exposure: torch.Tensor
    survival: tuple[float, float]


@dataclass(frozen=True)
class VoxelModel:
    """The discrete model on one box of voxels.

    Attributes:
        stencil: diffusion operator.
        law: growth law f.
        resections: (n,) share of each voxel's density that each resection leaves, by index of the treatment.
        corrected: cancel the stencil's dispersion in white matter (`legendre`).
        fused: apply the stencil in one compiled pass, which takes a box with a margin (`Stencil.guarded`).

    Raises:
        ConfigError: where the box has no margin for a compiled pass.
    """

    stencil: Stencil
    law: GrowthLaw = field(default_factory=Logistic)
    resections: dict[int, torch.Tensor] = field(default_factory=dict)
    corrected: bool = True
    fused: bool = False
    _flow: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_flow", compiled(self.law.flow) if self.fused else self.law.flow)
        if self.fused and not self.stencil.guarded:
            raise ConfigError(
                f"tissue reaches the ends of the box of {self.stencil.shape} voxels: for a compiled pass, "
                "pad its first axis with one voxel at each end (two with a tensor)"
            )

    def run(
        self,
        rates: Vector,
        initial: torch.Tensor,
        grid: TimeGrid,
        durations: Vector | None = None,
        least: Sequence[int] | None = None,
        keep: bool = True,
        record: Callable[[torch.Tensor], None] | None = None,
    ) -> VoxelRun:
        """Grow initial densities over the time grid.

        Args:
            rates: (B, 3) D_w, D_g (mm^2/day) and rho (1/day).
            initial: (B, n) density at onset, zero outside the tissue.
            grid: intervals and steps.
            durations: (intervals, B) length of each interval in each run, day; None: those of the grid.
            least: fewest stages of the diffusion steps of each interval (`stages`); None: as many as are stable.
            keep: keep the states that tangent and adjoint need.
            record: called with the density after every step, (B, n), which it must copy.

        Raises:
            ConfigError: where shapes do not fit, or chemotherapy meets lengths that are not the grid's.
            NumericalError: where rates or densities are not finite.
        """
        rates, durations = self._checked(rates, initial, grid, durations)
        u = initial.clone()
        lowest, highest = torch.aminmax(u)
        observations, starts, stages = [], [], []
        operator = couplings(self.stencil, rates)
        for index, (interval, lengths) in enumerate(zip(grid.intervals, durations, strict=True)):
            diffusion = self._diffusion(operator, rates, lengths / interval.steps, least[index] if least else 0)
            taken = []
            for step in _steps(interval, lengths, rates, u):
                if keep:
                    taken.append(u)
                v = _survive(self._flow(u, step.exposure), step.survival[0])
                v = _survive(diffuse(diffusion, v), step.survival[1])
                u = self._flow(v, step.exposure)
                low, high = torch.aminmax(u)
                lowest, highest = torch.minimum(lowest, low), torch.maximum(highest, high)
                if record is not None:
                    record(u)
            starts.append(tuple(taken))
            stages.append(diffusion.polynomial.stages)
            if interval.observe:
                observations.append(u)
            u = self._survive(interval, u)
        least_density, greatest = float(lowest), float(highest)
        if not np.isfinite([least_density, greatest]).all():
            raise NumericalError(
                f"the density went to {least_density:g}..{greatest:g}: rates {rates.tolist()} are far too large"
            )
        kept = tuple(starts) if keep else ()
        return VoxelRun(rates, grid, durations, tuple(stages), tuple(observations), kept, least_density, greatest)

    def stages(self, rates: Vector, grid: TimeGrid) -> tuple[int, ...]:
        """Return how many stages the diffusion steps of each interval need for rates (3,)."""
        steps = [np.array([interval.step]) for interval in grid.intervals]
        operator = couplings(self.stencil, rates[None])
        return tuple(self._diffusion(operator, rates[None], step).polynomial.stages for step in steps)

    def tangent(self, run: VoxelRun, directions: VoxelDirections) -> tuple[torch.Tensor, ...]:
        """Return the derivatives of `run.observations` along R directions, (R, B, n) each."""
        count, batch = directions.duration.shape
        du = run.starts[0][0].new_zeros(count, batch, self.stencil.voxels)
        if directions.initial is not None:
            du += directions.initial
        observations = []
        operator = couplings(self.stencil, run.rates)
        for index, (interval, lengths, starts) in enumerate(
            zip(run.grid.intervals, run.durations, run.starts, strict=True)
        ):
            tau = lengths / interval.steps
            d_tau = directions.duration / interval.steps * (index == 0)
            diffusion = self._diffusion(operator, run.rates, tau, run.stages[index])
            d_exposure = 0.5 * (directions.rates[:, :, 2] * tau + run.rates[:, 2] * d_tau)
            moved = change(diffusion, run.rates, directions.rates, tau, d_tau)
            for step, u in zip(_steps(interval, lengths, run.rates, du), starts, strict=True):
                grown = self._flow(u, step.exposure)
                du = _survive(self._react_tangent(u, grown, du, step.exposure, d_exposure), step.survival[0])
                v, dv = diffuse_tangent(diffusion, _survive(grown, step.survival[0]), du, moved)
                v, dv = _survive(v, step.survival[1]), _survive(dv, step.survival[1])
                du = self._react_tangent(v, self._flow(v, step.exposure), dv, step.exposure, d_exposure)
            if interval.observe:
                observations.append(du.clone())
            du = self._survive(interval, du)
        return tuple(observations)

    def adjoint(self, run: VoxelRun, duals: Sequence[torch.Tensor]) -> VoxelDerivative:
        """Return the derivative of `sum_i <duals[i], observations[i]>`, for each run of the batch ((B, n) duals)."""
        dual = torch.zeros_like(run.starts[0][0])
        remaining = list(duals)
        by_rates, by_duration = np.zeros((len(run.rates), 3)), np.zeros(len(run.rates))
        operator = couplings(self.stencil, run.rates)
        for index in reversed(range(len(run.starts))):
            interval, lengths = run.grid.intervals[index], run.durations[index]
            dual = self._survive(interval, dual)
            if interval.observe:
                dual = dual + remaining.pop()
            tau = lengths / interval.steps
            diffusion = self._diffusion(operator, run.rates, tau, run.stages[index])
            edges = torch.zeros_like(diffusion.operator.edges)
            share, growth = dual.new_zeros(len(run.rates)), dual.new_zeros(len(run.rates))
            steps = list(_steps(interval, lengths, run.rates, dual))
            for step, u in zip(reversed(steps), reversed(run.starts[index]), strict=True):
                grown = self._flow(u, step.exposure)
                v, stages = diffuse_stages(diffusion, step.survival[0] * grown)
                v = _survive(v, step.survival[1])
                dual, paired = self._react_adjoint(v, self._flow(v, step.exposure), dual, step.exposure)
                growth += paired
                dual = diffuse_adjoint(diffusion, stages, _survive(dual, step.survival[1]), edges, share)
                dual, paired = self._react_adjoint(u, grown, _survive(dual, step.survival[0]), step.exposure)
                growth += paired
            rates, step_length = collect(diffusion, run.rates, tau, edges, share, growth)
            by_rates += rates
            if index == 0:
                by_duration += step_length / interval.steps
        return VoxelDerivative(by_rates, dual, by_duration)

    def _checked(
        self, rates: Vector, initial: torch.Tensor, grid: TimeGrid, durations: Vector | None
    ) -> tuple[Vector, Vector]:
        rates = np.asarray(rates, dtype=float)
        lengths = np.array([[interval.duration] for interval in grid.intervals]) * np.ones(len(rates))
        if rates.shape != (len(initial), 3) or initial.shape[1] != self.stencil.voxels:
            raise ConfigError(
                f"rates {rates.shape} and initial densities {tuple(initial.shape)} of {self.stencil.voxels} voxels: "
                "give three rates and one density a run"
            )
        if not (np.isfinite(rates).all() and (rates >= 0.0).all()):
            raise NumericalError(f"rates {rates.tolist()} must be finite and not negative")
        if durations is not None and not np.allclose(durations[1:], lengths[1:]):
            if any(interval.kill is not None for interval in grid.intervals):
                raise ConfigError("chemotherapy needs the interval lengths of the time grid: leave durations out")
        return rates, lengths if durations is None else np.asarray(durations, dtype=float)

    def _diffusion(self, by: Couplings, rates: Vector, tau: Vector, least: int = 0) -> Diffusion:
        return diffusion_step(self.stencil, by, rates, tau, self.corrected, self.fused, least)

    def _survive(self, interval: Interval, u: torch.Tensor) -> torch.Tensor:
        """Apply radiotherapy and resection at the end of an interval; linear and diagonal, so its own transpose."""
        if interval.survival != 1.0:
            u = interval.survival * u
        if interval.resection is not None:
            u = self.resections[interval.resection] * u
        return u

    def _react_tangent(
        self, u: torch.Tensor, grown: torch.Tensor, du: torch.Tensor, exposure: torch.Tensor, d_exposure: Vector
    ) -> torch.Tensor:
        change = self.law.flow_slope(u, exposure) * du
        if d_exposure.any():
            change.addcmul_(column(d_exposure, du), self.law.rate(grown))
        return change

    def _react_adjoint(
        self, u: torch.Tensor, grown: torch.Tensor, dual: torch.Tensor, exposure: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the dual of u, and the derivative by the exposure of each run, (B,)."""
        paired = (dual * self.law.rate(grown)).sum(dim=-1)
        return self.law.flow_slope(u, exposure) * dual, paired


def _survive(u: torch.Tensor, share: float) -> torch.Tensor:
    """Scale a density in place."""
    return u if share == 1.0 else u.mul_(share)


def _steps(interval: Interval, lengths: Vector, rates: Vector, like: torch.Tensor) -> Iterator[_Step]:
    """Yield the steps of an interval of lengths (B,)."""
    exposure = column(0.5 * rates[:, 2] * lengths / interval.steps, like)
    for number in range(interval.steps):
        first, second = (1.0, 1.0) if interval.kill is None else np.exp(-interval.kill[number])
        yield _Step(exposure, (float(first), float(second)))
