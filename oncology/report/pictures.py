"""The pictures of a report, each with words that say what it shows to those who cannot see it."""

from __future__ import annotations

from dataclasses import dataclass

from oncology.report import style
from oncology.report.anatomy import brain_and_tumour
from oncology.report.curves import convergence_figure, growth_curves, growth_figure
from oncology.report.mosaic import density_figure, mosaic_figures, mosaic_planes
from oncology.report.scene import RenderingError, render
from oncology.report.slices import field_of_view, scan_of, session_figure
from oncology.results.files import Results
from oncology.results.schema import REGIONS
from oncology.text import number, whole_day

__all__ = ["Mosaic", "Picture", "convergence", "density_maps", "growth", "mosaics", "slices", "view"]


@dataclass(frozen=True)
class Picture:
    """A drawing on the page.

    Attributes:
        title: what it shows, for those who cannot see it.
        uri: its content as an address; empty where it could not be drawn.
        trouble: why it could not be drawn.
    """

    title: str
    uri: str = ""
    trouble: str = ""


@dataclass(frozen=True)
class Mosaic:
    """Scan and model of a session in the same planes.

    Attributes:
        title: session and day.
        scan: planes with the segmentation.
        model: the same planes with the modelled regions.
    """

    title: str
    scan: Picture
    model: Picture


def slices(results: Results) -> list[tuple[str, Picture]]:
    """Return three planes of each session, scan against model, with the name of the session."""
    centre, reach = field_of_view(results)
    place = ", ".join(number(float(x), 2) for x in centre)
    pictures = []
    for session in results.sessions:
        drawing = style.pixels(session_figure(results, session, centre, reach))
        words = (
            f"Axial, coronal and sagittal plane through {place} mm at {session}: the model's boundaries as lines over "
            f"the segmentation. {_agreement(results, session)}"
        )
        pictures.append((_named(results, session), Picture(words, drawing)))
    return pictures


def mosaics(results: Results) -> list[Mosaic]:
    """Return axial planes of each session with the scan and with the model; none without the case."""
    if results.case is None:
        return []
    centre, reach = field_of_view(results)
    planes = mosaic_planes(results, centre, reach)
    count = len(planes.heights)
    where = f"{count} axial planes from z = {planes.heights[0]:.0f} to {planes.heights[-1]:.0f} mm"
    found = []
    for session in results.sessions:
        volumes = results.estimate.volumes_ml.get(session, {})
        scan, model = (style.pixels(drawing) for drawing in mosaic_figures(results, session, planes))
        scanned = ", ".join(f"{style.NAMES[r]} {number(v.scan)} mL" for r, v in volumes.items())
        grown = ", ".join(f"{style.NAMES[r]} {number(v.model)} mL" for r, v in volumes.items())
        found.append(
            Mosaic(
                f"{_named(results, session)}: {where}",
                Picture(f"Segmentation at {session} in {where}: {scanned}.".replace("-", "−"), scan),
                Picture(f"Model at {session} in the same planes: {grown}.", model),
            )
        )
    return found


def density_maps(results: Results) -> Picture:
    """Return the maps of the last session's density and, where the fit left it, of its standard deviation."""
    last = results.sessions[-1]
    top = float(results.densities[last].data.max())
    words = f"Modelled density at {last} in three planes, {number(top, 2)} at its highest"
    if results.deviation is not None:
        words += f"; its standard deviation is {number(float(results.deviation.data.max()), 2)} at the most"
    drawing = density_figure(results, results.deviation, *field_of_view(results))
    return Picture(f"{words}.", style.pixels(drawing))


def growth(results: Results) -> Picture:
    """Return the growth curves."""
    parts = []
    for region, curve in growth_curves(results).items():
        first, last = (f"{number(float(curve.value[k]))} mL on day {whole_day(float(curve.days[k]))}" for k in (0, -1))
        parts.append(f"{style.NAMES[region]} from {first} to {last}")
    return Picture(f"Curves of volume and radius over time: {'; '.join(parts)}.", style.vector(growth_figure(results)))


def convergence(results: Results) -> Picture:
    """Return the course of the fit, empty where no log was left."""
    if not results.log:
        return Picture("course of the fit")
    first, last = (number(float(results.log[k]["misfit_mm3"])) for k in (0, -1))
    words = (
        f"Misfit over {len(results.log)} accepted iterates from {first} to {last} mm³, rates relative to the last, and "
        "distances of seed and onset to the last."
    )
    return Picture(words, style.vector(convergence_figure(results.log)))


def view(results: Results) -> Picture:
    """Return the rendering of brain and tumour, or why there is none."""
    last = results.sessions[-1]
    volumes = [found.model for found in results.estimate.volumes_ml.get(last, {}).values()]
    size = f" of {number(max(volumes))} mL" if volumes else ""
    title = (
        f"Brain from the side of the tumour, with the modelled core inside the modelled whole tumour{size} at {last}."
    )
    try:
        return Picture(title, style.png_uri(render(brain_and_tumour(results))))
    except RenderingError as error:
        return Picture(title, trouble=str(error))


def _named(results: Results, session: str) -> str:
    return session if results.case is None else f"{session}, day {whole_day(scan_of(results.case, session).day)}"


def _agreement(results: Results, session: str) -> str:
    dice = results.estimate.dice.get(session, {})
    parts = " and ".join(f"{number(dice[r], 2)} ({style.NAMES[r]})" for r in REGIONS if dice.get(r) is not None)
    return f"They overlap by {parts} (Dice)." if parts else ""
