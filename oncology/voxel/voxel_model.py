"""Reaction-diffusion tumour growth `u_t = div(D grad u) + rho f(u)` on voxels, batched over runs.

A run is a march (`oncology.model.march`) through steps (`oncology.voxel.step`), treatments and observations:
radiotherapy and resection multiply the density at exact times. Nothing is integrated backwards: the density before
every step is kept. Tangent and adjoint are exact for this discrete scheme.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from oncology.errors import ConfigError, NumericalError
from oncology.model.growth import GrowthLaw, Logistic
from oncology.model.march import Observe, Operation, Scaling, march, march_adjoint, march_tangent
from oncology.model.timegrid import TimeGrid
from oncology.voxel.diffusion import couplings, step_stages
from oncology.voxel.kernel import compiled
from oncology.voxel.stencil import Stencil
from oncology.voxel.step import VoxelDirections, VoxelLeg, VoxelMotion, VoxelStep, VoxelSums

__all__ = ["VoxelDerivative", "VoxelDirections", "VoxelModel", "VoxelRun"]

Vector = NDArray[np.float64]


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
        lowest: smallest density.
        highest: largest density.
        operations: what the run went through.
        records: one for each operation, for the linearisation; empty if it was not asked for.
    """

    rates: Vector
    grid: TimeGrid
    durations: Vector
    stages: tuple[int, ...]
    observations: tuple[torch.Tensor, ...]
    lowest: float
    highest: float
    operations: tuple[Operation | Observe, ...] = field(repr=False)
    records: tuple[object, ...] = field(repr=False)

    @property
    def products(self) -> int:
        """How often the stencil was applied."""
        return sum(s * interval.steps for s, interval in zip(self.stages, self.grid.intervals, strict=True))


@dataclass(frozen=True)
class VoxelModel:
    """The discrete model on one box of voxels.

    Attributes:
        stencil: diffusion operator.
        law: growth law f.
        resections: (n,) fraction of each voxel's density that each resection leaves, by index of the treatment.
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
        operations, stages = self._operations(rates, grid, durations, least)
        u = initial.clone()
        extremes = list(torch.aminmax(u))

        def watch(number: int, u: torch.Tensor) -> None:
            if not isinstance(operations[number], VoxelStep):
                return
            low, high = torch.aminmax(u)
            extremes[0], extremes[1] = torch.minimum(extremes[0], low), torch.maximum(extremes[1], high)
            if record is not None:
                record(u)

        done = march(operations, u, keep, watch)
        lowest, highest = map(float, extremes)
        if not np.isfinite([lowest, highest]).all():
            raise NumericalError(
                f"the density went to {lowest:g}..{highest:g}: rates {rates.tolist()} are far too large"
            )
        return VoxelRun(rates, grid, durations, stages, done.observations, lowest, highest, operations, done.records)

    def stages(self, rates: Vector, grid: TimeGrid) -> tuple[int, ...]:
        """Return how many stages the diffusion steps of each interval need for rates (3,)."""
        steps = [np.array([interval.step]) for interval in grid.intervals]
        operator = couplings(self.stencil, rates[None])
        return tuple(step_stages(self.stencil, operator, rates[None], step, self.corrected) for step in steps)

    def tangent(self, run: VoxelRun, directions: VoxelDirections) -> tuple[torch.Tensor, ...]:
        """Return the derivatives of `run.observations` along R directions, (R, B, n) each.

        Raises:
            NumericalError: the run kept no states.
        """
        _require_states(run)
        count, batch = directions.duration.shape
        du = self.stencil.joined.new_zeros(count, batch, self.stencil.voxels)
        if directions.initial is not None:
            du += directions.initial
        return march_tangent(run.operations, run.records, du, VoxelMotion(directions))

    def adjoint(self, run: VoxelRun, duals: Sequence[torch.Tensor]) -> VoxelDerivative:
        """Return the derivative of `sum_i <duals[i], observations[i]>`, for each run of the batch ((B, n) duals).

        Raises:
            NumericalError: the run kept no states.
        """
        _require_states(run)
        sums = VoxelSums(len(run.rates))
        zero = self.stencil.joined.new_zeros(len(run.rates), self.stencil.voxels)
        dual = march_adjoint(run.operations, run.records, zero, duals, sums)
        sums.finish()
        return VoxelDerivative(sums.rates, dual, sums.duration)

    def _operations(
        self, rates: Vector, grid: TimeGrid, durations: Vector, least: Sequence[int] | None
    ) -> tuple[tuple[Operation | Observe, ...], tuple[int, ...]]:
        """Return what a run goes through, and the stages of the diffusion steps of each interval."""
        operator = couplings(self.stencil, rates)
        operations: list[Operation | Observe] = []
        slot: list[tuple[VoxelLeg, object]] = []
        stages = []
        for index, (interval, lengths) in enumerate(zip(grid.intervals, durations, strict=True)):
            leg = VoxelLeg(
                stencil=self.stencil,
                law=self.law,
                flow=self._flow,
                corrected=self.corrected,
                fused=self.fused,
                operator=operator,
                rates=rates,
                tau=lengths / interval.steps,
                least=least[index] if least else 0,
                per_duration=1.0 / interval.steps if index == 0 else 0.0,
                slot=slot,  # type: ignore[arg-type]
            )
            stages.append(leg.stages)
            for number in range(interval.steps):
                survival = (1.0, 1.0)
                if interval.kill is not None:
                    first, second = np.exp(-interval.kill[number])
                    survival = (float(first), float(second))
                operations.append(VoxelStep(leg, survival))
            if interval.observe:
                operations.append(Observe())
            if interval.survival != 1.0:
                operations.append(Scaling(interval.survival))
            if interval.resection is not None:
                operations.append(Scaling(self.resections[interval.resection]))
        return tuple(operations), tuple(stages)

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


def _require_states(run: VoxelRun) -> None:
    if run.operations and not run.records:
        raise NumericalError("this run kept no states, so it has no derivatives: run it with keep=True")
