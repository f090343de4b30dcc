"""Time grid of a run: intervals between onset, treatment events and observation days, each cut into equal steps.

Treatment events lie exactly on interval ends, so a step never crosses one; only the first interval changes its length
when the onset moves, and all later ones are fixed by the calendar. Within an interval the number of steps is fixed,
so a run is a smooth function of onset.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from oncology.errors import ConfigError
from oncology.model.treatment import Chemotherapy, Radiotherapy, Resection, Treatment

__all__ = ["Interval", "TimeGrid", "plan_time_grid", "step_limit"]

# Largest growth exposure rho tau of a step, and largest D tau over the seed's variance, for errors well below those of
# a 2 mm mesh (measured on the sphere of `oncology verify`).
_EXPOSURE = 0.25
_SPREAD = 0.4
MOST_STEPS = 50_000  # of a run: more are a typing error in a day


@dataclass(frozen=True)
class Interval:
    """Time between two events.

    Attributes:
        start: first day.
        duration: length, day.
        steps: number of equal steps.
        kill: integral of the chemotherapy kill rate over each half step, (steps, 2), dimensionless.
        observe: the state at the end is an observation.
        survival: fraction of cells that survives the radiotherapy at the end (after observing), 0..1.
        resection: index of the resection at the end (after observing), or None.
    """

    start: float
    duration: float
    steps: int
    kill: np.ndarray | None = None
    observe: bool = False
    survival: float = 1.0
    resection: int | None = None

    @property
    def step(self) -> float:
        """Step length, day."""
        return self.duration / self.steps


@dataclass(frozen=True)
class TimeGrid:
    """Intervals from onset to the last observation; `notes` tell in words what was changed against what was asked."""

    intervals: tuple[Interval, ...]
    notes: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """Number of steps in all."""
        return sum(interval.steps for interval in self.intervals)

    @property
    def days(self) -> np.ndarray:
        """Day of the start and of every step's end, (steps + 1,)."""
        pieces = [np.array([self.intervals[0].start])]
        pieces += [i.start + i.step * np.arange(1, i.steps + 1) for i in self.intervals]
        return np.concatenate(pieces)

    def from_onset(self, onset: float) -> TimeGrid:
        """Return the grid with another onset day: the same number of steps in a longer or shorter first interval.

        Raises:
            ConfigError: if the onset is not before the end of the first interval.
        """
        first = self.intervals[0]
        end = first.start + first.duration
        if not onset < end:
            raise ConfigError(f"onset on day {onset:g} is not before the first session or treatment on day {end:g}")
        moved = replace(first, start=onset, duration=end - onset)
        return replace(self, intervals=(moved, *self.intervals[1:]))

    def coarser(self) -> TimeGrid:
        """Return the grid with half as many steps wherever no drug acts, for what needs no accuracy.

        Example:
            >>> plan_time_grid(0.0, [30.0], [], 2.0).coarser().steps
            8
        """
        halved = [i if i.kill is not None else replace(i, steps=(i.steps + 1) // 2) for i in self.intervals]
        return replace(self, intervals=tuple(halved))


def step_limit(proliferation: float, diffusion: float, seed_width: float) -> float:
    """Return the longest step that keeps the splitting accurate, day.

    Args:
        proliferation: rho, 1/day.
        diffusion: the larger diffusivity, mm^2/day.
        seed_width: standard deviation of the seed, mm.
    """
    by_growth = _EXPOSURE / proliferation if proliferation > 0.0 else math.inf
    by_spread = _SPREAD * seed_width**2 / diffusion if diffusion > 0.0 else math.inf
    return min(by_growth, by_spread)


def plan_time_grid(
    onset: float,
    observations: Sequence[float],
    treatments: Sequence[Treatment],
    longest_step: float,
    asked_step: float | None = None,
) -> TimeGrid:
    """Cut the time from onset to the last observation into intervals and steps.

    Args:
        onset: day of the seed.
        observations: observation days, ascending, after onset.
        treatments: treatment events, after onset; those after the last observation have no effect.
        longest_step: longest accurate step (`step_limit`), day.
        asked_step: step the user asked for, day; steps longer than `longest_step` are cut and a note says so.

    Raises:
        ConfigError: if an observation or a treatment is not after onset, the asked step is not positive, or there are
            more than 50000 steps.
    """
    if asked_step is not None and not asked_step > 0.0:
        raise ConfigError(f"time step {asked_step:g} day is not positive: give a step of, say, 1 day")
    if not observations or not onset < min(observations):
        raise ConfigError(f"onset on day {onset:g} is not before the first observation in {list(observations)}")
    early = [t.day for t in treatments if not t.day > onset]
    if early:
        raise ConfigError(
            f"treatment on day {min(early):g} is not after the onset on day {onset:g}: give an earlier onset"
        )
    if not math.isfinite(longest_step):
        longest_step = max(observations) - onset
    notes: tuple[str, ...] = ()
    step = longest_step
    if asked_step is not None:
        step = min(asked_step, longest_step)
        if asked_step > longest_step * (1.0 + 1e-12):
            notes = (
                f"steps of {asked_step:g} day would be inaccurate for this growth and diffusion: "
                f"cut to at most {longest_step:.3g} day",
            )
    last = max(observations)
    survivals, resections = _events(treatments, last)
    chemotherapy = [t for t in treatments if isinstance(t, Chemotherapy) and t.day < last]
    days = sorted({float(day) for day in (*observations, *survivals, *resections, *(t.day for t in chemotherapy))})
    if not (last - onset) / step <= MOST_STEPS:
        raise ConfigError(
            f"{last - onset:.3g} days from onset on day {onset:.6g} need {(last - onset) / step:.3g} time steps of "
            f"{step:.3g} day, more than {MOST_STEPS}: check the days in case.toml, or give longer steps"
        )
    intervals = []
    for start, end in zip([onset, *days[:-1]], days, strict=True):
        steps = max(1, math.ceil((end - start) / step * (1.0 - 1e-9)))
        intervals.append(
            Interval(
                start=start,
                duration=end - start,
                steps=steps,
                kill=_kill(chemotherapy, start, end, steps),
                observe=end in observations,
                survival=survivals.get(end, 1.0),
                resection=resections.get(end),
            )
        )
    return TimeGrid(tuple(intervals), notes)


def _events(treatments: Sequence[Treatment], last: float) -> tuple[dict[float, float], dict[float, int]]:
    """Return surviving fractions by day and indices of resections by day, before the last observation."""
    survivals: dict[float, float] = {}
    resections: dict[float, int] = {}
    for number, treatment in enumerate(treatments):
        if isinstance(treatment, Radiotherapy):
            for day in treatment.days:
                if day < last:
                    survivals[day] = survivals.get(day, 1.0) * treatment.survival
        elif isinstance(treatment, Resection) and treatment.day < last:
            resections[treatment.day] = number
    return survivals, resections


def _kill(chemotherapy: Sequence[Chemotherapy], start: float, end: float, steps: int) -> np.ndarray | None:
    """Return the kill exposure of each half step (steps, 2), or None where no drug acts."""
    acting = [drug for drug in chemotherapy if drug.day < end]
    if not acting:
        return None
    halves = np.linspace(start, end, 2 * steps + 1)
    total = [sum(drug.exposure(a, b) for drug in acting) for a, b in itertools.pairwise(halves)]
    return np.array(total).reshape(steps, 2)
