"""Posterior against simulation: clustered noise, directions without data, moved boundaries, unfinished refinement."""

from dataclasses import replace

import numpy as np
import pytest

from oncology.inverse.priors import GaussianPrior
from oncology.inverse.problem import InverseProblem, ResidualTable, residual_tables
from oncology.inverse.scalars import ScalarMap
from oncology.inverse.uncertainty import Information, Posterior, information, posterior
from oncology.model.cells import CellSpace
from tests.inverse.expanding import DAYS, TRUTH, Expanding, box, pack

EDGE = 60.0
BOX = (np.zeros(3), np.full(3, EDGE))
VAGUE = GaussianPrior(np.zeros(3), np.full(3, 1e3))


def cells(count: int = 18) -> CellSpace:
    """Small tetrahedra at the centres of `count`^3 boxes of the cube, each with the volume of its box."""
    axis = (np.arange(count) + 0.5) * EDGE / count
    centres = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.1
    points = (centres[:, None] + corners).reshape(-1, 3)
    volumes = np.full(len(centres), (EDGE / count) ** 3)
    return CellSpace(points, np.arange(len(points)).reshape(-1, 4), volumes)


def design(space: CellSpace) -> np.ndarray:
    """Three smooth columns, weighted by the root of the volumes, (m, 3)."""
    x, y, z = (space.centres / EDGE).T
    return np.sqrt(space.volumes)[:, None] * np.column_stack([np.cos(3 * x), np.sin(4 * y) + 0.3 * x, np.exp(-2 * z)])


def table(residual: np.ndarray, jacobian: np.ndarray, boundary: np.ndarray | None = None) -> ResidualTable:
    return ResidualTable(residual, jacobian, np.zeros((len(residual), 4)) if boundary is None else boundary)


def replicate(space: CellSpace, jacobian: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, Information]:
    """Least-squares estimate of zero from noise per cell, and the information at it."""
    data = np.sqrt(space.volumes) * noise
    estimate = np.linalg.lstsq(jacobian, data, rcond=None)[0]
    return estimate, information([table(jacobian @ estimate - data, jacobian)], space, *BOX)


@pytest.mark.parametrize("clustered", [False, True])
def test_intervals_cover_what_they_promise(clustered):
    """200 noisy images: 95 % intervals hold the truth in 92 to 98 % of them; naive ones fail where noise clusters."""
    space = cells()
    jacobian = design(space)
    blocks = (space.centres / 10.0).astype(int) @ np.array([36, 6, 1])
    rng = np.random.default_rng(5)
    honest, naive = [], []
    for _ in range(200):
        noise = 0.2 * rng.normal(size=len(blocks))
        if clustered:
            noise += 0.2 * rng.normal(size=216)[blocks]
        estimate, info = replicate(space, jacobian, noise)
        sd = np.sqrt(np.diag(posterior(estimate, info, VAGUE).data_covariance))
        honest.append(np.abs(estimate) < 1.96 * sd)
        independent = info.misfit / len(blocks) * np.diag(np.linalg.inv(info.normal))
        naive.append(np.abs(estimate) < 1.96 * np.sqrt(independent))
    assert 0.92 <= np.mean(honest) <= 0.98
    assert (np.mean(naive) < 0.75) if clustered else (0.92 <= np.mean(naive) <= 0.98)


def test_noise_is_the_variance_times_the_volume_of_independent_cells():
    space = cells(15)
    jacobian = design(space)
    rng = np.random.default_rng(1)
    found = [replicate(space, jacobian, 0.3 * rng.normal(size=len(space.volumes)))[1] for _ in range(40)]
    assert np.mean([info.noise for info in found]) == pytest.approx(0.09 * 4.0**3, rel=0.05)
    assert {info.blocks for info in found} == {216}


def test_what_nothing_moves_stays_unknown():
    """The data know the first unknown and the sum of the other two; the prior alone tells these two apart."""
    space = cells()
    jacobian = design(space)
    jacobian[:, 2] = jacobian[:, 1]
    rng = np.random.default_rng(2)
    noise = 0.1 * rng.normal(size=len(space.volumes))
    data = np.sqrt(space.volumes) * noise
    estimate = np.linalg.pinv(jacobian) @ data
    info = information([table(jacobian @ estimate - data, jacobian)], space, *BOX)
    prior = GaussianPrior(np.zeros(3), np.array([1.0, 0.5, 2.0]))
    found = posterior(estimate, info, prior)
    first, second, third = np.eye(3)
    assert found.identified(first)
    assert not found.identified(second) and not found.identified(third)
    assert found.identified(second + third)
    assert found.strengths[-1] < 1e-6 < 1.0 < found.strengths[1]
    # given the sum, the second and the third share it in proportion to their prior variances: 1/4 and 4
    assert found.sd(second) == pytest.approx(2.0 * 0.5 / np.hypot(2.0, 0.5), rel=1e-2)
    assert found.sd(second - third) == pytest.approx(2.0 * found.sd(second), rel=1e-2)
    null = found.directions[:, -1] * prior.sd
    assert abs(null[0]) < 1e-6 and null[1] == pytest.approx(-null[2], rel=1e-6)


def test_nothing_is_gained_from_residuals_that_vanish():
    """A perfect fit leaves no residuals: the estimate is then as good as the moved boundaries allow, not better."""
    space = cells()
    jacobian = design(space)
    boundary = np.sqrt(space.volumes)[:, None] * np.random.default_rng(3).normal(size=(len(jacobian), 4))
    info = information([table(np.zeros(len(jacobian)), jacobian, boundary)], space, *BOX)
    spread = posterior(np.zeros(3), info, VAGUE, boundary_error=0.3)
    inverse = np.linalg.inv(jacobian.T @ jacobian)
    moved = 0.3 * inverse @ jacobian.T @ boundary
    np.testing.assert_allclose(spread.data_covariance, moved @ moved.T, rtol=1e-3, atol=1e-9)


