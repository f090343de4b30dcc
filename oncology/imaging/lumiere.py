"""The layout of LUMIERE (Suter et al. 2022): `Patient-001/week-000-1` with the segmentations of two programs.

Scans are dated to the week; several of one week are numbered. A table of expert ratings tells which of them were made
before and after surgery.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from oncology.errors import CaseError
from oncology.imaging.datasets import PublicPatient, PublicScan, listed, one_of, subfolders

__all__ = ["PROGRAMS", "find_lumiere"]

_WEEK = re.compile(r"week-(\d+)(?:-(\d+))?")
PROGRAMS = {  # label table, segmentation and picture of each
    "deepbratumia": (
        "lumiere-deepbratumia",
        "DeepBraTumIA-segmentation/atlas/segmentation/seg_mask.nii.gz",
        "DeepBraTumIA-segmentation/atlas/skull_strip/ct1_skull_strip.nii.gz",
    ),
    "hd-glio": (
        "lumiere-hd-glio",
        "HD-GLIO-AUTO-segmentation/registered/segmentation.nii.gz",
        "HD-GLIO-AUTO-segmentation/registered/CT1_r2s_bet_reg.nii.gz",
    ),
}


def find_lumiere(
    folder: Path,
    subject: str | None = None,
    program: str = "deepbratumia",
    sessions: Sequence[str] = (),
    ratings: Path | None = None,
) -> PublicPatient:
    """Return one patient of LUMIERE.

    Args:
        folder: `Patient-001`, or a folder of such folders.
        subject: patient, where the folder holds several.
        program: whose segmentations: "deepbratumia", in the atlas space that all scans share, or "hd-glio", in a space
            of each scan's own.
        sessions: names of the scans, such as week-000-1; none: all that have a segmentation.
        ratings: LUMIERE-ExpertRating-*.csv; None: looked for beside the folders.

    Raises:
        CaseError: there is no such patient or scan, or the scans do not share a space.
    """
    homes = [folder] if _weeks(folder) else [path for path in subfolders(folder) if _weeks(path)]
    homes = homes or [path for inner in subfolders(folder) for path in subfolders(inner) if _weeks(path)]
    if not homes:
        raise CaseError(
            f"{folder}: holds no week-000: give a folder of the LUMIERE layout, such as Imaging/Patient-001"
        )
    patients = {path.resolve().name: path for path in homes}
    patient = one_of(folder, patients, subject)
    table, mask, picture = PROGRAMS[program]
    weeks = {name: path for name, path in _weeks(patients[patient]).items() if (path / mask).is_file()}
    unknown = [name for name in sessions if name not in weeks]
    if unknown or not weeks:
        raise CaseError(
            f"{patients[patient]}: {unknown[0] if unknown else 'no week'} has no {mask}: "
            f"{listed('give some of', weeks) if weeks else 'take the other program with --segmentation'}"
        )
    chosen = [name for name in weeks if name in sessions or not sessions]
    if program == "hd-glio" and len(chosen) > 1:
        raise CaseError(
            f"{patients[patient]}: HD-GLIO's segmentations lie in a space of each scan's own: give one scan with "
            "--sessions, or take those of DeepBraTumIA, which share the atlas"
        )
    scans = tuple(PublicScan(name, weeks[name] / mask, day) for name, day in _days(chosen))
    shown = next((path for name in chosen if (path := weeks[name] / picture).is_file()), None)
    rated = _ratings(ratings, patients[patient], patient)
    operated, notes = _surgery([scan.name for scan in scans], rated)
    notes += ("days are known to the week only", "radiotherapy and chemotherapy are not in the data set: add them")
    return PublicPatient(patient, scans, table, shown, operated, notes)


def _weeks(folder: Path) -> dict[str, Path]:
    """Folders of weeks by name, in their order."""
    found = {path.name: path for path in subfolders(folder) if _WEEK.fullmatch(path.name)}
    return dict(sorted(found.items(), key=lambda item: _week(item[0])))


def _week(name: str) -> tuple[int, int]:
    match = _WEEK.fullmatch(name)
    assert match is not None
    return int(match[1]), int(match[2] or 1)


def _days(names: Iterable[str]) -> list[tuple[str, float]]:
    """A day for each scan: several of one week are spread over it, in their order."""
    names = list(names)
    weeks = [_week(name)[0] for name in names]
    seen: dict[int, int] = {}
    days = []
    for name, week in zip(names, weeks, strict=True):
        days.append((name, round(7.0 * (week + seen.get(week, 0) / weeks.count(week)), 2)))
        seen[week] = seen.get(week, 0) + 1
    return days


def _ratings(given: Path | None, home: Path, patient: str) -> dict[str, str]:
    """Ratings of a patient's scans; empty where there is no table."""
    places = (home.parent, home.parent.parent, home.parent.parent.parent)
    path = given or next((p for place in places for p in sorted(place.glob("LUMIERE-ExpertRating*.csv"))), None)
    if path is None:
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CaseError(f"{path}: cannot be read as CSV ({error}): give another file with --ratings") from error
    column = next((name for name in (rows[0] if rows else ()) if name and name.startswith("Rating (")), None)
    if column is None or not {"Patient", "Date"} <= set(rows[0]):
        raise CaseError(f"{path}: has no columns Patient, Date and Rating: give LUMIERE-ExpertRating-*.csv")
    return {row["Date"].strip(): (row[column] or "").strip().casefold() for row in rows if row["Patient"] == patient}


def _surgery(names: Sequence[str], ratings: Mapping[str, str]) -> tuple[int | None, tuple[str, ...]]:
    """How many scans were made before the surgery, if one lies between them, and how that is known."""
    state = {name: ratings.get(name, "") for name in names}
    source = "the ratings"
    if not ratings:
        first = [name for name in names if _week(name)[0] == 0]
        state |= {name: "post-op" if number else "pre-op" for number, name in enumerate(first) if len(first) > 1}
        source = "their names, since no ratings are there (--ratings)"
    before = next((k for k, name in enumerate(names) if not state[name].startswith("pre")), len(names))
    if not 0 < before < len(names):
        return None, ()
    return before, (f"a resection is set between {names[before - 1]} and {names[before]}, by {source}",)
