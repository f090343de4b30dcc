"""The separate foci of a tumour in a segmentation: which pieces of it count as one, and which are too many to fit.

Each focus gets a seed of its own. Pieces a few millimetres apart are one focus, for a sulcus or a vessel divides many a
tumour; specks belong to the focus they are next to. More foci than five are metastases as a rule: they have started on
days of their own, which a tumour of one age cannot show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from oncology.errors import CaseError
from oncology.imaging.metrics import surface_points, volume_ml
from oncology.imaging.volume import Volume, extent

if TYPE_CHECKING:
    from oncology.imaging.case import Case

__all__ = ["MOST_FOCI", "Focus", "find_foci", "late_foci", "metastases", "seeded_foci"]

MOST_FOCI = 5
TOGETHER = 5.0  # mm between the faces of two pieces, up to which they are one focus
SPECK, SPECK_ML = 0.05, 0.3  # of the largest focus, and mL: a piece below both is none of its own
LATE = 10.0  # mm from all tumour of the session before, beyond which a new piece has not grown out of it


@dataclass(frozen=True, eq=False)
class Focus:
    """One focus of a tumour.

    Attributes:
        region: mask of its voxels, on the grid of the segmentation.
    """

    region: Volume

    @property
    def volume_ml(self) -> float:
        """Volume, mL."""
        return volume_ml(self.region)

    @property
    def centre(self) -> NDArray[np.float64]:
        """Centre of mass, (3,), RAS mm; it may lie outside a curved focus."""
        return np.asarray(self.region.world(np.argwhere(self.region.data)).mean(axis=0))


def find_foci(mask: Volume) -> tuple[Focus, ...]:
    """Return the foci of a mask, the largest first; together they hold every voxel of it.

    Args:
        mask: segmentation of the whole tumour; no voxel, no focus.

    Example:
        >>> data = np.zeros((40, 10, 10), dtype=bool)
        >>> data[2:9, 2:8, 2:8] = data[25:30, 2:8, 2:8] = data[12, 4, 4] = True
        >>> [round(focus.volume_ml, 3) for focus in find_foci(Volume(data, np.eye(4)))]
        [0.253, 0.18]
    """
    if not mask.data.any():
        return ()
    box = extent(mask.data)
    inside = mask.data[box]
    labels, count = _pieces(inside, mask.voxel_sizes)
    if count > 1:
        labels, count = _without_specks(labels, count, mask)
    foci = []
    for number in range(1, count + 1):
        data = np.zeros(mask.shape, dtype=bool)
        data[box] = labels == number
        foci.append(Focus(mask.with_data(data)))
    return tuple(foci)


def seeded_foci(case: Case) -> tuple[Focus, ...]:
    """Return the foci of a case that each get a seed: those of the first session.

    Raises:
        CaseError: there are more than five.
    """
    if len(case.foci) > MOST_FOCI:
        raise CaseError(f"{case.sessions[0].whole.name}: {metastases(case.foci)}")
    return case.foci


def metastases(foci: Sequence[Focus]) -> str:
    """Say that there are too many foci, and what to do."""
    return (
        f"the tumour has {len(foci)} separate foci, at most {MOST_FOCI} are fitted: this looks like metastases, which "
        "start on days of their own; leave one lesion in the segmentation and fit it by itself, or, if this is one "
        "glioma, label the tissue that connects its parts"
    )


def late_foci(before: Volume, after: Volume) -> tuple[Focus, ...]:
    """Return the foci of a mask that lie far from an earlier day's mask, which others have grown out of.

    None where all of them do: then the tumour as a whole is somewhere else, and the images are not registered.
    """
    known = KDTree(before.world(np.argwhere(before.data)))
    foci = find_foci(after)
    late = [focus for focus in foci if float(known.query(surface_points(focus.region))[0].min()) > LATE]
    return tuple(late) if len(late) < len(foci) else ()


def _pieces(inside: NDArray[np.bool_], sizes: NDArray[np.float64]) -> tuple[NDArray[np.int64], int]:
    """Return the number of each voxel's piece, 0 outside, and their count; pieces close to each other are one."""
    labels, count = ndimage.label(inside, structure=np.ones((3, 3, 3)))
    if count < 2:
        return labels, int(count)
    away, nearest = ndimage.distance_transform_edt(~inside, sampling=sizes, return_indices=True)
    owner = labels[tuple(nearest)]
    joined = []
    for axis in range(3):  # where the regions nearest to two pieces meet, the gap between their faces can be read off
        (a, b), (here, there) = ((x[:-1], x[1:]) for x in (np.moveaxis(owner, axis, 0), np.moveaxis(away, axis, 0)))
        close = (a != b) & (here + there <= TOGETHER)
        joined.append(np.stack([a[close], b[close]]) - 1)
    rows, columns = np.concatenate(joined, axis=1)
    graph = sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    groups, number = connected_components(graph, directed=False)
    return np.concatenate([[0], number + 1])[labels], int(groups)


def _without_specks(labels: NDArray[np.int64], count: int, mask: Volume) -> tuple[NDArray[np.int64], int]:
    """Give the voxels of specks to the foci they are next to, and number those by size."""
    volumes = np.bincount(labels.ravel(), minlength=count + 1)[1:] * mask.voxel_volume / 1e3
    order = np.argsort(-volumes, kind="stable")
    kept = [number for number in order if volumes[number] >= min(SPECK * volumes[order[0]], SPECK_ML)]
    numbers = np.zeros(count + 1, dtype=np.int64)
    numbers[np.array(kept) + 1] = np.arange(1, len(kept) + 1)
    renumbered = numbers[labels]
    specks = np.setdiff1d(np.arange(1, count + 1), np.array(kept) + 1)
    if len(specks):
        away, nearest = ndimage.distance_transform_edt(renumbered == 0, sampling=mask.voxel_sizes, return_indices=True)
        closest = np.transpose(ndimage.minimum_position(away, labels, specks))
        numbers[specks] = renumbered[tuple(nearest[(slice(None), *closest)])]
        renumbered = numbers[labels]
    return renumbered, len(kept)
