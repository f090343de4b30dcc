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

__all__ = ["TRACER", "Parametrisation", "Prior"]

Vector = NDArray[np.float64]

# Region name of tracer images (FET-PET), which are linear in the density.
TRACER = "tracer"

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
        tracer: whether tracer images are observed, whose scale is then unknown.
        seed_scale: unit of the seed's coordinates in x, mm.
    """

    first_day: float
    thresholds: tuple[str, ...] = ()
    tracer: bool = False
    seed_scale: float = 3.0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the entries of x."""
        levels = [f"threshold_{name}" for name in self.thresholds] + ["ln_tracer_scale"] * self.tracer
        return (*_SCALARS, "seed_x", "seed_y", "seed_z", "ln_duration", *levels)

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
        scale = [0.0] * self.tracer
        return np.array([*logs, *(np.asarray(seed) / self.seed_scale), np.log(self.first_day - onset), *odds, *scale])

    def physical(self, x: Vector) -> Vector:
        """Return the physical parameters in the order of `oncology.model.cells.PARAMETERS`."""
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

    def level_column(self, region: str) -> int | None:
        """Return the index in x of a region's threshold or of the tracer's scale, None where it is given."""
        if region == TRACER:
            return 7 + len(self.thresholds) if self.tracer else None
        return 7 + self.thresholds.index(region) if region in self.thresholds else None

    def level(self, x: Vector, region: str, given: float) -> tuple[float, float]:
        """Return a region's rim threshold, or the tracer's scale, and its derivative by its entry of x."""
        column = self.level_column(region)
        if column is None:
            return given, 0.0
        if region == TRACER:
            scale = given * float(np.exp(x[column]))
            return scale, scale
        threshold = float(1.0 / (1.0 + np.exp(-x[column])))
        return threshold, threshold * (1.0 - threshold)
