"""Treatment: survival laws in closed form, order of scan and treatment on one day, and adjoints through every event."""

import math
from dataclasses import replace

import numpy as np
import pytest

from oncology.fem.engine import ModelEngine
from oncology.fem.rates import Rates
from oncology.fem.tumour_model import TumourModel
from oncology.model.growth import Exponential, Logistic
from oncology.model.march import Scaling
from oncology.model.timegrid import plan_time_grid
from oncology.model.treatment import Chemotherapy, Radiotherapy, Resection
from oncology.verify.derivatives import parameter_gradient, parameter_value
from oncology.verify.seeded import SeededGrowth
from tests.fem.meshes import mixed_box, owned

PARAMETERS = np.array([0.5, 0.1, 0.06, 7.0, -6.0, 5.0, -30.0, 12.0])
SCALES = np.array([0.05, 0.02, 0.01, 1.0, 1.0, 1.0, 3.0, 1.0])


@pytest.fixture(scope="module")
def box(comm):
    return mixed_box(comm, count=6)


def flat(box, law, grid, rate, start=0.4, **options):
    """Densities without diffusion, started from a constant."""
    model = TumourModel(box, law, **options)
    run = model.run(Rates(0.0, 0.0, rate), np.full(box.owned, start), grid, keep=False)
    return [u[0] if np.ptp(u) < 1e-12 else u for u in run.observations]


def differences(growth):
    """Derivative of the functional by fourth-order central differences; no vertex crosses the seed's edge."""
    steps = 5e-4 * np.diag(SCALES)
    values = [[parameter_value(growth, PARAMETERS + k * step) for k in (-2, -1, 1, 2)] for step in steps]
    return np.array([(v[0] - 8.0 * v[1] + 8.0 * v[2] - v[3]) / 12.0 for v in values])


def test_one_fraction_of_radiotherapy(box):
    """Exponential growth commutes with survival: u0 e^(rho t) S, with the linear-quadratic law written out."""
    grid = plan_time_grid(0.0, [10.0], [Radiotherapy(3.3, 2.0, 1, alpha=0.3, alpha_beta=8.0)], 1.0)
    survival = math.exp(-0.3 * 2.0 - 0.3 / 8.0 * 2.0**2)
    (end,) = flat(box, Exponential(), grid, 0.05, 0.01)
    assert end == pytest.approx(0.01 * math.exp(0.5) * survival, rel=1e-12)


def test_radiotherapy_between_logistic_growth(box):
    """Growth, survival, growth: three closed formulas one after the other."""
    treatment = Radiotherapy(4.0, 10.0, 1)
    law = Logistic()
    (end,) = flat(box, law, plan_time_grid(0.0, [10.0], [treatment], 1.0), 0.1)
    assert end == pytest.approx(law.flow(treatment.survival * law.flow(0.4, 0.4), 0.6), rel=1e-12)


def test_fractions_are_given_on_five_days_of_a_week(box):
    treatment = Radiotherapy(1.0, 24.0, 12)
    assert treatment.days == (1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 15, 16)
    grid = plan_time_grid(0.0, [4.5, 7.5, 20.0], [treatment], 1.0)
    densities = flat(box, Exponential(), grid, 0.0, 0.5)
    assert densities == pytest.approx([0.5 * treatment.survival**n for n in (4, 5, 12)], rel=1e-12)


def test_chemotherapy_decays(box):
    """Exponential growth with a kill rate that halves: the exponent is an elementary integral."""
    drug = Chemotherapy(2.0, 0.3, 4.0)
    (end,) = flat(box, Exponential(), plan_time_grid(0.0, [13.0], [drug], 0.7), 0.05, 0.2)
    killed = 0.3 * 4.0 / math.log(2.0) * (1.0 - 2.0 ** (-11.0 / 4.0))
    assert end == pytest.approx(0.2 * math.exp(0.05 * 13.0 - killed), rel=1e-12)


