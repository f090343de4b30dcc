"""A fitted tumour on later days, and how far the uncertainty of its parameters spreads it.

Linearised: the density moves by J L e_k where the unknowns move by one posterior standard deviation along the k-th
independent direction (covariance C = L L'), so that sd u = |J L|, with the exact tangents of the discrete model. Or a
seeded ensemble of posterior samples. Intervals of volumes are symmetric in the radius of the ball of that volume: a
front advances by lengths. Only the parameters are uncertain here, not the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from oncology.errors import ConfigError
from oncology.imaging.metrics import MM3_PER_ML
from oncology.inverse.estimate import NORMAL_95
from oncology.inverse.shape import reshape_slope, reshaped
from oncology.inverse.volumes import boundary_level, local_volume
from oncology.model.cells import CellSpace
from oncology.model.engine import Engine, EngineRun
from oncology.model.fractions import volume_fraction
from oncology.model.tumour import TumourChange
from oncology.results.fitted import FittedTumour
from oncology.text import Progress, silent

__all__ = ["Band", "Forecast", "forecast_ensemble", "forecast_linearised", "linear_band"]

Vector = NDArray[np.float64]

_QUANTILES = (0.5, 0.025, 0.975)


@dataclass(frozen=True)
class Band:
    """Volume of a region over time with its 95 % interval.

    Attributes:
        value: (nt,) volume of the estimate, mL.
        low: (nt,) lower end, mL.
        high: (nt,) upper end, mL.
        median: (nt,) median, mL; the estimate's where intervals are linearised.
    """

    value: Vector
    low: Vector
    high: Vector
    median: Vector


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

    before: EngineRun | None
    after: EngineRun
    corrected: Vector
    observations: tuple[Vector, ...]
    frame_days: Vector
    frames: list[Vector]


def forecast_linearised(
    engine: Engine,
    tumour: FittedTumour,
    days: Sequence[float],
    shown: Sequence[float] = (),
    tell: Progress = silent,
) -> Forecast:
    """Run a fitted tumour and its tangents (collective).

    Args:
        engine: of the patient.
        tumour: what the fit found.
        days: days after onset, ascending; with those of the sessions, the time steps until then are those of the fit.
        shown: which of them get a standard deviation of the density.
        tell: called with what is going on and which fraction (0..1) is done.

    Raises:
        ConfigError: a day is not after onset.
        NumericalError: a diffusion solve does not converge.
    """
    space, x = engine.space, tumour.mean
    days = tuple(days)
    tell("estimate", 0.0)
    course = _course(engine, tumour, x, days, keep=True)
    tell(f"tangents along {len(x)} directions", 0.3)
    directions = tumour.deviations.T
    tangents = _tangents(engine, course, [tumour.unknowns.tangent(x, direction).tumour for direction in directions])
    deviations = {day: np.linalg.norm(tangents[days.index(day)], axis=0) for day in shown}
    bands = {}
    for region in tumour.thresholds:
        level, raised = boundary_level(tumour.unknowns, x, region, tumour.thresholds[region])
        days_seen = zip(course.observations, tangents, strict=True)
        found = [local_volume(space, density, moved, level, directions @ raised) for density, moved in days_seen]
        volumes, slopes = np.split(space.total(np.array([[volume, *along] for volume, along in found])), [1], axis=1)
        bands[region] = linear_band(volumes[:, 0], np.linalg.norm(slopes, axis=1))
    return Forecast(days, course.observations, deviations, bands, course.frame_days, tuple(course.frames))


def forecast_ensemble(
    engine: Engine,
    tumour: FittedTumour,
    days: Sequence[float],
    shown: Sequence[float],
    samples: int,
    seed: int,
    tell: Progress = silent,
) -> Forecast:
    """Run a fitted tumour and samples of its posterior (collective).

    Args:
        engine: of the patient.
        tumour: what the fit found.
        days: days from the first session or treatment on, ascending.
        shown: which of them get a standard deviation of the density.
        samples: how many, at least 2.
        seed: of the random numbers: the same samples on any number of ranks.
        tell: called with what is going on and which fraction (0..1) is done.

    Raises:
        ConfigError: fewer than two samples.
        NumericalError: a diffusion solve does not converge.
    """
    if samples < 2:
        raise ConfigError(f"{samples} samples have no standard deviation: give 2 or more, 64 say")
    days, random = tuple(days), np.random.default_rng(seed)
    course = _course(engine, tumour, tumour.mean, days, keep=False)
    drawn = {region: np.empty((samples, len(days))) for region in tumour.thresholds}
    sums = {day: np.zeros((2, len(engine.space.owned))) for day in shown}
    redrawn = 0
    for number in range(samples):
        tell(f"sample {number + 1} of {samples}", number / samples)
        x, again = _sample(tumour, random)
        redrawn += again
        observations = _course(engine, tumour, x, days, keep=False).observations
        for region in tumour.thresholds:
            drawn[region][number] = _volumes(
                engine.space, observations, boundary_level(tumour.unknowns, x, region, tumour.thresholds[region])[0]
            )
        for day, first, density in zip(days, course.observations, observations, strict=True):
            if day in sums:
                sums[day] += np.stack([density - first, (density - first) ** 2])
    bands = {}
    for region, values in drawn.items():
        estimate = _volumes(
            engine.space,
            course.observations,
            boundary_level(tumour.unknowns, tumour.mean, region, tumour.thresholds[region])[0],
        )
        median, low, high = np.quantile(values, _QUANTILES, axis=0)
        bands[region] = Band(estimate, low, high, median)
    deviations = {
        day: np.sqrt(np.maximum(second - first**2 / samples, 0.0) / (samples - 1))
        for day, (first, second) in sums.items()
    }
    return Forecast(days, course.observations, deviations, bands, course.frame_days, tuple(course.frames), redrawn)


def _course(engine: Engine, tumour: FittedTumour, x: Vector, days: tuple[float, ...], keep: bool) -> _Course:
    """Run the engine for unknowns x: as the fit does, with the days as observations."""
    here, shape = tumour.unknowns.tumour(x), tumour.shape
    frames: list[tuple[float, Vector]] = []

    def record(day: float, density: Vector) -> None:
        frames.append((day, density))

    points = engine.space.owned
    before: EngineRun | None = None
    observations: tuple[Vector, ...] = ()
    start = here.start(engine.space)
    if shape is not None:
        early = [day for day in days if day < shape.day]
        before = engine.run(here, engine.plan(here, [*early, shape.day]), keep, record)
        frames.pop()
        start = reshaped(before.densities[-1], shape.lattice.basis(points) @ shape.heights)
        here = replace(here, onset=shape.day, initial=start)
        observations, days = before.densities[:-1], days[len(early) :]
    after = engine.run(here, engine.plan(here, days), keep, record)
    observations = (*observations, *after.densities)
    return _Course(
        before, after, start, observations, np.array([day for day, _ in frames]), [density for _, density in frames]
    )


def _tangents(engine: Engine, course: _Course, changes: Sequence[TumourChange]) -> tuple[Vector, ...]:
    """Return the derivatives of the observations of a run along k changes of rates, seed and onset, (k, owned) each."""
    if course.before is None:
        return engine.tangent(course.after, changes)
    *early, last = engine.tangent(course.before, changes)
    corrected = reshape_slope(course.before.densities[-1], course.corrected) * last
    later = [
        replace(change, seed=(0.0,) * len(change.seed), onset=0.0, seed_radius=0.0, initial=initial)
        for change, initial in zip(changes, corrected, strict=True)
    ]
    return (*early, *engine.tangent(course.after, later))


def _sample(tumour: FittedTumour, random: np.random.Generator) -> tuple[Vector, int]:
    """Draw unknowns whose onset is before the correction of the shape; return how often one had to draw again."""
    latest = np.inf if tumour.shape is None else tumour.shape.day
    again = 0
    while True:  # ends soon: the estimate's own onset is earlier, and so is that of about half of the samples at least
        x = tumour.mean + tumour.deviations @ random.standard_normal(len(tumour.mean))
        if tumour.unknowns.tumour(x).onset < latest:
            return x, again
        again += 1


def _volumes(space: CellSpace, observations: Sequence[Vector], level: float) -> Vector:
    """Return the volumes (nt,) where densities exceed a level, mL."""
    seen = [volume_fraction(space.to_cells(density), level)[0] for density in observations]
    return space.total(np.array([space.volumes @ fraction for fraction in seen]) / MM3_PER_ML)


def linear_band(volume: Vector, sd: Vector) -> Band:
    """Return the 95 % interval that is symmetric in the radius: with V = c r^3, sd r / r = sd V / (3 V).

    Args:
        volume: (nt,) mm^3.
        sd: (nt,) their standard deviations, mm^3.

    Returns:
        The band, mL.
    """
    volume, sd = volume / MM3_PER_ML, sd / MM3_PER_ML
    relative = np.divide(sd, 3.0 * volume, out=np.zeros_like(volume), where=volume > 0.0)
    ends = (np.maximum(1.0 - NORMAL_95 * relative, 0.0), 1.0 + NORMAL_95 * relative)
    return Band(volume, volume * ends[0] ** 3, volume * ends[1] ** 3, volume)
