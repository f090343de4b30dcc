"""A fitted tumour as plain values: what `estimate.json` must hold so that a later run can go on from the fit.

The estimate and its covariance are those of the scaled unknowns (`oncology.inverse.scalars`); the correction of the
shape is that of `oncology.inverse.shape`. Written and read here side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncology.errors import ConfigError
from oncology.inverse.fit import CaseFit
from oncology.inverse.scalars import ScalarMap
from oncology.inverse.shape import GaussianLattice, Shape
from oncology.model.seed import Seed
from oncology.model.treatment import Treatment
from oncology.model.tumour import Tumour

__all__ = [
    "FittedTumour",
    "fitted_tumour",
    "plain_treatment",
    "posterior_content",
    "read_fitted",
    "shape_content",
]

Vector = NDArray[np.float64]

_LARGEST = 20  # Gaussians listed by size, for people


@dataclass(frozen=True)
class FittedTumour:
    """Estimate, uncertainty and what else determines the density of a fitted tumour on any day.

    Attributes:
        unknowns: meaning of the unknowns.
        mean: (n,) their estimate.
        covariance: (n, n) their posterior covariance.
        thresholds: given density at the boundary of "whole" and "core", 0..1.
        treatments: of the patient, by day; those after the last scan too.
        shape: correction of the density that grew from the seeds, if there is one.
    """

    unknowns: ScalarMap
    mean: Vector
    covariance: Vector
    thresholds: Mapping[str, float]
    treatments: tuple[Treatment, ...] = ()
    shape: Shape | None = None

    @property
    def estimate(self) -> Tumour:
        """The tumour of the estimate."""
        return self.unknowns.tumour(self.mean)

    @property
    def deviations(self) -> Vector:
        """Independent directions of the posterior, one standard deviation long, as columns (n, n)."""
        variances, directions = np.linalg.eigh(self.covariance)
        return np.asarray(directions * np.sqrt(np.maximum(variances, 0.0)))


def fitted_tumour(fit: CaseFit, thresholds: Mapping[str, float], treatments: tuple[Treatment, ...]) -> FittedTumour:
    """Return the fitted tumour of a finished fit.

    Args:
        fit: outcome of the fit.
        thresholds: given density at the boundary of "whole" and "core", 0..1.
        treatments: of the patient.
    """
    return FittedTumour(fit.unknowns, fit.posterior.mean, fit.posterior.covariance, thresholds, treatments, fit.shape)


def posterior_content(tumour: FittedTumour) -> dict[str, Any]:
    """Return the entry `posterior` of `estimate.json`."""
    unknowns, profile = tumour.unknowns, tumour.unknowns.profile
    return {
        "names": list(unknowns.names),
        "mean": tumour.mean.tolist(),
        "covariance": tumour.covariance.tolist(),
        "first_day": unknowns.first_day,
        "seed_scale_mm": unknowns.seed_scale,
        "seed": {"amplitude": profile.amplitude, "radius_mm": tumour.estimate.seed_radius},
    }


def shape_content(shape: Shape | None) -> dict[str, Any]:
    """Return the entry `shape_correction` of `estimate.json`: when the density was corrected, and by what."""
    if shape is None:
        return {}
    largest = np.argsort(-np.abs(shape.heights))[:_LARGEST]
    return {
        "day": shape.day,
        "width_mm": shape.lattice.width,
        "gaussians": len(shape.heights),
        "largest": [
            {"position_mm": shape.lattice.centres[k].tolist(), "log_odds": float(shape.heights[k])} for k in largest
        ],
        "positions_mm": shape.lattice.centres.tolist(),
        "log_odds": shape.heights.tolist(),
    }


def plain_treatment(treatment: Treatment) -> dict[str, Any]:
    """Return a treatment as plain values, as `estimate.json` has it."""
    entries = {"kind": type(treatment).__name__.lower(), **asdict(treatment)}
    return {
        key: str(value) if isinstance(value, Path) else value for key, value in entries.items() if value is not None
    }


def read_fitted(
    content: Mapping[str, Any],
    thresholds: Mapping[str, float],
    treatments: tuple[Treatment, ...],
    source: str = "estimate.json",
) -> FittedTumour:
    """Return the fitted tumour of an `estimate.json`.

    Args:
        content: of the file.
        thresholds: given density at the boundary of "whole" and "core", 0..1.
        treatments: of the patient.
        source: the file, for messages.

    Raises:
        ConfigError: the file holds no posterior, or one that does not fit together.
    """
    if not content.get("posterior"):
        raise ConfigError(f"{source}: holds no posterior (an earlier version wrote it): fit the case again")
    try:
        entry, correction = content["posterior"], content.get("shape_correction") or {}
        names = [str(name) for name in entry["names"]]
        regions = tuple(name.removeprefix("threshold_") for name in names if name.startswith("threshold_"))
        profile = Seed(float(entry["seed"]["amplitude"]), float(entry["seed"]["radius_mm"]))
        unknowns = ScalarMap(
            float(entry["first_day"]),
            regions,
            "ln_tracer_scale" in names,
            float(entry["seed_scale_mm"]),
            "ln_seed_radius" in names,
            profile,
            sum(name.startswith("seed") and name.endswith("_x") for name in names),
        )
        mean, covariance = np.array(entry["mean"], dtype=float), np.array(entry["covariance"], dtype=float)
        shape = None
        if correction:
            centres, heights = (np.array(correction[key], dtype=float) for key in ("positions_mm", "log_odds"))
            shape = Shape(
                float(correction["day"]),
                GaussianLattice(centres.reshape(-1, 3), float(correction["width_mm"])),
                heights,
            )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{source}: posterior is damaged ({error}): fit the case again") from error
    size = unknowns.size
    if list(unknowns.names) != names or mean.shape != (size,) or covariance.shape != (size, size):
        raise ConfigError(f"{source}: posterior of {', '.join(names)} does not fit together: fit the case again")
    return FittedTumour(unknowns, mean, covariance, thresholds, treatments, shape)
