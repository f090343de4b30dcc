"""Covariance of displacements along boundaries by restricted maximum likelihood (Patterson and Thompson 1971).

The likelihood of what the unknowns of the fit cannot absorb is maximised over amplitude, composition, correlation
length, independent part and correlations between sessions and regions, each with a broad prior, by Newton's method with
the average information (Gilmour, Thompson and Cullis 1995) in a trust region. The normal approximation around the mode
gives points over which a covariance is averaged, since intervals at the mode alone are too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, lapack
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from scipy.special import expit

__all__ = ["DEFAULTS", "Displacements", "Geometry", "Spread", "Values", "estimate"]

Vector = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Values:
    """What determines the covariance of displacements.

    Attributes:
        amplitude: standard deviation of the correlated displacement, mm.
        rigid: fraction of its variance that is the outward component of a displacement of the tissue, 0..1.
        length: correlation length, mm.
        nugget: standard deviation of the independent displacement of a block of median weight, mm.
        between_sessions: correlation of two sessions, 0..1.
        between_regions: correlation of two regions, 0..1.
    """

    amplitude: float
    rigid: float
    length: float
    nugget: float
    between_sessions: float
    between_regions: float

    @property
    def tau(self) -> float:
        """Standard deviation of the outward displacement, mm."""
        return self.amplitude * math.sqrt(1.0 - self.rigid)

    @property
    def transverse(self) -> float:
        """Standard deviation of each component of the tissue's displacement, mm."""
        return self.amplitude * math.sqrt(self.rigid)


# Prior medians; and the standard deviations of logarithms and log-odds around them.
DEFAULTS = Values(0.2, 0.15, 40.0, 0.07, 0.8, 0.5)
_SPREADS = np.array([0.7, 1.0, 0.5, 0.7, 1.0, 1.0])
_LOGARITHMS = (0, 2, 3)
_SESSIONS, _REGIONS = 4, 5
_START = Values(0.05, 0.15, 30.0, 0.05, 0.7, 0.4)
_MAX_ITERATIONS, _GRADIENT = 60, 1e-2


def _packed(values: Values) -> Vector:
    return np.array([math.log(v) if k in _LOGARITHMS else _odds(v) for k, v in enumerate(vars(values).values())])


def _odds(fraction: float) -> float:
    return math.log(fraction / (1.0 - fraction))


def _unpacked(t: Vector) -> Values:
    return Values(*(float(np.exp(v)) if k in _LOGARITHMS else float(expit(v)) for k, v in enumerate(t)))


@dataclass(frozen=True, eq=False)
class Geometry:
    """Pairs of blocks: distance (mm), product of the normals, and whether session or region differ; all (nb, nb)."""

    distances: Vector
    aligned: Vector
    other_session: NDArray[np.bool_]
    other_region: NDArray[np.bool_]

    def unmixed(self, values: Values) -> Vector:
        """Return the covariance of the correlated part without the factor of the normals, mm^2."""
        result = np.exp(self.distances / -values.length)
        result[self.other_session] *= values.between_sessions
        result[self.other_region] *= values.between_regions
        result *= values.amplitude**2
        return np.asarray(result)

    def correlated(self, points: Sequence[Values]) -> Vector:
        """Return the covariance of the correlated part, (nb, nb), mm^2: its mean over several values."""
        total = np.zeros_like(self.distances)
        for values in points:
            total += self.unmixed(values) * ((1.0 - values.rigid) + values.rigid * self.aligned)
        return np.asarray(total / len(points))


@dataclass(frozen=True, eq=False)
class Displacements:
    """Mean displacements of blocks of segmented boundaries from the modelled ones.

    Attributes:
        shifts: (nb,) outward displacement, mm.
        centres: (nb, d), mm.
        normals: (nb, d) mean unit normal of the modelled boundary.
        sessions: (nb,) number of the session.
        regions: (nb,) number of the region.
        weights: (nb,) squared norm of the residuals' derivative by a displacement of the block, mm.
        declared: (nb, nb) known part of the covariance, mm^2.
    """

    shifts: Vector
    centres: Vector
    normals: Vector
    sessions: Index
    regions: Index
    weights: Vector
    declared: Vector

    @property
    def median_weight(self) -> float:
        """Median weight of the blocks, mm."""
        return float(np.median(self.weights)) if len(self.weights) else 0.0

    @cached_property
    def geometry(self) -> Geometry:
        """Pairs of blocks."""
        other_session = self.sessions[:, None] != self.sessions
        other_region = self.regions[:, None] != self.regions
        distances = cdist(self.centres, self.centres)
        return Geometry(distances, self.normals @ self.normals.T, other_session, other_region)


@dataclass(frozen=True, eq=False)
class Spread:
    """Estimated values and their uncertainty.

    Attributes:
        mode: most probable values.
        points: values whose average covariance is the expected one; all of the same weight.
    """

    mode: Values
    points: tuple[Values, ...]


