"""Means of an image over each cell, and the voxels of each cell, with a number of samples that suits the voxels.

A cell is subdivided until its parts are at most 1.5 voxels long: 8 samples for 2.5 mm edges in 1 mm voxels, 64 for
4 mm. That keeps the cost proportional to the volume of the mesh in voxels, whatever the grading.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from oncology.imaging.resample import cell_average, cell_voxels
from oncology.imaging.volume import Volume

__all__ = ["fractions", "voxel_weights"]

LONGEST = 1.5  # voxels, of the parts
SHALLOWEST = 1  # 8 samples per cell
DEEPEST = 4  # 4096 samples per cell: edges of 24 voxels
SAMPLES = 1 << 19  # counted at a time


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
    means = np.zeros((len(cells), len(images)))
    for depth, chosen in _by_depth(grid, volumes):
        means[chosen] = cell_average(stacked, points, cells[chosen], order=0, depth=depth)
    return np.clip(means.T, 0.0, 1.0)


def voxel_weights(
    grid: Volume, points: NDArray[np.float64], cells: NDArray[np.int64], volumes: NDArray[np.float64]
) -> tuple[sparse.csr_array, NDArray[np.int64]]:
    """Which voxels a cell consists of, and by which fraction; geometric means need more samples than sums do.

    Args:
        grid: a volume; only its grid counts.
        points: (nv, 3) vertices, RAS mm.
        cells: (nc, 4) vertex numbers.
        volumes: (nc,) cell volumes, mm^3.

    Returns:
        (nc, v) weights, rows add up to one, and (v,) the index of each voxel in the flat C-ordered image; -1 stands
        for all that is beyond the image.
    """
    rows, columns, weights = [], [], []
    for depth, chosen in _by_depth(grid, volumes):
        for part in np.array_split(chosen, len(chosen) * 8 ** (depth + 1) // SAMPLES + 1):
            row, voxel, weight = _counted(cell_voxels(grid, points, cells[part], depth + 1))
            rows.append(part[row])
            columns.append(voxel)
            weights.append(weight)
    if not rows:
        return sparse.csr_array((0, 0)), np.empty(0, dtype=np.int64)
    voxels = np.concatenate(columns) + 1  # 0 is beyond the image
    there = np.zeros(math.prod(grid.shape) + 1, dtype=bool)
    there[voxels] = True
    numbers = np.cumsum(there) - 1
    used = np.flatnonzero(there)
    entries = (np.concatenate(weights), (np.concatenate(rows), numbers.take(voxels)))
    return sparse.csr_array(entries, shape=(len(cells), len(used))), used - 1


def _counted(voxels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Row, voxel and fraction of every different voxel in the rows of an array (m, samples)."""
    ordered = np.sort(voxels, axis=1)
    first = np.ones(ordered.shape, dtype=bool)
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=first[:, 1:])
    starts = np.flatnonzero(first)
    counts = np.diff(starts, append=ordered.size)
    return starts // ordered.shape[1], ordered.ravel().take(starts), counts / ordered.shape[1]


def _by_depth(grid: Volume, volumes: NDArray[np.float64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each depth of subdivision with the cells that need it."""
    edges = np.cbrt(6 * np.sqrt(2.0) * np.maximum(volumes, 0.0))  # of the regular tetrahedron of that volume
    voxels = np.maximum(edges / np.cbrt(grid.voxel_volume), 1.0)
    depths = np.clip(np.ceil(np.log2(voxels / LONGEST)).astype(int), SHALLOWEST, DEEPEST)
    for depth in range(SHALLOWEST, DEEPEST + 1):
        chosen = np.flatnonzero(depths == depth)
        if len(chosen):
            yield depth, chosen
