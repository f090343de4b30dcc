"""The report of one case: everything a fit left behind on one self-contained page, `report.html`.

The page needs no network and no script: pictures are embedded, and it prints on A4. It is made of files only, so that
it can be made again at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from oncology import __version__
from oncology.files import write_file
from oncology.imaging import Case, Session, Volume
from oncology.imaging.describe import treatment
from oncology.imaging.metrics import Agreement, compare
from oncology.meshing.quality import TOLERANCE
from oncology.report import style
from oncology.report.anatomy import brain_and_tumour
from oncology.report.curves import convergence_figure, growth_figure
from oncology.report.scene import RenderingError, render
from oncology.report.slices import field_of_view, session_figure
from oncology.report.surrogate import surrogate_rows
from oncology.report.words import (
    Row,
    cannot_tell,
    combination_rows,
    direction,
    formula,
    headline,
    interval_sentences,
    parameter_rows,
    seed_count,
    seed_words,
)
from oncology.results.files import Results
from oncology.results.schema import REGIONS
from oncology.results.verdict import verdict_of
from oncology.text import number, plain, symbols

__all__ = ["Picture", "compose", "fill", "flat", "write_page", "write_report", "written"]

SAME_DAY = 1e-6
PROMINENT = ("diffusion_white", "proliferation", "onset")
DERIVED = {"front_speed": "2√(Dρ)", "infiltration_length": "√(D/ρ)"}
FRACTIONS = ("_error", "_difference", "_inside", "_outside")  # endings of the mesh figures that are fractions
UNITS = {"volume": "mm³", "cell": "mm³", "angle": "°", "coarsest": "mm"}  # of the others, by their last word


@dataclass(frozen=True)
class Picture:
    """A drawing on the page.

    Attributes:
        title: what it is, for the caption and for those who cannot see it.
        uri: its content as an address; empty where it could not be drawn.
        trouble: why it could not be drawn.
    """

    title: str
    uri: str = ""
    trouble: str = ""


@dataclass(frozen=True)
class Match:
    """A line of the table of agreement, written out."""

    session: str
    region: str
    dice: str
    scan: str
    model: str
    difference: str
    hausdorff: str
    distance: str


def write_report(results: Results, path: Path) -> Path:
    """Write the page, whole or not at all, and return its path.

    Args:
        results: what a fit left behind; without its case the page shows the model alone.
        path: of the page.

    Raises:
        OutputError: the page cannot be written.
    """
    write_page(path, compose(results))
    return path


def compose(results: Results) -> str:
    """Return the page as text."""
    estimate = results.estimate
    with ThreadPoolExecutor(1) as pool:  # the rendering runs in another process meanwhile
        view = pool.submit(_view, results)
        content = {
            "estimate": estimate,
            "case": results.case,
            "version": __version__,
            "sessions": _sessions(results),
            "labels": _labels(results.case),
            "treatments": _treatments(results),
            "cards": list(_cards(results)),
            "verdict": verdict_of(estimate),
            "headline": headline(estimate),
            "parameters": list(parameter_rows(estimate).values()),
            "combinations": combination_rows(estimate),
            "counted": interval_sentences(estimate),
            "limits": cannot_tell(estimate, len(results.sessions)),
            "directions": _directions(estimate.eigen),
            "slices": _slices(results),
            "background": _background(results.case),
            "images": _images(results.case),
            "seed": seed_words(estimate),
            "shape": _shape(results),
            "surrogate": surrogate_rows(estimate),
            "forecast": list(_forecast(results)),
            "tolerance": TOLERANCE,
            "matches": list(_matches(results)),
            "growth": Picture("growth of the modelled tumour", style.vector(growth_figure(results))),
            "convergence": Picture("course of the fit", _convergence(results)),
            "quality": _quality(results),
            "settings": _settings(results),
            "view": view.result(),
        }
    return fill("template.html", content)


def fill(template: str, content: Mapping[str, Any]) -> str:
    """Return a page made of one of this folder's templates."""

    def load(name: str) -> str:
        return files("oncology.report").joinpath(name).read_text(encoding="utf-8")

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "symbols": symbols, "formula": formula}
    return environment.get_template(template).render(content)


