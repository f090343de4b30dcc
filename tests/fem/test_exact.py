"""The exact solutions fulfil their equations: derivatives by sixth-order differences."""

import numpy as np
import pytest

from oncology.verify.exact import cosine_mode, gompertz_gaussian, heat_gaussian, logistic_wave, power_wave

FIRST = {-3: -1 / 60, -2: 3 / 20, -1: -3 / 4, 1: 3 / 4, 2: -3 / 20, 3: 1 / 60}
SECOND = {-3: 1 / 90, -2: -3 / 20, -1: 3 / 2, 0: -49 / 18, 1: 3 / 2, 2: -3 / 20, 3: 1 / 90}
TIME = 4.0
SPACING = 0.05


def time_derivative(density, points):
    return sum(w * density(points, TIME + k * SPACING) for k, w in FIRST.items()) / SPACING


def second_derivative(density, points, a, b):
    """Derivative by the coordinates a and b."""
    step = SPACING * np.eye(points.shape[1])
    if a == b:
        return sum(w * density(points + k * step[a], TIME) for k, w in SECOND.items()) / SPACING**2
    pairs = ((k, m, v * w) for k, v in FIRST.items() for m, w in FIRST.items())
    return sum(w * density(points + k * step[a] + m * step[b], TIME) for k, m, w in pairs) / SPACING**2


def laplacian(density, points):
    return sum(second_derivative(density, points, a, a) for a in range(points.shape[1]))


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 3.0])
def test_power_wave(power):
    points = np.linspace(-20.0, 20.0, 41)[:, None]

    def density(x, t):
        return power_wave(x[:, 0], t, 0.5, 0.1, power)

    u = density(points, TIME)
    growth = 0.1 * u * (1.0 - u**power)
    np.testing.assert_allclose(time_derivative(density, points), 0.5 * laplacian(density, points) + growth, atol=1e-9)


def test_logistic_wave_moves_at_its_speed():
    x = np.linspace(-30.0, 30.0, 31)
    speed = 5.0 * np.sqrt(0.1 * 0.5 / 6.0)
    np.testing.assert_allclose(
        logistic_wave(x + 7.0 * speed, 7.0, 0.5, 0.1), logistic_wave(x, 0.0, 0.5, 0.1), rtol=1e-12
    )


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_gompertz_gaussian(dimension):
    points = np.random.default_rng(0).uniform(-8.0, 8.0, (50, dimension))

    def density(x, t):
        return gompertz_gaussian(x, t, 0.4, 0.07, 30.0, -0.3)

    u = density(points, TIME)
    growth = -0.07 * u * np.log(u)
    np.testing.assert_allclose(time_derivative(density, points), 0.4 * laplacian(density, points) + growth, atol=1e-9)
    assert u.max() <= 1.0


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_heat_gaussian(dimension):
    rng = np.random.default_rng(1)
    root = rng.normal(size=(dimension, dimension))
    tensor = 0.2 * root @ root.T + 0.1 * np.eye(dimension)
    points = rng.uniform(-8.0, 8.0, (50, dimension))

    def density(x, t):
        return heat_gaussian(x, t, tensor, 20.0 * np.eye(dimension))

    axes = range(dimension)
    flux = sum(tensor[a, b] * second_derivative(density, points, a, b) for a in axes for b in axes)
    np.testing.assert_allclose(time_derivative(density, points), flux, atol=1e-9)


def test_cosine_mode():
    points = np.linspace(0.0, 50.0, 26)[:, None]

    def density(x, t):
        return cosine_mode(x[:, 0], t, 0.3, 50.0, 2)

    np.testing.assert_allclose(time_derivative(density, points), 0.3 * laplacian(density, points), atol=1e-10)
