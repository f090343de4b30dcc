"""Checks and repairs that make tissue maps and tumour agree.

White- and grey-matter probabilities must be probabilities; the tumour must lie in the brain; and where an atlas shows
CSF because a real tumour has displaced tissue, the tissue is taken as white matter (white = 1 - grey).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncology.errors import CaseError, ImageError
from oncology.imaging.resample import resample_to, sample
from oncology.imaging.volume import Volume

__all__ = [
    "brain_hull",
    "check_inside_brain",
    "check_overlap",
    "check_probability",
    "join_maps",
    "moved_white",
    "reassign",
]

TOLERANCE = 0.0201  # of one probability: overshoot of splines, rounding of scaled integers
SUM_TOLERANCE = 0.02  # of white + grey: rounding of both, and resampling
TISSUE = 0.5  # white + grey above this is brain tissue
HULL_BLOCK = 4.0  # mm
HULL_CLOSING = 3  # blocks: closes sulci and the fissure between the hemispheres
MIN_INSIDE = 0.5  # fraction of a tumour that must lie in the hull of the brain
MIN_TISSUE = 0.1  # fraction of a tumour that must be tissue in the maps


def check_probability(volume: Volume) -> Volume:
    """Return a tissue map clipped to [0, 1].

    Raises:
        ImageError: the map is not 3-D, is zero everywhere, or leaves [0, 1] by more than rounding.
    """
    data, name = volume.data, volume.name
    if data.ndim != 3:
        raise ImageError(f"{name}: has shape {data.shape}, expected 3-D: extract one volume (fslroi, mrconvert)")
    low, high = float(data.min()), float(data.max())
    if low < -TOLERANCE:
        raise ImageError(f"{name}: probability {low:g} is negative, allowed 0..1: clip the map (fslmaths -thr 0)")
    if high > 1 + TOLERANCE:
        scale = next((s for s in (100, 255) if 1.5 < high <= s * (1 + TOLERANCE)), None)
        cure = f"it looks scaled to 0..{scale}, divide it by {scale}" if scale else "rescale or clip the map"
        raise ImageError(f"{name}: probability {high:g} is above 1, allowed 0..1: {cure}")
    if high == 0:
        raise ImageError(f"{name}: map is zero everywhere: run the tissue segmentation again")
    return volume.with_data(np.clip(data, 0, 1))


def moved_white(white: Volume, grey: Volume, distance: float) -> tuple[Volume, Volume]:
    """Return both maps with the boundary between them moved into the grey matter; their sum stays.

    Args:
        white: probability of white matter.
        grey: probability of grey matter, on the same grid.
        distance: of the motion, mm; negative into the white matter.

    Example:
        >>> line = np.array([1.0, 1.0, 0.5, 0.0, 0.0])[:, None, None] * np.ones((1, 3, 3))
        >>> moved, _ = moved_white(Volume(line, np.eye(4)), Volume(1.0 - line, np.eye(4)), 0.5)
        >>> float(moved.data[:, 1, 1].sum() - line[:, 1, 1].sum())
        0.5
    """
    sign = math.copysign(1.0, distance)
    data, total = sign * white.data.astype(float), white.data + grey.data
    squared = np.zeros(data.shape)
    for axis, spacing in enumerate(white.voxel_sizes):
        steps = np.diff(data, axis=axis) / spacing
        none = np.zeros_like(np.take(steps, [0], axis=axis))
        # upwind: what moves into a voxel comes from the neighbour that holds more
        rise = np.maximum(np.concatenate([steps, none], axis=axis), -np.concatenate([none, steps], axis=axis))
        squared += np.maximum(rise, 0.0) ** 2
    moved = np.clip(sign * (data + abs(distance) * np.sqrt(squared)), 0.0, total)
    return white.with_data(moved), grey.with_data(total - moved)


def join_maps(white: Volume, grey: Volume) -> tuple[Volume, Volume]:
    """Return both maps on the grid of the white-matter map, with a sum of at most 1.

    Raises:
        CaseError: the maps do not overlap in space.
        ImageError: their sum exceeds 1 by more than rounding, or nowhere exceeds 0.5.
    """
    check_overlap(grey, white, "white-matter map")
    grey = resample_to(grey, white)
    total = white.data + grey.data
    highest = float(total.max())
    if highest > 1 + SUM_TOLERANCE:
        where = tuple(int(i) for i in np.unravel_index(int(total.argmax()), total.shape))
        raise ImageError(
            f"{white.name}: white + grey is {highest:g} at voxel {where}, allowed 0..1: use maps of one segmentation"
        )
    if highest <= TISSUE:
        raise ImageError(f"{white.name}: white + grey is nowhere above {TISSUE}: these maps hold no brain")
    return white, grey.with_data(np.minimum(grey.data, 1 - white.data))


def check_overlap(volume: Volume, reference: Volume, what: str) -> None:
    """Refuse an image whose box does not meet that of the reference (both in RAS mm).

    Raises:
        CaseError: with both boxes, so that a wrong origin or unit can be seen.
    """
    (low, high), (reference_low, reference_high) = volume.bounds(), reference.bounds()
    if (high <= reference_low).any() or (low >= reference_high).any():
        boxes = f"{_box(low, high)} against {_box(reference_low, reference_high)}"
        raise CaseError(
            f"{volume.name}: does not overlap the {what} ({boxes} mm RAS): register it or correct its affine"
        )


def brain_hull(white: Volume, grey: Volume) -> Volume:
    """The brain with its ventricles and sulci filled, as a mask on blocks of about 4 mm.

    Tissue (white + grey > 0.5) is closed by 12 mm and its cavities are filled, so that what an atlas calls CSF inside
    the brain belongs to it, while air and the space outside the meninges do not.
    """
    tissue = white.data + grey.data > TISSUE
    size = np.maximum(1, np.round(HULL_BLOCK / white.voxel_sizes)).astype(int)
    margin = HULL_CLOSING + 1
    padding = [(margin * s, margin * s + (-n) % s) for s, n in zip(size, tissue.shape, strict=True)]
    padded = np.pad(tissue, padding)
    blocks = padded.reshape(*np.column_stack([np.array(padded.shape) // size, size]).ravel()).any(axis=(1, 3, 5))
    closed = ndimage.binary_closing(blocks, ndimage.generate_binary_structure(3, 1), iterations=HULL_CLOSING)
    affine = white.affine @ np.diag([*size.astype(float), 1.0])
    affine[:3, 3] = white.world((size - 1) / 2 - margin * size)
    return Volume(ndimage.binary_fill_holes(closed), affine)


def check_inside_brain(tumour: Volume, hull: Volume, white: Volume, grey: Volume) -> None:
    """Refuse a tumour that lies outside the brain, or entirely in fluid.

    At least half of its volume must lie in the hull of the brain: real segmentations extend beyond an atlas's surface,
    but not by more. At least a tenth must be tissue in the maps: a tumour entirely in a ventricle is not a glioma but a
    wrong registration, or the maps were made with the lesion cut out.

    Args:
        tumour: mask of the whole tumour, any grid.
        hull: from `brain_hull`.
        white: white-matter probability.
        grey: grey-matter probability, on the same grid.

    Raises:
        CaseError: with the fraction that lies outside.
    """
    points = tumour.world(np.argwhere(tumour.data))
    inside = float(sample(hull, points, order=0).mean())
    if inside < MIN_INSIDE:
        raise CaseError(
            f"{tumour.name}: {1 - inside:.0%} of the tumour lies outside the brain, allowed {1 - MIN_INSIDE:.0%}: "
            "register the segmentation to the tissue maps"
        )
    tissue = float((sample(white, points, order=0) + sample(grey, points, order=0) > TISSUE).mean())
    if tissue < MIN_TISSUE:
        raise CaseError(
            f"{tumour.name}: only {tissue:.0%} of the tumour is white or grey matter in the maps, needed "
            f"{MIN_TISSUE:.0%}: correct the registration, or use maps in which the lesion is filled in (an atlas)"
        )


def reassign(white: Volume, grey: Volume, tumours: Sequence[Volume]) -> tuple[Volume, float]:
    """Take tumour without tissue as white matter.

    Args:
        white: white-matter probability.
        grey: grey-matter probability, on the same grid.
        tumours: masks of the whole tumour, one per session, each on its own grid.

    Returns:
        The white-matter map with white = 1 - grey in tumour voxels where white + grey <= 0.5, and the fraction of the
        tumour (union of all sessions, on the grid of the maps) where that was done.
    """
    tumour: NDArray[np.bool_] = np.zeros(white.shape, dtype=bool)
    for mask in tumours:
        tumour |= resample_to(mask, white, order=0).data
    moved = tumour & (white.data + grey.data <= TISSUE)
    data = np.where(moved, 1 - grey.data, white.data)
    return white.with_data(data), float(moved.sum() / max(1, tumour.sum()))


def _box(low: NDArray[np.float64], high: NDArray[np.float64]) -> str:
    return " x ".join(f"{a:.0f}..{b:.0f}" for a, b in zip(low, high, strict=True))
