"""Values of an image at points, on other grids and averaged over the cells of a mesh, always through affines.

Order 1 is trilinear between voxel centres, order 0 takes each voxel as a box of constant value. Cell averages use
uniform (red) subdivision of the simplex, whose children all have the same volume (Bey, Computing 55, 1995), and the
centroid rule on each child: exact for constants and, with order 1, for affine functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oncology.imaging.labels import indicator
from oncology.imaging.volume import Volume

__all__ = ["cell_average", "cell_voxels", "resample_to", "sample"]

Order = Literal[0, 1]
Floats = NDArray[np.float64]
CHUNK = 1 << 16  # sampled points at a time: the temporaries stay in the cache of one core
ROUND_OFF = 1e-9  # in voxels: a point this far outside the image still counts as on its face

# Children of the reference tetrahedron and triangle; an entry (i, j) is the midpoint of vertices i and j.
_TET_CHILDREN = (
    ((0, 0), (0, 1), (0, 2), (0, 3)),
    ((0, 1), (1, 1), (1, 2), (1, 3)),
    ((0, 2), (1, 2), (2, 2), (2, 3)),
    ((0, 3), (1, 3), (2, 3), (3, 3)),
    ((0, 1), (0, 2), (0, 3), (1, 3)),
    ((0, 1), (0, 2), (1, 2), (1, 3)),
    ((0, 2), (0, 3), (1, 3), (2, 3)),
    ((0, 2), (1, 2), (1, 3), (2, 3)),
)
_TRIANGLE_CHILDREN = (
    ((0, 0), (0, 1), (0, 2)),
    ((0, 1), (1, 1), (1, 2)),
    ((0, 2), (1, 2), (2, 2)),
    ((0, 1), (1, 2), (0, 2)),
)


def sample(volume: Volume, points: ArrayLike, order: Order = 1, outside: float = 0.0) -> Floats:
    """Values of an image at points.

    The image ends at the outer faces of its voxels: between the last centres and those faces, order 1 takes the
    value at the nearest point on the outermost centres.

    Args:
        volume: scalar or tensor image.
        points: (n, 3), RAS mm.
        order: 1 trilinear, 0 the value of the voxel that holds the point.
        outside: value beyond the image.

    Returns:
        (n,), or (n, 6) for a tensor image, in the units of the image.

    Example:
        >>> image = Volume(np.array([[[0.0]], [[10.0]]]), np.diag([2.0, 2.0, 2.0, 1.0]))
        >>> sample(image, [[0.5, 0.0, 0.0], [9.0, 0.0, 0.0]]).tolist()
        [2.5, 0.0]
    """
    points = np.asarray(points, dtype=float).reshape(-1, 3)
    data = np.ascontiguousarray(volume.data)
    result = np.empty((len(points), *data.shape[3:]))
    for start in range(0, len(points), CHUNK):
        part = slice(start, start + CHUNK)
        x, y, z = volume.voxel(points[part]).T
        result[part] = _at_voxels(data, x, y, z, order, outside)
    return result


def resample_to(volume: Volume, like: Volume, order: Order = 1, outside: float = 0.0) -> Volume:
    """The image on the grid of another.

    Args:
        volume: scalar or tensor image.
        like: gives shape and affine.
        order: as in `sample`; labels and masks need 0, which keeps their type.
        outside: value where the grid of `like` leaves the image.

    Returns:
        A volume on the grid of `like`; the data itself where the two grids are the same.
    """
    if volume.same_grid(like):
        return Volume(volume.data, like.affine, volume.path, volume.notes)
    dtype = volume.data.dtype if order == 0 else np.result_type(volume.data.dtype, np.float32)
    source = np.ascontiguousarray(volume.data)
    data = np.empty((*like.shape, *source.shape[3:]), dtype=dtype)
    to_voxel = np.linalg.inv(volume.affine) @ like.affine
    nx, ny, nz = like.shape
    j, k = (axis.ravel() for axis in np.meshgrid(np.arange(ny), np.arange(nz), indexing="ij"))
    for i in range(nx):
        x, y, z = (to_voxel[a, 0] * i + to_voxel[a, 1] * j + to_voxel[a, 2] * k + to_voxel[a, 3] for a in range(3))
        data[i] = _at_voxels(source, x, y, z, order, outside).reshape(data.shape[1:])
    return Volume(data, like.affine, volume.path, volume.notes)


def cell_average(
    volume: Volume,
    points: ArrayLike,
    cells: ArrayLike,
    order: Order,
    depth: int = 2,
    values: Sequence[int] | None = None,
    outside: float = 0.0,
) -> Floats:
    """Mean of an image over each cell of a mesh.

    Args:
        volume: scalar or tensor image.
        points: (nv, 3), RAS mm.
        cells: (nc, 4) tetrahedra or (nc, 3) triangles, as indices into `points`.
        order: as in `sample`.
        depth: how often each cell is subdivided: 8^depth samples per tetrahedron, 4^depth per triangle.
        values: if given, the image is a label image, and the mean is that of the indicator of these labels: the
            fraction of the cell they fill.
        outside: value beyond the image.

    Returns:
        (nc,), or (nc, 6) for a tensor image.
    """
    cells = np.asarray(cells, dtype=np.int64)
    data = np.ascontiguousarray(volume.data if values is None else indicator(volume.data, values).astype(np.uint8))
    voxels = np.ascontiguousarray(volume.voxel(points).T)
    weights = _centroids(cells.shape[1], depth)
    result = np.empty((len(cells), *data.shape[3:]))
    for part in _chunks(len(cells), len(weights)):
        x, y, z = (axis[cells[part]] @ weights.T for axis in voxels)
        sampled = _at_voxels(data, x.ravel(), y.ravel(), z.ravel(), order, outside)
        result[part] = sampled.reshape(*x.shape, *data.shape[3:]).mean(axis=1)
    return result


def cell_voxels(volume: Volume, points: ArrayLike, cells: ArrayLike, depth: int) -> NDArray[np.int64]:
    """Voxels that hold the samples of each cell.

    Args:
        volume: the image; only its grid counts.
        points: (nv, 3), RAS mm.
        cells: (nc, 4) tetrahedra or (nc, 3) triangles, as indices into `points`.
        depth: how often each cell is subdivided, as in `cell_average`.

    Returns:
        (nc, number of samples) index into the flat C-ordered image, -1 beyond it.
    """
    cells = np.asarray(cells, dtype=np.int64)
    voxels = np.ascontiguousarray(volume.voxel(points).T)
    weights = _centroids(cells.shape[1], depth)
    result = np.empty((len(cells), len(weights)), dtype=np.int64)
    for part in _chunks(len(cells), len(weights)):
        x, y, z = (axis[cells[part]] @ weights.T for axis in voxels)
        index, beyond = _nearest_index(volume.shape, x, y, z), _beyond(volume.shape, x, y, z)
        result[part] = np.where(beyond, -1, index)
    return result


def _chunks(cells: int, samples: int) -> Iterator[slice]:
    step = max(1, CHUNK // samples)
    return (slice(start, start + step) for start in range(0, cells, step))


@cache
def _centroids(corners: int, depth: int) -> Floats:
    """Barycentric coordinates, (m, corners), of the centroids of the m children of a simplex."""
    children = _TET_CHILDREN if corners == 4 else _TRIANGLE_CHILDREN
    simplices = np.eye(corners)[None]
    for _ in range(depth):
        parts = [[(simplices[:, i] + simplices[:, j]) / 2 for i, j in child] for child in children]
        simplices = np.concatenate([np.stack(part, axis=1) for part in parts])
    return np.asarray(simplices.mean(axis=1))


def _at_voxels(data: NDArray[Any], x: Floats, y: Floats, z: Floats, order: Order, outside: float) -> Floats:
    """Values of C-ordered data at fractional voxel coordinates (n,); (n, 6) for a tensor."""
    sizes = data.shape[:3]
    beyond = _beyond(sizes, x, y, z)
    flat = data.reshape(-1, *data.shape[3:])
    if order == 0:
        # `take` is far quicker than an index for rows of several values
        values = flat.take(_nearest_index(sizes, x, y, z), axis=0).astype(float)
    else:
        values = _trilinear(flat, sizes, x, y, z)
    if beyond.any():
        values[beyond] = outside
    return values


def _beyond(sizes: tuple[int, ...], *axes: Floats) -> NDArray[np.bool_]:
    beyond = np.zeros(axes[0].shape, dtype=bool)
    for axis, n in zip(axes, sizes, strict=True):
        # Meshes mostly lie inside: two reductions are cheaper than two masks.
        if axis.size and (axis.min() < -0.5 - ROUND_OFF or axis.max() > n - 0.5 + ROUND_OFF):
            beyond |= (axis < -0.5 - ROUND_OFF) | (axis > n - 0.5 + ROUND_OFF)
    return beyond


def _nearest_index(sizes: tuple[int, ...], *axes: Floats) -> NDArray[np.int64]:
    index = np.zeros(axes[0].shape, dtype=np.int64)
    for axis, n in zip(axes, sizes, strict=True):
        whole = (axis + 0.5).astype(np.int64)  # rounds towards zero, which is down within the image
        index *= n
        index += np.clip(whole, 0, n - 1, out=whole)
    return index


def _trilinear(flat: NDArray[Any], sizes: tuple[int, ...], x: Floats, y: Floats, z: Floats) -> Floats:
    strides = (sizes[1] * sizes[2], sizes[2], 1)
    index = np.zeros(len(x), dtype=np.int64)
    fractions, steps = [], []
    for axis, n, stride in zip((x, y, z), sizes, strides, strict=True):
        inside = np.clip(axis, 0, n - 1)
        low = np.clip(np.floor(inside).astype(np.int64), 0, max(n - 2, 0))
        index += low * stride
        fractions.append(inside - low)
        steps.append(stride if n > 1 else 0)
    values = np.zeros((len(x), *flat.shape[1:]))
    for corner in product((0, 1), repeat=3):
        weight = np.ones(len(x))
        offset = 0
        for up, fraction, step in zip(corner, fractions, steps, strict=True):
            weight *= fraction if up else 1 - fraction
            offset += up * step
        values += weight.reshape(-1, *[1] * (flat.ndim - 1)) * flat.take(index + offset, axis=0)
    return values
