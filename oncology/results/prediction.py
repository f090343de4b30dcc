"""A predicted tumour: densities, deviations, targets, coverage and volumes, in memory and as files."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from oncology.files import write_file
from oncology.imaging import Volume, write_volume
from oncology.imaging.recurrence import Recurrence
from oncology.meshing import TetMesh, write_mesh
from oncology.model.trajectory import Trajectory, write_trajectory
from oncology.results.schema import REGIONS, Growth, PredictionRecord, plain_content
from oncology.results.shared import write_description, write_shapes

__all__ = ["PredictionResults", "day_text", "timed", "write_prediction"]

_ENDS = ("volume_ml", "low_ml", "high_ml")


@dataclass(frozen=True, eq=False)
class PredictionResults:
    """What a prediction found; images and trajectory are on rank 0 only.

    Attributes:
        record: contents of `prediction.json`.
        median: median volume of each region on the days of `record.volumes`, mL.
        densities: predicted density 0..1 by day, on the grid of the last session.
        deviations: its standard deviation by day.
        targets: masks by name, the one around the core first.
        recurrences: later tumours.
        trajectory: densities over time on the vertices of `mesh`.
        mesh: the mesh.
        config: every resolved setting.
    """

    record: PredictionRecord
    median: Mapping[str, tuple[float, ...]]
    densities: Mapping[float, Volume]
    deviations: Mapping[float, Volume]
    targets: Mapping[str, Volume]
    recurrences: tuple[Recurrence, ...]
    trajectory: Trajectory
    mesh: TetMesh
    config: Mapping[str, Any]


def day_text(day: float) -> str:
    """Return a day as it stands in file names, to a thousandth."""
    return f"{day:.3f}".rstrip("0").rstrip(".")


def timed(prediction: PredictionResults, seconds: float) -> PredictionResults:
    """Return a prediction that tells how long it took, s."""
    run = {**prediction.record.run, "seconds": seconds}
    record = prediction.record.model_copy(update={"run": run})
    return replace(prediction, record=record, config={**prediction.config, "run": run})


def write_prediction(folder: Path, prediction: PredictionResults) -> None:
    """Write everything but the page into a folder that exists."""
    record = prediction.record
    for day in record.days:
        write_volume(folder / f"density_day-{day_text(day)}.nii.gz", prediction.densities[day], np.float32)
        write_volume(folder / f"density-sd_day-{day_text(day)}.nii.gz", prediction.deviations[day], np.float32)
    for name, mask in prediction.targets.items():
        write_volume(folder / f"{name}.nii.gz", mask, np.uint8)
    _write_volumes(folder / "volumes.csv", record.volumes, record.last_session.day)
    write_trajectory(folder / "trajectory.h5", prediction.trajectory)
    thresholds = {"whole": record.thresholds.oedema, "core": record.thresholds.core}
    days = {f"day-{day_text(day)}": day for day in record.days}
    write_shapes(folder, prediction.mesh, prediction.trajectory, thresholds, days)
    write_description(folder, "predict", record.case)
    write_mesh(folder / "mesh.h5", prediction.mesh)
    write_file(folder / "config.toml", tomli_w.dumps(prediction.config))
    write_file(folder / "prediction.json", json.dumps(plain_content(record), indent=1) + "\n")


def _write_volumes(path: Path, volumes: Growth, last: float) -> None:
    """Write the curves as a table: one row per day, mL."""
    columns = {f"{region}_{end}": getattr(getattr(volumes, region), end) for region in REGIONS for end in _ENDS}
    with path.open("w", newline="", encoding="utf-8") as handle:
        table = csv.writer(handle)
        table.writerow(["day", "days_after_last_session", *columns])
        for k, day in enumerate(volumes.days):
            table.writerow([day, day - last, *(values[k] for values in columns.values())])
