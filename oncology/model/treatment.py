"""Treatments and their days: radiotherapy, chemotherapy, resection.

Radiotherapy multiplies the density by the surviving fraction of the linear-quadratic law at each fraction, chemotherapy
adds a kill rate that decays exponentially, and a resection empties a cavity. Days are those of the case's sessions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Chemotherapy", "Radiotherapy", "Resection", "Treatment"]


@dataclass(frozen=True)
class Radiotherapy:
    """Fractionated radiotherapy: u -> S u at each fraction, S = exp(-alpha d (1 + d / alpha_beta)).

    Linear-quadratic law (Fowler 1989; Rockne et al. 2010), d the dose of one fraction. Fractions are given one a day
    on five days, then two days of rest, from `day` on.

    Attributes:
        day: day of the first fraction, in the time of the case's sessions.
        dose_gy: total dose, Gy.
        fractions: number of equal fractions.
        alpha: linear radiosensitivity, 1/Gy.
        alpha_beta: ratio alpha / beta, Gy.
    """

    day: float
    dose_gy: float
    fractions: int
    alpha: float = 0.04
    alpha_beta: float = 10.0

    @property
    def survival(self) -> float:
        """Surviving fraction of one fraction, dimensionless."""
        dose = self.dose_gy / self.fractions
        return math.exp(-self.alpha * dose * (1.0 + dose / self.alpha_beta))

    @property
    def days(self) -> tuple[float, ...]:
        """Days of the fractions, day."""
        return tuple(self.day + 7.0 * (k // 5) + k % 5 for k in range(self.fractions))


@dataclass(frozen=True)
class Chemotherapy:
    """Chemotherapy: du/dt = ... - k(t) u with k(t) = rate 2^(-(t - day)/half_life) from `day` on.

    Attributes:
        day: day of administration.
        rate: initial kill rate, 1/day.
        half_life: half-life of the kill rate, day.
    """

    day: float
    rate: float
    half_life: float

    def exposure(self, start: float, end: float) -> float:
        """Return the integral of k(t) over [start, end] (days), dimensionless."""
        decay = math.log(2.0) / self.half_life
        first, last = max(start, self.day) - self.day, max(end, self.day) - self.day
        return self.rate / decay * (math.exp(-decay * first) - math.exp(-decay * last))


@dataclass(frozen=True)
class Resection:
    """Resection: u -> 0 inside the cavity.

    Attributes:
        day: day of the operation.
        mask: NIfTI file of the cavity (1 inside); None: the core of the last session before `day` is taken out.
    """

    day: float
    mask: Path | None = None


Treatment = Radiotherapy | Chemotherapy | Resection
