"""The solver that grows the benchmark's patients, against exact and converged solutions."""

import math

import numpy as np
import pytest

from benchmarks.independent_growth import Density, Medium, _coefficients, _stage, cells_per_edge, compact_seed, march

RHO = 0.04


def grown(medium, seed, place, until, pace=0.1):
    """Density on a day; the step divides it."""
    for day, density in march(medium, seed, np.asarray(place, float), pace):
        if day >= until - 1e-9:
            return density
    raise AssertionError


def test_travelling_wave_with_second_order():
    # Ablowitz and Zeppetella (1979): u = (1 + exp((x - c t)/(sqrt(6) l)))^-2, c = 5 l rho/sqrt(6), l = 1 mm
    until = 75.0

    def wave(x, day):
        return (1.0 + np.exp((x - 16.0 - 5.0 * RHO * day / math.sqrt(6.0)) / math.sqrt(6.0))) ** -2

    errors = []
    for spacing, pace in ((1.0, 0.1), (0.5, 0.05)):
        medium = Medium(np.full((round(60.0 / spacing), 1, 1), RHO), RHO, spacing)
        density = grown(medium, lambda squared: wave(np.sqrt(squared), 0.0), (0.0, 0.0, 0.0), until, pace)
        x = spacing * density.voxels[:, 0]
        errors.append(np.abs(density.values[:, 0] - wave(x, until))[x < 36.0].max())
    assert errors[0] < 0.02
    assert errors[0] > 3.5 * errors[1]


def test_flux_between_voxels_is_exact():
    # piecewise linear with one flux through both tissues: nothing accumulates away from the ends
    medium = Medium(np.array([0.5, 0.5, 0.02, 0.02]).reshape(4, 1, 1), RHO, 1.0, 3)
    resistance = np.repeat([2.0, 2.0, 50.0, 50.0], 3) / 3.0
    u = (1.0 - 0.008 * (np.cumsum(resistance) - resistance / 2.0)).astype(np.float32)
    values = np.broadcast_to(u.reshape(4, 3, 1, 1), (4, 3, 3, 3)).reshape(4, 27).copy()
    density = Density(medium, np.argwhere(medium.diffusivity > 0.0), values)
    coefficients, radius = _coefficients(density)
    flat = values.ravel()
    change = _stage(coefficients, 3, 0.0, (1.0, 0.0, 0.0, 0.0, 0.0), flat, flat, flat, flat).reshape(12, 9)
    assert np.abs(change[1:-1]).max() < 1e-5 * radius
    assert np.abs(change.sum()) < 1e-4 * np.abs(change[0]).sum()  # nothing is lost


def test_sphere_as_in_radial_finite_volumes():
    # mass and radii from radial finite volumes with cells of 0.01 mm, D = 0.5, rho = 0.1, 60 days
    # one octant, 1 mm voxels in halves; the seed is a Gaussian that is cut below 0.1
    medium = Medium(np.full((36, 36, 36), 0.5), 0.1, 1.0, 2)
    cut = 20.0 * math.log(5.0)
    density = grown(medium, lambda s: np.where(s <= cut, 0.5 * np.exp(-s / 20.0), 0.0), (-0.5, -0.5, -0.5), 60.0, 0.05)
    assert float(density.values.sum()) == pytest.approx(17881.9, rel=0.003)
    for threshold, radius in ((0.5, 13.512), (0.1, 22.266)):
        assert (6.0 * density.volume(threshold) / math.pi) ** (1.0 / 3.0) == pytest.approx(radius, abs=0.03)


def test_tissue_bounds_and_places():
    diffusivity = np.full((30, 20, 20), 0.3)
    diffusivity[20:] = 0.0
    medium = Medium(diffusivity, RHO, 2.0, 2)
    density = grown(medium, compact_seed(6.0), (15.2, 9.7, 10.0), 100.0)
    assert density.voxels[:, 0].max() == 19
    assert 0.0 <= density.values.min() and density.values.max() <= 1.0 + 1e-6
    image = density.centres()
    assert image[20:].max() == 0.0
    centre = density.at(np.array([[15.0, 10.0, 10.0], [25.0, 10.0, 10.0], [99.0, 0.0, 0.0]]))
    assert centre[0] == pytest.approx(image[15, 10, 10], rel=0.05)
    assert centre[1] == centre[2] == 0.0
    assert density.volume(0.25) == pytest.approx(8.0 * np.count_nonzero(image > 0.25), rel=0.05)


def test_seed_and_cells():
    seed = compact_seed(6.0)
    assert seed(np.array([0.0, 18.0, 36.0, 50.0])) == pytest.approx([0.5, 0.125, 0.0, 0.0])
    assert [cells_per_edge(1.0, length**2 * RHO, RHO) for length in (2.0, 1.0, 0.6, 0.1)] == [1, 2, 3, 4]
    assert cells_per_edge(2.0, RHO, RHO) == 4
