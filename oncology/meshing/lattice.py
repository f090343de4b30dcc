"""The lattice route: boxes of the grid that are mostly brain, each cut into six tetrahedra (Kuhn's subdivision).

Every tetrahedron is a path of three orthogonal edges, so no dihedral angle is obtuse and the P1 stiffness matrix has no
positive off-diagonal entry: the discrete maximum principle holds (Kuhn, "Some combinatorial lemmas in topology", 1960;
Brandts, Korotov & Krizek, Linear Algebra and its Applications 429 (2008)). Grading only stretches the grid's axes.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncology.imaging.resample import sample
from oncology.meshing.domain import Domain
from oncology.meshing.grading import Grading
from oncology.meshing.topology import compact, oriented

__all__ = ["kuhn_cells", "lattice_mesh"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

THRESHOLDS = (0.3, 0.7)  # volume matching may not move the filling of a kept box further from one half
PROBES = 4  # probes of the mask along each axis of a box; even, so that none falls on a centre plane


def lattice_mesh(domain: Domain, size: float, grading: Grading | None = None) -> tuple[Floats, Ints]:
    """Tetrahedra of the boxes that the region fills more than about half.

    The grid is axis-aligned in RAS and ends exactly at the region's bounding box, so that the cut faces of a cropped
    brain are met. The filling above which a box is kept is the one that matches the region's volume best.

    Returns:
        Points (nv, 3), mm, and cells (nc, 4) of positive volume: one face-connected piece, or none at all.
    """
    lower, upper = domain.bounds()
    axes = [_axis(lower[d], upper[d], size, grading, d) for d in range(3)]
    widths = [np.diff(axis) for axis in axes]
    filling = _filling(domain, axes)
    volume = widths[0][:, None, None] * widths[1][:, None] * widths[2]
    labels, count = ndimage.label(filling >= _threshold(filling, volume, domain.volume))
    if not count:
        return np.empty((0, 3)), np.empty((0, 4), dtype=np.int64)
    pieces = ndimage.sum_labels(volume, labels, np.arange(1, count + 1))
    boxes = np.argwhere(labels == 1 + int(np.argmax(pieces)))
    shape = np.array(filling.shape) + 1
    cells = kuhn_cells(boxes, shape)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    points, cells = compact(points, cells)
    return points, oriented(points, cells)


def kuhn_cells(boxes: Ints, shape: Ints) -> Ints:
    """Six tetrahedra for each box: the paths from its lower to its upper corner along the axes in every order.

    Args:
        boxes: (n, 3) indices of the boxes' lower corners.
        shape: (3,) number of grid points along each axis.

    Returns:
        (6 n, 4) grid-point numbers in C order; half of the cells have negative volume.
    """
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    corner = boxes[:, 0] * strides[0] + boxes[:, 1] * strides[1] + boxes[:, 2]
    paths = [np.cumsum([0, *(strides[axis] for axis in order)]) for order in permutations(range(3))]
    return np.concatenate([corner[:, None] + path for path in paths])


def _axis(lower: float, upper: float, size: float, grading: Grading | None, axis: int) -> Floats:
    """Grid coordinates from lower to upper, mm: equal steps of the integral of one over the requested size."""
    fine = np.linspace(lower, upper, max(2, int(np.ceil(8 * (upper - lower) / size)) + 1))
    wanted = np.full(len(fine), size)
    if grading is not None:
        wanted = grading.sizes(np.abs(fine - grading.centre[axis]), size)
    density = np.diff(fine) * (1 / wanted[1:] + 1 / wanted[:-1]) / 2
    steps = np.concatenate([[0.0], np.cumsum(density)])
    count = max(1, round(float(steps[-1])))
    return np.asarray(np.interp(np.linspace(0.0, steps[-1], count + 1), steps, fine))


def _filling(domain: Domain, axes: list[Floats]) -> Floats:
    """Fraction of each box that is in the region, from PROBES^3 probes of the voxels."""
    offsets = (np.arange(PROBES) + 0.5) / PROBES
    probes = [(axis[:-1, None] + np.diff(axis)[:, None] * offsets).ravel() for axis in axes]
    shape = tuple(len(axis) - 1 for axis in axes)
    filling = np.empty(shape)
    mask = domain.mask.with_data(domain.mask.data.astype(np.float32))
    across = np.stack(np.meshgrid(probes[1], probes[2], indexing="ij"), axis=-1).reshape(-1, 2)
    for layer in range(shape[0]):
        hits = np.zeros(len(across))
        for x in probes[0][layer * PROBES : (layer + 1) * PROBES]:
            hits += sample(mask, np.column_stack([np.full(len(across), x), across]), order=0)
        filling[layer] = hits.reshape(shape[1], PROBES, shape[2], PROBES).sum(axis=(1, 3)) / PROBES**3
    return filling


def _threshold(filling: Floats, volume: Floats, wanted: float) -> float:
    """The filling above which the kept boxes match the requested volume most closely."""
    levels = np.unique(filling[(filling >= THRESHOLDS[0]) & (filling <= THRESHOLDS[1])])
    if not len(levels):
        return 0.5
    kept = np.array([volume[filling >= level].sum() for level in levels])
    return float(levels[np.abs(kept - wanted).argmin()])
