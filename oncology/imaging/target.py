"""Radiotherapy targets on an image's voxels: the core with a margin, and the densest voxels of a prediction.

As plans are compared in GliODIL (Balcerak et al. 2025) and PREDICT-GBM: a Euclidean margin around the segmented core
(15 mm after the ESTRO-EANO guideline, Niyazi et al. 2023), clipped to the brain, against the equally large set of
voxels with the highest predicted density; coverage is the fraction of a later recurrence's voxels inside a target.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncology.errors import ConfigError, ImageError
from oncology.imaging.metrics import MM3_PER_ML
from oncology.imaging.resample import resample_to, sample
from oncology.imaging.tissue import brain_hull
from oncology.imaging.volume import Volume

__all__ = ["brain_mask", "coverage", "densest_target", "margin_target", "nearest_target", "voxel_count"]

MARGIN = 15.0  # mm
# Densities below this are taken as equal, so that solver errors far from the tumour do not rank voxels.
FAINTEST = 1e-6


def brain_mask(white: Volume, grey: Volume, like: Volume) -> Volume:
    """Return the brain with ventricles and sulci filled (`brain_hull`) on the grid of another image, bool."""
    hull = brain_hull(white, grey)
    return like.with_data(resample_to(hull.with_data(hull.data.astype(np.uint8)), like, order=0).data > 0)


def margin_target(core: Volume, brain: Volume, margin: float = MARGIN) -> Volume:
    """Return the voxels of the brain whose centres lie within a margin of a core voxel's centre.

    Args:
        core: mask, bool.
        brain: mask on the same grid, bool.
        margin: mm.

    Raises:
        ConfigError: the margin is negative or not finite, or the core is empty.
    """
    if not (math.isfinite(margin) and margin >= 0.0):
        raise ConfigError(f"margin {margin:g} mm is out of range: give 0 mm or more, 15 mm is usual")
    return core.with_data((_distance(core) <= margin) & brain.data)


def nearest_target(core: Volume, brain: Volume, count: int) -> Volume:
    """Return the `count` voxels of the brain that lie nearest to the core.

    Args:
        core: mask, bool.
        brain: mask on the same grid, bool.
        count: number of voxels, as `voxel_count` gives it.

    Raises:
        ConfigError: the brain has fewer voxels, or the core is empty.
    """
    return core.with_data(_first(_distance(core), brain, count))


def densest_target(density: Volume, brain: Volume, count: int) -> Volume:
    """Return the `count` voxels of the brain with the highest density: an iso-density target of a given volume.

    Where the density is zero (below 1e-6), voxels nearer to the rest come first.

    Args:
        density: predicted, 0..1.
        brain: mask on the same grid, bool.
        count: number of voxels.

    Raises:
        ConfigError: the brain has fewer voxels, or the density is zero everywhere in it.
    """
    seen = (density.data > FAINTEST) & brain.data
    rank = -density.data
    if count > seen.sum():
        # nearer voxels first among those without density, and all of them after those with some
        rank = np.where(seen, rank, _distance(density.with_data(seen)))
    return density.with_data(_first(rank, brain, count))


def voxel_count(volume_ml: float, image: Volume) -> int:
    """Return how many voxels of an image make up a volume, mL.

    Raises:
        ConfigError: the volume is not positive, or below half a voxel.
    """
    least = 0.5 * image.voxel_volume / MM3_PER_ML
    if not (math.isfinite(volume_ml) and volume_ml > least):
        raise ConfigError(f"volume {volume_ml:g} mL is out of range: give more than {least:.2g} mL, half a voxel")
    return max(round(volume_ml * MM3_PER_ML / image.voxel_volume), 1)


def coverage(recurrence: Volume, target: Volume) -> float:
    """Return the fraction (0..1) of the voxels of a recurrence whose centres lie in a target on any grid.

    Raises:
        ImageError: the recurrence is empty.
    """
    voxels = np.argwhere(recurrence.data)
    if not len(voxels):
        raise ImageError(f"{recurrence.name}: mask is empty: leave the recurrence out or segment it")
    inside = sample(target.with_data(target.data.astype(np.uint8)), recurrence.world(voxels), order=0)
    return float((inside > 0.5).mean())


def _distance(mask: Volume) -> NDArray[np.float64]:
    """Distance of every voxel centre from the nearest one of a mask, mm."""
    if not mask.data.any():
        raise ConfigError(f"{mask.name}: nothing to start a target from: the core is empty, or the density zero")
    return np.asarray(ndimage.distance_transform_edt(~mask.data, sampling=mask.voxel_sizes))


def _first(rank: NDArray[np.floating], brain: Volume, count: int) -> NDArray[np.bool_]:
    """The `count` brain voxels of lowest rank; equal ones in the order of the image."""
    candidates = np.flatnonzero(brain.data)
    if not 0 < count <= len(candidates):
        most = len(candidates) * brain.voxel_volume / MM3_PER_ML
        asked = count * brain.voxel_volume / MM3_PER_ML
        raise ConfigError(f"a target of {asked:.4g} mL does not fit into the brain of {most:.4g} mL: ask for less")
    chosen = candidates[np.argsort(rank.ravel()[candidates], kind="stable")[:count]]
    result = np.zeros(brain.data.size, dtype=bool)
    result[chosen] = True
    return result.reshape(brain.data.shape)
