"""Step lengths against exact line minima, Newton's method and the conditions they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from oncology.errors import ConfigError, NumericalError
from oncology.optimise import (
    Armijo,
    Box,
    Counts,
    Fixed,
    FunctionProblem,
    StrongWolfe,
    Tangent,
    euclidean,
    newton_step,
    power_iteration,
    root_step,
    scaled_previous,
    sensitivity_step,
)
from oncology.optimise.steps import Line, Trial, increasing_root
from oncology.optimise.wolfe import _End, _next_length
from tests.optimise.costs import ROSENBROCK, quadratic, spd


def descent_line(problem: FunctionProblem, x: np.ndarray, guess: float = 1.0, bounds: Box | None = None) -> Line:
    derivative = problem.derivative(x)
    return Line(
        problem,
        euclidean(),
        x,
        problem.evaluate(x),
        derivative,
        -derivative,
        -float(derivative @ derivative),
        guess,
        bounds,
    )


def test_the_sensitivity_step_is_the_exact_minimiser_of_a_quadratic() -> None:
    line = descent_line(quadratic(spd(5, 1), np.arange(5.0)), np.ones(5))
    length, counts = sensitivity_step(line)
    best = scipy.optimize.minimize_scalar(lambda b: line.problem.value(line.x + b * line.direction)).x
    assert length == pytest.approx(best, rel=1e-7)
    assert counts.tangent == 1


def test_the_newton_step_uses_the_full_curvature_and_falls_back_where_it_is_negative() -> None:
    x = np.array([0.5, 0.5])
    line = descent_line(ROSENBROCK, x)
    hessian = scipy.optimize.rosen_hess(x)
    full = -line.slope / float(line.direction @ hessian @ line.direction)
    assert newton_step(line)[0] == pytest.approx(full, rel=1e-12)
    concave = FunctionProblem(ROSENBROCK.value, ROSENBROCK.derivative, lambda x, d: Tangent(4.0, second=-1.0))
    assert newton_step(descent_line(concave, x))[0] == pytest.approx(-line.slope / 4.0, rel=1e-15)


def cross_entropy(features: np.ndarray, classes: np.ndarray) -> FunctionProblem:
    """Softmax regression: the state is linear in the weights, so phi is the derivative of the cost itself."""

    def spread(weights: np.ndarray) -> np.ndarray:
        return features @ weights.reshape(features.shape[1], -1)

    def value(weights: np.ndarray) -> float:
        z = spread(weights)
        return float(np.mean(scipy.special.logsumexp(z, axis=1) - z[np.arange(len(z)), classes]))

    def excess(z: np.ndarray) -> np.ndarray:
        return scipy.special.softmax(z, axis=1) - np.eye(z.shape[1])[classes]

    def tangent(weights: np.ndarray, direction: np.ndarray) -> Tangent:
        z, xi = spread(weights), spread(direction)

        def curvature(beta: float) -> float:
            p = scipy.special.softmax(z + beta * xi, axis=1)
            return float(np.mean((p * xi**2).sum(1) - (p * xi).sum(1) ** 2))

        def phi(beta: float) -> tuple[float, float]:
            return float(np.mean((excess(z + beta * xi) * xi).sum(1))), curvature(beta)

        return Tangent(curvature(0.0), model=phi)

    def derivative(weights: np.ndarray) -> np.ndarray:
        return (features.T @ excess(spread(weights)) / len(features)).ravel()

    return FunctionProblem(value, derivative, tangent)


def test_the_root_step_minimises_cross_entropy_along_the_line() -> None:
    rng = np.random.default_rng(11)
    problem = cross_entropy(rng.standard_normal((40, 3)), rng.integers(0, 4, 40))
    line = descent_line(problem, rng.standard_normal(12))
    length, _ = root_step(line)
    end = problem.derivative(line.x + length * line.direction)
    assert abs(float(end @ line.direction)) <= 1e-12 * abs(line.slope)


def test_the_root_step_of_separable_data_falls_back_to_the_quadratic_length() -> None:
    problem = cross_entropy(np.array([[1.0], [-1.0]]), np.array([0, 1]))
    line = descent_line(problem, np.zeros(2))
    assert root_step(line) == sensitivity_step(line)


@settings(derandomize=True)
@given(root=st.floats(1e-6, 1e6), first=st.floats(1e-6, 1e6), bend=st.sampled_from([1.0, 3.0, 5.0]))
def test_increasing_roots_are_found_from_anywhere(root: float, first: float, bend: float) -> None:
    def phi(b: float) -> tuple[float, float]:
        return (b / root) ** bend - 1.0, bend / root * (b / root) ** (bend - 1.0)

    assert increasing_root(phi, first) == pytest.approx(root, rel=1e-11)


def test_a_saturating_phi_needs_its_bracket() -> None:
    """Newton alone runs off: tanh is flat far from its root."""
    assert increasing_root(lambda b: (math.tanh(b - 3.0), 1.0 / math.cosh(b - 3.0) ** 2), 9.0) == pytest.approx(3.0)


def test_armijo_halves_until_the_cost_decreases_and_can_be_computed() -> None:
    def value(x: np.ndarray) -> float:
        if x[0] < 0.0:
            raise NumericalError("no solution for a negative rate")
        return math.nan if x[0] < 0.1 else float(x[0] ** 2)

    problem = FunctionProblem(value, lambda x: 2.0 * x)
    trial, counts = Armijo(proposal=scaled_previous)(descent_line(problem, np.array([1.0]), guess=4.0))
    assert trial is not None and trial.length == 0.25
    assert counts.forward == 5 and counts.tangent == 0


def test_armijo_gives_up_where_the_derivative_has_the_wrong_sign() -> None:
    problem = FunctionProblem(lambda x: float(x @ x), lambda x: -2.0 * x)
    trial, counts = Armijo(proposal=scaled_previous, trials=7)(descent_line(problem, np.ones(2)))
    assert trial is None and counts.forward == 7


@pytest.mark.parametrize("guess", [1e-6, 1e-3, 1.0, 30.0])
@pytest.mark.parametrize("seed", range(5))
def test_strong_wolfe_keeps_its_promise(guess: float, seed: int) -> None:
    line = descent_line(ROSENBROCK, np.random.default_rng(seed).uniform(-2.0, 2.0, 4), guess)
    trial, counts = StrongWolfe()(line)
    assert trial is not None and trial.derivative is not None
    assert trial.evaluation.value <= line.here.value + 1e-4 * trial.length * line.slope
    assert abs(float(trial.derivative @ line.direction)) <= 0.1 * abs(line.slope)
    assert counts.gradient <= counts.forward <= 30


def test_fixed_steps_follow_the_bent_path() -> None:
    problem = FunctionProblem(lambda x: float(x @ x), lambda x: 2.0 * x)
    trial, _ = Fixed(1.0)(descent_line(problem, np.array([0.5, 1.0]), bounds=Box(0.0, 1.0)))
    assert trial is not None and np.array_equal(trial.x, [0.0, 0.0])
    assert trial.change == -5.0 / 2.0


def test_power_iteration_finds_the_norm_of_the_forward_map() -> None:
    forward = np.random.default_rng(12).standard_normal((6, 4))
    found = power_iteration(lambda x: forward.T @ (forward @ x), euclidean(), np.ones(4), iterations=200)
    assert found == pytest.approx(np.linalg.norm(forward, 2) ** 2, rel=1e-10)
    assert power_iteration(lambda x: 0.0 * x, euclidean(), np.ones(4)) == 0.0


@pytest.mark.parametrize("make", [lambda: Fixed(0.0), lambda: StrongWolfe(curvature=1e-5)])
def test_impossible_settings_are_refused(make) -> None:
    with pytest.raises(ConfigError):
        make()


def test_strong_wolfe_refuses_bounds() -> None:
    with pytest.raises(ConfigError, match="Armijo"):
        StrongWolfe()(descent_line(ROSENBROCK, np.zeros(2), bounds=Box(0.0, 1.0)))


@pytest.mark.parametrize("rule", [Armijo, StrongWolfe])
def test_a_cost_in_single_precision_may_rise_by_its_rounding(rule) -> None:
    """At the least value that single precision can show, every step seems to lead up by a unit in the last place."""
    unit = float(np.finfo(np.float32).eps)
    flat = FunctionProblem(lambda x: 1.0 if x[0] == 1.0 else 1.0 + unit, lambda x: 1e-9 * x)
    line = descent_line(flat, np.array([1.0]))
    assert rule(proposal=scaled_previous, trials=5)(line)[0] is None
    assert rule(proposal=scaled_previous, trials=5, rounding=8.0 * unit)(line)[0] is not None


def flat_line(here: float, slope: float = -1.0) -> Line:
    """A line of a cost that is `here` at its start, in one dimension with d = 1."""
    problem = FunctionProblem(lambda x: here, lambda x: np.array([slope]))
    start = np.zeros(1)
    return Line(problem, euclidean(), start, problem.evaluate(start), np.array([slope]), np.ones(1), slope, 1.0)


@pytest.mark.parametrize("here", [100.0, -100.0])
def test_descent_is_sufficient_up_to_eight_units_of_rounding(here: float) -> None:
    """Armijo: E(x + beta d) <= E(x) + 0.5 E'[step], and rounding is relative to the size of the cost."""
    line = flat_line(here)

    def accepted(value: float, change: float, sufficient: float = 0.5) -> bool:
        evaluation = FunctionProblem(lambda x: value, lambda x: x).evaluate(np.zeros(1))
        return line.descends(Trial(1.0, np.zeros(1), evaluation, change), sufficient)

    unit = 100.0 * np.finfo(float).eps
    assert accepted(here + 7.0 * unit, -1e-30) and not accepted(here + 9.0 * unit, -1e-30)
    assert accepted(here - 0.6, -1.0) and not accepted(here - 0.4, -1.0)
    assert not accepted(here - 1.0, 0.0) and not accepted(here - 1.0, 0.5), "a step that leads nowhere or up"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_point_without_a_finite_cost_is_none(value: float) -> None:
    problem = FunctionProblem(lambda x: 1.0 if x[0] == 0.0 else value, lambda x: np.array([-1.0]))
    assert descent_line(problem, np.zeros(1)).at(1.0) is None


