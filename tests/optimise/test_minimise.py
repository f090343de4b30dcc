"""The descent loop: against scipy, across array libraries, over parts of a vector, interrupted and resumed."""

from __future__ import annotations

import math
import pickle
import threading

import numpy as np
import pytest
import scipy.optimize

from oncology.errors import ConfigError, NumericalError
from oncology.optimise import (
    Armijo,
    Blocks,
    ConjugateGradient,
    Counts,
    Evaluation,
    FunctionProblem,
    Space,
    State,
    Status,
    Stop,
    StrongWolfe,
    Tangent,
    dai_yuan,
    euclidean,
    fletcher_reeves,
    fr_pr,
    h1_by_solve,
    hager_zhang,
    hestenes_stiefel,
    minimise,
    newton_step,
    polak_ribiere_plus,
    product,
    scaled_previous,
    sensitivity_step,
    weighted_l2,
    zero,
)
from tests.optimise.costs import ROSENBROCK, quadratic, spd

FORMULAS = [fletcher_reeves, polak_ribiere_plus, fr_pr, hestenes_stiefel, dai_yuan, hager_zhang]
STEPS = {
    "sensitivity": Armijo(sensitivity_step),
    "newton": Armijo(newton_step),
    "backtracking": Armijo(scaled_previous),
    "strong Wolfe": StrongWolfe(),
    "strong Wolfe from Newton": StrongWolfe(newton_step),
}


@pytest.mark.parametrize("step", sorted(STEPS.keys() - {"backtracking"}))
@pytest.mark.parametrize("beta", FORMULAS)
def test_the_rosenbrock_valley_ends_where_scipy_ends(beta, step) -> None:
    start = np.array([-1.2, 1.0, 0.7])
    known = scipy.optimize.minimize(scipy.optimize.rosen, start, jac=scipy.optimize.rosen_der, method="CG", tol=1e-9)
    result = minimise(
        ROSENBROCK, start, euclidean(), ConjugateGradient(beta), STEPS[step], Stop(1e-9, max_iterations=5000)
    )
    assert result.status is Status.CONVERGED
    assert result.x == pytest.approx(known.x, abs=1e-6)
    assert result.gradient_norm == pytest.approx(np.linalg.norm(scipy.optimize.rosen_der(result.x)), abs=1e-12)


def test_the_conjugate_gradient_needs_no_more_iterations_than_that_of_scipy() -> None:
    start = np.tile([-1.2, 1.0], 5)
    known = scipy.optimize.minimize(
        scipy.optimize.rosen, start, jac=scipy.optimize.rosen_der, method="CG", options={"gtol": 1e-6}
    )
    result = minimise(ROSENBROCK, start, euclidean(), step=Armijo(newton_step), stop=Stop(0.0, absolute_gradient=1e-6))
    assert result.status is Status.CONVERGED
    assert result.iterations <= known.nit


def test_counts_are_what_the_problem_saw() -> None:
    calls = {"forward": 0, "gradient": 0, "tangent": 0}

    def counted(kind, function):
        def call(*arguments):
            calls[kind] += 1
            return function(*arguments)

        return call

    watched = FunctionProblem(
        counted("forward", ROSENBROCK.value),
        counted("gradient", ROSENBROCK.derivative),
        counted("tangent", ROSENBROCK.tangent),
    )
    for step in STEPS.values():
        calls.update(dict.fromkeys(calls, 0))
        result = minimise(watched, np.array([-1.2, 1.0]), euclidean(), step=step)
        assert result.counts == Counts(**calls)


@pytest.mark.parametrize("step", STEPS)
def test_numpy_and_torch_take_the_same_iterates(step) -> None:
    torch = pytest.importorskip("torch")
    trails: list[list[list[float]]] = []
    for start in (np.array([-1.2, 1.0, 0.3, 0.9]), torch.tensor([-1.2, 1.0, 0.3, 0.9], dtype=torch.float64)):
        trail: list[list[float]] = []
        minimise(
            ROSENBROCK,
            start,
            euclidean(),
            step=STEPS[step],
            stop=Stop(max_iterations=20),
            callback=lambda state, trail=trail: trail.append(state.x.tolist()),
        )
        trails.append(trail)
    assert np.array(trails[1]) == pytest.approx(np.array(trails[0]), rel=1e-9)


