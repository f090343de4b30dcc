"""What the browser samples: logits that move with the front, distances to the surface, images at the right place."""

import numpy as np
import pytest

from oncology.imaging import sample
from oncology.model.trajectory import Trajectory
from oncology.view.grids import (
    BAND,
    HIGH,
    LOW,
    MOST_FRAMES,
    MOST_IMAGE_VOXELS,
    MOST_VOXELS,
    density_grid,
    image_grid,
    logit,
    session_grid,
)
from tests.view.balls import SPEED, WIDTH, box_mesh, growing

STEP = (HIGH - LOW) / 255


def centres(grid, shape):
    return grid.origin + grid.spacing * np.moveaxis(np.indices(shape), 0, -1)


def test_logits_of_a_growing_ball_are_those_of_its_formula():
    mesh = box_mesh(30.0, 24)
    grid = density_grid(mesh, growing(mesh, np.array([0.0, 20.0, 40.0])).trajectory)
    r = np.linalg.norm(centres(grid, grid.distance.shape), axis=-1)
    seen = (r > 4.0) & (r < 24.0)
    # u'' <= u / w^2: linear interpolation along the longest edge (the cubes' diagonal), and half a step of a byte
    bound = 3 * 2.5**2 / (8 * WIDTH**2) + 0.51 * STEP
    for day, frame in zip(grid.days, grid.frames, strict=True):
        exact = (6.0 + SPEED * day - r) / WIDTH
        found = LOW + STEP * frame
        assert np.abs(found - exact)[seen].max() < bound


def test_half_way_in_time_the_front_is_half_way():
    """Linear in the logit, the front on a day between two frames is where it belongs; in u it would not be."""
    mesh = box_mesh(30.0, 24)
    ends, middle = (
        density_grid(mesh, growing(mesh, np.array(days)).trajectory) for days in ([0.0, 60.0], [30.0, 60.0])
    )
    between = ends.frames.astype(float).mean(axis=0)
    index = np.round((middle.origin - ends.origin) / ends.spacing).astype(int)
    assert not index.any()
    near = np.abs(LOW + STEP * middle.frames[0] - logit(np.array(0.25))) < 1.0
    assert np.abs(between - middle.frames[0])[near].max() < 2.0


def test_distances_to_the_surface_of_a_cube():
    half = 12.0
    mesh = box_mesh(half, 8)
    grid = density_grid(mesh, growing(mesh, np.array([0.0, 1.0])).trajectory)
    points = centres(grid, grid.distance.shape)
    outward = np.abs(points) - half
    exact = -np.where((outward < 0).all(axis=-1), outward.max(axis=-1), np.linalg.norm(np.maximum(outward, 0), axis=-1))
    found = grid.distance * (2 * BAND / 255) - BAND
    assert np.abs(found - np.clip(exact, -BAND, BAND)).max() < 1.01 * BAND / 255


def test_grids_stay_small_however_large_the_mesh():
    mesh = box_mesh(80.0, 20)
    days = np.linspace(0.0, 300.0, 90)
    grid = density_grid(mesh, growing(mesh, days).trajectory)
    assert len(grid.days) <= MOST_FRAMES
    assert grid.days[0] == days[0] and grid.days[-1] == days[-1]
    assert grid.distance.size < 1.25 * MOST_VOXELS
    assert image_grid(mesh, None).brightness.size < 1.05 * MOST_IMAGE_VOXELS
    shell = np.ones(grid.distance.shape, dtype=bool)
    shell[1:-1, 1:-1, 1:-1] = False
    assert not grid.frames[:, shell].any()  # so that every surface closes


def test_a_trajectory_without_any_tumour_is_empty_but_fits():
    mesh = box_mesh(10.0, 4)
    grid = density_grid(mesh, Trajectory(np.array([0.0, 1.0]), np.zeros((2, len(mesh.points))), mesh.fingerprint))
    assert not grid.frames.any()


def test_images_are_at_their_place(toy):
    image = image_grid(box_mesh(10.0, 2), toy)
    points = centres(image, image.brightness.shape)[::9, ::9, ::9].reshape(-1, 3)
    shade = 0.8 * sample(toy.white, points) + 0.5 * sample(toy.grey, points)
    assert image.brightness[::9, ::9, ::9].ravel() == pytest.approx(255 * shade, abs=0.51)


def test_labels_stay_on_their_own_voxels(toy):
    mesh = box_mesh(10.0, 2)
    around = density_grid(mesh, growing(mesh, np.array([0.0, 1.0])).trajectory)
    for session in toy.sessions:
        grid = session_grid(session, toy.labels, around)
        for mask, least in ((session.whole, 64), (session.core, 192)):
            places = np.argwhere(grid.labels >= least) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
            assert places == pytest.approx(mask.world(np.argwhere(mask.data)))
        assert set(np.unique(grid.labels)) == {0, 127, 255}
        assert grid.labels.size < session.whole.data.size
        ends = np.array([[-0.5] * 3, np.array(grid.labels.shape) - 0.5]) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
        assert ends @ grid.texture[:3, :3].T + grid.texture[:3, 3] == pytest.approx(np.array([[0.0] * 3, [1.0] * 3]))


def test_logits_of_undershoots_and_of_full_cells_are_the_ends():
    assert logit(np.array([-1e-3, 0.0, 1.0, 1.1])) == pytest.approx([LOW, LOW, HIGH, HIGH])
    assert logit(np.array(0.25)) == pytest.approx(np.log(1 / 3))
