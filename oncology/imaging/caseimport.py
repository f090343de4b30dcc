"""Cases of public data sets: images copied to the names of a case, and its `case.toml`, whole or not at all."""

from __future__ import annotations

import datetime
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oncology.errors import ArgumentError, CaseError, OutputError
from oncology.files import os_error_text, write_file
from oncology.imaging.casemaker import Draft, case_text
from oncology.imaging.datasets import PublicPatient
from oncology.imaging.naming import bids_label
from oncology.imaging.template import mni152_tissue
from oncology.imaging.volume import write_volume

__all__ = ["Tissue", "import_case", "new_case"]


@dataclass(frozen=True)
class Tissue:
    """Where the maps of white and grey matter come from.

    Attributes:
        white: image of probabilities, 0..1.
        grey: image of probabilities, 0..1.
        template: take the maps of the MNI152 brain instead.
    """

    white: Path | None = None
    grey: Path | None = None
    template: bool = False


def import_case(
    out: Path,
    patient: PublicPatient,
    tissue: Tissue,
    days: Sequence[float | datetime.date] = (),
    thresholds: tuple[float, float] = (0.25, 0.6),
) -> None:
    """Write a patient of a public data set as a case.

    Args:
        out: folder to make.
        patient: what to write.
        tissue: maps of white and grey matter, in the space of the scans.
        days: of the scans, in their order; none: those that the data set tells.
        thresholds: cell density at the boundary of the whole tumour and of the core, 0..1.

    Raises:
        ArgumentError: days or maps are missing.
        CaseError: a name or a day is not allowed, or an image is not there.
        OutputError: the folder is not empty, or cannot be written.
    """
    known = [scan.day for scan in patient.scans if scan.day is not None]
    names = [scan.name for scan in patient.scans]
    told = [*days] or known
    if len(told) != len(names):
        raise ArgumentError(
            "days", f"are {len(told)} for the scans {', '.join(names)}, whose days are not in the data set: give each"
        )
    _require_tissue(tissue)
    draft = Draft(
        patient.subject,
        tuple(zip(names, told, strict=True)),
        patient.table,
        thresholds=thresholds,
        resections=() if patient.operated_after is None else (_halfway(told, patient.operated_after),),
    )
    text = case_text(out / "case.toml", draft)
    with new_case(out) as work:
        stem = f"sub-{bids_label(patient.subject)}"
        for scan in patient.scans:
            session = f"ses-{bids_label(scan.name)}"
            _copy(scan.segmentation, work / session / "anat" / f"{stem}_{session}_desc-tumor_dseg")
        if patient.picture is not None:
            _copy(patient.picture, work / "anat" / f"{stem}_T1w")
        _write_tissue(tissue, lambda kind: work / "anat" / f"{stem}_label-{kind}_probseg")
        write_file(work / "case.toml", text)


def _halfway(days: Sequence[float | datetime.date], before: int) -> float | datetime.date:
    """The day between the last scan before the surgery and the first after it."""
    earlier, later = days[before - 1], days[before]
    if isinstance(earlier, datetime.date) and isinstance(later, datetime.date):
        return earlier + (later - earlier) / 2
    assert isinstance(earlier, int | float) and isinstance(later, int | float)
    return round(0.5 * (earlier + later), 2)


@contextmanager
def new_case(out: Path) -> Iterator[Path]:
    """Give a working folder that becomes a case at the end of the block, or leaves nothing behind.

    Args:
        out: folder to make; an empty one may be there.

    Raises:
        OutputError: the folder is not empty, or cannot be written.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise OutputError(f"{out}: is there already: choose another --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f"{out.name}.tmp-", dir=out.parent))
    except OSError as error:
        raise OutputError(os_error_text(error, out)) from error
    try:
        yield work
        work.chmod(0o755)
        work.replace(out)
    except OSError as error:
        raise OutputError(os_error_text(error, error.filename or out)) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _require_tissue(tissue: Tissue) -> None:
    if tissue.template:
        return
    for name, path in (("white", tissue.white), ("grey", tissue.grey)):
        if path is None:
            raise ArgumentError(
                name,
                "is missing: the data set has no maps of white and grey matter; make them from the T1 image "
                "(data/README.md, step 5: an atlas or FAST) and give --white and --grey",
            )
        if not path.is_file():
            raise CaseError(f"{path}: no such file: correct --{name}")


def _write_tissue(tissue: Tissue, place: Callable[[str], Path]) -> None:
    if tissue.template:
        for kind, volume in zip(("WM", "GM"), mni152_tissue(), strict=True):
            path = place(kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_volume(path.with_name(f"{path.name}.nii.gz"), volume, np.float32)
        return
    for kind, source in (("WM", tissue.white), ("GM", tissue.grey)):
        assert source is not None
        _copy(source, place(kind))


def _copy(source: Path, target: Path) -> None:
    """Copy an image unchanged, with its header and any fault it may have; `target` lacks the suffix."""
    target.parent.mkdir(parents=True, exist_ok=True)
    suffix = ".nii.gz" if source.name.endswith(".gz") else ".nii"
    shutil.copyfile(source, target.with_name(f"{target.name}{suffix}"))
