"""What the browser samples: images and densities on regular grids along the RAS axes, one byte a voxel.

Densities are kept as logits, ln(u / (1 - u)): an advancing front is a logit that moves (a travelling wave falls off
exponentially, Fisher 1937), so that interpolation between voxels and between days moves the front, where interpolation
of u itself would blend two fronts. The error of a byte is 1/255 of the range of logits, a few hundredths of the
infiltration length. Distances to the surface of the mesh let the browser close a tumour's surface at the brain's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncology.imaging import Case, LabelTable, Session, Volume, resample_to, sample
from oncology.meshing import TetMesh
from oncology.meshing.raster import Raster, locate
from oncology.meshing.topology import face_table
from oncology.model.trajectory import Trajectory

__all__ = [
    "CLASSES",
    "HIGH",
    "LOW",
    "DensityGrid",
    "ImageGrid",
    "LabelGrid",
    "density_grid",
    "image_grid",
    "logit",
    "session_grid",
    "target_grid",
]

LOW, HIGH = -6.5, 6.5  # logits that bytes 0 and 255 stand for
SMALLEST = 0.002  # density that still counts for the extent of the grid
MOST_VOXELS = 260_000  # of the density grid: the browser contours it in a few milliseconds
FINEST = 0.5  # voxel over the mesh's edge length
MOST_FRAMES = 64
MOST_IMAGE_VOXELS = 6_000_000
SURROUNDINGS = 6.0  # mm of image around the brain
BAND = 2.0  # mm on both sides of the surface in which distances are told apart
# bytes of labels: above 63 in the whole tumour, above 191 in the core
CLASSES = {40: "resection cavity", 127: "oedema", 200: "necrosis", 230: "core", 255: "enhancing tumour"}
WHITE_SHADE, GREY_SHADE = 0.80, 0.50  # where tissue maps stand in for a T1

type Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class DensityGrid:
    """Density over time.

    Attributes:
        days: (nt,) day of each frame.
        frames: (nt, nx, ny, nz) logits, LOW to HIGH as 0 to 255.
        distance: (nx, ny, nz) distance to the surface of the mesh, positive inside, -BAND to BAND mm as 0 to 255.
        origin: (3,) centre of the first voxel, RAS mm.
        spacing: mm.
    """

    days: NDArray[np.float64]
    frames: Bytes
    distance: Bytes
    origin: NDArray[np.float64]
    spacing: float


@dataclass(frozen=True, eq=False)
class ImageGrid:
    """What lies under the density.

    Attributes:
        name: what it is, in words.
        brightness: (nx, ny, nz) 0 to 255.
        tissue: (nx, ny, nz) sixteen times the white plus the grey matter, each 0 to 15.
        origin: (3,) centre of the first voxel, RAS mm.
        spacing: mm.
        intensity: of the scan at brightness 0 and 255; None where tissue maps stand in for it.
    """

    name: str
    brightness: Bytes
    tissue: Bytes
    origin: NDArray[np.float64]
    spacing: float
    intensity: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class LabelGrid:
    """Labels on their own voxels, cut to the part that matters: no resampling moves their boundaries.

    Attributes:
        labels: (nx, ny, nz): 0 outside, else a key of CLASSES; 255 in a target.
        affine: (4, 4) voxel to RAS mm.
    """

    labels: Bytes
    affine: NDArray[np.float64]

    @property
    def texture(self) -> NDArray[np.float64]:
        """(4, 4) RAS mm to coordinates that run from 0 to 1 from face to face of the box."""
        to_unit = np.diag([*(1.0 / np.array(self.labels.shape)), 1.0])
        to_unit[:3, 3] = 0.5 / np.array(self.labels.shape)
        return np.asarray(to_unit @ np.linalg.inv(self.affine))


def logit(density: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return ln(u / (1 - u)), cut to LOW..HIGH; undershoots below zero are zero."""
    floor = 1.0 / (1.0 + np.exp(-LOW))
    inside = np.clip(np.asarray(density, dtype=float), floor, 1.0 - floor)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def density_grid(mesh: TetMesh, trajectory: Trajectory) -> DensityGrid:
    """Sample a trajectory where there is any tumour.

    Args:
        mesh: the mesh.
        trajectory: densities on its vertices.
    """
    kept = np.unique(np.linspace(0, len(trajectory.times) - 1, MOST_FRAMES).round().astype(int))
    reached = trajectory.density.max(axis=0) > SMALLEST
    points = mesh.points[reached] if reached.any() else mesh.points
    lower, upper = points.min(axis=0), points.max(axis=0)
    spacing = max(FINEST * mesh.size, float((np.prod(upper - lower + 1.0) / MOST_VOXELS) ** (1 / 3)))
    # two voxels of nothing all around: every surface closes inside the grid
    shape = np.ceil((upper - lower) / spacing).astype(int) + 5
    origin = 0.5 * (lower + upper) - 0.5 * (shape - 1) * spacing
    like = _blank(shape, origin, spacing)
    inner = np.zeros(like.shape, dtype=bool)
    inner[2:-2, 2:-2, 2:-2] = True
    raster = locate(mesh.points, mesh.cells, like)
    extended = locate(mesh.points, mesh.cells, like, inner, reach=2.0 * spacing)
    frames = np.zeros((len(kept), *like.shape), dtype=np.uint8)
    for number, row in enumerate(kept):
        values = logit((trajectory.density[row][extended.vertices] * extended.weights).sum(axis=1))
        frames[number].ravel()[extended.voxels] = np.round((values - LOW) * (255.0 / (HIGH - LOW)))
    frames[:, ~inner] = 0
    distance = np.round((_surface_distance(mesh, like, raster) + BAND) * (255.0 / (2.0 * BAND)))
    return DensityGrid(trajectory.times[kept], frames, distance.astype(np.uint8), origin, spacing)


