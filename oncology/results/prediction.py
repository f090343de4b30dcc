"""Files that `oncology predict` leaves: densities, deviations and targets as images, volumes, trajectory and a page."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tomli_w

import oncology
from oncology.errors import ImageError
from oncology.forecast.curves import band_content
from oncology.imaging import Case, Volume, read_volume, resample_to, write_volume
from oncology.imaging.labels import indicator
from oncology.imaging.target import (
    brain_mask,
    coverage,
    densest_target,
    margin_target,
    nearest_target,
    voxel_count,
)
from oncology.meshing import write_mesh
from oncology.meshing.raster import Raster, locate
from oncology.model.trajectory import Trajectory, write_trajectory
from oncology.report.metrics import volume_ml
from oncology.report.words import PACE
from oncology.results.write import versions

if TYPE_CHECKING:
    from oncology.forecast.course import Course, Plan
    from oncology.results.read import Results

__all__ = ["Recurrence", "day_text", "find_recurrences", "write_prediction"]

ENHANCING, TUMOUR, CAVITY = (3,), (1, 2, 3), 4  # labels of a recurrence in PREDICT-GBM
REGIONS = ("whole", "core")


@dataclass(frozen=True, eq=False)
class Recurrence:
    """A later tumour.

    Attributes:
        name: session, or the file's name.
        parts: masks by what they hold: "all", and "enhancing" where the image tells them apart.
    """

    name: str
    parts: dict[str, Volume]


def find_recurrences(case: Case, given: Path | None) -> tuple[Recurrence, ...]:
    """Read the masks of recurrences: the given one, else those of sessions that case.toml does not name.

    Raises:
        ImageError: a mask cannot be read, is empty or holds other labels.
    """
    if given is not None:
        return (_recurrence(given.name.partition(".")[0], given),)
    fitted = {session.id for session in case.sessions}
    paths = sorted(case.root.glob(f"ses-*/anat/sub-{case.id}_ses-*_desc-tumor_mask.nii.gz"))
    return tuple(_recurrence(path.parts[-3], path) for path in paths if path.parts[-3] not in fitted)


def _recurrence(name: str, path: Path) -> Recurrence:
    image = read_volume(path, dtype=None)
    found = {int(value) for value in np.unique(image.data)}
    if not found <= {0, *TUMOUR, CAVITY} or image.data.ndim != 3:
        raise ImageError(
            f"{path}: holds {', '.join(map(str, sorted(found)[:6]))}, allowed is a mask of 0 and 1, or necrosis 1, "
            "oedema 2, enhancing tumour 3 and cavity 4: convert it"
        )
    parts = {"all": image.with_data(indicator(image.data, TUMOUR))}
    if found - {0, 1}:
        parts["enhancing"] = image.with_data(indicator(image.data, ENHANCING))
    if not parts["all"].data.any():
        raise ImageError(f"{path}: mask is empty: leave --recurrence out or segment it")
    return Recurrence(name, {part: mask for part, mask in parts.items() if mask.data.any()})


def day_text(day: float) -> str:
    """Return a day as it stands in file names, to a thousandth."""
    return f"{day:.3f}".rstrip("0").rstrip(".")


def write_prediction(
    work: Path,
    results: Results,
    case: Case,
    plan: Plan,
    course: Course,
    ranks: int,
    report: bool,
    seconds: float,
) -> None:
    """Write everything into a folder (rank 0)."""
    session = case.sessions[-1]
    like = session.whole
    raster = _raster(case, course, like)
    densities = {day: _image(raster, values, like) for day, values in course.whole.items()}
    deviations = {day: _image(raster, values, like) for day, values in course.deviations.items()}
    for day in plan.days:
        write_volume(work / f"density_day-{day_text(day)}.nii.gz", densities[day], np.float32)
        write_volume(work / f"density-sd_day-{day_text(day)}.nii.gz", deviations[day], np.float32)
    content = _content(results, case, plan, course, ranks)
    notes: list[str] = content["notes"]
    targets, content["targets"] = _targets(work, case, plan, densities, notes)
    recurrences = find_recurrences(case, plan.recurrence)
    content["coverage"] = _coverages(recurrences, targets)
    _write_volumes(work / "volumes.csv", content["volumes"], session.day)
    days, frames = zip(*course.frames, strict=True)
    meta: dict[str, float | str] = {"case": case.id, "version": oncology.__version__}
    density = np.stack(frames).astype(np.float32)
    write_trajectory(work / "trajectory.h5", Trajectory(np.array(days), density, course.mesh.fingerprint, meta))
    write_mesh(work / "mesh.h5", course.mesh)
    settings = {
        "fit": str(results.out.resolve()),
        "case": str(case.root.resolve()),
        "days": list(plan.days),
        "margin_mm": plan.margin,
        "volume_ml": plan.volume,
        "recurrence": None if plan.recurrence is None else str(plan.recurrence.resolve()),
        "samples": plan.samples,
        "seed": plan.seed,
    }
    content["run"]["seconds"] = round(seconds, 2)
    given = {key: value for key, value in settings.items() if value is not None}
    config = {"command": "predict", "settings": given, "run": content["run"]}
    (work / "config.toml").write_text(tomli_w.dumps(config), encoding="utf-8")
    (work / "prediction.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if report:
        from oncology.report.prediction import build_prediction

        build_prediction(work, results, content, config, densities, deviations, targets, recurrences)


def _raster(case: Case, course: Course, like: Volume) -> Raster:
    tissue = resample_to(case.white, like).data + resample_to(case.grey, like).data > 0.5
    return locate(course.mesh.points, course.mesh.cells, like, tissue)


def _image(raster: Raster, values: Any, like: Volume) -> Volume:
    """A P1 function on the voxels, as the fit writes its densities (`oncology.results.write.session_density`)."""
    return like.with_data(np.clip(raster.image(values), 0.0, 1.0).astype(np.float32))


def _content(results: Results, case: Case, plan: Plan, course: Course, ranks: int) -> dict[str, Any]:
    from oncology.fem import probe

    days, forecast = course.forecast.days, course.forecast
    uncertainty: dict[str, Any] = {"method": "linearised"}
    notes = list(course.notes)
    engine = results.config.get("settings", {}).get("engine", "fem")
    if engine != "fem":
        notes.append(
            f"fitted by the {engine} engine, predicted by finite elements on its mesh: the density at the last session "
            "is that of the fit only to the accuracy of both"
        )
    if plan.samples:
        uncertainty = {"method": "ensemble", "samples": plan.samples, "seed": plan.seed, "redrawn": forecast.redrawn}
    elif vague := [name.replace("_", " ") for name in results.estimate.not_identified if name in PACE]:
        notes.append(
            f"not determined by the scans: {', '.join(vague)}; linearised intervals may mislead where the "
            "uncertainty is large: compare with --samples 64"
        )
    return {
        "schema": 1,
        "case": case.id,
        "fit": str(results.out),
        "last_session": {"id": case.sessions[-1].id, "day": case.sessions[-1].day},
        "days": list(plan.days),
        "thresholds": {"oedema": results.threshold["whole"], "core": results.threshold["core"]},
        "volumes": {
            "days": list(days),
            **{region: band_content(forecast.volumes[region], list(range(len(days)))) for region in REGIONS},
        },
        "uncertainty": uncertainty,
        "cut_density": course.cut,
        "mesh": {"vertices": len(course.mesh.points), "cells": len(course.mesh.cells), "size_mm": course.mesh.size},
        "notes": notes,
        "run": {"ranks": ranks, "versions": versions(probe.versions().named)},
    }


def _targets(
    work: Path, case: Case, plan: Plan, densities: dict[float, Volume], notes: list[str]
) -> tuple[dict[str, Volume], dict[str, Any]]:
    """Write the target around the core and the equally large ones of the densities; masks and numbers by name."""
    session = case.sessions[-1]
    start, around = session.core, "core"
    if not start.data.any():
        start, around = session.whole, "whole tumour"
        notes.append(f"{session.id} has no core: the standard target is around the whole tumour")
    brain = brain_mask(case.white, case.grey, start)
    if plan.volume is None:
        standard = margin_target(start, brain, plan.margin)
        name = f"target_margin-{day_text(plan.margin)}mm"
    else:
        standard = nearest_target(start, brain, voxel_count(plan.volume, start))
        name = f"target_nearest-{day_text(plan.volume)}ml"
    count = int(standard.data.sum())
    masks = {name: standard}
    rows: dict[str, Any] = {name: {"around": around, "volume_ml": volume_ml(standard)}}
    if plan.volume is None:
        rows[name]["margin_mm"] = plan.margin
    for day, density in densities.items():
        mask = densest_target(density, brain, count)
        name = f"target_isodensity_day-{day_text(day)}"
        masks[name] = mask
        rows[name] = {"day": day, "volume_ml": volume_ml(mask), "density": float(density.data[mask.data].min())}
    for name, mask in masks.items():
        write_volume(work / f"{name}.nii.gz", mask, np.uint8)
    return masks, rows


def _coverages(recurrences: tuple[Recurrence, ...], targets: dict[str, Volume]) -> dict[str, Any]:
    return {
        recurrence.name: {
            part: {
                "volume_ml": volume_ml(mask),
                **{name: coverage(mask, target) for name, target in targets.items()},
            }
            for part, mask in recurrence.parts.items()
        }
        for recurrence in recurrences
    }


def _write_volumes(path: Path, volumes: dict[str, Any], last: float) -> None:
    """Write the curves as a table: one line a day, mL."""
    ends = ("volume_ml", "low_ml", "high_ml")
    with path.open("w", newline="", encoding="utf-8") as handle:
        table = csv.writer(handle)
        names = [f"{region}_{end}" for region in REGIONS for end in ends]
        table.writerow(["day", "days_after_last_session", *names])
        for k, day in enumerate(volumes["days"]):
            table.writerow([day, day - last, *(volumes[region][end][k] for region in REGIONS for end in ends)])
