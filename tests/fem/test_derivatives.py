"""Taylor rates 1, 2, 3 and dot tests for every input, scheme and law, with and without treatment, on 1 and 2 ranks."""

import numpy as np
import pytest

from oncology.fem.boxes import bcc_box
from oncology.fem.diffusion import BackwardEuler, Sdirk2
from oncology.fem.discretisation import discretise
from oncology.fem.engine import ModelEngine
from oncology.fem.rates import Rates
from oncology.fem.tumour_model import ModelDirection, TumourModel
from oncology.model.growth import Exponential, Gompertz, Logistic
from oncology.model.timegrid import plan_time_grid
from oncology.model.treatment import Chemotherapy, Radiotherapy, Resection
from oncology.optimise import taylor_test
from oncology.verify.derivatives import (
    initial_dot,
    initial_rates,
    parameter_dot,
    parameter_gradient,
    parameter_rates,
    parameter_value,
    vertex_noise,
)
from oncology.verify.seeded import SeededGrowth
from tests.fem.meshes import mixed_box, owned

SCALES = (0.05, 0.02, 0.01, 1.0, 1.0, 1.0, 3.0, 1.0)
# the third rate needs a seed that covers the box: growth has a kink at zero density
PARAMETERS = np.array([0.5, 0.12, 0.06, 7.0, -6.0, 5.0, -30.0, 50.0])
MIDDLE = np.array([0.5, 0.2, 0.06, 3.0, -2.0, 1.0, -30.0, 37.0])
SMALL = np.array([*PARAMETERS[:-1], 12.0])
RATES = Rates(0.5, 0.1, 0.06)
TREATMENT = (Radiotherapy(8.0, 12.0, 6), Chemotherapy(5.0, 0.05, 8.0), Resection(20.0))

pytestmark = pytest.mark.mpi


def growth_on(box, treatments=(), law=None, scheme=None):
    cavity = 1.0 - 0.9 * np.exp(-((owned(box) - 5.0) ** 2).sum(axis=1) / 50.0)
    model = TumourModel(box, law or Logistic(), scheme or Sdirk2(), resections={2: cavity}, tolerance=1e-13)
    return SeededGrowth(ModelEngine(model), plan_time_grid(-30.0, [8.0, 30.0], treatments, 4.0))


def assert_right(test):
    one, two, three = test.rates
    assert one == pytest.approx(1.0, abs=0.1), test
    assert two == pytest.approx(2.0, abs=0.1), test
    assert three == pytest.approx(3.0, abs=0.1), test


@pytest.fixture(scope="module")
def box(comm):
    return mixed_box(comm)


@pytest.mark.parametrize("treatments", [(), TREATMENT], ids=["untreated", "treated"])
class TestDefaultModel:
    def test_parameters(self, box, treatments):
        for test in parameter_rates(growth_on(box, treatments), PARAMETERS, SCALES):
            assert_right(test)

    def test_initial_density(self, box, treatments):
        growth = growth_on(box, treatments)
        bump = 0.3 + 0.2 * np.cos(0.1 * owned(box)[:, 0])
        assert_right(
            initial_rates(growth.engine.model, RATES, bump, bump * (1.0 + 0.3 * vertex_noise(box, 5)), growth.plan)
        )

    def test_a_seed_within_the_box(self, box, treatments):
        growth = growth_on(box, treatments)
        gradient = parameter_gradient(growth, SMALL)
        for step in 1e-4 * np.diag(SCALES):
            values = [parameter_value(growth, SMALL + k * step) for k in (-1, 1)]
            assert gradient @ step == pytest.approx(0.5 * (values[1] - values[0]), rel=1e-4)

    def test_dot(self, box, treatments):
        growth = growth_on(box, treatments)
        assert max(parameter_dot(growth, where).error for where in (PARAMETERS, SMALL)) < 1e-11
        assert initial_dot(growth.engine.model, growth.solve(PARAMETERS).run.run).error < 1e-11

    def test_tangent_of_the_state(self, box, treatments):
        """Rate 2 of the densities themselves, along all scalars at once."""
        growth = growth_on(box, treatments)
        tangent = np.concatenate(growth.solve(PARAMETERS).tangent(np.array(SCALES))).ravel()

        def states(h):
            densities = growth.solve(PARAMETERS + h * np.array(SCALES), linearise=False).densities
            return np.concatenate(densities).ravel()

        def norm(u):
            return float(np.sqrt(box.total(np.array([u @ u]))[0]))

        steps = [0.5**k for k in range(6)]
        test = taylor_test(states, 0.0, 1.0, slope=tangent, steps=steps, norm=norm, precision=1e-11)
        assert test.rate == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("scheme", [Sdirk2(), BackwardEuler()])
@pytest.mark.parametrize("law", [Exponential(), Logistic(), Gompertz()])
def test_every_scheme_and_law(box, scheme, law):
    growth = growth_on(box, TREATMENT, law, scheme)
    gradient = parameter_gradient(growth, PARAMETERS)
    for number, scale in enumerate(SCALES):
        step = 1e-3 * scale * np.eye(8)[number]
        values = [parameter_value(growth, PARAMETERS + k * step) for k in (-2, -1, 1, 2)]
        difference = (values[0] - 8.0 * values[1] + 8.0 * values[2] - values[3]) / 12.0
        assert gradient @ step == pytest.approx(difference, rel=1e-6, abs=1e-10 * abs(values[0]))
    assert initial_dot(growth.engine.model, growth.solve(PARAMETERS).run.run).error < 1e-11


def test_other_lattice_with_tensor_and_lumped_mass(comm):
    points, cells = bcc_box([-18.0] * 3, [6] * 3, 6.0)
    rng = np.random.default_rng(3)
    white = rng.uniform(0.0, 1.0, len(cells))
    roots = rng.normal(size=(len(cells), 3, 3))
    tensor = roots @ roots.transpose(0, 2, 1) / 3.0 + 0.2 * np.eye(3)
    for corrected in (True, False):
        growth = growth_on(discretise(comm, points, cells, white, 1.0 - white, tensor, corrected), TREATMENT)
        for test in parameter_rates(growth, MIDDLE, SCALES):
            assert_right(test)
        assert initial_dot(growth.engine.model, growth.solve(PARAMETERS).run.run).error < 1e-11


def test_directions_add_up(box):
    """The tangent along the sum of two directions is the sum of the tangents."""
    growth = growth_on(box, TREATMENT)
    run = growth.solve(PARAMETERS).run.run
    first = ModelDirection(Rates(0.1, 0.0, 0.0), vertex_noise(box, 1), 0.0)
    second = ModelDirection(Rates(0.0, 0.02, 0.03), None, 0.5)
    both = ModelDirection(Rates(0.1, 0.02, 0.03), first.initial, 0.5)
    for one, two, total in growth.engine.model.tangent(run, (first, second, both)):
        np.testing.assert_allclose(one + two, total, atol=1e-9)
