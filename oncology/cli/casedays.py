"""Days of scans as they are typed: numbers of days, or dates."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from oncology.errors import ArgumentError

__all__ = ["read_days"]


def read_days(typed: Sequence[str]) -> list[float | datetime.date]:
    """Return days, or dates, of the same kind throughout.

    Raises:
        ArgumentError: one is neither, or there are both.
    """
    numbers: list[float] = []
    dates: list[datetime.date] = []
    for text in typed:
        try:
            numbers.append(float(text))
        except ValueError:
            try:
                dates.append(datetime.date.fromisoformat(text))
            except ValueError:
                raise ArgumentError(
                    "days", f"{text!r} is neither a number of days nor a date such as 2023-11-05"
                ) from None
    if numbers and dates:
        raise ArgumentError("days", f"{' '.join(typed)} are days and dates: give days everywhere, or dates everywhere")
    return [*numbers, *dates]
