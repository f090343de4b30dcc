"""A simulated tumour: trajectory, images, masses and volumes, in memory and as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from oncology.files import write_file
from oncology.imaging import Case, Volume, write_volume
from oncology.meshing import TetMesh, write_mesh
from oncology.meshing.raster import locate
from oncology.model.trajectory import Trajectory, write_trajectory
from oncology.results.images import on_day
from oncology.results.schema import SimulationRecord, plain_content
from oncology.results.shared import write_description, write_shapes

__all__ = ["SimulationResults", "day_image", "timed_simulation", "write_simulation"]


@dataclass(frozen=True, eq=False)
class SimulationResults:
    """What a simulation found; the trajectory is on rank 0 only.

    Attributes:
        record: contents of `summary.json`.
        case: the patient.
        days: days to write as images, ascending.
        trajectory: densities over time on the vertices of `mesh`.
        mesh: the mesh.
        quality: its quality, where it was measured.
        config: every resolved setting.
    """

    record: SimulationRecord
    case: Case
    days: tuple[float, ...]
    trajectory: Trajectory
    mesh: TetMesh
    quality: Mapping[str, float | int | str] | None
    config: Mapping[str, Any]

    @property
    def threshold(self) -> dict[str, float]:
        """Density at the boundary of each region."""
        return {"whole": self.record.thresholds.oedema, "core": self.record.thresholds.core}


def day_image(results: SimulationResults, density: NDArray[np.floating[Any]]) -> Volume:
    """Return a density (nv,) on the grid of the tissue maps."""
    case, mesh = results.case, results.mesh
    raster = locate(mesh.points, mesh.cells, case.white, case.white.data + case.grey.data > 0.5)
    return case.white.with_data(np.maximum(raster.image(density), 0.0))


def timed_simulation(results: SimulationResults, seconds: float) -> SimulationResults:
    """Return a simulation that tells how long it took, s."""
    run = {**results.record.run, "seconds": seconds}
    record = results.record.model_copy(update={"run": run})
    return replace(results, record=record, config={**results.config, "seconds": seconds})


def write_simulation(folder: Path, results: SimulationResults) -> None:
    """Write everything into a folder that exists."""
    write_trajectory(folder / "trajectory.h5", results.trajectory)
    days = {f"day-{_plain(day)}": day for day in results.days}
    write_shapes(folder, results.mesh, results.trajectory, results.threshold, days)
    write_description(folder, "simulate", results.case.id)
    for day in results.days:
        write_volume(
            folder / f"density_day-{_plain(day)}.nii.gz",
            day_image(results, on_day(results.trajectory, day)),
            np.float32,
        )
    write_mesh(folder / "mesh.h5", results.mesh, results.quality)
    write_file(folder / "config.toml", tomli_w.dumps(results.config))
    write_file(folder / "summary.json", json.dumps(plain_content(results.record), indent=1) + "\n")


def _plain(day: float) -> str:
    return f"{day:.6f}".rstrip("0").rstrip(".")
