"""P1 functions on a mesh, seen on the voxels of an image: barycentric interpolation at the voxel centres.

Tissue voxels within a given reach of the mesh but outside it (the mesh surface cuts through voxels) take the value of
their nearest covered voxel, so that a predicted density ends where the brain of the image ends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncology.imaging.volume import Volume

__all__ = ["rasterise"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_CHUNK = 2_000_000


def rasterise(
    points: Floats,
    cells: Ints,
    values: Floats,
    like: Volume,
    tissue: NDArray[np.bool_] | None = None,
    reach: float = 3.0,
) -> Floats:
    """Return a P1 function at the voxel centres of an image, 0 where the mesh does not reach.

    Args:
        points: (nv, 3) vertices, RAS mm.
        cells: (nc, 4) vertex indices.
        values: (nv,) vertex values.
        like: image whose grid is used.
        tissue: voxels of that grid which may be filled from their nearest covered voxel.
        reach: how far from a covered voxel they are filled, mm.

    Returns:
        Array in the shape of the grid.
    """
    shape = np.array(like.shape)
    corners = like.voxel(points)[cells]
    low = np.maximum(np.ceil(corners.min(axis=1) - 1e-9).astype(np.int64), 0)
    high = np.minimum(np.floor(corners.max(axis=1) + 1e-9).astype(np.int64), shape - 1)
    extent = high - low + 1
    kept = np.flatnonzero((extent > 0).all(axis=1))
    data, covered = np.zeros(like.shape), np.zeros(like.shape, dtype=bool)
    # cells with the same number of candidate voxels are treated together
    sizes, group = np.unique(extent[kept], axis=0, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    bounds = np.searchsorted(group.ravel()[order], np.arange(len(sizes) + 1))
    for number, size in enumerate(sizes):
        members = kept[order[bounds[number] : bounds[number + 1]]]
        offsets = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"), axis=-1).reshape(-1, 3)
        for part in np.array_split(members, max(1, len(members) * len(offsets) // _CHUNK + 1)):
            _fill(data, covered, corners[part], values[cells[part]], low[part], offsets)
    if tissue is not None:
        _extend(data, covered, tissue, reach, like.voxel_sizes)
    return data


def _fill(data: Floats, covered: NDArray[np.bool_], corners: Floats, values: Floats, low: Ints, offsets: Ints) -> None:
    """Write the values of cells (m) at those of their candidate voxels (k) that lie inside."""
    voxels = low[:, None, :] + offsets[None]
    inverse = np.linalg.inv((corners[:, 1:] - corners[:, :1]).transpose(0, 2, 1))
    weights = np.einsum("mij,mkj->mki", inverse, voxels - corners[:, :1])
    first = 1.0 - weights.sum(axis=2)
    inside = (weights >= -1e-9).all(axis=2) & (first >= -1e-9)
    interpolated = first * values[:, :1] + np.einsum("mki,mi->mk", weights, values[:, 1:])
    where = tuple(voxels[inside].T)
    data[where] = interpolated[inside]
    covered[where] = True


def _extend(data: Floats, covered: NDArray[np.bool_], tissue: NDArray[np.bool_], reach: float, sizes: Floats) -> None:
    """Fill tissue voxels near the covered ones from their nearest covered voxel."""
    if not covered.any():
        return
    distance, nearest = ndimage.distance_transform_edt(~covered, sampling=sizes, return_indices=True)
    wanted = tissue & ~covered & (distance <= reach)
    data[wanted] = data[tuple(axis[wanted] for axis in nearest)]
