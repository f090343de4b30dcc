"""Densities on any day of a trajectory: as values on the mesh, as images of the scans, as grids for pyvista."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from oncology.errors import ArgumentError
from oncology.imaging import Volume
from oncology.meshing import TetMesh
from oncology.model.trajectory import Trajectory
from oncology.results.files import Results
from oncology.results.images import on_day, session_density

if TYPE_CHECKING:
    import nibabel
    import pyvista

__all__ = ["density_on", "grid_of", "nifti", "vertex_density"]

SAME_DAY = 1e-6


def vertex_density(trajectory: Trajectory, day: float | None) -> NDArray[np.float64]:
    """Return the density (nv,) on a day; between two frames it is interpolated in the log-odds.

    Args:
        trajectory: densities over time.
        day: of the case's calendar; None: the last one.

    Raises:
        ArgumentError: the day is outside the trajectory.
    """
    first, last = float(trajectory.times[0]), float(trajectory.times[-1])
    wanted = last if day is None else day
    if not first - SAME_DAY <= wanted <= last + SAME_DAY:
        raise ArgumentError(
            "day", f"{wanted:g} is outside {first:g} to {last:g}: give a day within, or predict later days"
        )
    return on_day(trajectory, wanted)


def density_on(results: Results, day: float | None) -> Volume:
    """Return the density on a day in the space of the scans: a session's own grid on its day, else the last one's.

    Raises:
        ArgumentError: the day is outside the fit.
    """
    case, last = results.case, results.sessions[-1]
    if day is None:
        return results.densities[last]
    for session in case.sessions if case is not None else ():
        if abs(session.day - day) < SAME_DAY and session.id in results.densities:
            return results.densities[session.id]
    values = vertex_density(results.trajectory, day)
    return session_density(case, results.mesh, values, results.densities[last])


def nifti(volume: Volume) -> nibabel.Nifti1Image:
    """Return a volume as a nibabel image in millimetres."""
    import nibabel

    made: Any = nibabel  # its own type hints are incomplete
    image: nibabel.Nifti1Image = made.Nifti1Image(np.asarray(volume.data, dtype=np.float32), volume.affine)
    header: Any = image.header
    header.set_xyzt_units("mm")
    return image


def grid_of(
    mesh: TetMesh, density: NDArray[np.floating[Any]], thresholds: Mapping[str, float]
) -> pyvista.UnstructuredGrid:
    """Return a mesh with a density at its vertices, tissue in its cells and the thresholds as field data."""
    import pyvista

    grid = pyvista.UnstructuredGrid({pyvista.CellType.TETRA: mesh.cells}, mesh.points)
    grid.point_data["density"] = np.asarray(density, dtype=float)
    grid.cell_data["white"], grid.cell_data["grey"] = mesh.white, mesh.grey
    for region, threshold in thresholds.items():
        grid.field_data[f"threshold_{region}"] = np.array([threshold])
    grid.set_active_scalars("density")
    return grid
