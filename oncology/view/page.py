"""The page: one HTML file with its script, its style and all data inside, the same served and offline.

Numbers and texts are JSON; arrays are compressed (zlib) and written in base64, frames of density as differences from
frame to frame, which are mostly zero. Nothing is loaded from anywhere: a content security policy forbids it.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib import colormaps
from numpy.typing import NDArray

from oncology import __version__
from oncology.imaging import Volume
from oncology.imaging.metrics import MM3_PER_ML
from oncology.text import Progress, silent
from oncology.view.grids import (
    BAND,
    CLASSES,
    HIGH,
    LOW,
    DensityGrid,
    ImageGrid,
    LabelGrid,
    density_grid,
    image_grid,
    session_grid,
    target_grid,
)
from oncology.view.measures import FRONTS, front_distances, level_table, reached, volumes_above
from oncology.view.sources import Subject
from oncology.view.surfaces import Surface, anatomy, decimated, mask_surface

__all__ = ["build_page", "pack", "pair_page", "target_name"]

FRONT = 0.05  # density of the outermost surface that is shown at first
COARSER = 4  # times fewer triangles while things move and the processor draws
MOST_DISTANCES = 10  # frames for which the distance of the front is measured
SCRIPTS = (
    "field.js",
    "sample.js",
    "draw.js",
    "scene.js",
    "timeline.js",
    "labels.js",
    "controls.js",
    "export.js",
    "link.js",
    "main.js",
)
HUES = {"core": "#D55E00", "whole": "#56B4E9", "front": "#CC79A7"}  # Okabe and Ito (2008), for any colour vision
SCAN_HUES = {"whole": "#F0E442", "core": "#FFFFFF"}  # what was drawn on scans, apart from the model's
TARGET_HUE = "#009E73"
ANATOMY = {"brain": ("Brain surface", "#b8c0c8", 0.34), "white": ("White matter", "#e8e2d4", 0.0)}


def build_page(subject: Subject, tell: Progress = silent) -> str:
    """Return the page as text.

    Args:
        subject: what is shown.
        tell: called with what is going on and which fraction (0..1) is done.
    """
    tell("images", 0.0)
    image = image_grid(subject.mesh, subject.case)
    tell("densities", 0.2)
    density = density_grid(subject.mesh, subject.trajectory)
    labels = _labels(subject, density)
    tell("surfaces", 0.35)
    surfaces = anatomy(subject.mesh, subject.case)
    tables, arrays = _tables(subject, lambda done: tell("volumes and distances", 0.5 + 0.45 * done))
    tell("page", 0.95)
    arrays |= _grids(image, density) | {name: grid.labels.T for name, grid in labels.items()}
    for name, surface in surfaces.items():
        for detail, shown in (("", surface), ("_coarse", decimated(surface, len(surface.triangles) // COARSER))):
            arrays |= _surface(f"{name}{detail}", shown)
    for name, mask in _drawn(subject).items():
        arrays |= _surface(name, mask_surface(mask))
    boxes = {name: _box(grid) for name, grid in labels.items()}
    scene = _scene(subject, image, density, surfaces) | {"tables": tables, "boxes": boxes}
    return _rendered(scene, arrays)


def pair_page(pages: Sequence[tuple[str, str]]) -> str:
    """Return two pages side by side as one: planes, day, directions and theme of one are those of the other.

    Args:
        pages: name and text of each.
    """
    text = files("oncology.view").joinpath("pair.html").read_text(encoding="utf-8")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True).from_string(text)
    return template.render(title=f"Tumour growth, {' and '.join(name for name, _ in pages)}", pages=pages)


def pack(array: NDArray[Any]) -> str:
    """Return the bytes of an array, compressed, in base64; little-endian."""
    plain = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    return base64.b64encode(zlib.compress(plain.tobytes(), 6)).decode("ascii")


def _surface(name: str, surface: Surface) -> dict[str, NDArray[Any]]:
    return {f"{name}_points": surface.points, f"{name}_triangles": surface.triangles}


def _drawn(subject: Subject) -> dict[str, Volume]:
    """Masks that are shown as surfaces: segmentations of scans, and targets."""
    sessions = subject.case.sessions if subject.case is not None else ()
    scans = {f"scan_{s.id}_{region}": mask for s in sessions for region, mask in s.regions.items()}
    return scans | {f"target_{k}": mask for k, mask in enumerate(subject.targets.values())}


def _labels(subject: Subject, density: DensityGrid) -> dict[str, LabelGrid]:
    """What was drawn in sessions, and targets."""
    case = subject.case
    drawn = {f"labels_{s.id}": session_grid(s, case.labels, density) for s in case.sessions} if case else {}
    return drawn | {f"targets_{k}": target_grid(mask) for k, mask in enumerate(subject.targets.values())}


def _box(grid: LabelGrid) -> dict[str, Any]:
    """Where labels are: matrices column by column."""
    return {
        "shape": grid.labels.shape,
        "affine": grid.affine.T.ravel().tolist(),
        "texture": grid.texture.T.ravel().tolist(),
        "ml": abs(float(np.linalg.det(grid.affine[:3, :3]))) / MM3_PER_ML,
    }


def _rendered(scene: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    folder = files("oncology.view")
    read = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "style.css", *SCRIPTS)}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    listed = {name: {"type": array.dtype.name, "shape": array.shape} for name, array in arrays.items()}
    # "<" as an escape: no text can end the script element that holds it
    text = json.dumps({**scene, "arrays": listed}, allow_nan=False).replace("<", "\\u003c")
    return environment.from_string(read["page.html"]).render(
        title=f"Tumour growth, {scene['name']}",
        style=Markup(read["style.css"]),
        scripts=Markup("\n".join(read[name] for name in SCRIPTS)),
        scene=Markup(text),
        arrays={name: Markup(pack(array)) for name, array in arrays.items()},
    )


def _grids(image: ImageGrid, density: DensityGrid) -> dict[str, NDArray[Any]]:
    """Bytes with x running fastest, as textures have it."""
    first = np.zeros_like(density.frames[:1])
    return {
        "image": image.brightness.T,
        "tissue": image.tissue.T,
        "frames": np.diff(density.frames, axis=0, prepend=first).transpose(0, 3, 2, 1),
        "distance": density.distance.T,
        "colours": np.round(255 * colormaps["viridis"](np.arange(256))).astype(np.uint8),
    }


def target_name(file: str) -> str:
    """Return a target's file name in words: "target_margin-15mm" is "margin, 15 mm"."""
    text = file.removeprefix("target_").replace("isodensity_day-", "iso-density, day ").replace("-", ", ", 1)
    for unit in ("mm", "ml"):
        text = re.sub(rf"(\d){unit}$", rf"\1 {unit.replace('l', 'L')}", text)
    return text.replace("iso, density", "iso-density")