def test_moved_boundaries_add_their_own_covariance():
    """Direct computation: estimates from data with boundaries moved at random have the covariance that is added."""
    space = cells()
    jacobian = design(space)
    rng = np.random.default_rng(4)
    boundaries = [np.sqrt(space.volumes)[:, None] * rng.normal(size=(len(jacobian), 4)) for _ in range(2)]
    noise = [0.2 * np.sqrt(space.volumes) * rng.normal(size=len(jacobian)) for _ in range(2)]
    tables = [table(r, jacobian, boundary) for r, boundary in zip(noise, boundaries, strict=True)]
    info = information(tables, space, *BOX)
    still = posterior(np.zeros(3), info, VAGUE)
    moved = posterior(np.zeros(3), info, VAGUE, boundary_error=0.5)
    inverse = np.linalg.inv(2.0 * jacobian.T @ jacobian)
    shifts = 0.5 * rng.normal(size=(20_000, 2, 4))
    estimates = sum(shifts[:, k] @ (inverse @ jacobian.T @ boundary).T for k, boundary in enumerate(boundaries))
    added = moved.data_covariance - still.data_covariance
    np.testing.assert_allclose(added, np.cov(estimates.T), atol=0.04 * np.abs(added).max())


def test_unfinished_refinement_is_one_direction():
    space = cells()
    info = replicate(space, design(space), 0.2 * np.random.default_rng(6).normal(size=len(space.volumes)))[1]
    still = posterior(np.zeros(3), info, VAGUE)
    shift = np.array([0.1, -0.2, 0.05])
    moved = posterior(np.zeros(3), info, VAGUE, shift=shift)
    np.testing.assert_allclose(
        moved.data_covariance - still.data_covariance, np.outer(shift, shift), rtol=1e-4, atol=1e-8
    )


def test_prior_and_data_join_as_precisions():
    """For a prior as wide as the data's covariance in every direction, the variance halves."""
    space = cells()
    info = replicate(space, design(space), 0.2 * np.random.default_rng(7).normal(size=len(space.volumes)))[1]
    alone = posterior(np.zeros(3), info, VAGUE).data_covariance
    sd = np.array([0.02, 0.05, 0.1])
    joint = posterior(np.ones(3), info, GaussianPrior(np.zeros(3), sd))
    np.testing.assert_allclose(np.linalg.inv(joint.covariance), np.linalg.inv(alone) + np.diag(sd**-2), rtol=1e-3)
    np.testing.assert_array_equal(joint.mean, np.ones(3))
    assert joint.sd(np.array([1.0, 0.0, 0.0])) < min(0.02, joint.data_sd(np.array([1.0, 0.0, 0.0])))


def test_sums_do_not_depend_on_how_cells_are_shared():
    """Two halves of the cells, summed as two ranks would, give the information of all."""
    space = cells()
    jacobian = design(space)
    residual = np.random.default_rng(8).normal(size=len(jacobian))
    boundary = np.random.default_rng(9).normal(size=(len(jacobian), 4))
    whole = information([table(residual, jacobian, boundary)], space, *BOX)
    parts: list[np.ndarray] = []
    half = len(jacobian) // 2 + 7
    for rows in (slice(None, half), slice(half, None)):
        some = CellSpace(space.points, space.cells[rows], space.volumes[rows], lambda v: parts.append(v) or np.array(v))
        information([table(residual[rows], jacobian[rows], boundary[rows])], some, *BOX)
    rest = CellSpace(space.points, space.cells[:half], space.volumes[:half], lambda v: v + parts[1])
    joined = information([table(residual[:half], jacobian[:half], boundary[:half])], rest, *BOX)
    for name in ("normal", "scores", "boundaries", "misfit", "blocks"):
        np.testing.assert_allclose(getattr(joined, name), getattr(whole, name), rtol=1e-12, err_msg=name)


def at_the_truth(days: tuple[float, ...]) -> Posterior:
    """Posterior of a closed-form front at its truth."""
    engine = Expanding(box(27.0, 14))
    x = pack(ScalarMap(0.0), TRUTH)
    unknowns = replace(ScalarMap(0.0), start=x, prior=GaussianPrior(x, np.ones(7)))
    problem = InverseProblem(engine, engine.segmented(TRUTH, depth=3, days=days), unknowns)
    info = information(residual_tables(problem.evaluate(x)), engine.space, np.full(3, -27.0), np.full(3, 27.0))
    return posterior(x, info, unknowns.prior, boundary_error=0.3)


def test_one_scan_determines_combinations_only():
    """Two thresholds on one day fix sqrt(D / rho) and rho T; D_w, rho and the age follow the prior."""
    found = at_the_truth((0.0,))
    unit = np.eye(7)
    for combined in (0.5 * (unit[0] - unit[2]), unit[2] + unit[6], unit[1]):
        assert found.identified(combined)
    for single in (unit[0], unit[2], unit[6]):
        assert not found.identified(single)
    assert all(found.identified(unit[k], seed=True) for k in (3, 4, 5))


def test_two_scans_determine_everything():
    found = at_the_truth(DAYS)
    assert all(found.identified(unit) for unit in np.eye(7)[[0, 1, 2, 6]])
