"""Scan against model in three planes through the tumour: every pixel is placed in RAS mm, whatever the images' grids.

The segmentation is drawn as a filling with its voxels' own edges, the model as lines at the two thresholds. All
sessions of a case have the same planes and field of view, so that growth shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from oncology.imaging import Case, Session, Volume, sample
from oncology.report import style
from oncology.results.files import Results
from oncology.results.schema import REGIONS

__all__ = [
    "PLANES",
    "Fill",
    "Line",
    "Plane",
    "background",
    "field_of_view",
    "filled",
    "planes_figure",
    "scan_fills",
    "scan_of",
    "session_figure",
]

type Floats = NDArray[np.float64]

MARGIN = 22.0  # mm of surroundings on each side of the largest tumour
LEAST_REACH = 45.0  # mm from the centre to the edge of the picture
PIXEL = 0.4  # mm
SCALE_BAR = 20.0  # mm
OPACITY = 0.5  # of a filling
LEGEND_COLUMNS, LEGEND_LINE = 4, 6.0  # entries side by side, mm
WHITE_SHADE, GREY_SHADE = 0.80, 0.50  # where tissue maps stand in for a T1


@dataclass(frozen=True)
class Plane:
    """A plane across the body; pictures show +R to the right, +A to the right or up, +S up.

    Attributes:
        name: axial, coronal or sagittal.
        across: index 0..2 of the RAS axis that the plane cuts.
        right: axis to the right of the picture.
        up: axis to its top.
    """

    name: str
    across: int
    right: int
    up: int

    def points(self, centre: Floats, offsets: Floats) -> Floats:
        """RAS mm of the pixels (n * n, 3), rows from the bottom, `offsets` (n,) mm from the centre."""
        result = np.tile(centre, (len(offsets) ** 2, 1))
        result[:, self.right] += np.tile(offsets, len(offsets))
        result[:, self.up] += np.repeat(offsets, len(offsets))
        return result


@dataclass(frozen=True, eq=False)
class Fill:
    """A region drawn as a filling: its mask (bool), its colour and its name in the legend."""

    mask: Volume
    colour: str
    label: str


@dataclass(frozen=True, eq=False)
class Line:
    """An iso-line: image, level in the image's unit, colour, name in the legend and style of the line."""

    image: Volume
    level: float
    colour: str
    label: str
    dashes: Literal["-", "--", ":"] = "-"


PLANES = (Plane("axial", 2, 0, 1), Plane("coronal", 1, 0, 2), Plane("sagittal", 0, 1, 2))
ENDS = (("L", "R"), ("P", "A"), ("I", "S"))


def field_of_view(results: Results) -> tuple[Floats, float]:
    """Return where the planes meet (3,), RAS mm, and the mm from there to the pictures' edges.

    The planes meet in the middle of the last session's tumour: of the scan's where there is one, else of the model's.
    """
    regions = [_tumour(results, session) for session in results.sessions]
    centre = regions[-1].mean(axis=0)
    reach = max(float(np.abs(points - centre).max()) for points in regions)
    return centre, max(reach + MARGIN, LEAST_REACH)


def _tumour(results: Results, session: str) -> Floats:
    """RAS mm of the voxels of the whole tumour in one session; the densest voxel where the model shows none."""
    density = results.densities[session]
    if results.case is not None:
        density = scan_of(results.case, session).whole
        inside = density.data
    else:
        inside = density.data > min(results.threshold["whole"], 0.99 * float(density.data.max()))
    return density.world(np.argwhere(inside))


def scan_of(case: Case, session: str) -> Session:
    """Return the session of an id."""
    return next(scan for scan in case.sessions if scan.id == session)


def session_figure(results: Results, session: str, centre: Floats, reach: float) -> Figure:
    """Draw one session, scan against model.

    Args:
        results: what the fit left.
        session: which one.
        centre: where the planes meet, (3,), RAS mm.
        reach: mm from there to the edge of the pictures.
    """
    density = results.densities[session]
    fills = [] if results.case is None else scan_fills(scan_of(results.case, session))
    lines = [
        Line(
            density, results.threshold[r], style.MODEL[r], f"model, density {results.threshold[r]:g} ({style.NAMES[r]})"
        )
        for r in REGIONS
    ]
    return planes_figure(lambda points: background(results.case, density, points), fills, lines, centre, reach)


def scan_fills(scan: Session) -> list[Fill]:
    """Return the fillings of a segmentation: oedema and core."""
    oedema = scan.whole.with_data(scan.whole.data & ~scan.core.data)
    return [
        Fill(oedema, style.SCAN["whole"], f"scan, {style.NAMES['whole']}"),
        Fill(scan.core, style.SCAN["core"], f"scan, {style.NAMES['core']}"),
    ]


