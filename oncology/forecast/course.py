"""A fitted tumour that runs on to later days: what is asked for, and the run on a mesh that is wide enough."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oncology.inverse.fit import CUT
from oncology.text import Progress, silent

if TYPE_CHECKING:
    from oncology.forecast.forecast import Forecast
    from oncology.imaging import Case
    from oncology.meshing import TetMesh
    from oncology.results.files import Results
    from oncology.results.fitted import FittedTumour

__all__ = ["Course", "run_course"]

POINTS = 12  # least number of days of the curves between the last session and the last day


@dataclass(frozen=True)
class Course:
    """A fitted tumour on the mesh that is wide enough for it.

    Attributes:
        mesh: the mesh, on every rank.
        forecast: the run.
        whole: P1 densities in the vertex order of the mesh on rank 0, by day.
        deviations: their standard deviations.
        frames: days and densities of the trajectory (rank 0).
        cut: highest density at the edge of the meshed region on the last day.
        notes: what the user should know, in sentences.
    """

    mesh: TetMesh
    forecast: Forecast
    whole: dict[float, Any]
    deviations: dict[float, Any]
    frames: list[tuple[float, Any]]
    cut: float
    notes: tuple[str, ...]


def run_course(
    comm: Any,
    results: Results,
    tumour: FittedTumour,
    wanted: tuple[float, ...],
    samples: int = 0,
    seed: int = 0,
    tell: Progress = silent,
    cache: Path | None = None,
) -> Course:
    """Run on the mesh of the fit, or on a wider one where the tumour reaches its edge (collective).

    Args:
        comm: communicator of all ranks that hold the results.
        results: the fit, with its case.
        tumour: what the fit found.
        wanted: days of the case's calendar, ascending, from the last session on.
        samples: of the posterior; 0: tangents.
        seed: of the random numbers.
        tell: called with what is going on.
        cache: folder of meshes kept by content.
    """
    from oncology.parallel import on_root

    case, mesh, margin, notes = results.case, results.mesh, results.estimate.mesh_margin_mm, []
    assert case is not None
    limit = CUT * min(tumour.thresholds.values())

    def run_on(mesh: TetMesh, margin: float | None) -> Course:
        return _course(comm, case, mesh, margin, results, tumour, wanted, samples, seed, tell)

    course = run_on(mesh, margin)
    if course.cut > limit and margin is not None and mesh.route in ("stuffing", "lattice"):
        from oncology.fem.patient import MeshChoice, make_mesh

        estimate = tumour.estimate
        beyond = estimate.front_speed * (wanted[-1] - case.sessions[-1].day)
        margin += beyond + 3.0 * estimate.infiltration_length
        choice = MeshChoice(mesh.size, mesh.route, margin, cache)  # type: ignore[arg-type]
        tell("wider mesh")
        wider = on_root(comm, lambda: make_mesh(case, choice)[0])
        notes.append(
            f"the tumour outgrows the mesh of the fit: predicted on one that reaches {margin:.0f} mm beyond the scans"
        )
        course = run_on(wider, margin)
    if course.cut > limit:
        notes.append(
            f"the density at the edge of the meshed region is {course.cut:.3f}: the tumour may reach beyond it"
        )
    return replace(course, notes=tuple(notes))


def _course(
    comm: Any,
    case: Case,
    mesh: TetMesh,
    margin: float | None,
    results: Results,
    tumour: FittedTumour,
    wanted: tuple[float, ...],
    samples: int,
    seed: int,
    tell: Progress,
) -> Course:
    """One run on one mesh, gathered on rank 0; the mesh reaches `margin` mm beyond the segmentations."""
    from oncology.fem.engine import FiniteElements
    from oncology.fem.series import frame_days
    from oncology.forecast.forecast import forecast_ensemble, forecast_linearised
    from oncology.imaging import sample

    sessions = [session.day for session in case.sessions]
    last = sessions[-1]
    later = [day for day in wanted if day > last]
    days = (*sessions, *(frame_days(last, later, POINTS) if later else ()))
    shown = sorted({last, *wanted})
    engine = FiniteElements(mesh, case, results.law, comm)
    space = engine.space
    if samples:
        forecast = forecast_ensemble(engine, tumour, days, shown, samples, seed, tell)
    else:
        forecast = forecast_linearised(engine, tumour, days, shown, tell)
    whole = {day: engine.gather(u) for day, u in zip(days, forecast.densities, strict=True) if day in shown}
    deviations = {day: engine.gather(values) for day, values in forecast.deviations.items()}
    frames = [(float(forecast.frame_days[k]), engine.gather(forecast.frames[k])) for k in _kept(forecast, days)]
    cut = 0.0
    if margin is not None:
        near = sample(case.tumour_distance, space.owned) >= margin - 1.5 * mesh.size  # as a fit does
        cut = space.extremes(0.0, float(forecast.densities[-1][near].max(initial=0.0)))[1]
    engine.destroy()
    return Course(mesh, forecast, whole, deviations, frames, cut, ())


def _kept(forecast: Forecast, days: tuple[float, ...], most: int = 60) -> Any:
    """Frames of the trajectory: evenly spaced ones, and those of the observed days."""
    spaced = np.linspace(0, len(forecast.frames) - 1, min(most, len(forecast.frames))).round().astype(int)
    observed = [int(np.abs(forecast.frame_days - day).argmin()) for day in days]
    return np.unique([*spaced, *observed])
