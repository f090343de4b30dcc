"""A results folder of a fit: read and checked as a whole, written as a whole, and what it holds in memory.

`estimate.json` is checked with the schema, images, mesh and trajectory with their own readers. Whatever is missing or
does not belong together is one `ReportError` of one line.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from oncology.errors import ConfigError
from oncology.files import write_file
from oncology.imaging import Case, Volume, read_volume, write_volume
from oncology.imaging.fingerprint import changed_inputs, fingerprints
from oncology.meshing import TetMesh, read_mesh, write_mesh
from oncology.model.growth import GrowthLaw
from oncology.model.laws import growth_law
from oncology.model.trajectory import Trajectory, read_trajectory, write_trajectory
from oncology.results.checkpoint import CHECKPOINT
from oncology.results.fitted import FittedTumour, plain_treatment, read_fitted
from oncology.results.schema import Estimate, ReportError, parsed, plain_content
from oncology.results.shared import write_description, write_shapes

__all__ = [
    "LOG",
    "Results",
    "deviation_name",
    "find_case",
    "read_config",
    "read_json",
    "read_log",
    "read_results",
    "require_same_inputs",
    "require_same_mesh",
    "with_provenance",
    "write_results",
]

LOG = "log.jsonl"


@dataclass(frozen=True, eq=False)
class Results:
    """What a fit found.

    Attributes:
        out: the folder that it was read from; None where it never was in one.
        estimate: contents of `estimate.json`.
        case: the case it was fitted to, where it is available.
        densities: predicted density 0..1 by session, in the space of that session's segmentation (rank 0).
        trajectory: densities over time on the vertices of `mesh` (rank 0).
        mesh: the mesh.
        log: accepted iterates of the fit, in order.
        config: every resolved setting.
        deviation: standard deviation of the last session's density from the uncertainty of the parameters, as that
            session's entry of `densities` (rank 0); None where the fit left none.
    """

    out: Path | None
    estimate: Estimate
    case: Case | None
    densities: Mapping[str, Volume]
    trajectory: Trajectory
    mesh: TetMesh
    log: tuple[Mapping[str, Any], ...]
    config: Mapping[str, Any]
    deviation: Volume | None = None

    @property
    def sessions(self) -> tuple[str, ...]:
        """Ids of the fitted sessions, in order."""
        return tuple(self.estimate.dice)

    @property
    def threshold(self) -> dict[str, float]:
        """Density at the boundary of each region."""
        return {"whole": self.estimate.thresholds.oedema, "core": self.estimate.thresholds.core}

    @property
    def name(self) -> str:
        """Start of every message about it."""
        return f"fit of {self.estimate.case}" if self.out is None else str(self.out)

    @property
    def law(self) -> GrowthLaw:
        """Growth law of the fit.

        Raises:
            ConfigError: a user's own law cannot be imported.
        """
        return growth_law(self.estimate.growth_law, self.estimate.growth_law_parameters)

    def fitted(self) -> FittedTumour:
        """Return the tumour from which a prediction starts, with the treatments of the case, later ones too.

        Raises:
            ConfigError: the case is not available, has other sessions or treatments than the fitted one, or the fit
                left no posterior.
        """
        case, estimate = self.case, self.estimate
        if case is None:
            raise ConfigError(f"{self.name}: case folder not found: give its folder with --case PATH")
        if [session.id for session in case.sessions] != list(estimate.dice):
            raise ConfigError(
                f"{case.root}: has other sessions than the fitted {', '.join(estimate.dice)}: fit the case again"
            )
        _check_past(case, estimate)
        content = {"posterior": estimate.posterior, "shape_correction": estimate.shape_correction}
        source = "estimate.json" if self.out is None else str(self.out / "estimate.json")
        return read_fitted(content, self.threshold, case.treatments, source)


def _check_past(case: Case, estimate: Estimate) -> None:
    """Refuse a case whose treatments before the last session are not those of the fit."""
    last = case.sessions[-1].day
    now = [plain_treatment(treatment) for treatment in case.treatments if treatment.day < last]
    before = [dict(entry) for entry in estimate.treatments if entry["day"] < last]
    for entry in (*now, *before):
        entry.pop("mask", None)  # a path, which changes where the case is moved
    if now != before:
        raise ConfigError(
            f"{case.root / 'case.toml'}: treatments before the last session are {len(now)}, the fit had {len(before)} "
            "or others: fit the case again"
        )


def read_results(out: Path, case: Case | None = None) -> Results:
    """Read a results folder and check that its files belong together and to the case.

    Args:
        out: folder that `oncology fit` wrote.
        case: the case, if it is available.

    Raises:
        ReportError: a file is missing, damaged, of another version, or belongs to another fit or case.
        ImageError: a density image cannot be read.
        MeshError: the mesh cannot be read.
        TrajectoryError: the trajectory cannot be read.
    """
    out = Path(out)
    path = out / "estimate.json"
    if not path.is_file():
        raise ReportError(f"{path}: no such file: give the folder that `oncology fit CASE --out OUT` wrote")
    estimate = parsed(Estimate, read_json(path, "fit the case again"), str(path), "fit the case again")
    densities = {session: read_volume(out / f"density_{session}.nii.gz") for session in estimate.dice}
    mesh, trajectory = read_mesh(out / "mesh.h5"), read_trajectory(out / "trajectory.h5")
    require_same_mesh(out, mesh, trajectory, "fit the case again, or put the files of one fit together")
    config = read_config(out)
    if case is not None:
        _check_case(out, case, estimate, densities)
        require_same_inputs(out, case, config)
    uncertain = out / deviation_name(list(estimate.dice)[-1])
    deviation = read_volume(uncertain) if uncertain.is_file() else None
    return Results(out, estimate, case, densities, trajectory, mesh, read_log(out / LOG), config, deviation)


def with_provenance(results: Results, command: str, date: str) -> Results:
    """Return results that tell by which command and on what date they were made."""
    return replace(results, config={**results.config, "provenance": {"command": command, "date": date}})


def deviation_name(session: str) -> str:
    """Return the name of the file with the standard deviation of a session's density."""
    return f"density-sd_{session}.nii.gz"


