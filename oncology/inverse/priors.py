"""Gaussian priors of unknowns: value, gradient, precision, covariance and samples.

A prior is known by its precision R: `value = 1/2 (x - mean)' R (x - mean)`. Scalars have independent deviations,
fields an operator (`MaternPrior`); both act on this rank's part of a vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["EllipticSolver", "GaussianPrior", "MaternPrior", "Prior", "StackedPrior", "Tikhonov", "matern_coefficients"]

Vector = NDArray[np.float64]


class Prior(Protocol):
    """A Gaussian prior; dual vectors are derivatives, and sums over ranks are left to whoever needs them."""

    @property
    def mean(self) -> Vector:
        """Prior mean of this rank's unknowns, (n,)."""

    @property
    def replicated(self) -> int | None:
        """Number of leading entries that every rank holds; None: all of them."""

    def precision(self, v: Vector) -> Vector:
        """Return R v, a dual vector."""

    def covariance(self, dual: Vector) -> Vector:
        """Return R^-1 applied to a dual vector."""

    def sample(self, noise: Vector) -> Vector:
        """Return a draw with mean zero from standard normal numbers (n,)."""


@dataclass(frozen=True, eq=False)
class GaussianPrior:
    """Independent Gaussian prior of scalars, which every rank holds.

    Attributes:
        mean: (n,) prior mean.
        sd: (n,) prior standard deviation.
    """

    mean: Vector
    sd: Vector

    @property
    def replicated(self) -> int | None:
        """All entries."""
        return None

    def value(self, x: Vector) -> float:
        """Return half the squared distance from the mean in standard deviations."""
        return 0.5 * float((((x - self.mean) / self.sd) ** 2).sum())

    def gradient(self, x: Vector) -> Vector:
        """Return the derivative of `value`."""
        return np.asarray((x - self.mean) / self.sd**2)

    @property
    def matrix(self) -> Vector:
        """R, (n, n)."""
        return np.diag(self.sd**-2.0)

    def precision(self, v: Vector) -> Vector:
        """Return R v."""
        return np.asarray(v / self.sd**2)

    def covariance(self, dual: Vector) -> Vector:
        """Return R^-1 dual."""
        return np.asarray(dual * self.sd**2)

    def sample(self, noise: Vector) -> Vector:
        """Return sd times standard normal numbers."""
        return np.asarray(self.sd * noise)


class EllipticSolver(Protocol):
    """`A = g K + c M_L + b S` on an engine's mesh: unit stiffness, lumped mass, mass of the boundary."""

    @property
    def lumped_mass(self) -> Vector:
        """(n,) lumped mass of the owned vertices, mm^d."""

    def apply(self, values: Vector) -> Vector:
        """Return A values, a dual vector."""

    def solve(self, dual: Vector) -> Vector:
        """Return A^-1 dual."""

    def destroy(self) -> None:
        """Free what it holds (collective)."""


@dataclass(frozen=True, eq=False)
class MaternPrior:
    """Matern prior of a field with the precision `R = A M_L^-1 A` (Lindgren, Rue and Lindstroem 2011).

    Attributes:
        mean: (n,) prior mean at the owned vertices.
        operator: A.
    """

    mean: Vector
    operator: EllipticSolver

    @property
    def replicated(self) -> int | None:
        """None of the entries."""
        return 0

    def precision(self, v: Vector) -> Vector:
        """Return R v."""
        return self.operator.apply(self.operator.apply(v) / self.operator.lumped_mass)

    def covariance(self, dual: Vector) -> Vector:
        """Return R^-1 dual: two solves with A."""
        return self.operator.solve(self.operator.lumped_mass * self.operator.solve(dual))

    def sample(self, noise: Vector) -> Vector:
        """Return `A^-1 M_L^1/2 noise`."""
        return self.operator.solve(np.sqrt(self.operator.lumped_mass) * noise)


@dataclass(frozen=True, eq=False)
class Tikhonov:
    """Tikhonov term `weight/2 (x, A x)` of a field, or none: improper where the weight is zero.

    Attributes:
        mean: (n,) zeros.
        weight: alpha.
        operator: x -> A x as a dual vector.
    """

    mean: Vector
    weight: float = 0.0
    operator: Callable[[Vector], Vector] | None = None

    @property
    def replicated(self) -> int | None:
        """None of the entries."""
        return 0

    def precision(self, v: Vector) -> Vector:
        """Return alpha A v."""
        return np.zeros_like(v) if self.operator is None else self.weight * self.operator(v)

    def covariance(self, dual: Vector) -> Vector:
        """Return the dual vector itself: this term preconditions nothing."""
        return dual

    def sample(self, noise: Vector) -> Vector:
        """Return zeros: there is no distribution to draw from."""
        return np.zeros_like(noise)


@dataclass(frozen=True, eq=False)
class StackedPrior:
    """Independent priors of the parts of a vector.

    Attributes:
        parts: the priors, in order.
    """

    parts: tuple[Prior, ...]

    @property
    def mean(self) -> Vector:
        """Means of all parts."""
        return np.concatenate([part.mean for part in self.parts])

    @property
    def replicated(self) -> int | None:
        """Number of leading entries that every rank holds.

        Raises:
            ValueError: replicated entries come after distributed ones.
        """
        count, ended = 0, False
        for part in self.parts:
            own = len(part.mean) if part.replicated is None else part.replicated
            if ended and own:
                raise ValueError("unknowns that every rank holds must come before fields: write Scalars() + Field(...)")
            count, ended = count + own, ended or own < len(part.mean)
        return count

    def precision(self, v: Vector) -> Vector:
        """Return R v."""
        return np.concatenate([part.precision(own) for part, own in self._pairs(v)])

    def covariance(self, dual: Vector) -> Vector:
        """Return R^-1 dual."""
        return np.concatenate([part.covariance(own) for part, own in self._pairs(dual)])

    def sample(self, noise: Vector) -> Vector:
        """Return a draw of all parts."""
        return np.concatenate([part.sample(own) for part, own in self._pairs(noise)])

    def _pairs(self, v: Vector) -> list[tuple[Prior, Vector]]:
        ends = np.cumsum([len(part.mean) for part in self.parts])[:-1]
        return list(zip(self.parts, np.split(v, ends), strict=True))


def matern_coefficients(sd: float, length: float, dimension: int) -> tuple[float, float, float]:
    """Return (g, c, b) of `A = g K + c M_L + b S` for a pointwise standard deviation and a correlation length (mm).

    In free space the covariance is that of Matern with smoothness 2 - d/2, in three dimensions `sd^2 exp(-kappa r)`
    with `kappa = 2 / length`; the Robin coefficient `b = g kappa / 1.42` keeps the variance near the boundary down
    (Daon and Stadler 2018).

    Example:
        >>> [round(x, 6) for x in matern_coefficients(0.5, 30.0, 3)]
        [1.545097, 0.006867, 0.07254]
    """
    if dimension == 3:
        kappa = 2.0 / length
        g = (8.0 * math.pi * kappa * sd**2) ** -0.5
    elif dimension == 2:
        kappa = math.sqrt(8.0) / length
        g = (4.0 * math.pi * kappa**2 * sd**2) ** -0.5
    else:
        # smoothness 3/2: variance 1 / (4 g^2 kappa^3)
        kappa = math.sqrt(12.0) / length
        g = (4.0 * kappa**3 * sd**2) ** -0.5
    return g, kappa**2 * g, g * kappa / 1.42
