"""What a finished fit leaves behind, gathered from all ranks: estimate, densities of the scans' days, trajectory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import oncology
from oncology.imaging import Case, Volume
from oncology.imaging.metrics import dice, surface_area, volume_ml
from oncology.inverse.estimate import combinations, parameter_quantities, seed_sd
from oncology.inverse.residual import Residual, boundary_residual
from oncology.model.laws import law_name, law_parameters
from oncology.model.trajectory import Trajectory
from oncology.parallel import on_root
from oncology.results.files import Results
from oncology.results.fitted import FittedTumour, fitted_tumour, plain_treatment, posterior_content, shape_content
from oncology.results.images import session_densities, session_density
from oncology.results.schema import SCHEMA, Estimate
from oncology.results.verdict import RegionMatch, Verdict, judge
from oncology.results.versions import versions

if TYPE_CHECKING:
    from oncology.inverse.fit import CaseFit
    from oncology.inverse.rims import RimProcess
    from oncology.meshing.engines import Engines

__all__ = ["collect", "tumour_of"]

_FRAMES = 60


def collect(
    comm: Any,
    case: Case,
    engine: Engines,
    fit: CaseFit,
    settings: Mapping[str, object],
    log: Sequence[Mapping[str, Any]] = (),
    further: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str] | None = None,
) -> Results:
    """Return the results of a fit (collective): images and trajectory on rank 0, all else on every rank.

    Args:
        comm: communicator of the fit.
        case: the fitted case.
        engine: what solved the equations.
        fit: outcome.
        settings: resolved settings, for `config.toml`.
        log: records of the accepted iterates.
        further: entries of `estimate.json` that do not follow from the fit alone, such as `growth`.
        inputs: fingerprints of the files that the case was read from.
    """
    course, gather = fit.course, fit.level.engine.gather
    sessions = [gather(u) for u in course.run.densities]
    kept = np.unique(np.linspace(0, len(course.days) - 1, min(_FRAMES, len(course.days))).round().astype(int))
    frames = [gather(course.frames[k]) for k in kept]
    residual, uncertain = _residual(case, fit), _deviation(fit)

    def build() -> Results:
        mesh = fit.level.mesh
        density = np.stack([frame for frame in frames if frame is not None]).astype(np.float32)
        meta: dict[str, float | str] = {"case": case.id, "version": oncology.__version__}
        trajectory = Trajectory(course.days[kept], density, mesh.fingerprint, meta)
        thresholds = _thresholds(case, fit)
        densities = session_densities(case, mesh, [values for values in sessions if values is not None])
        deviation = None
        if uncertain is not None:
            last = case.sessions[-1].whole
            deviation = session_density(case, mesh, uncertain, last)
        levels = {"whole": thresholds["oedema"], "core": thresholds["core"]}
        agreements = {
            session.id: {
                region: _agreement(mask, densities[session.id], levels[region])
                for region, mask in session.regions.items()
            }
            for session in case.sessions
        }
        content = _estimate(case, engine, fit, agreements, comm.size)
        for name, value in (further or {}).items():
            content[name] = _joined(content.get(name), value)
        _judge(content, _verdict(case, fit, agreements, residual), residual)
        config = {"settings": dict(settings), "thresholds": content["thresholds"]}
        config |= {"run": {"ranks": comm.size, "seed": 0}, "versions": versions(engine.versions)}
        config |= {"inputs": dict(inputs or {})}
        estimate = Estimate.model_validate(content)
        return Results(None, estimate, case, densities, trajectory, mesh, tuple(log), config, deviation)

    made: list[Results] = []

    def on_first() -> tuple[Estimate, dict[str, Any]]:
        made.append(build())
        return made[0].estimate, dict(made[0].config)

    estimate, config = on_root(comm, on_first)
    if made:
        return made[0]
    light = Trajectory(course.days[kept], np.zeros((len(kept), 1), np.float32), fit.level.mesh.fingerprint)
    return Results(None, estimate, case, {}, light, fit.level.mesh, tuple(log), config)


@dataclass(frozen=True)
class _Agreement:
    """Scan against model in one region: overlap 0..1 (None where both are empty) and volumes, mL."""

    dice: float | None
    reference_ml: float
    predicted_ml: float


def _agreement(scan: Volume, density: Volume, threshold: float) -> _Agreement:
    predicted = density.with_data(density.data > threshold)
    return _Agreement(dice(scan.data, predicted.data), volume_ml(scan), volume_ml(predicted))


def _residual(case: Case, fit: CaseFit) -> Residual | None:
    """Distance of the boundaries (collective); None where nothing is segmented."""
    found = fit.identified
    if found.information.rims is None:
        return None
    area = sum(surface_area(mask) for session in case.sessions for mask in session.regions.values())
    return boundary_residual(found.here, found.information.rims, area, fit.level.mesh.size)


def _deviation(fit: CaseFit) -> np.ndarray | None:
    """Standard deviation of the last session's density on the vertices (collective; rank 0).

    None where the last linearisation did not leave its derivatives, or where the shape was corrected after it.
    """
    known = fit.identified.growth
    if known is None or fit.shape is not None:
        return None
    variance = np.einsum("kv,kl,lv->v", known.moved, fit.posterior.covariance, known.moved)
    gathered = fit.level.engine.gather(np.sqrt(np.maximum(variance, 0.0)))
    return None if gathered is None else np.asarray(gathered)


def _verdict(
    case: Case, fit: CaseFit, agreements: Mapping[str, Mapping[str, _Agreement]], residual: Residual | None
) -> Verdict:
    matches = [
        RegionMatch(
            session.id,
            region,
            found.dice,
            found.reference_ml,
            found.predicted_ml,
            float(session.labels.voxel_sizes.max()),
        )
        for session in case.sessions
        for region, found in agreements[session.id].items()
    ]
    return judge(
        matches,
        converged=fit.identified.converged,
        cell=fit.level.mesh.size,
        one_seed=fit.overlap,
        residual=residual,
    )


def _judge(content: dict[str, Any], verdict: Verdict, residual: Residual | None) -> None:
    """Write the verdict; where the model does not explain the scans, no value counts as identified."""
    content.update(verdict=verdict.level, verdict_reasons=list(verdict.reasons))
    if residual is not None:
        content["boundary_errors"].update(residual_mm=residual.found, assumed_mm=residual.assumed)
    if verdict.voids:
        for entry in (*content["parameters"].values(), *content.get("foci", ()), *content["combinations"]):
            entry["identified"] = False
        content["not_identified"] = list(content["parameters"])


def _joined(before: Any, added: Any) -> Any:
    """Add entries to a table and items to a list; replace anything else."""
    if isinstance(before, dict) and isinstance(added, Mapping):
        return {**before, **added}
    return [*before, *added] if isinstance(before, list) else added


def _estimate(
    case: Case, engine: Engines, fit: CaseFit, agreements: Mapping[str, Mapping[str, _Agreement]], ranks: int
) -> dict[str, Any]:
    """Return the content of `estimate.json` that follows from the fit alone."""
    unknowns, posterior, tumour = fit.unknowns, fit.posterior, fit.tumour
    scalars = parameter_quantities(unknowns, posterior)
    duration, radius = (scalars.pop(name) for name in ("duration", "seed_radius"))
    found = [(centre, *seed_sd(unknowns, posterior, focus)) for focus, centre in enumerate(tumour.seeds)]
    seeds = [
        {"value": centre.tolist(), "unit": "mm", "sd": sd.tolist(), "identified": known} for centre, sd, known in found
    ]
    parameters: dict[str, Any] = {
        name: {"value": q.value, "unit": q.unit, "sd_log": q.sd_log, "identified": q.identified}
        for name, q in scalars.items()
    }
    parameters["seed"] = seeds[0]
    parameters["seed_radius"] = {
        "value": radius.value,
        "unit": "mm",
        "sd_log": radius.sd_log,
        "identified": radius.identified,
    }
    parameters["onset"] = {
        "value": tumour.onset,
        "unit": "day",
        "sd": duration.value * duration.sd_log,
        "identified": duration.identified,
    }
    joined = combinations(unknowns, posterior)
    first = unknowns.first_day
    intervals = {name: list(q.interval) for name, q in (*scalars.items(), ("seed_radius", radius))}
    intervals["onset"] = [first - bound for bound in reversed(duration.interval)]
    mesh, course = fit.level.mesh, fit.course
    return {
        "schema": SCHEMA,
        "case": case.id,
        "status": "converged" if fit.identified.converged else "not converged",
        "verdict": "",  # both are known once everything else is
        "verdict_reasons": [],
        "parameters": parameters,
        **({"foci": seeds} if len(seeds) > 1 else {}),
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
        **_errors(case, fit.identified.information.rims),
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
        "warnings": [*case.check(), *fit.warnings, *course.run.notes],
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
        "growth_law": law_name(fit.level.engine.law),
        **({"growth_law_parameters": parameters} if (parameters := law_parameters(fit.level.engine.law)) else {}),
        "posterior": posterior_content(tumour_of(case, fit)),
        "mesh_margin_mm": float(fit.level.margin) if np.isfinite(fit.level.margin) else None,
        "prior": {
            name: {"mean": float(m), "sd": float(s)}
            for name, m, s in zip(unknowns.names, unknowns.prior.mean, unknowns.prior.sd, strict=True)
        },
        "eigen": _eigen(unknowns.names, posterior.strengths, posterior.directions.T),
        "reassigned_fraction": case.reassigned_fraction,
    }


def _errors(case: Case, rims: RimProcess | None) -> dict[str, Any]:
    """Return how far segmented boundaries are off: what the residuals show, and what the case declares."""
    declared = {"threshold_sd": case.thresholds.sd, "bias_mm": case.segmentation_bias, "white_mm": case.white_error}
    if rims is None:
        return {"declared_errors": declared}
    found = {
        "outward_mm": rims.tau,
        "tissue_mm": rims.transverse,
        "length_mm": rims.length,
        "independent_mm": rims.nugget,
        "between_sessions": rims.between_sessions,
        "between_regions": rims.between_regions,
        "blocks": rims.blocks,
        "interval": "estimated" if rims.converged else "default",
    }
    return {"boundary_errors": found, "declared_errors": declared}


def tumour_of(case: Case, fit: CaseFit) -> FittedTumour:
    """Return the fitted tumour of a finished fit, for predictions from it."""
    return fitted_tumour(fit, {"whole": case.thresholds.oedema, "core": case.thresholds.core}, case.treatments)


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
