import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import Delaunay

from oncology.imaging import Volume, cell_average, resample_to, sample
from oncology.imaging.resample import _centroids
from tests.imaging.strategies import affines, coefficients, seeds, shapes


def linear(affine: np.ndarray, shape: tuple[int, ...], c: tuple[float, ...]) -> Volume:
    """The image of c0 + c.x, sampled at the voxel centres."""
    empty = Volume(np.zeros(shape), affine)
    points = empty.world(np.argwhere(np.ones(shape, dtype=bool)))
    return empty.with_data((c[0] + points @ np.array(c[1:])).reshape(shape))


def between_centres(volume: Volume, seed: int, n: int = 30) -> np.ndarray:
    return volume.world(np.random.default_rng(seed).uniform(0, np.array(volume.shape) - 1, (n, 3)))


@given(affines(), shapes, coefficients, seeds)
def test_trilinear_reproduces_linear_functions(affine, shape, c, seed):
    volume = linear(affine, shape, c)
    points = between_centres(volume, seed)
    np.testing.assert_allclose(sample(volume, points), c[0] + points @ np.array(c[1:]), atol=1e-7)


@given(affines(), shapes, seeds)
def test_trilinear_agrees_with_scipy(affine, shape, seed):
    volume = Volume(np.random.default_rng(seed).random(shape), affine)
    points = between_centres(volume, seed)
    expected = ndimage.map_coordinates(volume.data, volume.voxel(points).T, order=1, mode="nearest")
    np.testing.assert_allclose(sample(volume, points), expected, atol=1e-9)


@given(affines(), shapes, seeds)
def test_nearest_gives_the_voxel_whose_box_holds_the_point(affine, shape, seed):
    rng = np.random.default_rng(seed)
    volume = Volume(rng.integers(0, 100, shape), affine)
    ijk = rng.integers(0, shape, (30, 3))
    points = volume.world(ijk + rng.uniform(-0.499, 0.499, ijk.shape))
    np.testing.assert_array_equal(sample(volume, points, order=0), volume.data[tuple(ijk.T)])


@pytest.mark.parametrize("order", [0, 1])
def test_image_ends_at_the_faces_of_its_voxels(order):
    volume = Volume(np.ones((2, 3, 4)), np.diag([2.0, 1.0, 1.0, 1.0]))
    x = [-1.01, -0.99, 2.99, 3.01]  # voxel centres at 0 and 2 mm, faces at -1 and 3 mm
    values = sample(volume, [(a, 1.0, 1.0) for a in x], order=order, outside=7.0)
    np.testing.assert_array_equal(values, [7.0, 1.0, 1.0, 7.0])


@given(affines(), shapes, seeds, st.sampled_from([0, 1]))
def test_resampling_onto_own_grid_changes_nothing(affine, shape, seed, order):
    volume = Volume(np.random.default_rng(seed).random(shape), affine)
    np.testing.assert_array_equal(resample_to(volume, volume, order).data, volume.data)


@given(affines(rotated=False), affines(rotated=False), seeds)
def test_labels_survive_there_and_back_through_a_finer_grid(affine, other, seed):
    """Nearest neighbour through flips and permutations onto a grid three times as fine, and back, is the identity."""
    volume = Volume(np.random.default_rng(seed).integers(0, 5, (3, 4, 5)).astype(np.int16), affine)
    low, high = volume.bounds()
    fine = other.copy()
    directions = np.sign(other[:3, :3])
    world_sizes = np.abs(affine[:3, :3]).sum(axis=1) / 3
    fine[:3, :3] = directions * world_sizes[:, None]
    shape = tuple(np.rint(np.abs(np.linalg.inv(fine[:3, :3])) @ (high - low)).astype(int))
    fine[:3, 3] = (low + high) / 2 - fine[:3, :3] @ ((np.array(shape) - 1) / 2)
    there = resample_to(volume, Volume(np.zeros(shape), fine), order=0)
    back = resample_to(there, volume, order=0)
    assert there.data.dtype == np.int16
    np.testing.assert_array_equal(back.data, volume.data)


@given(affines(), affines(), coefficients)
def test_resampled_linear_image_is_the_function_on_the_new_grid(affine, other, c):
    volume = linear(affine, (5, 5, 5), c)
    centre = volume.world([[2, 2, 2]])[0]
    small = other.copy()
    small[:3, :3] *= 0.4 * volume.voxel_sizes.min() / np.linalg.norm(other[:3, :3], axis=0).max()
    small[:3, 3] = centre - small[:3, :3] @ np.ones(3)
    expected = linear(small, (3, 3, 3), c)
    np.testing.assert_allclose(resample_to(volume, expected).data, expected.data, atol=1e-7)


def test_resampling_fills_what_lies_beyond():
    volume = Volume(np.ones((2, 2, 2), np.float32), np.eye(4))
    shifted = np.eye(4)
    shifted[0, 3] = 1.0
    out = resample_to(volume, Volume(np.zeros((2, 2, 2)), shifted), outside=-1.0)
    np.testing.assert_array_equal(out.data[:, 0, 0], [1.0, -1.0])


