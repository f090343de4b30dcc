"""A growing tumour day by day: which days are kept, and the density on each, without keeping the steps between.

The time grid is run in pieces that end on kept days, with the arithmetic of a single run; every frame is handed over
as soon as it is there, so that a caller can gather it, write it and show how far the run is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from oncology.fem.rates import Rates
from oncology.fem.tumour_model import TumourModel
from oncology.model.fractions import volume_fraction
from oncology.model.timegrid import Interval, TimeGrid

__all__ = ["Frame", "frame_days", "grow", "volumes_above"]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """The tumour on one day; on the day of a treatment, before it.

    Attributes:
        day: day.
        density: (owned,) density of the owned vertices.
        mass: integral of the density, mm^3.
        lowest: smallest density since the frame before, over all ranks.
        highest: largest density since the frame before, over all ranks.
        steps: time steps since the frame before.
    """

    day: float
    density: Vector
    mass: float
    lowest: float
    highest: float
    steps: int


def frame_days(onset: float, days: Sequence[float], count: int) -> tuple[float, ...]:
    """Return the wanted days and evenly spaced ones between them, `count` or a few more in all, ascending.

    Args:
        onset: first day; not among the returned ones.
        days: wanted days after onset, in any order.
        count: how many frames there should be at least.

    Example:
        >>> frame_days(0.0, [20.0, 30.0], 3)
        (10.0, 20.0, 30.0)
    """
    ends = sorted(set(days))
    spacing = (ends[-1] - onset) / count
    result: list[float] = []
    for start, end in zip([onset, *ends[:-1]], ends, strict=True):
        parts = max(1, math.ceil((end - start) / spacing * (1.0 - 1e-9)))
        result += [start + (end - start) * k / parts for k in range(1, parts)] + [end]
    return tuple(result)


def grow(model: TumourModel, rates: Rates, initial: Vector, grid: TimeGrid) -> Iterator[Frame]:
    """Yield the initial density and that of every observation day of a time grid (collective).

    Args:
        model: discrete growth model.
        rates: growth and diffusion.
        initial: density at onset, (owned,).
        grid: intervals and steps.

    Raises:
        NumericalError: if a diffusion solve does not converge.
    """
    discretisation = model.discretisation
    lowest, highest = discretisation.extremes(initial.min(initial=np.inf), initial.max(initial=-np.inf))
    yield Frame(grid.intervals[0].start, initial, discretisation.integrate(initial), lowest, highest, 0)
    u = initial
    for piece in _pieces(grid.intervals):
        run = model.run(rates, u, replace(grid, intervals=piece), keep=False)
        observed = [number for number, interval in enumerate(piece) if interval.observe]
        for start, number, u in zip([-1, *observed[:-1]], observed, run.observations, strict=True):
            steps = sum(interval.steps for interval in piece[start + 1 : number + 1])
            day = piece[number].start + piece[number].duration
            yield Frame(day, u, discretisation.integrate(u), run.lowest, run.highest, steps)


def volumes_above(model: TumourModel, density: Vector, thresholds: Sequence[float]) -> Vector:
    """Return the volumes where a density (owned,) exceeds each threshold, mm^3, exact for P1 functions (collective)."""
    discretisation = model.discretisation
    corners = discretisation.to_cells(density)
    volumes = [discretisation.volumes @ volume_fraction(corners, threshold)[0] for threshold in thresholds]
    return np.asarray(discretisation.total(np.array(volumes)))


def _pieces(intervals: Sequence[Interval]) -> Iterator[tuple[Interval, ...]]:
    """Cut after observation days without treatment: there the state after the interval is the observation."""
    piece: list[Interval] = []
    for interval in intervals:
        piece.append(interval)
        if interval.observe and interval.survival == 1.0 and interval.resection is None:
            yield tuple(piece)
            piece = []
    if piece:
        yield tuple(piece)
