"""Results folders as a fit would leave them, without a fit: a density that falls off along signed distances.

out = write_results(tmp_path, Case.read(write_case(tmp_path)))
The logit of the density is interpolated between the rims of core and whole tumour, smoothed and shifted a little, so
that model and scan differ; in time it moves from session to session and steadily before the first.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from scipy import ndimage

from oncology.imaging import Case, Session, Volume, sample, write_volume
from oncology.imaging.fingerprint import fingerprints
from oncology.imaging.metrics import compare
from oncology.meshing import build_mesh, write_mesh
from oncology.model.trajectory import Trajectory, write_trajectory

MARGIN = 15.0  # mm of brain around the tumour
FALL = 3.0  # mm over which the logit falls by one
SPEED = 0.02  # 1/day by which the logit moves before the first session
ONSET = -160.0


def signed_distance(mask: Volume) -> np.ndarray:
    """Distance to the rim of a mask, mm, negative inside."""
    sizes = mask.voxel_sizes
    outside = ndimage.distance_transform_edt(~mask.data, sampling=sizes)
    return outside - ndimage.distance_transform_edt(mask.data, sampling=sizes)


def logit(case: Case, session: Session) -> Volume:
    """Logit of a density that crosses the thresholds near the rims of a session's regions."""
    low = np.log(case.thresholds.oedema / (1 - case.thresholds.oedema))
    high = np.log(case.thresholds.core / (1 - case.thresholds.core))
    whole = signed_distance(session.whole)
    values = low - whole / FALL
    if session.core.data.any():
        core = signed_distance(session.core)
        between = low + (high - low) * -whole / np.maximum(core - whole, 1e-6)
        values = np.where(core < 0, high - core / FALL, np.where(whole < 0, between, values))
    smooth = ndimage.gaussian_filter(values, 1.5 / session.whole.voxel_sizes) + 0.15
    return session.whole.with_data(smooth.astype(np.float32))


def density(values: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-values))


def write_results(
    folder: Path,
    case: Case,
    *,
    size: float = 6.0,
    steps: int = 12,
    identified: bool = True,
    change: Mapping[str, Any] | None = None,
) -> Path:
    """Write a results folder and return it, `folder / "out"`.

    Args:
        folder: where it is made.
        case: the case that was "fitted".
        size: mesh edge length, mm.
        steps: times of the trajectory.
        identified: whether D and rho are said to be determined by the data.
        change: entries of estimate.json to replace.
    """
    out = folder / "out"
    out.mkdir()
    logits = [logit(case, session) for session in case.sessions]
    for session, values in zip(case.sessions, logits, strict=True):
        predicted = values.with_data(density(values.data))
        write_volume(out / f"density_{session.id}.nii.gz", predicted, np.float32)
    tumour = np.concatenate([s.whole.world(np.argwhere(s.whole.data)) for s in case.sessions])
    box = (tumour.min(axis=0) - MARGIN, tumour.max(axis=0) + MARGIN)
    mesh, quality = build_mesh(case.white, case.grey, size, box=box)
    write_mesh(out / "mesh.h5", mesh, quality.as_dict())
    days = [session.day for session in case.sessions]
    at_vertices = np.array([sample(values, mesh.points, outside=-20.0) for values in logits])
    times = np.linspace(ONSET, days[-1], steps)
    moved = [_at(time, days, at_vertices) for time in times]
    write_trajectory(out / "trajectory.h5", Trajectory(times, density(np.array(moved)), mesh.fingerprint))
    content = estimate(case, logits, identified) | {
        "mesh": {"vertices": len(mesh.points), "cells": len(mesh.cells), "size_mm": size},
        "mesh_quality": quality.as_dict(),
    }
    (out / "estimate.json").write_text(json.dumps(content | dict(change or {})))
    (out / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log(content)))
    (out / "config.toml").write_text(tomli_w.dumps(config(case)))
    return out


def _at(time: float, days: list[float], values: np.ndarray) -> np.ndarray:
    if time <= days[0]:
        return values[0] - SPEED * (days[0] - time)
    after = next(k for k, day in enumerate(days) if day >= time)
    share = (time - days[after - 1]) / (days[after] - days[after - 1])
    return (1 - share) * values[after - 1] + share * values[after]


