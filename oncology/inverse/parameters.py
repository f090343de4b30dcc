"""Unknowns of the identification: a scaled vector x of order one, its physical meaning and its Gaussian prior.

x = (ln D_w, ln(D_g / D_w), ln rho, seed / 3 mm, ln duration) and, where rim thresholds are unknown, their log-odds.
`duration` is the time from onset to the first session or treatment. Scalings make the Gauss-Newton matrix well-
conditioned (B2.5 of the specification).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Parametrisation", "Prior"]

Vector = NDArray[np.float64]

_SCALARS = ("ln_diffusion_white", "ln_diffusion_ratio", "ln_proliferation")


@dataclass(frozen=True)
class Prior:
    """Independent Gaussian prior of the scaled unknowns.

    Attributes:
        mean: (n,) prior mean.
        sd: (n,) prior standard deviation.
    """

    mean: Vector
    sd: Vector

    def value(self, x: Vector) -> float:
        """Return half the squared distance from the mean in standard deviations."""
        return 0.5 * float((((x - self.mean) / self.sd) ** 2).sum())

    def gradient(self, x: Vector) -> Vector:
        """Return the derivative of `value`."""
        return (x - self.mean) / self.sd**2

    @property
    def precision(self) -> Vector:
        """Return the inverse covariance, (n, n)."""
        return np.diag(self.sd**-2.0)


@dataclass(frozen=True)
class Parametrisation:
    """Map between the scaled unknowns x and physical parameters.

    Attributes:
        first_day: end of the first interval of the time grid, day; the onset is `first_day - duration`.
        thresholds: names of the regions whose rim thresholds are unknown, such as ("whole", "core").
        seed_scale: unit of the seed's coordinates in x, mm.
    """

    first_day: float
    thresholds: tuple[str, ...] = ()
    seed_scale: float = 3.0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the entries of x."""
        return (
            *_SCALARS,
            "seed_x",
            "seed_y",
            "seed_z",
            "ln_duration",
            *(f"threshold_{name}" for name in self.thresholds),
        )

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return len(self.names)

    def pack(
        self,
        diffusion_white: float,
        diffusion_grey: float,
        proliferation: float,
        seed: Sequence[float] | Vector,
        onset: float,
        thresholds: Sequence[float] = (),
    ) -> Vector:
        """Return x for physical values (mm^2/day, mm^2/day, 1/day, mm, day, densities)."""
        logs = [np.log(diffusion_white), np.log(diffusion_grey / diffusion_white), np.log(proliferation)]
        odds = [np.log(value / (1.0 - value)) for value in thresholds]
        return np.array([*logs, *(np.asarray(seed) / self.seed_scale), np.log(self.first_day - onset), *odds])

    def physical(self, x: Vector) -> Vector:
        """Return the physical parameters in the order of `oncology.inverse.forward.PARAMETERS`."""
        white = np.exp(x[0])
        return np.array(
            [white, white * np.exp(x[1]), np.exp(x[2]), *(self.seed_scale * x[3:6]), self.first_day - np.exp(x[6])]
        )

    def jacobian(self, x: Vector) -> Vector:
        """Return the derivative of `physical` by x, (7, n)."""
        values = self.physical(x)
        slopes = np.zeros((7, self.size))
        slopes[0, 0], slopes[1, 0], slopes[1, 1], slopes[2, 2] = values[0], values[1], values[1], values[2]
        slopes[3, 3] = slopes[4, 4] = slopes[5, 5] = self.seed_scale
        slopes[6, 6] = -np.exp(x[6])
        return slopes

    def threshold_column(self, region: str) -> int | None:
        """Return the index in x of a region's threshold, None where it is given."""
        return 7 + self.thresholds.index(region) if region in self.thresholds else None

    def threshold(self, x: Vector, region: str, given: float) -> float:
        """Return the rim threshold of a region: the unknown one where it is estimated, else the given one."""
        column = self.threshold_column(region)
        return given if column is None else float(1.0 / (1.0 + np.exp(-x[column])))
