"""What the images of a case say on the cells of an engine: segmented regions as cell fractions, uptake of tracers.

A misfit is then an integral over the brain, whichever engine cuts it into cells. `observe` names the data of a case;
they are averaged over cells once an engine is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncology.errors import CaseError
from oncology.imaging.case import Case
from oncology.imaging.resample import cell_average, sample
from oncology.imaging.volume import Volume, extent
from oncology.inverse.misfit import DeclaredErrors, MaskObservation, Observation, TracerObservation
from oncology.model.cells import CellSpace

__all__ = ["Data", "FixedData", "ScanData", "observe"]

Vector = NDArray[np.float64]

# Standard deviation of the position of an image along each axis, in voxels: that of a uniform error of one voxel.
_REGISTRATION_VOXELS = 12.0**-0.5
# Weight of a tracer's residual beside a segmentation's: uptake follows density only roughly.
_TRACER_WEIGHT = 0.5


class Data(Protocol):
    """Data that can be put on the cells of any engine."""

    @property
    def days(self) -> tuple[float, ...]:
        """Observation days, ascending."""

    def on(self, space: CellSpace) -> tuple[Observation, ...]:
        """Return the observations on the cells of this rank."""


@dataclass(frozen=True)
class FixedData:
    """Observations that are on the cells of one engine already.

    Attributes:
        days: observation days, ascending.
        observations: on the cells of this rank.
    """

    days: tuple[float, ...]
    observations: tuple[Observation, ...] = field(repr=False)

    def on(self, space: CellSpace) -> tuple[Observation, ...]:
        """Return them."""
        return self.observations


@dataclass(frozen=True)
class ScanData:
    """The segmentations of a case and, if asked for, its tracer images.

    Attributes:
        case: the patient.
        tracer: observe the tracer images too.
    """

    case: Case = field(repr=False)
    tracer: bool = False

    @property
    def days(self) -> tuple[float, ...]:
        """Day of each session."""
        return self.case.days

    def on(self, space: CellSpace) -> tuple[Observation, ...]:
        """Return the observations on the cells of this rank.

        Raises:
            CaseError: where the uptake in the tumour is not above that of the healthy brain.
        """
        return (*_masks(self.case, space), *(_tracers(self.case, space) if self.tracer else ()))


def observe(case: Case, tracer: bool = False) -> ScanData:
    """Return the data of a case.

    Args:
        case: the patient.
        tracer: use the FET-PET images too, as linear in the density with an unknown scale.

    Raises:
        CaseError: tracer images are asked for and there are none.
    """
    if tracer and all(session.pet is None for session in case.sessions):
        raise CaseError(f"{case.root}: no session has a tracer image (pet/..._trc-FET_pet.nii.gz): fit without --pet")
    return ScanData(case, tracer)


def _masks(case: Case, space: CellSpace) -> list[MaskObservation]:
    """Return the regions that were segmented as cell fractions, with the errors that the case declares."""
    given = {"whole": case.thresholds.oedema, "core": case.thresholds.core}
    observations = []
    for index, session in enumerate(case.sessions):
        # the first session defines the frame; the others are registered to it to within a voxel
        shift = float(session.whole.voxel_sizes.mean()) * _REGISTRATION_VOXELS if index else 0.0
        errors = DeclaredErrors(case.thresholds.sd, case.segmentation_bias, shift)
        for region, mask in session.regions.items():
            observations.append(MaskObservation(region, index, given[region], _filled(mask, space), errors))
    return observations


def _filled(mask: Volume, space: CellSpace) -> Vector:
    """Return the fraction of each cell inside a mask, (m,); only cells that meet the box around it are sampled."""
    box = extent(mask.data)
    position = mask.voxel(space.points).take(space.cells, axis=0)
    low = np.array([side.start for side in box]) - 0.5
    high = np.array([side.stop for side in box]) - 0.5
    near = np.flatnonzero(((position.max(axis=1) >= low) & (position.min(axis=1) <= high)).all(axis=1))
    result = np.zeros(len(space.cells))
    result[near] = cell_average(mask, space.points, space.cells[near], order=0)
    return result


def _tracers(case: Case, space: CellSpace) -> list[TracerObservation]:
    """Return the tracer images of the sessions that have one.

    Uptake is measured above the median of the brain beyond 20 mm from any segmentation, in units of the 95th percentile
    of the whole tumour, and compared within 5 mm of the whole tumour.
    """
    brain = case.white.data + case.grey.data > 0.5
    away = case.white.world(np.argwhere(brain & (case.tumour_distance.data > 20.0)))
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
