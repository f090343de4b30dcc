"""Displacements of boundaries against simulation: a front in closed form whose boundaries a known process displaces."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from oncology.inverse import rims
from oncology.inverse.misfit import DeclaredErrors
from oncology.inverse.problem import Boundary, ResidualTable
from oncology.inverse.reml import DEFAULTS, Displacements, Values, estimate
from oncology.inverse.rims import RimBlocks, RimProcess, process_of, rim_blocks, rim_process
from oncology.model.cells import CellSpace

DRAWN = Values(amplitude=0.2, rigid=0.1, length=40.0, nugget=0.05, between_sessions=0.8, between_regions=0.5)
DIFFUSION, RHO, AGE = 0.3, 0.02, 165.0  # mm^2/day, 1/day, day on the first day: radii of 20 to 30 mm
WEIGHT = 8.0  # mm


def sphere(days=(0.0, 40.0), levels=(0.25, 0.60), area: float = 300.0) -> tuple[RimBlocks, np.ndarray]:
    """Boundaries of `r = 2 sqrt(D rho) (T + t) - ln(u / (1 - u)) sqrt(D / rho)` in blocks of an area, and d r / d x.

    The unknowns are ln D, ln rho, the seed (3 mm) and ln T.
    """
    speed, length = 2.0 * math.sqrt(DIFFUSION * RHO), math.sqrt(DIFFUSION / RHO)
    parts = []
    for session, day in enumerate(days):
        for region, level in enumerate(levels):
            z = math.log(level / (1.0 - level))
            radius = speed * (AGE + day) - z * length
            count = int(4.0 * math.pi * radius**2 / area)
            k = np.arange(count) + 0.5
            polar, turn = np.arccos(1.0 - 2.0 * k / count), math.pi * (1.0 + math.sqrt(5.0)) * k
            normals = np.stack([np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], axis=1)
            by_rho = 0.5 * (speed * (AGE + day) + z * length)
            columns = (0.5 * radius, by_rho, *(3.0 * normals.T), speed * AGE)
            moves = np.stack([np.broadcast_to(column, count) for column in columns], axis=1)
            parts.append((radius * normals, normals, moves, np.full(count, session), np.full(count, region)))
    centres, normals, moves, sessions, regions = (np.concatenate(part) for part in zip(*parts, strict=True))
    count = len(centres)
    weights, zeros = np.full(count, WEIGHT), np.zeros((count, count))
    where = Displacements(np.zeros(count), centres, normals, sessions, regions, weights, zeros)
    return RimBlocks(where, WEIGHT * moves, math.sqrt(area)), moves


def covariance(blocks: RimBlocks, values: Values) -> np.ndarray:
    """The covariance of the displacements, pair by pair from its definition."""
    where = blocks.displacements
    apart = np.linalg.norm(where.centres[:, None] - where.centres, axis=2)
    result = values.tau**2 + values.transverse**2 * where.normals @ where.normals.T
    result = result * np.exp(-apart / values.length)
    result = result * np.where(where.sessions[:, None] == where.sessions, 1.0, values.between_sessions)
    result = result * np.where(where.regions[:, None] == where.regions, 1.0, values.between_regions)
    return result + values.nugget**2 * np.diag(where.median_weight / where.weights)


def refitted(blocks: RimBlocks, moves: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, RimBlocks]:
    """The least-squares estimate of zero from drawn displacements, and what it leaves of them."""
    x = -np.linalg.lstsq(moves, drawn, rcond=None)[0]
    return x, replace(blocks, displacements=replace(blocks.displacements, shifts=drawn + moves @ x))


def deviations(process: RimProcess, blocks: RimBlocks) -> np.ndarray:
    """Standard deviations of the unknowns from the data alone."""
    normal = blocks.jacobians.T @ (blocks.jacobians / blocks.displacements.weights[:, None])
    inverse = np.linalg.inv(normal)
    return np.sqrt(np.diag(inverse @ (process.scores + process.noise * normal) @ inverse))


def found(blocks: RimBlocks) -> RimProcess:
    return process_of(blocks, estimate(blocks.displacements, blocks.jacobians))


def test_drawn_displacements_come_back_and_their_intervals_cover():
    """200 repeated experiments; 95 % intervals hold the truth in 181 to 197 of them (99 % of the binomial)."""
    blocks, moves = sphere()
    half = np.linalg.cholesky(covariance(blocks, DRAWN))
    random = np.random.default_rng(11)
    estimates, errors, sds = [], [], []
    for _ in range(200):
        x, left = refitted(blocks, moves, half @ random.standard_normal(len(half)))
        process = found(left)
        assert process.converged
        errors.append(x)
        sds.append(deviations(process, left))
        estimates.append((process.tau, process.length, process.between_sessions, process.nugget))
    tau, length, between_sessions, nugget = np.median(estimates, axis=0)
    assert tau == pytest.approx(DRAWN.tau, rel=0.2)
    assert nugget == pytest.approx(DRAWN.nugget, rel=0.2)
    assert 0.6 * DRAWN.length < length < 1.5 * DRAWN.length
    assert between_sessions == pytest.approx(DRAWN.between_sessions, abs=0.1)
    held = (np.abs(errors) < 1.959964 * np.array(sds)).sum(axis=0)
    assert (181 <= held).all() and (held <= 197).all(), held


def one(seed: int = 3, **shape) -> tuple[RimBlocks, np.ndarray, np.ndarray]:
    blocks, moves = sphere(**shape)
    half = np.linalg.cholesky(covariance(blocks, DRAWN))
    drawn = half @ np.random.default_rng(seed).standard_normal(len(half))
    return refitted(blocks, moves, drawn)[1], moves, drawn


def test_twice_the_displacements_have_twice_the_deviations():
    for seed in (1, 2, 3):
        blocks, moves, drawn = one(seed)
        once, twice = (found(refitted(blocks, moves, factor * drawn)[1]) for factor in (1.0, 2.0))
        ratio = deviations(twice, blocks) / deviations(once, blocks)
        np.testing.assert_allclose(ratio, 2.0, rtol=0.15)


def test_the_order_of_sessions_and_blocks_changes_nothing():
    blocks, _, _ = one()
    order = np.random.default_rng(4).permutation(len(blocks.jacobians))
    where = blocks.displacements
    moved = replace(
        where,
        **{name: getattr(where, name)[order] for name in ("shifts", "centres", "normals", "regions", "weights")},
        sessions=1 - where.sessions[order],
        declared=where.declared[np.ix_(order, order)],
    )
    ours, theirs = found(blocks), found(replace(blocks, displacements=moved, jacobians=blocks.jacobians[order]))
    for name in ("tau", "transverse", "length", "nugget", "between_sessions", "between_regions", "noise"):
        assert getattr(theirs, name) == pytest.approx(getattr(ours, name), rel=1e-8), name
    np.testing.assert_allclose(theirs.scores, ours.scores, rtol=1e-7, atol=1e-9 * np.abs(ours.scores).max())


def test_the_scores_are_the_expectation_over_the_estimated_values():
    blocks, _, _ = one()
    spread = estimate(blocks.displacements, blocks.jacobians)
    assert len(spread.points) == 12
    process = process_of(blocks, spread)
    mean = np.mean([covariance(blocks, replace(values, nugget=0.0)) for values in spread.points], axis=0)
    np.testing.assert_allclose(process.scores, blocks.jacobians.T @ mean @ blocks.jacobians, rtol=1e-9)
    assert process.noise == pytest.approx(WEIGHT * np.mean([values.nugget**2 for values in spread.points]))
    logs = np.log([[v.amplitude, v.length, v.nugget] for v in (spread.mode, *spread.points)])
    np.testing.assert_allclose(logs[1:].mean(axis=0), logs[0], rtol=1e-9)


def test_what_there_is_one_of_has_no_correlation():
    first = found(one(days=(0.0,), area=150.0)[0])
    assert first.converged and first.between_sessions is None and first.between_regions is not None
    outer = found(one(levels=(0.25,), area=150.0)[0])
    assert outer.converged and outer.between_sessions is not None and outer.between_regions is None


@pytest.mark.parametrize("factor", [0.0, 100.0])
def test_displacements_that_say_nothing_leave_the_values_of_the_prior(factor):
    """None at all, or larger than any boundary can be off."""
    blocks, moves, drawn = one()
    process = found(refitted(blocks, moves, factor * drawn)[1])
    assert not process.converged
    assert (process.tau, process.transverse) == (DEFAULTS.tau, DEFAULTS.transverse)
    expected = blocks.jacobians.T @ covariance(blocks, replace(DEFAULTS, nugget=0.0)) @ blocks.jacobians
    np.testing.assert_allclose(process.scores, expected, rtol=1e-9)


def test_the_unknowns_absorb_what_they_can():
    """Displacements that a change of the unknowns explains are no error, however large."""
    blocks, moves, _ = one()
    where = blocks.displacements
    moved = replace(blocks, displacements=replace(where, shifts=where.shifts + moves @ np.full(6, 0.5)))
    assert found(moved).tau == pytest.approx(found(blocks).tau, rel=1e-4)


CELLS = 24
NONE = DeclaredErrors()


def cells() -> CellSpace:
    """Small tetrahedra at the centres of boxes of 2.5 mm."""
    axis = (np.arange(CELLS) + 0.5 - CELLS / 2) * 2.5
    centres = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.1
    points = (centres[:, None] + corners).reshape(-1, 3)
    return CellSpace(points, np.arange(len(points)).reshape(-1, 4), np.full(len(centres), 2.5**3))


def tables(space: CellSpace, radii=((20.0, 14.0), (26.0, 19.0)), errors=NONE) -> list[ResidualTable]:
    """Balls whose boundaries lie outside the modelled ones by a tenth of the height above the middle."""
    r = np.linalg.norm(space.centres, axis=1)
    normals = space.centres / r[:, None]
    made = []
    for session, both in enumerate(radii):
        for region, radius in zip(("whole", "core"), both, strict=True):
            outward = -np.exp(-(((r - radius) / 2.0) ** 2))
            outward[np.abs(r - radius) > 6.0] = 0.0
            shifts = -outward[:, None] * normals
            jacobian = -outward[:, None] * np.column_stack([np.full(len(r), radius), normals])
            displaced = 0.1 * space.centres[:, 2] + 0.3 * np.sin(space.centres[:, 0] / 5.0 + session)
            rim = Boundary(region, session, outward, shifts, 2.0 * outward, errors)
            made.append(ResidualTable(outward * displaced, jacobian, rim))
    return made


def test_blocks_hold_the_mean_displacement_around_their_centre():
    space = cells()
    blocks = rim_blocks(tables(space), space, 6.0)
    where = blocks.displacements
    expected = 0.1 * where.centres[:, 2]
    assert np.abs(where.shifts - expected).max() < 0.35
    radius = np.linalg.norm(where.centres, axis=1)
    at = np.array([[20.0, 14.0], [26.0, 19.0]])
    # regions count by name: the core first
    assert np.abs(radius - at[where.sessions, 1 - where.regions]).max() < 3.0
    outwards = -(where.normals * where.centres).sum(axis=1) / radius
    assert (outwards > 0.9).all() and (outwards <= 1.0 + 1e-9).all()
    total = sum((table.boundary.outward**2).sum() for table in tables(space))
    assert 0.98 * total < where.weights.sum() <= total
    for region in (0, 1):
        for session in (0, 1):
            own = where.weights[(where.regions == region) & (where.sessions == session)]
            assert own.min() > 0.02 * own.max()
    moved = blocks.jacobians[:, 0] / where.weights
    np.testing.assert_allclose(moved, -at[where.sessions, 1 - where.regions], rtol=1e-9)


def test_blocks_do_not_depend_on_how_cells_are_shared():
    """Two halves of the cells, summed as two ranks would, give the blocks of all."""
    space = cells()
    whole = rim_blocks(tables(space), space, 6.0)
    bounds = (space.points.min(axis=0), space.points.max(axis=0))
    parts: list[np.ndarray] = []

    def half(rows: slice, total) -> RimBlocks:
        some = CellSpace(space.points, space.cells[rows], space.volumes[rows], total)
        own = [
            ResidualTable(
                t.residual[rows],
                t.jacobian[rows],
                replace(t.boundary, **{k: getattr(t.boundary, k)[rows] for k in ("outward", "shifts", "by_level")}),
            )
            for t in tables(space)
        ]
        return rim_blocks(own, some, 6.0)

    middle = len(space.cells) // 2 + 7
    half(slice(None, middle), lambda v: parts.append(v) or np.array(v))
    others = iter(parts)
    joined = half(slice(middle, None), lambda v: v + next(others))
    assert bounds[0].shape == (3,)
    for name in ("shifts", "centres", "normals", "sessions", "regions", "weights", "declared"):
        ours, theirs = (getattr(b.displacements, name) for b in (joined, whole))
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(joined.jacobians, whole.jacobians, rtol=1e-10, atol=1e-12)


def test_few_blocks_take_the_values_of_the_prior():
    space = cells()
    few = tables(space, radii=((5.0, 3.0),))
    assert len(rim_blocks(few, space, 6.0).jacobians) >= 30  # the same boundaries in smaller blocks suffice
    process = rim_process(few, space, 12.0)
    assert not process.converged and process.blocks < 30 and process.tau == DEFAULTS.tau
    assert rim_process(few, space, 6.0).converged


def test_too_many_blocks_become_larger_ones(monkeypatch):
    """By a third, as often as it takes: the work grows with the third power of their number."""
    space = cells()
    counts = [len(rim_blocks(tables(space), space, edge).jacobians) for edge in (9.0, 12.0)]
    monkeypatch.setattr(rims, "_MOST_BLOCKS", counts[0] - 1)
    assert rim_process(tables(space), space, 9.0).blocks == counts[1] < counts[0]


def test_declared_errors_are_rank_one_each():
    """A threshold: all sessions alike. A bias: 0.9 between sessions. A shift: three axes of a session by itself."""
    space = cells()
    for errors in (DeclaredErrors(level=0.03), DeclaredErrors(bias=0.5), DeclaredErrors(shift=0.29)):
        where = rim_blocks(tables(space, errors=errors), space, 6.0).displacements
        same_region = where.regions[:, None] == where.regions
        same_session = where.sessions[:, None] == where.sessions
        if errors.level:
            expected = same_region * (2.0 * 0.03) ** 2
        elif errors.bias:
            expected = same_region * 0.5**2 * np.where(same_session, 1.0, 0.9)
        else:
            expected = same_session * 0.29**2 * (where.normals @ where.normals.T)
        np.testing.assert_allclose(where.declared, expected, rtol=1e-9, atol=1e-12)
    assert not rim_blocks(tables(space), space, 6.0).displacements.declared.any()


def test_declared_errors_are_not_counted_twice():
    """Displacements that a declared error explains do not raise the amplitude, and the scores hold both."""
    blocks, moves, drawn = one()
    where = blocks.displacements
    declared = 0.4**2 * (where.sessions == 1)[:, None] * (where.sessions == 1) * (where.normals @ where.normals.T)
    shifted = drawn + 0.4 * (where.sessions == 1) * where.normals[:, 0]
    left = refitted(blocks, moves, shifted)[1]
    plain, known = found(left), found(replace(left, displacements=replace(left.displacements, declared=declared)))
    assert math.hypot(known.tau, known.transverse) < 0.9 * math.hypot(plain.tau, plain.transverse)
    silent = found(replace(blocks, displacements=replace(where, declared=declared)))
    assert (np.linalg.eigvalsh(silent.scores - 0.5 * blocks.jacobians.T @ declared @ blocks.jacobians) > 0.0).all()