def tetrahedra(seed: int, low: np.ndarray, high: np.ndarray, n: int = 12) -> tuple[np.ndarray, np.ndarray]:
    points = np.random.default_rng(seed).uniform(low, high, (n, 3))
    return points, Delaunay(points).simplices


@pytest.mark.parametrize("corners", [3, 4])
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_subdivision_has_equal_children_that_fill_the_simplex(corners, depth):
    """Second moments converge to those of the simplex at rate 4 a level: no child missing, doubled or misplaced."""
    weights = _centroids(corners, depth)
    assert len(weights) == (2 ** (corners - 1)) ** depth
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    np.testing.assert_allclose(weights.mean(axis=0), 1 / corners)
    exact = (1 + np.eye(corners)) / (corners * (corners + 1))
    error = np.abs(weights.T @ weights / len(weights) - exact).max()
    start = np.abs(np.full((corners, corners), 1 / corners**2) - exact).max()
    assert error <= start / 4**depth * 1.6


@given(affines(), coefficients, seeds)
def test_cell_average_reproduces_linear_functions(affine, c, seed):
    volume = linear(affine, (5, 6, 5), c)
    points, cells = tetrahedra(seed, np.zeros(3), np.array([4.0, 5.0, 4.0]))
    points = volume.world(points)
    expected = c[0] + points[cells].mean(axis=1) @ np.array(c[1:])
    np.testing.assert_allclose(cell_average(volume, points, cells, order=1), expected, atol=1e-7)


@pytest.mark.parametrize("order", [0, 1])
def test_cell_average_reproduces_constants(order):
    volume = Volume(np.full((5, 5, 5), 3, np.int16), np.eye(4))
    points, cells = tetrahedra(0, np.full(3, -0.5), np.full(3, 4.5))
    np.testing.assert_allclose(cell_average(volume, points, cells, order), 3.0, rtol=1e-14)
    np.testing.assert_allclose(cell_average(volume, points, cells[:, :3], order), 3.0, rtol=1e-14)
    np.testing.assert_allclose(cell_average(volume, points, cells, order, values=(1, 3)), 1.0, rtol=1e-14)
    np.testing.assert_array_equal(cell_average(volume, points, cells, order, values=(1, 2)), 0.0)


def test_cell_averages_of_voxel_boxes_converge_to_the_integral():
    """Voxels are boxes: the integral over a mesh of the whole image is the sum of its voxels."""
    data = np.random.default_rng(1).random((4, 4, 4))
    volume = Volume(data, np.diag([-2.0, 2.0, 2.0, 1.0]))
    low, high = volume.bounds()
    corners = np.array(np.meshgrid(*np.array([low, high]).T, indexing="ij")).reshape(3, -1).T
    points = np.vstack([corners, np.random.default_rng(2).uniform(low, high, (300, 3))])
    cells = Delaunay(points).simplices
    edges = points[cells[:, 1:]] - points[cells[:, :1]]
    volumes = np.abs(np.linalg.det(edges)) / 6
    assert volumes.sum() == pytest.approx(512.0)
    errors = [
        abs(cell_average(volume, points, cells, 0, depth) @ volumes - data.sum() * volume.voxel_volume)
        for depth in (1, 3)
    ]
    assert errors[1] < 1.0
    assert errors[1] < errors[0]


def test_tensor_images_are_sampled_componentwise():
    rng = np.random.default_rng(3)
    data = rng.random((4, 4, 4, 6))
    volume = Volume(data, np.diag([1.0, -2.0, 3.0, 1.0]))
    points, cells = tetrahedra(4, *volume.bounds())
    for k in range(6):
        part = volume.with_data(data[..., k])
        for order in (0, 1):
            np.testing.assert_allclose(sample(volume, points, order)[:, k], sample(part, points, order))
            whole, single = (cell_average(v, points, cells, order) for v in (volume, part))
            np.testing.assert_allclose(whole[:, k], single)


def test_chunks_do_not_show():
    """More samples than one chunk holds give what each cell gives alone."""
    volume = Volume(np.random.default_rng(5).random((8, 8, 8)), np.eye(4))
    points, cells = tetrahedra(6, np.zeros(3), np.full(3, 7.0), n=400)
    assert len(cells) * 64 > 1 << 17
    for order in (0, 1):
        together = cell_average(volume, points, cells, order)
        alone = [cell_average(volume, points, cells[i : i + 1], order)[0] for i in range(0, len(cells), 97)]
        np.testing.assert_allclose(together[::97], alone)


def test_no_points_and_single_slices():
    volume = Volume(np.ones((1, 1, 3)), np.eye(4))
    assert sample(volume, np.zeros((0, 3))).shape == (0,)
    assert sample(volume, [[0.2, -0.3, 1.5]])[0] == 1.0
