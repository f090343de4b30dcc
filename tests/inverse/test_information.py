"""Sums and posterior by hand: clusters with their small-sample factor, boundaries, the prior, the centre."""

from __future__ import annotations

import numpy as np
import pytest

from oncology.inverse.priors import GaussianPrior
from oncology.inverse.problem import Boundary, ResidualTable
from oncology.inverse.rims import rim_process
from oncology.inverse.uncertainty import Information, Posterior, centring, centring_value, information, posterior
from oncology.model.cells import CellSpace

RNG = np.random.default_rng(12)
CORNERS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.1


def cells_at(centres: list[list[float]]) -> CellSpace:
    """Small tetrahedra at given centres, mm."""
    points = (np.array(centres)[:, None] + CORNERS).reshape(-1, 3)
    return CellSpace(points, np.arange(len(points)).reshape(-1, 4), np.ones(len(centres)), lambda v: np.array(v))


ROW = cells_at([[-25.0 + 10.0 * k, 10.0, 10.0] for k in range(10)])  # a cell in each of ten blocks of 10 mm


def test_ten_blocks_and_three_unknowns_have_the_small_sample_factor_ten_sevenths():
    jacobian, residual = RNG.normal(size=(10, 3)), RNG.normal(size=10)
    residual[4] = 1e-3  # a block with small residuals is a block
    info = information([ResidualTable(residual, jacobian)], ROW)
    scores = 10.0 / 7.0 * sum(residual[k] ** 2 * np.outer(jacobian[k], jacobian[k]) for k in range(10))
    scores += 1e-3 * np.diag(np.diag(scores))
    np.testing.assert_allclose(info.scores, scores, rtol=1e-12)
    np.testing.assert_allclose(info.normal, jacobian.T @ jacobian, rtol=1e-12)
    np.testing.assert_allclose(info.gradient, jacobian.T @ residual, rtol=1e-12)
    assert (info.rims, info.misfit) == (None, pytest.approx(residual @ residual))
    assert info.noise == pytest.approx(3.0 / np.trace(np.linalg.solve(info.scores, jacobian.T @ jacobian)))


@pytest.mark.parametrize(("used", "factor"), [(5, 2.5), (4, 4.0), (3, 3.0), (2, 2.0)])
def test_the_factor_stays_finite_where_blocks_are_few(used, factor):
    jacobian, residual = RNG.normal(size=(10, 3)), np.where(np.arange(10) < used, 0.5, 0.0)
    info = information([ResidualTable(residual, jacobian)], ROW)
    scores = factor * 0.25 * jacobian[:used].T @ jacobian[:used]
    np.testing.assert_allclose(info.scores, scores + 1e-3 * np.diag(np.diag(scores)), rtol=1e-12)


def test_scores_of_a_block_and_of_all_images_add_up_before_they_are_squared():
    """Cells at 1 and 9 mm share a block, one at 11 mm has its own."""
    space = cells_at([[-29.0, 6.0, 6.0], [-21.0, 4.0, 4.0], [-19.0, 5.0, 5.0], [75.0, 1.0, 1.0], [71.0, 4.0, 6.0]])
    tables = [ResidualTable(RNG.normal(size=5), RNG.normal(size=(5, 2))) for _ in range(2)]
    info = information(tables, space)
    score = sum(t.jacobian * t.residual[:, None] for t in tables)
    blocks = np.array([score[0] + score[1], score[2], score[3] + score[4]])
    scores = 3.0 * blocks.T @ blocks
    np.testing.assert_allclose(info.scores, scores + 1e-3 * np.diag(np.diag(scores)), rtol=1e-12)


def shell() -> tuple[CellSpace, ResidualTable]:
    """A displaced sphere of 20 mm as one boundary on cells of 2.5 mm, and what the radius and a shift would do."""
    axis = (np.arange(20) - 9.5) * 2.5
    centres = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    r = np.linalg.norm(centres, axis=1)
    outward = np.where(np.abs(r - 20.0) < 4.0, -np.exp(-(((r - 20.0) / 2.0) ** 2)), 0.0)
    normals = centres / r[:, None]
    jacobian = -outward[:, None] * np.column_stack([np.full(len(r), 20.0), normals]) + 0.05 * RNG.normal(size=(8000, 4))
    residual = outward * 0.2 * np.sin(centres[:, 0] / 6.0) + 0.05 * RNG.normal(size=8000)
    return cells_at(centres.tolist()), ResidualTable(
        residual, jacobian, Boundary("whole", 0, outward, -outward[:, None] * normals, outward)
    )


def test_segmentations_take_displacements_and_all_else_blocks():
    """S is that of the boundaries, independent noise in their residuals, and blocks of the other observations."""
    space, seen = shell()
    other = ResidualTable(RNG.normal(size=8000), RNG.normal(size=(8000, 4)))
    joint, alone = information([seen, other], space), information([other], space)
    process = rim_process([seen], space)
    assert joint.rims is not None and joint.rims.converged and joint.rims.between_sessions is None
    normal = seen.jacobian.T @ seen.jacobian
    np.testing.assert_allclose(joint.scores, process.scores + process.noise * normal + alone.scores, rtol=1e-9)
    np.testing.assert_allclose(joint.normal, normal + alone.normal, rtol=1e-12)
    np.testing.assert_allclose(joint.gradient, seen.jacobian.T @ seen.residual + alone.gradient, rtol=1e-9)