class SharedSum:
    """All-reduce between threads: each gives its share and gets the same total."""

    def __init__(self, parties: int) -> None:
        self.shares = [0.0] * parties
        self.barrier = threading.Barrier(parties, timeout=30)

    def over(self, rank: int, share: float) -> float:
        self.shares[rank] = share
        self.barrier.wait()
        total = math.fsum(self.shares)
        self.barrier.wait()
        return total


def test_a_vector_in_two_parts_takes_the_iterates_of_the_whole() -> None:
    weights, centre = np.linspace(0.5, 1.5, 9), np.linspace(-1.0, 2.0, 9)

    def problem(part: slice, total) -> FunctionProblem:
        w, c = weights[part], centre[part]
        return FunctionProblem(  # (int x - 1)^4 + int (x - c)^2 / 2: the first term couples the parts
            lambda x: (total(float((w * x).sum())) - 1.0) ** 4 + total(0.5 * float((w * (x - c) ** 2).sum())),
            lambda x: 4.0 * (total(float((w * x).sum())) - 1.0) ** 3 * w + w * (x - c),
            lambda x, d: Tangent(
                12.0 * (total(float((w * x).sum())) - 1.0) ** 2 * total(float((w * d).sum())) ** 2
                + total(float((w * d * d).sum()))
            ),
        )

    def solve(part: slice, total):
        return minimise(problem(part, total), np.zeros(9)[part], weighted_l2(weights[part], total), stop=Stop(1e-8))

    whole = solve(slice(None), lambda share: share)
    summed, ends = SharedSum(2), [None, None]
    parts = (slice(0, 4), slice(4, 9))

    def rank(number: int) -> None:
        ends[number] = solve(parts[number], lambda share: summed.over(number, share))

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert repr(ends[0].history) == repr(ends[1].history)
    assert len(ends[0].history) == len(whole.history)
    assert np.concatenate([ends[0].x, ends[1].x]) == pytest.approx(whole.x, rel=1e-10)


@pytest.mark.parametrize("step", STEPS)
def test_an_interrupted_run_continues_bit_for_bit(step) -> None:
    start = np.array([-1.2, 1.0, 0.4, 0.9])
    settings = (euclidean(), ConjugateGradient(hager_zhang, period=7), STEPS[step])
    whole = minimise(ROSENBROCK, start, *settings, stop=Stop(max_iterations=40))
    states: list[bytes] = []
    minimise(
        ROSENBROCK,
        start,
        *settings,
        stop=Stop(max_iterations=9),
        callback=lambda state: states.append(pickle.dumps(state)),
    )
    assert len(states) == 10
    state: State = pickle.loads(states[-1])
    resumed = minimise(ROSENBROCK, state, *settings, stop=Stop(max_iterations=40))
    assert np.array_equal(resumed.x, whole.x)
    assert repr(resumed.history) == repr(whole.history)
    assert (resumed.status, resumed.counts, resumed.value) == (whole.status, whole.counts, whole.value)


def test_blocks_with_their_own_inner_products_are_one_vector() -> None:
    """A field and a scalar together: least squares with a known solution."""
    field, weights = np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.0, 0.5])

    def misfit(x: Blocks) -> Blocks:
        shape, shift = x.parts
        return Blocks((shape + shift - field, 3.0 * (shift - 0.5)))

    problem = FunctionProblem(
        lambda x: 0.5 * float((weights * misfit(x).parts[0] ** 2).sum()) + 0.5 * float((misfit(x).parts[1] ** 2).sum()),
        lambda x: Blocks(
            (
                weights * misfit(x).parts[0],
                np.array([float((weights * misfit(x).parts[0]).sum())]) + 3.0 * misfit(x).parts[1],
            )
        ),
        lambda x, d: Tangent(
            float((weights * (d.parts[0] + d.parts[1]) ** 2).sum()) + 9.0 * float((d.parts[1] ** 2).sum())
        ),
    )
    space = product(weighted_l2(weights), euclidean())
    result = minimise(problem, Blocks((np.zeros(3), np.zeros(1))), space, stop=Stop(1e-10))
    assert result.status is Status.CONVERGED
    assert result.x.parts[1] == pytest.approx([0.5], abs=1e-8)
    assert result.x.parts[0] == pytest.approx(field - 0.5, abs=1e-8)


