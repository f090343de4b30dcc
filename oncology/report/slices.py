"""Scan against model in three planes through the tumour: every pixel is placed in RAS mm, whatever the images' grids.

The segmentation is drawn as a filling with its voxels' own edges, the model as lines at the two rim densities. All
sessions of a case share planes and field of view, so that growth shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from oncology.imaging import Case, Session, Volume, sample
from oncology.report import style
from oncology.report.results import REGIONS, Results

__all__ = ["Plane", "draw_session", "field_of_view"]

MARGIN = 22.0  # mm of surroundings on each side of the largest tumour
LEAST_REACH = 45.0  # mm from the centre to the edge of the picture
PIXEL = 0.4  # mm
SCALE_BAR = 20.0  # mm
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

    def points(self, centre: NDArray[np.float64], offsets: NDArray[np.float64]) -> NDArray[np.float64]:
        """RAS mm of the pixels (n * n, 3), rows from the bottom, `offsets` (n,) mm from the centre."""
        result = np.tile(centre, (len(offsets) ** 2, 1))
        result[:, self.right] += np.tile(offsets, len(offsets))
        result[:, self.up] += np.repeat(offsets, len(offsets))
        return result


PLANES = (Plane("axial", 2, 0, 1), Plane("coronal", 1, 0, 2), Plane("sagittal", 0, 1, 2))
ENDS = (("L", "R"), ("P", "A"), ("I", "S"))


def field_of_view(results: Results) -> tuple[NDArray[np.float64], float]:
    """Return where the planes meet (3,), RAS mm, and the mm from there to the pictures' edges.

    The planes meet in the middle of the last session's tumour: of the scan's where there is one, else of the model's.
    """
    regions = [_tumour(results, session) for session in results.sessions]
    centre = regions[-1].mean(axis=0)
    reach = max(float(np.abs(points - centre).max()) for points in regions)
    return centre, max(reach + MARGIN, LEAST_REACH)


def _tumour(results: Results, session: str) -> NDArray[np.float64]:
    """RAS mm of the voxels of the whole tumour in one session; the densest voxel where the model shows none."""
    density = results.densities[session]
    if results.case is not None:
        density = _scan(results.case, session).whole
        inside = density.data
    else:
        inside = density.data > min(results.threshold["whole"], 0.99 * float(density.data.max()))
    return density.world(np.argwhere(inside))


def _scan(case: Case, session: str) -> Session:
    return next(scan for scan in case.sessions if scan.id == session)


def draw_session(results: Results, session: str, centre: NDArray[np.float64], reach: float) -> str:
    """Draw one session and return the picture as an embedded PNG.

    Args:
        results: what the fit left.
        session: which one.
        centre: where the planes meet, (3,), RAS mm.
        reach: mm from there to the edge of the pictures.
    """
    offsets = np.linspace(-reach, reach, round(2 * reach / PIXEL) + 1)
    with style.figure(180.0, 70.0) as drawing:
        axes = drawing.subplots(1, 3)
        for panel, plane in zip(axes, PLANES, strict=True):
            _draw_plane(panel, results, session, plane, centre, offsets)
        drawing.legend(
            handles=_legend(results), loc="outside lower center", ncols=4, fontsize=7.5, handlelength=2.2, borderpad=0.1
        )
        return style.pixels(drawing)


def _draw_plane(
    panel: Axes,
    results: Results,
    session: str,
    plane: Plane,
    centre: NDArray[np.float64],
    offsets: NDArray[np.float64],
) -> None:
    points = plane.points(centre, offsets)
    shape = (len(offsets), len(offsets))
    right, up = centre[plane.right] + offsets, centre[plane.up] + offsets
    extent = (right[0], right[-1], up[0], up[-1])
    background = _background(results, session, points).reshape(shape)
    panel.imshow(background, cmap="gray", vmin=0.0, vmax=1.0, origin="lower", extent=extent, interpolation="bilinear")
    if results.case is not None:
        scan = _scan(results.case, session)
        whole, core = (_inside(mask, points).reshape(shape) for mask in (scan.whole, scan.core))
        _fill(panel, whole & ~core, style.SCAN["whole"], extent)
        _fill(panel, core, style.SCAN["core"], extent)
    density = sample(results.densities[session], points).reshape(shape)
    for region in REGIONS:
        if density.min() < results.threshold[region] < density.max():
            lines = panel.contour(
                right, up, density, [results.threshold[region]], colors=style.MODEL[region], linewidths=1.3
            )
            lines.set_path_effects([withStroke(linewidth=2.4, foreground="white")])
    _annotate(panel, plane, centre, extent)


def _background(results: Results, session: str, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Brightness 0..1: the T1, or the tissue maps, or nothing but the model's density."""
    case = results.case
    if case is None:
        return 0.35 * np.clip(sample(results.densities[session], points), 0.0, 1.0)
    if case.t1 is None:
        return WHITE_SHADE * sample(case.white, points) + GREY_SHADE * sample(case.grey, points)
    low, high = np.percentile(case.t1.data[::2, ::2, ::2], (1.0, 99.5))
    return np.clip((sample(case.t1, points, outside=low) - low) / max(high - low, np.finfo(np.float32).tiny), 0.0, 1.0)


def _inside(mask: Volume, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    return sample(mask.with_data(mask.data.astype(np.uint8)), points, order=0) > 0.5


def _fill(panel: Axes, mask: NDArray[np.bool_], colour: str, extent: tuple[float, float, float, float]) -> None:
    if not mask.any():
        return
    tint = np.zeros((*mask.shape, 4))
    tint[..., :3] = colors.to_rgb(colour)
    tint[..., 3] = 0.50 * mask
    panel.imshow(tint, origin="lower", extent=extent, interpolation="nearest")


def _annotate(
    panel: Axes, plane: Plane, centre: NDArray[np.float64], extent: tuple[float, float, float, float]
) -> None:
    """Sides, a scale bar and where the plane lies."""
    panel.set_axis_off()
    where = f"{centre[plane.across]:.0f}".replace("-", "\N{MINUS SIGN}")
    panel.set_title(f"{plane.name}, {'xyz'[plane.across]} = {where} mm", fontsize=8.0, pad=3.0)
    (left, right), (bottom, top) = ENDS[plane.right], ENDS[plane.up]
    halo = [withStroke(linewidth=1.6, foreground="black")]
    for letter, x, y in ((left, 0.03, 0.5), (right, 0.97, 0.5), (bottom, 0.5, 0.035), (top, 0.5, 0.965)):
        panel.text(x, y, letter, transform=panel.transAxes, color="white", ha="center", va="center", path_effects=halo)
    x, y = extent[0] + 0.05 * (extent[1] - extent[0]), extent[2] + 0.05 * (extent[3] - extent[2])
    rim = [withStroke(linewidth=4.0, foreground="black")]
    panel.plot([x, x + SCALE_BAR], [y, y], color="white", linewidth=2.2, solid_capstyle="butt", path_effects=rim)
    panel.text(x, y + 2.0, f"{SCALE_BAR:.0f} mm", color="white", fontsize=6.5, va="bottom", path_effects=halo)
    panel.set_xlim(extent[:2])
    panel.set_ylim(extent[2:])


def _legend(results: Results) -> list[Patch | Line2D]:
    scans = [Patch(facecolor=style.SCAN[r], alpha=0.75, label=f"scan, {style.NAMES[r]}") for r in REGIONS]
    models = [
        Line2D([], [], color=style.MODEL[r], label=f"model, density {results.threshold[r]:g} ({style.NAMES[r]})")
        for r in REGIONS
    ]
    return [*(scans if results.case is not None else []), *models]
