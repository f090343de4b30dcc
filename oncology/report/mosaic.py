"""Axial planes through the whole tumour side by side, once with the scan and once with the model, and maps of density.

Scan and model are drawn alike, as fillings of the same planes, so that the eye sees what moves between the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from oncology.imaging import Volume, sample
from oncology.report import style
from oncology.report.slices import PLANES, Fill, background, filled, scan_fills, scan_of
from oncology.results.files import Results
from oncology.results.schema import REGIONS

__all__ = ["Planes", "density_figure", "mosaic_figures", "mosaic_planes"]

type Floats = NDArray[np.float64]

COLUMNS, ROWS = 6, 2
PIXEL = 0.8  # mm
MARGIN = 8.0  # mm beyond the tumour, in height
FAINT = 0.01  # density below which nothing is drawn


@dataclass(frozen=True)
class Planes:
    """Axial planes that all sessions share.

    Attributes:
        centre: (3,) middle of the tumour, RAS mm.
        heights: S coordinate of each plane, mm, ascending.
        reach: from the centre to the edge of each picture, mm.
    """

    centre: Floats
    heights: Floats
    reach: float


def mosaic_planes(results: Results, centre: Floats, reach: float) -> Planes:
    """Return planes through all that is tumour in a scan or in the model, evenly spaced."""
    heights = []
    for session, density in results.densities.items():
        masks = [density.data > results.threshold["whole"]]
        masks += [] if results.case is None else [scan_of(results.case, session).whole.data]
        heights += [density.world(np.argwhere(mask))[:, 2] for mask in masks if mask.any()]
    low, high = (float(end) for end in (centre[2] - reach, centre[2] + reach))
    if heights:
        every = np.concatenate(heights)
        low, high = float(every.min()), float(every.max())
    edge = min(MARGIN, 0.1 * (high - low))
    return Planes(centre, np.linspace(low + edge, high - edge, COLUMNS * ROWS), reach)


def mosaic_figures(results: Results, session: str, planes: Planes) -> tuple[Figure, Figure]:
    """Draw a session's scan, and the model on its day, in the same planes."""
    density = results.densities[session]
    levels = results.threshold
    core = density.data > levels["core"]
    parts = {"whole": (density.data > levels["whole"]) & ~core, "core": core}
    model = [Fill(density.with_data(parts[region]), style.MODEL[region], style.NAMES[region]) for region in REGIONS]
    scan = [] if results.case is None else scan_fills(scan_of(results.case, session))
    return _mosaic(results, density, scan, planes), _mosaic(results, density, model, planes)


def _mosaic(results: Results, density: Volume, fills: list[Fill], planes: Planes) -> Figure:
    offsets = np.linspace(-planes.reach, planes.reach, round(2 * planes.reach / PIXEL) + 1)
    tiles = []
    for height in planes.heights:
        points = PLANES[0].points(np.array([*planes.centre[:2], height]), offsets)
        picture = filled(background(results.case, density, points), fills, points)
        tiles.append(picture.reshape(len(offsets), len(offsets), 3)[::-1])
    rows = [np.concatenate(tiles[k * COLUMNS : (k + 1) * COLUMNS], axis=1) for k in range(ROWS)]
    count = len(offsets)
    with style.figure(180.0, 180.0 * ROWS / COLUMNS, 1, (0.0, 0.0, 0.0, 0.0), 0.0) as (drawing, (panel,)):
        panel.imshow(np.round(255.0 * np.concatenate(rows)).astype(np.uint8), interpolation="bilinear", aspect="auto")
        panel.set_axis_off()
        for k, height in enumerate(planes.heights):
            x, y = (k % COLUMNS + 0.04) * count, (k // COLUMNS + 0.04) * count
            text = f"z = {height:.0f} mm".replace("-", "\N{MINUS SIGN}")
            panel.text(x, y, text, color="white", fontsize=6.5, va="top", path_effects=style.halo(1.0))
        return drawing


def density_figure(results: Results, deviation: Volume | None, centre: Floats, reach: float) -> Figure:
    """Draw the density of the last session in three planes, and its standard deviation below where it is known.

    Args:
        results: what the fit left.
        deviation: standard deviation of the density, on the grid of the last session.
        centre: where the planes meet, (3,), RAS mm.
        reach: mm from there to the edge of the pictures.
    """
    density = results.densities[results.sessions[-1]]
    offsets = np.linspace(-reach, reach, round(2 * reach / PIXEL) + 1)
    shown = [(density, "density", "viridis", 1.0)]
    if deviation is not None:
        shown.append((deviation, "standard deviation", "magma", max(float(deviation.data.max()), FAINT)))
    rows = len(shown)
    with style.panels(180.0, 54.0 * rows, rows, 3, (1.0, 20.0, 1.0, 1.0), 2.0) as (drawing, axes):
        for line, (image, name, colours, top) in zip(axes, shown, strict=True):
            for panel, plane in zip(line, PLANES, strict=True):
                points = plane.points(centre, offsets)
                drawn = _map(panel, results, density, image, points, len(offsets), colours, top)
            bar = drawing.colorbar(drawn, ax=line, fraction=0.02, pad=0.015)
            bar.set_label(name, fontsize=7.5)
        return drawing


def _map(
    panel: Axes,
    results: Results,
    density: Volume,
    image: Volume,
    points: Floats,
    count: int,
    colours: str,
    top: float,
) -> AxesImage:
    """One plane of a map over the tissue, with the boundaries of the modelled regions."""
    behind = np.repeat(np.clip(background(results.case, density, points), 0.0, 1.0)[:, None], 3, axis=1)
    panel.imshow(behind.reshape(count, count, 3), origin="lower", interpolation="bilinear")
    values = sample(image, points).reshape(count, count)
    there = sample(density, points).reshape(count, count)
    drawn = panel.imshow(
        np.ma.masked_where(there < FAINT, values), origin="lower", cmap=colours, vmin=0.0, vmax=top, alpha=0.85
    )
    for region in REGIONS:
        if there.min() < results.threshold[region] < there.max():
            panel.contour(there, [results.threshold[region]], colors="white", linewidths=0.9)
    panel.set_axis_off()
    return drawn
