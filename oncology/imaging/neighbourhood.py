"""The part of the brain in which a tumour is computed: all within a margin of it, with its foci in one piece.

Foci far from each other have neighbourhoods that do not meet. A corridor through the tissue, as short as the brain
allows, joins them, so that one mesh holds them all; the density there is negligible.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.csgraph import dijkstra

from oncology.errors import CaseError
from oncology.imaging.resample import resample_to

if TYPE_CHECKING:
    from oncology.imaging.case import Case

__all__ = ["corridor", "neighbourhood"]

type Mask = NDArray[np.bool_]

TISSUE = 0.5  # white + grey above which a voxel is brain
BLOCK = 3.0  # mm, grid on which ways through the brain are looked for first
WIDTH = 20.0  # mm by which ways within a corridor may be longer than the shortest: about its width


def neighbourhood(case: Case, margin: float) -> Mask:
    """Return the voxels of the tissue maps within a margin (mm) of a tumour, and in corridors between its foci.

    Raises:
        CaseError: the segmentations miss the tissue maps, or no tissue connects two foci.
    """
    near: Mask = case.tumour_distance.data <= margin
    if len(case.foci) < 2:
        return near
    tissue = case.white.data + case.grey.data > TISSUE
    masks = [resample_to(focus.region, case.white, order=0).data > 0.5 for focus in case.foci]
    for focus, mask in zip(case.foci[1:], masks[1:], strict=True):
        labels, _ = ndimage.label(near & tissue)
        first, own = (_commonest(labels[one & near & tissue]) for one in (masks[0], mask))
        if first == own or not first or not own:
            continue
        way = corridor(tissue, labels == first, labels == own, case.white.voxel_sizes)
        if way is None:
            where = " ".join(f"{x:.0f}" for x in focus.centre)
            raise CaseError(
                f"{case.white.name}: no white or grey matter connects the focus at {where} mm (RAS) with the largest "
                "one: close the gap in the maps, or fit each focus by itself"
            )
        near = near | way
    return near


def corridor(tissue: Mask, start: Mask, end: Mask, sizes: NDArray[np.float64]) -> Mask | None:
    """Return the tissue on ways from one region to another that are nearly as short as the shortest; None: no way.

    Args:
        tissue: (nx, ny, nz) where a way may lead.
        start: part of the tissue, not empty.
        end: another part.
        sizes: edge lengths of a voxel, (3,), mm.
    """
    for block in (np.maximum(1, np.round(BLOCK / sizes)).astype(int), np.ones(3, dtype=int)):
        begin, goal = (_blocks(part, block) > 0.0 for part in (start, end))
        lengths = _lengths((_blocks(tissue, block) >= 0.5) | begin | goal, begin, goal, block * sizes)
        if not np.isfinite(lengths).any():
            continue
        coarse = lengths <= lengths.min() + WIDTH
        for axis, factor in enumerate(block):
            coarse = np.repeat(coarse, factor, axis=axis)
        way: Mask = coarse[tuple(slice(n) for n in tissue.shape)] & tissue
        labels, _ = ndimage.label(way | start | end)
        if labels[start][0] == labels[end][0]:
            return way
    return None


def _lengths(open_: Mask, begin: Mask, goal: Mask, steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the length of the shortest way along the axes from one region to another through each block, mm."""
    number = np.cumsum(open_.ravel()).reshape(open_.shape) - 1
    rows, columns, weights = [], [], []
    for axis, step in enumerate(steps):
        lower, upper = (np.moveaxis(number, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        both = np.moveaxis(open_, axis, 0)[:-1] & np.moveaxis(open_, axis, 0)[1:]
        rows.append(lower[both])
        columns.append(upper[both])
        weights.append(np.full(int(both.sum()), step))
    count = int(open_.sum())
    joined = np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))
    graph = sparse.coo_array(joined, shape=(count, count)).tocsr()
    away = [dijkstra(graph, directed=False, indices=number[part], min_only=True) for part in (begin, goal)]
    lengths = np.full(open_.shape, np.inf)
    lengths[open_] = away[0] + away[1]
    return lengths


def _blocks(mask: Mask, block: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the fraction of each block of voxels that a mask holds; beyond the image there is nothing."""
    padded = np.pad(mask, [(0, -n % factor) for n, factor in zip(mask.shape, block, strict=True)])
    shape = [part for n, factor in zip(padded.shape, block, strict=True) for part in (n // factor, factor)]
    return np.asarray(padded.reshape(shape).mean(axis=(1, 3, 5)))


def _commonest(labels: NDArray[np.int64]) -> int:
    """Return the most frequent label, 0 of none."""
    return int(np.bincount(labels).argmax()) if len(labels) else 0
