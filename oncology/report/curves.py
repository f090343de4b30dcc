"""Growth over time and the course of the fit, as line drawings.

Model volumes are exact for the P1 density: the fraction of each tetrahedron above a threshold in closed form
(`oncology.inverse.misfit.volume_fraction`), so the curves are smooth however coarse the mesh. Their intervals are those
that the fit (or `oncology predict`) left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from oncology.imaging.metrics import MM3_PER_ML
from oncology.meshing import TetMesh
from oncology.model.fractions import volume_fraction
from oncology.model.trajectory import Trajectory
from oncology.model.treatment import Radiotherapy, Resection
from oncology.report import style
from oncology.results.files import Results
from oncology.results.schema import REGIONS, Curve

__all__ = ["convergence_figure", "growth_curves", "growth_figure", "volumes_over_time"]

Floats = NDArray[np.float64]

MARKERS = {"whole": "o", "core": "s"}
RATES = (("diffusion_white", "D white"), ("diffusion_grey", "D grey"), ("proliferation", "proliferation ρ"))


def volumes_over_time(trajectory: Trajectory, mesh: TetMesh, threshold: float) -> NDArray[np.float64]:
    """Return the volume (nt,), mL, in which the density exceeds a threshold.

    Args:
        trajectory: densities on the vertices of `mesh`.
        mesh: the mesh.
        threshold: density, 0..1.
    """
    reached = np.flatnonzero((trajectory.density.max(axis=0) > threshold)[mesh.cells].any(axis=1))
    cells, volumes = mesh.cells[reached], mesh.volumes[reached]
    return np.array(
        [
            float(volume_fraction(density[cells].astype(float), threshold)[0] @ volumes) / MM3_PER_ML
            for density in trajectory.density
        ]
    )


def growth_curves(results: Results) -> dict[str, Curve]:
    """Return the growth of both regions: with intervals where the fit left them, else as the trajectory has it."""
    growth = results.estimate.growth
    if growth is not None:
        return {region: growth.curve(region) for region in REGIONS}
    days = results.trajectory.times
    curves = {}
    for region in REGIONS:
        volume = volumes_over_time(results.trajectory, results.mesh, results.threshold[region])
        curves[region] = Curve(days, volume, volume, volume)
    return curves


def growth_figure(results: Results, curves: Mapping[str, Curve] | None = None, last: float | None = None) -> Figure:
    """Draw volume and equivalent radius of both regions over time; the scans as points.

    Args:
        results: what the fit left.
        curves: growth to draw instead of that which the fit left.
        last: day of the last session, after which lines are dashed; by default that of the trajectory's end.
    """
    curves = growth_curves(results) if curves is None else curves
    last = float(results.trajectory.times[-1]) if last is None else last
    with style.figure(180.0, 74.0, 2, (13.0, 3.0, 25.0, 3.0), 14.0) as (drawing, (left, right)):
        for region in REGIONS:
            curve, scans = curves[region], _scan_volumes(results, region)
            label = f"{style.NAMES[region]}, density > {results.threshold[region]:g}"
            for panel, convert in ((left, _same), (right, _radius)):
                _draw_curve(panel, curve, convert, last, style.MODEL[region], f"model, {label}")
                if scans:
                    at, volume = np.array(scans).T
                    panel.plot(
                        at,
                        convert(volume),
                        MARKERS[region],
                        color=style.SCAN[region],
                        markeredgecolor="black",
                        markersize=6.0,
                        label=f"scan, {style.NAMES[region]}",
                    )
        left.set_ylabel("volume (mL)")
        right.set_ylabel("equivalent radius (mm)")
        for panel in (left, right):
            panel.set_xlabel("day of the case's calendar")
            panel.set_ylim(bottom=0.0)
            panel.xaxis.set_major_locator(MaxNLocator(6))
            _mark_treatments(panel, results)
            if curves["whole"].days[-1] > last + 1e-6:
                panel.axvline(last, color="#888888", linewidth=0.8, label="last session" if panel is left else None)
        entries = sorted(zip(*left.get_legend_handles_labels(), strict=True), key=lambda entry: _place(entry[1]))
        handles, labels = zip(*entries, strict=True)
        drawing.legend(handles, labels, loc="lower center", ncols=3, fontsize=7.0)
        return drawing


def _place(label: str) -> tuple[int, str]:
    """Order of the legend, whose columns then hold one region each."""
    regions = [style.NAMES[region] for region in REGIONS]
    return next((k for k, name in enumerate(regions) if name in label), len(regions)), label


def _draw_curve(
    panel: Axes, curve: Curve, convert: Callable[[Floats], Floats], last: float, colour: str, label: str
) -> None:
    """A line, dashed after the last session, in its interval."""
    known, later = curve.days <= last, curve.days >= last
    if (curve.high > curve.low).any():
        low, high = convert(curve.low), convert(curve.high)
        panel.fill_between(
            curve.days,
            low,
            high,
            color=colour,
            alpha=0.22,
            linewidth=0.0,
            label=label.replace("model", "95 % interval"),
        )
    panel.plot(curve.days[known], convert(curve.value[known]), color=colour, label=label)
    if later.sum() > 1:
        panel.plot(curve.days[later], convert(curve.value[later]), color=colour, linestyle=(0, (4, 2)))


def _same(volume: Floats) -> Floats:
    return volume


def _radius(volume: Floats) -> Floats:
    return np.asarray(np.cbrt(0.75 / np.pi * MM3_PER_ML * volume))


def _scan_volumes(results: Results, region: str) -> list[tuple[float, float]]:
    """Days and volumes, mL, of the scans; none where the case, and so the calendar, is not available."""
    if results.case is None:
        return []
    volumes = results.estimate.volumes_ml
    return [
        (session.day, volumes[session.id][region].scan)
        for session in results.case.sessions
        if region in volumes.get(session.id, {})
    ]


def _mark_treatments(panel: Axes, results: Results) -> None:
    """A band over each course of radiotherapy, a line at every other treatment."""
    named: set[str] = set()
    for treatment in results.case.treatments if results.case is not None else ():
        name = type(treatment).__name__.lower()
        label = None if name in named else name
        named.add(name)
        if isinstance(treatment, Radiotherapy):
            panel.axvspan(treatment.day, treatment.days[-1], color="#bbbbbb", alpha=0.5, linewidth=0.0, label=label)
        else:
            dashes = "--" if isinstance(treatment, Resection) else ":"
            panel.axvline(treatment.day, color="#444444", linestyle=dashes, linewidth=1.1, label=label)


def convergence_figure(log: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw misfit and parameters over the accepted iterates.

    Args:
        log: records of `log.jsonl`, at least one.
    """
    number = np.arange(1, len(log) + 1)
    starts = _stage_starts(log)
    with style.figure(180.0, 62.0, 3, (14.0, 2.0, 22.0, 6.0), 13.0) as (drawing, (misfit, rates, places)):
        names: list[str] = []
        for first, after in zip(starts, [*starts[1:], len(log)], strict=True):
            stage = str(log[first].get("stage", ""))
            known = stage in names
            names += [] if known else [stage]
            values = [float(record["misfit_mm3"]) for record in log[first:after]]
            colour = style.HUES[names.index(stage) % len(style.HUES)]
            label = None if known else stage
            misfit.semilogy(number[first:after], values, ".-", color=colour, label=label, markersize=4.0, linewidth=1.1)
        _plain_ticks(misfit)
        misfit.set_title("misfit (mm³)")
        _draw_ratios(rates, log, number)
        _draw_distances(places, log, number)
        for panel in (misfit, rates, places):
            panel.set_xlabel("accepted iterate")
            panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        handles, labels = misfit.get_legend_handles_labels()
        drawing.legend(handles, labels, loc="lower center", ncols=4, fontsize=7.0, title="stages of the misfit")
        return drawing


