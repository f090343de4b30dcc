"""The page of a prediction, `prediction.html`: volumes with intervals, pictures of later days, targets and coverage.

Like the report of a fit: one file without network or script, made of what `oncology predict` leaves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from oncology import __version__
from oncology.imaging import Volume
from oncology.report import style
from oncology.report.curves import draw_growth, growth_curves
from oncology.report.page import Picture, fill, flat, write_page
from oncology.report.slices import Fill, Line, background, draw_planes, field_of_view, scan_fills
from oncology.report.words import NORMAL_95, number, plain, treatment
from oncology.results.read import REGIONS, Curve, Growth, Results

__all__ = ["build_prediction"]

NAME = "prediction.html"
MOST_PICTURES = 4
TARGETS = (style.BLACK, style.GREEN)  # around the core, iso-density
DEVIATION = style.PURPLE


class Recurrence(Protocol):
    """A later tumour: its name and its masks, "all" among them."""

    @property
    def name(self) -> str:
        """Session or file."""

    @property
    def parts(self) -> Mapping[str, Volume]:
        """Masks by what they hold."""


def build_prediction(
    out: Path,
    results: Results,
    content: Mapping[str, Any],
    config: Mapping[str, Any],
    densities: Mapping[float, Volume],
    deviations: Mapping[float, Volume],
    targets: Mapping[str, Volume],
    recurrences: Sequence[Recurrence],
) -> Path:
    """Write `prediction.html` into a folder, whole or not at all.

    Args:
        out: the folder.
        results: the fit, with its case.
        content: of `prediction.json`.
        config: of `config.toml`.
        densities: predicted density 0..1 by day, on the grid of the last session.
        deviations: its standard deviation by day.
        targets: masks by name, the one around the core first.
        recurrences: later tumours.

    Raises:
        OutputError: the page cannot be written.
    """
    path = out / NAME
    last = content["last_session"]["day"]
    curves = _curves(results, content["volumes"], last)
    case = results.case
    assert case is not None
    page = {
        "estimate": results.estimate,
        "content": content,
        "version": __version__,
        "treatments": [treatment(given) for given in case.treatments if given.day >= last],
        "rows": list(_rows(content, last)),
        "growth": Picture("predicted growth", draw_growth(results, curves, last)),
        "pictures": list(_pictures(results, content, densities, deviations, last)),
        "plans": Picture("radiotherapy targets", _plans(results, densities, targets, recurrences, last)),
        "targets": list(_targets(content["targets"], last)),
        "coverage": list(_coverage(content["coverage"])),
        "settings": list(flat({**config["settings"], "run": config["run"]})),
        "shown": MOST_PICTURES,
    }
    write_page(path, fill("prediction.html", page))
    return path


def _curves(results: Results, volumes: Mapping[str, Any], last: float) -> dict[str, Curve]:
    """The fit's growth until the first session, then the prediction's."""
    later = Growth.model_validate(volumes)
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


def _rows(content: Mapping[str, Any], last: float) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Day, days after the last session, and volumes with their intervals."""
    volumes = content["volumes"]
    for k, day in enumerate(volumes["days"]):
        if day not in content["days"] and day != last:
            continue
        cells = []
        for region in REGIONS:
            value, low, high = (volumes[region][end][k] for end in ("volume_ml", "low_ml", "high_ml"))
            cells.append((number(value), f"{number(low)} to {number(high)}"))
        yield plain(day), plain(day - last), cells


def _pictures(
    results: Results,
    content: Mapping[str, Any],
    densities: Mapping[float, Volume],
    deviations: Mapping[float, Volume],
    last: float,
) -> Iterator[tuple[str, Picture]]:
    """The last scan against the predicted density, at the predicted days."""
    case = results.case
    assert case is not None
    centre, reach = field_of_view(results)
    days = [day for day in content["days"] if day > last] or list(content["days"])
    for day in days[:MOST_PICTURES]:
        density, spread = densities[day], deviations[day]
        lines = [
            Line(density, results.threshold[r], style.MODEL[r], f"predicted density {results.threshold[r]:g}")
            for r in REGIONS
        ]
        away = np.abs(density.data - results.threshold["whole"])
        possible = density.with_data(away < NORMAL_95 * spread.data)
        fills = [*scan_fills(case.sessions[-1]), Fill(possible, DEVIATION, "95 % interval of the rim")]
        drawing = draw_planes(
            lambda points, density=density: background(case, density, points),  # type: ignore[misc]
            fills,
            lines,
            centre,
            reach,
        )
        yield f"day {plain(day)}, {plain(day - last)} days after the last session", Picture(f"day {day:g}", drawing)


def _plans(
    results: Results,
    densities: Mapping[float, Volume],
    targets: Mapping[str, Volume],
    recurrences: Sequence[Recurrence],
    last: float,
) -> str:
    """Both targets over the last scan, and the recurrence where there is one."""
    case = results.case
    assert case is not None
    names = list(targets)
    shown = (names[0], names[-1])
    labels = ("around the core", "equal volume, by density")
    lines = [
        Line(targets[name].with_data(targets[name].data.astype(np.float32)), 0.5, colour, label)
        for name, colour, label in zip(shown, TARGETS, labels, strict=True)
    ]
    fills = scan_fills(case.sessions[-1])
    for recurrence in recurrences:
        fills.append(Fill(recurrence.parts["all"], DEVIATION, f"recurrence, {recurrence.name}"))
    centre, reach = field_of_view(results)
    edge = max(float(np.abs(mask.world(np.argwhere(mask.data)) - centre).max()) for mask in targets.values())
    density = densities[last]
    return draw_planes(lambda points: background(case, density, points), fills, lines, centre, max(reach, edge + 8.0))


def _targets(rows: Mapping[str, Any], last: float) -> Iterator[tuple[str, str, str, str]]:
    """File, what it is, volume, density at its rim."""
    for name, row in rows.items():
        if "around" in row:
            what = f"within {plain(row['margin_mm'])} mm of" if "margin_mm" in row else "nearest to"
            yield f"{name}.nii.gz", f"{what} the {row['around']}", number(row["volume_ml"]), "–"
        else:
            when = "last session" if row["day"] == last else f"{plain(row['day'] - last)} days later"
            what = f"densest voxels, {when}"
            yield f"{name}.nii.gz", what, number(row["volume_ml"]), number(row["density"])


def _coverage(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str, list[tuple[str, str]]]]:
    """Recurrence, part, volume, and the share inside each target in per cent."""
    for name, parts in found.items():
        for part, row in parts.items():
            shares = [(target, f"{100 * share:.1f}") for target, share in row.items() if target != "volume_ml"]
            yield name, part, number(row["volume_ml"]), shares