def write_page(path: Path, page: str) -> None:
    """Write a page, whole or not at all.

    Raises:
        OutputError: the page cannot be written.
    """
    write_file(path, page)


def _scan(results: Results, session: str) -> Session | None:
    scans = results.case.sessions if results.case is not None else ()
    return next((scan for scan in scans if scan.id == session), None)


def _sessions(results: Results) -> list[dict[str, str]]:
    rows = []
    for session in results.sessions:
        scan = _scan(results, session)
        day = voxels = "–"
        if scan is not None:
            day = plain(scan.day)
            voxels = _sizes(scan.labels)
        volumes = results.estimate.volumes_ml.get(session, {})
        row = {"id": session, "day": day, "voxels": voxels, "pet": "yes" if scan is not None and scan.pet else "no"}
        rows.append(row | {region: number(volumes[region].scan) if region in volumes else "–" for region in REGIONS})
    return rows


def _labels(case: Case | None) -> str:
    if case is None:
        return ""
    table = case.labels
    parts = [("necrosis", table.necrosis), ("oedema", table.oedema), ("enhancing tumour", table.enhancing)]
    return "; ".join(f"{name} {', '.join(map(str, values))}" for name, values in parts if values)


def _treatments(results: Results) -> list[str]:
    if results.case is not None:
        return [treatment(given) for given in results.case.treatments]
    return [written(given) for given in results.estimate.treatments]


def _images(case: Case | None) -> str:
    """What images were given besides the segmentations."""
    if case is None:
        return ""
    grid = f"{' × '.join(map(str, case.white.shape))} voxels of {_sizes(case.white)} mm"
    extra = {"T1-weighted scan": case.t1, "diffusion tensor": case.tensor}
    given = [name for name, image in extra.items() if image is not None] or ["nothing else"]
    return f"Images: probability maps of white and grey matter ({grid}); {' and '.join(given)}."


def _sizes(image: Volume) -> str:
    return " × ".join(f"{size:.3g}" for size in image.voxel_sizes)


def _shape(results: Results) -> str:
    """How well the seeds explain the tumour, and what was done where they do not."""
    estimate = results.estimate
    if estimate.single_seed_overlap is None:
        return ""
    overlap = number(estimate.single_seed_overlap, 2)
    text = f"A tumour grown from {seed_count(estimate)} overlaps with the segmentations by {overlap} (Dice)."
    change = estimate.shape_correction
    if not change:
        return f"{text} No shape correction was needed."
    return (
        f"{text} Its shape was therefore corrected on day {plain(change['day'])}, by {change['gaussians']} Gaussians "
        f"of {plain(change['width_mm'])} mm in the log-odds of the density; parameters are those of "
        f"{seed_count(estimate, 'the single seed')}."
    )


def _forecast(results: Results) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Day, days after the last session, and volumes with intervals: from the last session on, as the fit left them."""
    growth = results.estimate.growth
    if growth is None:
        return
    last = float(results.trajectory.times[-1])
    curves = [growth.curve(region) for region in REGIONS]
    for k, day in enumerate(growth.days):
        if day >= last - SAME_DAY:
            cells = [(number(c.value[k]), f"{number(c.low[k])} to {number(c.high[k])}") for c in curves]
            yield plain(day), plain(day - last), cells


def _cards(results: Results) -> Iterator[tuple[str, str, str, str]]:
    """The numbers that are asked for first: name, value, unit, remark."""
    estimate = results.estimate
    last = results.sessions[-1]
    rows = parameter_rows(estimate)
    for name in PROMINENT:
        if name in rows:
            row = rows[name]
            yield row.name.partition(" (")[0], row.value, row.unit, _remark(row)
    combined = {row.name: row for row in combination_rows(estimate)}
    for name, symbol in DERIVED.items():
        if name in estimate.derived:
            words = name.replace("_", " ")
            remark = _remark(combined[words]) if words in combined else "in white matter"
            yield (
                f"{words} {symbol}",
                number(estimate.derived[name].value),
                symbols(estimate.derived[name].unit),
                remark,
            )
    for region, dice in estimate.dice[last].items():
        yield f"Dice, {style.NAMES.get(region, region)}", number(dice), "", last


def _remark(row: Row) -> str:
    return f"95 %: {row.interval}" if row.determined else "not determined by the scans"


def _directions(eigen: Any) -> list[tuple[str, str]]:
    """Strength and words of each direction of the data's information, as far as the file gives both."""
    entries = eigen if isinstance(eigen, list) else []
    rows = []
    for entry in entries:
        if isinstance(entry, Mapping):
            values = [number(value) for value in entry.values() if isinstance(value, int | float)]
            rows.append(
                (values[0] if values else "–", direction(", ".join(v for v in entry.values() if isinstance(v, str))))
            )
    return rows


