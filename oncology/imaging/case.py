"""A patient: tissue maps, segmented sessions and treatments, read from a folder with BIDS names.

The layout is that of `data/README.md`. Every image keeps its own grid and is placed by its affine (RAS+ mm); any
fault of the folder raises one `CaseError` or `ImageError` with a one-line message, before anything is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import ndimage

from oncology.errors import CaseError, ImageError
from oncology.imaging.casefile import CaseFile, read_case_file
from oncology.imaging.describe import case_table
from oncology.imaging.labels import LabelTable, indicator, read_labels
from oncology.imaging.plausibility import Remarks, examine
from oncology.imaging.resample import resample_to
from oncology.imaging.tensor import Axes, read_tensor
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


@dataclass(frozen=True)
class Thresholds:
    """Cell density at the visible boundary of each compartment, as a fraction of the carrying capacity, 0..1.

    Attributes:
        oedema: at the boundary of the whole tumour.
        core: at the boundary of the core; above `oedema`.
    """

    oedema: float
    core: float


@dataclass(frozen=True, eq=False)
class Session:
    """One scan of a patient; sessions may have different grids.

    Attributes:
        id: BIDS name, "ses-01".
        day: days from the origin of `case.toml`.
        whole: mask of every tumour label.
        core: mask of necrosis and enhancing tumour; empty where the tumour has neither (a low-grade glioma).
        labels: the segmentation, unchanged.
        pet: tracer uptake in the file's unit, if there is one.
    """

    id: str
    day: float
    whole: Volume
    core: Volume
    labels: Volume
    pet: Volume | None = None


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

    def __repr__(self) -> str:
        return str(case_table(self))

    def _repr_html_(self) -> str:
        return case_table(self).html()

    def check(self) -> Remarks:
        """Return what is odd about the case, in sentences; empty where nothing is.

        See `oncology.imaging.plausibility`; what makes a fit impossible is an error of `read` already.
        """
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
        sessions = tuple(_session(root, subject, entry.id, entry.day, labels) for entry in case_file.session)
        _check_sessions(sessions, white, grey)
        treatments = _treatments(root, case_file, sessions, white)
        white, fraction = reassign(white, grey, [session.whole for session in sessions])
        return cls(
            id=subject,
            root=root,
            labels=labels,
            thresholds=Thresholds(case_file.thresholds.oedema, case_file.thresholds.core),
            white=white,
            grey=grey,
            t1=_t1(root, subject, white),
            tensor=_tensor(root, subject, case_file.tensor.axes, white),
            sessions=sessions,
            treatments=treatments,
            reassigned_fraction=fraction,
        )

    @cached_property
    def tumour_distance(self) -> Volume:
        """Distance of every voxel of the tissue maps from the union of all segmentations, mm.

        Raises:
            CaseError: no segmentation reaches the grid of the tissue maps.
        """
        union = np.zeros(self.white.shape, dtype=bool)
        for session in self.sessions:
            union |= resample_to(session.whole, self.white, order=0).data > 0.5
        if not union.any():
            raise CaseError(f"{self.root}: the segmentations miss the grid of the tissue maps: check their affines")
        return self.white.with_data(ndimage.distance_transform_edt(~union, sampling=self.white.voxel_sizes))

    @property
    def days(self) -> tuple[float, ...]:
        """Day of each session."""
        return tuple(session.day for session in self.sessions)

    @property
    def first_day(self) -> float:
        """Day of the first session or treatment: the end of the interval that starts at onset."""
        return min([self.sessions[0].day, *(treatment.day for treatment in self.treatments)])


def _required(path: Path, what: str) -> Path:
    if not path.is_file():
        raise CaseError(f"{path}: {what} is missing: put it there (layout in data/README.md)")
    return path


def _tissue_map(root: Path, subject: str, tissue: str) -> Volume:
    path = root / "anat" / f"sub-{subject}_label-{tissue}_probseg.nii.gz"
    return check_probability(read_volume(_required(path, f"probability map of {tissue}")))


def _session(root: Path, subject: str, session: str, day: float, table: LabelTable) -> Session:
    stem = f"sub-{subject}_{session}"
    path = _required(root / session / "anat" / f"{stem}_desc-tumor_dseg.nii.gz", f"segmentation of {session}")
    labels = read_labels(read_volume(path, dtype=None), table)
    return Session(
        id=session,
        day=day,
        whole=labels.with_data(labels.data > 0),
        core=labels.with_data(indicator(labels.data, table.core)),
        labels=labels,
        pet=_pet(root / session / "pet", stem),
    )


def _pet(folder: Path, stem: str) -> Volume | None:
    """The only tracer image of a session; its tracer may have any name."""
    found = sorted(folder.glob(f"{stem}_trc-*_pet.nii.gz"))
    if not found:
        return None
    if len(found) > 1:
        raise CaseError(f"{folder}: holds {len(found)} PET images, allowed is one: keep {found[0].name} or the other")
    pet = _scalar(read_volume(found[0]))
    if float(pet.data.min()) == float(pet.data.max()):
        raise ImageError(
            f"{pet.name}: uptake is {float(pet.data.min()):g} everywhere: leave the file out or replace it"
        )
    return pet


def _t1(root: Path, subject: str, white: Volume) -> Volume | None:
    path = root / "anat" / f"sub-{subject}_T1w.nii.gz"
    if not path.is_file():
        return None
    t1 = _scalar(read_volume(path))
    check_overlap(t1, white, "tissue maps")
    return t1


def _tensor(root: Path, subject: str, axes: Axes, white: Volume) -> Volume | None:
    path = root / "dwi" / f"sub-{subject}_model-DTI_param-tensor_dwimap.nii.gz"
    if not path.is_file():
        return None
    tensor = read_tensor(read_volume(path), axes)
    check_overlap(tensor, white, "tissue maps")
    return tensor


def _scalar(volume: Volume) -> Volume:
    if volume.data.ndim != 3:
        raise ImageError(
            f"{volume.name}: has shape {volume.data.shape}, expected 3-D: extract one volume (fslroi, mrconvert)"
        )
    return volume


def _check_sessions(sessions: tuple[Session, ...], white: Volume, grey: Volume) -> None:
    hull = brain_hull(white, grey)
    for session in sessions:
        check_overlap(session.labels, white, "tissue maps")
        check_inside_brain(session.whole, hull, white, grey)
        if session.pet is not None:
            check_overlap(session.pet, white, "tissue maps")


def _treatments(root: Path, case_file: CaseFile, sessions: tuple[Session, ...], white: Volume) -> tuple[Treatment, ...]:
    """The treatments by day; every resection has a cavity, as a mask or as the core of an earlier session."""
    treatments = sorted((entry.build(root) for entry in case_file.treatment), key=lambda treatment: treatment.day)
    for treatment in treatments:
        if isinstance(treatment, Resection):
            _check_resection(treatment, root, sessions, white)
    return tuple(treatments)


def _check_resection(resection: Resection, root: Path, sessions: tuple[Session, ...], white: Volume) -> None:
    if resection.mask is None:
        before = [session for session in sessions if session.day < resection.day]
        if not before or not before[-1].core.data.any():
            what = f"{before[-1].id} has no core" if before else "no session is earlier"
            raise CaseError(
                f"{root / 'case.toml'}: resection on day {resection.day:g} has no mask and {what}: give a mask"
            )
        return
    cavity = _scalar(read_volume(_required(resection.mask, "mask of the resection cavity"), dtype=None))
    if not cavity.data.any() or not np.isin(cavity.data, (0, 1)).all():
        raise ImageError(
            f"{cavity.name}: resection cavity must hold 0 and 1, and some 1: make it a mask (fslmaths -bin)"
        )
    check_overlap(cavity, white, "tissue maps")
