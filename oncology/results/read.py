"""What a fit left behind, read and checked before anything is drawn: design section 4.

`estimate.json` is checked with pydantic, the images and the trajectory with their own readers. Whatever is missing or
does not belong together ends in one `ReportError` of one line.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from oncology.errors import InputError
from oncology.imaging import Case, Volume, read_volume
from oncology.meshing import TetMesh, read_mesh
from oncology.model.trajectory import Trajectory, read_trajectory

__all__ = ["Combination", "Curve", "Estimate", "Growth", "Parameter", "ReportError", "Results", "read_results"]

SCHEMA = 1
REGIONS = ("whole", "core")


class ReportError(InputError):
    """A results folder is incomplete, of another version, or its files do not belong together."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class Parameter(_Part):
    """One parameter of the model.

    Attributes:
        value: estimate, in `unit`; three coordinates for the seed.
        unit: as in `estimate.json`.
        sd_log: standard deviation of the natural logarithm.
        sd: standard deviation, in `unit`.
        identified: whether the data determine the value; otherwise it comes from the prior.
    """

    value: float | tuple[float, float, float]
    unit: str
    sd_log: float | None = None
    sd: float | tuple[float, float, float] | None = None
    identified: bool


class Quantity(_Part):
    """A number with its unit."""

    value: float
    unit: str


class Combination(_Part):
    """What the data say about several parameters together.

    Attributes:
        name: in words and symbols.
        value: in `unit`.
        unit: as in `estimate.json`.
        sd_log: standard deviation of the natural logarithm, prior included.
        identified: whether the data alone determine it.
    """

    name: str
    value: float
    unit: str
    sd_log: float
    identified: bool


class Volumes(_Part):
    """Volumes of one region, mL."""

    scan: float
    model: float


@dataclass(frozen=True, eq=False)
class Curve:
    """Volume of one region over time with its 95 % interval.

    Attributes:
        days: (nt,), day.
        value: (nt,), mL.
        low: (nt,) lower end, mL; equal to `value` where no interval is known.
        high: (nt,) upper end, mL.
    """

    days: NDArray[np.float64]
    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


class VolumeCurve(_Part):
    """Volumes of one region by day with the ends of their 95 % intervals, mL."""

    volume_ml: tuple[float, ...]
    low_ml: tuple[float, ...]
    high_ml: tuple[float, ...]


class Growth(_Part):
    """Growth from onset until some time after the last session, as the parameters' uncertainty spreads it."""

    days: tuple[float, ...]
    whole: VolumeCurve
    core: VolumeCurve

    def curve(self, region: str) -> Curve:
        """Return one region's curve."""
        volumes: VolumeCurve = getattr(self, region)
        ends = (volumes.volume_ml, volumes.low_ml, volumes.high_ml)
        return Curve(np.array(self.days), *(np.array(values) for values in ends))

    @model_validator(mode="after")
    def _of_one_length(self) -> Growth:
        lengths = {len(getattr(v, end)) for v in (self.whole, self.core) for end in VolumeCurve.model_fields}
        if lengths != {len(self.days)}:
            raise ValueError(f"has {len(self.days)} days and volumes of {sorted(lengths)}")
        return self


class Rims(_Part):
    """Cell densities at the rims of the two regions, 0..1."""

    oedema: float
    core: float


class Estimate(_Part):
    """Contents of `estimate.json`; what this version does not know is kept and shown as it is."""

    schema_: int = Field(alias="schema")
    case: str
    status: str
    parameters: dict[str, Parameter]
    derived: dict[str, Quantity]
    dice: dict[str, dict[str, float | None]] = Field(min_length=1)
    misfit: float
    iterations: int
    gradient_evaluations: int
    mesh: dict[str, Any]
    run: dict[str, Any]
    thresholds: Rims
    intervals: dict[str, Any] = {}
    combinations: tuple[Combination, ...] = ()
    not_identified: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    density_range: tuple[float, float] | None = None
    cut_density: float | None = None
    treatments: tuple[Any, ...] = ()
    mesh_quality: dict[str, Any] = {}
    volumes_ml: dict[str, dict[str, Volumes]] = {}
    growth_law: str = ""
    prior: Any = None
    eigen: Any = None
    reassigned_fraction: float | None = None
    single_seed_overlap: float | None = None
    shape_correction: dict[str, Any] = {}
    posterior: dict[str, Any] = {}
    mesh_margin_mm: float | None = None
    growth: Growth | None = None
    surrogate: dict[str, Any] = {}


