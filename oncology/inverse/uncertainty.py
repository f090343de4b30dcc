"""Gaussian posterior with the errors that model and images have, and what the data determine by themselves.

The estimate weighs cells as if their residuals were independent; they are not. Its covariance from the data alone is
therefore `H^-1 S H^-1` (Huber 1967), H the Gauss-Newton matrix and S the covariance of Jacobian times residuals: for
segmentations that of correlated displacements of their boundaries (`oncology.inverse.rims`), for other observations
that of blocks of 10 mm (Liang and Zeger 1986), and what the solution still moves between two meshes. The prior comes
in last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncology.inverse.priors import GaussianPrior
from oncology.inverse.problem import ResidualTable
from oncology.inverse.rims import RimProcess, rim_process
from oncology.model.cells import CellSpace

__all__ = ["Centring", "Information", "Posterior", "centring", "centring_value", "information", "posterior"]

Vector = NDArray[np.float64]

# Largest standard deviation, from the data alone, of what counts as identified: ln units (a factor of 2 is two standard
# deviations), units of the seed scale, log-odds.
_IDENTIFIED_LOG = 0.35
_IDENTIFIED_SEED = 1.0
# A vague prior (times the prior's standard deviations) that only keeps the data's covariance finite.
_VAGUE = 100.0
# Smallest eigenvalue of H that counts, as a fraction of the largest.
_UNSEEN = 1e-10
# Edge of the blocks within which residuals of other observations than segmentations may be correlated, mm.
_BLOCK = 10.0


@dataclass(frozen=True)
class Information:
    """Sums over all cells that the uncertainty needs, the same on every rank.

    Attributes:
        normal: H = J' J, (n, n), mm^3.
        gradient: J' r, (n,), mm^3.
        scores: S, the covariance of J' r, (n, n), mm^6.
        misfit: r' r, mm^3.
        rims: displacement of the modelled boundaries; None where nothing is segmented.
    """

    normal: Vector
    gradient: Vector
    scores: Vector
    misfit: float
    rims: RimProcess | None

    @property
    def noise(self) -> float:
        """The noise level s (mm^3) of independent cells with the same information, `tr(S^-1 H) = tr(1 / s)`.

        Directions that move no residual do not count.
        """
        values, directions = np.linalg.eigh(self.normal)
        seen = directions[:, values > _UNSEEN * values[-1]]
        normal, scores = (seen.T @ matrix @ seen for matrix in (self.normal, self.scores))
        return float(len(normal) / np.trace(np.linalg.solve(scores, normal)))


@dataclass(frozen=True)
class Posterior:
    """Gaussian posterior of the scaled unknowns.

    Attributes:
        mean: (n,) where it is centred.
        covariance: (n, n) with the prior.
        data_covariance: (n, n) from the data alone (very large where they say nothing).
        directions: (n, n) eigenvectors of the data's information in units of the prior, as columns.
        strengths: (n,) their eigenvalues: squared ratios of prior to data standard deviation, descending.
    """

    mean: Vector
    covariance: Vector
    data_covariance: Vector
    directions: Vector
    strengths: Vector

    def sd(self, weights: Vector) -> float:
        """Return the standard deviation of `weights . x`, prior included."""
        return float(np.sqrt(weights @ self.covariance @ weights))

    def data_sd(self, weights: Vector) -> float:
        """Return the standard deviation of `weights . x` from the data alone."""
        return float(np.sqrt(weights @ self.data_covariance @ weights))

    def identified(self, weights: Vector, seed: bool = False) -> bool:
        """Tell whether the data alone determine `weights . x`."""
        return self.data_sd(weights) <= (_IDENTIFIED_SEED if seed else _IDENTIFIED_LOG)


def information(tables: list[ResidualTable], space: CellSpace, edge: float = 6.0) -> Information:
    """Sum up residual tables over cells and ranks, and estimate their errors (collective).

    Args:
        tables: residuals and Jacobians of all observations on the cells of this rank.
        space: those cells.
        edge: edge of the blocks in which displacements of boundaries are averaged, mm.
    """
    size = tables[0].jacobian.shape[1]
    sums = np.zeros((2, size + 1, size + 1))
    for table in tables:
        both = np.concatenate([table.jacobian, table.residual[:, None]], axis=1)
        sums[0 if table.boundary is None else 1] += both.T @ both
    sums = space.total(sums)
    total, segmented = sums.sum(axis=0), sums[1, :-1, :-1]
    others = [table for table in tables if table.boundary is None]
    scores = np.zeros((size, size))
    if others:
        scores += _clustered(others, space)
    rims = None
    if len(others) < len(tables):
        rims = rim_process([table for table in tables if table.boundary is not None], space, edge)
        # what no displacement of a boundary explains counts as independent from cell to cell
        scores += rims.scores + rims.noise * segmented
    return Information(total[:-1, :-1], total[:-1, -1], scores, float(total[-1, -1]), rims)


def _clustered(tables: list[ResidualTable], space: CellSpace) -> Vector:
    """Return the sum over blocks of the outer products of their scores J' r, with the factor of few blocks."""
    size = tables[0].jacobian.shape[1]
    flat, number = space.blocks(_BLOCK)
    blocks = np.zeros((number, size))
    for table in tables:
        weighted = table.jacobian * table.residual[:, None]
        for k in range(size):
            blocks[:, k] += np.bincount(flat, weighted[:, k], minlength=number)
    blocks = space.total(blocks)
    used = int((np.abs(blocks).sum(axis=1) > 0.0).sum())
    scores = used / max(used - size, 1) * blocks.T @ blocks
    # never better known than one thousandth of the mean one: keeps directions without data what they are
    return np.asarray(scores + 1e-3 * np.diag(np.diag(scores)))


