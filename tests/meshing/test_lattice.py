"""The Kuhn lattice: no obtuse angle, a stiffness matrix of the right sign, exact boxes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from oncology.imaging.volume import Volume
from oncology.meshing import Grading, build_mesh
from oncology.meshing.dihedral import dihedral_range
from oncology.meshing.lattice import kuhn_cells
from oncology.meshing.topology import cell_volumes, face_table, oriented
from tests.meshing.images import ball_maps


def stiffness(points, cells):
    """P1 stiffness matrix from the gradients of the barycentric coordinates, written from the definition."""
    vertices = np.concatenate([points[cells], np.ones((len(cells), 4, 1))], axis=2)
    gradients = np.linalg.inv(vertices)[:, :3]  # column i is the gradient of the coordinate of vertex i
    local = np.einsum("cdi,cdj,c->cij", gradients, gradients, cell_volumes(points, cells))
    rows, columns = np.repeat(cells, 4, axis=1).ravel(), np.tile(cells, 4).ravel()
    return sparse.csr_matrix((local.ravel(), (rows, columns)), shape=(len(points),) * 2)


@pytest.mark.parametrize("grading", [None, Grading(np.array([5.0, 0.0, 0.0]), fine_radius=6.0, far_size=6.0)])
def test_stiffness_has_no_positive_entry_off_the_diagonal(grading):
    mesh, report = build_mesh(*ball_maps(20.0, core=14.0), size=3.0, route="lattice", grading=grading)
    matrix = stiffness(mesh.points, mesh.cells)
    diagonal = matrix.diagonal().max()
    matrix.setdiag(0.0)
    assert matrix.data.max() <= 1e-12 * diagonal
    assert report.largest_angle <= 90.0 + 1e-6
    assert (report.open_edges, report.pinched_edges) == (0, 0)
    assert report.components == 1


@settings(max_examples=20, deadline=None)
@given(widths=st.tuples(*[st.floats(0.3, 3.0)] * 3), shape=st.tuples(*[st.integers(1, 3)] * 3))
def test_boxes_are_filled_exactly_without_obtuse_angles(widths, shape):
    boxes = np.argwhere(np.ones(shape, dtype=bool))
    points = np.argwhere(np.ones(np.array(shape) + 1, dtype=bool)) * np.array(widths)
    cells = oriented(points, kuhn_cells(boxes, np.array(shape) + 1))
    assert cell_volumes(points, cells) == pytest.approx(np.full(len(cells), np.prod(widths) / 6))
    assert dihedral_range(points, cells)[1].max() <= 90.0 + 1e-6
    faces = face_table(cells)
    sides = 4 * (shape[0] * shape[1] + shape[1] * shape[2] + shape[0] * shape[2])
    assert (len(faces.boundary), faces.folded, faces.overfull) == (sides, 0, 0)


def test_edges_at_which_the_surface_touches_itself_are_counted():
    """Two towers of 10 x 10 x 10 mm on one floor meet along an edge of 10 mm: four edges of 2.5 mm are pinched."""
    white = np.zeros((28, 28, 28), dtype=np.float32)
    white[4:24, 4:24, 4:14] = 1.0
    white[4:14, 4:14, 14:24] = white[14:24, 14:24, 14:24] = 1.0
    _, report = build_mesh(Volume(white, np.eye(4)), Volume(0 * white, np.eye(4)), size=2.5, route="lattice")
    assert report.symmetric_difference == pytest.approx(0.0, abs=1e-9)
    assert (report.pinched_edges, report.open_edges, report.components) == (4, 0, 1)


def test_cut_faces_of_a_box_are_met_exactly():
    ones = np.ones((40, 40, 40), dtype=np.float32)
    white, grey = Volume(ones, np.eye(4)), Volume(0 * ones, np.eye(4))
    box = (np.full(3, 4.5), np.array([24.5, 29.5, 34.5]))
    mesh, report = build_mesh(white, grey, size=2.5, route="lattice", box=box)
    assert np.abs(mesh.points.min(axis=0) - box[0]).max() < 1e-9
    assert np.abs(mesh.points.max(axis=0) - box[1]).max() < 1e-9
    assert report.symmetric_difference == pytest.approx(0.0, abs=1e-9)
    assert mesh.white == pytest.approx(np.ones(len(mesh.cells)))
    assert report.smallest_angle == pytest.approx(45.0)
