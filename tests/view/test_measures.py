"""Volumes and distances against those of balls, with the order at which they converge."""

import numpy as np
import pytest

from oncology.view.measures import front_distances, iso_surface, level_table, reached, volumes_above
from tests.view.balls import box_mesh, density, radius, volume

FRONT = 15.0
LEVELS = (0.05, 0.25, 0.6)


def test_volumes_converge_to_the_balls_at_second_order():
    exact = np.array([volume(FRONT, level) for level in LEVELS])
    errors = []
    for count in (16, 32):
        mesh = box_mesh(32.0, count)
        errors.append(np.abs(volumes_above(mesh, density(mesh.points, FRONT), LEVELS) / exact - 1))
    assert (errors[1] < 0.02).all()
    assert (np.log2(errors[0] / errors[1]) > 1.6).all()


def test_volumes_are_those_inside_the_iso_surface():
    mesh = box_mesh(30.0, 15)
    values = density(mesh.points, FRONT)
    for level, found in zip(LEVELS, volumes_above(mesh, values, LEVELS), strict=True):
        assert iso_surface(mesh, values, level).clean().volume / 1e3 == pytest.approx(found, rel=1e-5)


def test_distances_of_fronts_are_those_of_the_spheres():
    mesh = box_mesh(32.0, 26)
    mean, largest = front_distances(mesh, density(mesh.points, FRONT), (0.02, 0.05, 0.25), 0.25)
    exact = [radius(FRONT, level) - radius(FRONT, 0.25) for level in (0.02, 0.05)]
    assert mean[:2] == pytest.approx(exact, abs=0.12)
    assert largest[:2] == pytest.approx(exact, abs=0.4)
    assert mean[2] == pytest.approx(0.0, abs=1e-6)


def test_distances_of_shifted_balls_have_the_right_mean_and_largest():
    """A ball of 20 mm around another, whose centre lies 4 mm off."""
    mesh = box_mesh(32.0, 26)
    shift = 4.0
    to_rim = np.linalg.norm(mesh.points, axis=1) - 10.0
    to_front = np.linalg.norm(mesh.points - [shift, 0.0, 0.0], axis=1) - 20.0
    # 0.5 on the inner sphere, 0.1 on the outer one, linear across both
    share = np.where(
        to_rim < 0, to_rim / 10.0, np.where(to_front > 0, 1.0 + to_front / 10.0, to_rim / (to_rim - to_front))
    )
    mean, largest = front_distances(mesh, 0.5 - 0.4 * share, (0.1,), 0.5)
    angle = np.linspace(0, np.pi, 2001)
    exact = np.sqrt(shift**2 + 400 + 2 * shift * 20 * np.cos(angle)) - 10.0
    assert mean[0] == pytest.approx(np.trapezoid(exact * np.sin(angle), angle) / 2, abs=0.15)
    assert largest[0] == pytest.approx(exact.max(), abs=0.3)


def test_measures_are_the_same_where_the_tumour_is():
    mesh = box_mesh(32.0, 16)
    frames = np.array([density(mesh.points, front) for front in (4.0, 8.0)])
    part, vertices = reached(mesh, frames, 0.05)
    assert len(part.cells) < 0.6 * len(mesh.cells)
    for whole, local in zip(frames, frames[:, vertices], strict=True):
        assert volumes_above(part, local, LEVELS) == pytest.approx(volumes_above(mesh, whole, LEVELS), rel=1e-12)
        for here, there in zip(
            front_distances(part, local, (0.05,), 0.25), front_distances(mesh, whole, (0.05,), 0.25), strict=True
        ):
            assert here == pytest.approx(there, rel=1e-6)


def test_where_there_is_no_rim_there_is_no_distance():
    mesh = box_mesh(10.0, 4)
    mean, largest = front_distances(mesh, np.full(len(mesh.points), 0.1), (0.05,), 0.25)
    assert np.isnan([*mean, *largest]).all()


def test_the_rims_are_among_the_levels():
    levels = level_table((0.3, 0.77))
    assert {0.3, 0.77} <= set(levels)
    assert list(levels) == sorted(set(levels))
