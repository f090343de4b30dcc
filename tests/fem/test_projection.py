"""Projection onto P1: integrals, moments, jumps, and that it agrees with nodal values of smooth functions."""

import numpy as np
import pytest

from oncology.fem.boxes import bcc_box, kuhn_box
from oncology.fem.projection import project, simplex_parts
from oncology.verify.verification import SPHERE_REFERENCE, homogeneous, relative_error, sphere_density
from tests.fem.meshes import owned


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_parts_of_a_simplex(dimension, parts):
    weights = simplex_parts(dimension, parts)
    assert weights.shape == (parts**dimension, dimension + 1)
    assert (weights > 0.0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    np.testing.assert_allclose(weights.mean(axis=0), 1.0 / (dimension + 1))


@pytest.mark.mpi
def test_affine_functions_away_from_the_boundary(comm):
    """A constant everywhere; an affine function where the lattice is symmetric around a vertex."""
    box = homogeneous(comm, kuhn_box([-4.0] * 3, [4.0] * 3, [8] * 3))
    np.testing.assert_allclose(project(box, lambda x: 0.3 + 0.0 * x[:, 0]), 0.3, rtol=1e-10)
    inside = (np.abs(owned(box)) < 1.5).all(axis=1)
    expected = owned(box) @ [0.1, -0.2, 0.3]
    np.testing.assert_allclose(project(box, lambda x: x @ [0.1, -0.2, 0.3])[inside], expected[inside], atol=2e-3)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_it_is_fourth_order_for_smooth_functions(comm, dimension):
    """On a lattice the error of the nodal values falls like h^4: no widening."""

    def bump(x):
        return np.exp(-(x**2).sum(axis=1) / 40.0)

    errors = []
    for count in (16, 32):
        box = homogeneous(comm, kuhn_box([-24.0] * dimension, [24.0] * dimension, [count] * dimension))
        errors.append(relative_error(box, project(box, bump), bump(owned(box))))
    assert np.log2(errors[0] / errors[1]) > 3.8


@pytest.mark.parametrize("mesh", [kuhn_box([-9.0] * 3, [9.0] * 3, [12] * 3), bcc_box([-9.75] * 3, [12] * 3, 1.625)])
@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (0.5, 0.3, 0.7)])
def test_a_jump_keeps_its_integral(comm, mesh, shift):
    """The initial density of the sphere at 1.5 mm, wherever its centre lies between the vertices."""
    points, cells = mesh
    box = homogeneous(comm, (points + shift, cells))
    assert box.integrate(project(box, sphere_density)) == pytest.approx(SPHERE_REFERENCE.initial_mass, abs=0.1)
