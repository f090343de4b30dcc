"""Which runs a surrogate is trained on: a box of similarity variables around a case's first guess, filled by Sobol.

The box is wide enough for what the segmentations leave open (length, ratio, seed, its radius, age), no wider: a
surrogate belongs to one brain and to volumes like those that were seen. A scrambled Sobol sequence (Owen 1998) fills
it, and each run gives several days, shifted from run to run, so that no reach is seen twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from oncology.errors import ConfigError
from oncology.imaging.case import Case
from oncology.inverse.start import scalar_unknowns
from oncology.model.seed import Seed
from oncology.model.tumour import Tumour
from oncology.surrogate.coordinates import SIMILARITY, similarity

__all__ = ["Domain", "PlannedRun", "domain_of", "plan_runs"]

Vector = NDArray[np.float64]

# Around the first guess: factors of the length, of the reach on the first and on the last day; D_g/D_w as it is.
_LENGTHS = (0.5, 2.0)
_REACHES = (0.75, 1.6)
_RATIOS = (0.02, 0.4)
_RADII = (4.8, 8.8)  # of the seed, mm: two deviations of its prior
_PROLIFERATION = 0.02  # 1/day; any value gives the same densities at the same similarity variables
_EASE = 0.25  # how far beyond the box, in halves of its width, its variables go before they stand still


@dataclass(frozen=True, eq=False)
class Domain:
    """A box of similarity variables.

    Attributes:
        lower: (7,), in the order of `SIMILARITY`.
        upper: (7,).

    Raises:
        ConfigError: the box is empty, or its reach not above 0.
    """

    lower: Vector
    upper: Vector

    def __post_init__(self) -> None:
        if not (np.isfinite([self.lower, self.upper]).all() and (self.lower < self.upper).all() and self.lower[-1] > 0):
            raise ConfigError(f"range from {self.lower} to {self.upper}: give a box that is not empty, reach above 0")

    def scaled(self, variables: Vector) -> Vector:
        """Return variables (..., 7) with the box as (-1, 1)."""
        return np.asarray((2.0 * variables - self.lower - self.upper) / (self.upper - self.lower))

    def eased(self, variables: Vector) -> tuple[Vector, Vector]:
        """Return what a network sees of variables (..., 7), and its derivative by each of them.

        Inside the box these are the scaled variables; outside they approach a limit, smoothly, so that nothing is
        extrapolated far and an optimiser meets no kink.
        """
        scaled = self.scaled(variables)
        beyond = np.tanh(np.maximum(np.abs(scaled) - 1.0, 0.0) / _EASE)
        inside = np.clip(scaled, -1.0, 1.0) + np.sign(scaled) * _EASE * beyond
        return inside, (1.0 - beyond**2) * 2.0 / (self.upper - self.lower)

    def beyond(self, variables: Vector, edge: float = 0.0) -> tuple[str, ...]:
        """Return the names of the variables (7,) that lie outside the box, or within `edge` (0..1) of its faces."""
        out = np.abs(self.scaled(variables)) > 1.0 - 2.0 * edge
        return tuple(name for name, is_out in zip(SIMILARITY, out, strict=True) if is_out)


@dataclass(frozen=True, eq=False)
class PlannedRun:
    """A run to simulate.

    Attributes:
        tumour: with onset on day 0.
        days: ascending, day.
    """

    tumour: Tumour
    days: Vector


def domain_of(case: Case, distance: float = 6.0) -> Domain:
    """Return the box around a case's first guesses (`inverse.start`).

    Args:
        case: the patient.
        distance: how far the seed may lie from the guesses along each axis, mm.
    """
    unknowns, starts = scalar_unknowns(case)
    guesses = [unknowns.tumour(x).values for x in starts]
    days = [session.day for session in case.sessions]
    first, last = (similarity(guesses[0], day) for day in (days[0], days[-1]))
    seeds = np.array([guess[3:6] for guess in guesses])
    lengths, ratios = first[0] + np.log(_LENGTHS), np.log(_RATIOS)
    low, high = seeds.min(axis=0) - distance, seeds.max(axis=0) + distance
    return Domain(
        np.array([lengths[0], ratios[0], *low, _RADII[0], _REACHES[0] * first[-1]]),
        np.array([lengths[1], ratios[1], *high, _RADII[1], _REACHES[1] * last[-1]]),
    )


def plan_runs(domain: Domain, count: int, frames: int, seed: int) -> list[PlannedRun]:
    """Return `count` runs that fill a box, each with `frames` days evenly spaced in reach.

    Raises:
        ConfigError: fewer than 8 runs or 2 frames.
    """
    if count < 8 or frames < 2:
        raise ConfigError(f"{count} runs of {frames} frames are too few: give at least 8 runs of 2 frames")
    # whole powers of two keep the sequence balanced; its beginning fills the box as well
    points = qmc.Sobol(len(SIMILARITY), seed=seed).random_base2(int(np.ceil(np.log2(count))))[:count]
    runs = []
    for point in points:
        length, ratio, *centre, radius = (domain.lower + point * (domain.upper - domain.lower))[:-1]
        white = float(np.exp(2.0 * length)) * _PROLIFERATION
        share = (np.arange(frames) + point[-1]) / frames
        reaches = domain.lower[-1] + share * (domain.upper[-1] - domain.lower[-1])
        place, grey = tuple(map(float, centre)), white * float(np.exp(ratio))
        tumour = Tumour(white, grey, _PROLIFERATION, place, 0.0, Seed(radius=float(radius)))
        runs.append(PlannedRun(tumour, reaches / (2.0 * np.sqrt(white * _PROLIFERATION))))
    return runs
