"""Levenberg-Marquardt on the nonlinear least-squares set of More, Garbow & Hillstrom (ACM TOMS 7, 1981).

Starting points and minima are those published there; scipy's solver is the second opinion.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from oncology.errors import ConfigError, NumericalError
from oncology.optimise import GaussNewtonState, LevenbergMarquardt, Linearisation, Status, gauss_newton
from oncology.optimise.quadratic import box_minimiser


@dataclass(frozen=True)
class Residuals:
    """Half the sum of squares of residuals; the Jacobian by complex steps, exact to rounding."""

    residual: Callable[[np.ndarray], np.ndarray]

    def evaluate(self, x: np.ndarray) -> float:
        return 0.5 * float(np.sum(self.residual(x) ** 2))

    def linearise(self, x: np.ndarray) -> Linearisation:
        r = self.residual(x)
        shifted = x + 1e-30j * np.eye(len(x))
        jacobian = np.column_stack([self.residual(row).imag / 1e-30 for row in shifted])
        return Linearisation(0.5 * float(r @ r), jacobian.T @ r, jacobian.T @ jacobian)


def rosenbrock(x):
    return np.array([10.0 * (x[1] - x[0] ** 2), 1.0 - x[0]])


def freudenstein_roth(x):
    return np.array(
        [-13.0 + x[0] + ((5.0 - x[1]) * x[1] - 2.0) * x[1], -29.0 + x[0] + ((x[1] + 1.0) * x[1] - 14.0) * x[1]]
    )


def beale(x):
    return np.array([1.5, 2.25, 2.625]) - x[0] * (1.0 - x[1] ** np.arange(1, 4))


def helical_valley(x):
    turn = np.arctan(x[1] / x[0]) / (2.0 * np.pi) + (0.5 if x[0].real < 0 else 0.0)
    return np.array([10.0 * (x[2] - 10.0 * turn), 10.0 * (np.sqrt(x[0] ** 2 + x[1] ** 2) - 1.0), x[2]])


def bard(x):
    u = np.arange(1.0, 16.0)
    v, y = 16.0 - u, [0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39]
    return y - (x[0] + u / (v * x[1] + np.minimum(u, v) * x[2]))


def powell_singular(x):
    return np.array(
        [
            x[0] + 10.0 * x[1],
            math.sqrt(5.0) * (x[2] - x[3]),
            (x[1] - 2.0 * x[2]) ** 2,
            math.sqrt(10.0) * (x[0] - x[3]) ** 2,
        ]
    )


def kowalik_osborne(x):
    u = np.array([4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])
    y = [0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246]
    return y - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])


def brown_dennis(x):
    t = np.arange(1.0, 21.0) / 5.0
    return (x[0] + t * x[1] - np.exp(t)) ** 2 + (x[2] + x[3] * np.sin(t) - np.cos(t)) ** 2


def jennrich_sampson(x):
    i = np.arange(1.0, 11.0)
    return 2.0 + 2.0 * i - (np.exp(i * x[0]) + np.exp(i * x[1]))


# problem: residuals, standard start, published sum of squares at the minimum
PUBLISHED = {
    "Rosenbrock": (rosenbrock, [-1.2, 1.0], 0.0),
    "Freudenstein and Roth": (freudenstein_roth, [0.5, -2.0], 48.9842),
    "Beale": (beale, [1.0, 1.0], 0.0),
    "helical valley": (helical_valley, [-1.0, 0.0, 0.0], 0.0),
    "Bard": (bard, [1.0, 1.0, 1.0], 8.21487e-3),
    "Powell singular": (powell_singular, [3.0, -1.0, 0.0, 1.0], 0.0),
    "Kowalik and Osborne": (kowalik_osborne, [0.25, 0.39, 0.415, 0.39], 3.07505e-4),
    "Brown and Dennis": (brown_dennis, [25.0, 5.0, -5.0, -1.0], 85822.2),
    "Jennrich and Sampson": (jennrich_sampson, [0.3, 0.4], 124.362),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_minima_are_found(name: str) -> None:
    residual, start, published = PUBLISHED[name]
    result = gauss_newton(Residuals(residual), np.array(start), LevenbergMarquardt(max_iterations=300))
    known = scipy.optimize.least_squares(residual, start, xtol=1e-14, ftol=1e-14, gtol=1e-14)
    assert result.status is Status.CONVERGED
    assert 2.0 * result.value == pytest.approx(published, rel=5e-6, abs=1e-10)
    assert result.value == pytest.approx(known.cost, rel=1e-6, abs=1e-10)


@pytest.mark.parametrize("name", ["Bard", "Kowalik and Osborne", "Beale"])
def test_bounds_hold_and_agree_with_scipy(name: str) -> None:
    residual, start, _ = PUBLISHED[name]
    lower, upper = np.array(start) - 0.05, np.array(start) + 0.3
    trail: list[np.ndarray] = []
    result = gauss_newton(
        Residuals(residual),
        np.array(start),
        LevenbergMarquardt(lower=lower, upper=upper, max_iterations=200),
        callback=lambda state: trail.append(state.x),
    )
    known = scipy.optimize.least_squares(residual, start, bounds=(lower, upper), xtol=1e-14, ftol=1e-14, gtol=1e-14)
    assert result.status is Status.CONVERGED
    assert result.value == pytest.approx(known.cost, rel=1e-6)
    assert all(np.all((lower <= x) & (x <= upper)) for x in trail)
    assert np.any((result.x == lower) | (result.x == upper))


def test_trust_limits_bound_each_step() -> None:
    trail: list[np.ndarray] = []
    trust = np.array([0.1, 0.25])
    result = gauss_newton(
        Residuals(rosenbrock),
        np.array([-1.2, 1.0]),
        LevenbergMarquardt(trust=trust, max_iterations=300),
        callback=lambda state: trail.append(state.x),
    )
    assert result.status is Status.CONVERGED
    assert np.all(np.abs(np.diff(trail, axis=0)) <= trust * (1.0 + 1e-12))


def test_a_linear_problem_with_prior_ends_at_its_normal_equations() -> None:
    rng = np.random.default_rng(7)
    jacobian, data, precision = rng.standard_normal((9, 4)), rng.standard_normal(9), np.diag([1.0, 2.0, 3.0, 4.0])

    class Linear:
        def evaluate(self, x):
            return 0.5 * float(np.sum((jacobian @ x - data) ** 2)) + 0.5 * float(x @ precision @ x)

        def linearise(self, x):
            gradient = jacobian.T @ (jacobian @ x - data) + precision @ x
            return Linearisation(self.evaluate(x), gradient, jacobian.T @ jacobian + precision)

    result = gauss_newton(Linear(), np.zeros(4))
    assert result.x == pytest.approx(np.linalg.solve(result.hessian, jacobian.T @ data), abs=1e-6)
    assert result.iterations <= 4


def test_trials_that_cannot_be_computed_are_rejected() -> None:
    """log x has no value for x <= 0, and the first free step goes there."""

    class Logarithm:
        def evaluate(self, x):
            if x[0] <= -5.0:
                raise NumericalError("the rate is negative")
            return math.nan if x[0] <= 0.0 else 0.5 * math.log(x[0]) ** 2

        def linearise(self, x):
            if x[0] > 7.0:
                raise NumericalError("the adjoint diverged")
            slope = 1.0 / x[0]
            return Linearisation(self.evaluate(x), np.array([math.log(x[0]) * slope]), np.array([[slope**2]]))

    result = gauss_newton(Logarithm(), np.array([6.5]), LevenbergMarquardt(damping=1e-6))
    assert result.status is Status.CONVERGED
    assert result.x == pytest.approx([1.0], abs=1e-5)
    assert result.evaluations > result.iterations


def test_a_rejected_linearisation_is_a_rejected_trial() -> None:
    class Fragile:
        """A parabola whose adjoint fails beyond a point that the free step would pass."""

        def evaluate(self, x):
            return 0.5 * float(x[0] - 1.0) ** 2

        def linearise(self, x):
            if 0.9 < x[0] < 0.9999:
                raise NumericalError("the adjoint diverged")
            return Linearisation(self.evaluate(x), x - 1.0, np.eye(1))

    result = gauss_newton(Fragile(), np.zeros(1), LevenbergMarquardt(damping=0.05, relative_decrease=1e-12))
    assert result.linearisations == result.iterations + 1
    assert not 0.9 < result.x[0] < 0.9999


@pytest.mark.parametrize("cut", [1, 4, 9])
def test_an_interrupted_fit_continues_bit_for_bit(cut: int) -> None:
    problem, start = Residuals(brown_dennis), np.array([25.0, 5.0, -5.0, -1.0])
    whole = gauss_newton(problem, start, LevenbergMarquardt(max_iterations=15, trust=10.0))
    half = gauss_newton(problem, start, LevenbergMarquardt(max_iterations=cut, trust=10.0))
    assert half.status is Status.MAX_ITERATIONS
    state: GaussNewtonState = pickle.loads(pickle.dumps(half.state))
    resumed = gauss_newton(problem, state, LevenbergMarquardt(max_iterations=15, trust=10.0))
    assert np.array_equal(resumed.x, whole.x)
    assert resumed.history == whole.history
    assert (resumed.evaluations, resumed.linearisations) == (whole.evaluations, whole.linearisations)
    assert (resumed.damping, resumed.status) == (whole.damping, whole.status)


def test_a_parameter_without_information_stays_where_it_is() -> None:
    result = gauss_newton(Residuals(lambda x: np.array([x[0] - 2.0, 0.0 * x[1]])), np.array([0.0, 5.0]))
    assert result.status is Status.CONVERGED
    assert result.x == pytest.approx([2.0, 5.0], abs=1e-6)


def test_a_cost_known_to_three_digits_ends_in_stagnation_not_in_a_long_search() -> None:
    class Rounded:
        exact = Residuals(lambda x: np.array([x[0] - 1.0, 1.0]))

        def evaluate(self, x):
            return round(self.exact.evaluate(x), 3)

        def linearise(self, x):
            exact = self.exact.linearise(x)
            return Linearisation(self.evaluate(x), exact.gradient, exact.hessian)

    result = gauss_newton(Rounded(), np.array([1.03]), LevenbergMarquardt(relative_decrease=1e-4))
    assert result.status is Status.STAGNATION
    assert result.evaluations < 10


def test_a_wrong_gradient_is_reported() -> None:
    class Uphill:
        def evaluate(self, x):
            return 1.0 + 0.5 * float(x @ x)

        def linearise(self, x):
            return Linearisation(self.evaluate(x), -x, np.eye(len(x)))

    result = gauss_newton(Uphill(), np.ones(2))
    assert not result.status.succeeded
    assert np.array_equal(result.x, np.ones(2))


@pytest.mark.parametrize(
    "make",
    [
        lambda: LevenbergMarquardt(damping=0.0),
        lambda: LevenbergMarquardt(trust=np.array([1.0, 0.0])),
        lambda: LevenbergMarquardt(lower=1.0, upper=1.0),
        lambda: gauss_newton(Residuals(rosenbrock), np.array([2.0, 0.0]), LevenbergMarquardt(upper=1.0)),
    ],
)
def test_impossible_settings_are_refused(make) -> None:
    with pytest.raises(ConfigError):
        make()


def test_the_start_must_have_a_cost() -> None:
    with pytest.raises(NumericalError, match="start"):
        gauss_newton(Residuals(lambda x: np.array([math.nan, 1.0]) * x[0]), np.ones(1))


@settings(derandomize=True, deadline=None, max_examples=100)
@given(size=st.integers(1, 8), seed=st.integers(0, 10_000), damping=st.floats(0.0, 10.0))
def test_the_box_minimiser_meets_the_optimality_conditions(size: int, seed: int, damping: float) -> None:
    rng = np.random.default_rng(seed)
    jacobian = rng.standard_normal((size + 2, size)) * 10.0 ** rng.uniform(-3, 3, size)
    hessian, gradient = jacobian.T @ jacobian, jacobian.T @ rng.standard_normal(size + 2)
    scale = np.sqrt(np.diag(hessian))
    low, high = -rng.uniform(0.0, 1.0, size) / scale, rng.uniform(0.01, 1.0, size) / scale
    step = box_minimiser(hessian, gradient, low, high, damping * np.diag(hessian))
    assert step is not None
    slope = (gradient + hessian @ step + damping * np.diag(hessian) * step) / scale
    tolerance = 1e-8
    inside = (step > low + tolerance / scale) & (step < high - tolerance / scale)
    assert np.abs(slope[inside]).max(initial=0.0) < tolerance
    assert np.all(slope[step <= low] >= -tolerance) and np.all(slope[step >= high] <= tolerance)


class Curved:
    """One unknown, gradient -1 and curvature 1; the cost falls by `part` of what the model predicts along any step."""

    def __init__(self, part: Callable[[int], float]) -> None:
        self.part, self.asked = part, 0

    def evaluate(self, x: np.ndarray) -> float:
        self.asked += 1
        return 100.0 - self.part(self.asked) * float(x[0] - 0.5 * x[0] ** 2)

    def linearise(self, x: np.ndarray) -> Linearisation:
        return Linearisation(100.0 if x[0] == 0.0 else 99.0, np.array([-1.0]), np.eye(1))


@pytest.mark.parametrize(
    ("gain", "factor"), [(0.2, 2.0), (0.3, 1.0), (0.7, 1.0), (0.8, 1.0 / 3.0)], ids=["poor", "fair", "still", "good"]
)
def test_damping_follows_the_gain_of_an_accepted_step(gain: float, factor: float) -> None:
    """Twice as much below a quarter of the predicted decrease, a third of it above three quarters."""
    result = gauss_newton(Curved(lambda asked: gain), np.zeros(1), LevenbergMarquardt(damping=0.5, max_iterations=1))
    assert (result.iterations, result.damping) == (1, pytest.approx(0.5 * factor))
    assert result.history[-1].damping == 0.5 and result.history[-1].trials == 1
    assert result.x[0] == pytest.approx(1.0 / 1.5), "(1 + 0.5 diag) step = 1"


def test_damping_grows_ever_faster_while_steps_are_rejected() -> None:
    """By 2, then 4, then 8; once a step is accepted the next rejection begins at 2 again."""
    problem = Curved(lambda asked: 1.0 if asked == 4 else -1.0)
    result = gauss_newton(problem, np.zeros(1), LevenbergMarquardt(damping=1.0, max_iterations=1))
    assert (result.iterations, result.evaluations, result.history[-1].trials) == (1, 4, 4)
    assert result.history[-1].damping == 2.0 * 4.0 * 8.0 and result.state.growth == 2.0
    never = gauss_newton(Curved(lambda asked: 5e-5), np.zeros(1), LevenbergMarquardt(damping=1.0, max_trials=3))
    assert (never.status, never.evaluations, never.iterations) == (Status.NO_STEP, 3, 0), "a gain below 1e-4 is none"


def test_convergence_is_a_small_step_or_a_small_predicted_decrease() -> None:
    """At x = 0 the model of `(x - c)^2 / 2 + 1` predicts a step of c and a decrease of c^2 / 2 of a cost of 1."""
    for tolerance, converged in ((0.099, False), (0.101, True)):
        settings = LevenbergMarquardt(step_tolerance=tolerance, relative_decrease=0.0, max_iterations=0)
        found = gauss_newton(Residuals(lambda x: np.array([x[0] - 0.1, math.sqrt(2.0)])), np.zeros(1), settings)
        assert (found.status is Status.CONVERGED) == converged
    for decrease, converged in ((0.0049, False), (0.0051, True)):
        settings = LevenbergMarquardt(step_tolerance=0.0, relative_decrease=decrease, max_iterations=0)
        found = gauss_newton(Residuals(lambda x: np.array([x[0] - 0.1, math.sqrt(2.0 - 0.01)])), np.zeros(1), settings)
        assert (found.status is Status.CONVERGED) == converged


def test_the_damping_is_scaled_by_the_largest_diagonal_so_far() -> None:
    """Units do not matter: a parameter in other units takes the same steps."""
    trails = []
    for unit in (1.0, 1e3):
        trail: list[float] = []
        problem = Residuals(lambda x, unit=unit: brown_dennis(x * np.array([unit, 1.0, 1.0, 1.0])))
        start = np.array([25.0 / unit, 5.0, -5.0, -1.0])
        settings = LevenbergMarquardt(max_iterations=6)
        gauss_newton(problem, start, settings, callback=lambda state, t=trail, u=unit: t.append(state.x[0] * u))
        trails.append(trail)
    assert trails[1] == pytest.approx(trails[0], rel=1e-6)


def test_the_box_minimiser_refuses_an_indefinite_matrix() -> None:
    assert box_minimiser(np.array([[1.0, 2.0], [2.0, 1.0]]), np.ones(2), -np.ones(2), np.ones(2), np.zeros(2)) is None
