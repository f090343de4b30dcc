"""Coordinates, design and basis: the equation's own invariance, Taylor tests, numpy's singular values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import qmc

from oncology.errors import ConfigError, DataError
from oncology.forecast.ensemble import grow_many
from oncology.model.seed import Seed
from oncology.model.tumour import Tumour
from oncology.optimise import taylor_test
from oncology.surrogate.basis import fit_basis
from oncology.surrogate.coordinates import density_of, density_slope, odds_of, similarity, similarity_slopes
from oncology.surrogate.design import Domain, plan_runs
from oncology.surrogate.engine import check_case
from oncology.surrogate.model import quadratic, quadratic_slope

TUMOUR = Tumour(0.2, 0.03, 0.025, (-15.0, 11.0, 9.0), -200.0, Seed(0.5, 11.0))
PARAMETERS = TUMOUR.values
BOX = Domain(np.array([0.3, -3.0, -20.0, 5.0, 2.0, 9.0, 15.0]), np.array([1.5, -1.0, -10.0, 17.0, 14.0, 13.0, 40.0]))


def test_a_tumour_with_several_foci_is_refused(patient):
    """For `fit` and `train`, in one line with the way out."""
    case = patient.case
    check_case(case, "logistic")
    first = case.sessions[0]
    points = case.white.world(np.argwhere(case.white.data + case.grey.data > 0.5))
    middle = case.foci[0].centre
    far = points[np.linalg.norm(points - middle, axis=1).argmax()]
    grid = first.whole.world(np.argwhere(np.ones(first.whole.shape, dtype=bool)))
    other = (np.linalg.norm(grid - far, axis=1) < 12.0).reshape(first.whole.shape)
    both = replace(first, whole=first.whole.with_data(first.whole.data | other))
    with pytest.raises(ConfigError, match="2 foci; surrogates know growth from one seed only: give --engine fem"):
        check_case(replace(case, sessions=(both, *case.sessions[1:])), "logistic")


def test_runs_with_the_same_similarity_variables_are_the_same(patient):
    """Diffusion, growth and speed of time are scaled together: another run, of which the equation knows nothing."""
    faster = Tumour(3.0 * 0.2, 3.0 * 0.03, 3.0 * 0.025, TUMOUR.seed, -200.0 / 3.0, TUMOUR.profile)
    days = np.array([0.0, 60.0])
    runs = list(grow_many(patient.engine, [(TUMOUR, days), (faster, days / 3.0)], {}))
    np.testing.assert_allclose(runs[1].density, runs[0].density, atol=2e-6)
    for day in days:
        np.testing.assert_allclose(similarity(faster.values, day / 3.0), similarity(PARAMETERS, day), rtol=1e-13)


def test_slopes_of_the_similarity_variables():
    rng = np.random.default_rng(0)
    for _ in range(3):
        direction = rng.standard_normal(8) * np.array([0.05, 0.01, 0.005, 1.0, 1.0, 1.0, 20.0, 1.0])
        slope = similarity_slopes(PARAMETERS, 40.0) @ direction
        result = taylor_test(
            lambda p: similarity(p, 40.0), PARAMETERS, direction, slope, norm=lambda v: float(np.linalg.norm(v))
        )
        assert result.rate == pytest.approx(2.0, abs=0.1)


def test_log_odds_come_back_and_bend_as_they_say():
    density = np.linspace(0.0, 1.0, 101)
    np.testing.assert_allclose(density_of(odds_of(density)), density, atol=1e-14)
    odds = np.linspace(-5.0, 5.0, 11)
    result = taylor_test(density_of, odds, np.ones(11), density_slope(odds), norm=lambda v: float(np.linalg.norm(v)))
    assert result.rate == pytest.approx(2.0, abs=0.1)


def test_monomials():
    rng = np.random.default_rng(1)
    x, d = rng.uniform(-1, 1, (5, 7)), rng.standard_normal((5, 7))
    np.testing.assert_allclose((quadratic(x + d) - quadratic(x - d)) / 2.0, quadratic_slope(x, d), atol=1e-13)
    assert np.linalg.matrix_rank(quadratic(rng.uniform(-1, 1, (100, 7)))) == 36


def test_the_design_fills_the_box_better_than_chance():
    runs = plan_runs(BOX, 48, 3, seed=4)
    rows = np.array([[similarity(run.tumour.values, day) for day in run.days] for run in runs])
    scaled = 0.5 + 0.5 * BOX.scaled(rows)
    assert (scaled >= -1e-12).all() and (scaled <= 1.0 + 1e-12).all()
    points = np.clip(scaled[:, 0, :6], 0.0, 1.0)
    chance = [qmc.discrepancy(np.random.default_rng(k).random(points.shape)) for k in range(20)]
    assert qmc.discrepancy(points) < min(chance)
    assert len(np.unique(scaled[..., 6].round(12))) == scaled[..., 6].size  # no reach twice
    again = plan_runs(BOX, 48, 3, seed=4)
    np.testing.assert_array_equal([run.tumour.values for run in again], [run.tumour.values for run in runs])
    np.testing.assert_array_equal([run.days for run in again], [run.days for run in runs])
    with pytest.raises(ConfigError, match="at least 8 runs"):
        plan_runs(BOX, 7, 3, seed=4)


def test_beyond_the_box_nothing_moves_far_and_nothing_jumps():
    middle, half = 0.5 * (BOX.lower + BOX.upper), 0.5 * (BOX.upper - BOX.lower)
    inside = middle + 0.9 * half
    np.testing.assert_allclose(BOX.eased(inside)[0], 0.9)
    far, slope = BOX.eased(middle + 9.0 * half)
    assert (far > 1.0).all() and (far < 1.3).all() and (np.abs(slope) < 1e-6).all()
    here, direction = middle - 1.1 * half, half
    result = taylor_test(
        lambda q: BOX.eased(q)[0],
        here,
        direction,
        BOX.eased(here)[1] * direction,
        steps=tuple(0.05 * 0.5**k for k in range(8)),
        norm=lambda v: float(np.linalg.norm(v)),
    )
    assert result.rate == pytest.approx(2.0, abs=0.1)
    assert BOX.beyond(middle) == ()
    assert BOX.beyond(middle + half * np.array([0, 0, 0, 1.2, 0, 0, -1.1])) == ("seed_y", "reach")
    assert BOX.beyond(middle + half * np.array([0.97, 0, 0, 0, 0, 0, 0]), edge=0.02) == ("ln_length",)


def test_a_box_must_not_be_empty():
    with pytest.raises(ConfigError, match="not empty"):
        Domain(BOX.upper, BOX.lower)


def test_the_basis_is_that_of_the_singular_values():
    rng = np.random.default_rng(2)
    mass = rng.uniform(1.0, 2.0, 50)
    density = 1.0 / (1.0 + np.exp(rng.standard_normal((20, 4)) @ rng.standard_normal((4, 50))))
    density[:, 40:] = 0.0  # never reached
    basis, coordinates = fit_basis(density.astype(np.float32), mass, 3)
    np.testing.assert_array_equal(basis.reached, np.arange(40))
    seen = density.astype(np.float32).astype(float)[:, :40]
    weights = mass[:40] * ((seen * (1.0 - seen)).mean(axis=0) + 1e-4)
    fields = odds_of(seen)
    left, values, right = np.linalg.svd((fields - fields.mean(axis=0)) * np.sqrt(weights), full_matrices=False)
    np.testing.assert_allclose(basis.deviations, values[:3] / np.sqrt(20), rtol=1e-8)
    assert basis.energy == pytest.approx((values[:3] ** 2).sum() / (values**2).sum(), rel=1e-8)
    best = fields.mean(axis=0) + (left[:, :3] * values[:3]) @ right[:3] / np.sqrt(weights)
    np.testing.assert_allclose(basis.mean + coordinates @ basis.vectors, best, atol=1e-7)
    np.testing.assert_allclose((basis.vectors * weights) @ basis.vectors.T, np.eye(3), atol=1e-8)
    with pytest.raises(DataError, match="do not span 20"):
        fit_basis(density, mass, 20)
