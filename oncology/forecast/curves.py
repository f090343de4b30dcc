"""Growth of a fitted tumour with intervals, from onset to some time after the last session: a part of `estimate.json`.

Finite elements only: other engines leave the entry empty, and the report then shows the trajectory without intervals.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from oncology.inverse.fit import CUT
from oncology.results.schema import Curve, Growth

if TYPE_CHECKING:
    from oncology.forecast.forecast import Band
    from oncology.inverse.levels import Level
    from oncology.results.fitted import FittedTumour

__all__ = ["HORIZON", "growth_content", "never_shrinking"]

HORIZON = 90.0  # day, beyond the last session
_POINTS = 24


def growth_content(level: Level, tumour: FittedTumour, sessions: tuple[float, ...]) -> dict[str, Any]:
    """Return the entry `growth` of `estimate.json` (collective).

    Days on which the tumour reaches the edge of the meshed region are left out.

    Args:
        level: fine level of the fit.
        tumour: what the fit found.
        sessions: their days.
    """
    from oncology.fem.series import frame_days
    from oncology.forecast.forecast import forecast_linearised

    onset, last = tumour.estimate.onset, sessions[-1]
    days = frame_days(onset, [*sessions, last + HORIZON], _POINTS)
    if tumour.shape is not None:
        days = tuple(day for day in days if day != tumour.shape.day)
    forecast = forecast_linearised(level.engine, tumour, days)
    limit = CUT * min(tumour.thresholds.values())
    cut = [level.cut_density(density) for density in forecast.densities]
    kept = [k for k, day in enumerate(days) if day <= last or cut[k] <= limit]
    bands = forecast.volumes
    if not tumour.treatments:
        bands = {region: never_shrinking(band) for region, band in bands.items()}
    shown = np.array([days[k] for k in kept])
    curves = {region: Curve(shown, band.value[kept], band.low[kept], band.high[kept]) for region, band in bands.items()}
    return {**Growth.of(curves).model_dump(), "method": "linearised"}


def never_shrinking(band: Band) -> Band:
    """Return the band of an untreated tumour: its volume on a day is at most that on any later day.

    Linearised intervals are far too wide where a region is about to appear; what is known of later days bounds them.
    """
    capped = np.minimum.accumulate(band.high[::-1])[::-1]
    return replace(band, high=np.maximum(capped, band.value))
