"""How far two segmentations of the same grid differ: overlap, volumes and surface distances.

Dice (1945) for overlap; distances between surfaces as in Reinke et al., Nature Methods 21 (2024): the larger of the two
directed 95th percentiles, the mean over both surfaces, and the fraction of both within a tolerance (surface Dice).
Surfaces are the centres of the voxels at a mask's boundary, placed by the affine, so that any voxel shape and obliquity
is right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from oncology.errors import ImageError
from oncology.imaging.volume import Volume

__all__ = ["MM3_PER_ML", "Agreement", "compare", "dice", "surface_area", "surface_points", "volume_ml"]

MM3_PER_ML = 1000.0
OUTLIERS = 95.0  # percentile of the surface distances that stands for the largest
ROUNDING = 1e-3  # of the tolerance, so that neighbouring voxels of an oblique image count as one voxel apart


@dataclass(frozen=True)
class Agreement:
    """Scan against model in one region.

    Attributes:
        dice: overlap 0..1; None where both are empty.
        reference_ml: volume of the reference, mL.
        predicted_ml: volume of the prediction, mL.
        hausdorff95: 95 % Hausdorff distance, mm; None where either is empty.
        mean_distance: mean surface distance, mm; None where either is empty.
        surface_dice: fraction of both surfaces within one voxel (its longest edge) of the other; None where either is
            empty.
    """

    dice: float | None
    reference_ml: float
    predicted_ml: float
    hausdorff95: float | None
    mean_distance: float | None
    surface_dice: float | None


def compare(reference: Volume, predicted: Volume) -> Agreement:
    """Compare two masks on the same grid.

    Args:
        reference: the scan, bool.
        predicted: the model, bool.

    Raises:
        ImageError: the grids differ.
    """
    if not reference.same_grid(predicted):
        raise ImageError(
            f"{predicted.name}: its grid {predicted.shape} is not that of {reference.name} {reference.shape}: "
            "resample one to the other"
        )
    hausdorff, mean, near = _surface_distances(reference, predicted)
    return Agreement(
        dice=dice(reference.data, predicted.data),
        reference_ml=volume_ml(reference),
        predicted_ml=volume_ml(predicted),
        hausdorff95=hausdorff,
        mean_distance=mean,
        surface_dice=near,
    )


def dice(reference: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float | None:
    """Return 2 |A and B| / (|A| + |B|), 0..1; None where both are empty.

    Example:
        >>> dice(np.array([True, True, False]), np.array([False, True, False]))
        0.6666666666666666
    """
    total = int(np.count_nonzero(reference)) + int(np.count_nonzero(predicted))
    return 2.0 * int(np.count_nonzero(reference & predicted)) / total if total else None


def volume_ml(mask: Volume) -> float:
    """Return the volume of a mask's voxels, mL."""
    return int(np.count_nonzero(mask.data)) * mask.voxel_volume / MM3_PER_ML


def surface_area(mask: Volume) -> float:
    """Return the area of a mask's boundary, mm^2: two thirds of that of its voxels' outer faces.

    The faces have the area of a smooth surface projected along each axis, which is 3/2 times its own on average over
    all directions.
    """
    if not mask.data.any():
        return 0.0
    (box,) = ndimage.find_objects(mask.data.astype(np.uint8))
    inside = np.pad(mask.data[box], 1)
    counts = [np.count_nonzero(np.diff(inside, axis=axis)) for axis in range(3)]
    return float(2.0 / 3.0 * mask.voxel_volume * (counts / mask.voxel_sizes).sum())


def surface_points(mask: Volume) -> NDArray[np.float64]:
    """Return the centres (n, 3), RAS mm, of the voxels of a mask that share a face with its outside."""
    voxels = np.argwhere(mask.data)
    if not len(voxels):
        return np.empty((0, 3))
    lower = voxels.min(axis=0)
    box = np.zeros(voxels.max(axis=0) - lower + 1, dtype=bool)  # erosion takes long on a whole head
    box[tuple((voxels - lower).T)] = True
    return mask.world(np.argwhere(box & ~ndimage.binary_erosion(box)) + lower)


def _surface_distances(reference: Volume, predicted: Volume) -> tuple[float | None, float | None, float | None]:
    first, second = surface_points(reference), surface_points(predicted)
    if not len(first) or not len(second):
        return None, None, None
    there, _ = KDTree(second).query(first)
    back, _ = KDTree(first).query(second)
    hausdorff = max(np.percentile(there, OUTLIERS), np.percentile(back, OUTLIERS))
    both = np.concatenate([there, back])
    tolerance = (1.0 + ROUNDING) * float(reference.voxel_sizes.max())
    return float(hausdorff), float(both.mean()), float(np.mean(both <= tolerance))