@pytest.mark.parametrize("curvature", [0.0, -2.0, math.nan, math.inf])
def test_without_a_usable_curvature_the_guess_is_taken(curvature: float) -> None:
    problem = FunctionProblem(ROSENBROCK.value, ROSENBROCK.derivative, lambda x, d: Tangent(curvature))
    line = descent_line(problem, np.array([0.5, 0.5]), guess=0.125)
    for proposal in (sensitivity_step, newton_step, root_step):
        length, counts = proposal(line)
        assert (length, counts.tangent) == (0.125, 1)


def test_without_a_second_derivative_or_a_model_the_sensitivity_step_is_taken() -> None:
    problem = FunctionProblem(ROSENBROCK.value, ROSENBROCK.derivative, lambda x, d: Tangent(4.0))
    line = descent_line(problem, np.array([0.5, 0.5]))
    assert newton_step(line) == root_step(line) == sensitivity_step(line) == (-line.slope / 4.0, Counts(tangent=1))


def test_roots_are_found_in_a_few_evaluations() -> None:
    """Newton's method where it works, and a bracket that halves where phi has no slope to go by."""
    seen: list[float] = []

    def cubic(b: float) -> tuple[float, float]:
        seen.append(b)
        return b**3 - 7.0, 3.0 * b**2

    assert increasing_root(cubic, 1.0) == pytest.approx(7.0 ** (1.0 / 3.0), rel=1e-14)
    assert len(seen) <= 8
    seen.clear()

    def step(b: float) -> tuple[float, float]:
        seen.append(b)
        return (-1.0 if b < 3.0 else 1.0), 0.0

    assert increasing_root(step, 1.0) == pytest.approx(3.0, rel=1e-12)
    assert len(seen) <= 45 and max(seen) <= 4.0
    assert increasing_root(lambda b: (-1.0, 0.0), 1.0) == math.inf
    assert increasing_root(lambda b: (0.0, 0.0), 1.0) == math.inf
    assert increasing_root(lambda b: (0.0, 1.0), 1.5) == 1.5


