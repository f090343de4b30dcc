"""One Strang step of growth on voxels, batched: forward, tangent and adjoint, line against line.

Half a reaction step (exact flow), survival of chemotherapy, one diffusion step, survival, half a reaction step. The
diffusion step is a polynomial of the symmetric operator (`legendre`), so its transpose is the same recursion run with
duals. Only the density before a step is kept; a linearisation runs the stages of that step again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from oncology.model.growth import GrowthLaw
from oncology.voxel.diffusion import (
    Couplings,
    Diffusion,
    change,
    collect,
    column,
    diffuse,
    diffuse_adjoint,
    diffuse_stages,
    diffuse_tangent,
    diffusion_step,
    step_stages,
)
from oncology.voxel.stencil import Stencil

__all__ = ["VoxelDirections", "VoxelLeg", "VoxelMotion", "VoxelStep", "VoxelSums"]

Vector = NDArray[np.float64]
Flow = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


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


@dataclass(frozen=True, eq=False)
class VoxelLeg:
    """What all steps of one interval share.

    Attributes:
        stencil: diffusion operator.
        law: growth law f.
        flow: its flow, compiled or not.
        corrected: cancel the stencil's dispersion in white matter.
        fused: apply the stencil in one compiled pass.
        operator: couplings at the rates.
        rates: (B, 3) D_w, D_g (mm^2/day) and rho (1/day).
        tau: (B,) length of a step, day.
        least: fewest stages of the diffusion steps.
        per_duration: derivative of tau by the length of the first interval.
        slot: the diffusion step of the leg that was last asked for, shared by all legs of a run: they are large.
    """

    stencil: Stencil
    law: GrowthLaw
    flow: Flow
    corrected: bool
    fused: bool
    operator: Couplings
    rates: Vector
    tau: Vector
    least: int
    per_duration: float
    slot: list[tuple[VoxelLeg, Diffusion]] = field(repr=False)

    @property
    def diffusion(self) -> Diffusion:
        """The diffusion step."""
        if not self.slot or self.slot[0][0] is not self:
            self.slot[:] = []
            step = diffusion_step(
                self.stencil, self.operator, self.rates, self.tau, self.corrected, self.fused, self.least
            )
            self.slot.append((self, step))
        return self.slot[0][1]

    @property
    def stages(self) -> int:
        """Number of stages of the diffusion step."""
        return step_stages(self.stencil, self.operator, self.rates, self.tau, self.corrected, self.least)

    def exposure(self, like: torch.Tensor) -> torch.Tensor:
        """Return the exposure `rho tau / 2` of each reaction as a factor of densities (..., B, n)."""
        return column(0.5 * self.rates[:, 2] * self.tau, like)


class VoxelMotion:
    """Directions of a tangent, with what they mean in the current interval."""

    def __init__(self, directions: VoxelDirections) -> None:
        self.directions = directions
        self._leg: VoxelLeg | None = None
        self._moved: tuple[Vector, tuple[Vector, Vector]] | None = None

    def on(self, leg: VoxelLeg) -> tuple[Vector, tuple[Vector, Vector]]:
        """Return the change of the exposure (R, B) and of the diffusion step in an interval."""
        if self._leg is not leg or self._moved is None:
            d, tau = self.directions, leg.tau
            d_tau = leg.per_duration * d.duration
            exposure = 0.5 * (d.rates[:, :, 2] * tau + leg.rates[:, 2] * d_tau)
            self._leg, self._moved = leg, (exposure, change(leg.diffusion, leg.rates, d.rates, tau, d_tau))
        return self._moved


class VoxelSums:
    """Derivatives by the inputs of B runs, summed up interval by interval."""

    def __init__(self, batch: int) -> None:
        self.rates = np.zeros((batch, 3))
        self.duration = np.zeros(batch)
        self._leg: VoxelLeg | None = None
        self.edges = self.fraction = self.growth = torch.empty(0)

    def enter(self, leg: VoxelLeg, like: torch.Tensor) -> None:
        """Start with an interval, and finish the one before."""
        if self._leg is leg:
            return
        self.finish()
        self._leg = leg
        self.edges = torch.zeros_like(leg.diffusion.operator.edges)
        self.fraction, self.growth = like.new_zeros(len(leg.rates)), like.new_zeros(len(leg.rates))

    def finish(self) -> None:
        """Add up the interval that was entered last."""
        leg, self._leg = self._leg, None
        if leg is None:
            return
        rates, step = collect(leg.diffusion, leg.rates, leg.tau, self.edges, self.fraction, self.growth)
        self.rates += rates
        self.duration += leg.per_duration * step


@dataclass(frozen=True, eq=False)
class VoxelStep:
    """One step (`oncology.model.march.Operation`).

    Attributes:
        leg: what the interval's steps share.
        survival: surviving fractions of chemotherapy over both halves.
    """

    leg: VoxelLeg
    survival: tuple[float, float]

    def forward(self, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the densities (B, n) after the step, and those before it."""
        leg, exposure = self.leg, self.leg.exposure(u)
        v = _survive(leg.flow(u, exposure), self.survival[0])
        v = _survive(diffuse(leg.diffusion, v), self.survival[1])
        return leg.flow(v, exposure), u

    def tangent(self, record: torch.Tensor, du: torch.Tensor, change: VoxelMotion) -> torch.Tensor:
        """Return the changes (R, B, n) after the step."""
        leg, u, exposure = self.leg, record, self.leg.exposure(du)
        d_exposure, moved = change.on(leg)
        grown = leg.flow(u, exposure)
        du = _survive(self._react_tangent(u, grown, du, exposure, d_exposure), self.survival[0])
        v, dv = diffuse_tangent(leg.diffusion, _survive(grown, self.survival[0]), du, moved)
        v, dv = _survive(v, self.survival[1]), _survive(dv, self.survival[1])
        return self._react_tangent(v, leg.flow(v, exposure), dv, exposure, d_exposure)

    def adjoint(self, record: torch.Tensor, dual: torch.Tensor, gather: VoxelSums) -> torch.Tensor:
        """Return the duals (B, n) of the densities before the step."""
        leg, u, exposure = self.leg, record, self.leg.exposure(dual)
        gather.enter(leg, dual)
        grown = leg.flow(u, exposure)
        v, stages = diffuse_stages(leg.diffusion, self.survival[0] * grown)
        v = _survive(v, self.survival[1])
        dual, paired = self._react_adjoint(v, leg.flow(v, exposure), dual, exposure)
        gather.growth += paired
        dual = _survive(dual, self.survival[1])
        dual = diffuse_adjoint(leg.diffusion, stages, dual, gather.edges, gather.fraction)
        dual, paired = self._react_adjoint(u, grown, _survive(dual, self.survival[0]), exposure)
        gather.growth += paired
        return dual

    def _react_tangent(
        self, u: torch.Tensor, grown: torch.Tensor, du: torch.Tensor, exposure: torch.Tensor, d_exposure: Vector
    ) -> torch.Tensor:
        moved: torch.Tensor = self.leg.law.flow_slope(u, exposure) * du
        if d_exposure.any():
            moved.addcmul_(column(d_exposure, du), self.leg.law.rate(grown))
        return moved

    def _react_adjoint(
        self, u: torch.Tensor, grown: torch.Tensor, dual: torch.Tensor, exposure: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the dual of u, and the derivative by the exposure of each run, (B,)."""
        paired = (dual * self.leg.law.rate(grown)).sum(dim=-1)
        return self.leg.law.flow_slope(u, exposure) * dual, paired


def _survive(u: torch.Tensor, fraction: float) -> torch.Tensor:
    """Return what survives; never in place, since a law's flow may return its argument."""
    return u if fraction == 1.0 else fraction * u
