"""Growth of a fitted tumour with intervals, from onset to some time after the last session: a part of `estimate.json`.

Finite elements only: other engines leave the entry empty, and the report then shows the trajectory without intervals.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from oncology.inverse.fit import CUT
from oncology.inverse.volumes import VolumeCourse, VolumeWatch, boundary_level
from oncology.model.engine import WatchedEngine
from oncology.results.schema import Curve, Growth

if TYPE_CHECKING:
    from oncology.forecast.forecast import Band
    from oncology.inverse.levels import Level
    from oncology.results.fitted import FittedTumour

__all__ = ["HORIZON", "growth_content", "never_shrinking"]

Vector = NDArray[np.float64]

HORIZON = 90.0  # day, beyond the last session
_POINTS = 24


def growth_content(
    level: Level, tumour: FittedTumour, sessions: tuple[float, ...], known: VolumeCourse | None = None
) -> dict[str, Any]:
    """Return the entry `growth` of `estimate.json` (collective).

    Days on which the tumour reaches the edge of the meshed region are left out.

    Args:
        level: fine level of the fit.
        tumour: what the fit found.
        sessions: their days.
        known: volumes until the last session with their derivatives, as the fit's last linearisation left them; the
            tumour then only grows on from there. Treated tumours and corrected shapes grow from onset again.
    """
    if known is None or tumour.treatments or tumour.shape is not None or not isinstance(level.engine, WatchedEngine):
        days, cuts, bands = _from_onset(level, tumour, sessions)
    else:
        days, cuts, bands = _continued(level, tumour, known)
    last, limit = sessions[-1], CUT * min(tumour.thresholds.values())
    kept = [k for k, day in enumerate(days) if day <= last or cuts[k] <= limit]
    if not tumour.treatments:
        bands = {region: never_shrinking(band) for region, band in bands.items()}
    shown = days[kept]
    curves = {region: Curve(shown, band.value[kept], band.low[kept], band.high[kept]) for region, band in bands.items()}
    return {**Growth.of(curves).model_dump(), "method": "linearised"}


def _from_onset(
    level: Level, tumour: FittedTumour, sessions: tuple[float, ...]
) -> tuple[Vector, list[float], dict[str, Band]]:
    """Return days, density at the cut on each, and the bands, by a run and its tangents."""
    from oncology.fem.series import frame_days
    from oncology.forecast.forecast import forecast_linearised

    days = frame_days(tumour.estimate.onset, [*sessions, sessions[-1] + HORIZON], _POINTS)
    if tumour.shape is not None:
        days = tuple(day for day in days if day != tumour.shape.day)
    forecast = forecast_linearised(level.engine, tumour, days)
    return np.array(days), [level.cut_density(density) for density in forecast.densities], dict(forecast.volumes)


def _continued(level: Level, tumour: FittedTumour, known: VolumeCourse) -> tuple[Vector, list[float], dict[str, Band]]:
    """Return the same where the growth until the last session is known, by a run and its tangents from there on."""
    from oncology.forecast.forecast import linear_band

    engine, x, last = level.engine, tumour.mean, float(known.days[-1])
    assert isinstance(engine, WatchedEngine)
    start = replace(tumour.estimate, onset=last, initial=known.density)
    changes = [
        replace(tumour.unknowns.tangent(x, unit).tumour, onset=0.0, initial=moved)
        for unit, moved in zip(np.eye(len(x)), known.moved, strict=True)
    ]
    levels = {
        region: boundary_level(tumour.unknowns, x, region, threshold) for region, threshold in tumour.thresholds.items()
    }
    watch, cuts = VolumeWatch(level.space, levels), []

    def record(day: float, density: Vector, moved: Vector) -> None:
        watch(day, density, moved)
        cuts.append(level.cut_density(density))

    engine.watched_tangent(level.engine.run(start, level.engine.plan(start, [last + HORIZON])), changes, record)
    later = watch.course()
    assert later is not None
    before = slice(1, len(known.days) - 1)  # without onset, and without the last session, with which the rest begins
    bands = {}
    for region in levels:
        volume = np.concatenate([known.volumes[region][before], later.volumes[region]])
        slopes = np.concatenate([known.slopes[region][before], later.slopes[region]])
        bands[region] = linear_band(volume, np.sqrt(np.einsum("ti,ij,tj->t", slopes, tumour.covariance, slopes)))
    days = np.round(np.concatenate([known.days[before], later.days]), 6)  # sums of steps end on sessions again
    return days, [0.0] * (len(days) - len(cuts)) + cuts, bands


def never_shrinking(band: Band) -> Band:
    """Return the band of an untreated tumour: its volume on a day is at most that on any later day.

    Linearised intervals are far too wide where a region is about to appear; what is known of later days bounds them.
    """
    capped = np.minimum.accumulate(band.high[::-1])[::-1]
    return replace(band, high=np.maximum(capped, band.value))
