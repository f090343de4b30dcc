"""The least-squares problem on a closed-form front: derivatives of the cost, of thresholds and of moved boundaries."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import qmc

from oncology.errors import ConfigError
from oncology.inverse.misfit import TRACER, TracerObservation
from oncology.inverse.observe import FixedData
from oncology.inverse.priors import GaussianPrior
from oncology.inverse.problem import DenseCost, InverseProblem, SecantCost, residual_tables, secant_update
from oncology.inverse.scalars import ScalarMap
from oncology.model.cells import cell_gradients
from oncology.optimise import taylor_test
from tests.inverse.expanding import DAYS, TRUTH, Expanding, Front, Tissue, box, pack, tumour

SHARPNESSES = [10.0, 25.0, None]
REGIONS = ("whole", "core")
SCALE = 0.8  # density for one unit of uptake


GIVEN = ScalarMap(0.0, radius=False)  # the closed form has no seed


def make(sharpness: float | None, thresholds: tuple[str, ...] = REGIONS, count: int = 10) -> tuple:
    """A problem of masks and a tracer with a misfit, and the point where it is looked at."""
    engine = Expanding(box(27.0, count))
    unknowns = ScalarMap(0.0, thresholds, tracer=True, radius=False)
    truth = engine.run(tumour(TRUTH), DAYS)
    uptake = engine.space.to_cells(truth.densities[1]).mean(axis=1) / SCALE
    support = np.where(uptake > 0.1, 0.5, 0.0)
    masks = engine.segmented(TRUTH, depth=4).observations
    data = FixedData(DAYS, (*masks, TracerObservation(1, uptake, support, 0.9)))
    given = {**dict(zip(thresholds, (0.3, 0.55), strict=False)), TRACER: 0.9}
    x = pack(unknowns, TRUTH * np.array([1.2, 0.9, 0.95, 1.3, 1.1, 0.7, 1.02, 1.0]), given)
    prior = GaussianPrior(x + 0.1, np.full(unknowns.size, 2.0))
    return InverseProblem(engine, data, replace(unknowns, start=x, prior=prior), 7.0, sharpness), x


def tables(problem: InverseProblem, x: np.ndarray) -> list:
    return residual_tables(problem.evaluate(x))


@pytest.mark.parametrize("sharpness", SHARPNESSES)
def test_adjoint_gradient_is_that_of_the_tables(sharpness):
    problem, x = make(sharpness)
    here, prior = problem.evaluate(x), problem.unknowns.prior
    gradient, model = here.derivative(), DenseCost(problem).linearise(x)
    squares = sum(table.residual @ table.residual for table in residual_tables(here))
    by_hand = sum(table.jacobian.T @ table.residual for table in residual_tables(here)) / problem.noise
    assert here.misfit == pytest.approx(squares, rel=1e-12)
    assert here.value == pytest.approx(0.5 * squares / problem.noise + prior.value(x), rel=1e-12)
    assert here.value == pytest.approx(model.value, rel=1e-12)
    np.testing.assert_allclose(gradient, model.gradient, rtol=1e-9, atol=1e-9 * np.abs(gradient).max())
    np.testing.assert_allclose(by_hand + prior.gradient(x), gradient, atol=1e-9 * np.abs(gradient).max())


@pytest.mark.parametrize("sharpness", SHARPNESSES)
def test_every_unknown_has_taylor_rate_two(sharpness):
    problem, x = make(sharpness)
    cost = DenseCost(problem)
    gradient = cost.linearise(x).gradient
    for k, direction in enumerate(np.eye(problem.unknowns.size)):
        result = taylor_test(cost.evaluate, x, direction, gradient[k], steps=[2e-3 * 0.5**n for n in range(6)])
        # the exact fraction is smooth but for the cells whose number of vertices above the threshold changes
        assert result.rate > (1.97 if sharpness else 1.9), problem.unknowns.names[k]


@pytest.mark.parametrize("sharpness", SHARPNESSES)
def test_tables_are_the_derivatives_of_the_residuals(sharpness):
    problem, x = make(sharpness)
    here = tables(problem, x)
    for k, unit in enumerate(np.eye(problem.unknowns.size)):
        plus, minus = tables(problem, x + 1e-6 * unit), tables(problem, x - 1e-6 * unit)
        for table, above, below in zip(here, plus, minus, strict=True):
            difference = (above.residual - below.residual) / 2e-6
            scale = np.abs(table.jacobian[:, k]).max()
            np.testing.assert_allclose(table.jacobian[:, k], difference, atol=1e-3 * scale + 1e-8)


def test_given_thresholds_leave_their_unknowns_out():
    problem, x = make(None, thresholds=("core",))
    for table, observation in zip(tables(problem, x), problem.observations, strict=True):
        assert table.jacobian[:, -2].any() == (observation.region == "core")
        assert table.jacobian[:, -1].any() == (observation.region == TRACER)
    assert DenseCost(problem).linearise(x).hessian.shape == (9, 9)


def test_tracer_is_explained_at_the_truth_by_its_scale():
    problem, x = make(None)
    truth = pack(problem.unknowns, TRUTH, {"whole": 0.25, "core": 0.6, TRACER: SCALE})

    def residual(x: np.ndarray) -> np.ndarray:
        pairs = zip(problem.observations, problem.evaluate(x).seen, strict=True)
        return next(seen.residual for observation, seen in pairs if observation.region == TRACER)

    np.testing.assert_allclose(residual(truth), 0.0, atol=1e-12)
    assert np.abs(residual(x)).max() > 0.05


def test_a_given_scale_of_the_tracer_is_that_of_the_observation():
    """Without an unknown scale, the observation's own one counts; with it, the unknown replaces it."""
    problem, x = make(None)
    known = replace(GIVEN, thresholds=REGIONS, start=x[:-1], prior=GaussianPrior(x[:-1], np.ones(9)))
    given = replace(problem, unknowns=known)
    np.testing.assert_array_equal(given.evaluate(x[:-1]).seen[-1].residual, problem.evaluate(x).seen[-1].residual)
    moved = problem.evaluate(x + 0.1 * np.eye(10)[9]).seen[-1].residual
    assert np.abs(moved - given.evaluate(x[:-1]).seen[-1].residual).max() > 0.01


