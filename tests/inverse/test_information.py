"""Sums and posterior by hand: the sandwich with its small-sample factor, blocks, moved boundaries, the prior."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from oncology.inverse.problem import ResidualTable
from oncology.inverse.uncertainty import Information, Posterior, information, posterior
from oncology.model.cells import CellSpace

LOWER, UPPER = np.array([-30.0, 5.0, 5.0]), np.array([70.0, 15.0, 15.0])  # ten blocks of 10 mm in a row
RNG = np.random.default_rng(12)


def cells_at(centres: list[list[float]]) -> CellSpace:
    """Small tetrahedra at given centres, mm."""
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.1
    points = (np.array(centres)[:, None] + corners).reshape(-1, 3)
    return CellSpace(points, np.arange(len(points)).reshape(-1, 4), np.ones(len(centres)), lambda v: np.array(v))


ROW = cells_at([[-25.0 + 10.0 * k, 10.0, 10.0] for k in range(10)])


def table(residual: np.ndarray, jacobian: np.ndarray) -> ResidualTable:
    return ResidualTable(residual, jacobian, np.zeros((len(residual), 4)))


def test_ten_blocks_and_three_unknowns_have_the_small_sample_factor_ten_sevenths():
    jacobian, residual = RNG.normal(size=(10, 3)), RNG.normal(size=10)
    residual[4] = 1e-3  # a block with small residuals is a block
    info = information([table(residual, jacobian)], ROW, LOWER, UPPER)
    scores = sum(residual[k] ** 2 * np.outer(jacobian[k], jacobian[k]) for k in range(10))
    np.testing.assert_allclose(info.scores, 10.0 / 7.0 * scores, rtol=1e-12)
    np.testing.assert_allclose(info.normal, jacobian.T @ jacobian, rtol=1e-12)
    assert (info.blocks, info.misfit) == (10, pytest.approx(residual @ residual))
    assert info.noise == pytest.approx(np.trace(np.linalg.solve(jacobian.T @ jacobian, info.scores)) / 3.0)


@pytest.mark.parametrize(("used", "factor"), [(5, 2.5), (4, 4.0), (3, 3.0), (2, 2.0)])
def test_the_factor_stays_finite_where_blocks_are_few(used, factor):
    jacobian, residual = RNG.normal(size=(10, 3)), np.where(np.arange(10) < used, 0.5, 0.0)
    info = information([table(residual, jacobian)], ROW, LOWER, UPPER)
    np.testing.assert_allclose(info.scores, factor * 0.25 * jacobian[:used].T @ jacobian[:used], rtol=1e-12)
    assert info.blocks == used


def test_scores_of_a_block_and_of_all_images_add_up_before_they_are_squared():
    """Cells at 1 and 9 mm share a block, one at 11 mm has its own; beyond the box the last block takes them."""
    space = cells_at(
        [[-29.0, 6.0, 6.0], [-21.0, 14.0, 14.0], [-19.0, 10.0, 10.0], [75.0, 10.0, 10.0], [65.0, 4.0, 16.0]]
    )
    tables = [table(RNG.normal(size=5), RNG.normal(size=(5, 2))) for _ in range(2)]
    info = information(tables, space, LOWER, UPPER)
    score = sum(t.jacobian * t.residual[:, None] for t in tables)
    blocks = np.array([score[0] + score[1], score[2], score[3] + score[4]])
    np.testing.assert_allclose(info.scores, 3.0 * blocks.T @ blocks, rtol=1e-12)
    assert info.blocks == 3
    fine = information(tables, space, LOWER, UPPER, block=5.0)
    assert fine.blocks == 5 and not np.allclose(fine.scores, info.scores)


def test_a_box_without_extent_is_one_block():
    jacobian, residual = RNG.normal(size=(10, 2)), RNG.normal(size=10)
    info = information([table(residual, jacobian)], ROW, UPPER, UPPER)
    score = jacobian.T @ residual
    np.testing.assert_allclose(info.scores, np.outer(score, score), rtol=1e-12)
    assert info.blocks == 1


def test_moved_boundaries_are_summed_image_by_image():
    tables = [ResidualTable(np.ones(10), RNG.normal(size=(10, 3)), RNG.normal(size=(10, 4))) for _ in range(2)]
    info = information(tables, ROW, LOWER, UPPER)
    moved = next(value for name, value in vars(tables[0]).items() if name not in ("residual", "jacobian"))
    assert info.boundaries.shape == (3, 8)
    np.testing.assert_allclose(info.boundaries[:, :4], tables[0].jacobian.T @ moved, rtol=1e-12)


SD = np.array([0.5, 2.0, 1.0])


def example() -> Information:
    jacobian, scores = RNG.normal(size=(8, 3)), RNG.normal(size=(6, 3))
    return Information(jacobian.T @ jacobian, scores.T @ scores, RNG.normal(size=(3, 8)), 1.0, 6)


def by_hand(info: Information, shift: np.ndarray | None, error: float) -> np.ndarray:
    """Information of the data, H (S + ...)^-1 H, in the unknowns' own units."""
    scores = info.scores + 1e-3 * np.diag(np.diag(info.scores)) + error**2 * info.boundaries @ info.boundaries.T
    scores = scores + 1e-12 * np.trace(SD[:, None] * info.scores * SD) * np.diag(SD**-2)
    if shift is not None:
        scores = scores + np.outer(info.normal @ shift, info.normal @ shift)
    return info.normal @ np.linalg.inv(scores) @ info.normal


