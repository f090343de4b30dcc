"""What the view shows, read from a results folder: of a fit, of a simulation, or of a prediction.

A fit has an estimate with uncertainty; a simulation has none. The case gives scans, sessions and treatments where it is
available; without it the mesh replaces the brain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from oncology.errors import ConfigError
from oncology.imaging import Case, Volume, read_volume
from oncology.imaging.describe import treatment
from oncology.meshing import TetMesh, read_mesh
from oncology.model.trajectory import Trajectory, read_trajectory
from oncology.results.files import (
    Results,
    read_config,
    read_json,
    read_results,
    require_same_inputs,
    require_same_mesh,
)
from oncology.results.images import on_day
from oncology.results.prediction import PredictionResults
from oncology.results.schema import (
    REGIONS,
    Curve,
    Growth,
    PredictionRecord,
    ReportError,
    SimulationRecord,
    parsed,
)

__all__ = ["Mark", "Subject", "continued", "read_subject", "subject_of", "subject_of_prediction", "until"]


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
        case: the case, where it is available.
        thresholds: density at the boundary of "whole" and "core", 0..1.
        treatments: of the case.
        scans: (session, region) to the volume of the segmentation, mL.
        intervals: volume of "whole" and "core" over time with 95 % intervals; empty where nothing was estimated.
        notes: sentences to show beside the picture.
        targets: predicted radiotherapy targets by name.
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
    targets: Mapping[str, Volume] = field(default_factory=dict)

    @property
    def days(self) -> tuple[float, float]:
        """First and last day of the trajectory."""
        return float(self.trajectory.times[0]), float(self.trajectory.times[-1])


def read_subject(out: Path, case: Case | None = None) -> Subject:
    """Read a folder that `oncology fit`, `simulate` or `predict` wrote.

    Args:
        out: the folder.
        case: the case, if it is available.

    Raises:
        ReportError: a file is missing, damaged, of another version, or belongs to another fit or case.
        MeshError: the mesh cannot be read.
        TrajectoryError: the trajectory cannot be read.
    """
    out = Path(out)
    if not out.is_dir():
        raise ReportError(f"{out}: no such folder: give the one that `oncology fit CASE --out OUT` wrote")
    return subject_of(read_results(out, case)) if (out / "estimate.json").is_file() else _run(out, case)


def subject_of(results: Results) -> Subject:
    """Return what is shown of a fit."""
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
        case=results.case,
        thresholds=results.threshold,
        treatments=_marks(results.case),
        scans=volumes,
        intervals={} if growth is None else {region: growth.curve(region) for region in REGIONS},
        notes=tuple(notes),
    )


def subject_of_prediction(prediction: PredictionResults, case: Case | None) -> Subject:
    """Return what is shown of a prediction."""
    record = prediction.record
    subject = _grown("prediction", record, prediction.mesh, prediction.trajectory, case, record.volumes)
    return replace(subject, targets=prediction.targets)


def _marks(case: Case | None) -> tuple[Mark, ...]:
    return tuple(Mark(given.day, treatment(given)) for given in case.treatments) if case is not None else ()


def _run(out: Path, case: Case | None) -> Subject:
    """A simulation or a prediction."""
    remedy = "run it again"
    mesh, trajectory = read_mesh(out / "mesh.h5"), read_trajectory(out / "trajectory.h5")
    require_same_mesh(out, mesh, trajectory, "put the files of one run together")
    path = out / "prediction.json"
    if path.is_file():
        record = parsed(PredictionRecord, read_json(path, remedy), str(path), remedy)
        subject = _grown("prediction", record, mesh, trajectory, case, record.volumes)
        subject = replace(subject, targets={name: _target(out, name) for name in record.targets})
    else:
        path = out / "summary.json"
        simulated = parsed(SimulationRecord, read_json(path, remedy), str(path), remedy)
        subject = _grown("simulation", simulated, mesh, trajectory, case)
    if case is not None and case.id != subject.name:
        raise ReportError(f"{out}: was grown in case {subject.name!r}, {case.root} is {case.id!r}: give its case")
    if case is not None:
        require_same_inputs(out, case, read_config(out))
    return subject


def _target(out: Path, name: str) -> Volume:
    """The mask of a target that prediction.json names."""
    path = out / f"{name}.nii.gz"
    if not path.is_file():
        raise ReportError(f"{path}: no such file: run it again")
    return read_volume(path, None)


def _grown(
    kind: str,
    record: PredictionRecord | SimulationRecord,
    mesh: TetMesh,
    trajectory: Trajectory,
    case: Case | None,
    volumes: Growth | None = None,
) -> Subject:
    intervals = {} if volumes is None else {region: volumes.curve(region) for region in REGIONS}
    given = record.thresholds if case is None or kind == "prediction" else case.thresholds
    levels = {"whole": given.oedema, "core": given.core}
    return Subject(record.case, kind, "", mesh, trajectory, case, levels, _marks(case), {}, intervals, record.notes)


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
    return replace(
        fit,
        mesh=prediction.mesh,
        trajectory=prediction.trajectory,
        intervals=intervals,
        notes=notes,
        targets=prediction.targets,
    )


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
    cut = Trajectory(
        np.append(times[:after], day),
        np.vstack([density[:after], on_day(subject.trajectory, day).astype(density.dtype)]),
        subject.trajectory.mesh_fingerprint,
        subject.trajectory.meta,
    )
    return replace(subject, trajectory=cut)
