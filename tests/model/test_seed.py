"""The seed: its integral, its edge, its derivatives, and what a mesh shows of it that is too coarse for it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncology.model.cells import CellSpace
from oncology.model.seed import Seed
from oncology.model.tumour import PARAMETERS, Tumour, TumourChange
from oncology.optimise import taylor_test

GRID = np.stack(np.meshgrid(*[np.arange(-10.0, 10.0, 0.5)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
CENTRE = np.array([0.3, -0.2, 0.1])
SQUARES = {1: 16.0 / 15.0, 2: np.pi / 3.0, 3: 32.0 * np.pi / 105.0}  # integral of (1 - r^2)^2 over the unit ball


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_integral_and_edge(dimension):
    axis = np.arange(-8.0, 8.0, 0.1 if dimension < 3 else 0.25)
    points = np.stack(np.meshgrid(*[axis] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension)
    density = Seed(0.5, 6.5).density(points, CENTRE[:dimension])
    cell = (axis[1] - axis[0]) ** dimension
    assert density.sum() * cell == pytest.approx(0.5 * SQUARES[dimension] * 6.5**dimension, rel=1e-3)
    away = np.linalg.norm(points - CENTRE[:dimension], axis=1)
    assert not density[away >= 6.5].any() and (density[away < 6.4] > 0.0).all() and density.max() <= 0.5


def test_a_gaussian_of_the_stated_width_has_the_same_curvature():
    seed, near = Seed(0.5, 6.0), np.array([[0.05, 0.0, 0.0]])
    gaussian = 0.5 * np.exp(-0.5 * 0.05**2 / seed.width**2)
    assert seed.density(near, np.zeros(3))[0] == pytest.approx(gaussian, abs=1e-8)


@pytest.mark.parametrize("spacing", [0.0, 4.0, 9.0])
def test_slopes_by_centre_and_radius(spacing):
    """Rate 2 of the densities along each input and along all, whether the ball is widened or not."""
    seed, x = Seed(0.5, 6.5), np.array([*CENTRE, 6.5])
    slopes = seed.slopes(GRID, CENTRE, spacing)
    for direction in (*np.eye(4), np.array([0.5, -1.0, 0.3, 0.8])):
        test = taylor_test(
            lambda p: Seed(0.5, p[3]).density(GRID, p[:3], spacing),
            x,
            0.1 * direction,
            0.1 * slopes @ direction,
            norm=lambda v: float(np.linalg.norm(v)),
        )
        assert test.rate == pytest.approx(2.0, abs=0.1)


def test_a_ball_between_the_points_keeps_its_cells():
    """Wherever its centre lies; and a mesh that is fine enough shows the ball as it is."""
    exact = 0.5 * SQUARES[3] * 6.5**3
    for spacing, error in ((2.5, 0.01), (4.0, 0.02), (6.4, 0.1), (13.0, 0.1)):
        axis = spacing * np.arange(-6.0, 7.0)
        points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
        for number in range(5):
            centre = np.random.default_rng(number).uniform(-0.5, 0.5, 3) * spacing
            mass = Seed(0.5, 6.5).density(points, centre, spacing).sum() * spacing**3
            assert mass == pytest.approx(exact, rel=error), (spacing, number)
    plain, shown = Seed().density(GRID, CENTRE), Seed().density(GRID, CENTRE, 1.8)
    assert np.abs(plain - shown).max() < 5e-4


FOCI = CENTRE + np.array([[0.0, 0.0, 0.0], [6.0, 3.0, -2.0], [-7.0, -7.0, 0.0]])


@settings(max_examples=30)
@given(st.lists(st.tuples(*[st.floats(-12.0, 12.0)] * 3), min_size=1, max_size=5), st.floats(0.05, 1.0))
def test_several_foci_join_without_leaving_0_to_1(centres, amplitude):
    """The order of the foci does not matter, one alone is the plain seed, and a further one only adds cells."""
    seed, centres = Seed(amplitude, 6.5), np.array(centres)
    joined, balls = seed.density(GRID[::7], centres), [seed.density(GRID[::7], centre) for centre in centres]
    assert joined.min() >= 0.0 and joined.max() <= 1.0
    np.testing.assert_allclose(joined, seed.density(GRID[::7], centres[::-1]), atol=1e-15)
    np.testing.assert_array_equal(seed.density(GRID[::7], centres[:1]), balls[0])
    assert (joined >= np.max(balls, axis=0) - 1e-15).all() and (joined <= np.sum(balls, axis=0) + 1e-15).all()


@pytest.mark.parametrize("spacing", [0.0, 4.0, 9.0])
def test_slopes_by_the_centres_of_all_foci_and_the_radius(spacing):
    """Balls that overlap and balls that do not: rate 2 along each input and along all; one focus is the plain seed."""
    x = np.array([*FOCI.ravel(), 6.5])
    slopes = Seed(0.5, 6.5).slopes(GRID, FOCI, spacing)
    assert slopes.shape == (len(GRID), 10)
    for direction in (*np.eye(10), np.array([0.5, -1.0, 0.3, 0.2, 0.9, -0.4, 0.1, -0.6, 0.7, 0.8])):
        test = taylor_test(
            lambda p: Seed(0.5, p[9]).density(GRID, p[:9].reshape(3, 3), spacing),
            x,
            0.1 * direction,
            0.1 * slopes @ direction,
            norm=lambda v: float(np.linalg.norm(v)),
        )
        assert test.rate == pytest.approx(2.0, abs=0.1)
    one = Seed(0.5, 6.5)
    np.testing.assert_array_equal(one.slopes(GRID, FOCI[:1], spacing), one.slopes(GRID, FOCI[0], spacing))


def test_a_tumour_starts_from_all_its_seeds():
    space = CellSpace(2.0 * np.vstack([np.zeros(3), np.eye(3)]), np.array([[0, 1, 2, 3]]), np.array([8.0 / 6.0]))
    tumour = Tumour(0.2, 0.02, 0.02, (0.5, 0.0, 0.0), -100.0, Seed(0.4, 5.0), others=((0.0, 2.0, 1.0),))
    assert tumour.names[3:9] == ("seed_x", "seed_y", "seed_z", "seed2_x", "seed2_y", "seed2_z")
    np.testing.assert_array_equal(tumour.values, [0.2, 0.02, 0.02, 0.5, 0.0, 0.0, 0.0, 2.0, 1.0, -100.0, 5.0])
    np.testing.assert_array_equal(tumour.start(space), tumour.profile.density(space.points, tumour.seeds, 2.0))
    assert not np.array_equal(tumour.start(space), replace(tumour, others=()).start(space))
    change = TumourChange.of(np.arange(11.0))
    np.testing.assert_array_equal(change.values, np.arange(11.0))
    expected = tumour.start_slopes(space) @ [3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0]
    np.testing.assert_allclose(change.start(tumour, space), expected)
    assert replace(tumour, others=()).names == PARAMETERS


def test_a_tumour_starts_from_its_seed_and_changes_with_it():
    cells = np.array([[0, 1, 2, 3]])
    space = CellSpace(2.0 * np.vstack([np.zeros(3), np.eye(3)]), cells, np.array([8.0 / 6.0]))
    assert space.spacing == pytest.approx(2.0)
    tumour = Tumour(0.2, 0.02, 0.02, (0.5, 0.0, 0.0), -100.0, Seed(0.4, 5.0))
    np.testing.assert_array_equal(tumour.start(space), tumour.profile.density(space.points, tumour.seed, 2.0))
    assert tumour.seed_radius == tumour.values[-1] == 5.0
    change = TumourChange.of(np.array([0.0, 0.0, 0.0, 0.1, 0.2, 0.3, 0.0, 0.4]))
    assert change.seed_radius == 0.4
    expected = tumour.start_slopes(space) @ [0.1, 0.2, 0.3, 0.4]
    np.testing.assert_allclose(change.start(tumour, space), expected)
    assert TumourChange(onset=1.0).start(tumour, space) is None
