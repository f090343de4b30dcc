"""Files that a fit leaves behind: densities in the case's own space, trajectory, mesh, configuration, estimate."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tomli_w

import oncology
from oncology.forecast.curves import growth_content
from oncology.imaging import Case, Volume, resample_to, write_volume
from oncology.inverse.estimate import combinations, parameter_quantities, seed_sd
from oncology.meshing import write_mesh
from oncology.meshing.raster import rasterise
from oncology.model.trajectory import Trajectory, write_trajectory
from oncology.model.treatment import Treatment
from oncology.parallel import on_root
from oncology.report.metrics import compare
from oncology.results.fitted import fitted_tumour, posterior_content, shape_content

if TYPE_CHECKING:
    from oncology.inverse.fit import CaseFit
    from oncology.meshing.engines import Engines

__all__ = ["plain_treatment", "session_density", "versions", "write_results"]

_FRAMES = 60
_PACKAGES = ("numpy", "scipy", "nibabel", "h5py", "meshio", "pyvista")


def write_results(
    comm: Any, case: Case, engine: Engines, fit: CaseFit, work: Path, setup: dict[str, object]
) -> dict[str, Any]:
    """Write densities, trajectory, mesh and configuration; return the estimate for estimate.json on every rank."""
    tumour = fitted_tumour(fit, {"whole": case.thresholds.oedema, "core": case.thresholds.core}, case.treatments)
    days = tuple(session.day for session in case.sessions)
    growth = growth_content(fit.level, tumour, days) if engine.options["engine"] != "voxel" else None
    course, gather = fit.course, fit.level.engine.gather
    sessions = [gather(u) for u in course.run.densities]
    kept = np.unique(np.linspace(0, len(course.days) - 1, min(_FRAMES, len(course.days))).round().astype(int))
    frames = [gather(course.frames[k]) for k in kept]

    def write() -> dict[str, Any]:
        mesh = fit.level.mesh
        quality = None if fit.level.quality is None else fit.level.quality.as_dict()
        write_mesh(work / "mesh.h5", mesh, quality)
        density = np.stack([frame for frame in frames if frame is not None]).astype(np.float32)
        meta: dict[str, float | str] = {"case": case.id, "version": oncology.__version__}
        write_trajectory(work / "trajectory.h5", Trajectory(course.days[kept], density, mesh.fingerprint, meta))
        agreements, thresholds = {}, _thresholds(case, fit)
        for session, values in zip(case.sessions, sessions, strict=True):
            assert values is not None
            predicted = session_density(case, mesh.points, mesh.cells, values, session.whole)
            write_volume(work / f"density_{session.id}.nii.gz", predicted, np.float32)
            rims = {"whole": (session.whole, thresholds["oedema"]), "core": (session.core, thresholds["core"])}
            agreements[session.id] = {
                region: compare(mask, predicted.with_data(predicted.data > threshold))
                for region, (mask, threshold) in rims.items()
            }
        estimate = _estimate(case, engine, fit, agreements, comm.size)
        reach = float(fit.level.margin) if np.isfinite(fit.level.margin) else None
        estimate |= {"posterior": posterior_content(tumour), "growth": growth, "mesh_margin_mm": reach}
        config = {"settings": setup, "thresholds": estimate["thresholds"], "run": {"ranks": comm.size, "seed": 0}}
        config |= {"versions": versions(engine.versions)}
        (work / "config.toml").write_text(tomli_w.dumps(config), encoding="utf-8")
        return estimate

    estimate: dict[str, Any] = on_root(comm, write)
    return estimate


def session_density(case: Case, points: Any, cells: Any, values: Any, like: Volume) -> Volume:
    """Return a P1 density (vertex order of the mesh) on the voxels of an image, clipped to [0, 1]."""
    tissue = resample_to(case.white, like).data + resample_to(case.grey, like).data > 0.5
    data = rasterise(points, cells, values, like, tissue)
    return like.with_data(np.clip(data, 0.0, 1.0).astype(np.float32))


def versions(engine: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of the package, of an engine's parts and of what both build on."""
    found = {"oncology": oncology.__version__, "python": platform.python_version(), **engine}
    return found | {name: importlib.metadata.version(name) for name in _PACKAGES}


