"""A patient: tissue maps, segmented sessions and treatments, read from a folder with BIDS names.

The layout is that of `data/README.md`. Every image keeps its own grid and is placed by its affine (RAS+ mm); any
fault of the folder raises one `CaseError` or `ImageError` with a one-line message, before anything is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from oncology.errors import CaseError, ImageError
from oncology.imaging.casefile import SAME_DAY, CaseFile, TensorSection, read_case_file
from oncology.imaging.describe import case_table
from oncology.imaging.distance import distance_from
from oncology.imaging.foci import Focus, find_foci
from oncology.imaging.labels import LabelTable, read_labels
from oncology.imaging.metrics import volume_ml
from oncology.imaging.naming import find_image, find_images, session_folder, spellings
from oncology.imaging.plausibility import Remarks, examine
from oncology.imaging.resample import resample_to
from oncology.imaging.session import Session, labelled_cavity, make_session, with_states
from oncology.imaging.tensor import read_tensor
from oncology.imaging.tissue import (
    brain_hull,
    check_inside_brain,
    check_overlap,
    check_probability,
    join_maps,
    reassign,
)
from oncology.imaging.volume import Volume, read_volume
from oncology.model.treatment import Resection, Treatment

__all__ = ["Case", "Session", "Thresholds"]

FEWEST_SLICES = 3  # voxels along an axis of a segmentation
FEWEST_VOXELS, LEAST_ML = 8, 0.03  # of a tumour; a ball of 2 mm radius has 0.03 mL
STILL_THERE = 0.5  # fraction of a core in the scan right after its resection, above which it was not resected


@dataclass(frozen=True)
class Thresholds:
    """Cell density at the visible boundary of each compartment, as a fraction of the carrying capacity, 0..1.

    Attributes:
        oedema: at the boundary of the whole tumour.
        core: at the boundary of the core; above `oedema`.
        sd: standard deviation of each of them, the same density in all sessions; 0: the thresholds are taken as exact.
    """

    oedema: float
    core: float
    sd: float = 0.0


@dataclass(frozen=True, eq=False)
class Case:
    """All data of one patient.

    Attributes:
        id: the subject, without "sub-".
        root: its folder.
        labels: what the values of the segmentations mean.
        thresholds: cell densities at the visible boundaries.
        white: white-matter probability 0..1; 1 - grey in tumour voxels that the maps assign to neither.
        grey: grey-matter probability 0..1, on the grid of `white`.
        t1: T1-weighted image, for pictures.
        tensor: diffusion tensor along the RAS axes, six components (see `oncology.imaging.tensor`).
        sessions: by day, at least one.
        treatments: by day.
        reassigned_fraction: fraction of the tumour (all sessions) that the maps assign to neither white nor grey
            matter and that was taken as white matter, 0..1.
        segmentation_bias: standard deviation of how far a rater draws a boundary outwards as a whole, mm.
        white_error: standard deviation of how far the maps' white matter reaches too far as a whole, mm.
    """

    id: str
    root: Path
    labels: LabelTable
    thresholds: Thresholds
    white: Volume
    grey: Volume
    t1: Volume | None
    tensor: Volume | None
    sessions: tuple[Session, ...]
    treatments: tuple[Treatment, ...]
    reassigned_fraction: float
    segmentation_bias: float = 0.0
    white_error: float = 0.25

    def __repr__(self) -> str:
        return str(case_table(self))

    def _repr_html_(self) -> str:
        return case_table(self).html()

    def check(self) -> Remarks:
        """Return what is odd about the case, in sentences; empty where nothing is.

        See `oncology.imaging.plausibility`; what makes a fit impossible is an error of `read` already.
        """
        return self._remarks

    @cached_property
    def _remarks(self) -> Remarks:
        return examine(self)

    @classmethod
    def read(cls, path: str | Path) -> Case:
        """Read and check a case folder.

        Args:
            path: the folder, which holds `case.toml`.

        Raises:
            CaseError: folder or `case.toml` are incomplete or inconsistent, images do not overlap, or the tumour is
                outside the brain.
            ImageError: an image is damaged or its values cannot be used.
        """
        root = Path(path)
        if not root.is_dir():
            raise CaseError(f"{root}: no such folder: give the folder that holds case.toml")
        case_file = read_case_file(root / "case.toml")
        subject, labels = case_file.subject.id, case_file.labels.build()
        white, grey = (_tissue_map(root, subject, tissue) for tissue in ("WM", "GM"))
        white, grey = join_maps(white, grey)
        read = [
            _session(root, subject, entry.id, day, labels)
            for entry, day in zip(case_file.session, case_file.days, strict=True)
        ]
        _check_sessions(read, white, grey)
        treatments = _treatments(root, case_file, read, white)
        said = [entry.core for entry in case_file.session]
        sessions = with_states(read, said, treatments, str(root / "case.toml"))
        white, fraction = reassign(white, grey, [session.whole for session in sessions])
        return cls(
            id=subject,
            root=root,
            labels=labels,
            thresholds=Thresholds(case_file.thresholds.oedema, case_file.thresholds.core, case_file.thresholds.sd),
            white=white,
            grey=grey,
            t1=_t1(root, subject, white),
            tensor=_tensor(root, subject, case_file.tensor, white),
            sessions=sessions,
            treatments=treatments,
            reassigned_fraction=fraction,
            segmentation_bias=case_file.segmentation.bias_mm,
            white_error=case_file.segmentation.white_mm,
        )

    @cached_property
    def tumour_distance(self) -> Volume:
        """Distance of every voxel of the tissue maps from the union of all segmentations, mm.

        More than 50 mm beyond the box around the segmentations, the distance from that box stands for it, which is
        smaller: a margin that wide also takes in the corners.

        Raises:
            CaseError: no segmentation reaches the grid of the tissue maps.
        """
        union = np.zeros(self.white.shape, dtype=bool)
        for session in self.sessions:
            union |= resample_to(session.whole, self.white, order=0).data > 0.5
        if not union.any():
            raise CaseError(f"{self.root}: the segmentations miss the grid of the tissue maps: check their affines")
        return self.white.with_data(distance_from(union, self.white.voxel_sizes))

    @cached_property
    def foci(self) -> tuple[Focus, ...]:
        """Separate foci of the whole tumour in the first session, the largest first (`oncology.imaging.foci`)."""
        return find_foci(self.sessions[0].whole)

    @property
    def days(self) -> tuple[float, ...]:
        """Day of each session."""
        return tuple(session.day for session in self.sessions)

    @property
    def first_day(self) -> float:
        """Day of the first session or treatment: the end of the interval that starts at onset."""
        return min([self.sessions[0].day, *(treatment.day for treatment in self.treatments)])


def _session(root: Path, subject: str, name: str, day: float, table: LabelTable) -> Session:
    folder, stems = session_folder(root, name), _stems(subject, name)
    path = find_image(folder / "anat", stems, "desc-tumor_dseg", f"segmentation of {name}")
    labels = read_labels(read_volume(path, dtype=None), table)
    return make_session(name, day, labels, table, _pet(folder / "pet", stems))


def _stems(subject: str, session: str | None = None) -> tuple[str, ...]:
    """How the names of a subject's files, or of a session's, may start."""
    subjects = spellings("sub-", subject)
    if session is None:
        return subjects
    return tuple(f"{start}_{scan}" for start in subjects for scan in spellings("ses-", session))


def _tissue_map(root: Path, subject: str, tissue: str) -> Volume:
    path = find_image(root / "anat", _stems(subject), f"label-{tissue}_probseg", f"probability map of {tissue}")
    return check_probability(read_volume(path))


def _optional(folder: Path, stems: tuple[str, ...], ending: str) -> Path | None:
    """An image that need not be there; one of several is no choice that can be made here."""
    return find_image(folder, stems, ending, "image") if find_images(folder, stems, ending) else None


def _pet(folder: Path, stems: tuple[str, ...]) -> Volume | None:
    """The only tracer image of a session; its tracer may have any name."""
    path = _optional(folder, stems, "pet")
    if path is None:
        return None
    pet = _scalar(read_volume(path))
    if float(pet.data.min()) == float(pet.data.max()):
        raise ImageError(
            f"{pet.name}: uptake is {float(pet.data.min()):g} everywhere: leave the file out or replace it"
        )
    return pet


def _t1(root: Path, subject: str, white: Volume) -> Volume | None:
    path = _optional(root / "anat", _stems(subject), "T1w")
    if path is None:
        return None
    t1 = _scalar(read_volume(path))
    check_overlap(t1, white, "tissue maps")
    return t1


def _tensor(root: Path, subject: str, section: TensorSection, white: Volume) -> Volume | None:
    path = _optional(root / "dwi", _stems(subject), "model-DTI_param-tensor_dwimap")
    if path is None:
        return None
    tensor = read_tensor(read_volume(path), section.axes, section.order)
    check_overlap(tensor, white, "tissue maps")
    return tensor


def _scalar(volume: Volume) -> Volume:
    if volume.data.ndim != 3:
        raise ImageError(
            f"{volume.name}: has shape {volume.data.shape}, expected 3-D: extract one volume (fslroi, mrconvert)"
        )
    return volume


def _check_sessions(sessions: Sequence[Session], white: Volume, grey: Volume) -> None:
    hull = brain_hull(white, grey)
    for session in sessions:
        _check_size(session)
        check_overlap(session.labels, white, "tissue maps")
        check_inside_brain(session.whole, hull, white, grey)
        if session.pet is not None:
            check_overlap(session.pet, white, "tissue maps")


def _check_size(session: Session) -> None:
    """Refuse a tumour, or an image, that is too small for a shape to be seen in it."""
    name, slices = session.labels.name, min(session.labels.shape)
    if slices < FEWEST_SLICES:
        raise ImageError(
            f"{name}: has {slices} voxel{'s' * (slices > 1)} along one axis, growth needs a volume of "
            f"{FEWEST_SLICES} slices or more: export the whole image"
        )
    voxels = int(session.whole.data.sum())
    volume = volume_ml(session.whole)
    if voxels < FEWEST_VOXELS or volume < LEAST_ML:
        raise ImageError(
            f"{name}: the tumour has {voxels} voxel{'s' * (voxels > 1)} ({volume:.2g} mL), too small for a fit, "
            f"which needs {FEWEST_VOXELS} voxels and {LEAST_ML:g} mL: check the segmentation, or leave this session out"
        )


def _treatments(root: Path, case_file: CaseFile, sessions: Sequence[Session], white: Volume) -> tuple[Treatment, ...]:
    """The treatments by day; every resection has a cavity that can be found (`oncology.imaging.placement`)."""
    treatments = []
    for entry in case_file.treatment:
        treatment = entry.build(root)
        if isinstance(treatment, Resection):
            if treatment.day in case_file.days_with_two:
                treatment = replace(treatment, day=treatment.day + 0.5 * SAME_DAY)
            _check_resection(treatment, root / "case.toml", sessions, white)
        treatments.append(treatment)
    return tuple(sorted(treatments, key=lambda treatment: treatment.day))


def _check_resection(resection: Resection, toml: Path, sessions: Sequence[Session], white: Volume) -> None:
    """Refuse a resection without a cavity, or one that the scan of the same day contradicts."""
    if resection.mask is not None:
        if not resection.mask.is_file() and not resection.mask.is_symlink():
            raise CaseError(
                f"{resection.mask}: mask of the resection cavity is missing: put it there (layout in data/README.md)"
            )
        cavity = _scalar(read_volume(resection.mask, dtype=None))
        if not cavity.data.any() or not np.isin(cavity.data, (0, 1)).all():
            raise ImageError(
                f"{cavity.name}: resection cavity must hold 0 and 1, and some 1: make it a mask (fslmaths -bin)"
            )
        check_overlap(cavity, white, "tissue maps")
    elif labelled_cavity(sessions, resection) is None:
        before = [session for session in sessions if session.day < resection.day]
        if not before or not before[-1].core.data.any():
            what = f"{before[-1].id} has no core" if before else "no session is earlier"
            raise CaseError(f"{toml}: resection on day {resection.day:g} has no mask and {what}: give a mask")
    _check_same_day(resection, toml, sessions)


def _check_same_day(resection: Resection, toml: Path, sessions: Sequence[Session]) -> None:
    """Refuse a scan on the day of a resection, after another one on that day, that shows the core still in place."""
    before = [session for session in sessions if session.day < resection.day]
    after = [session for session in sessions if resection.day < session.day < resection.day + 1.0]
    if not before or not after or not before[-1].core.data.any():
        return
    first, second = before[-1], after[0]
    later = resample_to(second.core.with_data(second.core.data.astype(np.uint8)), first.core, order=0).data > 0
    left = float(later[first.core.data].mean())
    if left > STILL_THERE:
        raise CaseError(
            f"{toml}: {second.id} is on the same day as the resection but shows {left:.0%} of the core of {first.id} "
            "still there: give the sessions in the order before, after, or their days as fractions (0.5 is 12 hours)"
        )
