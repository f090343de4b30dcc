"""Results for other programs: a series for ParaView, surfaces for 3D Slicer, and what BIDS asks of derivatives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from oncology import __version__
from oncology.files import write_file
from oncology.meshing import TetMesh
from oncology.meshing.solid import solid_surface, write_stl
from oncology.meshing.vtkhdf import write_vtkhdf
from oncology.model.trajectory import Trajectory
from oncology.results.images import on_day

__all__ = ["DESCRIPTION", "SERIES", "write_description", "write_shapes"]

SERIES, DESCRIPTION = "series.vtkhdf", "dataset_description.json"
BIDS_VERSION = "1.10.0"


def write_shapes(
    folder: Path, mesh: TetMesh, trajectory: Trajectory, thresholds: Mapping[str, float], days: Mapping[str, float]
) -> None:
    """Write densities over time, and the surface of each region on some days where there is any of it.

    Args:
        folder: one that exists.
        mesh: the mesh.
        trajectory: densities on it.
        thresholds: density at the boundary of each region.
        days: within the trajectory, by their names in the files (`surface_REGION_NAME.stl`).
    """
    write_vtkhdf(folder / SERIES, mesh, trajectory)
    for name, day in days.items():
        density = on_day(trajectory, day)
        for region, threshold in thresholds.items():
            points, triangles = solid_surface(mesh, density, threshold)
            if len(triangles):
                write_stl(folder / f"surface_{region}_{name}.stl", points, triangles)


def write_description(folder: Path, command: str, case: str) -> None:
    """Write `dataset_description.json`, by which BIDS tells derivatives and the program that made them.

    Args:
        folder: one that exists.
        command: of this package, such as "fit".
        case: id of the case.
    """
    content = {
        "Name": f"oncology {command} of {case}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "oncology", "Version": __version__, "Description": f"oncology {command}"}],
    }
    write_file(folder / DESCRIPTION, json.dumps(content, indent=1) + "\n")
