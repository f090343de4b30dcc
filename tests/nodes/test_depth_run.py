"""Runs of a standalone NODE: orders, exact discrete derivatives, independent implementations."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
import torchdiffeq

from oncology.errors import ConfigError
from oncology.nodes.activation import ACTIVATIONS, TANH, activation_named
from oncology.nodes.scheme import EULER, HEUN, MIDPOINT, RK4, SCHEMES, scheme_named
from oncology.nodes.standalone import StandaloneNODE, prototype
from oncology.optimise import dot_test, taylor_test
from tests.nodes.nets import batch, generator, like, net

SMOOTH = ("tanh", "sigmoid", "softplus", "identity")
CONFIGURATIONS = [(kind, scheme) for kind in ("constant", "linear") for scheme in SCHEMES]
inner = lambda a, b: float((a * b).sum())  # noqa: E731
vector = lambda x: float(torch.linalg.vector_norm(x))  # noqa: E731


def right_hand_side(model, theta):
    """The same equation written for torchdiffeq, with the weights looked up by depth."""
    n = model.size

    def f(t, x):
        place = t / model.grid.step
        if model.grid.kind == "constant":
            weights = theta[min(int(place + 1e-9), model.grid.cells - 1)]
        else:
            cell = min(int(place + 1e-9), model.grid.cells - 1)
            weights = theta[cell] + (place - cell) * (theta[cell + 1] - theta[cell])
        return model.activation.value(x @ weights[:n] + weights[n])

    return f


@pytest.mark.parametrize(
    ("kind", "name", "theirs"),
    [
        ("constant", "euler", "euler"),
        ("linear", "euler", "euler"),
        ("linear", "heun", "heun2"),
        ("linear", "midpoint", "midpoint"),
    ],
)
def test_states_and_gradients_agree_with_torchdiffeq(kind, name, theirs):
    model = net(kind=kind, scheme=scheme_named(name))
    theta, state = model.initial(generator(), 0.9).requires_grad_(), like(torch.empty(6, 4)).requires_grad_()
    covector = like(torch.empty(6, 4), 3)
    times = torch.linspace(0.0, 2.0, 8, dtype=torch.float64)
    final = torchdiffeq.odeint(right_hand_side(model, theta), state, times, method=theirs)[-1]
    by_theta, by_state = torch.autograd.grad(final, (theta, state), covector)
    run = model.run(theta.detach(), state.detach())
    adjoint = run.adjoint(covector)
    assert torch.allclose(run.final, final, atol=1e-13)
    assert torch.allclose(adjoint.theta, by_theta, atol=1e-12)
    assert torch.allclose(adjoint.input, by_state, atol=1e-12)


@pytest.mark.parametrize(("kind", "scheme"), CONFIGURATIONS)
def test_gradients_agree_with_automatic_differentiation_and_gradcheck(kind, scheme):
    model = net(size=3, cells=3, kind=kind, scheme=scheme_named(scheme), steps=2)
    theta, state = model.initial(generator(), 0.9).requires_grad_(), like(torch.empty(2, 3)).requires_grad_()

    def by_torch(theta, state):
        f, x = right_hand_side(model, theta), state
        h = model.time_step
        for j in range(6):
            slopes = []
            for row, c in zip(model.scheme.a, model.scheme.c, strict=True):
                y = x + h * sum((a * k for a, k in zip(row, slopes, strict=True)), torch.zeros_like(x))
                depth = min(j + c, (j // 2 + 1) * 2 - (1e-6 if kind == "constant" else 0.0)) * h
                slopes.append(f(depth, y))
            x = x + h * sum(b * k for b, k in zip(model.scheme.b, slopes, strict=True))
        return x

    class Ours(torch.autograd.Function):
        @staticmethod
        def forward(context, theta, state):
            context.run = model.run(theta, state)
            return context.run.final.clone()

        @staticmethod
        def backward(context, covector):
            adjoint = context.run.adjoint(covector)
            return adjoint.theta, adjoint.input

    assert torch.autograd.gradcheck(Ours.apply, (theta, state))
    covector = like(state, 4)
    expected = torch.autograd.grad(by_torch(theta, state), (theta, state), covector)
    found = torch.autograd.grad(Ours.apply(theta, state), (theta, state), covector)
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-12)


@pytest.mark.parametrize(("kind", "scheme"), CONFIGURATIONS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_adjoint_is_the_transpose_of_the_tangent(kind, scheme, name):
    model = net(kind=kind, scheme=scheme_named(scheme), activation=activation_named(name), steps=2)
    run = model.run(model.initial(generator(), 0.7), like(torch.empty(5, 4)))
    covector, direction = like(run.final, 5), model.initial(generator(6), 1.0)
    assert (
        dot_test(
            lambda d: run.tangent(d).final, lambda w: run.adjoint(w).theta, direction, covector, inner, inner
        ).error
        < 1e-14
    )
    start = like(run.final, 7)
    assert (
        dot_test(
            lambda d: run.tangent(None, d).final, lambda w: run.adjoint(w).input, start, covector, inner, inner
        ).error
        < 1e-14
    )
    along = like(run.states, 8)
    assert (
        dot_test(
            lambda d: run.tangent(d).states,
            lambda w: run.adjoint(torch.zeros_like(run.final), w).theta,
            direction,
            along,
            inner,
            inner,
        ).error
        < 1e-14
    )


@pytest.mark.parametrize(("kind", "scheme"), CONFIGURATIONS)
@pytest.mark.parametrize("name", SMOOTH)
def test_the_state_has_the_taylor_expansion_that_tangent_and_second_derivative_say(kind, scheme, name):
    model = net(kind=kind, scheme=scheme_named(scheme), activation=activation_named(name))
    theta, direction = model.initial(generator(), 0.7), 0.1 * model.initial(generator(6), 1.0)
    state, covector = like(torch.empty(5, 4)), like(torch.empty(5, 4), 3)
    run = model.run(theta, state)
    xi = run.tangent(direction)
    moved = lambda t: model.run(t, state).final  # noqa: E731
    assert taylor_test(moved, theta, direction, xi.final, norm=vector).rate == pytest.approx(2.0, abs=0.1)
    second = run.second(run.adjoint(covector), xi)
    paired = taylor_test(lambda t: inner(moved(t), covector), theta, direction, inner(xi.final, covector), second)
    assert paired.rate == pytest.approx(3.0, abs=0.2)


def test_the_second_derivative_by_the_input_needs_no_direction_of_the_weights():
    model = net(scheme=RK4)
    theta, state, covector = model.initial(generator(), 0.9), like(torch.empty(5, 4)), like(torch.empty(5, 4), 3)
    move = 0.2 * like(state, 4)
    run = model.run(theta, state)
    xi = run.tangent(None, move)
    second = run.second(run.adjoint(covector), xi)
    value = lambda x: inner(model.run(theta, x).final, covector)  # noqa: E731
    assert taylor_test(value, state, move, inner(xi.final, covector), second).rate == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("scheme", [EULER, HEUN, MIDPOINT, RK4], ids=lambda s: s.name)
def test_schemes_have_their_order_for_smooth_weights(scheme):
    """x' = tanh(w(t) x), against a fine run; weights linear in depth so that stages read them where they stand."""
    theta = torch.tensor([[[0.5], [0.1]], [[-1.5], [0.4]]], dtype=torch.float64)
    model = lambda steps: StandaloneNODE(1, net(cells=1, kind="linear").grid, (0,), (0,), TANH, scheme, steps)  # noqa: E731
    final = lambda steps: float(model(steps).run(theta, torch.tensor([[0.8]], dtype=torch.float64)).final)  # noqa: E731
    exact = float(
        StandaloneNODE(1, net(cells=1, kind="linear").grid, (0,), (0,), TANH, RK4, 4096)
        .run(theta, torch.tensor([[0.8]], dtype=torch.float64))
        .final
    )
    errors = [abs(final(steps) - exact) for steps in (64, 128, 256)]
    slopes = [math.log2(a / b) for a, b in pairwise(errors)]
    assert slopes == pytest.approx([scheme.order] * 2, abs=0.15)