@pytest.mark.parametrize(
    ("high", "length"),
    [
        (None, 4.0),  # open: twice as far
        ((6.0, 3.0), 2.0 + 0.5 * 4.0 * 4.0 / (2.0 + 4.0)),  # parabola through 1 and 3 over 4, with slope -1
        ((6.0, 1e9), 2.0 + 0.1 * 4.0),  # kept away from the lower end
        ((6.0, -2.5), 2.0 + 0.9 * 4.0),  # and from the other
        ((6.0, -5.0), 2.0 + 0.5 * 4.0),  # the parabola has no minimum
        ((0.0, 9.0), 2.0 - 0.1 * 2.0),  # the other end may lie before
    ],
)
def test_the_next_length_is_the_minimum_of_a_parabola_well_inside_the_bracket(high, length) -> None:
    slope = 1.0 if high is not None and high[0] < 2.0 else -1.0
    found = _next_length(_End(2.0, 1.0), slope, None if high is None else _End(*high))
    assert found == pytest.approx(length)


def test_strong_wolfe_has_its_constants_and_keeps_the_best_point_when_trials_run_out() -> None:
    rule = StrongWolfe()
    assert (rule.sufficient, rule.curvature, rule.trials) == (1e-4, 0.1, 30)
    assert (Armijo().sufficient, Armijo().shrink, Armijo().trials) == (1e-4, 0.5, 40)
    line = descent_line(quadratic(np.eye(1), np.zeros(1)), np.ones(1), guess=0.2)
    trial, counts = StrongWolfe(trials=1)(line)
    assert trial is not None and trial.length == 0.2 and (counts.forward, counts.gradient) == (1, 1)
    assert trial.derivative is not None and trial.derivative[0] == pytest.approx(0.8)
