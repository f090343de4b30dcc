"""The layout of BraTS: a folder a scan, whose name tells the year and with it the labels.

`Brats17_TCIA_100_1`, `BraTS20_Training_001` and `BraTS2021_00042` hold `NAME_seg.nii.gz` (Bakas et al. 2018, Baid et
al. 2021); from 2023 on `BraTS-GLI-00005-000` holds `NAME-seg.nii.gz`. The last number there is the scan of the
patient; those of treated patients (2024, de Verdier et al. 2024) count from 100.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from oncology.errors import CaseError
from oncology.imaging.datasets import PublicPatient, PublicScan, images_in, listed, one_of

__all__ = ["find_brats"]

_SEGMENTATION = re.compile(r"((.+?)[-_])seg\.nii(?:\.gz)?")
_SCAN = re.compile(r"(BraTS-[A-Za-z]+-\d+)-(\d+)", re.IGNORECASE)
_TABLES = (  # names of scans, and the labels of their year
    (r"brats(?:17|18|19|20)_.+", "brats2017"),
    (r"brats2021_.+", "brats2021"),
    (r"brats-(?:gli|ssa)-\d+-0\d\d", "brats2023-glioma"),
    (r"brats-gli-\d+-[1-9]\d\d", "brats2024-posttreatment"),
)
_PICTURES = ("t1c", "t1ce", "t1n", "t1")


def find_brats(
    folder: Path, subject: str | None = None, sessions: Sequence[str] = (), table: str | None = None
) -> PublicPatient:
    """Return the patient of a scan's folder, or one of a folder of scans.

    Args:
        folder: of one scan, or of many.
        subject: patient, such as BraTS-GLI-00005 or BraTS2021_00042, where the folder holds several.
        sessions: names of the scans, such as 100, the end of BraTS-GLI-00005-100; none: all.
        table: label table; None: that of the year, by the folder's name.

    Raises:
        CaseError: there is no segmentation, no such patient or scan, or several, or the name does not tell the labels.
    """
    patients: dict[str, dict[str, Path]] = {}
    for path in images_in(folder):
        if match := _SEGMENTATION.fullmatch(path.name):
            patient, session = _parted(match[2])
            if patients.setdefault(patient, {}).setdefault(session, path) != path:
                raise CaseError(f"{folder}: holds two segmentations of {match[2]}: give the folder of one of them")
    if not patients:
        raise CaseError(f"{folder}: holds no NAME-seg.nii.gz or NAME_seg.nii.gz: give a folder of the BraTS layout")
    patient = one_of(folder, patients, subject)
    scans = patients[patient]
    unknown = [name for name in sessions if name not in scans]
    if unknown:
        raise CaseError(f"{folder}: {patient} has no scan {unknown[0]}: {listed('give some of', scans)}")
    chosen = {name: scans[name] for name in sorted(sessions or scans)}
    day = 0.0 if len(chosen) == 1 else None
    found = tuple(PublicScan(name, path, day) for name, path in chosen.items())
    return PublicPatient(patient, found, table or _table(chosen.values()), _picture(found[0].segmentation))


def _parted(scan: str) -> tuple[str, str]:
    """Patient and session of a scan's name."""
    match = _SCAN.fullmatch(scan)
    return (match[1], match[2]) if match else (scan, "01")


def _table(segmentations: Iterable[Path]) -> str:
    """The label table of all scans of a patient: that of treated patients covers the labels of the others."""
    found = set()
    for path in segmentations:
        match = _SEGMENTATION.fullmatch(path.name)
        assert match is not None
        known = [table for name, table in _TABLES if re.fullmatch(name, match[2], re.IGNORECASE)]
        if not known:
            raise CaseError(
                f"{path}: its name does not tell the year and the challenge, whose labels differ: "
                "give --table (docs/case-format.md lists them)"
            )
        found.add(known[0])
    return max(found)  # by year


def _picture(segmentation: Path) -> Path | None:
    match = _SEGMENTATION.fullmatch(segmentation.name)
    assert match is not None
    names = (f"{match[1]}{kind}{suffix}" for kind in _PICTURES for suffix in (".nii.gz", ".nii"))
    return next((path for name in names if (path := segmentation.with_name(name)).is_file()), None)