def test_chemotherapy_in_logistic_growth_is_of_second_order(box):
    """Growth and kill do not commute: the splitting converges to the solution of du/dt = (rho (1 - u) - k(t)) u.

    That is a Bernoulli equation, 1/u = e^-g (1/u0 + rho int e^g), with g(t) the integral of rho - k.
    """
    rho, drug = 0.2, Chemotherapy(0.5, 0.4, 3.0)
    t = np.linspace(0.0, 10.0, 200001)
    g = rho * t - np.array([drug.exposure(0.0, end) for end in t])
    integral = np.sum(0.5 * (np.exp(g[1:]) + np.exp(g[:-1])) * np.diff(t))
    exact = math.exp(g[-1]) / (1.0 / 0.4 + rho * integral)
    grids = (plan_time_grid(0.0, [10.0], [drug], step) for step in (0.5, 0.25))
    errors = [abs(flat(box, Logistic(), grid, rho)[0] - exact) for grid in grids]
    assert np.log2(errors[0] / errors[1]) > 1.9
    assert errors[1] < 1e-4


@pytest.mark.parametrize("second", ["radiotherapy", "resection"])
def test_the_scan_comes_before_the_treatment_of_its_day(box, second):
    treatment = Radiotherapy(5.0, 10.0, 1) if second == "radiotherapy" else Resection(5.0)
    left = treatment.survival if second == "radiotherapy" else 0.25
    grid = plan_time_grid(0.0, [5.0, 6.0], [treatment], 1.0)
    before, after = flat(box, Logistic(), grid, 0.0, resections={0: np.full(box.owned, 0.25)})
    assert before == pytest.approx(0.4, rel=1e-12)
    assert after == pytest.approx(0.4 * left, rel=1e-12)


def test_resection_empties_the_cavity_at_once(box):
    cavity = (owned(box)[:, 0] > 0.0).astype(float)
    grid = plan_time_grid(0.0, [5.0, 5.0 + 1e-6], [Resection(5.0)], 1.0)
    _, after = flat(box, Logistic(), grid, 0.0, resections={0: cavity})
    np.testing.assert_allclose(after, 0.4 * cavity, atol=1e-12)


EVENTS = {
    "a fraction": ((Radiotherapy(3.7, 6.0, 1, alpha=0.3),), [20.0]),
    "weeks of fractions": ((Radiotherapy(-20.0, 60.0, 30, alpha=0.06),), [0.0, 25.0]),
    "chemotherapy": ((Chemotherapy(-10.0, 0.1, 5.0), Chemotherapy(4.0, 0.1, 5.0)), [20.0]),
    "resection": ((Resection(3.0),), [20.0]),
    "on a scan": ((Radiotherapy(5.0, 6.0, 1, alpha=0.3),), [5.0, 20.0]),
    "all on one day": (
        (Resection(5.0), Radiotherapy(5.0, 6.0, 1, alpha=0.3), Chemotherapy(5.0, 0.1, 5.0)),
        [5.0, 20.0],
    ),
}


def growth_with(box, treatments, observations):
    cavity = 1.0 - 0.9 * np.exp(-((owned(box) - 5.0) ** 2).sum(axis=1) / 50.0)
    model = TumourModel(box, resections={0: cavity}, tolerance=1e-13)
    return SeededGrowth(ModelEngine(model), plan_time_grid(-30.0, observations, treatments, 4.0))


@pytest.mark.mpi
@pytest.mark.parametrize("name", EVENTS)
def test_gradient_through_events(box, name):
    """Every derivative against central differences, with the event inside the interval of the adjoint."""
    growth = growth_with(box, *EVENTS[name])
    gradient = 5e-4 * SCALES * parameter_gradient(growth, PARAMETERS)
    np.testing.assert_allclose(gradient, differences(growth), rtol=1e-7, atol=1e-9 * np.abs(gradient).max())


class ForgetsSurvival(TumourModel):
    """A model with the defect that was found elsewhere: its adjoint passes a fraction of radiotherapy unchanged."""

    def adjoint(self, run, duals):
        kept = [Scaling(1.0) if isinstance(o, Scaling) else o for o in run.operations]
        return super().adjoint(replace(run, operations=tuple(kept)), duals)


def test_an_adjoint_that_forgets_survival_is_caught(box):
    """`test_gradient_through_events` is not blind: without the survival the gradient is off by half and more."""
    growth = growth_with(box, *EVENTS["a fraction"])
    wrong = SeededGrowth(ModelEngine(ForgetsSurvival(box, tolerance=1e-13)), growth.plan)
    gradient, difference = 5e-4 * SCALES * parameter_gradient(wrong, PARAMETERS), differences(wrong)
    onset = abs(gradient[-1] / difference[-1] - 1.0)
    seed = np.abs(gradient[3:6] / difference[3:6] - 1.0)
    assert onset > 0.5
    assert (seed > 0.5).all()
