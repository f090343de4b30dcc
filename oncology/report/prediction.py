"""The page of a prediction, `prediction.html`: volumes with intervals, pictures of later days, targets and coverage.

Like the report of a fit: one file without network or script, made of what `oncology predict` leaves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from oncology import __version__
from oncology.imaging import Volume
from oncology.imaging.describe import treatment
from oncology.inverse.estimate import NORMAL_95
from oncology.report import style
from oncology.report.curves import growth_curves, growth_figure
from oncology.report.page import fill, write_page
from oncology.report.pictures import Picture
from oncology.report.settings import flat
from oncology.report.slices import Fill, Line, background, field_of_view, planes_figure, scan_fills
from oncology.results.files import Results
from oncology.results.prediction import PredictionResults
from oncology.results.schema import REGIONS, Curve, Growth, PredictionRecord, plain_content
from oncology.text import number, plain, span, whole_day

__all__ = ["boundary_band", "joined_curves", "write_prediction_page"]

MOST_PICTURES = 4
SECTIONS = (
    ("volumes", "Predicted volumes"),
    ("density", "Predicted density"),
    ("targets", "Radiotherapy targets"),
    ("settings", "Settings and versions"),
)
TARGETS = (style.BLACK, style.GREEN)  # around the core, iso-density
DEVIATION = style.PURPLE


def write_prediction_page(results: Results, prediction: PredictionResults, path: Path) -> Path:
    """Write the page of a prediction, whole or not at all, and return its path.

    Args:
        results: the fit, with its case.
        prediction: what was predicted from it.
        path: of the page.

    Raises:
        OutputError: the page cannot be written.
    """
    record, case = prediction.record, results.case
    last = record.last_session.day
    assert case is not None
    curves = joined_curves(results, record.volumes)
    page = {
        "sections": SECTIONS,
        "estimate": results.estimate,
        "content": plain_content(record),
        "version": __version__,
        "treatments": [treatment(given) for given in case.treatments if given.day >= last],
        "rows": list(_rows(record)),
        "growth": Picture(_growth_words(record), style.vector(growth_figure(results, curves, last))),
        "pictures": list(_pictures(results, prediction)),
        "plans": Picture(_target_words(record), style.pixels(_plans(results, prediction))),
        "targets": list(_targets(record.targets, last)),
        "coverage": list(_coverage(record.coverage)),
        "settings": list(flat({**prediction.config["settings"], "run": record.run})),
        "shown": MOST_PICTURES,
    }
    write_page(path, fill("prediction.html", page))
    return path


def _growth_words(record: PredictionRecord) -> str:
    day, curve = record.days[-1], record.volumes.curve("whole")
    k = int(np.abs(curve.days - day).argmin())
    return (
        f"Curves of volume and radius over time: on day {whole_day(day)} the whole tumour is predicted to have "
        f"{number(curve.value[k])} mL, 95 % interval {span(curve.low[k], curve.high[k])}."
    )


def _target_words(record: PredictionRecord) -> str:
    parts = [f"{name} with {number(float(row['volume_ml']))} mL" for name, row in record.targets.items()]
    return f"Outlines of targets over the last scan in three planes: {'; '.join(parts)}."


def joined_curves(results: Results, later: Growth) -> dict[str, Curve]:
    """Return the growth of the fit until the first session, then that of the prediction."""
    joined = {}
    for region, before in growth_curves(results).items():
        after = later.curve(region)
        kept = before.days < after.days[0]
        joined[region] = Curve(
            *(
                np.concatenate([getattr(before, part)[kept], getattr(after, part)])
                for part in ("days", "value", "low", "high")
            )
        )
    return joined


def _rows(record: PredictionRecord) -> Iterator[tuple[str, ...]]:
    """Day, days after the last session, and volumes with their intervals."""
    last = record.last_session.day
    curves = [record.volumes.curve(region) for region in REGIONS]
    for k, day in enumerate(record.volumes.days):
        if day in record.days or day == last:
            cells = [(number(c.value[k]), span(c.low[k], c.high[k])) for c in curves]
            yield whole_day(day), whole_day(day - last), *cells[0], *cells[1]


def _pictures(results: Results, prediction: PredictionResults) -> Iterator[tuple[str, Picture]]:
    """Density lines and the 95 % band of the tumour's boundary over the last scan, for the first days."""
    case, last = results.case, prediction.record.last_session.day
    assert case is not None
    centre, reach = field_of_view(results)
    days = [day for day in prediction.record.days if day > last] or list(prediction.record.days)
    for day in days[:MOST_PICTURES]:
        density = prediction.densities[day]
        lines = [
            Line(density, results.threshold[r], style.MODEL[r], f"predicted density {results.threshold[r]:g}")
            for r in REGIONS
        ]
        band = boundary_band(density, prediction.deviations[day], results.threshold["whole"])
        fills = [*scan_fills(case.sessions[-1]), Fill(band, DEVIATION, "95 % interval of the boundary")]
        drawing = planes_figure(partial(background, case, density), fills, lines, centre, reach)
        title = f"day {whole_day(day)}, {whole_day(day - last)} days after the last session"
        words = f"Predicted boundaries of core and whole tumour on {title}, over the last scan, with their 95 % band."
        yield title, Picture(words, style.pixels(drawing))


def boundary_band(density: Volume, deviation: Volume, threshold: float) -> Volume:
    """Return where the 95 % interval of the density holds a threshold: mask of voxels, bool.

    Args:
        density: 0..1.
        deviation: its standard deviation, on the same grid.
        threshold: density at the boundary, 0..1.
    """
    return density.with_data(np.abs(density.data - threshold) < NORMAL_95 * deviation.data)


def _plans(results: Results, prediction: PredictionResults) -> Figure:
    """Both targets over the last scan, and the recurrence where there is one."""
    case, targets = results.case, prediction.targets
    assert case is not None
    names = list(targets)
    shown = (names[0], names[-1])
    labels = ("around the core", "equal volume, by density")
    lines = [
        Line(targets[name].with_data(targets[name].data.astype(np.float32)), 0.5, colour, label)
        for name, colour, label in zip(shown, TARGETS, labels, strict=True)
    ]
    fills = scan_fills(case.sessions[-1])
    for recurrence in prediction.recurrences:
        fills.append(Fill(recurrence.parts["all"], DEVIATION, f"recurrence, {recurrence.name}"))
    centre, reach = field_of_view(results)
    edge = max(float(np.abs(mask.world(np.argwhere(mask.data)) - centre).max()) for mask in targets.values())
    density = prediction.densities[prediction.record.last_session.day]
    return planes_figure(partial(background, case, density), fills, lines, centre, max(reach, edge + 8.0))


def _targets(rows: Mapping[str, Any], last: float) -> Iterator[tuple[str, str, str, str]]:
    """File, what it is, volume, density at its boundary."""
    for name, row in rows.items():
        if "around" in row:
            what = f"within {plain(row['margin_mm'])} mm of" if "margin_mm" in row else "nearest to"
            yield f"{name}.nii.gz", f"{what} the {row['around']}", number(row["volume_ml"]), "–"
        else:
            when = "last session" if row["day"] == last else f"{plain(row['day'] - last)} days later"
            what = f"densest voxels, {when}"
            yield f"{name}.nii.gz", what, number(row["volume_ml"]), number(row["density"])


def _coverage(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Recurrence, part, volume, target, and the fraction inside it in per cent."""
    for name, parts in found.items():
        for part, row in parts.items():
            for target, fraction in row.items():
                if target != "volume_ml":
                    yield name, part, number(row["volume_ml"]), target, f"{100 * fraction:.1f}"
