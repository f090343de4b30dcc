"""Conjugate-gradient formulas: on quadratics they agree and end in n steps; whatever comes in, descent comes out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncology.optimise import (
    ConjugateGradient,
    Status,
    Stop,
    dai_yuan,
    euclidean,
    fletcher_reeves,
    fr_pr,
    h1_by_solve,
    hager_zhang,
    hestenes_stiefel,
    minimise,
    polak_ribiere_plus,
    zero,
)
from oncology.optimise.directions import Gradient, Products, Search, conjugate, gradient_of, steepest
from tests.optimise.costs import quadratic, spd

FORMULAS = [fletcher_reeves, polak_ribiere_plus, fr_pr, hestenes_stiefel, dai_yuan, hager_zhang]


def metric(matrix: np.ndarray):
    return h1_by_solve(lambda f: np.linalg.solve(matrix, f), lambda a: matrix @ a)


@pytest.mark.parametrize("beta", FORMULAS)
@pytest.mark.parametrize("curved", [False, True], ids=["euclidean", "weighted metric"])
def test_on_a_quadratic_every_formula_ends_in_n_steps(beta, curved) -> None:
    size = 8
    centre = np.random.default_rng(5).standard_normal(size)
    space = metric(spd(size, 7, condition=4.0)) if curved else euclidean()
    cost = quadratic(spd(size, 6, condition=20.0), centre)  # mild, so that rounding leaves conjugacy alone
    result = minimise(cost, np.zeros(size), space, ConjugateGradient(beta), stop=Stop(1e-9))
    assert result.status is Status.CONVERGED
    assert len(result.history) - 1 == size
    assert result.x == pytest.approx(centre, abs=1e-7)


@pytest.mark.parametrize("beta", FORMULAS)
def test_on_a_quadratic_all_formulas_give_the_iterates_of_linear_conjugate_gradients(beta) -> None:
    size = 6
    matrix, centre = spd(size, 8), np.random.default_rng(9).standard_normal(size)
    iterates: list[np.ndarray] = []
    minimise(
        quadratic(matrix, centre),
        np.zeros(size),
        euclidean(),
        ConjugateGradient(beta),
        stop=Stop(0.0, stagnation=0.0, max_iterations=4),
        callback=lambda state: iterates.append(state.x),
    )
    # the k-th iterate minimises the energy over the Krylov space of dimension k
    right = matrix @ centre
    krylov = np.column_stack([np.linalg.matrix_power(matrix / 100.0, k) @ right for k in range(4)])
    for k in range(1, 5):
        basis = krylov[:, :k]
        best = basis @ np.linalg.solve(basis.T @ matrix @ basis, basis.T @ right)
        assert iterates[k] == pytest.approx(best, abs=1e-8)


def test_formulas_by_hand() -> None:
    p = Products(gg=5.0, pp=4.0, gp=1.0, gd=1.0, pd=-3.0, dd=9.0)  # y: (g, y) = 4, (d, y) = 4, (y, y) = 7
    assert zero(p) == 0.0
    assert fletcher_reeves(p) == 1.25
    assert polak_ribiere_plus(p) == 1.0
    assert fr_pr(p) == 1.0
    assert hestenes_stiefel(p) == 1.0
    assert dai_yuan(p) == 1.25
    assert hager_zhang(p) == (4.0 - 2.0 * 7.0 / 4.0) / 4.0
    far = Products(gg=5.0, pp=4.0, gp=15.0, gd=1.0, pd=-3.0, dd=9.0)
    assert polak_ribiere_plus(far) == 0.0
    assert fr_pr(far) == -1.25
    assert hager_zhang(Products(gg=5.0, pp=4.0, gp=-4.0, gd=3.0, pd=2.9, dd=9.0)) == -1.0 / (3.0 * 0.01)
    # the bound of Hager and Zhang follows the previous gradient where that is below 0.01
    assert hager_zhang(Products(gg=5.0, pp=1e-6, gp=-4.0, gd=3.0, pd=2.999, dd=9.0)) == pytest.approx(
        -1.0 / (3.0 * 1e-3)
    )


@pytest.mark.parametrize(
    ("gp", "rule", "iteration", "expected"),
    [
        (0.5, {}, 3, 1.25),
        (0.5, {"period": 3}, 3, 0.0),
        (0.5, {"period": 3}, 4, 1.25),
        (0.5, {"powell": 0.1}, 3, 0.0),
        (-0.5, {"powell": 0.1}, 3, 0.0),  # gradients that point apart are as far from orthogonal
        (0.5, {"powell": 0.11}, 3, 1.25),
        (-0.5, {"powell": 0.11}, 3, 1.25),
        (0.99, {}, 3, 1.25),  # Powell's 0.2 is the default
        (1.0, {}, 3, 0.0),
        (-1.0, {}, 3, 0.0),
        (-100.0, {"powell": math.inf}, 3, 1.25),
    ],
)
def test_restarts(gp, rule, iteration, expected) -> None:
    products = Products(gg=5.0, pp=4.0, gp=gp, gd=0.0, pd=-4.0, dd=4.0)
    assert ConjugateGradient(fletcher_reeves, **rule).coefficient(products, iteration) == expected


def test_a_formula_without_a_value_restarts() -> None:
    products = Products(gg=5.0, pp=4.0, gp=0.5, gd=0.0, pd=-4.0, dd=4.0)
    assert ConjugateGradient(lambda products: math.nan).coefficient(products, 3) == 0.0


@pytest.mark.parametrize(("descent", "restarted"), [(0.6, False), (0.71, True)])
def test_a_direction_that_hardly_descends_restarts(descent, restarted) -> None:
    """d = -g + last with g = (1, 0) and last = (0, 1): the slope is -1 and |g| |d| is sqrt(2)."""
    space, rule = euclidean(), ConjugateGradient(lambda products: 1.0, powell=math.inf, descent=descent)
    gradient, previous = (gradient_of(space, np.array(g)) for g in ([1.0, 0.0], [0.0, 1.0]))
    search = conjugate(rule, space, gradient, previous, Search(np.array([0.0, 1.0]), -1.0, 0.0, 1.0), iteration=1)
    assert search.direction.tolist() == ([-1.0, 0.0] if restarted else [-1.0, 1.0])
    assert (search.slope, search.coefficient, search.squared) == ((-1.0, 0.0, 1.0) if restarted else (-1.0, 1.0, 2.0))
    assert ConjugateGradient().descent == 1e-6


def test_a_norm_that_rounding_makes_negative_is_zero() -> None:
    assert Gradient(np.zeros(2), np.zeros(2), -1e-30).norm == 0.0


vectors = st.lists(st.floats(-1e3, 1e3, width=32), min_size=4, max_size=4).map(np.array)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(new=vectors, old=vectors, last=vectors, beta=st.sampled_from(FORMULAS), powell=st.sampled_from([0.2, math.inf]))
def test_the_direction_is_always_downhill(new, old, last, beta, powell) -> None:
    space = metric(np.diag([1.0, 3.0, 0.1, 10.0]))
    gradient, previous = gradient_of(space, new), gradient_of(space, old)
    rule = ConjugateGradient(beta, powell=powell)
    before = Search(last, space.dual(old, last), 0.0, space.inner(last, last))
    search = conjugate(rule, space, gradient, previous, before, iteration=1)
    assert search.squared == pytest.approx(space.inner(search.direction, search.direction), rel=1e-7, abs=1e-7)
    assert np.isfinite(search.direction).all()
    assert search.slope == pytest.approx(space.dual(new, search.direction), rel=1e-9, abs=1e-300)
    assert search.slope <= -rule.descent * gradient.norm * space.norm(search.direction) * (1.0 - 1e-12)


def test_an_overflowing_direction_restarts() -> None:
    space = euclidean()
    gradient, previous = Gradient(np.ones(2), np.ones(2), 2.0), Gradient(1e-3 * np.ones(2), 1e-3 * np.ones(2), 2e-6)
    last = Search(np.array([1e200, -1e200]), -1.0, 0.0, math.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        search = conjugate(ConjugateGradient(fletcher_reeves), space, gradient, previous, last, iteration=1)
    assert np.array_equal(search.direction, steepest(gradient).direction)
