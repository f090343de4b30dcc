"""Radiotherapy targets of a prediction: around the segmented core, equally large by density, and what they cover."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from oncology.imaging import Case, Volume
from oncology.imaging.metrics import volume_ml
from oncology.imaging.recurrence import Recurrence
from oncology.imaging.target import (
    brain_mask,
    coverage,
    densest_target,
    margin_target,
    nearest_target,
    voxel_count,
)
from oncology.results.prediction import day_text

__all__ = ["Targets", "coverages", "make_targets"]


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of equal volume.

    Attributes:
        masks: by file name without ending, the standard one first.
        rows: their numbers, as in `prediction.json`.
        notes: what the user should know, in sentences.
    """

    masks: dict[str, Volume]
    rows: dict[str, dict[str, Any]]
    notes: tuple[str, ...]


def make_targets(case: Case, densities: Mapping[float, Volume], margin: float, volume: float | None) -> Targets:
    """Return the target around the core and the equally large ones of the densities.

    Args:
        case: the patient.
        densities: predicted density by day, on the grid of the last session.
        margin: around the core, mm.
        volume: of every target, mL, instead of the margin.
    """
    session, notes = case.sessions[-1], []
    start, around = session.core, "core"
    if not start.data.any():
        start, around = session.whole, "whole tumour"
        notes.append(f"{session.id} has no core: the standard target is around the whole tumour")
    brain = brain_mask(case.white, case.grey, start)
    if volume is None:
        standard = margin_target(start, brain, margin)
        name = f"target_margin-{day_text(margin)}mm"
    else:
        standard = nearest_target(start, brain, voxel_count(volume, start))
        name = f"target_nearest-{day_text(volume)}ml"
    count = int(standard.data.sum())
    masks = {name: standard}
    rows: dict[str, dict[str, Any]] = {name: {"around": around, "volume_ml": volume_ml(standard)}}
    if volume is None:
        rows[name]["margin_mm"] = margin
    for day, density in densities.items():
        mask = densest_target(density, brain, count)
        name = f"target_isodensity_day-{day_text(day)}"
        masks[name] = mask
        rows[name] = {"day": day, "volume_ml": volume_ml(mask), "density": float(density.data[mask.data].min())}
    return Targets(masks, rows, tuple(notes))


def coverages(recurrences: Iterable[Recurrence], targets: Mapping[str, Volume]) -> dict[str, dict[str, Any]]:
    """Return the volume of each part of each recurrence, mL, and its fraction inside each target, 0..1."""
    return {
        recurrence.name: {
            part: {
                "volume_ml": volume_ml(mask),
                **{name: coverage(mask, target) for name, target in targets.items()},
            }
            for part, mask in recurrence.parts.items()
        }
        for recurrence in recurrences
    }