def posterior(mean: Vector, info: Information, prior: GaussianPrior, offsets: Vector | None = None) -> Posterior:
    """Join the data's information with the prior.

    Args:
        mean: the estimate, (n,).
        info: sums at the estimate.
        prior: prior of the unknowns.
        offsets: what mesh and tissue maps may put the estimate off by, an independent error in each row, (m, n).
    """
    scale = prior.sd
    data = _data_information(info, scale, offsets)
    strengths, directions = np.linalg.eigh(data)
    unit = np.eye(len(data))
    covariance = np.linalg.inv(data + unit)
    alone = np.linalg.inv(data + unit / _VAGUE**2)
    return Posterior(
        mean=mean,
        covariance=covariance * np.outer(scale, scale),
        data_covariance=alone * np.outer(scale, scale),
        directions=directions[:, ::-1],
        strengths=np.maximum(strengths[::-1], 0.0),
    )


def _data_information(info: Information, scale: Vector, offsets: Vector | None) -> Vector:
    """Return H S^-1 H in units of the prior's standard deviations, (n, n)."""
    normal = info.normal * np.outer(scale, scale)
    scores = _scaled_scores(info, scale, offsets)
    data = normal @ np.linalg.solve(scores, normal)
    return np.asarray(0.5 * (data + data.T))


def _scaled_scores(info: Information, scale: Vector, offsets: Vector | None) -> Vector:
    """Return S in units of the prior's standard deviations, with what mesh and tissue maps cause."""
    scores = info.scores * np.outer(scale, scale)
    scores = scores + 1e-12 * np.trace(scores) * np.eye(len(scores))
    if offsets is not None:
        moved = scale[:, None] * (info.normal @ offsets.T)
        scores = scores + moved @ moved.T
    return np.asarray(scores)


@dataclass(frozen=True)
class Centring:
    """Where the posterior is centred, seen from an estimate that weighed cells as independent.

    Attributes:
        step: (n,) Newton step to the minimum of `1/2 u' S^-1 u + 1/2 (x - mean)' P^-1 (x - mean)`, u = J' r.
        value: that function at the estimate.
        reach: largest entry of the step in posterior standard deviations.
    """

    step: Vector
    value: float
    reach: float


def centring(x: Vector, info: Information, prior: GaussianPrior, offsets: Vector | None = None) -> Centring:
    """Return the step from an estimate to the posterior mean with the weights of its covariance.

    In directions that the data determine well it is next to nothing. Where prior and data compete, the covariance of
    correlated residuals gives the data less weight than a sum over independent cells does.

    Args:
        x: the estimate, (n,).
        info: sums there.
        prior: prior of the unknowns.
        offsets: what mesh and tissue maps may put the estimate off by, an independent error in each row, (m, n).
    """
    scale = prior.sd
    data = _data_information(info, scale, offsets)
    away = (x - prior.mean) / scale
    weighted = np.linalg.solve(_scaled_scores(info, scale, offsets), scale * info.gradient)
    total = data + np.eye(len(x))
    step = -np.linalg.solve(total, scale * (info.normal @ (scale * weighted)) + away)
    sd = np.sqrt(np.diag(np.linalg.inv(total)))
    value = centring_value(x, info.gradient, info, prior, offsets)
    return Centring(scale * step, value, float(np.abs(step / sd).max()))


def centring_value(
    x: Vector, gradient: Vector, info: Information, prior: GaussianPrior, offsets: Vector | None = None
) -> float:
    """Return `1/2 u' S^-1 u + 1/2 (x - mean)' P^-1 (x - mean)` at any x, with S of an estimate.

    Args:
        x: where, (n,).
        gradient: u = J' r there, (n,).
        info: sums at the estimate.
        prior: prior of the unknowns.
        offsets: what mesh and tissue maps may put the estimate off by, an independent error in each row, (m, n).
    """
    scaled = prior.sd * gradient
    return prior.value(x) + 0.5 * float(scaled @ np.linalg.solve(_scaled_scores(info, prior.sd, offsets), scaled))
