"""The checks of `oncology verify`: exact solutions, conservation, bounds, the sphere, derivatives.

Each check is one number, measured on this installation, with the interval it must lie in. They are few and small, to
end within a minute on one core; the tests hold the same measurements to more meshes, laws and treatments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from oncology.fem.boxes import bcc_box, kuhn_box
from oncology.fem.diffusion import BackwardEuler
from oncology.fem.discretisation import discretise
from oncology.fem.engine import ModelEngine
from oncology.fem.rates import Rates
from oncology.fem.tumour_model import TumourModel
from oncology.model.growth import Exponential
from oncology.model.timegrid import plan_time_grid
from oncology.model.treatment import Chemotherapy, Radiotherapy, Resection
from oncology.verify.derivatives import (
    TaylorRates,
    initial_dot,
    initial_rates,
    parameter_dot,
    parameter_rates,
    vertex_noise,
)
from oncology.verify.exact import heat_gaussian
from oncology.verify.seeded import SeededGrowth
from oncology.verify.verification import (
    SPHERE_REFERENCE,
    convergence,
    equal_steps,
    gaussian_problem,
    grow_sphere,
    homogeneous,
    mass_balance,
    relative_error,
    solve,
    wave_problem,
)

__all__ = ["CHECKS", "Check", "run_checks"]

_ORDER = 1.9  # least observed order of what is of second order
_SLACK = 0.1  # of a Taylor rate
_SIZE = 1.5  # mm, mean edge of the sphere's meshes


@dataclass(frozen=True)
class Check:
    """A measured number and the interval it must lie in.

    Attributes:
        name: what was measured.
        measured: the number.
        low: smallest allowed value.
        high: largest allowed value.
    """

    name: str
    measured: float
    low: float = -math.inf
    high: float = math.inf

    @property
    def good(self) -> bool:
        """Whether the number lies in the interval (a number that is not finite does not)."""
        return math.isfinite(self.measured) and self.low <= self.measured <= self.high

    @property
    def expected(self) -> str:
        """The interval in words."""
        if self.low == -math.inf:
            return f"<= {self.high:g}"
        if self.high == math.inf:
            return f">= {self.low:g}"
        return f"{self.low:g} .. {self.high:g}"


def run_checks(comm: Any) -> Iterator[Check]:
    """Yield the checks one by one, each computed on all ranks of the communicator."""
    for group in CHECKS:
        yield from group(comm)


def wave_checks(comm: Any) -> Iterator[Check]:
    """Logistic travelling wave in one dimension."""
    problem = wave_problem()

    def error(cells: int, steps: int, corrected: bool) -> float:
        discretisation = homogeneous(comm, kuhn_box([-120.0], [160.0], [cells]), corrected)
        exact = problem.density(discretisation.points[: discretisation.owned], problem.duration)
        return relative_error(discretisation, solve(problem, discretisation, steps), exact)

    in_space = convergence(lambda cells: error(cells, 400, False), (70, 140, 280))
    in_time = convergence(lambda steps: error(2240, steps, True), (5, 10, 20))
    yield Check("logistic wave 1-D: order in space", in_space.slope, _ORDER)
    yield Check("logistic wave 1-D: order in time", in_time.slope, _ORDER)
    yield Check("logistic wave 1-D: relative error at 2 mm", error(140, 400, True), high=1e-4)


def gaussian_checks(comm: Any) -> Iterator[Check]:
    """Gompertz Gaussian in three dimensions on both lattices."""
    problem = gaussian_problem()

    def error(mesh: tuple[np.ndarray, np.ndarray]) -> float:
        discretisation = homogeneous(comm, mesh)
        exact = problem.density(discretisation.points[: discretisation.owned], problem.duration)
        return relative_error(discretisation, solve(problem, discretisation, 20), exact)

    lattice = convergence(lambda n: error(kuhn_box([-30.0] * 3, [30.0] * 3, [n] * 3)), (12, 24))
    stuffing = convergence(lambda n: error(bcc_box([-30.0] * 3, [n] * 3, 60.0 / n)), (10, 20))
    yield Check("Gompertz Gaussian 3-D, lattice: order in space", lattice.slope, _ORDER)
    yield Check("Gompertz Gaussian 3-D, body-centred: order in space", stuffing.slope, _ORDER)


def tensor_checks(comm: Any) -> Iterator[Check]:
    """Heat equation with a rotated diffusion tensor."""
    cosine, sine = math.cos(0.6), math.sin(0.6)
    turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    tensor = turn @ np.diag([1.6, 0.8, 0.6]) @ turn.T
    covariance = 25.0 * np.eye(3)

    def error(count: int) -> float:
        points, cells = kuhn_box([-32.0] * 3, [32.0] * 3, [count] * 3)
        one = np.ones(len(cells))
        discretisation = discretise(comm, points, cells, one, 0.0 * one, np.tile(tensor, (len(cells), 1, 1)))
        owned = discretisation.points[: discretisation.owned]
        model = TumourModel(discretisation, Exponential())
        start = heat_gaussian(owned, 0.0, 0.5 * tensor, covariance)
        run = model.run(Rates(0.5, 0.5, 0.0), start, equal_steps(10.0, 10), keep=False)
        exact = heat_gaussian(owned, 10.0, 0.5 * tensor, covariance)
        return relative_error(discretisation, run.observations[0], exact)

    yield Check("diffusion tensor 3-D: order in space", convergence(error, (12, 24)).slope, _ORDER)


def bound_checks(comm: Any) -> Iterator[Check]:
    """Conservation, and the maximum principle of backward Euler with the lumped mass on the lattice."""
    points, cells = kuhn_box([-16.0] * 3, [16.0] * 3, [16] * 3)
    white = np.random.default_rng(0).uniform(0.0, 1.0, len(cells))
    discretisation = discretise(comm, points, cells, white, 1.0 - white, corrected_mass=False)
    sharp = (vertex_noise(discretisation, 1) > 1.0).astype(float)
    model = TumourModel(discretisation, scheme=BackwardEuler(), tolerance=1e-13)
    run = model.run(Rates(0.5, 0.05, 0.1), sharp, equal_steps(20.0, 10))
    balance = mass_balance(model, run, run.observations[0])
    yield Check("backward Euler, lattice: lowest density", run.lowest, low=0.0)
    yield Check("backward Euler, lattice: highest density", run.highest, high=1.0)
    yield Check("mass that a diffusion step loses, relative", balance.leak, high=1e-10)
    fine = model.run(Rates(0.5, 0.05, 0.1), sharp, equal_steps(20.0, 200))
    balance = mass_balance(model, fine, fine.observations[0])
    yield Check("mass gained over rho int f(u)", balance.gain / balance.reaction, 0.999, 1.001)


def sphere_checks(comm: Any) -> Iterator[Check]:
    """The sphere at 1.5 mm with steps of one day, on both lattices."""
    # The body-centred lattice has mirror planes, so an octant will do; Kuhn's diagonals all point one way. Edges of the
    # former are 0.923 of its cubes on average.
    meshes = {
        "lattice": (kuhn_box([-33.75] * 3, [33.75] * 3, [round(67.5 / _SIZE)] * 3), 1),
        "body-centred": (bcc_box([0.0] * 3, [21] * 3, _SIZE / 0.923), 8),
    }
    for name, (mesh, images) in meshes.items():
        sphere = grow_sphere(homogeneous(comm, mesh), asked_step=1.0, images=images)
        mass = 100.0 * (sphere.mass / SPHERE_REFERENCE.mass - 1.0)
        yield Check(f"sphere, {name}: error of the mass, %", mass, -0.5, 0.5)
        half = sphere.radius_half - SPHERE_REFERENCE.radius_half
        tenth = sphere.radius_tenth - SPHERE_REFERENCE.radius_tenth
        yield Check(f"sphere, {name}: error of the radius at 0.5, mm", half, -0.05, 0.05)
        yield Check(f"sphere, {name}: error of the radius at 0.1, mm", tenth, -0.05, 0.05)


def derivative_checks(comm: Any) -> Iterator[Check]:
    """Taylor rates and dot tests of all inputs, without and with treatment."""
    points, cells = kuhn_box([-20.0] * 3, [20.0] * 3, [8] * 3)
    white = np.random.default_rng(0).uniform(0.0, 1.0, len(cells))
    discretisation = discretise(comm, points, cells, white, 1.0 - white)
    owned = discretisation.points[: discretisation.owned]
    cavity = 1.0 - 0.9 * np.exp(-((owned - 5.0) ** 2).sum(axis=1) / 50.0)
    treatments = (Radiotherapy(8.0, 12.0, 6), Chemotherapy(5.0, 0.05, 8.0), Resection(20.0))
    parameters = np.array([0.5, 0.1, 0.06, 7.0, -6.0, 5.0, -30.0, 50.0])
    for name, given in (("untreated", ()), ("treated", treatments)):
        model = TumourModel(discretisation, resections={2: cavity}, tolerance=1e-13)
        grid = plan_time_grid(-30.0, [8.0, 30.0], given, 4.0)
        growth = SeededGrowth(ModelEngine(model), grid)
        tests = parameter_rates(growth, parameters, [0.05, 0.02, 0.01, 1.0, 1.0, 1.0, 3.0, 1.0])
        rates = Rates(0.5, 0.1, 0.06)
        bump = 0.3 + 0.2 * np.cos(0.1 * owned[:, 0])
        tests += (initial_rates(model, rates, bump, 0.2 * bump, grid),)
        for order in (1, 2, 3):
            yield Check(
                f"{name}: Taylor rate {order}, worst input", _worst(tests, order), order - _SLACK, order + _SLACK
            )
        yield Check(f"{name}: dot test of the scalars", parameter_dot(growth, parameters).error, high=1e-10)
        dot = initial_dot(model, growth.solve(parameters).run.run)
        yield Check(f"{name}: dot test with the initial density", dot.error, high=1e-10)
        model.destroy()


def _worst(tests: tuple[TaylorRates, ...], order: int) -> float:
    """Return the rate that is farthest from its order."""
    rates = [test.rates[order - 1] for test in tests]
    return max(rates, key=lambda rate: abs(rate - order) if math.isfinite(rate) else math.inf)


CHECKS: tuple[Callable[[Any], Iterator[Check]], ...] = (
    wave_checks,
    gaussian_checks,
    tensor_checks,
    bound_checks,
    sphere_checks,
    derivative_checks,
)
