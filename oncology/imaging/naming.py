"""Names of subjects, sessions and their files, as BIDS and as public data sets write them.

A BIDS label holds letters and digits only. Data sets write `Patient-001`, `BraTS2021_00042` or `week-000-1`; such a
name is kept wherever people read it, and its files may carry it as it is written or with the dashes left out
(`sub-Patient001_...`). A file is looked for under its exact name first, then uncompressed (`.nii`), then with further
BIDS entities in between (`run-01`); hidden files, such as the `._` twins of macOS, are never taken.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from oncology.errors import CaseError

__all__ = ["SESSION_NAME", "SUBJECT_NAME", "bids_label", "find_image", "find_images", "session_folder", "spellings"]

_LABEL = r"[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*"
SUBJECT_NAME = rf"^{_LABEL}$"
SESSION_NAME = rf"^(?:ses-)?{_LABEL}$"
_NEAR = 5  # names that are shown where one is missing
_OTHERS = tuple(f"_{ending}.nii.gz" for ending in ("label-WM_probseg", "label-GM_probseg", "T1w", "desc-tumor_dseg"))


def bids_label(name: str) -> str:
    """Return a name as a BIDS label, of letters and digits.

    Example:
        >>> bids_label("week-000-1")
        'week0001'
    """
    return "".join(letter for letter in name if letter.isascii() and letter.isalnum())


def spellings(prefix: str, name: str) -> tuple[str, ...]:
    """Return how a subject or session may be written in names of files: as it is, and as a BIDS label.

    Example:
        >>> spellings("ses-", "ses-week-000-1")
        ('ses-week-000-1', 'ses-week0001')
    """
    label = name.removeprefix(prefix)
    return tuple(dict.fromkeys((f"{prefix}{label}", f"{prefix}{bids_label(label)}")))


def session_folder(root: Path, session: str) -> Path:
    """Return the folder of a session, under any of its spellings; the first one where there is none."""
    names = (*spellings("ses-", session), session.removeprefix("ses-"))
    return next((root / name for name in names if (root / name).is_dir()), root / names[0])


def find_image(folder: Path, stems: tuple[str, ...], ending: str, what: str) -> Path:
    """Return the one image of a name.

    Args:
        folder: where it should be.
        stems: spellings of the start of its name.
        ending: rest of its name, without the suffix, such as "desc-tumor_dseg".
        what: it is, for messages.

    Raises:
        CaseError: there is none, or several; names that come near are listed.
    """
    found = find_images(folder, stems, ending)
    wanted = folder / f"{stems[0]}_{ending}.nii.gz"
    if not found:
        raise CaseError(f"{wanted}: {what} is missing: {_cure(wanted)}")
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise CaseError(f"{folder}: {what} may be {names}: keep one, or call it {wanted.name}")
    return found[0]


def find_images(folder: Path, stems: tuple[str, ...], ending: str) -> list[Path]:
    """Return the image of exactly this name if there is one, else those with further BIDS entities in their names."""
    for suffix in (".nii.gz", ".nii"):
        exact = [folder / f"{stem}_{ending}{suffix}" for stem in stems]
        there = [path for path in exact if path.is_file() or path.is_symlink()]
        if there:
            return there[:1]
    starts = "|".join(re.escape(stem) for stem in stems)
    entities = re.compile(rf"(?:{starts})(?:_[A-Za-z0-9]+-[A-Za-z0-9]+)*_{re.escape(ending)}\.nii(?:\.gz)?")
    return [folder / name for name in _listed(folder) if entities.fullmatch(name)]


def _cure(wanted: Path) -> str:
    """What to do about a missing file: put it there, or rename one that comes near and is nothing else."""
    if not wanted.parent.is_dir():
        return f"there is no folder {wanted.parent.name}: put it there (layout in data/README.md)"
    names = [name for name in _listed(wanted.parent) if not name.endswith(_OTHERS)]
    near = difflib.get_close_matches(wanted.name, names, n=_NEAR, cutoff=0.5)
    rename = f", or rename what is meant: the folder holds {', '.join(near)}" if near else ""
    return f"put it there (layout in data/README.md){rename}"


def _listed(folder: Path) -> list[str]:
    """Names in a folder that are not hidden, in order; none where there is no folder."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        return []
