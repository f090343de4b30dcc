"""Densities on a mesh as images in the space of the scans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncology.imaging import Case, Volume, resample_to
from oncology.meshing import TetMesh
from oncology.meshing.raster import Raster, locate
from oncology.model.trajectory import Trajectory

__all__ = ["density_image", "on_day", "session_densities", "session_density", "tissue_raster"]

_FAINTEST = 1e-12  # density below which log-odds are cut


def session_density(case: Case | None, mesh: TetMesh, values: NDArray[np.floating[Any]], like: Volume) -> Volume:
    """Return a P1 density (nv,) on the voxels of an image, clipped to [0, 1]."""
    return density_image(tissue_raster(case, mesh, like), values, like)


def session_densities(case: Case, mesh: TetMesh, values: Sequence[NDArray[np.floating[Any]]]) -> dict[str, Volume]:
    """Return P1 densities (nv,), one for each session, on the voxels of that session's segmentation.

    Sessions on one grid share the search for the cells of its voxels.
    """
    rasters: list[tuple[Volume, Raster]] = []
    densities = {}
    for session, density in zip(case.sessions, values, strict=True):
        raster = next((raster for grid, raster in rasters if grid.same_grid(session.whole)), None)
        if raster is None:
            raster = tissue_raster(case, mesh, session.whole)
            rasters.append((session.whole, raster))
        densities[session.id] = density_image(raster, density, session.whole)
    return densities


def tissue_raster(case: Case | None, mesh: TetMesh, like: Volume) -> Raster:
    """Return where the voxels of an image lie in a mesh; tissue next to the mesh belongs to it."""
    if case is None:
        return locate(mesh.points, mesh.cells, like)
    tissue = resample_to(case.white, like).data + resample_to(case.grey, like).data > 0.5
    return locate(mesh.points, mesh.cells, like, tissue)


def density_image(raster: Raster, values: NDArray[np.floating[Any]], like: Volume) -> Volume:
    """Return a P1 density (nv,) on the voxels of an image, clipped to [0, 1]."""
    return like.with_data(np.clip(raster.image(values), 0.0, 1.0).astype(np.float32))


def on_day(trajectory: Trajectory, day: float) -> NDArray[np.float64]:
    """Return the density (nv,) on a day within a trajectory: that of a frame, or between two in the log-odds.

    An advancing front is a log-odds that moves (a travelling wave falls off exponentially, Fisher 1937), so that
    interpolation of ln(u / (1 - u)) moves the front where interpolation of u itself would blend two fronts.
    """
    times, density = trajectory.times, trajectory.density
    nearest = int(np.abs(times - day).argmin())
    if abs(times[nearest] - day) < 1e-6:
        return np.asarray(density[nearest], dtype=float)
    after = int(np.searchsorted(times, day))
    weight = (day - times[after - 1]) / (times[after] - times[after - 1])
    between = (1.0 - weight) * _logit(density[after - 1]) + weight * _logit(density[after])
    return np.asarray(1.0 / (1.0 + np.exp(-between)))


def _logit(density: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    inside = np.clip(np.asarray(density, dtype=float), _FAINTEST, 1.0 - _FAINTEST)
    return np.asarray(np.log(inside) - np.log1p(-inside))
