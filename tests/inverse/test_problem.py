"""The least-squares problem on a closed-form front: derivatives of the cost, of thresholds and of moved rims."""

import dataclasses
import math

import numpy as np
import pytest
from oncology.inverse.parameters import TRACER, Parametrisation, Prior
from scipy.stats import qmc

from oncology.inverse.misfit import TracerObservation
from oncology.inverse.problem import FixedMetric, Identification
from oncology.model.cells import cell_gradients
from oncology.optimise import taylor_test
from tests.inverse.expanding import TRUTH, Expanding, Front, Tissue, box, pack

SHARPNESSES = [10.0, 25.0, None]
REGIONS = ("whole", "core")
SCALE = 0.8  # density a unit of uptake


def make(sharpness: float | None, thresholds: tuple[str, ...] = REGIONS, count: int = 10) -> tuple:
    """A problem of masks and a tracer with a misfit, and the point where it is looked at."""
    forward = Expanding(box(27.0, count))
    parametrisation = Parametrisation(0.0, thresholds, tracer=True)
    uptake = forward.solve(TRUTH).densities[1].mean(axis=1) / SCALE
    support = np.where(uptake > 0.1, 0.5, 0.0)
    observations = (*forward.observations(TRUTH, depth=4), TracerObservation(1, uptake, support, 0.9))
    given = (0.3, 0.55)[: len(thresholds)]
    x = pack(parametrisation, TRUTH * np.array([1.2, 0.9, 0.95, 1.3, 1.1, 0.7, 1.02]), given)
    prior = Prior(x + 0.1, np.full(parametrisation.size, 2.0))
    problem = Identification(forward, observations, parametrisation, prior, 7.0, sharpness)
    return problem, x


@pytest.mark.parametrize("sharpness", SHARPNESSES)
def test_adjoint_gradient_is_that_of_the_tables(sharpness):
    problem, x = make(sharpness)
    value, gradient = problem.gradient(x)
    model = problem.linearise(x)
    by_hand = sum(table.jacobian.T @ table.residual for table in problem.tables(x)) / problem.noise
    assert value == pytest.approx(model.value, rel=1e-12) == pytest.approx(problem.evaluate(x), rel=1e-12)
    np.testing.assert_allclose(gradient, model.gradient, rtol=1e-9, atol=1e-9 * np.abs(gradient).max())
    np.testing.assert_allclose(by_hand + problem.prior.gradient(x), gradient, atol=1e-9 * np.abs(gradient).max())


@pytest.mark.parametrize("sharpness", SHARPNESSES)
def test_every_unknown_has_taylor_rate_two(sharpness):
    problem, x = make(sharpness)
    gradient = problem.linearise(x).gradient
    for k, direction in enumerate(np.eye(problem.parametrisation.size)):
        result = taylor_test(problem.evaluate, x, direction, gradient[k], steps=[2e-3 * 0.5**n for n in range(6)])
        # the exact fraction is smooth but for the cells whose number of vertices above the rim changes
        assert result.rate > (1.97 if sharpness else 1.9), problem.parametrisation.names[k]


@pytest.mark.parametrize("sharpness", SHARPNESSES)
def test_tables_are_the_derivatives_of_the_residuals(sharpness):
    problem, x = make(sharpness)
    tables = problem.tables(x)
    for k, unit in enumerate(np.eye(problem.parametrisation.size)):
        plus, minus = problem.tables(x + 1e-6 * unit), problem.tables(x - 1e-6 * unit)
        for table, above, below in zip(tables, plus, minus, strict=True):
            difference = (above.residual - below.residual) / 2e-6
            scale = np.abs(table.jacobian[:, k]).max()
            np.testing.assert_allclose(table.jacobian[:, k], difference, atol=1e-3 * scale + 1e-8)


def test_given_thresholds_leave_their_unknowns_out():
    problem, x = make(None, thresholds=("core",))
    for table, observation in zip(problem.tables(x), problem.observations, strict=True):
        assert table.jacobian[:, -2].any() == (observation.region == "core")
        assert table.jacobian[:, -1].any() == (observation.region == TRACER)
    assert problem.linearise(x).hessian.shape == (9, 9)


def test_tracer_is_explained_at_the_truth_by_its_scale():
    problem, x = make(None)
    truth = pack(problem.parametrisation, TRUTH, (0.25, 0.6))
    truth[-1] = math.log(SCALE / 0.9)
    tracer = next(seen for observation, seen in problem.observe(truth) if observation.region == TRACER)
    np.testing.assert_allclose(tracer.residual, 0.0, atol=1e-12)
    assert np.abs(next(seen for o, seen in problem.observe(x) if o.region == TRACER).residual).max() > 0.05