def test_the_inner_product_decides_the_path_not_the_end() -> None:
    """Preconditioned by its own Hessian, steepest descent with the exact step needs one iteration."""
    matrix, centre = spd(6, 1), np.arange(6.0)
    problem = quadratic(matrix, centre)
    newton_metric = h1_by_solve(lambda f: np.linalg.solve(matrix, f), lambda a: matrix @ a)
    result = minimise(problem, np.zeros(6), newton_metric, ConjugateGradient(zero))
    assert len(result.history) == 2
    assert result.x == pytest.approx(centre, abs=1e-9)


def test_iterations_end_for_the_stated_reason() -> None:
    start = np.array([-1.2, 1.0])
    assert minimise(ROSENBROCK, start, euclidean(), stop=Stop(max_iterations=3)).status is Status.MAX_ITERATIONS
    flat = FunctionProblem(lambda x: 1.0, lambda x: np.ones(2), lambda x, d: Tangent(1.0))
    assert minimise(flat, start, euclidean()).status is Status.STAGNATION
    wrong = FunctionProblem(lambda x: float(x @ x), lambda x: -2.0 * x, lambda x, d: Tangent(2.0 * float(d @ d)))
    lost = minimise(wrong, start, euclidean())
    assert lost.status is Status.NO_STEP and "wrong derivative" in lost.status.explanation
    assert lost.counts.forward == 1 + 40
    there = minimise(quadratic(np.eye(2), start), start, euclidean())
    assert there.status is Status.CONVERGED and len(there.history) == 1 and there.status.succeeded
    for status in Status:
        assert status.explanation.endswith(".")


def test_stagnation_is_told_from_convergence() -> None:
    """Decreases that drown in a large constant are no decreases, however large the gradient's relative size."""
    bowl = quadratic(np.diag([1.0, 100.0]), np.zeros(2))
    high = FunctionProblem(lambda x: 1e12 + bowl.value(x), bowl.derivative, bowl.tangent)
    result = minimise(high, np.array([1e-2, 1e-2]), euclidean(), ConjugateGradient(zero), stop=Stop(0.0, patience=5))
    assert result.status is Status.STAGNATION and not result.status.succeeded
    assert result.iterations == 5


def test_a_conjugate_direction_without_a_step_gives_way_to_steepest_descent() -> None:
    class SteepestOnly:
        """A step rule that finds nothing along conjugate directions."""

        def __call__(self, line):
            d, g = line.direction, line.derivative
            alignment = abs(float(d @ g)) / (np.linalg.norm(d) * np.linalg.norm(g))
            return Armijo()(line) if alignment > 1.0 - 1e-12 else (None, Counts())

    problem = quadratic(np.diag([1.0, 4.0]), np.zeros(2))
    result = minimise(problem, np.array([1.0, 1.0]), euclidean(), step=SteepestOnly())
    assert result.status is Status.CONVERGED
    assert result.iterations > 2
    assert all(record.coefficient == 0.0 for record in result.history)


def test_the_start_must_have_a_cost() -> None:
    problem = FunctionProblem(lambda x: math.nan, lambda x: x)
    with pytest.raises(NumericalError, match="start"):
        minimise(problem, np.ones(2), euclidean())


def test_a_missing_tangent_is_named() -> None:
    with pytest.raises(TypeError, match="scaled_previous"):
        minimise(FunctionProblem(lambda x: float(x @ x), lambda x: 2.0 * x), np.ones(2), euclidean())


@pytest.mark.parametrize("make", [lambda: Stop(-1.0), lambda: Stop(patience=0), lambda: Stop(noise_level=1.0, tau=0.5)])
def test_impossible_stopping_rules_are_refused(make) -> None:
    with pytest.raises(ConfigError):
        make()


def test_any_object_with_the_four_members_is_an_evaluation() -> None:
    """The loop asks for nothing else: a solver's own class will do."""

    class Shot:
        residual = math.nan

        def __init__(self, x: float) -> None:
            self.x, self.value = x, (x - 3.0) ** 2

        def derivative(self) -> float:
            return 2.0 * (self.x - 3.0)

        def tangent(self, direction: float) -> Tangent:
            return Tangent(2.0 * direction**2)

    class Range:
        def evaluate(self, x: float) -> Evaluation[float]:
            return Shot(x)

    line = Space(inner=lambda a, b: a * b, dual=lambda f, d: f * d, riesz=lambda f: f)
    assert minimise(Range(), 0.0, line).x == pytest.approx(3.0, abs=1e-12)
