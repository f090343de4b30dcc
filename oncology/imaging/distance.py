"""Distance from a mask on its grid: exact where anything is asked of it, cheap further away."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncology.imaging.volume import extent

__all__ = ["FAR", "distance_from"]

FAR = 50.0  # mm from the box around a mask, up to which distances are exact


def distance_from(mask: NDArray[np.bool_], sizes: NDArray[np.float64], far: float = FAR) -> NDArray[np.float64]:
    """Return the distance of every voxel centre from the nearest one of a mask, mm.

    Further than `far` from the box around the mask, the distance from that box stands for it, which is smaller.

    Args:
        mask: (nx, ny, nz), not empty.
        sizes: edge lengths of a voxel, (3,), mm.
        far: mm.
    """
    outside = [
        np.maximum(np.maximum(side.start - np.arange(n), np.arange(n) - side.stop + 1), 0) * size
        for side, n, size in zip(extent(mask), mask.shape, sizes, strict=True)
    ]
    x, y, z = (axis**2 for axis in outside)
    distance = np.sqrt(x[:, None, None] + y[:, None] + z)
    near = tuple(slice(*np.flatnonzero(axis <= far)[[0, -1]] + [0, 1]) for axis in outside)
    distance[near] = ndimage.distance_transform_edt(~mask[near], sampling=sizes)
    return np.asarray(distance)