def estimate(blocks: Displacements, jacobians: Vector, start: Values | None = None) -> Spread | None:
    """Return the values that make the displacements most probable, None where there is no maximum.

    Args:
        blocks: the displacements.
        jacobians: (nb, n) their derivative by the unknowns of the fit, times the weights.
        start: values to start from.
    """
    likelihood = _Likelihood.of(blocks, jacobians)
    active = likelihood.active
    t = _packed(_START if start is None else start)
    settings = {"gtol": _GRADIENT, "maxiter": _MAX_ITERATIONS, "max_trust_radius": 2.0}
    try:
        found = minimize(
            lambda a: likelihood.at(a).value,
            t[active],
            jac=lambda a: likelihood.at(a).gradient,
            hess=lambda a: likelihood.at(a).information,
            method="trust-exact",
            options=settings,
        )
    except np.linalg.LinAlgError:
        return None
    if not (found.success or np.abs(found.jac).max() < 10.0 * _GRADIENT):
        return None
    variances, directions = np.linalg.eigh(np.linalg.inv(likelihood.at(found.x).information))
    steps = np.sqrt(len(active) * variances) * directions
    points = [likelihood.values(found.x + sign * step) for step in steps.T for sign in (1.0, -1.0)]
    return Spread(likelihood.values(found.x), tuple(points))


@dataclass(frozen=True)
class _Local:
    """Minus the logarithm of the restricted likelihood and of the prior at one point."""

    value: float
    gradient: Vector
    information: Vector


@dataclass(frozen=True, eq=False)
class _Likelihood:
    """Minus the logarithm of restricted likelihood and prior as a function of the packed values that matter."""

    geometry: Geometry
    shifts: Vector
    declared: Vector
    basis: Vector  # orthonormal, of what the unknowns can absorb
    noise: Vector  # (nb,) variance of the independent part for a nugget of 1 mm
    active: list[int]
    _known: dict[bytes, _Local] = field(default_factory=dict)

    @classmethod
    def of(cls, blocks: Displacements, jacobians: Vector) -> _Likelihood:
        moves = jacobians / blocks.weights[:, None]
        lengths = np.linalg.norm(moves, axis=0)
        left, values, _ = np.linalg.svd(moves / np.where(lengths > 0.0, lengths, 1.0), full_matrices=False)
        basis = left[:, values > 1e-6 * values.max(initial=0.0)]
        active = [0, 1, 2, 3]
        active += [_SESSIONS] * (len(np.unique(blocks.sessions)) > 1) + [_REGIONS] * (
            len(np.unique(blocks.regions)) > 1
        )
        noise = blocks.median_weight / blocks.weights
        return cls(blocks.geometry, blocks.shifts, blocks.declared, basis, noise, active)

    def values(self, a: Vector) -> Values:
        """Return the values of packed active ones; the others are those of the prior."""
        t = _packed(DEFAULTS)
        t[self.active] = a
        return _unpacked(t)

    def at(self, a: Vector) -> _Local:
        """Return value, gradient and average information."""
        key = a.tobytes()
        if key not in self._known:
            self._known.clear()
            self._known[key] = self._evaluated(a)
        return self._known[key]

    def _evaluated(self, a: Vector) -> _Local:
        values = self.values(a)
        unmixed = self.geometry.unmixed(values)
        correlated = unmixed * ((1.0 - values.rigid) + values.rigid * self.geometry.aligned)
        nugget = values.nugget**2 * self.noise
        covariance = correlated + self.declared
        covariance[np.diag_indices_from(covariance)] += nugget
        # P = V^-1 - V^-1 Q (Q' V^-1 Q)^-1 Q' V^-1 with an orthonormal basis Q of what the unknowns absorb
        factor = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
        absorbed = cho_solve((factor, True), self.basis, check_finite=False)
        inner = np.linalg.cholesky(self.basis.T @ absorbed)
        half = np.linalg.solve(inner, absorbed.T)
        inverse = lapack.dpotri(factor, lower=1)[0]
        projected = inverse + inverse.T - half.T @ half
        projected[np.diag_indices_from(projected)] -= np.diag(inverse)
        solved = projected @ self.shifts
        away = (a - _packed(DEFAULTS)[self.active]) / _SPREADS[self.active]
        value = float(
            np.log(np.diag(factor)).sum()
            + np.log(np.diag(inner)).sum()
            + 0.5 * self.shifts @ solved
            + 0.5 * away @ away
        )
        slopes = np.empty(len(self.active))
        moved = np.empty((len(solved), len(self.active)))
        for column, k in enumerate(self.active):
            # derivative of the covariance by the packed value, dense or diagonal
            change = self._change(k, values, unmixed, correlated)
            if change is None:
                diagonal = 2.0 * nugget
                moved[:, column] = diagonal * solved
                trace = float(np.diag(projected) @ diagonal)
            else:
                moved[:, column] = change @ solved
                trace = float(np.vdot(projected, change))
            slopes[column] = 0.5 * (trace - float(solved @ moved[:, column]))
        gradient = slopes + away / _SPREADS[self.active]
        information = 0.5 * moved.T @ projected @ moved + np.diag(_SPREADS[self.active] ** -2.0)
        return _Local(value, gradient, information)

    def _change(self, k: int, values: Values, unmixed: Vector, correlated: Vector) -> Vector | None:
        """Return the derivative of the covariance by packed value k; None: that of the nugget, which is diagonal."""
        geometry = self.geometry
        match k:
            case 0:
                return np.asarray(2.0 * correlated)
            case 1:
                return np.asarray(values.rigid * (1.0 - values.rigid) * unmixed * (geometry.aligned - 1.0))
            case 2:
                return np.asarray(correlated * geometry.distances / values.length)
            case 3:
                return None
            case _:
                correlation = values.between_sessions if k == _SESSIONS else values.between_regions
                other = geometry.other_session if k == _SESSIONS else geometry.other_region
                return np.asarray(np.where(other, (1.0 - correlation) * correlated, 0.0))
