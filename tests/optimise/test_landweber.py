"""Backward heat problem, solved exactly: Landweber's filter factors and the discrepancy principle."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

from oncology.optimise import (
    ConjugateGradient,
    Fixed,
    FunctionProblem,
    Status,
    Stop,
    Tangent,
    minimise,
    power_iteration,
    weighted_l2,
    zero,
)

CELLS, LENGTH, DIFFUSION, TIME = 64, 100.0, 0.13, 180.0  # mm, mm^2/day, day
H = LENGTH / CELLS
SPACE = weighted_l2(np.full(CELLS, H))
SINGULAR = np.exp(-DIFFUSION * TIME * (2.0 / H * np.sin(np.arange(CELLS) * np.pi / (2 * CELLS))) ** 2)


def heat(u: np.ndarray) -> np.ndarray:
    """Exact semi-discrete heat flow with zero flux: self-adjoint, diagonal in cosines."""
    return scipy.fft.idct(SINGULAR * scipy.fft.dct(u, norm="ortho"), norm="ortho")


def source_problem(data: np.ndarray) -> FunctionProblem:
    return FunctionProblem(
        value=lambda u: 0.5 * SPACE.norm(heat(u) - data) ** 2,
        derivative=lambda u: H * heat(heat(u) - data),
        tangent=lambda u, d: Tangent(SPACE.norm(heat(d)) ** 2),
        residual=lambda u: SPACE.norm(heat(u) - data),
    )


def noisy_data(share: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Source, data with noise of the given share of their norm, and the norm of the noise."""
    x = (np.arange(CELLS) + 0.5) * H
    source = 0.6 * np.exp(-((x - 60.0) ** 2) / (2 * 6.0**2))
    noise = np.random.default_rng(2024).standard_normal(CELLS)
    clean = heat(source)
    noise *= share * SPACE.norm(clean) / SPACE.norm(noise)
    return source, clean + noise, SPACE.norm(noise)


LANDWEBER = (SPACE, ConjugateGradient(zero), Fixed(1.0))


@pytest.mark.parametrize("iterations", [1, 10, 200])
def test_landweber_applies_its_filter_factors(iterations: int) -> None:
    _, data, _ = noisy_data(0.05)
    result = minimise(source_problem(data), np.zeros(CELLS), *LANDWEBER, Stop(0.0, max_iterations=iterations))
    factors = 1.0 - (1.0 - SINGULAR**2) ** iterations
    data_modes = scipy.fft.dct(data, norm="ortho")
    assert SINGULAR * scipy.fft.dct(result.x, norm="ortho") == pytest.approx(factors * data_modes, abs=1e-12)
    assert result.counts.forward == result.counts.gradient == iterations + 1
    assert result.counts.tangent == 0


def test_landweber_stops_at_the_index_that_the_filter_factors_predict() -> None:
    _, data, delta = noisy_data(0.05)
    result = minimise(
        source_problem(data), np.zeros(CELLS), *LANDWEBER, Stop(0.0, noise_level=delta, max_iterations=5000)
    )
    modes = np.sqrt(H) * scipy.fft.dct(data, norm="ortho")
    residuals = [float(np.linalg.norm((1.0 - SINGULAR**2) ** j * modes)) for j in range(5000)]
    predicted = next(j for j, residual in enumerate(residuals) if residual <= 1.1 * delta)
    assert result.status is Status.DISCREPANCY
    assert len(result.history) - 1 == predicted
    assert [record.residual for record in result.history] == pytest.approx(residuals[: predicted + 1], rel=1e-10)


def test_conjugate_gradients_reach_the_discrepancy_in_far_fewer_iterations() -> None:
    source, data, delta = noisy_data(0.01)
    stop = Stop(0.0, noise_level=delta, max_iterations=5000)
    slow = minimise(source_problem(data), np.zeros(CELLS), *LANDWEBER, stop)
    fast = minimise(source_problem(data), np.zeros(CELLS), SPACE, stop=stop)
    assert fast.status is Status.DISCREPANCY
    assert slow.history[-1].iteration >= 7 * fast.history[-1].iteration
    assert abs(int(np.argmax(fast.x)) - int(np.argmax(source))) <= 1


def test_the_landweber_length_comes_from_the_norm_of_the_forward_map() -> None:
    start = np.random.default_rng(3).standard_normal(CELLS)
    norm_squared = power_iteration(lambda u: H * heat(heat(u)), SPACE, start, iterations=500)
    assert norm_squared == pytest.approx(1.0, rel=1e-9)


def test_a_length_beyond_the_limit_diverges_and_says_so() -> None:
    _, data, _ = noisy_data(0.05)
    result = minimise(
        source_problem(data), np.zeros(CELLS), SPACE, ConjugateGradient(zero), Fixed(2.5), Stop(0.0, max_iterations=500)
    )
    assert result.status is Status.STAGNATION
    assert len(result.history) < 500