def image_grid(mesh: TetMesh, case: Case | None) -> ImageGrid:
    """Sample T1 or tissue maps around the brain."""
    if case is None:
        return _mesh_image(mesh)
    tissue = case.white.data + case.grey.data > 0.5
    points = case.white.world(np.argwhere(tissue))
    like = _around(points, float(max(1.0, case.white.voxel_sizes.min())))
    white, grey = resample_to(case.white, like).data, resample_to(case.grey, like).data
    intensity = None
    if case.t1 is None:
        name = "tissue maps (white matter light, grey matter dark)"
        bright = WHITE_SHADE * white + GREY_SHADE * grey
    else:
        name = "T1-weighted scan"
        low, high = (float(end) for end in np.percentile(sample(case.t1, points[::7]), (0.5, 99.5)))
        low = min(low, 0.0)
        intensity = (low, low + max(1.15 * (high - low), float(np.finfo(np.float32).tiny)))
        bright = (resample_to(case.t1, like, outside=low).data - low) / (intensity[1] - low)
    return ImageGrid(name, _bytes(bright), _halves(white, grey), like.affine[:3, 3], like.affine[0, 0], intensity)


def session_grid(session: Session, table: LabelTable, around: DensityGrid) -> LabelGrid:
    """Return what was drawn in a session, where anything was or where the model has a density."""
    whole, core, drawn = session.whole.data, session.core.data, session.labels.data
    labels = np.where(core, 230, np.where(whole, 127, 0)).astype(np.uint8)
    labels[core & np.isin(drawn, table.necrosis)] = 200
    labels[core & np.isin(drawn, table.enhancing)] = 255
    labels[~whole & np.isin(drawn, table.cavity)] = 40
    ends = np.array([around.origin, around.origin + around.spacing * (np.array(around.distance.shape) - 1)])
    corners = np.array(np.meshgrid(*ends.T)).reshape(3, -1).T
    return _cut(session.whole.with_data(labels), session.whole.voxel(corners))


def target_grid(target: Volume) -> LabelGrid:
    """Return a target on its own voxels."""
    return _cut(target.with_data(np.where(target.data > 0, 255, 0).astype(np.uint8)), np.empty((0, 3)))


