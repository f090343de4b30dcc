"""Tissue maps of shapes with known volume, on grids with any affine."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from oncology.imaging.volume import Volume

type Shape = Callable[
    [NDArray[np.float64]], NDArray[np.float64]
]  # RAS points (n, 3) -> signed distance-like, > 0 inside


def affine_of(voxels: NDArray[np.float64], turn: NDArray[np.float64], reach: float) -> tuple[tuple[int, ...], NDArray]:
    """Grid shape and affine of voxels (mm) along turned axes, covering a ball of radius `reach` about the origin."""
    shape = tuple(int(n) for n in np.ceil(2 * reach / voxels))
    affine = np.eye(4)
    affine[:3, :3] = turn * voxels
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return shape, affine


def maps(shape_of: Shape, grid: tuple[tuple[int, ...], NDArray], core: Shape | None = None) -> tuple[Volume, Volume]:
    """White and grey maps: all of a shape is white, or white inside `core` and grey between."""
    shape, affine = grid
    index = np.moveaxis(np.indices(shape), 0, -1).reshape(-1, 3)
    points = index @ affine[:3, :3].T + affine[:3, 3]
    whole = (shape_of(points) > 0).reshape(shape).astype(np.float32)
    white = whole if core is None else whole * (core(points) > 0).reshape(shape)
    return Volume(white.astype(np.float32), affine), Volume((whole - white).astype(np.float32), affine)


def _ellipsoid(axes: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 - ((points / axes) ** 2).sum(axis=1)


def ellipsoid(*axes: float) -> Shape:
    """An ellipsoid about the origin; `ellipsoid(r)` is a ball."""
    return partial(_ellipsoid, np.broadcast_to(np.array(axes), 3))


def ball_maps(radius: float, voxel: float = 1.0, core: float | None = None) -> tuple[Volume, Volume]:
    """A ball about the origin on an axis-aligned grid."""
    grid = affine_of(np.full(3, voxel), np.eye(3), radius + 4 * voxel)
    return maps(ellipsoid(radius), grid, None if core is None else ellipsoid(core))
