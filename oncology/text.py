"""Numbers, units and small tables as people read them: for reprs, pages and messages."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Progress", "Table", "number", "plain", "silent", "span", "symbols", "whole_day"]

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
PRINTED = (("sqrt", "√"), ("rho", "ρ"), ("^2", "²"), ("^3", "³"))


class Progress(Protocol):
    """Called with what a long computation is doing."""

    def __call__(self, text: str, fraction: float | None = None) -> None:
        """Take a short text and, where it is known, the fraction (0..1) that is done."""


def silent(text: str, fraction: float | None = None) -> None:
    """Show no progress."""


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with so many significant digits, a true minus and no exponent where it can be avoided.

    Example:
        >>> number(0.02534), number(-310.2), number(None)
        ('0.0253', '−310', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e6:
        places = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
        text = f"{value:,.{places}f}"
    else:
        mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
        text = f"{mantissa} × 10{str(int(power)).translate(SUPERSCRIPTS)}"
    return text.replace("-", "−").replace(",", "\N{NARROW NO-BREAK SPACE}")


def plain(value: float) -> str:
    """Write a number that was given, such as a day or a dose, as it was given (four digits at most)."""
    return f"{value:.4g}".replace("-", "−")


def whole_day(value: float) -> str:
    """Write a day without its fraction.

    Example:
        >>> whole_day(-163.4)
        '−163'
    """
    return f"{round(value)}".replace("-", "−")


def span(low: float, high: float) -> str:
    """Write an interval."""
    return f"{number(low)} to {number(high)}"


def symbols(text: str) -> str:
    """Write units and formulas as in print: mm^2/day becomes mm²/day, sqrt(D/rho) becomes √(D/ρ)."""
    for typed, printed in PRINTED:
        text = text.replace(typed, printed)
    return "" if text == "1" else text


@dataclass(frozen=True)
class Table:
    """A small table with a title above and lines of text below.

    Attributes:
        title: one line.
        header: names of the columns.
        rows: cells, as many as there are columns.
        notes: lines below.

    Example:
        >>> print(Table("Case toy", ("session", "day"), (("ses-01", "0"), ("ses-02", "42"))))
        Case toy
        session  day
        ses-01   0
        ses-02   42
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [self.header, *self.rows]
        widths = [max(len(line[k]) for line in lines) for k in range(len(self.header))]
        shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([self.title, *(line.rstrip() for line in shown), *self.notes])

    def html(self) -> str:
        """Return the table for a notebook."""
        header, rows = _row("th", self.header), "".join(_row("td", row) for row in self.rows)
        notes = "".join(f"<div>{html.escape(note)}</div>" for note in self.notes)
        return f"<div><strong>{html.escape(self.title)}</strong><table>{header}{rows}</table>{notes}</div>"


def _row(tag: str, cells: Iterable[str]) -> str:
    inside = "".join(f'<{tag} style="text-align: left">{html.escape(cell)}</{tag}>' for cell in cells)
    return f"<tr>{inside}</tr>"
