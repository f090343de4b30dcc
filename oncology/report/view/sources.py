"""What the view shows, read from a results folder: of a fit, of a simulation, or of a prediction.

A fit has an estimate with uncertainty; a simulation has none. The case gives scans, sessions and treatments where it is
at hand; without it the mesh stands in for the brain.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncology.imaging import Case
from oncology.meshing import TetMesh, read_mesh
from oncology.report.results import ReportError, read_config, read_results
from oncology.report.words import treatment
from oncology.trajectory import Trajectory, read_trajectory

__all__ = ["Growth", "Mark", "read_growth"]

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
class Growth:
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
        speed_sd_log: standard deviation of the logarithm of the front speed; None where it was not estimated.
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
    scans: Mapping[tuple[str, str], float] | None = None
    speed_sd_log: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def days(self) -> tuple[float, float]:
        """First and last day of the trajectory."""
        return float(self.trajectory.times[0]), float(self.trajectory.times[-1])

    @property
    def reference_day(self) -> float:
        """Mean day of the sessions, on which the front's place is best known; the last day without a case."""
        if self.case is None:
            return self.days[1]
        return sum(session.day for session in self.case.sessions) / len(self.case.sessions)


def read_growth(out: Path, case: Case | None = None) -> Growth:
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
    return _fit(out, case, marks) if (out / "estimate.json").is_file() else _simulation(out, case, marks)


def _fit(out: Path, case: Case | None, marks: tuple[Mark, ...]) -> Growth:
    results = read_results(out, case)
    estimate = results.estimate
    volumes = {(s, r): v.scan for s, regions in estimate.volumes_ml.items() for r, v in regions.items()}
    speed = estimate.derived.get("front_speed")
    spread = getattr(speed, "sd_log", None)
    notes = list(estimate.warnings)
    if estimate.not_identified:
        notes.append(f"Not determined by the data: {', '.join(estimate.not_identified).replace('_', ' ')}.")
    return Growth(
        name=estimate.case,
        kind="fit",
        status=estimate.status,
        mesh=results.mesh,
        trajectory=results.trajectory,
        case=case,
        thresholds=results.threshold,
        treatments=marks,
        scans=volumes,
        speed_sd_log=float(spread) if spread is not None else None,
        notes=tuple(notes),
    )


def _simulation(out: Path, case: Case | None, marks: tuple[Mark, ...]) -> Growth:
    mesh, trajectory = read_mesh(out / "mesh.h5"), read_trajectory(out / "trajectory.h5")
    if trajectory.mesh_fingerprint != mesh.fingerprint or trajectory.density.shape[1] != len(mesh.points):
        raise ReportError(
            f"{out / 'trajectory.h5'}: was computed on mesh {trajectory.mesh_fingerprint[:12]}, mesh.h5 is "
            f"{mesh.fingerprint[:12]}: put the files of one run together"
        )
    name = str(trajectory.meta.get("case", "")) or (case.id if case is not None else out.resolve().name)
    if case is not None and case.id != name:
        raise ReportError(f"{out}: was grown in case {name!r}, {case.root} is {case.id!r}: give its case")
    kind = "prediction" if read_config(out).get("command") == "predict" else "simulation"
    return Growth(name, kind, "", mesh, trajectory, case, _rims(out / "summary.json", case), marks)


def _rims(path: Path, case: Case | None) -> dict[str, float]:
    """The rims' densities: of the case, of the summary, or the usual ones."""
    if case is not None:
        return {"whole": case.thresholds.oedema, "core": case.thresholds.core}
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))["thresholds"]
        return {"whole": float(content["oedema"]), "core": float(content["core"])}
    except (OSError, ValueError, KeyError, TypeError):
        return dict(USUAL)
