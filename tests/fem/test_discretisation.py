"""Matrices and index maps: symmetry, null space, signs on the lattice, transposes, and what is refused."""

import numpy as np
import pytest
from mpi4py import MPI

from oncology.errors import MeshError
from oncology.fem.boxes import bcc_box, kuhn_box
from oncology.fem.discretisation import discretise
from oncology.fem.rates import Rates
from oncology.fem.stiffness import Stiffness
from oncology.verify.derivatives import vertex_noise
from oncology.verify.verification import homogeneous
from tests.fem.meshes import mixed_box, owned, tissue_stiffness


def dense(matrix) -> np.ndarray:
    rows, columns, values = matrix.getValuesCSR()
    full = np.zeros(matrix.getSize())
    for row in range(len(rows) - 1):
        full[row, columns[rows[row] : rows[row + 1]]] = values[rows[row] : rows[row + 1]]
    return full


@pytest.fixture(params=[1, 2, 3])
def box(request):
    return mixed_box(MPI.COMM_SELF, request.param, count=4)


def test_stiffness_is_symmetric_positive_and_keeps_constants(box):
    for stiffness in map(dense, tissue_stiffness(box)):
        np.testing.assert_allclose(stiffness, stiffness.T, atol=1e-12)
        np.testing.assert_allclose(stiffness.sum(axis=1), 0.0, atol=1e-12)
        assert np.linalg.eigvalsh(stiffness)[0] > -1e-12


def test_masses_have_the_volume_and_are_positive(box):
    mass = dense(box.mass)
    volume = 40.0**box.dimension
    np.testing.assert_allclose(mass.sum(axis=1), box.lumped_mass, rtol=1e-12)
    assert box.lumped_mass.sum() == pytest.approx(volume, rel=1e-12)
    assert box.volumes.sum() == pytest.approx(volume, rel=1e-12)
    assert np.linalg.eigvalsh(mass)[0] > 0.25 * box.lumped_mass.min()


def test_the_mass_of_white_matter_on_a_line_is_that_of_numerov():
    """h (1, 10, 1) / 12, whose dispersion error is of order h^4; grey matter keeps the lumped mass."""
    mesh, ones, nothing = kuhn_box([0.0], [8.0], [4]), np.ones(4), np.zeros(4)
    line = discretise(MPI.COMM_SELF, *mesh, ones, nothing)
    np.testing.assert_allclose(dense(line.mass)[2], 2.0 / 12.0 * np.array([0.0, 1.0, 10.0, 1.0, 0.0]), atol=1e-14)
    for white, grey, corrected in ((nothing, ones, True), (ones, nothing, False)):
        plain = discretise(MPI.COMM_SELF, *mesh, white, grey, corrected_mass=corrected)
        np.testing.assert_allclose(dense(plain.mass), np.diag([1.0, 2.0, 2.0, 2.0, 1.0]), atol=1e-14)


def test_the_mass_correction_is_the_dispersion_of_the_stencil(box):
    """`M_d = M_L - sum_c white_c kappa_c K_c`, with kappa a 12th, an 8th and 0.18 of h^2 = V^(2/d) in 1, 2 and 3-D.

    It takes at most 70 % of a cell's mass from any function.
    """
    part = {1: 1.0 / 12.0, 2: 1.0 / 8.0, 3: 0.18}[box.dimension]
    largest = np.linalg.eigvalsh(np.einsum("mia,mib->mab", box.gradients, box.gradients))[:, -1]
    kappa = np.minimum(part * box.volumes ** (2.0 / box.dimension), 0.7 / ((box.dimension + 1) * largest))
    unit = np.eye(box.owned)
    correction = np.array([box.cell_product(box.tissue.white_mean * kappa, column) for column in unit])
    np.testing.assert_allclose(dense(box.mass), np.diag(box.lumped_mass) - correction, atol=1e-10)


def test_stiffness_of_affine_functions(box):
    """`v' K u = volume grad u . grad v` where the tissue is white alone."""
    d = box.dimension
    white = homogeneous(MPI.COMM_SELF, kuhn_box([-20.0] * d, [20.0] * d, [4] * d))
    first, second = np.random.default_rng(0).normal(size=(2, d))
    x = owned(white)
    energy = (x @ second) @ dense(tissue_stiffness(white)[0]) @ (x @ first)
    assert energy == pytest.approx(40.0**d * first @ second, rel=1e-12)


def test_lattice_has_no_positive_coupling(box):
    """No dihedral angle of the Kuhn lattice is obtuse, whatever the tissue of each cell."""
    both = dense(Stiffness(box, Rates(0.5, 0.05, 0.1)).whole)
    np.fill_diagonal(both, 0.0)
    assert both.max() <= 1e-13


def test_to_cells_and_from_cells_are_transposes(box):
    rng = np.random.default_rng(0)
    values, duals = rng.normal(size=box.owned), rng.normal(size=box.cells.shape)
    assert (box.to_cells(values) * duals).sum() == pytest.approx(values @ box.from_cells(duals), rel=1e-12)


@pytest.mark.mpi
def test_index_maps_lead_to_the_input(comm):
    points, cells = kuhn_box([-20.0] * 3, [20.0] * 3, [4] * 3)
    box = mixed_box(comm, count=4)
    np.testing.assert_array_equal(points[box.input_vertices], box.points)
    np.testing.assert_allclose(np.sort(points[cells[box.input_cells]], axis=1), np.sort(box.points[box.cells], axis=1))
    whole = box.gather(vertex_noise(box, 3))
    if comm.rank == 0:
        np.testing.assert_array_equal(whole, np.random.default_rng(3).standard_normal(len(points)))
    assert box.integrate(np.ones(box.owned)) == pytest.approx(64000.0, rel=1e-12)
    assert box.extremes(float(comm.rank), float(comm.rank)) == (0.0, comm.size - 1.0)


def test_arrays_that_do_not_fit_are_refused(comm):
    points, cells = kuhn_box([0.0] * 3, [1.0] * 3, [1] * 3)
    with pytest.raises(MeshError, match="do not fit"):
        discretise(comm, points, cells, np.ones(5), np.ones(6))


@pytest.mark.parametrize("mesh", [kuhn_box([-3.0] * 3, [3.0] * 3, [4] * 3), bcc_box([-3.0] * 3, [4] * 3, 1.5)])
def test_boxes_fill_their_volume_without_gaps(comm, mesh):
    """Each face belongs to two cells, or lies in a face of the box."""
    points, cells = mesh
    edges = points[cells[:, 1:]] - points[cells[:, :1]]
    assert np.abs(np.linalg.det(edges)).sum() / 6.0 == pytest.approx(216.0, rel=1e-12)
    faces = np.sort(np.concatenate([np.delete(cells, k, axis=1) for k in range(4)]), axis=1)
    unique, counts = np.unique(faces, axis=0, return_counts=True)
    assert counts.max() == 2
    corners = np.abs(points[unique[counts == 1]])
    assert np.isclose(corners, 3.0).all(axis=1).any(axis=1).all()
