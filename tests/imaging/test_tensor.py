import numpy as np
import pytest
from hypothesis import given

from oncology.errors import ImageError
from oncology.imaging import Volume
from oncology.imaging.tensor import read_tensor, to_components, to_matrices
from tests.imaging.strategies import affines, seeds


def tensors(seed: int, n: int = 4) -> np.ndarray:
    factors = np.random.default_rng(seed).normal(size=(n, 3, 3))
    return factors @ factors.swapaxes(1, 2)


def as_image(matrices: np.ndarray, affine: np.ndarray) -> Volume:
    return Volume(to_components(matrices).reshape(-1, 1, 1, 6), affine)


def test_components_are_xx_xy_xz_yy_yz_zz():
    matrix = np.array([[1.0, 2, 3], [2, 4, 5], [3, 5, 6]])
    np.testing.assert_array_equal(to_components(matrix), [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(to_matrices(np.arange(1.0, 7.0)), matrix)


@given(affines(), seeds)
def test_a_fibre_along_a_voxel_axis_lies_along_that_axis_in_space(affine, seed):
    """`voxel` axes: D = a a^T with a an index axis becomes the projector on the affine's column."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    for axis in range(3):
        unit = np.eye(3)[axis]
        read = read_tensor(as_image(np.outer(unit, unit)[None], affine), "voxel")
        expected = np.outer(directions[:, axis], directions[:, axis])
        np.testing.assert_allclose(to_matrices(read.data[0, 0, 0]), expected, atol=1e-9)


@given(affines(), seeds)
def test_the_same_tissue_stored_in_any_orientation_gives_the_same_tensor(affine, seed):
    """`fsl` axes: first axis reversed if det > 0, so that a mirrored copy of the file says the same."""
    world = tensors(seed)
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    fsl = directions * (np.array([-1.0, 1, 1]) if np.linalg.det(directions) > 0 else 1.0)
    stored = fsl.T @ world @ fsl
    read = read_tensor(as_image(stored, affine), "fsl")
    np.testing.assert_allclose(to_matrices(read.data[:, 0, 0]), world, atol=1e-8)


@given(affines(), seeds)
def test_ras_axes_are_kept(affine, seed):
    world = tensors(seed)
    read = read_tensor(as_image(world, affine), "ras")
    np.testing.assert_allclose(to_matrices(read.data[:, 0, 0]), world, atol=1e-9)


def test_negative_eigenvalues_are_cut_and_the_rest_is_kept():
    good, bad = np.diag([3.0, 2.0, 1.0]), np.diag([3.0, 2.0, -1.0])
    read = read_tensor(as_image(np.array([bad, 0 * good, *[good] * 20]), np.eye(4)), "ras")
    np.testing.assert_allclose(to_matrices(read.data[:3, 0, 0]), [np.diag([3.0, 2.0, 0.0]), 0 * good, good], atol=1e-12)


ORDERS = {
    "fsl": [0, 1, 2, 3, 4, 5],
    "mrtrix": [0, 3, 5, 1, 2, 4],
    "dipy": [0, 1, 3, 2, 4, 5],
    "ants": [0, 1, 3, 2, 4, 5],
}


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_holds_the_same_tensors(order):
    """The order of the file, by what its program documents; xx xy xz yy yz zz is that of FSL."""
    world = tensors(3, 20)
    stored = as_image(world, np.eye(4))
    stored = stored.with_data(stored.data[..., ORDERS[order]])
    np.testing.assert_allclose(read_tensor(stored, "ras", order).data, as_image(world, np.eye(4)).data, atol=1e-9)
    if order == "ants":
        five = stored.with_data(stored.data[..., None, :])
        np.testing.assert_allclose(read_tensor(five, "ras").data, as_image(world, np.eye(4)).data, atol=1e-9)


def fibres(seed: int, n: int = 300) -> np.ndarray:
    """Tensors as in white matter: 1.7e-3 mm^2/s along a random direction, 0.3e-3 across."""
    along = np.random.default_rng(seed).normal(size=(n, 3))
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    return 1.4e-3 * along[:, :, None] * along[:, None, :] + 0.3e-3 * np.eye(3)


def test_a_wrong_order_and_a_wrong_sign_are_noticed():
    right = as_image(fibres(0), np.eye(4))
    read_tensor(right, "ras")
    with pytest.raises(
        ImageError, match=r'order \'fsl\', only 0% in order \'mrtrix\': give \[tensor\] order = "mrtrix"'
    ):
        read_tensor(right.with_data(right.data[..., ORDERS["mrtrix"]]), "ras")
    with pytest.raises(ImageError, match=r"100% of the tensors have a negative eigenvalue.*check its sign"):
        read_tensor(right.with_data(-right.data), "ras")


def test_wrong_shapes_and_zero_tensors():
    with pytest.raises(ImageError, match="expected 6 tensor components"):
        read_tensor(Volume(np.zeros((2, 2, 2)), np.eye(4)), "fsl")
    with pytest.raises(ImageError, match="zero everywhere"):
        read_tensor(Volume(np.zeros((2, 2, 2, 6)), np.eye(4)), "fsl")
