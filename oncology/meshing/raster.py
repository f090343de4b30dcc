"""P1 functions on a mesh, evaluated on the voxels of an image by barycentric interpolation at the voxel centres.

The cell of each voxel centre is found once, for any number of functions. Tissue voxels within a given reach
of the mesh but outside it (the mesh surface cuts through voxels) take the value of their nearest covered voxel, so that
a predicted density ends where the brain of the image ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from oncology.imaging.volume import Volume, extent

__all__ = ["Raster", "locate", "rasterise"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]
type Mask = NDArray[np.bool_]

CHUNK = 300_000  # pairs of cell and candidate voxel at a time
ROUND_OFF = 1e-9  # barycentric: a voxel centre on a face belongs to both cells


@dataclass(frozen=True, eq=False)
class Raster:
    """Where the voxel centres of an image lie in a mesh.

    Attributes:
        shape: grid of the image.
        voxels: (n,) flat index (C order) of every voxel that gets a value.
        vertices: (n, 4) mesh vertices around each.
        weights: (n, 4) their barycentric weights, which sum to one.
    """

    shape: tuple[int, int, int]
    voxels: Ints
    vertices: Ints
    weights: Floats

    def image(self, values: NDArray[np.floating]) -> Floats:
        """Return the P1 function with the given vertex values (nv,) on the grid, 0 where the mesh does not reach."""
        data = np.zeros(self.shape)
        data.ravel()[self.voxels] = (values[self.vertices] * self.weights).sum(axis=1)
        return data


def rasterise(
    points: Floats, cells: Ints, values: Floats, like: Volume, tissue: Mask | None = None, reach: float = 3.0
) -> Floats:
    """Return one P1 function at the voxel centres of an image: `locate` and `Raster.image` in one call.

    Args:
        points: as in `locate`, like all others but the next.
        cells: see above.
        values: (nv,) vertex values.
        like: see above.
        tissue: see above.
        reach: see above.

    Example:
        >>> corners = np.array([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]])
        >>> image = Volume(np.zeros((3, 2, 1)), np.eye(4))
        >>> rasterise(corners, np.array([[0, 1, 2, 3]]), corners[:, 0], image)[:, :, 0].tolist()
        [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]
    """
    return locate(points, cells, like, tissue, reach).image(values)


def locate(points: Floats, cells: Ints, like: Volume, tissue: Mask | None = None, reach: float = 3.0) -> Raster:
    """Find the cell of every voxel centre of an image.

    Args:
        points: (nv, 3) vertices, RAS mm.
        cells: (nc, 4) vertex indices, cells of positive volume.
        like: image whose grid is used, with any affine.
        tissue: voxels of that grid which may take the value of their nearest covered voxel.
        reach: how far from a covered voxel they may lie, mm.
    """
    corners = like.voxel(points).take(cells, axis=0)
    frames = np.linalg.inv(corners[:, 1:] - corners[:, :1])
    owner = _owners(corners, frames, like.shape)
    voxels = np.flatnonzero(owner >= 0)
    cell = owner[voxels]
    centres = np.stack(np.unravel_index(voxels, like.shape), axis=1)
    weights = _weights(corners[cell, 0], frames[cell], centres[:, None, :])[:, 0]
    raster = Raster(like.shape, voxels, cells[cell], weights)
    return raster if tissue is None else _extended(raster, tissue, reach, like)


def _owners(corners: Floats, frames: Floats, shape: tuple[int, int, int]) -> Ints:
    """The number of a cell that holds each voxel centre (flat, C order), -1 where none does."""
    low = np.maximum(np.ceil(corners.min(axis=1) - ROUND_OFF).astype(np.int64), 0)
    high = np.minimum(np.floor(corners.max(axis=1) + ROUND_OFF).astype(np.int64), np.array(shape) - 1)
    extent = high - low + 1
    owner = np.full(shape, -1, dtype=np.int64)
    kept = np.flatnonzero((extent > 0).all(axis=1))
    # cells with the same number of candidate voxels along each axis are treated together
    keys = np.ravel_multi_index(tuple(extent[kept].T), np.array(shape) + 1)
    kept, keys = kept[np.argsort(keys, kind="stable")], np.sort(keys)
    for members in np.split(kept, np.flatnonzero(np.diff(keys)) + 1) if len(kept) else ():
        offsets = np.indices(extent[members[0]]).reshape(3, -1).T
        for part in np.array_split(members, len(members) * len(offsets) // CHUNK + 1):
            voxels = low[part][:, None, :] + offsets[None]
            inside = (_weights(corners[part, 0], frames[part], voxels) >= -ROUND_OFF).all(axis=2)
            owner[tuple(voxels[inside].T)] = np.broadcast_to(part[:, None], inside.shape)[inside]
    return owner.ravel()


def _weights(origins: Floats, frames: Floats, voxels: Ints) -> Floats:
    """Barycentric weights (m, k, 4) of voxels (m, k, 3) in cells with first corners (m, 3), inverse edges (m, 3, 3)."""
    others = (voxels - origins[:, None, :]) @ frames
    return np.concatenate([1.0 - others.sum(axis=2, keepdims=True), others], axis=2)


def _extended(raster: Raster, tissue: Mask, reach: float, like: Volume) -> Raster:
    """Give tissue voxels near the covered ones the weights of their nearest covered voxel."""
    covered = np.zeros(raster.shape, dtype=bool)
    covered.ravel()[raster.voxels] = True
    steps = np.ceil(reach / like.voxel_sizes).astype(int) + 1
    box = tuple(slice(max(side.start - n, 0), side.stop + n) for side, n in zip(extent(covered), steps, strict=True))
    corner, inner = [side.start for side in box], covered[box]
    around = ndimage.maximum_filter(inner.view(np.uint8), size=tuple(2 * steps + 1), mode="constant") > 0
    boundary = np.argwhere(inner & ~ndimage.binary_erosion(inner)) + corner
    wanted = np.argwhere(tissue[box] & around & ~inner) + corner
    if not len(boundary) or not len(wanted):
        return raster
    distance, nearest = cKDTree(like.world(boundary)).query(like.world(wanted), distance_upper_bound=reach + ROUND_OFF)
    near = np.isfinite(distance)
    row = np.searchsorted(raster.voxels, np.ravel_multi_index(tuple(boundary[nearest[near]].T), raster.shape))
    return Raster(
        raster.shape,
        np.concatenate([raster.voxels, np.ravel_multi_index(tuple(wanted[near].T), raster.shape)]),
        np.concatenate([raster.vertices, raster.vertices[row]]),
        np.concatenate([raster.weights, raster.weights[row]]),
    )
