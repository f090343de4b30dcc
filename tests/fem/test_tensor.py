"""Tensor diffusion: rotated anisotropic Gaussians in two and three dimensions, and the identity as a special case."""

import numpy as np
import pytest

from oncology.fem.boxes import kuhn_box
from oncology.fem.discretisation import discretise
from oncology.fem.rates import Rates
from oncology.fem.tumour_model import TumourModel
from oncology.model.growth import Exponential
from oncology.verify.derivatives import vertex_noise
from oncology.verify.exact import heat_gaussian
from oncology.verify.verification import convergence, equal_steps, relative_error
from tests.fem.meshes import mixed_box, owned, tissue_stiffness
from tests.fem.test_discretisation import dense


def rotated(values, seed=0):
    """A symmetric matrix with given eigenvalues in random orthogonal directions."""
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values),) * 2))
    return turn @ np.diag(values) @ turn.T


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("eigenvalues", "counts"), [((1.6, 0.4), (24, 48, 96)), ((1.6, 0.8, 0.6), (12, 24)), ((1.0, 1.0, 0.3), (12, 24))]
)
@pytest.mark.parametrize("corrected", [True, False])
def test_rotated_gaussian(comm, eigenvalues, counts, corrected):
    dimension = len(eigenvalues)
    tensor = rotated(eigenvalues)
    covariance = 25.0 * np.eye(dimension)

    def error(count):
        points, cells = kuhn_box([-34.0] * dimension, [34.0] * dimension, [count] * dimension)
        one = np.ones(len(cells))
        field = np.tile(tensor, (len(cells), 1, 1))
        box = discretise(comm, points, cells, one, 0.0 * one, field, corrected_mass=corrected)
        model = TumourModel(box, Exponential())
        start = heat_gaussian(owned(box), 0.0, 0.5 * tensor, covariance)
        run = model.run(Rates(0.5, 0.1, 0.0), start, equal_steps(10.0, 10), keep=False)
        return relative_error(box, run.observations[0], heat_gaussian(owned(box), 10.0, 0.5 * tensor, covariance))

    assert convergence(error, counts).slope >= 1.9


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_the_identity_is_isotropic(comm, dimension):
    count = 4**dimension * {1: 1, 2: 2, 3: 6}[dimension]
    plain = mixed_box(comm, dimension, 4)
    with_identity = mixed_box(comm, dimension, 4, tensor=np.tile(np.eye(dimension), (count, 1, 1)))
    values = vertex_noise(plain, 0)
    for matrices in zip(tissue_stiffness(plain), tissue_stiffness(with_identity), strict=True):
        results = []
        for matrix in matrices:
            right, left = matrix.createVecs()
            right.array[:] = values
            matrix.mult(right, left)
            results.append(left.array.copy())
        np.testing.assert_allclose(*results, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dimension", [2, 3])
def test_stiffness_of_a_tensor_field_is_symmetric_and_positive(dimension):
    from mpi4py import MPI

    count = 4**dimension * {2: 2, 3: 6}[dimension]
    field = np.array([rotated(np.linspace(0.1, 2.0, dimension), seed) for seed in range(count)])
    box = mixed_box(MPI.COMM_SELF, dimension, 4, tensor=field)
    for matrix in map(dense, tissue_stiffness(box)):
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
        np.testing.assert_allclose(matrix.sum(axis=1), 0.0, atol=1e-12)
        eigenvalues = np.linalg.eigvalsh(matrix)
        assert eigenvalues[0] > -1e-12
        assert eigenvalues[1] > 1e-6


def test_each_cell_keeps_its_own_tensor(comm):
    """`v' K u` with affine u and v is the volume-weighted mean of grad u . T grad v, whatever the order of cells."""
    from mpi4py import MPI

    points, cells = kuhn_box([0.0] * 3, [4.0] * 3, [2] * 3)
    field = np.array([rotated([0.2, 1.0, 2.0], seed) for seed in range(len(cells))])
    white = np.random.default_rng(0).uniform(0.0, 1.0, len(cells))
    box = discretise(MPI.COMM_SELF, points, cells, white, 1.0 - white, field)
    first, second = np.random.default_rng(1).normal(size=(2, 3))
    x = owned(box)
    energy = (x @ second) @ dense(tissue_stiffness(box)[0]) @ (x @ first)
    assert energy == pytest.approx(64.0 * np.mean(white * np.einsum("i,nij,j->n", second, field, first)), rel=1e-12)
