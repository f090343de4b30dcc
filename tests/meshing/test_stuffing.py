"""Isosurface stuffing against exact volumes and the angles proved by Labelle and Shewchuk."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncology.meshing.dihedral import dihedral_range
from oncology.meshing.stuffing import MEAN_EDGE, bcc_lattice, inner_cells, stuff
from oncology.meshing.topology import boundary_edges, cell_volumes, face_table

PROVED = (10.7, 164.8)  # degrees: bounds of the paper for a uniform lattice and any function


def filled(values_of, reach, spacing):
    lattice = bcc_lattice(np.full(3, -reach), np.full(3, reach), spacing, np.zeros(3))
    values = values_of(lattice.points)
    return stuff(lattice, inner_cells(lattice, values > 0), values)


def test_lattice_has_twelve_cells_a_cube_and_the_stated_mean_edge():
    lattice = bcc_lattice(np.zeros(3), np.full(3, 6.0), 1.0, np.zeros(3))
    cells = inner_cells(lattice, np.ones(len(lattice.points), dtype=bool))
    volumes = np.abs(cell_volumes(lattice.points, cells))
    assert volumes == pytest.approx(np.full(len(cells), 1 / 12))
    pairs = np.concatenate([cells[:, [a, b]] for a in range(4) for b in range(a)])
    unique = np.unique(np.sort(pairs, axis=1), axis=0)
    lengths = np.linalg.norm(lattice.points[unique[:, 0]] - lattice.points[unique[:, 1]], axis=1)
    middle = lattice.points[unique].mean(axis=1)
    period = ((middle >= 2.0) & (middle < 4.0)).all(axis=1)
    assert period.sum() == 8 * 14
    assert lengths[period].mean() == pytest.approx(MEAN_EDGE)


def test_uncut_cells_have_angles_of_60_and_90_degrees():
    lattice = bcc_lattice(np.zeros(3), np.full(3, 3.0), 1.0, np.zeros(3))
    cells = inner_cells(lattice, np.ones(len(lattice.points), dtype=bool))
    smallest, largest = dihedral_range(lattice.points, cells)
    assert smallest == pytest.approx(np.full(len(cells), 60.0))
    assert largest == pytest.approx(np.full(len(cells), 90.0))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.2, 0.9))
def test_any_function_on_the_lattice_gives_proved_angles_and_a_valid_complex(seed, share):
    rng = np.random.default_rng(seed)
    # independent random values are far worse than any image; their magnitudes span decades so that snapping competes
    points, cells = filled(lambda x: (share - rng.random(len(x))) * 10.0 ** rng.uniform(-3, 0, len(x)), 3.0, 1.0)
    smallest, largest = dihedral_range(points, cells)
    assert smallest.min() >= PROVED[0]
    assert largest.max() <= PROVED[1]
    assert cell_volumes(points, cells).min() > 0
    faces = face_table(cells)
    assert faces.overfull == 0
    assert faces.folded == 0
    assert not (boundary_edges(faces.boundary) % 2).any()


@settings(max_examples=15, deadline=None)
@given(offset=st.tuples(*[st.floats(-0.5, 0.5)] * 3))
def test_half_space_is_filled_exactly(offset):
    normal = np.array([1.0, 0.7, -0.4])
    normal /= np.linalg.norm(normal)
    points, cells = filled(lambda x: (np.array(offset) - x) @ normal, 3.0, 0.8)
    surface = points[np.unique(face_table(cells).boundary)]
    near = surface[(np.abs(surface) < 2.0).all(axis=1)]  # away from where the lattice itself ends
    assert np.abs((near - np.array(offset)) @ normal).max() < 1e-12


def test_ball_converges_at_second_order():
    sizes = np.array([0.2, 0.1, 0.05])
    errors = []
    for size in sizes:
        points, cells = filled(lambda x: 1 - np.linalg.norm(x, axis=1), 1.2, size)
        surface = points[np.unique(face_table(cells).boundary)]
        errors.append(abs(cell_volumes(points, cells).sum() - 4 / 3 * np.pi))
        # remainder of linear interpolation of the distance, whose second derivative is at most 1 / radius
        assert np.abs(np.linalg.norm(surface, axis=1) - 1).max() < size**2 / 8 * 1.2
    assert np.polyfit(np.log(sizes), np.log(errors), 1)[0] > 1.9


def test_nothing_inside_gives_no_cells():
    assert len(filled(lambda x: np.full(len(x), -1.0), 1.0, 0.5)[1]) == 0