@pytest.mark.parametrize("shift", [None, np.array([0.1, -0.2, 0.05])], ids=["at rest", "moving"])
@pytest.mark.parametrize("error", [0.0, 0.3])
def test_the_posterior_is_the_formula(shift, error):
    info, mean = example(), np.array([1.0, 2.0, 3.0])
    found = posterior(mean, info, SimpleNamespace(sd=SD), shift, error)
    data = by_hand(info, shift, error)
    np.testing.assert_allclose(found.covariance, np.linalg.inv(data + np.diag(SD**-2)), rtol=1e-9)
    np.testing.assert_allclose(found.data_covariance, np.linalg.inv(data + 1e-4 * np.diag(SD**-2)), rtol=1e-9)
    np.testing.assert_array_equal(found.mean, mean)
    scaled = SD[:, None] * data * SD
    assert found.strengths.tolist() == pytest.approx(sorted(np.linalg.eigvalsh(scaled), reverse=True))
    np.testing.assert_allclose(scaled @ found.directions, found.directions * found.strengths, rtol=1e-7, atol=1e-9)
    weights = np.array([1.0, -1.0, 0.5])
    assert found.sd(weights) == pytest.approx(np.sqrt(weights @ found.covariance @ weights))
    assert found.data_sd(weights) == pytest.approx(np.sqrt(weights @ found.data_covariance @ weights))


def test_nothing_in_the_data_leaves_the_prior_and_no_negative_strength():
    """Two unknowns of one column: their difference is a hundred prior deviations wide, from the data alone."""
    jacobian = RNG.normal(size=(10, 1)) * np.ones((1, 2))
    info = information([table(RNG.normal(size=10), jacobian)], ROW, LOWER, UPPER)
    found = posterior(np.zeros(2), info, SimpleNamespace(sd=np.ones(2)))
    assert found.data_sd(np.array([1.0, -1.0]) / np.sqrt(2.0)) == pytest.approx(100.0, rel=1e-3)
    assert found.sd(np.array([1.0, -1.0]) / np.sqrt(2.0)) == pytest.approx(1.0, rel=1e-3)
    assert 0.0 <= found.strengths[1] < 1e-9 < found.strengths[0]


def test_identified_means_within_a_factor_of_two_or_one_unit_of_the_seed():
    known = Posterior(np.zeros(4), np.eye(4), np.diag(np.square([0.349, 0.351, 0.99, 1.01])), np.eye(4), np.ones(4))
    unit = np.eye(4)
    assert [known.identified(unit[k]) for k in range(4)] == [True, False, False, False]
    assert [known.identified(unit[k], seed=True) for k in range(4)] == [True, True, True, False]
