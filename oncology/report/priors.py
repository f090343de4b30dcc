"""Prior beside posterior: where a value comes from the prior, and where the scans move it but leave it open.

Both are Gaussian in the scaled unknowns of `estimate.json` (`prior`, `posterior`); a parameter is a sum of those.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from oncology.inverse.estimate import NORMAL_95
from oncology.results.schema import Estimate

__all__ = ["Source", "Update", "physical", "sources", "updates"]

Source = Literal["scans", "little", "prior"]

AGREE = 0.6745  # prior standard deviations: the value lies in the middle half of the prior
# Weights of the scaled unknowns; combinations by the first words of their names.
SUMS = {
    "diffusion_white": {"ln_diffusion_white": 1.0},
    "diffusion_grey": {"ln_diffusion_white": 1.0, "ln_diffusion_ratio": 1.0},
    "proliferation": {"ln_proliferation": 1.0},
    "seed_radius": {"ln_seed_radius": 1.0},
    "onset": {"ln_duration": 1.0},
    "infiltration length": {"ln_diffusion_white": 0.5, "ln_proliferation": -0.5},
    "front speed": {"ln_diffusion_white": 0.5, "ln_proliferation": 0.5},
    "growth since onset": {"ln_proliferation": 1.0, "ln_duration": 1.0},
    "diffusion ratio": {"ln_diffusion_ratio": 1.0},
}


@dataclass(frozen=True)
class Update:
    """What the scans change of a parameter: both distributions of its logarithm (of the duration, for the onset).

    Attributes:
        prior: mean and standard deviation before the scans.
        posterior: the same after them.
    """

    prior: tuple[float, float]
    posterior: tuple[float, float]

    @property
    def moved(self) -> float:
        """How far the scans move the value, in standard deviations of the prior."""
        return abs(self.posterior[0] - self.prior[0]) / self.prior[1]

    @property
    def ends(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The 95 % intervals of prior and posterior, seen from the posterior's mean."""
        middle = self.posterior[0]
        before, after = (
            (mean - middle - NORMAL_95 * sd, mean - middle + NORMAL_95 * sd)
            for mean, sd in (self.prior, self.posterior)
        )
        return before, after


def updates(estimate: Estimate) -> dict[str, Update]:
    """Return the change of parameters and combinations (`SUMS`), as far as the file holds prior and posterior."""
    names, prior = list(estimate.posterior.get("names", ())), estimate.prior
    if not {"mean", "covariance"} <= estimate.posterior.keys() or not isinstance(prior, Mapping):
        return {}
    mean, covariance = (np.array(estimate.posterior[key], dtype=float) for key in ("mean", "covariance"))
    found = {}
    for name, sums in SUMS.items():
        if not all(unknown in names and unknown in prior for unknown in sums):
            continue
        weights = np.array([sums.get(unknown, 0.0) for unknown in names])
        before = [(weight, prior[unknown]) for unknown, weight in sums.items()]
        found[name] = Update(
            (
                sum(weight * entry["mean"] for weight, entry in before),
                math.hypot(*(weight * entry["sd"] for weight, entry in before)),
            ),
            (float(weights @ mean), math.sqrt(float(weights @ covariance @ weights))),
        )
    return found


def sources(estimate: Estimate) -> dict[str, Source]:
    """Return where each parameter's value comes from: the scans, the prior, or the scans with little precision.

    The seed comes from the scans where those of all foci do.
    """
    changes = updates(estimate)
    found: dict[str, Source] = {}
    for name, parameter in estimate.parameters.items():
        change = changes.get(name)
        contradicted = change is not None and change.moved > AGREE
        known = parameter.identified and (name != "seed" or all(entry.identified for entry in estimate.foci))
        found[name] = "scans" if known else "little" if contradicted else "prior"
    return found


def physical(estimate: Estimate, name: str, logarithm: float) -> float:
    """Return a parameter in its unit from its logarithm (of the duration, for the onset)."""
    number = math.exp(logarithm)
    return float(estimate.posterior["first_day"]) - number if name == "onset" else number