def write_results(folder: Path, results: Results) -> None:
    """Write everything but the page into a folder that exists; a checkpoint there is no longer needed and removed."""
    quality = results.estimate.mesh_quality or None
    write_mesh(folder / "mesh.h5", results.mesh, quality)
    write_trajectory(folder / "trajectory.h5", results.trajectory)
    for session, density in results.densities.items():
        write_volume(folder / f"density_{session}.nii.gz", density, np.float32)
    last = results.sessions[-1]
    days = {session.id: session.day for session in results.case.sessions} if results.case is not None else {}
    days = {name: day for name, day in days.items() if name in results.sessions} or {last: results.trajectory.times[-1]}
    write_shapes(folder, results.mesh, results.trajectory, results.threshold, days)
    write_description(folder, "fit", results.estimate.case)
    if results.deviation is not None:
        write_volume(folder / deviation_name(results.sessions[-1]), results.deviation, np.float32)
    write_file(folder / "config.toml", tomli_w.dumps(results.config))
    write_file(folder / LOG, "".join(json.dumps(record) + "\n" for record in results.log))
    write_file(folder / "estimate.json", json.dumps(plain_content(results.estimate), indent=1) + "\n")
    (folder / CHECKPOINT).unlink(missing_ok=True)


def require_same_mesh(out: Path, mesh: TetMesh, trajectory: Trajectory, remedy: str) -> None:
    """Refuse a trajectory that was computed on another mesh.

    Raises:
        ReportError: it was.
    """
    if trajectory.mesh_fingerprint != mesh.fingerprint or trajectory.density.shape[1] != len(mesh.points):
        raise ReportError(
            f"{out / 'trajectory.h5'}: was computed on mesh {trajectory.mesh_fingerprint[:12]}, mesh.h5 is "
            f"{mesh.fingerprint[:12]}: {remedy}"
        )


def require_same_inputs(out: Path, case: Case, config: Mapping[str, Any]) -> None:
    """Refuse a case whose files are not those that the folder was computed from.

    Raises:
        ReportError: they have changed; nothing is refused where `config.toml` has no fingerprints.
    """
    others = changed_inputs(config.get("inputs", {}), fingerprints(case))
    if others:
        raise ReportError(
            f"{out}: was computed from other inputs, {case.root} has changed since ({', '.join(others)}): "
            "give the old case with --case, or fit the case again"
        )


def find_case(out: Path, given: Path | None = None) -> Case | None:
    """Return the case that is given, else the one that `config.toml` names if it is still there, else None.

    Args:
        out: folder of a fit, a prediction or a simulation.
        given: folder of a case.

    Raises:
        CaseError: the case cannot be used.
        ReportError: `config.toml` cannot be read.
    """
    if given is not None:
        return Case.read(given)
    config = read_config(out)
    settings = config.get("settings", {})
    for named in (settings.get("case") if isinstance(settings, dict) else None, config.get("case")):
        if isinstance(named, str) and (Path(out) / named / "case.toml").is_file():
            return Case.read(Path(out) / named)
    return None


def read_config(out: Path) -> dict[str, Any]:
    """Read `config.toml`; empty where there is none.

    Raises:
        ReportError: the file is no TOML.
    """
    path = Path(out) / "config.toml"
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ReportError(f"{path}: not a TOML file ({_one_line(error)}): fit the case again") from error


def read_json(path: Path, remedy: str) -> Any:
    """Read a JSON file.

    Raises:
        ReportError: the file is missing or no JSON.
    """
    if not path.is_file():
        raise ReportError(f"{path}: no such file: give a folder that oncology wrote")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ReportError(f"{path}: not a JSON file ({_one_line(error)}): {remedy}") from error


def read_log(path: Path) -> tuple[Mapping[str, Any], ...]:
    """Read the accepted iterates; a run that was stopped and resumed may have left half a line, which is skipped."""
    if not path.is_file():
        return ()
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "misfit_mm3" in record:
            records.append(record)
    return tuple(records)


def _check_case(out: Path, case: Case, estimate: Estimate, densities: Mapping[str, Volume]) -> None:
    if case.id != estimate.case:
        raise ReportError(f"{out}: holds a fit of case {estimate.case!r}, {case.root} is {case.id!r}: give its case")
    scans = {session.id: session.labels for session in case.sessions}
    for session, density in densities.items():
        if session not in scans:
            raise ReportError(f"{out}: {session} was fitted, {case.root} has {', '.join(scans)}: give the fitted case")
        if not density.same_grid(scans[session]):
            raise ReportError(
                f"{density.name}: its grid {density.shape} is not that of {scans[session].name} "
                f"{scans[session].shape}: fit the case again"
            )


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
