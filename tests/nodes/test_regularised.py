"""Second-order tangents and adjoints, and training with a penalty on sensitivity: Taylor rates, autograd."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from oncology.errors import ConfigError
from oncology.nodes.activation import activation_named
from oncology.nodes.cost import Cost
from oncology.nodes.regularised import RegularisedProblem, every_input, random_signs
from oncology.nodes.robustness.sensitivity import input_jacobian
from oncology.nodes.scheme import SCHEMES, scheme_named
from oncology.nodes.second_order import mixed_adjoint, mixed_tangent, stage_bends
from oncology.nodes.training_problem import TrainingProblem
from oncology.optimise import Armijo, Stop, minimise, root_step, taylor_test
from tests.nodes.nets import batch, generator, like, net

CONFIGURATIONS = [(kind, scheme) for kind in ("constant", "linear") for scheme in SCHEMES]
inner = lambda a, b: float((a * b).sum())  # noqa: E731
vector = lambda x: float(torch.linalg.vector_norm(x))  # noqa: E731


def problem(kind="constant", scheme="euler", cost=None, number=6, **options):
    model = net(kind=kind, scheme=scheme_named(scheme), **options)
    return TrainingProblem(model, cost or Cost(squared=1.0, decay=1e-3), batch(number))


@pytest.mark.parametrize(("kind", "scheme"), CONFIGURATIONS)
def test_the_mixed_tangent_is_the_derivative_of_a_tangent(kind, scheme):
    model = problem(kind, scheme).model
    theta, state = model.initial(generator(), 0.9), like(torch.empty(3, 4))
    d1, x1, d2, x2 = (
        model.initial(generator(1), 1.0),
        like(state, 3),
        0.2 * model.initial(generator(2), 1.0),
        like(state, 4),
    )
    run = model.run(theta, state)
    first, second = run.tangent(d1, x1), run.tangent(d2, 0.2 * x2)
    slope = mixed_tangent(run, stage_bends(run), first, second)
    tangent = lambda h: model.run(theta + h * d2, state + h * 0.2 * x2).tangent(d1, x1).final  # noqa: E731
    assert taylor_test(tangent, 0.0, 1.0, slope, norm=vector).rate == pytest.approx(2.0, abs=0.15)
    assert torch.allclose(slope, mixed_tangent(run, stage_bends(run), second, first), atol=1e-13)
    covector = like(state, 5)
    by_weights, by_state = mixed_adjoint(run, stage_bends(run), run.adjoint(covector), first)
    pairing = inner(by_weights, d2) + 0.2 * inner(by_state, x2)
    assert pairing == pytest.approx(inner(slope, covector), rel=1e-11)
    repeated = mixed_tangent(run, stage_bends(run), first, first)
    assert run.second(run.adjoint(covector), first) == pytest.approx(inner(repeated, covector), rel=1e-11)


def test_the_second_order_adjoint_gives_products_with_the_hessian():
    model = net(cells=3)
    theta, state, covector = model.initial(generator(), 0.9), like(torch.empty(3, 4)), like(torch.empty(3, 4), 3)
    direction = model.initial(generator(1), 1.0)

    def cost(theta):
        x = state
        for w in theta:
            x = x + model.time_step * torch.tanh(x @ w[:4] + w[4])
        return (covector * x).sum() + 0.5 * x.square().sum()

    tracked = theta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cost(tracked), tracked, create_graph=True)
    (expected,) = torch.autograd.grad((gradient * direction).sum(), tracked)
    run = model.run(theta, state)
    xi = run.tangent(direction)
    found, _ = mixed_adjoint(run, stage_bends(run), run.adjoint(covector + run.final), xi, xi.final)
    assert torch.allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(("kind", "scheme"), CONFIGURATIONS)
def test_the_penalised_cost_has_its_derivative(kind, scheme):
    base = problem(kind, scheme, Cost(squared=1.0, entropy=0.5, decay=1e-3), steps=2)
    regularised = RegularisedProblem(base, 0.8, every_input(base, 0.7))
    theta, direction = base.model.initial(generator(), 0.9), 0.1 * base.model.initial(generator(6), 1.0)
    value = lambda t: regularised.evaluate(t).value  # noqa: E731
    slope = inner(regularised.evaluate(theta).derivative(), direction)
    assert taylor_test(value, theta, direction).rate == pytest.approx(1.0, abs=0.1)
    assert taylor_test(value, theta, direction, slope).rate == pytest.approx(2.0, abs=0.1)


def test_noise_along_depth_leaves_the_derivative_exact():
    base = replace(problem(), noise=0.1 * like(torch.empty(7, 6, 4), 9))
    regularised = RegularisedProblem(base, 0.8, every_input(base, 0.7))
    theta, direction = base.model.initial(generator(), 0.9), 0.1 * base.model.initial(generator(6), 1.0)
    slope = inner(regularised.evaluate(theta).derivative(), direction)
    rate = taylor_test(lambda t: regularised.evaluate(t).value, theta, direction, slope).rate
    assert rate == pytest.approx(2.0, abs=0.1)


def test_the_penalty_is_the_frobenius_norm_of_the_jacobian_and_hutchinson_is_it_in_the_mean():
    base = problem()
    theta = base.model.initial(generator(), 0.9)
    evaluation = RegularisedProblem(base, 0.8, every_input(base, 0.3)).evaluate(theta)
    jacobian = input_jacobian(base.model, evaluation.base.run)
    exact = 0.5 * 0.8 * 0.3**2 * float(jacobian.square().sum((1, 2)).mean())
    assert evaluation.penalty == pytest.approx(exact, rel=1e-12)
    source = generator(7)
    draws = [
        RegularisedProblem(base, 0.8, random_signs(base, 0.3, source, number)).evaluate(theta).penalty
        for number in (1, 3)
        for _ in range(200)
    ]
    draws = torch.tensor(draws)
    assert float(draws.mean()) == pytest.approx(exact, abs=4 * float(draws.std()) / 20)
    assert float(draws.std()) > 0.01 * exact  # it is random at all


def test_the_curvature_is_that_of_the_linearised_states_and_sensitivities():
    """Where network and tangent are affine in the weights the parabola is exact: one layer of the identity."""
    base = problem(cost=Cost(squared=1.0), activation=activation_named("identity"), cells=1)
    regularised = RegularisedProblem(base, 0.8, every_input(base, 0.7))
    theta, direction = base.model.initial(generator(), 0.9), base.model.initial(generator(6), 1.0)
    here = regularised.evaluate(theta)
    value = lambda t: regularised.evaluate(t).value  # noqa: E731
    slope, curvature = inner(here.derivative(), direction), here.tangent(direction).curvature
    moved = value(theta + direction) - value(theta)
    assert moved == pytest.approx(slope + 0.5 * curvature, rel=1e-12)
    assert here.penalty_derivative.abs().max() > 0.01


def test_the_line_model_starts_with_the_slope_and_the_curvature_of_the_cost():
    base = problem(cost=Cost(squared=0.3, entropy=1.0))
    regularised = RegularisedProblem(base, 0.8, every_input(base, 0.7))
    theta, direction = base.model.initial(generator(), 0.9), base.model.initial(generator(6), 1.0)
    here = regularised.evaluate(theta)
    tangent = here.tangent(direction)
    first, second = tangent.model(0.0)
    assert first == pytest.approx(inner(here.derivative(), direction), rel=1e-10)
    assert second == pytest.approx(tangent.curvature, rel=1e-10)


@pytest.mark.parametrize("cost", [Cost(squared=1.0), Cost(squared=0.0, entropy=1.0)], ids=["l2", "entropy"])
def test_training_with_the_penalty_lowers_the_sensitivity_and_takes_its_steps_unhalved(cost):
    base = problem(cost=cost, number=40)
    start, space, stop = base.model.initial(generator()), base.model.space(0.5), Stop(max_iterations=40)
    step = Armijo(root_step)
    plain = minimise(base, start, space, step=step, stop=stop)
    penalised = minimise(RegularisedProblem(base, 1.0, every_input(base, 0.3)), start, space, step=step, stop=stop)
    values = [record.value for record in penalised.history]
    assert all(b <= a for a, b in pairwise(values))
    size = lambda theta: float(input_jacobian(base.model, base.evaluate(theta).run).square().sum())  # noqa: E731
    assert size(penalised.x) < 0.7 * size(plain.x)
    assert penalised.counts.forward < 1.3 * len(values)


def test_what_cannot_be_is_refused():
    base = problem()
    with pytest.raises(ConfigError, match="finite number > 0"):
        RegularisedProblem(base, 0.0, every_input(base, 1.0))
    with pytest.raises(ConfigError, match=r"need \(number, 6, 2\)"):
        RegularisedProblem(base, 1.0, torch.zeros(1, 5, 2))
