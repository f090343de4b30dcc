"""The report of one case: everything a fit left behind on one self-contained page, `report.html`.

The page needs no network and no script: pictures are embedded, and it prints on A4. It is made of files only, so that
it can be made again at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from oncology.report import pictures, style
from oncology.report.methods import methods
from oncology.report.settings import provenance, setting_lines, written
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
from oncology.text import number, plain, symbols, whole_day

__all__ = ["compose", "fill", "write_page", "write_report"]

SAME_DAY = 1e-6
PROMINENT = ("diffusion_white", "proliferation", "onset")
DERIVED = {"front_speed": "2√(Dρ)", "infiltration_length": "√(D/ρ)"}
FRACTIONS = ("_error", "_difference", "_inside", "_outside")  # endings of the mesh figures that are fractions
UNITS = {"volume": "mm³", "cell": "mm³", "angle": "°", "coarsest": "mm"}  # of the others, by their last word
SECTIONS = (
    ("inputs", "Inputs"),
    ("estimates", "Parameter estimates"),
    ("identifiability", "Identifiability"),
    ("fit", "Goodness of fit"),
    ("growth", "Growth and prediction"),
    ("brain", "The modelled tumour in the brain"),
    ("course", "How the estimate was reached"),
    ("methods", "Methods to cite"),
    ("provenance", "Provenance and files"),
    ("settings", "Settings and versions"),
    ("limits", "Limits"),
)
FILES = {
    "estimate.json": "all numbers of this page, for programs",
    "density_{}.nii.gz": "modelled density on the grid of the scan",
    "density-sd_{}.nii.gz": "its standard deviation",
    "surface_whole_{}.stl": "surface of the modelled whole tumour",
    "surface_core_{}.stl": "surface of the modelled core",
    "series.vtkhdf": "density over time for ParaView",
    "trajectory.h5": "the same, for programs",
    "mesh.h5": "the mesh",
    "log.jsonl": "accepted iterates",
    "log.txt": "the run in words",
    "config.toml": "settings, versions, fingerprints",
}


@dataclass(frozen=True)
class Card:
    """A number that is asked for first, written out."""

    name: str
    value: str
    unit: str
    remark: str


def write_report(results: Results, path: Path) -> Path:
    """Write the page, whole or not at all, and return its path.

    Args:
        results: what a fit left behind; without its case the page shows the model alone.
        path: of the page.

    Raises:
        OutputError: the page cannot be written.
    """
    write_page(path, compose(results, path.parent))
    return path


def compose(results: Results, folder: Path) -> str:
    """Return the page as text, with links to what lies in the folder that it goes to."""
    estimate = results.estimate
    with ThreadPoolExecutor(1) as pool:  # the rendering runs in another process meanwhile
        view = pool.submit(pictures.view, results)
        content = {
            "estimate": estimate,
            "case": results.case,
            "version": __version__,
            "sections": SECTIONS,
            "inputs": list(_sessions(results)),
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
            "slices": pictures.slices(results),
            "mosaics": pictures.mosaics(results),
            "maps": pictures.density_maps(results),
            "deviation": results.deviation is not None,
            "background": _background(results.case),
            "images": _images(results.case),
            "seed": seed_words(estimate),
            "shape": _shape(results),
            "surrogate": surrogate_rows(estimate),
            "forecast": list(_forecast(results)),
            "tolerance": TOLERANCE,
            "matches": list(_matches(results)),
            "growth": pictures.growth(results),
            "convergence": pictures.convergence(results),
            "quality": _quality(results),
            "methods": methods(results),
            "provenance": provenance(results),
            "fingerprints": list(results.config.get("inputs", {}).items()),
            "files": list(_files(results, folder)),
            "settings": setting_lines(results),
            "view": view.result(),
        }
    return fill("template.html", content)


def fill(template: str, content: Mapping[str, Any]) -> str:
    """Return a page made of one of this folder's templates; `sections` of the content are names and titles."""

    def load(name: str) -> str:
        return files("oncology.report").joinpath(name).read_text(encoding="utf-8")

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    numbers = {key: k + 1 for k, (key, _) in enumerate(content["sections"])}
    environment.filters |= {"number": number, "symbols": symbols, "formula": formula}
    return environment.get_template(template).render(**content, numbers=numbers)


def write_page(path: Path, page: str) -> None:
    """Write a page, whole or not at all.

    Raises:
        OutputError: the page cannot be written.
    """
    write_file(path, page)


def _scan(results: Results, session: str) -> Session | None:
    scans = results.case.sessions if results.case is not None else ()
    return next((scan for scan in scans if scan.id == session), None)