def test_matrix_is_that_of_the_tables_and_the_prior():
    problem, x = make(25.0)
    normal = sum(table.jacobian.T @ table.jacobian for table in problem.tables(x)) / problem.noise
    np.testing.assert_allclose(problem.linearise(x).hessian, normal + problem.prior.precision, rtol=1e-10)


def test_fixed_metric_keeps_cost_and_gradient():
    problem, x = make(None)
    metric = np.diag(np.arange(1.0, 11.0))
    model = FixedMetric(problem, metric).linearise(x)
    assert model.hessian is metric
    assert FixedMetric(problem, metric).evaluate(x) == problem.evaluate(x) == pytest.approx(model.value)
    np.testing.assert_array_equal(model.gradient, problem.gradient(x)[1])


def ball_radius(parameters: np.ndarray, rim: float) -> float:
    """Radius of the level `rim` on day 0 in white matter without end, mm."""
    white, _, rho, *_, onset = parameters
    return math.sqrt(white / rho) * (-2.0 * rho * onset - math.log(rim / (1.0 - rim)))


def test_misfit_converges_to_the_volume_between_model_and_mask():
    """The squared difference of two indicators; cut cells average it, so the error is of first order."""
    smaller = TRUTH * np.array([1, 1, 1, 1, 1, 1, 0.8])
    balls = [[4.0 / 3.0 * math.pi * ball_radius(p, rim) ** 3 for rim in (0.25, 0.60)] for p in (TRUTH, smaller)]
    exact = np.subtract(*balls).sum()
    errors = []
    for count in (12, 20):
        forward = Expanding(box(22.0, count), (0.0,), Front(Tissue(middle=np.inf)))
        parametrisation = Parametrisation(0.0)
        prior = Prior(np.zeros(7), np.ones(7))
        problem = Identification(forward, forward.observations(TRUTH, depth=4), parametrisation, prior)
        errors.append(exact - problem.misfit(pack(parametrisation, smaller)))
    assert 0.0 < errors[1] < errors[0] < 0.4 * exact
    assert math.log(errors[0] / errors[1]) / math.log(20 / 12) > 0.8


def test_moved_rims_sweep_the_surface_and_the_volume():
    """The sum of the rim's derivatives is the area of the level set; that of a moved image has the ball as moment."""
    forward = Expanding(box(22.0, 20), (0.0,), Front(Tissue(middle=np.inf)))
    parametrisation = Parametrisation(0.0)
    prior = Prior(np.zeros(7), np.ones(7))
    x = pack(parametrisation, TRUTH)
    problem = Identification(forward, forward.observations(TRUTH, depth=2), parametrisation, prior)
    root = np.sqrt(forward.space.volumes)
    for observation, table in zip(problem.observations, problem.tables(x), strict=True):
        radius = ball_radius(TRUTH, observation.level)
        second_order = (2.2 / radius) ** 2
        assert -root @ table.rim[:, 0] == pytest.approx(4.0 * math.pi * radius**2, rel=second_order)
        moments = (forward.space.centres * root[:, None]).T @ table.rim[:, 1:]
        ball = 4.0 / 3.0 * math.pi * radius**3
        np.testing.assert_allclose(moments, ball * np.eye(3), atol=second_order * ball)


def test_cell_gradients_are_exact_for_linear_functions():
    space = box(5.0, 3)
    slope = np.array([1.5, -2.0, 0.25])
    densities = (space.points @ slope + 3.0)[space.cells]
    np.testing.assert_allclose(cell_gradients(space, densities), np.tile(slope, (len(space.cells), 1)), atol=1e-12)


def test_one_run_serves_the_trial_and_its_linearisation():
    problem, x = make(25.0)
    assert problem.solve(x) is problem.solve(np.array(x))
    assert problem.solve(x) is not problem.solve(x + 1e-9)
    assert not np.array_equal(
        dataclasses.replace(problem, sharpness=10.0).observe(x)[0][1].residual, problem.observe(x)[0][1].residual
    )


@pytest.mark.parametrize("seed", range(3))
def test_evaluation_does_not_depend_on_what_was_asked_before(seed):
    problem, x = make(25.0)
    points = x + 0.05 * qmc.scale(qmc.Sobol(x.size, seed=seed).random(4), -1.0, 1.0)
    straight = [problem.evaluate(p) for p in points]
    for point, other, value in zip(points, points[::-1], straight, strict=True):
        problem.gradient(point)
        problem.evaluate(other)
        assert problem.evaluate(point) == value