def _plain_ticks(panel: Axes) -> None:
    """Ticks of a logarithmic axis at 1, 2 and 5 times the powers of ten, without exponents."""
    panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())


def _stage_starts(log: Sequence[Mapping[str, Any]]) -> list[int]:
    """Where a stage begins, or begins again from another start value."""
    return [
        k
        for k, record in enumerate(log)
        if k == 0
        or record.get("stage") != log[k - 1].get("stage")
        or record.get("iteration", 0) <= log[k - 1].get("iteration", 0)
    ]


def _draw_ratios(panel: Axes, log: Sequence[Mapping[str, Any]], number: NDArray[np.int_]) -> None:
    for k, (name, label) in enumerate(RATES):
        if all(name in record for record in log):
            values = np.array([float(record[name]) for record in log])
            panel.semilogy(number, values / values[-1], color=style.HUES[k], label=label, linewidth=1.3)
    panel.axhline(1.0, color="#666666", linewidth=0.6)
    _plain_ticks(panel)
    low, high = panel.get_ylim()
    panel.set_ylim(min(low, 0.45), max(high, 2.2))  # never so narrow that small moves look large
    panel.set_title("rates, relative to the last")
    panel.legend(fontsize=6.5)


def _draw_distances(panel: Axes, log: Sequence[Mapping[str, Any]], number: NDArray[np.int_]) -> None:
    """Seed (mm) and onset (day) seen from the last iterate, on one axis of numbers."""
    if all("seed" in record for record in log):
        seeds = np.array([record["seed"] for record in log], dtype=float)
        panel.plot(number, np.linalg.norm(seeds - seeds[-1], axis=1), color=style.HUES[0], label="seed (mm)", lw=1.3)
    if all("onset" in record for record in log):
        onsets = np.array([float(record["onset"]) for record in log])
        panel.plot(number, np.abs(onsets - onsets[-1]), "--", color=style.HUES[1], label="onset (days)", lw=1.3)
    panel.set_yscale("symlog", linthresh=1.0)
    panel.set_ylim(bottom=0.0)
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.set_title("distance to the last")
    panel.legend(fontsize=6.5)
