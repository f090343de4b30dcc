"""A fitted tumour on later days, from results to results: runs, images, targets, coverage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import oncology
from oncology.errors import ArgumentError
from oncology.forecast.course import Course, run_course
from oncology.forecast.targets import coverages, make_targets
from oncology.imaging import Case, Volume
from oncology.imaging.fingerprint import fingerprints
from oncology.imaging.recurrence import Recurrence, find_recurrences
from oncology.imaging.target import MARGIN, voxel_count
from oncology.model.trajectory import Trajectory
from oncology.parallel import on_root
from oncology.results.files import Results
from oncology.results.images import density_image, session_density, tissue_raster
from oncology.results.prediction import PredictionResults
from oncology.results.schema import PACE, SCHEMA, Curve, Growth, PredictionRecord
from oncology.results.verdict import verdict_of
from oncology.results.versions import versions
from oncology.text import Progress, silent

__all__ = ["Plan", "plan_prediction", "predict", "predicted_density", "wanted_days"]

LATEST = 3650.0  # day after the last session
MOST_SAMPLES = 10_000


@dataclass(frozen=True, eq=False)
class Plan:
    """What is asked for.

    Attributes:
        days: wanted days of the case's calendar, ascending.
        margin: of the target around the core, mm.
        volume: of the targets, mL, instead of the margin.
        recurrence: mask of a later recurrence; None: those in the case's folder.
        recurrences: the masks themselves.
        samples: of the posterior; 0: tangents.
        seed: of the random numbers.
    """

    days: tuple[float, ...]
    margin: float = MARGIN
    volume: float | None = None
    recurrence: Path | None = None
    recurrences: tuple[Recurrence, ...] = ()
    samples: int = 0
    seed: int = 0


def plan_prediction(
    case: Case,
    days: Sequence[float],
    *,
    absolute: bool = False,
    margin: float | None = None,
    volume: float | None = None,
    recurrence: Path | None = None,
    samples: int = 0,
    seed: int = 0,
) -> Plan:
    """Check what is asked for before anything is computed.

    Args:
        case: the fitted case.
        days: days after the last session.
        absolute: count `days` on the case's calendar instead.
        margin: of the target around the core, mm; None: 15, unless a volume is given.
        volume: of every target, mL.
        recurrence: mask of a later recurrence; None: those in the case's folder.
        samples: of the posterior, 0 for tangents.
        seed: of the random numbers.

    Raises:
        ArgumentError: one of them is out of range.
        ImageError: a mask of a recurrence cannot be used.
    """
    wanted = wanted_days(tuple(days), absolute, case.sessions[-1].day)
    if margin is not None and volume is not None:
        raise ArgumentError(
            "margin", f"{margin:g} mm and a volume of {volume:g} mL both size the target: give one of them"
        )
    if not 0 <= samples <= MOST_SAMPLES or samples == 1:
        raise ArgumentError("samples", f"{samples} is out of range: give 0 (tangents) or 2 to {MOST_SAMPLES}")
    around = MARGIN if margin is None else margin
    if not (math.isfinite(around) and 0.0 <= around <= 100.0):
        raise ArgumentError("margin", f"{around:g} mm is out of range: give 0 to 100 mm, 15 mm is usual")
    if volume is not None:
        voxel_count(volume, case.sessions[-1].whole)
    return Plan(wanted, around, volume, recurrence, find_recurrences(case, recurrence), samples, seed)


def wanted_days(days: tuple[float, ...], absolute: bool, last: float) -> tuple[float, ...]:
    """Return days of the case's calendar, ascending, from days after the last session or of the calendar.

    Raises:
        ArgumentError: none is given, or one out of range.
    """
    if not days:
        raise ArgumentError("days", "is missing: give days after the last session, such as 30 60 90")
    for day in days:
        after = day - last if absolute else day
        if not (math.isfinite(day) and 0.0 <= after <= LATEST):
            low, high = (last, last + LATEST) if absolute else (0.0, LATEST)
            what = "of the case's calendar" if absolute else "after the last session"
            raise ArgumentError("days", f"{day:g} is out of range: give days {what}, {low:g} to {high:g}")
    return tuple(sorted({float(day if absolute else last + day) for day in days}))


def predict(
    comm: Any, results: Results, plan: Plan, tell: Progress = silent, cache: Path | None = None
) -> PredictionResults:
    """Run a fitted tumour on to later days (collective); images are returned on rank 0 only.

    Args:
        comm: communicator of all ranks that hold the results.
        results: the fit, with its case.
        plan: what is asked for.
        tell: called with what is going on.
        cache: folder of meshes kept by content.

    Raises:
        ConfigError: the case is not available or not the fitted one, or the fit left no posterior.
        NumericalError: a diffusion solve does not converge.
    """
    tumour, case = results.fitted(), results.case
    assert case is not None
    course = run_course(comm, results, tumour, plan.days, plan.samples, plan.seed, tell, cache)
    tell("images", 1.0)

    def build() -> PredictionResults:
        like = case.sessions[-1].whole
        raster = tissue_raster(case, course.mesh, like)
        densities = {day: density_image(raster, values, like) for day, values in course.whole.items()}
        deviations = {day: density_image(raster, values, like) for day, values in course.deviations.items()}
        targets = make_targets(case, densities, plan.margin, plan.volume)
        content = _content(results, case, plan, course, comm.size)
        content["notes"] += targets.notes
        content |= {"targets": targets.rows, "coverage": coverages(plan.recurrences, targets.masks)}
        days, frames = zip(*course.frames, strict=True)
        meta: dict[str, float | str] = {"case": case.id, "version": oncology.__version__}
        density = np.stack(frames).astype(np.float32)
        return PredictionResults(
            PredictionRecord.model_validate(content),
            {region: tuple(band.median.tolist()) for region, band in course.forecast.volumes.items()},
            densities,
            deviations,
            targets.masks,
            plan.recurrences,
            Trajectory(np.array(days), density, course.mesh.fingerprint, meta),
            course.mesh,
            {
                "command": "predict",
                "settings": _settings(results, case, plan),
                "run": content["run"],
                "inputs": fingerprints(case),
            },
        )

    return _shared(comm, build, course)


def _shared(comm: Any, build: Any, course: Course) -> PredictionResults:
    """Build on rank 0; the others get the record without images."""
    made: list[PredictionResults] = []

    def on_first() -> PredictionResults:
        made.append(build())
        times = made[0].trajectory.times
        light = Trajectory(times, np.zeros((len(times), 1), np.float32), "")
        return replace(made[0], densities={}, deviations={}, targets={}, recurrences=(), trajectory=light)

    shared = on_root(comm, on_first)
    return made[0] if made else replace(shared, mesh=course.mesh)


def predicted_density(comm: Any, results: Results, day: float, cache: Path | None = None) -> Volume | None:
    """Return the density a day after the last session of a fit, on that session's grid (collective; rank 0 only).

    Raises:
        ArgumentError: the day is out of range.
    """
    tumour, case = results.fitted(), results.case
    assert case is not None
    (wanted,) = wanted_days((day,), False, case.sessions[-1].day)
    course = run_course(comm, results, tumour, (wanted,), cache=cache)
    if comm.rank > 0:
        return None
    return session_density(case, course.mesh, course.whole[wanted], case.sessions[-1].whole)


def _settings(results: Results, case: Case, plan: Plan) -> dict[str, Any]:
    """Resolved settings for `config.toml`; what is not given is left out."""
    settings = {
        "fit": None if results.out is None else str(results.out.resolve()),
        "case": str(case.root.resolve()),
        "days": list(plan.days),
        "margin_mm": plan.margin,
        "volume_ml": plan.volume,
        "recurrence": None if plan.recurrence is None else str(plan.recurrence.resolve()),
        "samples": plan.samples,
        "seed": plan.seed,
    }
    return {key: value for key, value in settings.items() if value is not None}


def _content(results: Results, case: Case, plan: Plan, course: Course, ranks: int) -> dict[str, Any]:
    """Entries of `prediction.json` but for targets and coverage."""
    from oncology.fem import probe

    days, forecast = np.array(course.forecast.days), course.forecast
    uncertainty: dict[str, Any] = {"method": "linearised"}
    found = verdict_of(results.estimate)
    notes = [f"{found.words}: what is predicted from this fit has no basis"] if found.voids else []
    notes += course.notes
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
    curves = {region: Curve(days, band.value, band.low, band.high) for region, band in forecast.volumes.items()}
    return {
        "schema": SCHEMA,
        "case": case.id,
        "fit": "" if results.out is None else str(results.out),
        "verdict": found.level,
        "last_session": {"id": case.sessions[-1].id, "day": case.sessions[-1].day},
        "days": list(plan.days),
        "thresholds": {"oedema": results.threshold["whole"], "core": results.threshold["core"]},
        "volumes": Growth.of(curves).model_dump(),
        "uncertainty": uncertainty,
        "cut_density": course.cut,
        "mesh": {"vertices": len(course.mesh.points), "cells": len(course.mesh.cells), "size_mm": course.mesh.size},
        "notes": notes,
        "run": {"ranks": ranks, "versions": versions(probe.versions().named)},
    }
