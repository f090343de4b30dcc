"""A `case.toml` for images that are there: subject and sessions from the names of the files, the rest as given."""

from __future__ import annotations

import datetime
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oncology.errors import CaseError
from oncology.imaging.casefile import check_content

__all__ = ["Draft", "case_text", "find_sessions", "find_subject"]

_SUBJECT = re.compile(r"sub-(.+?)_(?:ses-.+_)?(?:label|desc|T1w)")
_SESSION = re.compile(r"sub-.+?_(ses-.+?)_(?:.+_)?desc-tumor_dseg\.nii(?:\.gz)?")


@dataclass(frozen=True)
class Draft:
    """What a `case.toml` says.

    Attributes:
        subject: name after "sub-".
        sessions: names and days (or dates, 2023-11-05), by day.
        table: name of a label table; None: `labels` are given.
        labels: values by class, of the classes that exist.
        thresholds: cell density at the boundary of the whole tumour and of the core, 0..1.
        resections: days, in the calendar of the sessions.
    """

    subject: str
    sessions: tuple[tuple[str, float | datetime.date], ...]
    table: str | None = None
    labels: Mapping[str, Sequence[int]] = field(default_factory=dict)
    thresholds: tuple[float, float] = (0.25, 0.6)
    resections: tuple[float | datetime.date, ...] = ()


def find_subject(root: Path) -> str | None:
    """Return the subject that all images of a folder name; None where they name none, or several."""
    names = {match.group(1) for path in _images(root) if (match := _SUBJECT.match(path.name))}
    return names.pop() if len(names) == 1 else None


def find_sessions(root: Path) -> tuple[str, ...]:
    """Return the sessions that have a segmentation in a folder, by name."""
    return tuple(sorted({match.group(1) for path in _images(root) if (match := _SESSION.fullmatch(path.name))}))


def case_text(path: Path, draft: Draft) -> str:
    """Return the text of a `case.toml`, checked as one that is read.

    Args:
        path: where it will be, for messages.
        draft: what it says.

    Raises:
        CaseError: a name, day, table or threshold is not allowed.
    """
    labels = f"table = {json.dumps(draft.table)}" if draft.table else ""
    labels += "".join(f"{name} = {list(values)}\n" for name, values in draft.labels.items())
    sessions = "".join(f"\n[[session]]\nid = {json.dumps(name)}\nday = {day}\n" for name, day in draft.sessions)
    sessions += "".join(f'\n[[treatment]]\nkind = "resection"\nday = {day}\n' for day in draft.resections)
    whole, core = draft.thresholds
    text = (
        f"[subject]\nid = {json.dumps(draft.subject)}\n\n"
        f"[labels]                 # what the values of the segmentations mean\n{labels.rstrip()}\n\n"
        "[thresholds]             # cell density at the visible boundary, as a fraction of the carrying capacity\n"
        f"oedema = {whole:g}\ncore = {core:g}\n{sessions}"
    )
    try:
        check_content(path, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise CaseError(f"{path}: cannot be written as TOML ({error}): correct the names and days") from error
    return text


def _images(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*.nii*")) if not path.name.startswith(".")]
