"""Surfaces of brain and white matter, thin enough to turn smoothly on a computer without a graphics card.

Contours of the smoothed tissue maps, or the boundary of the mesh where no case is available, without specks, then
decimated by quadric error (Garland and Heckbert, SIGGRAPH 1997) to a bounded number of triangles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncology.imaging import Case, Volume
from oncology.meshing import TetMesh
from oncology.meshing.topology import face_table

__all__ = ["MOST_TRIANGLES", "Surface", "anatomy", "decimated", "enclosed", "mask_surface", "tissue_surface"]

SPACING = 1.6  # mm between the samples that are contoured
MOST_TRIANGLES = {"brain": 45_000, "white": 35_000, "mask": 8_000}
MASK_LEVELS = (0.5, 0.35)  # between which contours of smoothed masks keep their volume
SPECK = 0.01  # fraction of the largest piece's triangles below which a piece is left out


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangles.

    Attributes:
        points: (n, 3) RAS mm.
        triangles: (m, 3) counter-clockwise from outside.
    """

    points: NDArray[np.float32]
    triangles: NDArray[np.uint32]


def anatomy(mesh: TetMesh, case: Case | None) -> dict[str, Surface]:
    """Return the surfaces of "brain" and, where the case is available, of "white" matter."""
    if case is None:
        boundary = face_table(mesh.cells).boundary
        used, numbers = np.unique(boundary, return_inverse=True)
        faces = numbers.reshape(-1, 3).astype(np.uint32)
        return {"brain": decimated(Surface(mesh.points[used].astype(np.float32), faces), MOST_TRIANGLES["brain"])}
    tissues = {"brain": case.white.data + case.grey.data, "white": case.white.data}
    return {
        name: decimated(tissue_surface(case.white.with_data(data)), MOST_TRIANGLES[name])
        for name, data in tissues.items()
    }


def tissue_surface(tissue: Volume, spacing: float = SPACING, *, specks: bool = False, level: float = 0.5) -> Surface:
    """Contour a probability after smoothing it by half a sample.

    Args:
        tissue: probability 0..1.
        spacing: mm between samples, rounded to whole voxels.
        specks: keep small pieces.
        level: of the contour.
    """
    every = np.maximum(np.round(spacing / tissue.voxel_sizes).astype(int), 1)
    smooth = ndimage.gaussian_filter(np.asarray(tissue.data, dtype=np.float32), 0.5 * spacing / tissue.voxel_sizes)
    thinned = np.pad(smooth[:: every[0], :: every[1], :: every[2]], 1)
    grid = _vista().ImageData(dimensions=thinned.shape)
    grid.point_data["value"] = thinned.ravel(order="F")
    found = grid.contour([level], scalars="value", method="flying_edges", compute_normals=False)
    affine = tissue.affine @ np.diag([*every, 1.0])
    affine[:3, 3] -= affine[:3, :3].sum(axis=1)  # the padding
    found.transform(affine, inplace=True)
    triangles = found.regular_faces
    if np.linalg.det(affine[:3, :3]) < 0.0:
        triangles = triangles[:, ::-1]
    if specks:
        return Surface(np.asarray(found.points, np.float32), np.asarray(triangles, np.uint32))
    return _without_specks(np.asarray(found.points), np.asarray(triangles))


def mask_surface(mask: Volume) -> Surface:
    """Contour a mask after smoothing it by half a voxel, at the level that keeps its volume; empty for an empty one.

    At one half, a ball of three voxels would lose 9 % of its volume with the corners of its voxels.
    """
    inside = np.argwhere(mask.data)
    if not len(inside):
        return Surface(np.empty((0, 3), np.float32), np.empty((0, 3), np.uint32))
    low, high = np.maximum(inside.min(axis=0) - 3, 0), inside.max(axis=0) + 4
    affine = mask.affine.copy()
    affine[:3, 3] = mask.world(low)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    part = Volume(np.asarray(mask.data[box] > 0, dtype=np.float32), affine)
    contour = partial(tissue_surface, part, float(mask.voxel_sizes.min()), specks=True)
    wanted, (high_level, low_level) = len(inside) * mask.voxel_volume, MASK_LEVELS
    least, most = enclosed(contour(level=high_level)), enclosed(contour(level=low_level))
    share = np.clip((wanted - least) / (most - least), 0.0, 1.0) if most > least else 0.0
    return decimated(contour(level=high_level + share * (low_level - high_level)), MOST_TRIANGLES["mask"])


def enclosed(surface: Surface) -> float:
    """Return the volume within a closed surface, mm^3 (divergence theorem)."""
    a, b, c = np.moveaxis(surface.points[surface.triangles].astype(float), 1, 0)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6.0)


def _without_specks(points: NDArray[Any], triangles: NDArray[Any]) -> Surface:
    if not len(triangles):
        return Surface(np.empty((0, 3), np.float32), np.empty((0, 3), np.uint32))
    labelled = _vista().PolyData.from_regular_faces(points, triangles).connectivity("all")
    piece = np.asarray(labelled.cell_data["RegionId"])
    sizes = np.bincount(piece)
    kept = triangles[sizes[piece] >= SPECK * sizes.max()]
    used, numbers = np.unique(kept, return_inverse=True)
    return Surface(points[used].astype(np.float32), numbers.reshape(-1, 3).astype(np.uint32))


def decimated(surface: Surface, most: int) -> Surface:
    """Return a surface of at most about `most` triangles that stays close to the given one.

    Args:
        surface: closed or not.
        most: triangles.
    """
    if len(surface.triangles) <= most:
        return surface
    whole = _vista().PolyData.from_regular_faces(surface.points, surface.triangles.astype(np.int64))
    thin = whole.decimate(1.0 - most / len(surface.triangles), volume_preservation=True)
    return Surface(np.asarray(thin.points, np.float32), np.asarray(thin.regular_faces, np.uint32))


def _vista() -> Any:
    """The library, without its type hints: they do not allow all that it allows."""
    import pyvista

    return pyvista
