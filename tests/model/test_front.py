"""Diffusivities of cells that keep the front's speed: the stencil's dispersion relation and exact slopes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import minimize_scalar

from oncology.model.front import TissueCells, front_factor


@pytest.mark.parametrize("age", [np.inf, 6.0])
@pytest.mark.parametrize("length", [0.5, 0.7, 1.0, 2.0, 4.0])
def test_speed_of_a_lumped_stencil_is_that_of_the_equation(length, age):
    """The final speed, less `3 / (2 k t)` at the time t of that age, k the decay ahead of the front."""
    spacing, rho = 2.5, 0.04
    diffusion = rho * length**2
    factor = float(front_factor(np.array(rho * spacing**2 / diffusion), age)[0])

    def speed(k: float) -> float:
        return (4.0 * factor * diffusion / spacing**2 * np.sinh(0.5 * k * spacing) ** 2 + rho) / k

    slowest = minimize_scalar(speed, bounds=(1e-3, 20.0 / spacing), method="bounded", options={"xatol": 1e-12})
    late = 1.5 * rho / age
    assert slowest.fun - late / slowest.x == pytest.approx(2.0 * rho * length - late * length, rel=1e-7)


@pytest.mark.parametrize("age", [np.inf, 6.0])
@given(log_s=st.floats(-12.0, 12.0))
def test_slope_of_the_front_factor(age, log_s):
    s = np.exp(np.array([log_s]))
    step = 1e-4 * s
    (up, _), (down, _), (_, slope) = (front_factor(s + k * step, age) for k in (1, -1, 0))
    assert (up - down) / (2.0 * step) == pytest.approx(slope, rel=2e-6, abs=1e-9)


def random_cells(seed: int) -> TissueCells:
    rng = np.random.default_rng(seed)
    weights = sparse.random_array((50, 200), density=0.1, rng=rng).tocsr()
    averaging = sparse.csr_array(weights.multiply(1.0 / weights.sum(axis=1)[:, None]))
    white = rng.uniform(0.0, 1.0, 200)
    return TissueCells(averaging, white, (1.0 - white) * rng.integers(0, 2, 200), rng.uniform(1.0, 9.0, 50))


def test_cell_diffusivities_are_homogeneous_with_exact_slopes():
    cells, rates = random_cells(0), np.array([0.2, 0.02, 0.04])
    slopes = cells.coefficients(*rates)
    np.testing.assert_allclose((3.0 * rates) @ cells.coefficients(*(3.0 * rates)), 3.0 * rates @ slopes, rtol=1e-12)
    for k, unit in enumerate(np.eye(3)):
        step = 1e-4 * rates[k] * unit
        up, down = ((rates + sign * step) @ cells.coefficients(*(rates + sign * step)) for sign in (1, -1))
        np.testing.assert_allclose((up - down) / (2e-4 * rates[k]), slopes[k], rtol=2e-7, atol=1e-9)


def test_cells_of_one_tissue():
    """White matter keeps its diffusivity; grey matter without growth too."""
    cells = TissueCells.of_fractions(np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([4.0, 4.0]))
    rates = np.array([0.2, 0.02, 0.04])
    assert (rates @ cells.coefficients(*rates))[0] == pytest.approx(0.2, rel=1e-14)
    rates = np.array([0.2, 0.02, 0.0])
    np.testing.assert_allclose(rates @ cells.coefficients(*rates), rates[:2], rtol=1e-14)
