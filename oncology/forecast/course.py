"""A fitted tumour that runs on to later days: what is asked for, and the run on a mesh that is wide enough."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oncology.cli.fit import growth_law
from oncology.cli.output import Show, progress
from oncology.cli.runtime import mesh_cache
from oncology.errors import ConfigError

if TYPE_CHECKING:
    from oncology.forecast.forecast import Forecast
    from oncology.imaging import Case, Volume
    from oncology.meshing import TetMesh
    from oncology.results.fitted import FittedTumour
    from oncology.results.read import Results

__all__ = ["Course", "Plan", "predicted_density", "read_fit", "run_course", "wanted_days"]

POINTS = 12  # least number of days of the curves between the last session and the last day
LATEST = 3650.0  # day after the last session
CUT = 0.3  # largest density at the cut through the brain, as a share of the lowest rim threshold: as in a fit


@dataclass(frozen=True)
class Plan:
    """What is asked for.

    Attributes:
        days: wanted days of the case's calendar, ascending.
        margin: of the target around the core, mm.
        volume: of the targets, mL, instead of the margin.
        recurrence: mask of a later recurrence; None: those in the case's folder.
        samples: of the posterior; 0: tangents.
        seed: of the random numbers.
    """

    days: tuple[float, ...]
    margin: float
    volume: float | None
    recurrence: Path | None
    samples: int
    seed: int


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


def predicted_density(comm: Any, fit: Path, day: float) -> Volume | None:
    """Return the density a day after the last session of a fit, on that session's grid (collective; rank 0 only).

    Raises:
        ConfigError: the day is out of range.
    """
    from oncology.parallel import on_root

    results, patient, tumour = on_root(comm, lambda: read_fit(fit, None))
    days = wanted_days((day,), False, patient.sessions[-1].day)
    with progress() as show:
        course = run_course(comm, patient, results, tumour, Plan(days, 0.0, None, None, 0, 0), show)
    if comm.rank > 0:
        return None
    from oncology.results.write import session_density

    like = patient.sessions[-1].whole
    return session_density(patient, course.mesh.points, course.mesh.cells, course.whole[days[0]], like)


def read_fit(fit: Path, given: Path | None) -> tuple[Results, Case, FittedTumour]:
    """Return the results, the case they belong to (with its treatments after the fit too) and the fitted tumour.

    Raises:
        ConfigError: the case is not at hand, or not the fitted one.
    """
    from oncology.cli.report import fitted_case
    from oncology.results.fitted import read_fitted
    from oncology.results.read import read_results
    from oncology.results.write import plain_treatment

    case = fitted_case(fit, given)
    if case is None:
        read_results(fit)  # says what else may be wrong with the folder
        raise ConfigError(f"{fit}: the case that it was fitted to is not at hand: give its folder with --case")
    results = read_results(fit, case)
    estimate, last = results.estimate, case.sessions[-1].day
    fitted = list(estimate.dice)
    if [session.id for session in case.sessions] != fitted:
        raise ConfigError(f"{case.root}: has other sessions than the fitted {', '.join(fitted)}: fit the case again")
    now = [plain_treatment(treatment) for treatment in case.treatments if treatment.day < last]
    before = [dict(entry) for entry in estimate.treatments if entry["day"] < last]
    for entry in (*now, *before):
        entry.pop("mask", None)  # a path, which changes where the case is moved
    if now != before:
        raise ConfigError(
            f"{case.root / 'case.toml'}: treatments before the last session are {len(now)}, the fit had {len(before)} "
            "or others: fit the case again"
        )
    content = {"posterior": estimate.posterior, "shape_correction": estimate.shape_correction}
    return results, case, read_fitted(content, results.threshold, case.treatments, str(fit / "estimate.json"))


def wanted_days(days: tuple[float, ...], absolute: bool, last: float) -> tuple[float, ...]:
    """Return days of the case's calendar, ascending, from days after the last session or of the calendar.

    Raises:
        ConfigError: none is given, or one out of range.
    """
    if not days:
        raise ConfigError("--days is missing: give days after the last session, such as --days 30 60 90")
    for day in days:
        after = day - last if absolute else day
        if not (math.isfinite(day) and 0.0 <= after <= LATEST):
            low, high = (last, last + LATEST) if absolute else (0.0, LATEST)
            what = "of the case's calendar" if absolute else "after the last session"
            raise ConfigError(f"--days {day:g} is out of range: give days {what}, {low:g} to {high:g}")
    return tuple(sorted({day if absolute else last + day for day in days}))


def run_course(comm: Any, case: Case, results: Results, tumour: FittedTumour, plan: Plan, show: Show) -> Course:
    """Run on the mesh of the fit, or on a wider one where the tumour reaches its edge (collective)."""
    from oncology.parallel import on_root

    mesh, margin, notes = results.mesh, results.estimate.mesh_margin_mm, []
    limit = CUT * min(tumour.thresholds.values())
    course = _course(comm, case, mesh, margin, results, tumour, plan, show)
    if course.cut > limit and margin is not None and mesh.route in ("stuffing", "lattice"):
        from oncology.fem.patient import MeshChoice, make_mesh

        estimate = tumour.estimate
        beyond = estimate.front_speed * (plan.days[-1] - case.sessions[-1].day)
        margin += beyond + 3.0 * estimate.infiltration_length
        choice = MeshChoice(mesh.size, mesh.route, margin, mesh_cache())  # type: ignore[arg-type]
        show("wider mesh")
        wider = on_root(comm, lambda: make_mesh(case, choice)[0])
        notes.append(
            f"the tumour outgrows the mesh of the fit: predicted on one that reaches {margin:.0f} mm beyond the scans"
        )
        course = _course(comm, case, wider, margin, results, tumour, plan, show)
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
    plan: Plan,
    show: Show,
) -> Course:
    """One run on one mesh, gathered on rank 0; the mesh reaches `margin` mm beyond the segmentations."""
    from oncology.fem.engine import FiniteElements
    from oncology.fem.series import frame_days
    from oncology.forecast.forecast import forecast_ensemble, forecast_linearised
    from oncology.imaging import sample

    sessions = [session.day for session in case.sessions]
    last = sessions[-1]
    later = [day for day in plan.days if day > last]
    days = (*sessions, *(frame_days(last, later, POINTS) if later else ()))
    shown = sorted({last, *plan.days})
    engine = FiniteElements(mesh, case, growth_law(results.estimate.growth_law), comm)  # type: ignore[arg-type]
    space = engine.space
    if plan.samples:
        forecast = forecast_ensemble(engine, tumour, days, shown, plan.samples, plan.seed, show)
    else:
        forecast = forecast_linearised(engine, tumour, days, shown, show)
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
