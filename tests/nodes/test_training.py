"""Training: the same iterates from numpy and torch, resuming, refinement, noise and accounting."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from oncology.errors import ConfigError, NumericalError
from oncology.nodes.checkpoint import load_model, load_progress, save_model, save_progress
from oncology.nodes.cost import Cost
from oncology.nodes.descent import LBFGS, Adam, StochasticGradient
from oncology.nodes.optimisers import ConjugateGradients, Iterate, forward_equivalents, rounding_of
from oncology.nodes.samples import Samples
from oncology.nodes.training import Noise, Plain, Progress, Robust, TrainingPlan, TrainingStage, start, train
from oncology.nodes.training_problem import TrainingProblem
from oncology.optimise import (
    Armijo,
    ConjugateGradient,
    Counts,
    FunctionProblem,
    Stop,
    StrongWolfe,
    Tangent,
    dai_yuan,
    euclidean,
    fletcher_reeves,
    fr_pr,
    h1_in_time,
    hager_zhang,
    hestenes_stiefel,
    minimise,
    newton_step,
    polak_ribiere_plus,
    root_step,
    sensitivity_step,
    zero,
)
from tests.nodes.nets import batch, generator, net

FORMULAS = (zero, fletcher_reeves, polak_ribiere_plus, fr_pr, hestenes_stiefel, dai_yuan, hager_zhang)
COST = Cost(decay=1e-3)


def begun(plan: TrainingPlan, dtype: torch.dtype = torch.float64, **options) -> Progress:
    model = net(size=3, **options)
    return start(model, model.initial(generator(3)).to(dtype), plan)


# --- the same method for numpy and torch ---


def rosenbrock(vector) -> FunctionProblem:
    """Rosenbrock's function and its Hessian's product, for arrays that `vector` makes of lists."""

    def derivative(x):
        a, b = float(x[0]), float(x[1])
        return vector([-400.0 * a * (b - a * a) - 2.0 * (1.0 - a), 200.0 * (b - a * a)])

    def tangent(x, d):
        a, b, p, q = (float(v) for v in (x[0], x[1], d[0], d[1]))
        full = (1200.0 * a * a - 400.0 * b + 2.0) * p * p - 800.0 * a * p * q + 200.0 * q * q
        return Tangent((800.0 * a * a + 2.0) * p * p - 800.0 * a * p * q + 200.0 * q * q, second=full)

    def value(x):
        return 100.0 * (float(x[1]) - float(x[0]) ** 2) ** 2 + (1.0 - float(x[0])) ** 2

    return FunctionProblem(value, derivative, tangent)


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.__name__)
def test_numpy_and_torch_give_the_same_iterates_on_rosenbrock(formula):
    paths = []
    for vector in (np.array, lambda values: torch.tensor(values, dtype=torch.float64)):
        path: list[list[float]] = []
        minimise(
            rosenbrock(vector),
            vector([-1.2, 1.0]),
            euclidean(),
            ConjugateGradient(formula),
            Armijo(newton_step),
            Stop(max_iterations=60),
            callback=lambda state, path=path: path.append([float(v) for v in state.x]),
        )
        paths.append(np.array(path))
    assert np.array_equal(*paths)
    if formula is polak_ribiere_plus:
        assert np.allclose(paths[0][-1], 1.0, atol=1e-3)


class NumpyNODE:
    """A standalone NODE written again in numpy: Euler, tanh, squared misfit and decay."""

    def __init__(self, samples: Samples, size: int, step: float, decay: float) -> None:
        self.step, self.decay = step, decay
        self.x0, self.y = np.zeros((2, len(samples), size))
        self.x0[:, size - 2 :], self.y[:, :2] = samples.inputs.numpy(), samples.targets.numpy()

    def states(self, theta):
        states = [self.x0]
        for layer in theta:
            states.append(states[-1] + self.step * np.tanh(states[-1] @ layer[:-1] + layer[-1]))
        return states

    def value(self, theta):
        misfit = self.states(theta)[-1] - self.y
        return 0.5 * np.sum(misfit**2) / len(misfit) + 0.5 * self.decay * self.step * np.sum(theta**2)

    def derivative(self, theta):
        states = self.states(theta)
        covector = (states[-1] - self.y) / len(self.y)
        out = self.decay * self.step * theta
        for j in range(len(theta) - 1, -1, -1):
            pulled = (1.0 - np.tanh(states[j] @ theta[j, :-1] + theta[j, -1]) ** 2) * covector
            out[j, :-1] += self.step * states[j].T @ pulled
            out[j, -1] += self.step * pulled.sum(0)
            covector = covector + self.step * pulled @ theta[j, :-1].T
        return out

    def tangent(self, theta, direction):
        states, xi = self.states(theta), np.zeros_like(self.x0)
        for layer, along, state in zip(theta, direction, states[:-1], strict=True):
            slope = 1.0 - np.tanh(state @ layer[:-1] + layer[-1]) ** 2
            xi = xi + self.step * slope * (xi @ layer[:-1] + state @ along[:-1] + along[-1])
        return Tangent(np.sum(xi**2) / len(xi) + self.decay * self.step * np.sum(direction**2))


@pytest.mark.parametrize("smoothing", [0.0, 0.7])
def test_numpy_and_torch_give_the_same_iterates_on_a_network(smoothing):
    model, samples = net(size=3, cells=8), batch(20)
    theta, direction, stop = model.initial(generator(1)), ConjugateGradient(), Stop(max_iterations=15)
    ours = minimise(TrainingProblem(model, COST, samples), theta, model.space(smoothing), direction, stop=stop)
    plain = NumpyNODE(samples, 3, model.grid.step, COST.decay)
    problem = FunctionProblem(plain.value, plain.derivative, plain.tangent)
    other = minimise(problem, theta.numpy(), h1_in_time(model.grid.step, smoothing), direction, stop=stop)
    assert np.allclose(ours.x.numpy(), other.x, rtol=0, atol=1e-10)
    assert ours.counts == other.counts
    lengths = [[record.length for record in result.history] for result in (ours, other)]
    assert np.allclose(*lengths, rtol=1e-8)


# --- visits ---


def test_visits_of_a_full_batch_are_one_run_of_the_conjugate_gradients():
    plan = TrainingPlan((TrainingStage(epochs=4, smoothing=0.5),), ConjugateGradients(iterations=5))
    here, samples = begun(plan), batch(30)
    end = train(samples, Plain(COST), plan, here)
    whole = minimise(
        TrainingProblem(here.model, COST, samples),
        here.theta,
        here.model.space(0.5),
        step=Armijo(root_step),
        stop=Stop(0.0, 0.0, 0.0, max_iterations=20),
    )
    assert torch.equal(end.theta, whole.x)
    assert end.iterations == 20
    assert end.counts == whole.counts + Counts(forward=3)  # one more at the start of each later visit


def test_a_new_batch_restarts_the_conjugate_gradients():
    plan = TrainingPlan((TrainingStage(epochs=1, batch=10),), ConjugateGradients(iterations=4), seed=5)
    here, samples = begun(plan), batch(20)
    theta = here.theta
    end = train(samples, Plain(COST), plan, here)
    order = torch.randperm(20, generator=generator(5))
    for rows in (order[:10], order[10:]):
        problem = TrainingProblem(here.model, COST, samples.take(rows))
        stop = Stop(0.0, 0.0, 0.0, max_iterations=4)
        theta = minimise(problem, theta, here.model.space(), step=Armijo(root_step), stop=stop).x
    assert torch.equal(end.theta, theta)


OPTIMISERS = {
    "ncg": ConjugateGradients(iterations=3),
    "fr-wolfe": ConjugateGradients(ConjugateGradient(fletcher_reeves), StrongWolfe(root_step), iterations=3),
    "steepest": ConjugateGradients(ConjugateGradient(zero), iterations=3),
    "sgd": StochasticGradient(0.1),
    "adam": Adam(0.02, horizon=40),
    "lbfgs": LBFGS(pairs=3, iterations=3),
}
STAGES = {
    "full": (TrainingStage(3, smoothing=0.5), TrainingStage(3, refine=2)),
    "batches": (
        TrainingStage(1, batch=8),
        TrainingStage(1, smoothing=0.3, refine=2, batch=10, noise=Noise(0.05, 0.02)),
    ),
}


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("stages", STAGES)
def test_a_killed_run_resumes_bit_for_bit(name, stages, tmp_path):
    plan = TrainingPlan(STAGES[stages], OPTIMISERS[name], seed=7)
    samples, cost = batch(25), Plain(COST)
    seen: list[tuple[Progress, tuple[Iterate, ...]]] = []
    whole = train(samples, cost, plan, begun(plan), lambda *visit: seen.append(visit))
    for at in (1, len(seen) // 2):
        save_progress(tmp_path / "state.pt", seen[at][0], {"seed": 7})
        again, setting = load_progress(tmp_path / "state.pt")
        assert setting == {"seed": 7}
        rest: list[tuple[Progress, tuple[Iterate, ...]]] = []
        resumed = train(samples, cost, plan, again, lambda *visit, rest=rest: rest.append(visit))
        assert torch.equal(resumed.theta, whole.theta)
        assert torch.equal(resumed.generator, whole.generator)
        assert (resumed.counts, resumed.iterations, resumed.value) == (whole.counts, whole.iterations, whole.value)
        assert [iterates for _, iterates in rest] == [iterates for _, iterates in seen[at + 1 :]]


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_lowers_the_cost_and_counts_its_solves(name):
    evaluations = {"forward": 0, "gradient": 0, "tangent": 0}

    class Counting:
        """The plain cost, with its solves counted from outside."""

        def __call__(self, model, samples, noise, source):
            problem = TrainingProblem(model, COST, samples, noise)

            def evaluate(theta):
                evaluations["forward"] += 1
                return problem.evaluate(theta)

            def derivative(theta):
                evaluations["gradient"] += 1
                return problem.evaluate(theta).derivative()

            def tangent(theta, direction):
                evaluations["tangent"] += 1
                return problem.evaluate(theta).tangent(direction)

            return FunctionProblem(lambda theta: evaluate(theta).value, derivative, tangent)

    plan = TrainingPlan((TrainingStage(10, batch=20),), OPTIMISERS[name], seed=1)
    here, samples = begun(plan), batch(40)
    end = train(samples, Counting(), plan, here)
    whole = TrainingProblem(here.model, COST, samples)
    assert whole.evaluate(end.theta).value < 0.9 * whole.evaluate(here.theta).value
    assert end.counts == Counts(**evaluations)


def test_a_budget_ends_training_at_the_visit_that_exceeds_it():
    plan = TrainingPlan((TrainingStage(1000),), ConjugateGradients(iterations=1), budget=60)
    end = train(batch(), Plain(COST), plan, begun(plan))
    assert 60 <= forward_equivalents(end.counts) < 60 + 8
    assert forward_equivalents(Counts(1, 1, 1)) == 5


# --- baselines against other people's ---


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_adam_and_momentum_agree_with_torch(name):
    ours = Adam(0.05) if name == "adam" else StochasticGradient(0.05, momentum=0.8)
    plan = TrainingPlan((TrainingStage(25),), ours)
    here, samples = begun(plan), batch()
    end = train(samples, Plain(COST), plan, here)
    theta = here.theta.clone().requires_grad_()
    theirs = torch.optim.Adam([theta], 0.05) if name == "adam" else torch.optim.SGD([theta], 0.05, momentum=0.8)
    problem = TrainingProblem(here.model, COST, samples)
    for _ in range(25):
        theta.grad = here.model.space().riesz(problem.evaluate(theta.detach()).derivative())
        theirs.step()
    assert torch.allclose(end.theta, theta.detach(), rtol=0, atol=1e-12)


def test_lbfgs_ends_at_the_minimum_of_a_quadratic_in_few_steps():
    """With exact arithmetic and good steps BFGS ends after about as many steps as there are unknowns."""
    scale = torch.logspace(0, 3, 6, dtype=torch.float64)
    bowl = FunctionProblem(lambda x: 0.5 * float(x @ (scale * x)), lambda x: scale * x)
    visit = LBFGS(pairs=10, curvature=0.1, iterations=25).visit(
        bowl, euclidean(), torch.ones(6, dtype=torch.float64), None, False, Counts()
    )
    assert visit.theta.abs().max() < 1e-6


def test_lbfgs_finds_the_minimum_of_rosenbrock():
    problem = rosenbrock(lambda values: torch.tensor(values, dtype=torch.float64))
    start = torch.tensor([-1.2, 1.0], dtype=torch.float64)
    visit = LBFGS(iterations=60).visit(problem, euclidean(), start, None, False, Counts())
    assert torch.allclose(visit.theta, torch.ones(2, dtype=torch.float64), atol=1e-6)


# --- stages ---


@pytest.mark.parametrize("kind", ["constant", "linear"])
def test_refinement_keeps_the_function_of_depth(kind):
    plan = TrainingPlan((TrainingStage(2), TrainingStage(0, refine=3)))
    here = begun(plan, kind=kind)
    end = train(batch(), Plain(COST), plan, here)
    middle = train(batch(), Plain(COST), TrainingPlan((TrainingStage(2),)), here)
    assert end.model.grid.cells == 3 * middle.model.grid.cells
    norms = [p.model.space().inner(p.theta, p.theta) for p in (middle, end)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-12)
    fine = replace(middle.model, steps=3)  # the same time steps on the coarse grid
    costs = [TrainingProblem(m, COST, batch()).evaluate(p.theta).value for m, p in ((fine, middle), (end.model, end))]
    assert costs[0] == pytest.approx(costs[1], rel=1e-12)


def test_noise_is_seeded_and_drawn_anew_for_every_visit():
    noise = Noise(inputs=0.2, states=0.1)
    drawn: dict[int, list[TrainingProblem]] = {}

    class Keeping:
        def __init__(self, seed):
            self.kept = drawn.setdefault(seed, [])

        def __call__(self, *parts):
            self.kept.append(Plain(COST)(*parts))
            return self.kept[-1]

    ends = []
    for seed in (1, 1, 2):
        drawn.pop(seed, None)
        plan = TrainingPlan((TrainingStage(2, noise=noise),), seed=seed)
        ends.append(train(batch(400), Keeping(seed), plan, begun(plan, cells=9)).theta)
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])
    first, second = drawn[1]
    assert not torch.equal(first.samples.inputs, second.samples.inputs)
    assert float((first.samples.inputs - batch(400).inputs).std()) == pytest.approx(0.2, rel=0.1)
    assert float(first.noise.std()) == pytest.approx(0.1 * math.sqrt(first.model.time_step), rel=0.1)


def test_training_with_a_penalty_lowers_the_sensitivity_to_inputs():
    samples = batch(60)
    sizes = []
    for problem in (Plain(COST), Robust(COST, weight=0.3)):
        plan = TrainingPlan((TrainingStage(15),))
        end = train(samples, problem, plan, begun(plan))
        run = end.model.run(end.theta, end.model.embed(samples.inputs))
        moves = torch.eye(3, dtype=torch.float64)[1:, None].expand(2, 60, 3)
        sizes.append(float(sum((run.tangent(None, move).final ** 2).sum() for move in moves)))
    assert sizes[1] < 0.8 * sizes[0]


# --- precision and refusals ---


def test_single_precision_trains_to_its_rounding():
    plan = TrainingPlan((TrainingStage(40),))
    costs = []
    for dtype in (torch.float64, torch.float32):
        here = begun(plan, dtype)
        end = train(batch(20), Plain(COST), plan, here)
        assert end.theta.dtype == dtype
        costs.append(end.value)
    assert costs[1] == pytest.approx(costs[0], rel=0.05)
    assert rounding_of(torch.zeros(1)) == pytest.approx(8 * 2.0**-23)


def test_a_cost_that_is_no_longer_finite_ends_training_in_one_line():
    plan = TrainingPlan((TrainingStage(50),), StochasticGradient(1e200))
    with pytest.raises(NumericalError, match="take a lower learning rate"):
        train(batch(), Plain(COST), plan, begun(plan))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: TrainingStage(-1),
        lambda: TrainingStage(1, smoothing=-1.0),
        lambda: TrainingStage(1, batch=0),
        lambda: Noise(-0.1),
        lambda: TrainingPlan(()),
        lambda: TrainingPlan((TrainingStage(1),), budget=0.0),
        lambda: Adam(rate=0.0),
        lambda: Adam(decays=(1.0, 0.9)),
        lambda: StochasticGradient(0.1, momentum=1.0),
        lambda: LBFGS(pairs=0),
        lambda: start(net(), torch.zeros(1), TrainingPlan((TrainingStage(1),))),
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"need|has"):
        wrong()


def test_a_model_comes_back_from_its_file(tmp_path):
    model = net(size=5, kind="linear")
    theta = model.initial(generator())
    save_model(tmp_path / "model.pt", model, theta)
    again, weights = load_model(tmp_path / "model.pt")
    assert again == model
    assert torch.equal(weights, theta)


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "text.pt").write_text("no tensor")
    torch.save({"theta": torch.zeros(2)}, tmp_path / "other.pt")
    for name in ("text.pt", "other.pt", "missing.pt"):
        with pytest.raises(ConfigError, match=name):
            load_model(tmp_path / name)


def test_sensitivity_and_root_step_agree_without_cross_entropy():
    ends = []
    for proposal in (sensitivity_step, root_step):
        plan = TrainingPlan((TrainingStage(5),), ConjugateGradients(step=Armijo(proposal)))
        ends.append(train(batch(), Plain(COST), plan, begun(plan)).theta)
    assert torch.equal(*ends)
