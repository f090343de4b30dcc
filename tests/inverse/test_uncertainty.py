"""Posterior against simulation: clustered noise, directions without data, unfinished refinement, weak data."""

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


def replicate(space: CellSpace, jacobian: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, Information]:
    """Least-squares estimate of zero from noise per cell, and the information at it."""
    data = np.sqrt(space.volumes) * noise
    estimate = np.linalg.lstsq(jacobian, data, rcond=None)[0]
    return estimate, information([ResidualTable(jacobian @ estimate - data, jacobian)], space)


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
    mean = replace(found[0], scores=np.mean([info.scores for info in found], axis=0))
    assert mean.noise == pytest.approx(0.09 * 4.0**3, rel=0.05)


def test_what_nothing_moves_stays_unknown():
    """The data know the first unknown and the sum of the other two; the prior alone tells these two apart."""
    space = cells()
    jacobian = design(space)
    jacobian[:, 2] = jacobian[:, 1]
    rng = np.random.default_rng(2)
    noise = 0.1 * rng.normal(size=len(space.volumes))
    data = np.sqrt(space.volumes) * noise
    estimate = np.linalg.pinv(jacobian) @ data
    info = information([ResidualTable(jacobian @ estimate - data, jacobian)], space)
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


def test_unfinished_refinement_is_one_direction():
    space = cells()
    info = replicate(space, design(space), 0.2 * np.random.default_rng(6).normal(size=len(space.volumes)))[1]
    still = posterior(np.zeros(3), info, VAGUE)
    shift = np.array([0.1, -0.2, 0.05])
    moved = posterior(np.zeros(3), info, VAGUE, offsets=shift[None])
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


def at_the_truth(days: tuple[float, ...]) -> Posterior:
    """Posterior of a closed-form front at its truth."""
    engine = Expanding(box(27.0, 14))
    given = ScalarMap(0.0, radius=False)
    x = pack(given, TRUTH)
    unknowns = replace(given, start=x, prior=GaussianPrior(x, np.ones(7)))
    problem = InverseProblem(engine, engine.segmented(TRUTH, depth=3, days=days), unknowns)
    info = information(residual_tables(problem.evaluate(x)), engine.space)
    return posterior(x, info, unknowns.prior)


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
