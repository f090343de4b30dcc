"""The sphere: a radial solver of its own confirms the reference, both mesh routes reach it at 1.5 mm."""

import numpy as np
import pytest
from scipy.linalg import solve_banded

from oncology.fem.boxes import bcc_box, kuhn_box
from oncology.verify.verification import SPHERE_RATES, SPHERE_REFERENCE, grow_sphere, homogeneous, sphere_density
from tests.fem.meshes import ball_mesh

CUBE = 1.5 / 0.923  # mm, cube of the body-centred lattice with a mean edge of 1.5 mm


def radial_sphere(spacing: float, step: float):
    """Finite volumes in the radius: exact logistic flow around trapezoidal steps, backward Euler at first."""
    diffusion, rho = SPHERE_RATES.diffusion_white, SPHERE_RATES.proliferation
    edges = np.arange(0.0, 45.0 + spacing / 2, spacing)
    centres = (edges[1:] + edges[:-1]) / 2
    volumes = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    conductance = diffusion * 4.0 * np.pi * edges[1:-1] ** 2 / spacing
    parts = np.linspace(-0.5, 0.5, 201)[1::2] * spacing
    u = sphere_density((centres[:, None] + parts).reshape(-1, 1)).reshape(len(centres), -1).mean(axis=1)
    start = volumes @ u
    stiffness = np.zeros((3, len(u)))
    stiffness[1, :-1] += conductance
    stiffness[1, 1:] += conductance
    stiffness[0, 1:] = stiffness[2, :-1] = -conductance
    growth = np.exp(0.5 * rho * step)

    def react(v):
        return growth * v / (1.0 + (growth - 1.0) * v)

    def diffuse(v, implicit, explicit):
        flow = stiffness[1] * v
        flow[:-1] += stiffness[0, 1:] * v[1:]
        flow[1:] += stiffness[2, :-1] * v[:-1]
        matrix = implicit * stiffness
        matrix[1] += volumes
        return solve_banded((1, 1), matrix, volumes * v - explicit * flow)

    for number in range(round(60.0 / step)):
        v = react(u)
        if number < 4:
            v = diffuse(diffuse(v, 0.5 * step, 0.0), 0.5 * step, 0.0)
        else:
            v = diffuse(v, 0.5 * step, 0.5 * step)
        u = react(v)
    radii = [float(np.interp(-level, -u, centres)) for level in (0.5, 0.1)]
    return start, volumes @ u, *radii


def test_the_radial_reference():
    start, mass, half, tenth = radial_sphere(0.01, 0.02)
    assert start == pytest.approx(SPHERE_REFERENCE.initial_mass, abs=0.01)
    assert mass == pytest.approx(SPHERE_REFERENCE.mass, rel=5e-5)
    assert half == pytest.approx(SPHERE_REFERENCE.radius_half, abs=1e-3)
    assert tenth == pytest.approx(SPHERE_REFERENCE.radius_tenth, abs=1e-3)


def assert_reaches(sphere):
    assert sphere.initial_mass == pytest.approx(SPHERE_REFERENCE.initial_mass, abs=0.1)
    assert sphere.mass == pytest.approx(SPHERE_REFERENCE.mass, rel=0.005)
    assert sphere.radius_half == pytest.approx(SPHERE_REFERENCE.radius_half, abs=0.05)
    assert sphere.radius_tenth == pytest.approx(SPHERE_REFERENCE.radius_tenth, abs=0.05)


@pytest.mark.slow
def test_the_lattice(comm):
    """Steps of one day, and the step that the package chooses."""
    lattice = homogeneous(comm, kuhn_box([-33.75] * 3, [33.75] * 3, [45] * 3))
    assert_reaches(grow_sphere(lattice, asked_step=1.0))
    assert_reaches(grow_sphere(lattice))


@pytest.mark.mpi
def test_the_body_centred_lattice(comm):
    """One octant: this lattice has mirror planes. A step that would be inaccurate is cut, with a note."""
    octant = homogeneous(comm, bcc_box([0.0] * 3, [21] * 3, CUBE))
    daily = grow_sphere(octant, asked_step=1.0, images=8)
    assert_reaches(daily)
    assert daily.notes == ()
    chosen = grow_sphere(octant, images=8)
    assert_reaches(chosen)
    asked = grow_sphere(octant, asked_step=10.0, images=8)
    assert asked.mass == chosen.mass
    (note,) = asked.notes
    assert "10 day" in note
    assert "cut to at most 2.5 day" in note


@pytest.mark.slow
def test_a_mesh_from_an_image(comm):
    """Isosurface stuffing of a ball of voxels, which is body-centred inside."""
    assert_reaches(grow_sphere(homogeneous(comm, ball_mesh("stuffing", 1.5, radius=33.0)), asked_step=1.0))
