"""The tests of derivatives are tested: right ones pass with their order, wrong ones are caught, noise is not a rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize

from oncology.optimise import dot_test, h1_in_time, taylor_test

X, D = np.array([0.7, -0.4, 0.3]), np.array([1.0, 0.5, -2.0]) / 10.0
SLOPE = float(scipy.optimize.rosen_der(X) @ D)
CURVATURE = float(D @ scipy.optimize.rosen_hess(X) @ D)


@pytest.mark.parametrize(("order", "known"), [(1, {}), (2, {"slope": SLOPE})])
def test_orders_one_and_two(order: int, known: dict[str, float]) -> None:
    result = taylor_test(scipy.optimize.rosen, X, D, **known)
    assert result.order == order
    assert result.rate == pytest.approx(order, abs=0.02)


def test_order_three() -> None:
    result = taylor_test(scipy.optimize.rosen, X, D, SLOPE, CURVATURE)
    assert result.order == 3
    assert result.rate == pytest.approx(3.0, abs=0.05)


def test_a_slope_that_is_wrong_by_a_thousandth_is_caught() -> None:
    result = taylor_test(scipy.optimize.rosen, X, D, 1.001 * SLOPE, steps=tuple(0.5**k for k in range(16)))
    assert result.rate == pytest.approx(1.0, abs=0.05)


def test_rates_stop_at_the_rounding_floor() -> None:
    steps = tuple(0.5**k for k in range(40))
    result = taylor_test(scipy.optimize.rosen, X, D, SLOPE, CURVATURE, steps)
    assert len(result.rates) < 25
    assert min(result.rates) > 2.9
    assert min(result.residuals) < result.floor


def test_noise_of_a_known_size_is_kept_out() -> None:
    rng = np.random.default_rng(1)

    def noisy(x: np.ndarray) -> float:
        return float(scipy.optimize.rosen(x)) * (1.0 + 1e-9 * rng.uniform(-1.0, 1.0))

    steps = tuple(0.5**k for k in range(30))
    assert taylor_test(noisy, X, D, SLOPE, steps=steps, precision=1e-6).rate == pytest.approx(2.0, abs=0.1)


def test_an_exact_expansion_has_infinite_rate_and_a_hopeless_one_none() -> None:
    assert taylor_test(lambda x: 3.0 * x + 1.0, 2.0, 1.0, slope=3.0).rate == math.inf
    assert math.isnan(taylor_test(lambda x: x**2, 1.0, 1.0, slope=2.0, steps=(1.0,)).rate)


def test_vector_valued_maps_have_rates_too() -> None:
    result = taylor_test(np.sin, X, D, slope=np.cos(X) * D, norm=lambda v: float(np.linalg.norm(v)))
    assert result.rate == pytest.approx(2.0, abs=0.02)


def test_dot_test_accepts_a_transpose_and_catches_an_error() -> None:
    rng = np.random.default_rng(2)
    matrix = rng.standard_normal((5, 4))
    d, w = rng.standard_normal(4), rng.standard_normal(5)

    def dot(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b)

    right = dot_test(lambda v: matrix @ v, lambda c: matrix.T @ c, d, w, dot, dot)
    assert right.error < 1e-15
    assert right.forward == pytest.approx(d @ matrix.T @ w, rel=1e-13)
    assert dot_test(lambda v: matrix @ v, lambda c: 1.01 * matrix.T @ c, d, w, dot, dot).error > 1e-4


def test_the_adjoint_in_a_sobolev_space_is_the_riesz_image_of_the_dual() -> None:
    space = h1_in_time(0.1, 0.5)
    rng = np.random.default_rng(3)
    matrix = rng.standard_normal((3, 10))
    d, w = rng.standard_normal(10), rng.standard_normal(3)
    result = dot_test(
        lambda v: matrix @ v,
        lambda c: space.riesz(matrix.T @ c),
        d,
        w,
        lambda a, b: float(a @ b),
        lambda a, b: space.inner(a, b),
    )
    assert result.error < 1e-14