def test_matrix_is_that_of_the_tables_and_the_prior():
    problem, x = make(25.0)
    normal = sum(table.jacobian.T @ table.jacobian for table in tables(problem, x)) / problem.noise
    hessian = DenseCost(problem).linearise(x).hessian
    np.testing.assert_allclose(hessian, normal + problem.unknowns.prior.matrix, rtol=1e-10)
    # the same product without a matrix, from a tangent and an adjoint run, and its curvature from a tangent run
    here, direction = problem.evaluate(x), np.linspace(-1.0, 1.0, x.size)
    np.testing.assert_allclose(here.data_normal(direction), normal @ direction, rtol=1e-9)
    assert here.tangent(direction).curvature == pytest.approx(direction @ hessian @ direction, rel=1e-10)


def test_secant_cost_keeps_cost_and_gradient_and_starts_from_the_given_metric():
    problem, x = make(None)
    metric = np.diag(np.arange(1.0, 11.0))
    cost, here = SecantCost(DenseCost(problem), metric), problem.evaluate(x)
    model = cost.linearise(x)
    np.testing.assert_array_equal(model.hessian, metric)
    assert cost.evaluate(x) == here.value == model.value
    np.testing.assert_array_equal(model.gradient, here.derivative())
    np.testing.assert_array_equal(cost.linearise(x).hessian, metric)  # no step, nothing learnt


def test_secant_metric_maps_the_last_step_to_the_change_of_the_gradient():
    problem, x = make(25.0)
    cost = SecantCost(DenseCost(problem), np.diag(np.arange(1.0, 11.0)))
    rng = np.random.default_rng(0)
    before = cost.linearise(x)
    for _ in range(4):
        step = 0.02 * rng.normal(size=10)
        cost.evaluate(x - step)  # a rejected trial leaves no trace
        x = x + step
        model = cost.linearise(x)
        assert step @ (model.gradient - before.gradient) > 0.2 * step @ before.hessian @ step
        np.testing.assert_allclose(model.hessian @ step, model.gradient - before.gradient, rtol=1e-9)
        np.testing.assert_allclose(model.hessian, model.hessian.T, rtol=1e-12)
        assert np.linalg.eigvalsh(model.hessian).min() > 0.0
        before = model