def estimate(case: Case, logits: list[Volume], identified: bool) -> dict[str, Any]:
    """Contents of estimate.json."""
    dice: dict[str, Any] = {}
    volumes: dict[str, Any] = {}
    for session, values in zip(case.sessions, logits, strict=True):
        predicted = density(values.data)
        for region, scan, rim in (
            ("whole", session.whole, case.thresholds.oedema),
            ("core", session.core, case.thresholds.core),
        ):
            found = compare(scan, values.with_data(predicted > rim))
            dice.setdefault(session.id, {})[region] = found.dice
            volumes.setdefault(session.id, {})[region] = {"scan": found.reference_ml, "model": found.predicted_ml}
    sd = 0.05 if identified else 0.9
    scalars = {
        "diffusion_white": (0.30, "mm^2/day", sd, identified),
        "diffusion_grey": (0.03, "mm^2/day", 0.45, False),
        "proliferation": (0.020, "1/day", sd, identified),
    }
    centre = case.sessions[0].whole.world(np.argwhere(case.sessions[0].whole.data)).mean(axis=0)
    parameters: dict[str, Any] = {
        name: {"value": value, "unit": unit, "sd_log": spread, "identified": known}
        for name, (value, unit, spread, known) in scalars.items()
    }
    parameters["seed"] = {"value": list(centre), "unit": "mm", "sd": [0.8, 0.7, 0.9], "identified": True}
    parameters["onset"] = {"value": ONSET, "unit": "day", "sd": 14.0, "identified": identified}
    return {
        "schema": 1,
        "case": case.id,
        "status": "converged",
        "parameters": parameters,
        "derived": {
            "front_speed": {"value": 0.155, "unit": "mm/day"},
            "infiltration_length": {"value": 3.87, "unit": "mm"},
        },
        "dice": dice,
        "misfit": 1834.2,
        "iterations": 21,
        "gradient_evaluations": 34,
        "run": {"ranks": 2, "seconds": 41.3, "peak_memory_gb": 1.2, "versions": {"numpy": "2.3.5"}},
        "thresholds": {"oedema": case.thresholds.oedema, "core": case.thresholds.core},
        "intervals": {
            name: [value * np.exp(-1.96 * s), value * np.exp(1.96 * s)] for name, (value, _, s, _) in scalars.items()
        },
        "boundary_errors": {"outward_mm": 0.31, "tissue_mm": 0.12, "length_mm": 52.0, "interval": "estimated"},
        "declared_errors": {"threshold_sd": 0.0, "bias_mm": 0.0, "white_mm": 0.5},
        "combinations": [
            combination("infiltration length sqrt(D/rho)", 3.87, "mm", 0.02),
            combination("front speed 2 sqrt(D rho)", 0.155, "mm/day", sd / 2, identified),
            combination("growth since onset rho T", 3.2, "1", 0.04),
            combination("diffusion ratio D_g/D_w", 0.1, "1", 0.45, False),
        ],
        "not_identified": [name for name, (*_, known) in scalars.items() if not known]
        + ([] if identified else ["onset"]),
        "warnings": [],
        "density_range": [0.0, 0.98],
        "cut_density": 2.1e-5,
        "treatments": [],
        "volumes_ml": volumes,
        "growth_law": "logistic",
        "prior": {"ln_diffusion_white": {"mean": -1.6, "sd": 1.0}, "ln_proliferation": {"mean": -4.0, "sd": 1.0}},
        "eigen": [
            {"prior_over_data_variance": 812.0, "direction": "+0.71 ln_diffusion_white +0.70 ln_proliferation"},
            {"prior_over_data_variance": 0.6, "direction": "-1.00 ln_diffusion_ratio"},
        ],
        "reassigned_fraction": case.reassigned_fraction,
    }


def combination(name: str, value: float, unit: str, sd_log: float, identified: bool = True) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "sd_log": sd_log, "identified": identified}


def log(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Twenty-one accepted iterates in four stages that close in on the estimate."""
    final = {name: content["parameters"][name]["value"] for name in content["parameters"]}
    stages = {
        "4 mm, sharpness 10": 8,
        "4 mm, sharpness 25": 5,
        "4 mm, volume fraction": 5,
        "2.5 mm, volume fraction": 3,
    }
    lines: list[dict[str, Any]] = []
    for stage, count in stages.items():
        for iteration in range(count):
            left = 0.72 ** (len(lines) + 1)
            lines.append(
                {
                    "stage": stage,
                    "iteration": iteration,
                    "misfit_mm3": 1834.2 + 30000.0 * left,
                    "diffusion_white": final["diffusion_white"] * np.exp(1.1 * left),
                    "diffusion_grey": final["diffusion_grey"] * np.exp(-1.3 * left),
                    "proliferation": final["proliferation"] * np.exp(-0.8 * left),
                    "seed": [x + 6.0 * left for x in final["seed"]],
                    "onset": final["onset"] + 70.0 * left,
                    "seconds": 1.5 * (len(lines) + 1),
                }
            )
    return lines


def config(case: Case) -> dict[str, Any]:
    """Contents of config.toml."""
    return {
        "settings": {"size_mm": 2.5, "route": "stuffing", "law": "logistic", "case": str(case.root.resolve())},
        "thresholds": {"oedema": case.thresholds.oedema, "core": case.thresholds.core},
        "run": {"ranks": 2, "seed": 0},
        "versions": {"oncology": "0.1.0", "numpy": "2.3.5", "dolfinx": "0.11.0"},
        "inputs": fingerprints(case),
    }