@dataclass(frozen=True, eq=False)
class Results:
    """A results folder.

    Attributes:
        out: the folder.
        estimate: contents of `estimate.json`.
        case: the case it was fitted to, where it is at hand.
        densities: predicted density 0..1 by session, in the space of that session's segmentation.
        trajectory: densities over time on the vertices of `mesh`.
        mesh: the mesh.
        log: accepted iterates of the fit, in order.
        config: every resolved setting.
    """

    out: Path
    estimate: Estimate
    case: Case | None
    densities: Mapping[str, Volume]
    trajectory: Trajectory
    mesh: TetMesh
    log: tuple[Mapping[str, Any], ...]
    config: Mapping[str, Any]

    @property
    def sessions(self) -> tuple[str, ...]:
        """Ids of the fitted sessions, in order."""
        return tuple(self.densities)

    @property
    def threshold(self) -> dict[str, float]:
        """Density at the rim of each region."""
        return {"whole": self.estimate.thresholds.oedema, "core": self.estimate.thresholds.core}


def read_results(out: Path, case: Case | None = None) -> Results:
    """Read a results folder and check that its files belong together and to the case.

    Args:
        out: folder that `oncology fit` wrote.
        case: the case, if it is at hand.

    Raises:
        ReportError: a file is missing, damaged, of another version, or belongs to another fit or case.
        ImageError: a density image cannot be read.
        MeshError: the mesh cannot be read.
        TrajectoryError: the trajectory cannot be read.
    """
    out = Path(out)
    estimate = _estimate(out / "estimate.json")
    densities = {session: read_volume(out / f"density_{session}.nii.gz") for session in estimate.dice}
    mesh, trajectory = read_mesh(out / "mesh.h5"), read_trajectory(out / "trajectory.h5")
    if trajectory.mesh_fingerprint != mesh.fingerprint or trajectory.density.shape[1] != len(mesh.points):
        raise ReportError(
            f"{out / 'trajectory.h5'}: was computed on mesh {trajectory.mesh_fingerprint[:12]}, mesh.h5 is "
            f"{mesh.fingerprint[:12]}: fit the case again, or put the files of one fit together"
        )
    if case is not None:
        _check_case(out, case, estimate, densities)
    return Results(out, estimate, case, densities, trajectory, mesh, _log(out / "log.jsonl"), read_config(out))


def read_config(out: Path) -> dict[str, Any]:
    """Read `config.toml`; empty where there is none.

    Raises:
        ReportError: the file is no TOML.
    """
    path = out / "config.toml"
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ReportError(f"{path}: not a TOML file ({_one_line(error)}): fit the case again") from error


def _estimate(path: Path) -> Estimate:
    if not path.is_file():
        raise ReportError(f"{path}: no such file: give the folder that `oncology fit CASE --out OUT` wrote")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ReportError(f"{path}: not a JSON file ({_one_line(error)}): fit the case again") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise ReportError(f"{path}: has schema {schema!r}, this version reads {SCHEMA}: fit the case again")
    try:
        return Estimate.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        found = _one_line(repr(first["input"]))[:60]
        raise ReportError(f"{path}: {where} is {found} ({first['msg']}): fit the case again") from error


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


def _log(path: Path) -> tuple[Mapping[str, Any], ...]:
    """The accepted iterates; a run that was stopped and resumed may have left half a line, which is passed over."""
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


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
