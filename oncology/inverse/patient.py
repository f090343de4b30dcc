"""What every engine takes from a case: where the tumour is, what the images say on each cell, cavities and tensors.

Segmentations become volume fractions of the cells and tracer images become uptake above the healthy brain's, so that a
misfit is an integral over the brain whichever engine cuts it into cells.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncology.errors import CaseError, MeshError
from oncology.imaging.case import Case
from oncology.imaging.resample import cell_average, resample_to, sample
from oncology.imaging.tensor import to_matrices
from oncology.imaging.volume import Volume, read_volume
from oncology.inverse.misfit import MaskObservation, Observation, TracerObservation
from oncology.model.cells import CellSpace
from oncology.model.treatment import Resection

__all__ = ["cavity_at", "observations_of", "tensors_at", "tumour_distance"]

Vector = NDArray[np.float64]

# Weight of a tracer's residual beside a segmentation's: uptake follows density only roughly.
_TRACER_WEIGHT = 0.5


def tumour_distance(case: Case) -> Volume:
    """Return the distance of every voxel of the tissue maps from the union of all segmentations, mm."""
    union = np.zeros(case.white.shape, dtype=bool)
    for session in case.sessions:
        union |= resample_to(session.whole, case.white, order=0).data > 0.5
    if not union.any():
        raise MeshError(f"{case.root}: the segmentations miss the grid of the tissue maps: check their affines")
    return case.white.with_data(ndimage.distance_transform_edt(~union, sampling=case.white.voxel_sizes))


def observations_of(case: Case, space: CellSpace, tracer: bool = False) -> tuple[Observation, ...]:
    """Return the segmented regions as cell fractions and, if asked for, the tracer images.

    Args:
        case: the patient.
        space: cells of this rank.
        tracer: observe the tracer images too.

    Raises:
        CaseError: where the uptake in the tumour is not above that of the healthy brain.
    """
    return (*_masks(case, space), *(_tracers(case, space) if tracer else ()))


def _masks(case: Case, space: CellSpace) -> list[MaskObservation]:
    """Return the segmented regions as cell fractions."""
    given = {"whole": case.thresholds.oedema, "core": case.thresholds.core}
    return [
        MaskObservation(region, index, given[region], cell_average(mask, space.points, space.cells, order=0))
        for index, session in enumerate(case.sessions)
        for region, mask in (("whole", session.whole), ("core", session.core))
    ]


def _tracers(case: Case, space: CellSpace) -> list[TracerObservation]:
    """Return the tracer images of the sessions that have one.

    Uptake is measured above the median of the brain beyond 20 mm from any segmentation, in units of the 95th percentile
    of the whole tumour, and compared within 5 mm of the whole tumour.
    """
    brain = case.white.data + case.grey.data > 0.5
    away = case.white.world(np.argwhere(brain & (tumour_distance(case).data > 20.0)))
    observations = []
    for index, session in enumerate(case.sessions):
        if session.pet is None:
            continue
        background = float(np.median(sample(session.pet, away))) if len(away) else 0.0
        inside = sample(session.pet, session.whole.world(np.argwhere(session.whole.data)))
        high = float(np.percentile(inside, 95.0)) - background
        if not high > 0.0:
            raise CaseError(
                f"{session.pet.name}: uptake in the tumour is not above that of the healthy brain ({background:g}): "
                "fit without --pet"
            )
        uptake = cell_average(session.pet, space.points, space.cells, order=1)
        outside = ndimage.distance_transform_edt(~session.whole.data, sampling=session.whole.voxel_sizes)
        near = sample(session.whole.with_data(outside), space.centres, outside=np.inf) <= 5.0
        observations.append(TracerObservation(index, (uptake - background) / high, np.where(near, _TRACER_WEIGHT, 0.0)))
    return observations


def cavity_at(case: Case, resection: Resection, points: Vector) -> Vector:
    """Return the indicator (0..1) of a resection's cavity at points (n, 3), mm."""
    if resection.mask is not None:
        mask = read_volume(resection.mask)
        return sample(mask.with_data((mask.data > 0.5).astype(float)), points)
    before = [session for session in case.sessions if session.day < resection.day][-1]
    return sample(before.core.with_data(before.core.data.astype(float)), points)


def tensors_at(tensor: Volume, points: Vector) -> Vector:
    """Return a tensor image at points divided by its mean diffusivity there, (n, 3, 3); identity where it is zero."""
    components = [sample(replace(tensor, data=tensor.data[..., k]), points) for k in range(6)]
    matrices = to_matrices(np.stack(components, axis=-1))
    mean = np.trace(matrices, axis1=1, axis2=2) / 3.0
    result = np.broadcast_to(np.eye(3), matrices.shape).copy()
    known = mean > 1e-3 * np.median(mean[mean > 0.0]) if (mean > 0.0).any() else mean > 0.0
    result[known] = matrices[known] / mean[known, None, None]
    return result
