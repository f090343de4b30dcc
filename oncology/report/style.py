"""How every picture of a report looks: colours, type, sizes, and how a figure becomes part of the page.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which people with any colour vision tell apart; what
matters is told by line style or filling too. A compartment has one hue: its scan is a pale filling, its model a line.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

__all__ = ["HUES", "MODEL", "NAMES", "SCAN", "Drawing", "figure", "halo", "panels", "pixels", "png_uri", "vector"]

BLUE, SKY, VERMILLION, ORANGE, GREEN, PURPLE, BLACK = (
    "#0072B2",
    "#56B4E9",
    "#D55E00",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#000000",
)
HUES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)  # for lines that need telling apart, in this order
SCAN = {"whole": SKY, "core": ORANGE}
MODEL = {"whole": BLUE, "core": VERMILLION}
NAMES = {"whole": "whole tumour", "core": "core"}

MM = 1 / 25.4  # inch
COMPRESSION = 3  # of 9: a fifth larger than the usual 6 in a third of the time
RESOLUTION = 200  # dots an inch: sharp in print at the size of the page
TEXT = "#222222"
_SETTINGS: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same page on every machine
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.labelcolor": TEXT,
    "axes.edgecolor": "#666666",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "text.color": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "svg.hashsalt": "oncology",  # no random ids: the same results give the same bytes
    "svg.fonttype": "path",
}


class Drawing(Figure):
    """A figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        return _saved(self, "png", dpi=RESOLUTION)


@contextmanager
def figure(
    width: float, height: float, columns: int, margins: tuple[float, float, float, float], gap: float
) -> Iterator[tuple[Drawing, list[Axes]]]:
    """Give a figure with panels side by side to draw on, in the style of the report.

    The panels' places are given, since measuring every text to find them takes as long as drawing.

    Args:
        width: mm.
        height: mm.
        columns: number of panels.
        margins: left, right, bottom and top of all panels, mm.
        gap: between panels, mm.
    """
    with panels(width, height, 1, columns, margins, gap) as (drawing, (line,)):
        yield drawing, line


@contextmanager
def panels(
    width: float, height: float, rows: int, columns: int, margins: tuple[float, float, float, float], gap: float
) -> Iterator[tuple[Drawing, list[list[Axes]]]]:
    """Give a figure with rows of panels to draw on, as `figure` does.

    Args:
        width: mm.
        height: mm.
        rows: number of rows.
        columns: number of panels in a row.
        margins: left, right, bottom and top of all panels, mm.
        gap: between panels, mm.
    """
    left, right, bottom, top = margins
    panel = (width - left - right - (columns - 1) * gap) / columns
    tall = (height - bottom - top - (rows - 1) * gap) / rows
    with matplotlib.rc_context(_SETTINGS):
        drawing = Drawing(figsize=(width * MM, height * MM))
        ends = left / width, bottom / height, 1.0 - right / width, 1.0 - top / height
        drawing.subplots_adjust(*ends, gap / panel, gap / tall)
        yield drawing, [list(line) for line in drawing.subplots(rows, columns, squeeze=False)]


def halo(width: float = 1.6) -> list[withStroke]:
    """Return the dark outline of light text on a picture."""
    return [withStroke(linewidth=width, foreground="black")]


def pixels(drawing: Figure) -> str:
    """Return a figure as the address of an embedded PNG: for images."""
    return png_uri(_saved(drawing, "png", dpi=RESOLUTION, pil_kwargs={"compress_level": COMPRESSION}))


def vector(drawing: Figure) -> str:
    """Return a figure as the address of an embedded SVG: for curves."""
    return _uri("image/svg+xml", _saved(drawing, "svg", metadata={"Date": None}))


def _saved(drawing: Figure, kind: str, **how: Any) -> bytes:
    stream = io.BytesIO()
    with matplotlib.rc_context(_SETTINGS):
        drawing.savefig(stream, format=kind, **how)
    return stream.getvalue()


def png_uri(content: bytes) -> str:
    """Return the bytes of a PNG as an address that a page can embed."""
    return _uri("image/png", content)


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
