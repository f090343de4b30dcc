"""What every recovery is measured by: estimate and posterior of a fitted case against the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from oncology.inverse.estimate import Quantity, combinations, parameter_quantities
from oncology.inverse.fit import CaseFit


@dataclass(frozen=True)
class Truth:
    """Values a tumour was grown with: mm^2/day, 1/day, mm."""

    diffusion_white: float
    proliferation: float
    seed: tuple[float, float, float]

    @property
    def front_speed(self) -> float:
        return 2.0 * math.sqrt(self.diffusion_white * self.proliferation)


@dataclass(frozen=True)
class Limits:
    """Largest errors: relative, of the seed in mm; smallest Dice of a compartment of at least 10 mL."""

    diffusion_white: float = 0.05
    proliferation: float = 0.03
    front_speed: float = 0.03
    seed: float = 0.75
    dice: float = 0.95


def quantities(fit: CaseFit) -> dict[str, Quantity]:
    """Parameters and combinations with their intervals."""
    return {
        **parameter_quantities(fit.unknowns, fit.posterior),
        **combinations(fit.unknowns, fit.posterior),
    }


def dice(fit: CaseFit) -> dict[tuple[int, str], tuple[float, float]]:
    """Overlap of cell fractions `2 int min(f, m) / int (f + m)` and scanned volume in mL, by session and region."""
    space, densities = fit.level.space, fit.course.run.densities
    found = {}
    for observation in fit.level.masks:
        corners = space.to_cells(densities[observation.index])
        model, mask = observation.predict(corners, observation.level, None)[0], observation.fractions
        sums = space.total(space.volumes @ np.stack([2.0 * np.minimum(model, mask), model + mask, mask], axis=1))
        found[observation.index, observation.region] = (float(sums[0] / sums[1]), float(sums[2]) / 1000.0)
    return found


def assert_recovered(fit: CaseFit, truth: Truth, limits: Limits) -> None:
    """Errors within the limits, and the truth inside the 95 % intervals of D_w, rho and the front speed."""
    found = quantities(fit)
    assert fit.identified.converged
    for name in ("diffusion_white", "proliferation", "front_speed"):
        quantity, true = found[name], getattr(truth, name)
        assert abs(quantity.value / true - 1.0) <= getattr(limits, name), (name, quantity.value)
        low, high = quantity.interval
        assert low <= true <= high, (name, quantity)
        assert quantity.identified, name
    seed = np.array(fit.tumour.seed)
    assert np.linalg.norm(seed - truth.seed) <= limits.seed, seed
    for compartment, (overlap, volume) in dice(fit).items():
        assert overlap >= limits.dice or volume < 10.0, compartment
    lowest, highest = fit.course.run.extremes
    assert -1e-3 <= lowest and highest <= 1.0 + 1e-3