def _sessions(results: Results) -> Iterator[tuple[str, ...]]:
    """Session, day, volumes, voxels and PET."""
    scans = [_scan(results, session) for session in results.sessions]
    days = [scan.day for scan in scans if scan is not None]
    apart = len({whole_day(day) for day in days}) == len(days)
    for session, scan in zip(results.sessions, scans, strict=True):
        volumes = results.estimate.volumes_ml.get(session, {})
        found = [number(volumes[region].scan) if region in volumes else "–" for region in REGIONS]
        if scan is None:
            yield session, "–", *found, "–", "no"
        else:
            # scans of one day differ in its fraction
            day = whole_day(scan.day) if apart else plain(scan.day)
            yield session, day, *found, _sizes(scan.labels), "yes" if scan.pet else "no"


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


def _forecast(results: Results) -> Iterator[tuple[str, ...]]:
    """Day, days after the last session, and volumes with intervals: from the last session on, as the fit left them."""
    growth = results.estimate.growth
    if growth is None:
        return
    last = float(results.trajectory.times[-1])
    curves = [growth.curve(region) for region in REGIONS]
    for k, day in enumerate(growth.days):
        if day >= last - SAME_DAY:
            cells = [(number(c.value[k]), f"{number(c.low[k])} to {number(c.high[k])}") for c in curves]
            yield whole_day(day), whole_day(day - last), *cells[0], *cells[1]


def _cards(results: Results) -> Iterator[Card]:
    """The numbers that are asked for first; where the scans do not determine one, its interval stands for it."""
    estimate = results.estimate
    last = results.sessions[-1]
    rows = parameter_rows(estimate)
    for name in PROMINENT:
        if name in rows:
            yield _card(rows[name].name.partition(" (")[0], rows[name])
    combined = {row.name: row for row in combination_rows(estimate)}
    for name, symbol in DERIVED.items():
        words = name.replace("_", " ")
        if words in combined:
            yield _card(f"{words} {symbol}", combined[words])
        elif name in estimate.derived:
            found = estimate.derived[name]
            yield Card(f"{words} {symbol}", number(found.value), symbols(found.unit), "in white matter")
    for region, dice in estimate.dice[last].items():
        yield Card(f"Dice, {style.NAMES.get(region, region)}", number(dice), "", last)


def _card(name: str, row: Row) -> Card:
    if row.determined:
        return Card(name, row.value, row.unit, f"95 %: {row.interval}")
    return Card(name, row.interval, row.unit, f"95 % interval around {row.value}: not determined by the scans")


def _directions(eigen: Any) -> list[tuple[str, str]]:
    """Words and strength of each direction of the data's information, as far as the file gives both."""
    entries = eigen if isinstance(eigen, list) else []
    rows = []
    for entry in entries:
        if isinstance(entry, Mapping):
            values = [number(value) for value in entry.values() if isinstance(value, int | float)]
            words = direction(", ".join(v for v in entry.values() if isinstance(v, str)))
            rows.append((words, values[0] if values else "–"))
    return rows


def _background(case: Case | None) -> str:
    if case is None:
        return "the modelled density (case folder not found, so scans are not shown)"
    if case.t1 is not None:
        return "the T1-weighted scan"
    return "the tissue maps (white matter bright, grey matter darker)"


def _matches(results: Results) -> Iterator[tuple[str, ...]]:
    """Session, region, overlaps, volumes and distances."""
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
            voxel = 0.0 if scan is None else float(scan.labels.voxel_sizes.max())
            yield (
                session,
                style.NAMES[region],
                number(results.estimate.dice[session][region]),
                number(apart.surface_dice) if apart else "–",
                number(volumes.scan) if volumes else "–",
                number(volumes.model) if volumes else "–",
                difference,
                _distance(apart.hausdorff95, voxel) if apart else "–",
                _distance(apart.mean_distance, voxel) if apart else "–",
            )


def _distance(value: float | None, voxel: float) -> str:
    """A distance between surfaces; what a scan of these voxels cannot show is said to be so."""
    if value is None or value > voxel * (1.0 + 1e-3):
        return number(value)
    return f"≤ voxel ({voxel:.3g})"


def _files(results: Results, folder: Path) -> Iterator[tuple[str, str]]:
    """Files of the fit that lie beside the page: name and what they hold."""
    for name, what in FILES.items():
        for session in results.sessions if "{}" in name else ("",):
            if (folder / name.format(session)).is_file():
                yield name.format(session), f"{what}, {session}" if session else what


def _quality(results: Results) -> list[tuple[str, str]]:
    rows = []
    for name, value in results.estimate.mesh_quality.items():
        text = written(value)
        if isinstance(value, float):
            relative = name.endswith(FRACTIONS)
            text = f"{number(100 * value)} %" if relative else f"{number(value)} {UNITS.get(name.split('_')[-1], '')}"
        rows.append((name.replace("_", " "), text))
    return rows
