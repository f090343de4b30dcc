"""Measured over time: volumes above a density, and how far the invisible front lies beyond the visible boundary.

Both belong to the P1 density itself, not to the smoother surface on the screen: volumes in closed form
(`oncology.inverse.misfit.volume_fraction`), distances from the iso-surface of the front to the nearest point of that of
the boundary. The browser interpolates the tables in the logit of the density, along which fronts are evenly spaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncology.imaging.metrics import MM3_PER_ML
from oncology.meshing import TetMesh
from oncology.model.fractions import volume_fraction

__all__ = ["FRONTS", "LEVELS", "front_distances", "iso_surface", "level_table", "reached", "volumes_above"]

LEVELS = (0.01, 0.02, 0.035, 0.06, 0.1, 0.16, 0.25, 0.36, 0.48, 0.6, 0.72, 0.84, 0.92)  # densities of the tables
FRONTS = (0.01, 0.02, 0.035, 0.06, 0.1, 0.16)  # densities of fronts beyond the boundary
MOST_POINTS = 600  # of a front for which the distance is looked up

type Floats = NDArray[np.float64]


def level_table(thresholds: Sequence[float]) -> tuple[float, ...]:
    """Return the densities of the tables: the usual ones and the thresholds, ascending."""
    return tuple(sorted({*LEVELS, *thresholds}))


def reached(mesh: TetMesh, density: NDArray[np.floating[Any]], level: float) -> tuple[TetMesh, NDArray[np.int64]]:
    """Return the part of a mesh in which a density ever exceeds a level, and the numbers of its vertices.

    Volumes above that level and surfaces of it or of higher ones are the same on the part.

    Args:
        mesh: the mesh.
        density: (nt, nv) on its vertices.
        level: 0..1.
    """
    inside = (density.max(axis=0) > level)[mesh.cells].any(axis=1)
    if not inside.any():
        inside[0] = True
    vertices, numbers = np.unique(mesh.cells[inside], return_inverse=True)
    white, grey = mesh.white[inside], mesh.grey[inside]
    return replace(mesh, points=mesh.points[vertices], cells=numbers.reshape(-1, 4), white=white, grey=grey), vertices


def volumes_above(mesh: TetMesh, density: NDArray[np.floating[Any]], levels: Sequence[float]) -> Floats:
    """Return the volume (n,), mL, in which a density exceeds each level.

    Args:
        mesh: the mesh.
        density: (nv,) on its vertices.
        levels: n densities, 0..1.
    """
    corners = np.asarray(density, dtype=float)[mesh.cells]
    lowest, highest = corners.min(axis=1), corners.max(axis=1)
    result = np.empty(len(levels))
    for number, level in enumerate(levels):
        full, cut = lowest > level, (lowest <= level) & (highest > level)
        volume = mesh.volumes[full].sum() + volume_fraction(corners[cut], level)[0] @ mesh.volumes[cut]
        result[number] = volume / MM3_PER_ML
    return result


def iso_surface(mesh: TetMesh, density: NDArray[np.floating[Any]], level: float) -> Any:
    """Return the iso-surface of a P1 density, open where it meets the surface of the mesh (pyvista PolyData)."""
    import pyvista as pv

    corners = density[mesh.cells]
    cut = mesh.cells[(corners.min(axis=1) <= level) & (corners.max(axis=1) > level)]
    if not len(cut):
        return pv.PolyData()
    used, numbers = np.unique(cut, return_inverse=True)
    grid = pv.UnstructuredGrid({pv.CellType.TETRA: numbers.reshape(-1, 4)}, mesh.points[used])
    grid.point_data["density"] = np.asarray(density[used], dtype=float)
    return grid.contour([level], scalars="density", compute_normals=False)


def front_distances(
    mesh: TetMesh, density: NDArray[np.floating[Any]], fronts: Sequence[float], threshold: float
) -> tuple[Floats, Floats]:
    """Return how far fronts lie from the boundary: mean over the front's area and largest distance, (n,) each, mm.

    Args:
        mesh: the mesh.
        density: (nv,) on its vertices.
        fronts: n densities, each at most that of the boundary.
        threshold: density at the visible boundary.

    Returns:
        Means and largest distances; nan where there is no boundary or no front.
    """
    mean, largest = np.full(len(fronts), np.nan), np.full(len(fronts), np.nan)
    surface = iso_surface(mesh, density, threshold)
    if not surface.n_cells:
        return mean, largest
    found = [_samples(iso_surface(mesh, density, level)) for level in fronts]
    points = np.concatenate([points for points, _ in found])
    if not len(points):
        return mean, largest
    _, nearest = surface.find_closest_cell(points, return_closest_point=True)
    distances = np.split(np.linalg.norm(points - nearest, axis=1), np.cumsum([len(p) for p, _ in found])[:-1])
    for number, (away, (_, areas)) in enumerate(zip(distances, found, strict=True)):
        if len(away):
            mean[number], largest[number] = np.average(away, weights=areas), away.max()
    return mean, largest


def _samples(front: Any) -> tuple[Floats, Floats]:
    """Centres and areas of evenly chosen triangles."""
    if not front.n_cells:
        return np.empty((0, 3)), np.empty(0)
    corners = front.points[front.regular_faces[:: max(1, front.n_cells // MOST_POINTS)]].astype(float)
    areas = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return corners.mean(axis=1), np.maximum(areas, np.finfo(float).tiny)