def test_noise_enters_after_each_step_and_leaves_the_derivatives_exact():
    model = net()
    theta, state = model.initial(generator(), 0.7), like(torch.empty(5, 4))
    noise = 0.1 * like(torch.empty(7, 5, 4), 9)
    run = model.run(theta, state, noise)
    x = state
    for j in range(7):
        x = x + model.time_step * torch.tanh(x @ theta[j, :4] + theta[j, 4]) + noise[j]
    assert torch.allclose(run.final, x, atol=1e-14)
    direction = 0.1 * model.initial(generator(6), 1.0)
    moved = lambda t: model.run(t, state, noise).final  # noqa: E731
    rate = taylor_test(moved, theta, direction, run.tangent(direction).final, norm=vector).rate
    assert rate == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_have_their_derivatives_and_stay_within_their_bounds(name):
    activation = activation_named(name)
    z = torch.linspace(-3.03, 3.0, 400, dtype=torch.float64).requires_grad_()
    value = activation.value(z)
    (slope,) = torch.autograd.grad(value.sum(), z, create_graph=True)
    memory = activation.memory(z.detach(), value.detach())
    assert torch.allclose(memory, slope.detach(), atol=1e-13)
    assert float(memory.min()) >= activation.slopes[0] - 1e-12
    assert float(memory.max()) <= activation.slopes[1] + 1e-12
    assert float(value.detach().abs().max()) <= activation.largest
    assert float(activation.value(torch.zeros(1, dtype=torch.float64))) == pytest.approx(activation.at_zero, abs=1e-15)
    if slope.requires_grad:
        (bend,) = torch.autograd.grad(slope.sum(), z, allow_unused=True)
        expected = torch.zeros_like(z) if bend is None else bend.detach()
        assert torch.allclose(activation.curvature(z.detach(), torch.ones_like(memory)), expected, atol=1e-12)


def test_embedding_and_reading_are_transposes():
    model = net(size=5)
    outputs, state = like(torch.empty(3, 2)), like(torch.empty(3, 5), 3)
    assert inner(model.write(outputs), state) == pytest.approx(inner(outputs, model.read(state)), rel=1e-14)
    samples = batch().inputs
    assert torch.equal(model.embed(samples)[:, list(model.inputs)], samples)
    assert float(model.embed(samples)[:, :3].abs().max()) == 0.0


def test_the_prototype_has_the_published_size():
    model = prototype(196, 10)
    assert math.prod(model.shape) == 5_791_800
    assert model.time_step == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: StandaloneNODE(2, net().grid, (0, 2), (0,)), "different coordinates from 0 to 1"),
        (lambda: StandaloneNODE(2, net().grid, (), (0,)), "different coordinates"),
        (lambda: StandaloneNODE(2, net().grid, (0,), (1, 1)), "different coordinates"),
        (lambda: StandaloneNODE(2, net().grid, (0,), (1,), steps=0), "at least 1"),
        (lambda: net().embed(torch.zeros(3, 5)), r"need \(number, 2\)"),
        (lambda: activation_named("swish"), "tanh"),
        (lambda: scheme_named("rk5"), "euler"),
    ],
)
def test_what_cannot_be_is_refused(wrong, words):
    with pytest.raises(ConfigError, match=words):
        wrong()
