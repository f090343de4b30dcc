"""Bounds: constrained minima against scipy and the optimality conditions, in any inner product."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from oncology.optimise import (
    Armijo,
    Box,
    ConjugateGradient,
    Fixed,
    Status,
    Stop,
    euclidean,
    fletcher_reeves,
    h1_by_solve,
    h1_in_time,
    minimise,
    newton_step,
    polak_ribiere_plus,
    zero,
)
from tests.optimise.costs import ROSENBROCK, quadratic, spd


@pytest.mark.parametrize("beta", [zero, fletcher_reeves, polak_ribiere_plus])
@pytest.mark.parametrize("space", [euclidean(), h1_in_time(0.1, 0.3)], ids=["euclidean", "Sobolev"])
@pytest.mark.parametrize("seed", range(6))
def test_bounded_quadratics_end_at_the_solution_of_bounded_least_squares(beta, space, seed) -> None:
    size = 20
    matrix, centre = spd(size, seed, condition=30.0), np.random.default_rng(seed).uniform(-1.0, 2.0, size)
    factor = np.linalg.cholesky(matrix).T
    known = scipy.optimize.lsq_linear(factor, factor @ centre, bounds=(0.0, 1.0), method="bvls", tol=1e-14).x
    result = minimise(
        quadratic(matrix, centre),
        np.full(size, 0.5),
        space,
        ConjugateGradient(beta),
        stop=Stop(1e-7, stagnation=0.0, max_iterations=2000),
        bounds=Box(0.0, 1.0),
    )
    assert result.status is Status.CONVERGED
    # the smallest eigenvalue is 1, so the error is at most the derivative on the free components
    assert np.linalg.norm(result.x - known) <= np.linalg.norm(result.state.gradient.derivative) + 1e-9
    assert 0.0 < np.count_nonzero((known == 0.0) | (known == 1.0)) < size


@settings(derandomize=True, deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000))
def test_iterates_stay_inside_and_the_cost_never_rises(seed: int) -> None:
    rng = np.random.default_rng(seed)
    metric = spd(6, seed + 1)
    trail: list[tuple[np.ndarray, float]] = []
    minimise(
        quadratic(spd(6, seed), rng.uniform(-2.0, 3.0, 6)),
        rng.uniform(-1.0, 2.0, 6),
        h1_by_solve(lambda f: np.linalg.solve(metric, f), lambda a: metric @ a),
        stop=Stop(max_iterations=30),
        bounds=Box(0.0, 1.0),
        callback=lambda state: trail.append((state.x, state.value)),
    )
    for x, _ in trail:
        assert np.all((x >= 0.0) & (x <= 1.0))
    values = np.array([value for _, value in trail])
    assert np.all(np.diff(values) <= 1e-14 * np.abs(values[:-1]))


def test_the_bounded_rosenbrock_valley_ends_where_scipy_ends() -> None:
    start = np.array([-1.2, 0.8, 0.3])
    known = scipy.optimize.minimize(
        scipy.optimize.rosen, start, jac=scipy.optimize.rosen_der, bounds=[(-2.0, 0.8)] * 3, tol=1e-12
    )
    result = minimise(
        ROSENBROCK,
        start,
        euclidean(),
        step=Armijo(newton_step),
        stop=Stop(1e-7, stagnation=0.0, max_iterations=2000),
        bounds=Box(np.full(3, -2.0), np.full(3, 0.8)),
    )
    assert result.status is Status.CONVERGED
    assert result.x == pytest.approx(known.x, abs=1e-5)


def test_projected_landweber_reaches_the_bounded_minimum() -> None:
    matrix, centre = spd(5, 3, condition=10.0), np.array([-1.0, 0.2, 0.5, 1.4, 0.9])
    steps = (ConjugateGradient(zero), Fixed(0.1))
    result = minimise(
        quadratic(matrix, centre),
        np.zeros(5),
        euclidean(),
        *steps,
        Stop(1e-8, stagnation=0.0, max_iterations=5000),
        Box(0.0, 1.0),
    )
    slopes = matrix @ (result.x - centre)
    free = (result.x > 0.0) & (result.x < 1.0)
    assert result.status is Status.CONVERGED
    assert np.linalg.norm(slopes[free]) <= 1e-8 * result.history[0].gradient_norm
    assert np.all(slopes[result.x == 0.0] >= 0.0) and np.all(slopes[result.x == 1.0] <= 0.0)


def test_torch_tensors_have_bounds_too() -> None:
    torch = pytest.importorskip("torch")
    box, x = Box(0.0, 1.0), torch.tensor([0.0, 1.0, 0.5], dtype=torch.float64)
    assert box.free(x, torch.ones(3, dtype=torch.float64)).tolist() == [0.0, 1.0, 1.0]
    assert box.inward(x, torch.ones(3, dtype=torch.float64)).tolist() == [1.0, 0.0, 1.0]
    assert box.project(2.0 * x).tolist() == [0.0, 1.0, 1.0]


def test_an_interrupted_bounded_run_continues_bit_for_bit() -> None:
    problem, box = quadratic(spd(12, 4), np.random.default_rng(4).uniform(-1.0, 2.0, 12)), Box(0.0, 1.0)
    start, space = np.full(12, 0.5), h1_in_time(0.1, 0.3)
    whole = minimise(problem, start, space, stop=Stop(0.0, max_iterations=20), bounds=box)
    half = minimise(problem, start, space, stop=Stop(0.0, max_iterations=6), bounds=box)
    resumed = minimise(problem, half.state, space, stop=Stop(0.0, max_iterations=20), bounds=box)
    assert np.array_equal(resumed.x, whole.x)
    assert repr(resumed.history) == repr(whole.history)
