"""Gaussian posterior of any unknowns around the optimum: `(H + R)^-1` with the Gauss-Newton matrix H of the data.

Only directions that the data know better than the prior change: with `H v = lambda R v`, the covariance is
`R^-1 - V diag(lambda / (1 + lambda)) V'` (Bui-Thanh, Ghattas, Martin and Stadler 2013). A few scalars take the
correlated errors of `oncology.inverse.uncertainty`, as a fit does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oncology.inverse.priors import GaussianPrior
from oncology.inverse.problem import InverseProblem, residual_tables
from oncology.inverse.solve import Solution
from oncology.inverse.uncertainty import Posterior, information, posterior
from oncology.optimise.newton import leading_modes

__all__ = ["DensePosterior", "LowRankPosterior", "laplace", "standard_normal"]

Vector = NDArray[np.float64]

_PROBES = 200
# A logarithm counts as identified where the data left a quarter of the prior's variance, and a factor of 2 at 95 %.
_RATIO, _SD = 0.25, 0.35


@dataclass(frozen=True, eq=False)
class DensePosterior:
    """Posterior of a few scalars, which every rank holds.

    Attributes:
        mean: (n,) optimum.
        spread: covariance, and what the data say alone.
    """

    mean: Vector
    spread: Posterior

    def sd(self) -> Vector:
        """Return the standard deviations, (n,)."""
        return np.sqrt(np.diag(self.spread.covariance))

    @property
    def identified(self) -> NDArray[np.bool_]:
        """Which entries the data alone determine, (n,)."""
        return np.array([self.spread.identified(unit) for unit in np.eye(len(self.mean))])

    def sample(self, count: int, seed: int = 0) -> Vector:
        """Return draws, (count, n), the same on every rank."""
        values, directions = np.linalg.eigh(self.spread.covariance)
        noise = np.random.default_rng(seed).standard_normal((count, len(self.mean)))
        return np.asarray(self.mean + noise @ (directions * np.sqrt(np.maximum(values, 0.0))).T)


@dataclass(frozen=True, eq=False)
class LowRankPosterior:
    """Posterior of scalars and fields; vectors are this rank's part.

    Attributes:
        problem: whose optimum it surrounds.
        mean: (n,) optimum.
        eigenvalues: (k,) of `H v = lambda R v`, descending: prior over data variance along each direction.
        modes: (n, k) their directions, orthonormal in R.
    """

    problem: InverseProblem = field(repr=False)
    mean: Vector = field(repr=False)
    eigenvalues: Vector
    modes: Vector = field(repr=False)

    @property
    def effective_dimension(self) -> float:
        """Number of directions that the data determine, `sum lambda / (1 + lambda)`."""
        return float((self.eigenvalues / (1.0 + self.eigenvalues)).sum())

    def prior_variance(self, seed: int = 0) -> Vector:
        """Return the prior's pointwise variance, (n,): exact for scalars, of 200 draws for fields (10 % error)."""
        prior = self.problem.map.prior
        squares = np.zeros_like(self.mean)
        for number in range(_PROBES):
            squares += prior.sample(self._noise(seed, number)) ** 2
        variance = squares / _PROBES
        count = len(variance) if prior.replicated is None else prior.replicated
        for k in range(count):
            unit = np.zeros_like(variance)
            unit[k] = 1.0
            variance[k] = prior.covariance(unit)[k]
        return variance

    def sd(self, seed: int = 0) -> Vector:
        """Return the pointwise standard deviations, (n,)."""
        known = self.modes**2 @ (self.eigenvalues / (1.0 + self.eigenvalues))
        return np.asarray(np.sqrt(np.maximum(self.prior_variance(seed) - known, 0.0)))

    @property
    def identified(self) -> NDArray[np.bool_]:
        """At which entries the data determine the unknown, (n,)."""
        sd = self.sd()
        return np.asarray((sd**2 <= _RATIO * self.prior_variance()) & (sd <= _SD))

    def sample(self, count: int, seed: int = 0) -> Vector:
        """Return draws of this rank's unknowns, (count, n), the same for any number of ranks."""
        prior, problem = self.problem.map.prior, self.problem
        shrink = 1.0 - 1.0 / np.sqrt(1.0 + self.eigenvalues)
        draws = []
        for number in range(count):
            draw = prior.sample(self._noise(seed, number))
            dual = prior.precision(draw)
            along = np.array([problem.dot(dual, mode) for mode in self.modes.T])
            draws.append(self.mean + draw - self.modes @ (shrink * along))
        return np.array(draws)

    def _noise(self, seed: int, number: int) -> Vector:
        return standard_normal(self.problem, seed, number)


def standard_normal(problem: InverseProblem, seed: int, number: int) -> Vector:
    """Return standard normal numbers for this rank's unknowns that do not depend on the number of ranks."""
    size, count, space = len(problem.map.start), problem.map.prior.replicated, problem.space
    random = np.random.default_rng([seed, number])
    if count is None:
        return random.standard_normal(size)
    scalars = random.standard_normal(count)
    owned = len(space.owned)
    parts = [scalars]
    for _ in range((size - count) // owned):
        parts.append(random.standard_normal(space.vertex_count)[space.vertex_numbers])
    return np.concatenate(parts)


def laplace(
    problem: InverseProblem, solution: Solution, modes: int = 60, seed: int = 0
) -> DensePosterior | LowRankPosterior:
    """Return the posterior around a solution (collective).

    Args:
        problem: that was solved (`solution` holds it with the noise level that was measured).
        solution: its optimum.
        modes: most products with the curvature of the data, where there are fields.
        seed: of the first direction of Lanczos.
    """
    # the solution knows the noise level of its residuals
    here, problem = solution.here, solution.here.problem
    prior = problem.map.prior
    if isinstance(prior, GaussianPrior):
        info = information(residual_tables(here), problem.space)
        return DensePosterior(solution.x, posterior(solution.x, info, prior))
    start = prior.covariance(standard_normal(problem, seed, 0))
    values, vectors = leading_modes(here.data_normal, prior.precision, prior.covariance, problem.dot, start, modes)
    kept = values > 1e-3
    return LowRankPosterior(problem, solution.x, values[kept], vectors[:, kept])
