"""Correlated displacement of the modelled boundaries: the error of model and image, estimated from the residuals.

Where a segmented boundary lies beside the modelled one, it does so over centimetres, in all sessions and in both
regions alike. The displacement is a Gaussian process along the boundaries, of two parts: outwards with an amplitude of
its own, and the outward component of a displacement of the tissue, which can be a shift of everything. Blocks of each
boundary hold its mean displacement; their covariance is found by restricted maximum likelihood
(`oncology.inverse.reml`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from oncology.inverse.problem import Boundary, ResidualTable
from oncology.inverse.reml import DEFAULTS, Displacements, Spread, estimate
from oncology.model.cells import CellSpace

__all__ = ["RimBlocks", "RimProcess", "process_of", "rim_blocks", "rim_process"]

Vector = NDArray[np.float64]
Index = NDArray[np.int64]

_LEAST_WEIGHT = 0.02  # of a block, as a fraction of the heaviest one of its boundary: less is noise
_MOST_BLOCKS = 1500
_FEWEST_BLOCKS = 30
_TAU_RANGE = (0.01, 5.0)  # mm; beyond it the residuals do not tell the amplitude
# A rater's habit: correlation between sessions of how far a boundary is drawn outwards.
_HABIT = 0.9


@dataclass(frozen=True, eq=False)
class RimBlocks:
    """Sums over blocks of each segmented boundary, the same on every rank.

    Attributes:
        displacements: mean displacements of the blocks and where they are.
        jacobians: (nb, n) G, the derivative of the residuals' product with the shift of the block by the unknowns, mm.
        edge: edge length of the blocks, mm.
    """

    displacements: Displacements
    jacobians: Vector
    edge: float


@dataclass(frozen=True, eq=False)
class RimProcess:
    """Displacement of the modelled boundaries as a Gaussian process.

    The covariance of the displacements of two blocks at distance r with outward normals n and n' is
    `(tau^2 + transverse^2 n.n') exp(-r / length)`, times `between_sessions` and `between_regions` where they differ.

    Attributes:
        tau: standard deviation of the outward displacement, mm.
        transverse: standard deviation of each component of a displacement of the tissue, mm.
        length: correlation length, mm.
        nugget: standard deviation of the independent displacement of a block of median weight, mm.
        between_sessions: correlation of two sessions, 0..1; None for one session.
        between_regions: correlation of two regions, 0..1; None for one region.
        converged: whether the values were estimated; otherwise they are those of the prior.
        blocks: number of blocks.
        scores: (n, n) covariance of the product of Jacobian and residuals that follows, declared errors included; its
            expectation over what the residuals leave uncertain of the values above; mm^6.
        noise: variance of a residual that no displacement explains, mm^3.
    """

    tau: float
    transverse: float
    length: float
    nugget: float
    between_sessions: float | None
    between_regions: float | None
    converged: bool
    blocks: int
    scores: Vector = field(repr=False)
    noise: float = field(repr=False)


def rim_process(tables: Sequence[ResidualTable], space: CellSpace, edge: float = 6.0) -> RimProcess:
    """Estimate the displacement of the modelled boundaries from residuals (collective).

    Args:
        tables: residuals and Jacobians at the solution on the cells of this rank, at least one with a boundary.
        space: those cells.
        edge: edge length of the blocks, mm; larger ones where there would be more than 1500.
    """
    blocks = rim_blocks(tables, space, edge)
    while len(blocks.jacobians) > _MOST_BLOCKS:
        blocks = rim_blocks(tables, space, blocks.edge * 4.0 / 3.0)
    if len(blocks.jacobians) < _FEWEST_BLOCKS:
        return process_of(blocks, None)
    # larger blocks, at a sixteenth of the cost, lead close to the values
    larger = rim_blocks(tables, space, 2.0 * blocks.edge)
    start = None
    if len(larger.jacobians) >= _FEWEST_BLOCKS:
        near = estimate(larger.displacements, larger.jacobians)
        if near is not None:
            smaller = larger.displacements.median_weight / blocks.displacements.median_weight
            start = replace(near.mode, nugget=near.mode.nugget * math.sqrt(smaller))
    return process_of(blocks, estimate(blocks.displacements, blocks.jacobians, start))


def process_of(blocks: RimBlocks, spread: Spread | None) -> RimProcess:
    """Return the process with estimated values, or with those of the prior where there are none or they make no sense.

    Args:
        blocks: of the boundaries.
        spread: estimated values and their uncertainty.
    """
    if spread is not None and not (_TAU_RANGE[0] < spread.mode.tau < _TAU_RANGE[1]):
        spread = None
    mode = DEFAULTS if spread is None else spread.mode
    points = (DEFAULTS,) if spread is None else spread.points
    where, jacobians = blocks.displacements, blocks.jacobians
    covariance = where.declared + where.geometry.correlated(points)
    scores = jacobians.T @ covariance @ jacobians
    nugget = float(np.mean([values.nugget**2 for values in points]))
    several_sessions, several_regions = (len(np.unique(v)) > 1 for v in (where.sessions, where.regions))
    return RimProcess(
        tau=mode.tau,
        transverse=mode.transverse,
        length=mode.length,
        nugget=mode.nugget,
        between_sessions=mode.between_sessions if several_sessions else None,
        between_regions=mode.between_regions if several_regions else None,
        converged=spread is not None,
        blocks=len(jacobians),
        scores=0.5 * (scores + scores.T),
        noise=nugget * where.median_weight,
    )


def rim_blocks(tables: Sequence[ResidualTable], space: CellSpace, edge: float) -> RimBlocks:
    """Sum up the residuals of every boundary over blocks of a lattice and over the ranks (collective).

    Args:
        tables: residuals and Jacobians on the cells of this rank.
        space: those cells.
        edge: edge length of the blocks, mm.
    """
    flat, number = space.blocks(edge)
    every, dimension = space.centres, space.points.shape[1]
    found = []
    for table in tables:
        if (rim := table.boundary) is None:
            continue
        near = np.flatnonzero(rim.outward)
        centres, outward = every[near], rim.outward[near, None]
        columns = [outward, table.residual[near, None], rim.by_level[near, None]]
        columns += [outward * centres, rim.shifts[near], table.jacobian[near]]
        weighted = outward * np.concatenate(columns, axis=1)
        sums = np.stack([np.bincount(flat[near], column, minlength=number) for column in weighted.T], axis=1)
        found.append((rim, space.total(sums)))
    parts, rims = [], []
    for rim, sums in found:
        weights = sums[:, 0]
        kept = np.flatnonzero(weights > max(_LEAST_WEIGHT * weights.max(), 0.0))
        parts.append(sums[kept])
        rims += [rim] * len(kept)
    rows = np.concatenate(parts) if parts else np.zeros((0, 3))
    weights = rows[:, 0]
    means = rows[:, : 3 + 2 * dimension] / weights[:, None]
    names = sorted({rim.region for rim, _ in found})
    sessions = np.array([rim.session for rim in rims], dtype=int)
    regions = np.array([names.index(rim.region) for rim in rims], dtype=int)
    normals = means[:, 3 + dimension : 3 + 2 * dimension]
    declared = _declared(rims, means[:, 2], normals, sessions, regions)
    where = Displacements(means[:, 1], means[:, 3 : 3 + dimension], normals, sessions, regions, weights, declared)
    return RimBlocks(where, rows[:, 3 + 2 * dimension :], edge)


def _declared(rims: Sequence[Boundary], by_level: Vector, normals: Vector, sessions: Index, regions: Index) -> Vector:
    """Return the covariance of the displacements that follows from the errors that the data declare, (nb, nb), mm^2.

    A threshold is off in all sessions alike; a rater draws each region's boundary too far out as a whole, nearly the
    same in all sessions; an image as a whole is misplaced.
    """
    same_region = regions[:, None] == regions
    same_session = sessions[:, None] == sessions
    level, bias, shift = (np.array([getattr(rim.errors, name) for rim in rims]) for name in ("level", "bias", "shift"))
    thresholds = same_region * np.outer(by_level * level, by_level * level)
    raters = same_region * np.where(same_session, 1.0, _HABIT) * np.outer(bias, bias)
    images = same_session * np.outer(shift, shift) * (normals @ normals.T)
    return np.asarray(thresholds + raters + images)