def _estimate(case: Case, engine: Engines, fit: CaseFit, agreements: dict[str, Any], ranks: int) -> dict[str, Any]:
    """Return the content of estimate.json (schema 1) but for seconds and memory."""
    unknowns, posterior, tumour = fit.unknowns, fit.posterior, fit.tumour
    scalars = parameter_quantities(unknowns, posterior)
    duration = scalars.pop("duration")
    deviations, seed_known = seed_sd(unknowns, posterior)
    parameters: dict[str, Any] = {
        name: {"value": q.value, "unit": q.unit, "sd_log": q.sd_log, "identified": q.identified}
        for name, q in scalars.items()
    }
    parameters["seed"] = {
        "value": list(tumour.seed),
        "unit": "mm",
        "sd": deviations.tolist(),
        "identified": seed_known,
    }
    parameters["onset"] = {
        "value": tumour.onset,
        "unit": "day",
        "sd": duration.value * duration.sd_log,
        "identified": duration.identified,
    }
    joined = combinations(unknowns, posterior)
    first = unknowns.first_day
    intervals = {name: list(q.interval) for name, q in scalars.items()}
    intervals["onset"] = [first - bound for bound in reversed(duration.interval)]
    mesh, course = fit.level.mesh, fit.course
    return {
        "schema": 1,
        "case": case.id,
        "status": "converged" if fit.identified.converged else "not converged",
        "parameters": parameters,
        "derived": {
            name: {"value": joined[name].value, "unit": joined[name].unit, "sd_log": joined[name].sd_log}
            for name in ("front_speed", "infiltration_length")
        },
        "dice": {s: {region: a.dice for region, a in regions.items()} for s, regions in agreements.items()},
        "misfit": fit.identified.information.misfit,
        "iterations": fit.identified.iterations,
        "gradient_evaluations": fit.identified.gradients,
        "mesh": {"vertices": len(mesh.points), "cells": len(mesh.cells), "size_mm": mesh.size},
        "run": {"ranks": ranks, "versions": versions(engine.versions)},
        "thresholds": _thresholds(case, fit),
        "intervals": intervals,
        "combinations": [
            {
                "name": _NAMES[name],
                "value": q.value,
                "unit": q.unit,
                "sd_log": q.sd_log,
                "identified": q.identified,
            }
            for name, q in joined.items()
        ],
        "not_identified": [name for name, entry in parameters.items() if not entry["identified"]],
        "warnings": [*fit.warnings, *course.run.notes],
        "density_range": list(course.run.extremes),
        "cut_density": fit.cut_density,
        "single_seed_overlap": fit.overlap,
        "shape_correction": shape_content(fit.shape),
        "treatments": [plain_treatment(treatment) for treatment in case.treatments],
        "mesh_quality": {} if fit.level.quality is None else fit.level.quality.as_dict(),
        "volumes_ml": {
            s: {region: {"scan": a.reference_ml, "model": a.predicted_ml} for region, a in regions.items()}
            for s, regions in agreements.items()
        },
        "growth_law": type(fit.level.engine.law).__name__.lower(),
        "prior": {
            name: {"mean": float(m), "sd": float(s)}
            for name, m, s in zip(unknowns.names, unknowns.prior.mean, unknowns.prior.sd, strict=True)
        },
        "eigen": _eigen(unknowns.names, posterior.strengths, posterior.directions.T),
        "reassigned_fraction": case.reassigned_fraction,
    }


_NAMES = {
    "infiltration_length": "infiltration length sqrt(D/rho)",
    "front_speed": "front speed 2 sqrt(D rho)",
    "growth_since_onset": "growth since onset rho T",
    "diffusion_ratio": "diffusion ratio D_g/D_w",
}


def _thresholds(case: Case, fit: CaseFit) -> dict[str, float]:
    x, p = fit.posterior.mean, fit.unknowns
    given = {"oedema": ("whole", case.thresholds.oedema), "core": ("core", case.thresholds.core)}
    return {name: p.level(x, region, value)[0] for name, (region, value) in given.items()}


def _eigen(names: Iterable[str], strengths: np.ndarray, directions: np.ndarray) -> list[dict[str, Any]]:
    """Return how well the data determine each direction of the unknowns, with its largest entries in words."""
    names = list(names)
    rows = []
    for strength, direction in zip(strengths, directions, strict=True):
        largest = [k for k in np.argsort(-np.abs(direction)) if abs(direction[k]) > 0.2]
        words = " ".join(f"{direction[k]:+.2f} {names[k]}" for k in largest)
        rows.append({"prior_over_data_variance": float(strength), "direction": words})
    return rows


def plain_treatment(treatment: Treatment) -> dict[str, Any]:
    """Return a treatment as plain values, as `estimate.json` has it."""
    entries = {"kind": type(treatment).__name__.lower(), **asdict(treatment)}
    return {
        key: str(value) if isinstance(value, Path) else value for key, value in entries.items() if value is not None
    }
