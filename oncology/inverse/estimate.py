"""What an identification means in physical units: values, deviations, intervals, and what the data cannot tell.

Logarithms are normal in the posterior, so intervals of positive quantities are `value * exp(+- 1.96 sd_log)`. A value
counts as identified if the data alone determine it (`Posterior.identified`); otherwise it comes from the prior, and
the combinations that the data do determine are reported beside it (B4.5 of the specification).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncology.inverse.parameters import Parametrisation
from oncology.inverse.uncertainty import Posterior

__all__ = ["Quantity", "combinations", "parameter_quantities", "seed_sd"]

Vector = NDArray[np.float64]

_NORMAL_95 = 1.959964


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
        factor = math.exp(_NORMAL_95 * self.sd_log)
        return self.value / factor, self.value * factor


def parameter_quantities(parametrisation: Parametrisation, posterior: Posterior) -> dict[str, Quantity]:
    """Return D_w, D_g, rho and the duration (day, from onset to the first session or treatment)."""
    values = parametrisation.physical(posterior.mean)
    unit = np.eye(parametrisation.size)
    rows = {
        "diffusion_white": (values[0], "mm^2/day", unit[0]),
        "diffusion_grey": (values[1], "mm^2/day", unit[0] + unit[1]),
        "proliferation": (values[2], "1/day", unit[2]),
        "duration": (parametrisation.first_day - values[6], "day", unit[6]),
    }
    return {name: _quantity(name, *row, posterior) for name, row in rows.items()}


def combinations(parametrisation: Parametrisation, posterior: Posterior) -> dict[str, Quantity]:
    """Return the combinations that segmentations determine best: front width, front speed, growth since onset."""
    white, _, growth, *_, onset = parametrisation.physical(posterior.mean)[:7]
    unit = np.eye(parametrisation.size)
    rows = {
        "infiltration_length": (math.sqrt(white / growth), "mm", 0.5 * (unit[0] - unit[2])),
        "front_speed": (2.0 * math.sqrt(white * growth), "mm/day", 0.5 * (unit[0] + unit[2])),
        "growth_since_onset": (growth * (parametrisation.first_day - onset), "1", unit[2] + unit[6]),
        "diffusion_ratio": (math.exp(posterior.mean[1]), "1", unit[1]),
    }
    return {name: _quantity(name, *row, posterior) for name, row in rows.items()}


def seed_sd(parametrisation: Parametrisation, posterior: Posterior) -> tuple[Vector, bool]:
    """Return the standard deviations of the seed's position (mm) and whether the data alone determine it."""
    unit = np.eye(parametrisation.size)
    deviations = np.array([parametrisation.seed_scale * posterior.sd(unit[k]) for k in (3, 4, 5)])
    return deviations, all(posterior.identified(unit[k], seed=True) for k in (3, 4, 5))


def _quantity(name: str, value: float, unit: str, weights: Vector, posterior: Posterior) -> Quantity:
    return Quantity(name, float(value), unit, posterior.sd(weights), posterior.identified(weights))
