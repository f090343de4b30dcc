"""Costs and the training problem: derivatives, both ways of the slope, exact steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from oncology.errors import ConfigError
from oncology.nodes.activation import activation_named
from oncology.nodes.cost import Cost, Magnitude
from oncology.nodes.samples import Samples
from oncology.nodes.scheme import SCHEMES, scheme_named
from oncology.nodes.training_problem import TrainingProblem
from oncology.optimise import Armijo, Stop, minimise, newton_step, root_step, taylor_test
from tests.nodes.nets import batch, generator, like, net

FULL = Cost(1.0, 0.7, 0.3, 0.1, 0.05, Magnitude(0.2))
COSTS = {
    "squared": Cost(),
    "entropy": Cost(0.0, 1.0),
    "magnitude": Cost(0.0, 0.0, 1.0),
    "decay": Cost(1.0, decay=0.3),
    "roughness": Cost(1.0, roughness=0.3),
    "running": Cost(1.0, running=Magnitude(0.4)),
    "all": FULL,
}


@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)
@pytest.mark.parametrize("kind", ["constant", "linear"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_derivatives_of_first_and_second_order(cost, kind, scheme):
    model = net(kind=kind, scheme=scheme_named(scheme), activation=activation_named("sigmoid"))
    problem = TrainingProblem(model, cost, batch(), second=True)
    theta, direction = model.initial(generator(), 0.7), 0.1 * model.initial(generator(6), 1.0)
    here = problem.evaluate(theta)
    slope = float((here.derivative() * direction).sum())
    tangent = here.tangent(direction)
    value = lambda t: problem.evaluate(t).value  # noqa: E731
    assert taylor_test(value, theta, direction).rate == pytest.approx(1.0, abs=0.1)
    assert taylor_test(value, theta, direction, slope).rate == pytest.approx(2.0, abs=0.1)
    assert taylor_test(value, theta, direction, slope, tangent.second).rate == pytest.approx(3.0, abs=0.2)


@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)
def test_the_slope_is_the_same_from_the_adjoint_and_from_the_sensitivity(cost):
    model = net()
    problem = TrainingProblem(model, cost, batch())
    here = problem.evaluate(model.initial(generator(), 0.7))
    direction = model.initial(generator(6), 1.0)
    xi = here.run.tangent(direction)
    by_xi = float((problem.terminal.derivative(here.run.final) * xi.final).sum())
    if cost.running is not None:
        sources = problem.quadrature[..., None] * cost.running.derivative(here.run.states)
        by_xi += float((sources * xi.states).sum())
    if problem.penalty is not None:
        by_xi += float(torch.einsum("ij,j...->i...", problem.penalty, here.theta).mul(direction).sum())
    assert by_xi == pytest.approx(float((here.derivative() * direction).sum()), rel=1e-12)


def test_the_model_along_a_line_is_the_cost_of_the_linearised_state():
    """Against torch's own cross-entropy and automatic differentiation by the step length."""
    model = net()
    problem = TrainingProblem(model, Cost(0.5, 1.3, 0.2, 0.1), batch())
    here = problem.evaluate(model.initial(generator(), 0.7))
    direction = model.initial(generator(6), 1.0)
    xi = here.run.tangent(direction).final

    def linearised(beta):
        final, theta = here.run.final + beta * xi, here.theta + beta * direction
        entropy = torch.nn.functional.cross_entropy(final[:, :2], problem.samples.classes)
        squares = ((final - problem.terminal.padded) ** 2).sum(-1).mean()
        sizes = (final**2).sum(-1).mean()
        return 0.25 * squares + 1.3 * entropy + 0.1 * sizes + 0.05 * model.grid.step * (theta**2).sum()

    assert here.value == pytest.approx(float(linearised(0.0)), rel=1e-13)
    tangent = here.tangent(direction)
    for beta in (0.0, 0.3, -1.1):
        point = torch.tensor(beta, dtype=torch.float64, requires_grad=True)
        (first,) = torch.autograd.grad(linearised(point), point, create_graph=True)
        (second,) = torch.autograd.grad(first, point)
        assert tangent.model(beta) == pytest.approx((float(first), float(second)), rel=1e-10)
    assert tangent.model(0.0)[1] == pytest.approx(tangent.curvature, rel=1e-13)


def test_along_a_line_on_which_the_state_is_affine_the_first_step_is_the_minimiser():
    """Biases of a linear network move x(T) affinely: the quadratic model is the cost itself."""
    model = net(activation=activation_named("identity"))
    problem = TrainingProblem(model, Cost(1.0, decay=0.2), batch(), second=True)
    here = problem.evaluate(model.initial(generator(), 0.5))
    direction = torch.zeros(model.shape, dtype=torch.float64)
    direction[:, -1] = like(direction[:, -1])
    slope, tangent = float((here.derivative() * direction).sum()), here.tangent(direction)
    assert tangent.second == pytest.approx(tangent.curvature, rel=1e-12)
    best = -slope / tangent.curvature
    there = problem.evaluate(here.theta + best * direction)
    assert abs(float((there.derivative() * direction).sum())) < 1e-12 * abs(slope)


@pytest.mark.parametrize("step", [Armijo(), Armijo(newton_step), Armijo(root_step)], ids=["exact", "newton", "root"])
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_training_descends_to_a_small_gradient(step, smoothing):
    model = net(size=4, cells=20)
    problem = TrainingProblem(model, Cost(1.0, 0.2, decay=1e-2), batch(30), second=True)
    space = model.space(smoothing)
    result = minimise(problem, model.initial(generator()), space, step=step, stop=Stop(5e-3, max_iterations=400))
    assert result.status == "converged"
    values = [record.value for record in result.history]
    assert np.all(np.diff(values) <= 0)
    here = problem.evaluate(result.x)
    gradient = space.riesz(here.derivative())
    assert space.norm(gradient) == pytest.approx(result.gradient_norm, rel=1e-9)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Cost(-1.0), "must be >= 0"),
        (lambda: Cost(0.0, decay=1.0), "no term of the data"),
        (lambda: Samples(torch.zeros(3, 2), torch.zeros(4, 2)), "need \\(K, features\\)"),
        (lambda: Samples(torch.zeros(0, 2), torch.zeros(0, 2)), "missing"),
        (lambda: Samples(torch.full((1, 2), torch.nan), torch.zeros(1, 2)), "not finite"),
    ],
)
def test_what_cannot_be_is_refused(wrong, words):
    with pytest.raises(ConfigError, match=words):
        wrong()
