"""Masks of a later recurrence, as radiotherapy targets are judged by them (labels as in PREDICT-GBM)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oncology.errors import ImageError
from oncology.imaging.case import Case
from oncology.imaging.labels import indicator
from oncology.imaging.naming import spellings
from oncology.imaging.volume import Volume, read_volume

__all__ = ["Recurrence", "find_recurrences"]

ENHANCING, TUMOUR, CAVITY = (3,), (1, 2, 3), 4


@dataclass(frozen=True, eq=False)
class Recurrence:
    """A later tumour.

    Attributes:
        name: session, or the file's name.
        parts: masks by what they hold: "all", and "enhancing" where the image tells them apart.
    """

    name: str
    parts: dict[str, Volume]


def find_recurrences(case: Case, given: Path | None = None) -> tuple[Recurrence, ...]:
    """Read the masks of recurrences: the given one, else those of sessions that `case.toml` does not name.

    Raises:
        ImageError: a mask cannot be read, is empty or holds other labels.
    """
    if given is not None:
        return (_recurrence(given.name.partition(".")[0], given),)
    fitted = {name for session in case.sessions for name in spellings("ses-", session.id)}
    found = {}
    for subject in spellings("sub-", case.id):
        for path in case.root.glob(f"ses-*/anat/{subject}_ses-*_desc-tumor_mask.nii*"):
            if path.parts[-3] not in fitted and path.name.endswith((".nii", ".nii.gz")):
                found[path] = path.parts[-3]
    return tuple(_recurrence(found[path], path) for path in sorted(found))


def _recurrence(name: str, path: Path) -> Recurrence:
    image = read_volume(path, dtype=None)
    found = {int(value) for value in np.unique(image.data)}
    if not found <= {0, *TUMOUR, CAVITY} or image.data.ndim != 3:
        raise ImageError(
            f"{path}: holds {', '.join(map(str, sorted(found)[:6]))}, allowed is a mask of 0 and 1, or necrosis 1, "
            "oedema 2, enhancing tumour 3 and cavity 4: convert it"
        )
    parts = {"all": image.with_data(indicator(image.data, TUMOUR))}
    if found - {0, 1}:
        parts["enhancing"] = image.with_data(indicator(image.data, ENHANCING))
    if not parts["all"].data.any():
        raise ImageError(f"{path}: mask is empty: leave --recurrence out or segment it")
    return Recurrence(name, {part: mask for part, mask in parts.items() if mask.data.any()})
