"""The text of `case.toml`: its encoding, and dates counted as days.

A file may give every day as a TOML date (`day = 2023-11-05`); the package counts in days since the earliest session,
and keeps no date. A number that can only be a date, such as 20231105, is refused: differences of such numbers are
not days.
"""

from __future__ import annotations

import codecs
import datetime
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oncology.errors import CaseError

__all__ = ["count_dates", "read_toml"]


def read_toml(path: Path) -> dict[str, Any]:
    """The file as TOML; a byte order mark, which Windows editors write, is no part of it."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise CaseError(f"{path}: no such file: every case folder needs a case.toml (see data/README.md)") from error
    except OSError as error:
        raise CaseError(f"{path}: not readable as TOML ({error.strerror or error}): correct the file") from error
    if raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or b"\0" in raw[:4]:
        raise CaseError(f"{path}: not readable as TOML (its encoding is UTF-16): save it as UTF-8")
    try:
        return tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise CaseError(
            f"{path}: not readable as TOML (byte 0x{raw[error.start]:02x} in line {line} is not UTF-8): "
            "save it with the encoding UTF-8"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise CaseError(f"{path}: not readable as TOML ({error}): correct the file") from error


def count_dates(path: Path, content: Mapping[str, Any]) -> None:
    """Replace dates by days since the earliest session; refuse numbers that are dates, and days beside dates."""
    sections = {name: content.get(name) for name in ("session", "treatment")}
    entries = [
        (f"{name}[{number}].day", entry)
        for name, section in sections.items()
        for number, entry in enumerate(section if isinstance(section, list) else [], 1)
        if isinstance(entry, dict) and "day" in entry
    ]
    dated = [entry for _, entry in entries if isinstance(entry["day"], datetime.date)]
    for key, entry in entries:
        day = entry["day"]
        if dated and not isinstance(day, datetime.date):
            raise CaseError(f"{path}: {key} = {day!r} stands beside dates: give days everywhere, or dates everywhere")
        if isinstance(day, int | float) and _is_date(day):
            text = str(int(day))
            raise CaseError(
                f"{path}: {key} = {text} looks like a date: write {text[:4]}-{text[4:6]}-{text[6:]} without quotes, "
                "or days from the first scan"
            )
    if dated:
        sessions = [_moment(entry["day"]) for key, entry in entries if key.startswith("session")]
        origin = min(sessions, default=_moment(dated[0]["day"]))
        for entry in dated:
            entry["day"] = (_moment(entry["day"]) - origin) / datetime.timedelta(days=1)


def _moment(day: datetime.date) -> datetime.datetime:
    if isinstance(day, datetime.datetime):
        return day.replace(tzinfo=None)
    return datetime.datetime(day.year, day.month, day.day)


def _is_date(day: float) -> bool:
    """Whether a number is a date of this century or the last, written as 20231105."""
    if not (19000101 <= day <= 21001231 and float(day).is_integer()):
        return False
    try:
        datetime.datetime.strptime(str(int(day)), "%Y%m%d")
    except ValueError:
        return False
    return True
