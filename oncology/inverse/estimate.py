"""What an identification means in physical units: values, deviations, intervals, and what the data cannot tell.

Logarithms are normal in the posterior, so intervals of positive quantities are `value * exp(+- 1.96 sd_log)`. A value
counts as identified if the data alone determine it (`Posterior.identified`); otherwise it comes from the prior, or
the data add little, and the combinations that they do determine are reported beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from oncology.inverse.scalars import ScalarMap
from oncology.inverse.uncertainty import Posterior
from oncology.model.tumour import seed_names

__all__ = ["NORMAL_95", "Quantity", "combinations", "parameter_quantities", "seed_sd"]

Vector = NDArray[np.float64]

_LOGARITHMS = ("ln_diffusion_white", "ln_diffusion_ratio", "ln_proliferation", "ln_duration")
NORMAL_95 = 1.959964  # standard deviations to each side of a 95 % interval


@dataclass(frozen=True)
class Quantity:
    """A positive quantity with a log-normal posterior.

    Attributes:
        name: for people and keys.
        value: its value.
        unit: its unit.
        sd_log: standard deviation of its logarithm, prior included.
        identified: whether the data alone determine it.
    """

    name: str
    value: float
    unit: str
    sd_log: float
    identified: bool

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval."""
        factor = math.exp(NORMAL_95 * self.sd_log)
        return self.value / factor, self.value * factor


def parameter_quantities(unknowns: ScalarMap, posterior: Posterior) -> dict[str, Quantity]:
    """Return D_w, D_g, rho, the seed's radius and the duration (day, from onset to the first session or treatment).

    The radius counts as identified where the data alone know it better than its prior does; one that is given has no
    deviation and is not identified.
    """
    tumour = unknowns.tumour(posterior.mean)
    white, ratio, growth, duration = (unknowns.unit(name) for name in _LOGARITHMS)
    rows = {
        "diffusion_white": (tumour.diffusion_white, "mm^2/day", white),
        "diffusion_grey": (tumour.diffusion_grey, "mm^2/day", white + ratio),
        "proliferation": (tumour.proliferation, "1/day", growth),
        "duration": (unknowns.first_day - tumour.onset, "day", duration),
    }
    found = {name: _quantity(name, *row, posterior) for name, row in rows.items()}
    radius = Quantity("seed_radius", tumour.seed_radius, "mm", 0.0, False)
    if unknowns.radius:
        weights = unknowns.unit("ln_seed_radius")
        known = posterior.data_sd(weights) <= float(weights @ unknowns.prior.sd)
        radius = replace(radius, sd_log=posterior.sd(weights), identified=known)
    return {**found, "seed_radius": radius}


def combinations(unknowns: ScalarMap, posterior: Posterior) -> dict[str, Quantity]:
    """Return the combinations that segmentations determine best: front width, front speed, growth since onset."""
    tumour = unknowns.tumour(posterior.mean)
    white, ratio, growth, duration = (unknowns.unit(name) for name in _LOGARITHMS)
    since_onset = tumour.proliferation * (unknowns.first_day - tumour.onset)
    rows = {
        "infiltration_length": (tumour.infiltration_length, "mm", 0.5 * (white - growth)),
        "front_speed": (tumour.front_speed, "mm/day", 0.5 * (white + growth)),
        "growth_since_onset": (since_onset, "1", growth + duration),
        "diffusion_ratio": (math.exp(posterior.mean[1]), "1", ratio),
    }
    return {name: _quantity(name, *row, posterior) for name, row in rows.items()}


def seed_sd(unknowns: ScalarMap, posterior: Posterior, focus: int = 0) -> tuple[Vector, bool]:
    """Return the standard deviations of a seed's position (mm) and whether the data alone determine it.

    Args:
        unknowns: their meaning.
        posterior: their distribution.
        focus: number of the seed, from 0.
    """
    axes = [unknowns.unit(name) for name in seed_names(unknowns.foci)[3 * focus :][:3]]
    deviations = np.array([unknowns.seed_scale * posterior.sd(axis) for axis in axes])
    return deviations, all(posterior.identified(axis, seed=True) for axis in axes)


def _quantity(name: str, value: float, unit: str, weights: Vector, posterior: Posterior) -> Quantity:
    return Quantity(name, float(value), unit, posterior.sd(weights), posterior.identified(weights))
