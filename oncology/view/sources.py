"""What the view shows, read from a results folder: of a fit, of a simulation, or of a prediction.

A fit has an estimate with uncertainty; a simulation has none. The case gives scans, sessions and treatments where it is
at hand; without it the mesh stands in for the brain.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from oncology.errors import ConfigError
from oncology.imaging import Case
from oncology.meshing import TetMesh, read_mesh
from oncology.model.trajectory import Trajectory, read_trajectory
from oncology.report.words import treatment
from oncology.results.read import REGIONS, Curve, Growth, ReportError, read_results
from oncology.view.grids import logit

__all__ = ["Mark", "Subject", "continued", "read_subject", "until"]

USUAL = {"whole": 0.25, "core": 0.60}  # densities at the rims where neither the folder nor a case names any


@dataclass(frozen=True)
class Mark:
    """Something on the time axis.

    Attributes:
        day: when.
        text: what.
    """

    day: float
    text: str


@dataclass(frozen=True, eq=False)
class Subject:
    """A growing tumour and what is known around it.

    Attributes:
        name: of the case.
        kind: "fit", "simulation" or "prediction".
        status: of the fit; empty for others.
        mesh: the mesh.
        trajectory: densities over time on its vertices.
        case: the case, where it is at hand.
        thresholds: density at the rim of "whole" and "core", 0..1.
        treatments: of the case.
        scans: (session, region) to the volume of the segmentation, mL.
        intervals: volume of "whole" and "core" over time with 95 % intervals; empty where nothing was estimated.
        notes: sentences to show beside the picture.
    """

    name: str
    kind: str
    status: str
    mesh: TetMesh
    trajectory: Trajectory
    case: Case | None
    thresholds: Mapping[str, float]
    treatments: tuple[Mark, ...] = ()
    scans: Mapping[tuple[str, str], float] = field(default_factory=dict)
    intervals: Mapping[str, Curve] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def days(self) -> tuple[float, float]:
        """First and last day of the trajectory."""
        return float(self.trajectory.times[0]), float(self.trajectory.times[-1])


def read_subject(out: Path, case: Case | None = None) -> Subject:
    """Read a folder that `oncology fit`, `simulate` or `predict` wrote.

    Args:
        out: the folder.
        case: the case, if it is at hand.

    Raises:
        ReportError: a file is missing, damaged, of another version, or belongs to another fit or case.
        MeshError: the mesh cannot be read.
        TrajectoryError: the trajectory cannot be read.
    """
    out = Path(out)
    if not out.is_dir():
        raise ReportError(f"{out}: no such folder: give the one that `oncology fit CASE --out OUT` wrote")
    marks = tuple(Mark(t.day, treatment(t)) for t in case.treatments) if case is not None else ()
    return _fit(out, case, marks) if (out / "estimate.json").is_file() else _run(out, case, marks)


def _fit(out: Path, case: Case | None, marks: tuple[Mark, ...]) -> Subject:
    results = read_results(out, case)
    estimate, growth = results.estimate, results.estimate.growth
    volumes = {(s, r): v.scan for s, regions in estimate.volumes_ml.items() for r, v in regions.items()}
    notes = list(estimate.warnings)
    if estimate.not_identified:
        notes.append(f"Not determined by the data: {', '.join(estimate.not_identified).replace('_', ' ')}.")
    return Subject(
        name=estimate.case,
        kind="fit",
        status=estimate.status,
        mesh=results.mesh,
        trajectory=results.trajectory,
        case=case,
        thresholds=results.threshold,
        treatments=marks,
        scans=volumes,
        intervals={} if growth is None else {region: growth.curve(region) for region in REGIONS},
        notes=tuple(notes),
    )


def _run(out: Path, case: Case | None, marks: tuple[Mark, ...]) -> Subject:
    """A simulation or a prediction."""
    mesh, trajectory = read_mesh(out / "mesh.h5"), read_trajectory(out / "trajectory.h5")
    if trajectory.mesh_fingerprint != mesh.fingerprint or trajectory.density.shape[1] != len(mesh.points):
        raise ReportError(
            f"{out / 'trajectory.h5'}: was computed on mesh {trajectory.mesh_fingerprint[:12]}, mesh.h5 is "
            f"{mesh.fingerprint[:12]}: put the files of one run together"
        )
    name = str(trajectory.meta.get("case", "")) or (case.id if case is not None else out.resolve().name)
    if case is not None and case.id != name:
        raise ReportError(f"{out}: was grown in case {name!r}, {case.root} is {case.id!r}: give its case")
    prediction = out / "prediction.json"
    content = _content(prediction if prediction.is_file() else out / "summary.json")
    intervals: dict[str, Curve] = {}
    try:
        rims = content.get("thresholds", {"oedema": USUAL["whole"], "core": USUAL["core"]})
        if case is not None and not prediction.is_file():
            rims = {"oedema": case.thresholds.oedema, "core": case.thresholds.core}
        thresholds = {"whole": float(rims["oedema"]), "core": float(rims["core"])}
        if prediction.is_file():
            volumes = Growth.model_validate(content["volumes"])
            intervals = {region: volumes.curve(region) for region in REGIONS}
        notes = tuple(str(note) for note in content.get("notes", ()))
    except (KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ReportError(f"{out}: prediction.json or summary.json is damaged ({reason}): run it again") from error
    kind = "prediction" if prediction.is_file() else "simulation"
    return Subject(name, kind, "", mesh, trajectory, case, thresholds, marks, {}, intervals, notes)


def _content(path: Path) -> dict[str, Any]:
    """A JSON file; empty where there is none."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReportError(f"{path}: not a JSON file ({' '.join(str(error).split())}): run it again") from error
    if not isinstance(content, dict):
        raise ReportError(f"{path}: holds no table: run it again")
    return content


def continued(fit: Subject, prediction: Subject) -> Subject:
    """Return a fit whose growth goes on as predicted; intervals before the last scan stay those of the fit."""
    intervals = {}
    for region, later in prediction.intervals.items():
        before = fit.intervals.get(region)
        early = np.zeros(0, dtype=bool) if before is None else before.days < later.days[0]
        parts = {end: getattr(later, end) for end in ("days", "value", "low", "high")}
        if before is not None:
            parts = {end: np.concatenate([getattr(before, end)[early], values]) for end, values in parts.items()}
        intervals[region] = Curve(**parts)
    notes = tuple(dict.fromkeys((*fit.notes, *prediction.notes)))
    return replace(fit, mesh=prediction.mesh, trajectory=prediction.trajectory, intervals=intervals, notes=notes)


def until(subject: Subject, day: float) -> Subject:
    """Return a subject without the frames after a day; the last one is interpolated between two, in logits.

    Raises:
        ConfigError: the day is not within the trajectory.
    """
    times, density = subject.trajectory.times, subject.trajectory.density
    if not times[0] < day <= times[-1] + 1e-6:
        raise ConfigError(
            f"{subject.name}: day {day:g} is outside the growth that is known, {times[0]:g} to {times[-1]:g}: "
            "choose a day within it"
        )
    after = min(int(np.searchsorted(times, day)), len(times) - 1)
    share = (day - times[after - 1]) / (times[after] - times[after - 1])
    last = (1.0 - share) * logit(density[after - 1]) + share * logit(density[after])
    cut = Trajectory(
        np.append(times[:after], day),
        np.vstack([density[:after], (1.0 / (1.0 + np.exp(-last))).astype(density.dtype)]),
        subject.trajectory.mesh_fingerprint,
        subject.trajectory.meta,
    )
    return replace(subject, trajectory=cut)