def planes_figure(
    behind: Callable[[Floats], Floats], fills: Sequence[Fill], lines: Sequence[Line], centre: Floats, reach: float
) -> Figure:
    """Draw fillings and lines in three planes.

    Args:
        behind: brightness 0..1 at points (n, 3), RAS mm.
        fills: regions, later ones on top.
        lines: iso-lines.
        centre: where the planes meet, (3,), RAS mm.
        reach: mm from there to the edge of the pictures.
    """
    offsets = np.linspace(-reach, reach, round(2 * reach / PIXEL) + 1)
    lower = LEGEND_LINE * math.ceil((len(fills) + len(lines)) / LEGEND_COLUMNS)
    with style.figure(180.0, 64.0 + lower, 3, (1.0, 1.0, lower, 5.0), 2.0) as (drawing, axes):
        for panel, plane in zip(axes, PLANES, strict=True):
            _draw_plane(panel, plane, behind, fills, lines, centre, offsets)
        patches = [Patch(facecolor=fill.colour, alpha=0.75, label=fill.label) for fill in fills]
        marks = [Line2D([], [], color=line.colour, linestyle=line.dashes, label=line.label) for line in lines]
        drawing.legend(
            handles=[*patches, *marks],
            loc="lower center",
            ncols=LEGEND_COLUMNS,
            fontsize=7.5,
            handlelength=2.2,
            borderpad=0.1,
        )
        return drawing


def _draw_plane(
    panel: Axes,
    plane: Plane,
    behind: Callable[[Floats], Floats],
    fills: Sequence[Fill],
    lines: Sequence[Line],
    centre: Floats,
    offsets: Floats,
) -> None:
    points = plane.points(centre, offsets)
    shape = (len(offsets), len(offsets))
    right, up = centre[plane.right] + offsets, centre[plane.up] + offsets
    extent = (right[0], right[-1], up[0], up[-1])
    picture = filled(behind(points), fills, points)
    tints = np.round(255.0 * picture).astype(np.uint8).reshape(*shape, 3)
    panel.imshow(tints, origin="lower", extent=extent, interpolation="bilinear")
    for line in lines:
        values = sample(line.image, points).reshape(shape)
        if values.min() < line.level < values.max():
            drawn = panel.contour(
                right, up, values, [line.level], colors=line.colour, linewidths=1.3, linestyles=[line.dashes]
            )
            drawn.set_path_effects([withStroke(linewidth=2.4, foreground="white")])
    _annotate(panel, plane, centre, extent)


def background(case: Case | None, density: Volume, points: Floats) -> Floats:
    """Return the brightness 0..1 at points: the T1, or the tissue maps, or nothing but the model's density."""
    if case is None:
        return 0.35 * np.clip(sample(density, points), 0.0, 1.0)
    if case.t1 is None:
        return WHITE_SHADE * sample(case.white, points) + GREY_SHADE * sample(case.grey, points)
    low, high = np.percentile(case.t1.data[::2, ::2, ::2], (1.0, 99.5))
    return np.asarray(
        np.clip((sample(case.t1, points, outside=low) - low) / max(high - low, np.finfo(np.float32).tiny), 0.0, 1.0)
    )


def filled(behind: Floats, fills: Sequence[Fill], points: Floats) -> Floats:
    """Return colours (n, 3), 0..1, of brightness at points with fillings over it, later ones on top.

    Args:
        behind: (n,) brightness 0..1.
        fills: regions.
        points: (n, 3), RAS mm.
    """
    picture = np.repeat(np.clip(behind, 0.0, 1.0)[:, None], 3, axis=1)
    for fill in fills:
        inside = _inside(fill.mask, points)
        picture[inside] += OPACITY * (np.array(colors.to_rgb(fill.colour)) - picture[inside])
    return picture


def _inside(mask: Volume, points: Floats) -> NDArray[np.bool_]:
    return sample(mask.with_data(mask.data.astype(np.uint8)), points, order=0) > 0.5


def _annotate(panel: Axes, plane: Plane, centre: Floats, extent: tuple[float, float, float, float]) -> None:
    """Sides, a scale bar and where the plane lies."""
    panel.set_axis_off()
    where = f"{centre[plane.across]:.0f}".replace("-", "\N{MINUS SIGN}")
    panel.set_title(f"{plane.name}, {'xyz'[plane.across]} = {where} mm", fontsize=8.0, pad=3.0)
    (left, right), (bottom, top) = ENDS[plane.right], ENDS[plane.up]
    halo = style.halo()
    for letter, x, y in ((left, 0.03, 0.5), (right, 0.97, 0.5), (bottom, 0.5, 0.035), (top, 0.5, 0.965)):
        panel.text(x, y, letter, transform=panel.transAxes, color="white", ha="center", va="center", path_effects=halo)
    x, y = extent[0] + 0.05 * (extent[1] - extent[0]), extent[2] + 0.05 * (extent[3] - extent[2])
    outline = [withStroke(linewidth=4.0, foreground="black")]
    panel.plot([x, x + SCALE_BAR], [y, y], color="white", linewidth=2.2, solid_capstyle="butt", path_effects=outline)
    panel.text(x, y + 2.0, f"{SCALE_BAR:.0f} mm", color="white", fontsize=6.5, va="bottom", path_effects=halo)
    panel.set_xlim(extent[:2])
    panel.set_ylim(extent[2:])
