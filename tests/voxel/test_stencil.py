"""The diffusion operator: symmetric, dissipative, no flux to fluid, means and tensors as they are defined."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from oncology.errors import ConfigError
from oncology.voxel.kernel import accumulate, weights
from oncology.voxel.stencil import stacked, stencil
from tests.voxel.boxes import MEANS, centres, dense, mixed, uniform


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("shape", [(12,), (5, 6), (4, 5, 3)])
def test_symmetric_dissipative_and_blind_to_fluid(mean, shape):
    operator = mixed(mean, shape)
    matrix, inside = dense(operator, 0.5, 0.05), operator.inside[0].numpy()
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_allclose(matrix.sum(axis=1), 0.0, atol=1e-14)
    assert np.linalg.eigvalsh(matrix)[-1] < 1e-12
    assert not matrix[~inside].any() and not matrix[:, ~inside].any()
    assert matrix[np.ix_(inside, inside)].any()


@pytest.mark.parametrize("mean", MEANS)
def test_products_are_those_of_the_matrix(mean):
    operator = mixed(mean)
    one = torch.ones(1, dtype=torch.float64)
    white, grey = operator.slopes(0.5 * one, 0.05 * one)
    u = torch.as_tensor(np.random.default_rng(0).normal(size=(1, operator.voxels)))
    out = torch.zeros_like(u)
    accumulate(out, u, weights(operator.strides, 0.5 * white + 0.05 * grey, 0.0), 2.0)
    np.testing.assert_allclose(out[0], 2.0 * dense(operator, 0.5, 0.05) @ u[0].numpy(), atol=1e-12)


@pytest.mark.parametrize("mean", ["arithmetic", "harmonic"])
def test_means_across_a_face(mean):
    """Three voxels of white, grey and mixed tissue, the last one fluid."""
    white, grey = np.array([1.0, 0.0, 0.4, 0.9]), np.array([0.0, 1.0, 0.4, 0.1])
    operator = stencil(white, grey, np.array([True, True, True, False]), 2.0, mean)
    d = 0.5 * white + 0.1 * grey
    means = {"arithmetic": lambda a, b: 0.5 * (a + b), "harmonic": lambda a, b: 2.0 * a * b / (a + b)}
    expected = [means[mean](d[0], d[1]) / 4.0, means[mean](d[1], d[2]) / 4.0, 0.0]
    np.testing.assert_allclose(np.diag(dense(operator, 0.5, 0.1), 1), expected, atol=1e-15)


def test_harmonic_chain_rule():
    """Slopes are the derivatives of the edges and add up to them, also where one tissue does not conduct."""
    operator = mixed("harmonic")
    point, step = torch.tensor([0.5, 0.05], dtype=torch.float64), 1e-6

    def edges(values):
        white, grey = operator.slopes(values[:1], values[1:])
        return values[0] * white + values[1] * grey

    for number, slope in enumerate(operator.slopes(point[:1], point[1:])):
        moved = step * torch.eye(2, dtype=torch.float64)[number]
        torch.testing.assert_close(
            (edges(point + moved) - edges(point - moved)) / (2.0 * step), slope, rtol=1e-7, atol=1e-9
        )
    alone = mixed("harmonic")
    alone = replace(
        alone, white=torch.where(alone.white > 0.5, 1.0, 0.0), grey=torch.where(alone.white > 0.5, 0.0, 1.0)
    )
    white, grey = alone.slopes(point[:1], 0.0 * point[:1])
    assert torch.isfinite(white).all() and torch.isfinite(grey).all()
    assert not (white[0, 0, :-30] * (alone.white[0, :-30] != alone.white[0, 30:])).any()


@pytest.mark.parametrize("shape", [(6,), (5, 4), (4, 5, 3)])
def test_the_identity_is_the_arithmetic_mean(shape):
    rng = np.random.default_rng(0)
    white, inside = rng.uniform(size=shape), rng.uniform(size=shape) > 0.2
    field = np.broadcast_to(np.eye(len(shape)), (*shape, len(shape), len(shape)))
    plain, tensor = (stencil(white, 1.0 - white, inside, 2.0, tensor=t) for t in (None, field))
    np.testing.assert_allclose(dense(plain, 0.5, 0.1), dense(tensor, 0.5, 0.1), atol=1e-15)


def test_a_constant_tensor_sees_affine_functions_exactly():
    """Away from the faces `L u = 0` for affine u, and `v' L u = -grad v . T grad u` a voxel."""
    roots = np.random.default_rng(1).normal(size=(3, 3))
    tensor = roots @ roots.T + 0.1 * np.eye(3)
    operator = uniform((6, 6, 6), 2.0, tensor)
    x = centres((6, 6, 6), 2.0, 0.0)
    first, second = np.random.default_rng(2).normal(size=(2, 3))
    image = dense(operator, 1.0, 1.0) @ (x @ first)
    inner = np.zeros((6, 6, 6), dtype=bool)
    inner[1:-1, 1:-1, 1:-1] = True
    np.testing.assert_allclose(image[inner.ravel()], 0.0, atol=1e-12)
    bump = np.where(inner.ravel(), np.prod(np.sin(np.pi * x / 12.0), axis=1), 0.0)
    quadratic = dense(operator, 1.0, 1.0) @ ((x @ first) * (x @ second))
    assert bump @ quadratic == pytest.approx(2.0 * first @ tensor @ second * bump.sum(), rel=1e-12)


def test_patients_are_stacked_only_on_equal_boxes():
    first, second = mixed(seed=0), mixed(seed=1)
    both = stacked([first, second])
    assert both.white.shape == (2, *first.white.shape[1:])
    with pytest.raises(ConfigError, match="one shape"):
        stacked([first, mixed(shape=(6, 6, 5))])
    with pytest.raises(ConfigError, match="arithmetic"):
        stencil(np.ones((3, 3)), np.zeros((3, 3)), np.ones((3, 3), bool), 1.0, "harmonic", np.ones((3, 3, 2, 2)))
