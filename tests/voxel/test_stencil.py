"""The diffusion operator: symmetric, dissipative, no flux to fluid, exact flux and tensors, exact slopes."""

import numpy as np
import pytest
import torch
from scipy import sparse

from oncology.errors import ConfigError
from oncology.voxel.kernel import accumulate, weights
from oncology.voxel.stencil import stacked, stencil
from tests.voxel.boxes import KINDS, centres, dense, edges, mixed, uniform

RATES = np.array([0.5, 0.05, 0.03])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(12,), (5, 6), (4, 5, 3)])
def test_symmetric_dissipative_and_blind_to_fluid(kind, shape):
    operator = mixed(kind, shape)
    matrix, inside = dense(operator, RATES), operator.inside[0].numpy()
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_allclose(matrix.sum(axis=1), 0.0, atol=1e-14)
    assert np.linalg.eigvalsh(matrix)[-1] < 1e-12
    assert not matrix[~inside].any() and not matrix[:, ~inside].any()
    assert matrix[np.ix_(inside, inside)].any()


@pytest.mark.parametrize("kind", KINDS)
def test_products_are_those_of_the_matrix(kind):
    operator = mixed(kind)
    u = torch.as_tensor(np.random.default_rng(0).normal(size=(1, operator.voxels)))
    out = torch.zeros_like(u)
    accumulate(out, u, weights(operator.strides, edges(operator, RATES)[None], 0.0), 2.0)
    np.testing.assert_allclose(out[0], 2.0 * dense(operator, RATES) @ u[0].numpy(), atol=1e-12)


def test_flux_of_two_voxels_in_series():
    """Two image voxels in each of four, the last one fluid: geometric means inside, harmonic means across faces."""
    white = np.array([1.0, 1.0, 0.0, 1.0, 0.0, 0.0])
    averaging = sparse.csr_array(np.kron(np.eye(3), [[0.5, 0.5]]))
    operator = stencil(white, 1.0 - white, np.array([True, True, True, False]), 2.0, averaging)
    d = np.array([0.5, np.sqrt(0.5 * 0.1), 0.1])
    expected = [2.0 / (1.0 / d[:-1] + 1.0 / d[1:]) / 4.0]
    np.testing.assert_allclose(np.diag(dense(operator, [0.5, 0.1, 0.0]), 1), np.append(expected, 0.0), atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_edges_are_homogeneous_with_exact_slopes(kind):
    operator = mixed(kind)
    torch.testing.assert_close(edges(operator, 3.0 * RATES), 3.0 * edges(operator, RATES), rtol=1e-12, atol=1e-15)
    for number, slope in enumerate(operator.slopes(RATES[None])):
        step = 1e-4 * RATES * np.eye(3)[number]
        there = [edges(operator, RATES + k * step) for k in (-2, -1, 1, 2)]
        difference = (there[0] - 8.0 * there[1] + 8.0 * there[2] - there[3]) / (12.0 * step[number])
        torch.testing.assert_close(difference, slope[0], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_grey_matter_that_does_not_conduct(kind):
    white = np.array([[1.0, 1.0, 0.0, 0.0]] * 3)
    tensor = None if kind == "scalar" else np.broadcast_to([[1.0, 0.5], [0.5, 2.0]], (3, 4, 2, 2))
    operator = stencil(white, 1.0 - white, white >= 0.0, 2.0, tensor=tensor)
    rates = [0.5, 0.0, 0.03]
    assert torch.isfinite(operator.slopes(np.array([rates]))).all()
    matrix = dense(operator, rates)
    assert np.abs(matrix[np.ix_(white.ravel() == 0.0, white.ravel() == 0.0)]).max() < 1e-25
    assert (np.diag(matrix)[white.ravel() == 1.0] < -0.1).all()


@pytest.mark.parametrize("shape", [(6,), (5, 4), (4, 5, 3)])
def test_the_identity_is_no_tensor(shape):
    rng = np.random.default_rng(0)
    white, inside = rng.uniform(size=shape), rng.uniform(size=shape) > 0.2
    field = np.broadcast_to(np.eye(len(shape)), (*shape, len(shape), len(shape)))
    plain, tensor = (stencil(white, 1.0 - white, inside, 2.0, tensor=t) for t in (None, field))
    np.testing.assert_allclose(dense(plain, RATES), dense(tensor, RATES), atol=1e-15)


def test_a_constant_tensor_sees_affine_functions_exactly():
    """Away from the faces `L u = 0` for affine u, and `v' L u = -grad v . T grad u` a voxel."""
    roots = np.random.default_rng(1).normal(size=(3, 3))
    tensor = roots @ roots.T + 0.1 * np.eye(3)
    operator = uniform((6, 6, 6), 2.0, tensor)
    x = centres((6, 6, 6), 2.0, 0.0)
    first, second = np.random.default_rng(2).normal(size=(2, 3))
    matrix = dense(operator, [1.0, 1.0, 0.0])
    image = matrix @ (x @ first)
    inner = np.zeros((6, 6, 6), dtype=bool)
    inner[1:-1, 1:-1, 1:-1] = True
    np.testing.assert_allclose(image[inner.ravel()], 0.0, atol=1e-12)
    bump = np.where(inner.ravel(), np.prod(np.sin(np.pi * x / 12.0), axis=1), 0.0)
    quadratic = matrix @ ((x @ first) * (x @ second))
    assert bump @ quadratic == pytest.approx(2.0 * first @ tensor @ second * bump.sum(), rel=1e-12)


def test_patients_are_stacked_only_on_equal_boxes():
    first, second = mixed(seed=0), mixed(seed=1)
    both = stacked([first, second])
    slopes = both.slopes(np.stack([RATES, 2.0 * RATES]))
    torch.testing.assert_close(slopes[:, [1]], second.slopes(RATES[None]), rtol=1e-12, atol=1e-15)
    for other in (mixed(shape=(6, 6, 5)), mixed("tensor")):
        with pytest.raises(ConfigError, match="one shape"):
            stacked([first, other])


def test_maps_that_do_not_fit_are_refused():
    one = np.ones((3, 3))
    with pytest.raises(ConfigError, match="of one shape"):
        stencil(one, one[:2], one > 0.0, 1.0)
    with pytest.raises(ConfigError, match="one row a tissue voxel"):
        stencil(one.ravel(), one.ravel(), one > 0.0, 1.0, sparse.csr_array(np.ones((4, 9)) / 9.0))
    with pytest.raises(ConfigError, match="at least 2 voxels"):
        stencil(one[:1], one[:1], one[:1] > 0.0, 1.0)
