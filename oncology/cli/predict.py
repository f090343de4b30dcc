"""`oncology predict`: a fit goes on to later days, with uncertainty, radiotherapy targets and their coverage."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from cyclopts import Parameter

from oncology.cli.fit import growth_law, mesh_cache
from oncology.cli.output import Show, output_folder, progress
from oncology.cli.runtime import guarded, world
from oncology.errors import ConfigError

if TYPE_CHECKING:
    from oncology.fem.forecast import Forecast
    from oncology.imaging import Case, Volume
    from oncology.inverse.fitted import FittedTumour
    from oncology.meshing import TetMesh
    from oncology.report.results import Results

__all__ = ["Course", "Plan", "predict", "predicted_density"]

POINTS = 12  # least number of days of the curves between the last session and the last day
LATEST = 3650.0  # day after the last session
CUT = 0.3  # largest density at the cut through the brain, as a share of the lowest rim threshold: as in a fit
Flag = Annotated[bool, Parameter(negative="")]
Days = Annotated[tuple[float, ...], Parameter(consume_multiple=True, negative="")]


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


def predict(
    fit: Path | None = None,
    /,
    *,
    out: Path,
    days: Days = (),
    absolute: Flag = False,
    case: Path | None = None,
    margin: float | None = None,
    volume: float | None = None,
    recurrence: Path | None = None,
    samples: int = 0,
    seed: int = 0,
    predict_gbm: Path | None = None,
    size: float | None = None,
    pet: Flag = False,
    overwrite: Flag = False,
    report: bool = True,
) -> None:
    """Predict a fitted tumour on later days, and give radiotherapy targets.

    Runs on one core, or on N with `mpiexec -n N oncology predict FIT --days 30 60 90 --out OUT`. With --predict-gbm
    it fits and predicts in one call, with the files of the PREDICT-GBM benchmark.

    Args:
        fit: Folder that `oncology fit CASE --out FIT` wrote.
        out: Folder for the results, made whole at the end or not at all; with --predict-gbm the image to write
            (.nii.gz), or the folder for NNNNN.nii.gz.
        days: Days after the last session to predict, day.
        absolute: Count --days on the case's calendar (that of case.toml) instead.
        case: Folder of the fitted case; by default the one that FIT/config.toml names.
        margin: Margin of the standard target around the segmented core, mm (15 if neither is given).
        volume: Volume of both targets, mL, instead of a margin.
        recurrence: Mask of a later recurrence; by default ses-*/anat/*_desc-tumor_mask.nii.gz of the case's folder.
        samples: Samples of the posterior for the uncertainty; 0 takes tangents, which suit well-determined fits.
        seed: Of the random numbers.
        predict_gbm: Folder NNNNN-gm, -wm, -csf, -tumorseg (and -pet).nii.gz, or a folder of such Patient-* folders.
        size: With --predict-gbm: edge length of the mesh around the tumour, mm (2.5 if not given).
        pet: With --predict-gbm: use the PET image too.
        overwrite: Replace what an earlier run left in --out.
        report: Write prediction.html with pictures.
    """
    if (fit is None) == (predict_gbm is None):
        given = "none is given" if fit is None else "both are given"
        raise ConfigError(f"predict needs the folder of a fit or --predict-gbm FOLDER, {given}: give one of them")
    if predict_gbm is not None:
        from oncology.cli.predictgbm import answer_benchmark

        others = {"--absolute": absolute, "--case": case, "--margin": margin, "--volume": volume}
        others |= {"--recurrence": recurrence, "--samples": samples}
        _refuse(others, "--predict-gbm")
        answer_benchmark(predict_gbm, out, days, size, pet, overwrite)
        return
    assert fit is not None
    _refuse({"--size": size, "--pet": pet}, "a fit, whose own they are")
    if margin is not None and volume is not None:
        raise ConfigError(f"--margin {margin:g} mm and --volume {volume:g} mL both size the target: give one of them")
    if not 0 <= samples <= 10_000 or samples == 1:
        raise ConfigError(f"--samples {samples} is out of range: give 0 (tangents) or 2 to 10000")
    comm = world()
    with guarded(comm), output_folder(out, comm, overwrite=overwrite) as work, progress() as show:
        from oncology.parallel import on_root

        started = time.perf_counter()
        show("fit")
        results, patient, tumour = on_root(comm, lambda: _read(fit, case))
        wanted = _days(days, absolute, patient.sessions[-1].day)
        plan = Plan(wanted, 15.0 if margin is None else margin, volume, recurrence, samples, seed)
        on_root(comm, lambda: _check(plan, patient))
        course = _run(comm, patient, results, tumour, plan, show)
        show("files", 1.0)

        def write() -> None:
            from oncology.cli.prediction import write_prediction

            write_prediction(work, results, patient, plan, course, comm.size, report, time.perf_counter() - started)

        on_root(comm, write)


def predicted_density(comm: Any, fit: Path, day: float) -> Volume | None:
    """Return the density a day after the last session of a fit, on that session's grid (collective; rank 0 only).

    Raises:
        ConfigError: the day is out of range.
    """
    from oncology.parallel import on_root

    results, patient, tumour = on_root(comm, lambda: _read(fit, None))
    days = _days((day,), False, patient.sessions[-1].day)
    with progress() as show:
        course = _run(comm, patient, results, tumour, Plan(days, 0.0, None, None, 0, 0), show)
    if comm.rank > 0:
        return None
    from oncology.cli.results import session_density

    like = patient.sessions[-1].whole
    return session_density(patient, course.mesh.points, course.mesh.cells, course.whole[days[0]], like)


def _refuse(given: dict[str, Any], beside: str) -> None:
    for name, value in given.items():
        if value:
            raise ConfigError(f"{name} has no meaning beside {beside}: leave it out")


def _read(fit: Path, given: Path | None) -> tuple[Results, Case, FittedTumour]:
    """The results, the case they belong to (with its treatments after the fit too) and the fitted tumour."""
    from oncology.cli.report import fitted_case
    from oncology.cli.results import plain_treatment
    from oncology.inverse.fitted import read_fitted
    from oncology.report.results import read_results

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


def _days(days: tuple[float, ...], absolute: bool, last: float) -> tuple[float, ...]:
    if not days:
        raise ConfigError("--days is missing: give days after the last session, such as --days 30 60 90")
    for day in days:
        after = day - last if absolute else day
        if not (math.isfinite(day) and 0.0 <= after <= LATEST):
            low, high = (last, last + LATEST) if absolute else (0.0, LATEST)
            what = "of the case's calendar" if absolute else "after the last session"
            raise ConfigError(f"--days {day:g} is out of range: give days {what}, {low:g} to {high:g}")
    return tuple(sorted({day if absolute else last + day for day in days}))


def _check(plan: Plan, case: Case) -> None:
    """Refuse sizes of targets and masks of recurrences before anything is computed."""
    from oncology.cli.prediction import find_recurrences
    from oncology.imaging.target import voxel_count

    if not (math.isfinite(plan.margin) and 0.0 <= plan.margin <= 100.0):
        raise ConfigError(f"--margin {plan.margin:g} mm is out of range: give 0 to 100 mm, 15 mm is usual")
    if plan.volume is not None:
        voxel_count(plan.volume, case.sessions[-1].whole)
    find_recurrences(case, plan.recurrence)


def _run(comm: Any, case: Case, results: Results, tumour: FittedTumour, plan: Plan, show: Show) -> Course:
    """Run on the mesh of the fit, or on a wider one where the tumour reaches its edge."""
    from oncology.inverse.patient import tumour_distance
    from oncology.parallel import on_root

    mesh, margin, notes = results.mesh, results.estimate.mesh_margin_mm, []
    distance = on_root(comm, lambda: tumour_distance(case))
    limit = CUT * min(tumour.thresholds.values())
    course = _course(comm, case, mesh, distance, margin, results, tumour, plan, show)
    if course.cut > limit and margin is not None and mesh.route in ("stuffing", "lattice"):
        from oncology.fem.patient import MeshChoice, make_mesh

        speed, length = (math.sqrt(tumour.values[0] * factor) for factor in (tumour.values[2], 1 / tumour.values[2]))
        margin += 2.0 * speed * (plan.days[-1] - case.sessions[-1].day) + 3.0 * length
        choice = MeshChoice(mesh.size, mesh.route, margin, mesh_cache())  # type: ignore[arg-type]
        show("wider mesh")
        wider = on_root(comm, lambda: make_mesh(case, choice)[0])
        notes.append(
            f"the tumour outgrows the mesh of the fit: predicted on one that reaches {margin:.0f} mm beyond the scans"
        )
        course = _course(comm, case, wider, distance, margin, results, tumour, plan, show)
    if course.cut > limit:
        notes.append(
            f"the density at the edge of the meshed region is {course.cut:.3f}: the tumour may reach beyond it"
        )
    return replace(course, notes=tuple(notes))


def _course(
    comm: Any,
    case: Case,
    mesh: TetMesh,
    distance: Volume,
    margin: float | None,
    results: Results,
    tumour: FittedTumour,
    plan: Plan,
    show: Show,
) -> Course:
    """One run on one mesh, gathered on rank 0; `distance` of voxels from the segmentations, as far as `margin`, mm."""
    from oncology.fem.forecast import forecast_ensemble, forecast_linearised
    from oncology.fem.patient import patient_model
    from oncology.fem.series import frame_days
    from oncology.imaging import sample

    sessions = [session.day for session in case.sessions]
    last = sessions[-1]
    later = [day for day in plan.days if day > last]
    days = (*sessions, *(frame_days(last, later, POINTS) if later else ()))
    shown = sorted({last, *plan.days})
    model = patient_model(comm, case, mesh, growth_law(results.estimate.growth_law))  # type: ignore[arg-type]
    space = model.discretisation
    if plan.samples:
        forecast = forecast_ensemble(model, tumour, days, shown, plan.samples, plan.seed, show)
    else:
        forecast = forecast_linearised(model, tumour, days, shown, show)
    whole = {day: space.gather(u) for day, u in zip(days, forecast.densities, strict=True) if day in shown}
    deviations = {day: space.gather(values) for day, values in forecast.deviations.items()}
    frames = [(float(forecast.frame_days[k]), space.gather(forecast.frames[k])) for k in _kept(forecast, days)]
    cut = 0.0
    if margin is not None:
        near = sample(distance, space.points[: space.owned]) >= margin - 1.5 * mesh.size  # as a fit does
        cut = space.extremes(0.0, float(forecast.densities[-1][near].max(initial=0.0)))[1]
    model.destroy()
    space.destroy()
    return Course(mesh, forecast, whole, deviations, frames, cut, ())


def _kept(forecast: Forecast, days: tuple[float, ...], most: int = 60) -> Any:
    """Frames of the trajectory: evenly spaced ones, and those of the observed days."""
    spaced = np.linspace(0, len(forecast.frames) - 1, min(most, len(forecast.frames))).round().astype(int)
    observed = [int(np.abs(forecast.frame_days - day).argmin()) for day in days]
    return np.unique([*spaced, *observed])
