"""What an identification means in physical units: values, deviations, intervals, and what the data cannot tell.

Logarithms are normal in the posterior, so intervals of positive quantities are `value * exp(+- 1.96 sd_log)`. A value
counts as identified if the data alone determine it (`Posterior.identified`); otherwise it comes from the prior, and
the combinations that the data do determine are reported beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncology.inverse.scalars import ScalarMap
from oncology.inverse.uncertainty import Posterior

__all__ = ["NORMAL_95", "Quantity", "combinations", "parameter_quantities", "seed_sd"]

Vector = NDArray[np.float64]

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
    """Return D_w, D_g, rho and the duration (day, from onset to the first session or treatment)."""
    tumour = unknowns.tumour(posterior.mean)
    unit = np.eye(unknowns.size)
    rows = {
        "diffusion_white": (tumour.diffusion_white, "mm^2/day", unit[0]),
        "diffusion_grey": (tumour.diffusion_grey, "mm^2/day", unit[0] + unit[1]),
        "proliferation": (tumour.proliferation, "1/day", unit[2]),
        "duration": (unknowns.first_day - tumour.onset, "day", unit[6]),
    }
    return {name: _quantity(name, *row, posterior) for name, row in rows.items()}


def combinations(unknowns: ScalarMap, posterior: Posterior) -> dict[str, Quantity]:
    """Return the combinations that segmentations determine best: front width, front speed, growth since onset."""
    tumour = unknowns.tumour(posterior.mean)
    unit = np.eye(unknowns.size)
    rows = {
        "infiltration_length": (tumour.infiltration_length, "mm", 0.5 * (unit[0] - unit[2])),
        "front_speed": (tumour.front_speed, "mm/day", 0.5 * (unit[0] + unit[2])),
        "growth_since_onset": (tumour.proliferation * (unknowns.first_day - tumour.onset), "1", unit[2] + unit[6]),
        "diffusion_ratio": (math.exp(posterior.mean[1]), "1", unit[1]),
    }
    return {name: _quantity(name, *row, posterior) for name, row in rows.items()}


def seed_sd(unknowns: ScalarMap, posterior: Posterior) -> tuple[Vector, bool]:
    """Return the standard deviations of the seed's position (mm) and whether the data alone determine it."""
    unit = np.eye(unknowns.size)
    deviations = np.array([unknowns.seed_scale * posterior.sd(unit[k]) for k in (3, 4, 5)])
    return deviations, all(posterior.identified(unit[k], seed=True) for k in (3, 4, 5))


def _quantity(name: str, value: float, unit: str, weights: Vector, posterior: Posterior) -> Quantity:
    return Quantity(name, float(value), unit, posterior.sd(weights), posterior.identified(weights))