def _cut(image: Volume, also: NDArray[np.float64]) -> LabelGrid:
    """Labels with a voxel around all that are not zero, and with given places (n, 3), voxels, inside."""
    places = np.concatenate([np.argwhere(image.data), also])
    if not len(places):
        places = np.zeros((1, 3))
    low = np.clip(np.floor(places.min(axis=0)).astype(int) - 1, 0, np.array(image.shape) - 1)
    high = np.clip(np.ceil(places.max(axis=0)).astype(int) + 2, low + 1, image.shape)
    affine = image.affine.copy()
    affine[:3, 3] = image.world(low)
    return LabelGrid(image.data[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], affine)


def _mesh_image(mesh: TetMesh) -> ImageGrid:
    """The tissue of the mesh, averaged over the cells around each vertex."""
    like = _around(mesh.points, max(1.0, 0.6 * mesh.size))
    weights = np.repeat(mesh.volumes, 4)
    total = np.bincount(mesh.cells.ravel(), weights, len(mesh.points))
    raster = locate(mesh.points, mesh.cells, like)
    white, grey = (
        raster.image(np.bincount(mesh.cells.ravel(), weights * np.repeat(share, 4), len(mesh.points)) / total)
        for share in (mesh.white, mesh.grey)
    )
    name = "tissue of the mesh (white matter light, grey matter dark)"
    bright = WHITE_SHADE * white + GREY_SHADE * grey
    return ImageGrid(name, _bytes(bright), _halves(white, grey), like.affine[:3, 3], like.affine[0, 0])


def _halves(white: NDArray[Any], grey: NDArray[Any]) -> Bytes:
    """White and grey matter in the two halves of a byte."""
    high, low = (np.round(15.0 * np.clip(part, 0.0, 1.0)).astype(np.uint8) for part in (white, grey))
    return np.asarray(high * 16 + low, dtype=np.uint8)


def _around(points: NDArray[np.float64], spacing: float) -> Volume:
    lower, upper = points.min(axis=0) - SURROUNDINGS, points.max(axis=0) + SURROUNDINGS
    spacing = max(spacing, float((np.prod(upper - lower) / MOST_IMAGE_VOXELS) ** (1 / 3)))
    return _blank(np.ceil((upper - lower) / spacing).astype(int) + 1, lower, spacing)


def _blank(shape: NDArray[np.int64], origin: NDArray[np.float64], spacing: float) -> Volume:
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = origin
    return Volume(np.zeros(tuple(shape), dtype=np.uint8), affine)


def _bytes(brightness: NDArray[np.floating[Any]]) -> Bytes:
    return np.asarray(np.round(255.0 * np.clip(brightness, 0.0, 1.0)), dtype=np.uint8)


def _surface_distance(mesh: TetMesh, like: Volume, raster: Raster) -> NDArray[np.float64]:
    """Distance of the voxel centres to the boundary of the mesh, positive inside, cut to +-BAND mm.

    Only voxels near a change from inside to outside are measured; the others are further off than a voxel.
    """
    import pyvista as pv

    inside = np.zeros(like.shape, dtype=bool)
    inside.ravel()[raster.voxels] = True
    result = np.where(inside, BAND, -BAND)
    near = ndimage.distance_transform_cdt(inside, "chessboard") + ndimage.distance_transform_cdt(~inside, "chessboard")
    voxels = np.argwhere(near <= 2)
    if not len(voxels):
        return result
    faces = face_table(mesh.cells).boundary
    points = like.world(voxels)
    reach = 3.0 * like.affine[0, 0] + 2.0 * mesh.size
    lower, upper = points.min(axis=0) - reach, points.max(axis=0) + reach
    corners = mesh.points[faces]
    close = ((corners.max(axis=1) >= lower) & (corners.min(axis=1) <= upper)).all(axis=1)
    surface = pv.PolyData.from_regular_faces(mesh.points, faces[close])
    _, nearest = surface.find_closest_cell(points, return_closest_point=True)
    distance = np.linalg.norm(points - nearest, axis=1)
    signs = np.where(inside[tuple(voxels.T)], 1.0, -1.0)
    result[tuple(voxels.T)] = np.clip(signs * distance, -BAND, BAND)
    return np.asarray(result)
