"""A fitted tumour on later days, and how far the uncertainty of its parameters spreads it.

Linearised: the density moves by J L e_k where the unknowns move by one posterior standard deviation along the k-th
independent direction (covariance C = L L'), so that sd u = |J L|, with the exact tangents of the discrete model. Or a
seeded ensemble of posterior samples. Intervals of volumes are symmetric in the radius of the ball of that volume: a
front advances by lengths. Only the parameters are uncertain here, not the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncology.errors import ConfigError
from oncology.fem.model import ModelDirection, Rates, Run, TumourModel
from oncology.inverse.misfit import volume_fraction
from oncology.inverse.shape import reshape_slope, reshaped
from oncology.model.timegrid import plan_time_grid, step_limit
from oncology.results.fitted import FittedTumour

__all__ = ["Band", "Forecast", "forecast_ensemble", "forecast_linearised"]

Vector = NDArray[np.float64]

_NORMAL_95 = 1.959964
_QUANTILES = (0.025, 0.975)
MM3_PER_ML = 1000.0


@dataclass(frozen=True)
class Band:
    """Volume of a region over time with its 95 % interval.

    Attributes:
        value: (nt,) volume of the estimate, mL.
        low: (nt,) lower end, mL.
        high: (nt,) upper end, mL.
    """

    value: Vector
    low: Vector
    high: Vector


@dataclass(frozen=True)
class Forecast:
    """A fitted tumour on given days.

    Attributes:
        days: the days, ascending.
        densities: density on each day, (owned,), on the day of a treatment before it.
        deviations: standard deviation of the density, (owned,), by day, for the days it was asked for.
        volumes: volume of "whole" and "core" on every day.
        frame_days: day of every step since onset.
        frames: density after every step since onset, (owned,) each.
        redrawn: samples that were drawn again, since their onset was not before the correction of the shape.
    """

    days: tuple[float, ...]
    densities: tuple[Vector, ...]
    deviations: dict[float, Vector]
    volumes: dict[str, Band]
    frame_days: Vector
    frames: tuple[Vector, ...]
    redrawn: int = 0


@dataclass(frozen=True)
class _Course:
    """One run from onset to the last day, with the correction of the shape between its two parts."""

    before: Run | None
    after: Run
    corrected: Vector
    observations: tuple[Vector, ...]
    frame_days: Vector
    frames: list[Vector]


def forecast_linearised(
    model: TumourModel,
    tumour: FittedTumour,
    days: Sequence[float],
    shown: Sequence[float] = (),
    tell: Callable[[str, float], None] = lambda text, share: None,
) -> Forecast:
    """Run a fitted tumour and its tangents (collective).

    Args:
        model: discrete growth model of the patient.
        tumour: what the fit found.
        days: days after onset, ascending; with those of the sessions, the time steps until then are those of the fit.
        shown: which of them get a standard deviation of the density.
        tell: called with what is going on and which share (0..1) is done.

    Raises:
        ConfigError: a day is not after onset.
        NumericalError: a diffusion solve does not converge.
    """
    space, seed, x = model.discretisation, tumour.seed, tumour.mean
    days = tuple(days)
    tell("estimate", 0.0)
    course = _course(model, tumour, x, days, keep=True)
    levels = {region: _level(tumour, x, region) for region in tumour.thresholds}
    volumes = {region: _volumes(model, course.observations, level) for region, (level, _) in levels.items()}
    points = space.points[: space.owned]
    slope = seed.slope(points, tumour.values[3:6])
    physical = tumour.parametrisation.jacobian(x)
    squares = {region: np.zeros(len(days)) for region in levels}
    variances = {day: np.zeros(space.owned) for day in shown}
    for number, direction in enumerate(tumour.deviations.T):
        tell(f"tangent {number + 1} of {len(x)}", (1.0 + number) / (1.0 + len(x)))
        moved = physical @ direction
        change = ModelDirection(Rates(*map(float, moved[:3])), slope @ moved[3:6], -float(moved[6]))
        tangents = _tangents(model, tumour, course, change)
        for day, tangent in zip(days, tangents, strict=True):
            if day in variances:
                variances[day] += tangent**2
        for region, (_, raised) in levels.items():
            squares[region] += _volume_slopes(model, volumes[region], tangents, raised @ direction) ** 2
    bands = {region: _linear_band(v.volume, np.sqrt(squares[region])) for region, v in volumes.items()}
    deviations = {day: np.sqrt(variance) for day, variance in variances.items()}
    return Forecast(days, course.observations, deviations, bands, course.frame_days, tuple(course.frames))


def forecast_ensemble(
    model: TumourModel,
    tumour: FittedTumour,
    days: Sequence[float],
    shown: Sequence[float],
    samples: int,
    seed: int,
    tell: Callable[[str, float], None] = lambda text, share: None,
) -> Forecast:
    """Run a fitted tumour and samples of its posterior (collective).

    Args:
        model: discrete growth model of the patient.
        tumour: what the fit found.
        days: days from the first session or treatment on, ascending.
        shown: which of them get a standard deviation of the density.
        samples: how many, at least 2.
        seed: of the random numbers: the same samples on any number of ranks.
        tell: called with what is going on and which share (0..1) is done.

    Raises:
        ConfigError: fewer than two samples.
        NumericalError: a diffusion solve does not converge.
    """
    if samples < 2:
        raise ConfigError(f"{samples} samples have no standard deviation: give 2 or more, 64 say")
    days, random = tuple(days), np.random.default_rng(seed)
    course = _course(model, tumour, tumour.mean, days, keep=False)
    drawn = {region: np.empty((samples, len(days))) for region in tumour.thresholds}
    sums = {day: np.zeros((2, model.discretisation.owned)) for day in shown}
    redrawn = 0
    for number in range(samples):
        tell(f"sample {number + 1} of {samples}", number / samples)
        x, again = _sample(tumour, random)
        redrawn += again
        observations = _course(model, tumour, x, days, keep=False).observations
        for region in tumour.thresholds:
            drawn[region][number] = _volumes(model, observations, _level(tumour, x, region)[0]).volume
        for day, first, density in zip(days, course.observations, observations, strict=True):
            if day in sums:
                sums[day] += np.stack([density - first, (density - first) ** 2])
    bands = {}
    for region, values in drawn.items():
        estimate = _volumes(model, course.observations, _level(tumour, tumour.mean, region)[0]).volume
        low, high = np.quantile(values, _QUANTILES, axis=0)
        bands[region] = Band(estimate, low, high)
    deviations = {
        day: np.sqrt(np.maximum(second - first**2 / samples, 0.0) / (samples - 1))
        for day, (first, second) in sums.items()
    }
    return Forecast(days, course.observations, deviations, bands, course.frame_days, tuple(course.frames), redrawn)


def _course(model: TumourModel, tumour: FittedTumour, x: Vector, days: tuple[float, ...], keep: bool) -> _Course:
    """Run the model for unknowns x: as the fit does, with the days as observations."""
    values = tumour.parametrisation.physical(x)
    rates, onset, shape = Rates(*map(float, values[:3])), float(values[6]), tumour.shape
    longest = step_limit(rates.proliferation, max(rates.diffusion_white, rates.diffusion_grey), tumour.seed.width)
    points = model.discretisation.points[: model.discretisation.owned]
    start = tumour.seed.density(points, values[3:6])
    frames, frame_days = [start], np.empty(0)
    before: Run | None = None
    observations: tuple[Vector, ...] = ()
    if shape is not None:
        early = [day for day in days if day < shape.day]
        grid = plan_time_grid(onset, [*early, shape.day], (), longest)
        before = model.run(rates, start, grid, keep, frames)
        start, onset = reshaped(frames[-1], shape.lattice.basis(points) @ shape.heights), shape.day
        observations, frame_days, frames = before.observations[:-1], grid.days[:-1], [*frames[:-1], start]
        days = days[len(early) :]
    grid = plan_time_grid(onset, days, tumour.treatments, longest)
    after = model.run(rates, start, grid, keep, frames)
    observations = (*observations, *after.observations)
    return _Course(before, after, start, observations, np.concatenate([frame_days, grid.days]), frames)


def _tangents(model: TumourModel, tumour: FittedTumour, course: _Course, change: ModelDirection) -> tuple[Vector, ...]:
    """Return the derivatives of the observations of a run along a direction of rates, seed and onset."""
    if course.before is None:
        return model.tangent(course.after, change)
    early = model.tangent(course.before, change)
    corrected = reshape_slope(course.before.observations[-1], course.corrected) * early[-1]
    return (*early[:-1], *model.tangent(course.after, ModelDirection(change.rates, corrected)))


def _sample(tumour: FittedTumour, random: np.random.Generator) -> tuple[Vector, int]:
    """Draw unknowns whose onset is before the correction of the shape; return how often one had to draw again."""
    latest = np.inf if tumour.shape is None else tumour.shape.day
    again = 0
    while True:  # ends soon: the estimate's own onset is earlier, and so is that of about half of the samples at least
        x = tumour.mean + tumour.deviations @ random.standard_normal(len(tumour.mean))
        if tumour.parametrisation.physical(x)[6] < latest:
            return x, again
        again += 1


def _level(tumour: FittedTumour, x: Vector, region: str) -> tuple[float, Vector]:
    """Return the density at the rim of a region and its derivative by x."""
    level, slope = tumour.parametrisation.level(x, region, tumour.thresholds[region])
    raised, column = np.zeros(len(x)), tumour.parametrisation.level_column(region)
    if column is not None:
        raised[column] = slope
    return level, raised


@dataclass(frozen=True)
class _Volumes:
    """Volumes (nt,), mL, and on every day their slopes by the densities at the vertices of the local cells."""

    volume: Vector
    slopes: tuple[Vector, ...]


def _volumes(model: TumourModel, observations: Sequence[Vector], level: float) -> _Volumes:
    space = model.discretisation
    seen = [volume_fraction(space.to_cells(density), level) for density in observations]
    volumes = np.array([space.volumes @ fraction for fraction, _ in seen]) / MM3_PER_ML
    return _Volumes(space.total(volumes), tuple(slopes for _, slopes in seen))


def _volume_slopes(model: TumourModel, volumes: _Volumes, tangents: Sequence[Vector], raised: float) -> Vector:
    """Return the derivatives of the volumes (nt,), mL, where densities move by tangents and the rim by `raised`."""
    space = model.discretisation
    local = [
        space.volumes @ (slopes * (space.to_cells(tangent) - raised)).sum(axis=1)
        for slopes, tangent in zip(volumes.slopes, tangents, strict=True)
    ]
    return np.asarray(space.total(np.array(local) / MM3_PER_ML))


def _linear_band(volume: Vector, sd: Vector) -> Band:
    """Return the interval that is symmetric in the radius: with V = c r^3, sd r / r = sd V / (3 V)."""
    share = np.divide(sd, 3.0 * volume, out=np.zeros_like(volume), where=volume > 0.0)
    ends = (np.maximum(1.0 - _NORMAL_95 * share, 0.0), 1.0 + _NORMAL_95 * share)
    return Band(volume, volume * ends[0] ** 3, volume * ends[1] ** 3)