SD = np.array([0.5, 2.0, 1.0])
PRIOR = GaussianPrior(np.array([0.3, -1.0, 2.0]), SD)


def example() -> Information:
    jacobian, scores = RNG.normal(size=(8, 3)), RNG.normal(size=(6, 3))
    return Information(jacobian.T @ jacobian, RNG.normal(size=3), scores.T @ scores, 1.0, None)


def errors_by_hand(info: Information, offsets: np.ndarray | None) -> np.ndarray:
    """The covariance of the scores, in the unknowns' own units."""
    scores = info.scores + 1e-12 * np.trace(SD[:, None] * info.scores * SD) * np.diag(SD**-2)
    for offset in () if offsets is None else offsets:
        scores = scores + np.outer(info.normal @ offset, info.normal @ offset)
    return scores


OFFSETS = pytest.mark.parametrize(
    "offsets", [None, np.array([[0.1, -0.2, 0.05], [0.0, 0.0, 0.3]])], ids=["exact mesh", "two errors of the mesh"]
)


@OFFSETS
def test_the_posterior_is_the_formula(offsets):
    info, mean = example(), np.array([1.0, 2.0, 3.0])
    found = posterior(mean, info, PRIOR, offsets)
    data = info.normal @ np.linalg.inv(errors_by_hand(info, offsets)) @ info.normal
    np.testing.assert_allclose(found.covariance, np.linalg.inv(data + np.diag(SD**-2)), rtol=1e-9)
    np.testing.assert_allclose(found.data_covariance, np.linalg.inv(data + 1e-4 * np.diag(SD**-2)), rtol=1e-9)
    np.testing.assert_array_equal(found.mean, mean)
    scaled = SD[:, None] * data * SD
    assert found.strengths.tolist() == pytest.approx(sorted(np.linalg.eigvalsh(scaled), reverse=True))
    np.testing.assert_allclose(scaled @ found.directions, found.directions * found.strengths, rtol=1e-7, atol=1e-9)
    weights = np.array([1.0, -1.0, 0.5])
    assert found.sd(weights) == pytest.approx(np.sqrt(weights @ found.covariance @ weights))
    assert found.data_sd(weights) == pytest.approx(np.sqrt(weights @ found.data_covariance @ weights))


@OFFSETS
def test_the_centre_is_the_gaussian_mean_of_prior_and_weighted_data(offsets):
    """Scores u ~ N(H (x - true), S) and the prior: their mean by the textbook, seen from the estimate."""
    info, x = example(), np.array([0.7, 0.4, 1.0])
    found = centring(x, info, PRIOR, offsets)
    scores = errors_by_hand(info, offsets)
    data = info.normal @ np.linalg.solve(scores, info.normal)
    best = x - np.linalg.solve(info.normal, info.gradient)  # where the linear scores vanish
    precision = np.diag(SD**-2)
    mean = np.linalg.solve(data + precision, data @ best + precision @ PRIOR.mean)
    np.testing.assert_allclose(x + found.step, mean, rtol=1e-8)
    sd = posterior(x, info, PRIOR, offsets).covariance.diagonal() ** 0.5
    assert found.reach == pytest.approx(np.abs(found.step / sd).max())
    # it is the minimum of the function that is told, along any direction
    values = [
        centring_value(y, info.gradient + info.normal @ (y - x), info, PRIOR, offsets)
        for y in (mean, *(mean + 0.1 * RNG.normal(size=(5, 3))))
    ]
    assert min(values[1:]) > values[0] and found.value > values[0]


def test_the_centre_stays_where_the_data_say_it_all():
    info = example()
    at_rest = Information(1e6 * info.normal, np.zeros(3), 1e6 * info.scores, 1.0, None)
    assert centring(np.zeros(3), at_rest, PRIOR).reach < 0.01


def test_nothing_in_the_data_leaves_the_prior_and_no_negative_strength():
    """Two unknowns of one column: their difference is a hundred prior deviations wide, from the data alone."""
    jacobian = RNG.normal(size=(10, 1)) * np.ones((1, 2))
    info = information([ResidualTable(RNG.normal(size=10), jacobian)], ROW)
    found = posterior(np.zeros(2), info, GaussianPrior(np.zeros(2), np.ones(2)))
    assert info.noise == pytest.approx(float(info.scores[0].sum() / info.normal[0].sum()), rel=2e-3)
    assert found.data_sd(np.array([1.0, -1.0]) / np.sqrt(2.0)) == pytest.approx(100.0, rel=1e-3)
    assert found.sd(np.array([1.0, -1.0]) / np.sqrt(2.0)) == pytest.approx(1.0, rel=1e-3)
    assert 0.0 <= found.strengths[1] < 1e-9 < found.strengths[0]


def test_identified_means_within_a_factor_of_two_or_one_unit_of_the_seed():
    known = Posterior(np.zeros(4), np.eye(4), np.diag(np.square([0.349, 0.351, 0.99, 1.01])), np.eye(4), np.ones(4))
    unit = np.eye(4)
    assert [known.identified(unit[k]) for k in range(4)] == [True, False, False, False]
    assert [known.identified(unit[k], seed=True) for k in range(4)] == [True, True, True, False]
