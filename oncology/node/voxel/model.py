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
from oncology.growth import GrowthLaw, Logistic
from oncology.inverse.timegrid import Interval, TimeGrid
from oncology.node.voxel.kernel import Weights, accumulate, edge_pairing, weights
from oncology.node.voxel.legendre import Legendre, legendre
from oncology.node.voxel.stencil import Stencil

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
class _Couplings:
    """The diffusion operator at given rates.

    Attributes:
        slopes: (b, k, n) E_w and E_g of each edge by the diffusivities, 1/mm^2.
        edges: (b, k, n) `D_w E_w + D_g E_g`, 1/day.
        bound: (B,) bound of the largest eigenvalue, 1/day.
    """

    slopes: tuple[torch.Tensor, torch.Tensor]
    edges: torch.Tensor
    bound: Vector


@dataclass(frozen=True)
class _Diffusion:
    """The diffusion step of one interval.

    Attributes:
        polynomial: its coefficients.
        operator: `1 + w tau L`.
        slopes: couplings E_w and E_g by the diffusivities.
        scale: (B,) w tau, day.
    """

    polynomial: Legendre
    operator: Weights
    slopes: tuple[torch.Tensor, torch.Tensor]
    scale: Vector


@dataclass(frozen=True)
class _Step:
    """One step of an interval: half exposures to growth (B,), survival of both halves, first of its interval or not."""

    exposure: Vector
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

    def __post_init__(self) -> None:
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
        lowest, highest = u.amin(), u.amax()
        observations, starts, stages = [], [], []
        couplings = self._couplings(rates)
        for index, (interval, lengths) in enumerate(zip(grid.intervals, durations, strict=True)):
            diffusion = self._diffusion(couplings, rates, lengths / interval.steps, least[index] if least else 0)
            taken = []
            for step in _steps(interval, lengths, rates):
                if keep:
                    taken.append(u)
                v = self._react(u, step.exposure).mul_(step.survival[0])
                v = _diffuse(diffusion, v).mul_(step.survival[1])
                u = self._react(v, step.exposure)
                lowest, highest = torch.minimum(lowest, u.amin()), torch.maximum(highest, u.amax())
                if record is not None:
                    record(u)
            starts.append(tuple(taken))
            stages.append(diffusion.polynomial.stages)
            if interval.observe:
                observations.append(u)
            u = self._survive(interval, u)
        low, high = float(lowest), float(highest)
        if not np.isfinite([low, high]).all():
            raise NumericalError(f"the density went to {low:g}..{high:g}: rates {rates.tolist()} are far too large")
        kept = tuple(starts) if keep else ()
        return VoxelRun(rates, grid, durations, tuple(stages), tuple(observations), kept, low, high)

    def stages(self, rates: Vector, grid: TimeGrid) -> tuple[int, ...]:
        """Return how many stages the diffusion steps of each interval need for rates (3,)."""
        steps = [np.array([interval.step]) for interval in grid.intervals]
        couplings = self._couplings(rates[None])
        return tuple(self._diffusion(couplings, rates[None], step).polynomial.stages for step in steps)

    def tangent(self, run: VoxelRun, directions: VoxelDirections) -> tuple[torch.Tensor, ...]:
        """Return the derivatives of `run.observations` along R directions, (R, B, n) each."""
        count, batch = directions.duration.shape
        du = run.starts[0][0].new_zeros(count, batch, self.stencil.voxels)
        if directions.initial is not None:
            du += directions.initial
        observations = []
        couplings = self._couplings(run.rates)
        for index, (interval, lengths, starts) in enumerate(
            zip(run.grid.intervals, run.durations, run.starts, strict=True)
        ):
            tau = lengths / interval.steps
            d_tau = directions.duration / interval.steps * (index == 0)
            diffusion = self._diffusion(couplings, run.rates, tau, run.stages[index])
            d_exposure = 0.5 * (directions.rates[:, :, 2] * tau + run.rates[:, 2] * d_tau)
            change = _change(diffusion, run.rates, directions.rates, tau, d_tau)
            for step, u in zip(_steps(interval, lengths, run.rates), starts, strict=True):
                grown = self._react(u, step.exposure)
                du = self._react_tangent(u, grown, du, step.exposure, d_exposure).mul_(step.survival[0])
                v, dv = _diffuse_tangent(diffusion, grown.mul_(step.survival[0]), du, change)
                v, dv = v.mul_(step.survival[1]), dv.mul_(step.survival[1])
                du = self._react_tangent(v, self._react(v, step.exposure), dv, step.exposure, d_exposure)
            if interval.observe:
                observations.append(du.clone())
            du = self._survive(interval, du)
        return tuple(observations)

    def adjoint(self, run: VoxelRun, duals: Sequence[torch.Tensor]) -> VoxelDerivative:
        """Return the derivative of `sum_i <duals[i], observations[i]>`, for each run of the batch ((B, n) duals)."""
        dual = torch.zeros_like(run.starts[0][0])
        remaining = list(duals)
        by_rates, by_duration = np.zeros((len(run.rates), 3)), np.zeros(len(run.rates))
        couplings = self._couplings(run.rates)
        for index in reversed(range(len(run.starts))):
            interval, lengths = run.grid.intervals[index], run.durations[index]
            dual = self._survive(interval, dual)
            if interval.observe:
                dual = dual + remaining.pop()
            tau = lengths / interval.steps
            diffusion = self._diffusion(couplings, run.rates, tau, run.stages[index])
            edges = torch.zeros_like(diffusion.operator.edges)
            share, growth = dual.new_zeros(len(run.rates)), dual.new_zeros(len(run.rates))
            steps = list(_steps(interval, lengths, run.rates))
            for step, u in zip(reversed(steps), reversed(run.starts[index]), strict=True):
                grown = self._react(u, step.exposure)
                v, stages = _diffuse_stages(diffusion, grown * step.survival[0])
                v = v.mul_(step.survival[1])
                dual, paired = self._react_adjoint(v, self._react(v, step.exposure), dual, step.exposure)
                growth += paired
                dual = _diffuse_adjoint(diffusion, stages, dual.mul_(step.survival[1]), edges, share)
                dual, paired = self._react_adjoint(u, grown, dual.mul_(step.survival[0]), step.exposure)
                growth += paired
            rates, step_length = _collect(diffusion, run.rates, tau, edges, share, growth)
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

    def _couplings(self, rates: Vector) -> _Couplings:
        like = self.stencil.white
        white, grey = (torch.as_tensor(rates[:, k], dtype=like.dtype, device=like.device) for k in (0, 1))
        slopes = self.stencil.slopes(white, grey)
        edges = white[:, None, None] * slopes[0] + grey[:, None, None] * slopes[1]
        return _Couplings(slopes, edges, _row_bound(self.stencil.strides, edges).cpu().numpy().astype(float))

    def _diffusion(self, by: _Couplings, rates: Vector, tau: Vector, least: int = 0) -> _Diffusion:
        """Return the diffusion step of length tau (B,)."""
        stencil = self.stencil
        spread = rates[:, 0] * tau / stencil.spacing**2
        polynomial = legendre(tau * by.bound, spread, len(stencil.shape), self.corrected, least)
        scale = polynomial.weight * tau
        edges = by.edges * _column(scale, by.edges)[:, None]
        operator = weights(stencil.strides, edges, 1.0, self.fused)
        return _Diffusion(polynomial, operator, by.slopes, scale)

    def _survive(self, interval: Interval, u: torch.Tensor) -> torch.Tensor:
        """Apply radiotherapy and resection at the end of an interval; linear and diagonal, so its own transpose."""
        if interval.survival != 1.0:
            u = interval.survival * u
        if interval.resection is not None:
            u = self.resections[interval.resection] * u
        return u

    def _react(self, u: torch.Tensor, exposure: Vector) -> torch.Tensor:
        return torch.stack([self.law.flow(row, float(e)) for row, e in zip(u, exposure, strict=True)])

    def _react_tangent(
        self, u: torch.Tensor, grown: torch.Tensor, du: torch.Tensor, exposure: Vector, d_exposure: Vector
    ) -> torch.Tensor:
        change = self._slope(u, exposure) * du
        if d_exposure.any():
            change.addcmul_(_column(d_exposure, du), self.law.rate(grown))
        return change

    def _react_adjoint(
        self, u: torch.Tensor, grown: torch.Tensor, dual: torch.Tensor, exposure: Vector
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the dual of u, and the derivative by the exposure of each run, (B,)."""
        paired = (dual * self.law.rate(grown)).sum(dim=-1)
        return self._slope(u, exposure) * dual, paired

    def _slope(self, u: torch.Tensor, exposure: Vector) -> torch.Tensor:
        return torch.stack([self.law.flow_slope(row, float(e)) for row, e in zip(u, exposure, strict=True)])


def _steps(interval: Interval, lengths: Vector, rates: Vector) -> Iterator[_Step]:
    """Yield the steps of an interval of lengths (B,)."""
    exposure = 0.5 * rates[:, 2] * lengths / interval.steps
    for number in range(interval.steps):
        first, second = (1.0, 1.0) if interval.kill is None else np.exp(-interval.kill[number])
        yield _Step(exposure, (float(first), float(second)))


def _column(values: Vector, like: torch.Tensor) -> torch.Tensor:
    """Return numbers (..., B) as factors of densities (..., B, n)."""
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)[..., None]


def _row_bound(strides: tuple[int, ...], edges: torch.Tensor) -> torch.Tensor:
    """Return Gershgorin's bound of the largest eigenvalue of the graph Laplacian with these edges, (b,)."""
    total = (edges.clamp(min=0.0) * 2.0).sum(dim=1)
    for kind, stride in enumerate(strides):
        total[:, stride:] += edges[:, kind, :-stride].clamp(min=0.0) * 2.0
    return total.amax(dim=1)


def _diffuse(by: _Diffusion, u: torch.Tensor) -> torch.Tensor:
    """Return the density after the diffusion step."""
    return _diffuse_stages(by, u, keep=False)[0]


def _diffuse_stages(by: _Diffusion, u: torch.Tensor, keep: bool = True) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the density after the diffusion step and Q_0..Q_s (only Q_s without `keep`)."""
    before, now = u.clone(), torch.zeros_like(u)
    accumulate(now, u, by.operator, by.polynomial.factors[0])
    stages = [u, now]
    for number, factor in enumerate(by.polynomial.factors[1:]):
        after = before.clone() if keep and number > 0 else before
        accumulate(after, now, by.operator, factor)
        before, now = now, after
        stages.append(now)
    share = _column(by.polynomial.share, u)
    result = torch.lerp(u, now / by.polynomial.scale, share)
    return result, stages if keep else [now]


def _change(
    by: _Diffusion, rates: Vector, d_rates: Vector, tau: Vector, d_tau: Vector
) -> tuple[Vector, Vector, Vector]:
    """Return the changes (R, B) of the couplings in units of E_w and E_g, and of ln b.

    The couplings are `w tau (D_w E_w + D_g E_g)`, and ln w moves with ln mu = ln(D_w tau / h^2).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        d_spread = np.where(rates[:, 0] > 0.0, d_rates[:, :, 0] / rates[:, 0], 0.0) + d_tau / tau
    bent = by.polynomial.bend * d_spread
    longer = d_tau / tau + bent
    white, grey = (by.scale * (d_rates[:, :, k] + rates[:, k] * longer) for k in (0, 1))
    return white, grey, -bent


def _diffuse_tangent(
    by: _Diffusion, u: torch.Tensor, du: torch.Tensor, change: tuple[Vector, Vector, Vector]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the density after the diffusion step from u (B, n) and its derivatives (R, B, n)."""
    _, stages = _diffuse_stages(by, u)
    strides = by.operator.strides
    pairs = zip(by.slopes, change[:2], strict=True)
    fused = by.operator.diagonal is None
    slopes = [(weights(strides, slope, 0.0, fused), _column(amount, du)) for slope, amount in pairs if amount.any()]
    before, now = du.clone(), torch.zeros_like(du)
    for number, factor in enumerate(by.polynomial.factors):
        target, source = (now, du) if number == 0 else (before, now)
        accumulate(target, source, by.operator, factor)
        for slope, amount in slopes:
            forcing = torch.zeros_like(u)
            accumulate(forcing, stages[number], slope, factor)
            target.addcmul_(amount, forcing)
        if number > 0:
            before, now = now, target
    share = _column(by.polynomial.share, u)
    last = stages[-1] / by.polynomial.scale
    result = torch.lerp(du, now / by.polynomial.scale, share)
    if change[2].any():
        result.addcmul_(_column(change[2] * by.polynomial.share, du), last - u)
    return torch.lerp(u, last, share), result


def _diffuse_adjoint(
    by: _Diffusion, stages: list[torch.Tensor], dual: torch.Tensor, edges: torch.Tensor, share: torch.Tensor
) -> torch.Tensor:
    """Return the dual of the start; add the derivatives by the couplings to `edges` and by b to `share`."""
    polynomial = by.polynomial
    share += (dual * (stages[-1] / polynomial.scale - stages[0])).sum(dim=-1)
    now = dual * _column(polynomial.share / polynomial.scale, dual)
    before = torch.zeros_like(dual)
    for number in reversed(range(polynomial.stages)):
        factor = polynomial.factors[number]
        edge_pairing(edges, now, stages[number], by.operator.strides, factor)
        accumulate(before, now, by.operator, factor)
        before, now = now, before
    # the first stage has no predecessor: what was passed on to it counts for nothing
    return now + dual * _column(1.0 - polynomial.share, dual)


def _collect(
    by: _Diffusion, rates: Vector, tau: Vector, edges: torch.Tensor, share: torch.Tensor, growth: torch.Tensor
) -> tuple[Vector, Vector]:
    """Return the derivatives by D_w, D_g and rho (B, 3) and by the step's length (B,): the transpose of `_change`."""
    white, grey = ((edges * slope).sum(dim=(1, 2)).cpu().numpy().astype(float) * by.scale for slope in by.slopes)
    total = rates[:, 0] * white + rates[:, 1] * grey
    bent = by.polynomial.bend * (total - by.polynomial.share * share.cpu().numpy().astype(float))
    by_exposure = growth.cpu().numpy().astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_white = white + np.where(rates[:, 0] > 0.0, bent / rates[:, 0], 0.0)
    by_rates = np.stack([by_white, grey, 0.5 * tau * by_exposure], axis=1)
    return by_rates, (total + bent) / tau + 0.5 * rates[:, 2] * by_exposure
