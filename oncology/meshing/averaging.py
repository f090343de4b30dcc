"""Means of an image over each cell, with a number of samples that suits its voxels.

A cell is subdivided until its parts are at most 1.5 voxels long: 8 samples for 2.5 mm edges in 1 mm voxels, 64 for
4 mm. That keeps the cost proportional to the volume of the mesh in voxels, whatever the grading.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncology.imaging.resample import cell_average
from oncology.imaging.volume import Volume

__all__ = ["fractions"]

LONGEST = 1.5  # voxels, of the parts
SHALLOWEST = 1  # 8 samples per cell
DEEPEST = 4  # 4096 samples per cell: edges of 24 voxels


def fractions(
    images: Sequence[NDArray[Any]],
    grid: Volume,
    points: NDArray[np.float64],
    cells: NDArray[np.int64],
    volumes: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Means of images with values 0..1 over each cell, taking each voxel as a box of constant value.

    A tissue probability is the mean of its voxel, so boxes keep its integral; interpolation would blur thin tissue.
    All images are sampled in one pass, since finding the voxels is most of the work.

    Args:
        images: arrays of shape (nx, ny, nz); zero beyond their edges.
        grid: a volume on the grid of the images.
        points: (nv, 3) vertices, RAS mm.
        cells: (nc, 4) vertex numbers.
        volumes: (nc,) cell volumes, mm^3, from which the depth of subdivision follows.

    Returns:
        (number of images, nc) means, clipped to 0..1.
    """
    stacked = grid.with_data(np.stack(images, axis=-1))
    edges = np.cbrt(6 * np.sqrt(2.0) * np.maximum(volumes, 0.0))  # of the regular tetrahedron of that volume
    voxels = np.maximum(edges / np.cbrt(grid.voxel_volume), 1.0)
    depths = np.clip(np.ceil(np.log2(voxels / LONGEST)).astype(int), SHALLOWEST, DEEPEST)
    means = np.zeros((len(cells), len(images)))
    for depth in range(SHALLOWEST, DEEPEST + 1):
        chosen = np.flatnonzero(depths == depth)
        if len(chosen):
            means[chosen] = cell_average(stacked, points, cells[chosen], order=0, depth=depth)
    return np.clip(means.T, 0.0, 1.0)