def _slices(results: Results) -> list[tuple[str, Picture]]:
    centre, reach = field_of_view(results)
    pictures = []
    for session in results.sessions:
        scan = _scan(results, session)
        name = session if scan is None else f"{session}, day {plain(scan.day)}"
        drawing = style.pixels(session_figure(results, session, centre, reach))
        pictures.append((name, Picture(f"scan against model, {session}", drawing)))
    return pictures


def _convergence(results: Results) -> str:
    return style.vector(convergence_figure(results.log)) if results.log else ""


def _background(case: Case | None) -> str:
    if case is None:
        return "the modelled density (case folder not found, so scans are not shown)"
    if case.t1 is not None:
        return "the T1-weighted scan"
    return "the tissue maps (white matter bright, grey matter darker)"


def _matches(results: Results) -> Iterator[Match]:
    for session in results.sessions:
        scan = _scan(results, session)
        for region in REGIONS:
            if region not in results.estimate.dice[session]:
                continue
            volumes = results.estimate.volumes_ml.get(session, {}).get(region)
            apart: Agreement | None = None
            if scan is not None:
                mask = scan.whole if region == "whole" else scan.core
                density = results.densities[session]
                apart = compare(mask, density.with_data(density.data > results.threshold[region]))
            difference = "–"
            if volumes is not None and volumes.scan > 0:
                difference = f"{100 * (volumes.model / volumes.scan - 1):+.1f}".replace("-", "−")
            yield Match(
                session=session,
                region=style.NAMES[region],
                dice=number(results.estimate.dice[session][region]),
                scan=number(volumes.scan) if volumes else "–",
                model=number(volumes.model) if volumes else "–",
                difference=difference,
                hausdorff=number(apart.hausdorff95) if apart else "–",
                distance=number(apart.mean_distance) if apart else "–",
            )


def _view(results: Results) -> Picture:
    title = f"brain and modelled tumour, {results.sessions[-1]}"
    try:
        return Picture(title, style.png_uri(render(brain_and_tumour(results))))
    except RenderingError as error:
        return Picture(title, trouble=str(error))


def _quality(results: Results) -> list[tuple[str, str]]:
    rows = []
    for name, value in results.estimate.mesh_quality.items():
        text = written(value)
        if isinstance(value, float):
            relative = name.endswith(FRACTIONS)
            text = f"{number(100 * value)} %" if relative else f"{number(value)} {UNITS.get(name.split('_')[-1], '')}"
        rows.append((name.replace("_", " "), text))
    return rows


def _settings(results: Results) -> list[tuple[str, str]]:
    """Every setting, what the run took, versions, priors, and entries of `estimate.json` that have no place above."""
    estimate, config = results.estimate, dict(results.config)
    run = {**config.pop("run", {}), **estimate.run}
    if run.get("versions") == config.get("versions"):
        run.pop("versions", None)
    return list(flat({**config, "run": run, "prior": estimate.prior, **(estimate.model_extra or {})}))


def flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested settings as lines of dotted name and value."""
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        elif value not in (None, "", [], ()):
            yield f"{prefix}{name}", written(value)


def written(value: Any) -> str:
    """Return a setting as text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {written(part)}" for name, part in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(written(part) for part in value)
    if isinstance(value, float):
        return f"{value:.6g}".replace("-", "−")
    return str(value)
