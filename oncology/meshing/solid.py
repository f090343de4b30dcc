"""The part of a mesh in which a density exceeds a level, as a closed surface, and surfaces as STL files.

STL has no units and no space: the header says RAS, as 3D Slicer reads it, and lengths are millimetres.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncology.files import write_file
from oncology.meshing.mesh import TetMesh

__all__ = ["solid_surface", "write_stl"]

_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def solid_surface(
    mesh: TetMesh, density: NDArray[np.floating[Any]], level: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return points (n, 3), RAS mm, and triangles (m, 3) around all where a P1 density exceeds a level.

    The surface is closed: by the surface of the mesh, where the density exceeds the level there. It is empty where
    the level is never exceeded.

    Args:
        mesh: the mesh.
        density: (nv,) on its vertices.
        level: 0..1.
    """
    import pyvista as pv

    above = mesh.cells[(density > level)[mesh.cells].any(axis=1)]
    if not len(above):
        return np.empty((0, 3)), np.empty((0, 3), dtype=np.int64)
    used, numbers = np.unique(above, return_inverse=True)
    grid: Any = pv.UnstructuredGrid({pv.CellType.TETRA: numbers.reshape(-1, 4)}, mesh.points[used])
    grid.point_data["density"] = np.asarray(density[used], dtype=float)
    inside = grid.clip_scalar(scalars="density", value=level, invert=False)
    closed = inside.extract_surface(algorithm="dataset_surface").triangulate().clean()
    surface = closed.compute_normals(
        cell_normals=True, point_normals=False, consistent_normals=True, auto_orient_normals=True, split_vertices=False
    )  # the pieces of cut cells face either way
    return np.asarray(surface.points, dtype=float), np.asarray(surface.regular_faces, dtype=np.int64)


def write_stl(path: str | Path, points: NDArray[np.floating[Any]], triangles: NDArray[np.integer[Any]]) -> None:
    """Write triangles as binary STL, completely or not at all.

    Args:
        path: the file.
        points: (n, 3) RAS mm.
        triangles: (m, 3) counter-clockwise from outside.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    rows = np.zeros(len(triangles), dtype=_TRIANGLE)
    rows["corners"] = points[triangles]
    corners = rows["corners"].astype(float)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    rows["normal"] = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.finfo(float).tiny)
    header = f"SPACE=RAS mm {path.stem}".encode("ascii", "replace")[:80].ljust(80)
    write_file(path, header + np.uint32(len(rows)).tobytes() + rows.tobytes())
