"""Laplace posterior with honest errors, and what the data determine by themselves.

Residuals of a segmentation are neither independent nor of known size: neighbouring cells miss together, since model
and image err together. The information of the data is therefore the clustered sandwich `H S^-1 H` (Huber 1967; Liang
and Zeger 1986), H the Gauss-Newton matrix and S the sum over blocks of the outer products of their scores. Errors
that leave no trace in the residuals are added: a boundary drawn too far out or in as a whole, and what the
solution still moves between two meshes. The prior comes in last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncology.inverse.priors import GaussianPrior
from oncology.inverse.problem import ResidualTable
from oncology.model.cells import CellSpace

__all__ = ["Information", "Posterior", "information", "posterior"]

Vector = NDArray[np.float64]

# Largest standard deviation, from the data alone, of what counts as identified: ln units (a factor of 2 is two standard
# deviations), units of the seed scale, log-odds.
_IDENTIFIED_LOG = 0.35
_IDENTIFIED_SEED = 1.0
# A vague prior (times the prior's standard deviations) that only keeps the data's covariance finite.
_VAGUE = 100.0


@dataclass(frozen=True)
class Information:
    """Sums over all cells that the uncertainty needs.

    Attributes:
        normal: H = J' J, (n, n), mm^3.
        scores: S = sum over blocks of g g' with g = J' r of the block, (n, n), mm^6.
        boundaries: J' times the derivatives by an outward shift of each boundary and by a shift of its image, (n, k),
            mm^2.
        misfit: r' r, mm^3.
        blocks: number of blocks that hold any residual.
    """

    normal: Vector
    scores: Vector
    boundaries: Vector
    misfit: float
    blocks: int

    @property
    def noise(self) -> float:
        """The noise level s (mm^3) for which H / s has the trace of the sandwich information's inverse scale."""
        return float(np.trace(np.linalg.pinv(self.normal) @ self.scores) / len(self.normal))


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


def information(
    tables: list[ResidualTable], space: CellSpace, lower: Vector, upper: Vector, block: float = 10.0
) -> Information:
    """Sum up residual tables over cells, blocks and ranks.

    Args:
        tables: residuals and Jacobians of all observations on the cells of this rank.
        space: those cells.
        lower: lower corner of a box around the mesh, the same on every rank, mm.
        upper: upper corner, mm.
        block: edge of the blocks within which residuals may be correlated, mm.
    """
    size = tables[0].jacobian.shape[1]
    counts = np.maximum(np.ceil((upper - lower) / block).astype(int), 1)
    index = np.clip(((space.centres - lower) / block).astype(int), 0, counts - 1)
    flat = np.ravel_multi_index(tuple(index.T), tuple(counts))
    number = int(counts.prod())
    scores = np.zeros((number, size))
    sums = np.zeros((size + 1, size + 1))
    for table in tables:
        weighted = table.jacobian * table.residual[:, None]
        for k in range(size):
            scores[:, k] += np.bincount(flat, weighted[:, k], minlength=number)
        both = np.concatenate([table.jacobian, table.residual[:, None]], axis=1)
        sums += both.T @ both
    moved = np.concatenate([table.jacobian.T @ table.boundary for table in tables], axis=1)
    packed = space.total(np.concatenate([scores.ravel(), sums.ravel(), moved.ravel()]))
    ends = np.cumsum([scores.size, sums.size])
    scores, sums, moved = (
        part.reshape(whole.shape) for part, whole in zip(np.split(packed, ends), (scores, sums, moved), strict=True)
    )
    used = int((np.abs(scores).sum(axis=1) > 0.0).sum())
    correction = used / max(used - size, 1)
    return Information(sums[:-1, :-1], correction * scores.T @ scores, moved, float(sums[-1, -1]), used)


def posterior(
    mean: Vector, info: Information, prior: GaussianPrior, shift: Vector | None = None, boundary_error: float = 0.0
) -> Posterior:
    """Join the data's information with the prior.

    Args:
        mean: the estimate, (n,).
        info: sums at the estimate.
        prior: prior of the unknowns.
        shift: by how much the estimate is expected to move still under mesh refinement, (n,).
        boundary_error: standard deviation of the shifts of each segmented boundary, outwards and along each axis, mm.
    """
    scale = prior.sd
    normal = info.normal * np.outer(scale, scale)
    scores = info.scores * np.outer(scale, scale)
    # a block's score is never better known than one thousandth of the mean one: keeps null directions null
    scores = scores + 1e-3 * np.diag(np.diag(scores)) + 1e-12 * np.trace(scores) * np.eye(len(scores))
    # scores that a common shift of a boundary or the missing mesh refinement would cause
    moved = boundary_error * info.boundaries * scale[:, None]
    scores = scores + moved @ moved.T
    if shift is not None:
        moved = normal @ (shift / scale)
        scores = scores + np.outer(moved, moved)
    data = normal @ np.linalg.solve(scores, normal)
    data = 0.5 * (data + data.T)
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