def _tables(subject: Subject, tell: Callable[[float], None]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Volumes and distances by day and density."""
    times = subject.trajectory.times
    threshold = subject.thresholds["whole"]
    levels = level_table(tuple(subject.thresholds.values()))
    fronts = (*(level for level in FRONTS if level < 0.9 * threshold), threshold)
    mesh, vertices = reached(subject.mesh, subject.trajectory.density, min(levels))
    density = subject.trajectory.density[:, vertices]
    chosen = np.unique(np.linspace(0, len(times) - 1, MOST_DISTANCES).round().astype(int))
    volumes = np.empty((len(times), len(levels)), np.float32)
    for row, values in enumerate(density):
        tell(0.5 * row / len(times))
        volumes[row] = volumes_above(mesh, values, levels)
    means, largest = np.full((2, len(chosen), len(fronts)), -1.0, np.float32)
    for row, frame in enumerate(chosen):
        tell(0.5 + 0.5 * row / len(chosen))
        found = front_distances(mesh, density[frame], fronts, threshold)
        means[row], largest[row] = (np.nan_to_num(values, nan=-1.0) for values in found)
    tables = {
        "volume_days": times.tolist(),
        "levels": list(levels),
        "distance_days": times[chosen].tolist(),
        "fronts": list(fronts),
        "rim": threshold,
    }
    return tables, {"volumes": volumes, "distance_mean": means, "distance_largest": largest}


def _scene(subject: Subject, image: ImageGrid, density: DensityGrid, surfaces: Mapping[str, Surface]) -> dict[str, Any]:
    """Everything but the arrays."""
    sessions = subject.case.sessions if subject.case is not None else ()
    scans = [{"session": s, "region": r, "ml": v} for (s, r), v in subject.scans.items()]
    return {
        "name": subject.name,
        "kind": subject.kind,
        "status": subject.status,
        "version": __version__,
        "mesh": {"vertices": len(subject.mesh.points), "cells": len(subject.mesh.cells), "size": subject.mesh.size},
        "days": density.days.tolist(),
        "logits": [LOW, HIGH],
        "band": BAND,
        "sessions": [{"id": s.id, "day": s.day} for s in sessions],
        "scans": scans,
        "treatments": [{"day": mark.day, "text": mark.text} for mark in subject.treatments],
        "levels": [
            {"name": "Core", "density": subject.thresholds["core"], "colour": HUES["core"], "opacity": 1.0},
            {"name": "Whole tumour", "density": subject.thresholds["whole"], "colour": HUES["whole"], "opacity": 0.45},
            {
                "name": "Invisible front",
                "density": min(FRONT, 0.5 * subject.thresholds["whole"]),
                "colour": HUES["front"],
                "opacity": 0.25,
            },
        ],
        "grid": {"shape": list(density.distance.shape), "origin": density.origin.tolist(), "spacing": density.spacing},
        "image": {
            "name": image.name,
            "shape": list(image.brightness.shape),
            "origin": image.origin.tolist(),
            "spacing": image.spacing,
            "intensity": image.intensity,
        },
        "classes": CLASSES,
        "hues": SCAN_HUES | {"target": TARGET_HUE},
        "targets": [target_name(name) for name in subject.targets],
        "surfaces": [
            {"key": key, "name": ANATOMY[key][0], "colour": ANATOMY[key][1], "opacity": ANATOMY[key][2]}
            for key in surfaces
        ],
        "intervals": {
            region: {"days": c.days.tolist(), "value": c.value.tolist(), "low": c.low.tolist(), "high": c.high.tolist()}
            for region, c in subject.intervals.items()
        },
        "thresholds": dict(subject.thresholds),
        "notes": list(subject.notes),
    }
