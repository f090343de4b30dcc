"""Orders of convergence for F1, F2, F4 and H2, on the lattices and on image meshes of both routes."""

from dataclasses import dataclass

import numpy as np
import pytest

from oncology.fem.boxes import bcc_box, kuhn_box
from oncology.fem.diffusion import BackwardEuler
from oncology.fem.rates import Rates
from oncology.model.growth import Exponential
from oncology.verify.exact import cosine_mode, power_wave
from oncology.verify.verification import (
    Problem,
    convergence,
    gaussian_problem,
    homogeneous,
    relative_error,
    solve,
    wave_problem,
)
from tests.fem.meshes import ball_mesh, owned

SECOND_ORDER = 1.9


@dataclass(frozen=True)
class PowerLaw:
    """f(u) = u (1 - u^q): a law that the package does not have, given by the user."""

    power: float

    def rate(self, u):
        return u * (1.0 - u**self.power)

    def flow(self, u, exposure):
        growth = np.exp(self.power * exposure)
        return u * (growth / (1.0 + (growth - 1.0) * u**self.power)) ** (1.0 / self.power)

    def flow_slope(self, u, exposure):
        growth = np.exp(self.power * exposure)
        return growth ** (1.0 / self.power) * (1.0 + (growth - 1.0) * u**self.power) ** (-1.0 / self.power - 1.0)


def power_problem(power):
    def density(points, time):
        return power_wave(points[:, 0], time, 0.13, 0.012, power)

    return Problem(PowerLaw(power), Rates(0.13, 0.13, 0.012), 200.0, density)


def error(comm, problem, mesh, steps, corrected=True, **options):
    discretisation = homogeneous(comm, mesh, corrected)
    exact = problem.density(owned(discretisation), problem.duration)
    return relative_error(discretisation, solve(problem, discretisation, steps, **options), exact)


def line(count):
    return kuhn_box([-140.0], [180.0], [count])


WAVES = {"logistic": wave_problem(), "q = 2": power_problem(2.0), "q = 3": power_problem(3.0)}


@pytest.mark.parametrize("name", WAVES)
def test_waves_in_space(comm, name):
    """With the lumped mass; the corrected one is of fourth order on a line."""
    lumped = convergence(lambda n: error(comm, WAVES[name], line(n), 1200, corrected=False), (80, 160, 320))
    assert SECOND_ORDER <= lumped.slope <= 2.2
    corrected = convergence(lambda n: error(comm, WAVES[name], line(n), 9600), (80, 160))
    assert corrected.slope >= 3.8


@pytest.mark.parametrize("name", WAVES)
def test_waves_in_time(comm, name):
    assert convergence(lambda steps: error(comm, WAVES[name], line(2560), steps), (4, 8, 16)).slope >= SECOND_ORDER


def test_backward_euler_is_of_first_order_in_time(comm):
    study = convergence(
        lambda steps: error(comm, gaussian_problem(), kuhn_box([-30.0], [30.0], [800]), steps, scheme=BackwardEuler()),
        (10, 20, 40),
    )
    assert 0.9 <= study.slope <= 1.2


@pytest.mark.parametrize("corrected", [True, False])
def test_wave_along_bars(comm, corrected):
    """The 1-D wave through bars of two and three dimensions, on both lattices."""
    problem = wave_problem(duration=150.0)
    bars = {
        "plane": lambda n: kuhn_box([-120.0, 0.0], [160.0, 16.0], [n, max(1, 16 * n // 280)]),
        "lattice": lambda n: kuhn_box([-120.0, 0.0, 0.0], [160.0, 8.0, 8.0], [n, n // 35, n // 35]),
        "body-centred": lambda n: bcc_box([-120.0, 0.0, 0.0], [n, n // 35, n // 35], 280.0 / n),
    }
    for name, bar in bars.items():
        slope = convergence(lambda n, bar=bar: error(comm, problem, bar(n), 150, corrected), (35, 70, 140)).slope
        assert slope >= SECOND_ORDER, name


@pytest.mark.parametrize("corrected", [True, False])
def test_gompertz_gaussian_in_a_plane(comm, corrected):
    problem = gaussian_problem()

    def plane(n):
        return kuhn_box([-30.0] * 2, [30.0] * 2, [n] * 2)

    assert convergence(lambda n: error(comm, problem, plane(n), 80, corrected), (20, 40, 80)).slope >= SECOND_ORDER


def test_gompertz_gaussian_in_a_plane_in_time(comm):
    """Against the exact solution: the mesh is so fine that time steps make the error."""
    mesh = kuhn_box([-30.0] * 2, [30.0] * 2, [320] * 2)
    assert convergence(lambda steps: error(comm, gaussian_problem(), mesh, steps), (2, 4)).slope >= SECOND_ORDER


MESHES = {
    "lattice": (lambda n: kuhn_box([-30.0] * 3, [30.0] * 3, [n] * 3), (10, 20, 30)),
    "body-centred": (lambda n: bcc_box([-30.0] * 3, [n] * 3, 60.0 / n), (8, 16, 24)),
}


@pytest.mark.parametrize("route", MESHES)
@pytest.mark.parametrize("corrected", [True, False])
def test_gompertz_gaussian_in_space(comm, route, corrected):
    mesh, counts = MESHES[route]
    study = convergence(lambda n: error(comm, gaussian_problem(), mesh(n), 20, corrected), counts)
    assert study.slope >= SECOND_ORDER


@pytest.mark.parametrize("route", MESHES)
def test_gompertz_gaussian_in_time(comm, route):
    """Against the same mesh with many steps: the exact solution would add the error in space."""
    mesh, counts = MESHES[route]
    problem = gaussian_problem()
    discretisation = homogeneous(comm, mesh(counts[1]))
    exact = solve(problem, discretisation, 160)
    study = convergence(lambda n: relative_error(discretisation, solve(problem, discretisation, n), exact), (3, 6, 12))
    assert study.slope >= SECOND_ORDER


@pytest.mark.slow
@pytest.mark.parametrize("route", ["lattice", "stuffing"])
def test_gompertz_gaussian_in_a_ball_from_an_image(comm, route):
    """The whole route, from voxels to a mesh with a boundary that follows the ball."""
    study = convergence(lambda n: error(comm, gaussian_problem(), ball_mesh(route, 60.0 / n), 20), (10, 20))
    assert study.slope >= SECOND_ORDER


def test_cosine_mode_and_its_semi_discrete_rate(comm):
    """On equal cells the mode decays with the eigenvalue `(4/h^2) sin^2(k pi h / 2 L)` of the lumped scheme."""
    length, count, diffusion, duration = 50.0, 20, 0.3, 100.0
    discretisation = homogeneous(comm, kuhn_box([0.0], [length], [count]), corrected_mass=False)
    x = owned(discretisation)[:, 0]

    def density(points, time):
        return cosine_mode(points[:, 0], time, diffusion, length)

    final = solve(Problem(Exponential(), Rates(diffusion, diffusion, 0.0), duration, density), discretisation, 2000)
    h = length / count
    eigenvalue = 4.0 / h**2 * np.sin(0.5 * np.pi * h / length) ** 2
    np.testing.assert_allclose(
        final, np.cos(np.pi * x / length) * np.exp(-diffusion * eigenvalue * duration), atol=1e-7
    )
    study = convergence(
        lambda n: error(
            comm,
            Problem(Exponential(), Rates(diffusion, diffusion, 0.0), duration, density),
            kuhn_box([0.0], [length], [n]),
            2000,
            corrected=False,
        ),
        (10, 20, 40),
    )
    assert study.slope >= SECOND_ORDER