@pytest.mark.parametrize("seed", range(3))
def test_secant_update_stays_positive_definite_where_the_cost_is_concave(seed):
    """Powell's damping: the curvature along the step falls to a fifth of the metric's at most."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(5, 5))
    metric = root @ root.T + 0.1 * np.eye(5)
    step = rng.normal(size=5)
    change = -metric @ step + 0.1 * rng.normal(size=5)
    found = secant_update(metric, step, change)
    assert step @ change < 0.0
    assert np.linalg.eigvalsh(found).min() > 0.0
    assert step @ found @ step == pytest.approx(0.2 * step @ metric @ step)


def ball_radius(parameters: np.ndarray, level: float) -> float:
    """Radius of a level set on day 0 in white matter without end, mm."""
    white, _, rho, *_, onset, _ = parameters
    return math.sqrt(white / rho) * (-2.0 * rho * onset - math.log(level / (1.0 - level)))


def ball_problem(count: int, depth: int) -> InverseProblem:
    """One day in white matter without end."""
    engine = Expanding(box(22.0, count), Front(Tissue(middle=np.inf)))
    unknowns = replace(GIVEN, start=pack(GIVEN, TRUTH), prior=GaussianPrior(np.zeros(7), np.ones(7)))
    return InverseProblem(engine, engine.segmented(TRUTH, depth, days=(0.0,)), unknowns)


def test_misfit_converges_to_the_volume_between_model_and_mask():
    """The squared difference of two indicators; cut cells average it, so the error is of first order."""
    smaller = TRUTH * np.array([1, 1, 1, 1, 1, 1, 0.8, 1])
    balls = [[4.0 / 3.0 * math.pi * ball_radius(p, level) ** 3 for level in (0.25, 0.60)] for p in (TRUTH, smaller)]
    exact = np.subtract(*balls).sum()
    errors = []
    for count in (12, 20):
        problem = ball_problem(count, depth=4)
        errors.append(exact - problem.evaluate(pack(problem.unknowns, smaller)).misfit)
    assert 0.0 < errors[1] < errors[0] < 0.4 * exact
    assert math.log(errors[0] / errors[1]) / math.log(20 / 12) > 0.8


def test_moved_boundaries_sweep_the_surface_and_the_volume():
    """The sum of a boundary's derivatives is its area; that of a moved image has the ball as moment."""
    problem = ball_problem(20, depth=2)
    space = problem.space
    root = np.sqrt(space.volumes)
    for observation, table in zip(problem.observations, tables(problem, problem.unknowns.start), strict=True):
        radius = ball_radius(TRUTH, observation.level)
        second_order = (2.2 / radius) ** 2
        assert -root @ table.boundary.outward == pytest.approx(4.0 * math.pi * radius**2, rel=second_order)
        moments = (space.centres * root[:, None]).T @ table.boundary.shifts
        ball = 4.0 / 3.0 * math.pi * radius**3
        np.testing.assert_allclose(moments, ball * np.eye(3), atol=second_order * ball)


def test_cell_gradients_are_exact_for_linear_functions():
    space = box(5.0, 3)
    slope = np.array([1.5, -2.0, 0.25])
    densities = (space.points @ slope + 3.0)[space.cells]
    np.testing.assert_allclose(cell_gradients(space, densities), np.tile(slope, (len(space.cells), 1)), atol=1e-12)


def test_one_run_serves_the_trial_and_its_linearisation():
    problem, x = make(25.0)
    cost = DenseCost(problem)
    assert cost.at(x) is cost.at(np.array(x))
    here = cost.at(x)
    assert cost.linearise(x).value == here.value and cost.at(x) is here
    assert cost.at(x + 1e-9) is not here
    other = replace(problem, sharpness=10.0).evaluate(x)
    assert not np.array_equal(other.seen[0].residual, here.seen[0].residual)


@pytest.mark.parametrize("seed", range(3))
def test_evaluation_does_not_depend_on_what_was_asked_before(seed):
    problem, x = make(25.0)
    cost = DenseCost(problem)
    points = x + 0.05 * qmc.scale(qmc.Sobol(x.size, seed=seed).random(4), -1.0, 1.0)
    straight = [problem.evaluate(p).value for p in points]
    for point, other, value in zip(points, points[::-1], straight, strict=True):
        cost.linearise(point)
        cost.evaluate(other)
        assert cost.evaluate(point) == value


@pytest.mark.parametrize("wrong", ["noise", "day", "nothing"])
def test_mistakes_end_in_one_line(wrong):
    problem, _ = make(25.0)
    late = (replace(problem.observations[0], index=2),)
    change = {
        "noise": {"noise": 0.0},
        "day": {"data": FixedData(DAYS, late)},
        "nothing": {"data": FixedData(DAYS, ())},
    }[wrong]
    with pytest.raises(ConfigError) as caught:
        replace(problem, **change)
    assert "\n" not in str(caught.value)
