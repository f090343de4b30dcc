"""Certificates are never violated: strong attacks on random and trained nets, exact extremes, rounding."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oncology.errors import ConfigError
from oncology.nodes.activation import ACTIVATIONS, TANH, activation_named
from oncology.nodes.classifier import NODEClassifier
from oncology.nodes.depth import prolong
from oncology.nodes.robustness.attack import ProjectedGradient, SensitivityAttack, shorten
from oncology.nodes.robustness.certificates import (
    continuous_lipschitz,
    euler_net,
    layer_factors,
    lipschitz,
    logarithmic_norms,
    product_radius,
    remainder_constant,
    rounding_of_step,
    weight_bound,
)
from oncology.nodes.robustness.sensitivity import input_jacobian, linearised_radius
from oncology.nodes.robustness.tube import certified_radius, tube_holds
from oncology.nodes.scheme import RK4
from oncology.optimise import taylor_test
from tests.nodes.nets import batch, generator, like, net, trained

NORMS = (2.0, math.inf)
CERTIFIED = sorted(name for name, sigma in ACTIVATIONS.items() if sigma.slopes[1] <= 1)
size = lambda x, norm: torch.linalg.vector_norm(x, ord=norm, dim=-1)  # noqa: E731


def random_net(seed, name="tanh", scale=0.9, cells=7, kind="constant", n=4, dtype=torch.float64, steps=1):
    model = net(n, cells, kind, activation_named(name), steps=steps)
    theta = model.initial(generator(seed), scale).to(dtype)
    inputs = batch(12, seed + 1).inputs.to(dtype)
    return model, theta, inputs, model.run(theta, model.embed(inputs))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    name=st.sampled_from(CERTIFIED),
    scale=st.floats(0.1, 3.0),
    cells=st.integers(1, 12),
    kind=st.sampled_from(["constant", "linear"]),
    n=st.sampled_from([4, 10]),
    norm=st.sampled_from(NORMS),
    dtype=st.sampled_from([torch.float64, torch.float32]),
)
def test_no_attack_succeeds_inside_the_certified_radius(seed, name, scale, cells, kind, n, norm, dtype):
    model, theta, inputs, run = random_net(seed, name, scale, cells, kind, n, dtype)
    radius = certified_radius(model, theta, run, norm)
    assert bool((radius >= product_radius(model, theta, run, norm)).all())
    classifier = NODEClassifier(model, theta)
    classes = classifier.outputs(inputs).argmax(-1)
    search = ProjectedGradient(norm, iterations=15, restarts=2)
    assert not bool(search(classifier, inputs, classes, radius.to(dtype), generator(seed)).succeeded.any())
    if norm == 2.0:
        attacked = SensitivityAttack(length=0.01, iterations=30)(classifier, inputs, classes)
        nearest = shorten(classifier, inputs, classes, attacked)
        assert bool((nearest.distances.double() >= radius).all())


@pytest.mark.parametrize("norm", NORMS)
def test_a_trained_network_keeps_its_classes_inside_and_loses_some_not_far_outside(norm):
    model, theta, samples = trained()
    run = model.run(theta, model.embed(samples.inputs))
    classifier = NODEClassifier(model, theta)
    classes = classifier.outputs(samples.inputs).argmax(-1)
    radius = certified_radius(model, theta, run, norm)
    product = product_radius(model, theta, run, norm)
    linear = linearised_radius(model.read(run.final), input_jacobian(model, run), norm)
    search = ProjectedGradient(norm)
    assert not bool(search(classifier, samples.inputs, classes, radius, generator()).succeeded.any())
    assert bool((radius >= product).all())
    assert bool((radius <= torch.maximum(linear, product)).all())
    # the tube is tight for samples near the boundary: the truth lies between it and a little more
    near = radius < radius.quantile(0.25)
    outside = search(classifier, samples.inputs[near], classes[near], 1.5 * radius[near], generator())
    assert float(outside.succeeded.double().mean()) > 0.9
    assert float((radius / product).median()) > 3.0


@pytest.mark.parametrize("norm", NORMS)
def test_the_tube_approaches_the_linearised_radius_for_small_margins(norm):
    """Inputs moved towards the boundary: the fraction of the linearised radius that is certified tends to one."""
    model, theta, samples = trained()
    classifier = NODEClassifier(model, theta)
    classes = classifier.outputs(samples.inputs).argmax(-1)
    nearest = shorten(
        classifier, samples.inputs, classes, SensitivityAttack(iterations=200)(classifier, samples.inputs, classes)
    )
    found = nearest.succeeded
    shares = []
    for share in (0.9, 0.99, 0.999):
        inputs = torch.lerp(samples.inputs[found], nearest.inputs[found], share)
        run = model.run(theta, model.embed(inputs))
        linear = linearised_radius(model.read(run.final), input_jacobian(model, run), norm)
        shares.append(float((certified_radius(model, theta, run, norm, rounds=3) / linear).median()))
    assert shares == sorted(shares)
    assert shares[2] > 0.99


@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("name", ["tanh", "sigmoid", "leaky-relu", "identity"])
def test_layer_factors_bound_every_layer_and_are_exact_where_they_say_so(norm, name):
    model, theta, _, _ = random_net(3, name)
    exact, bound = (layer_factors(euler_net(model, theta), norm, vertices) for vertices in (8, 0))
    assert bool((bound >= exact).all())
    weights, (low, high) = theta[:, :4].mT, model.activation.slopes
    slopes = low + (high - low) * torch.rand(20000, 1, 4, 1, generator=generator(), dtype=torch.float64)
    slopes[:10000] = low + (high - low) * slopes[:10000].sub(low).div(max(high - low, 1e-9)).round()
    sampled = torch.linalg.matrix_norm(torch.eye(4) + model.time_step * slopes * weights, ord=norm).amax(0)
    assert bool((sampled <= exact).all())
    assert torch.allclose(exact, sampled, rtol=1e-9)  # 2^4 corners were all among the samples


@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_logarithmic_norms_are_the_limit_of_the_factors_of_short_steps(norm):
    model, theta, _, _ = random_net(3, scale=1.5)
    net_ = euler_net(model, theta)
    for vertices in (8, 0):
        m = logarithmic_norms(net_, norm, vertices)
        short = replace(net_, step=1e-6)
        slope = (layer_factors(short, norm, 8) - 1.0) / 1e-6
        assert bool((m >= slope - 1e-3).all())
    assert torch.allclose(logarithmic_norms(net_, norm), slope, atol=1e-3)


def test_the_continuous_bound_is_the_limit_of_the_discrete_one():
    model, theta, _, _ = random_net(3, scale=1.0)
    limit = continuous_lipschitz(model, theta)
    gaps = []
    for factor in (16, 32, 64):
        fine = replace(model, grid=model.grid.refined(factor))
        gaps.append(abs(lipschitz(euler_net(fine, prolong(theta, model.grid, fine.grid))) / limit - 1.0))
    assert [gaps[0] / gaps[1], gaps[1] / gaps[2]] == pytest.approx([2.0, 2.0], rel=0.1)
    linear, weights, _, _ = random_net(3, kind="linear")
    nodes = continuous_lipschitz(linear, weights)
    fine = replace(linear, grid=linear.grid.refined(64))
    assert lipschitz(euler_net(fine, prolong(weights, linear.grid, fine.grid))) <= 1.05 * nodes


@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_the_lipschitz_bound_is_above_every_quotient(norm):
    for seed in range(5):
        model, theta, _, run = random_net(seed, scale=1.5)
        bound = lipschitz(euler_net(model, theta), norm)
        moved = run.states[0] + 0.5 * like(run.states[0], seed)
        quotients = size(model.run(theta, moved).final - run.final, norm) / size(moved - run.states[0], norm)
        assert float(quotients.max()) <= bound
        units = torch.eye(4, dtype=torch.float64)
        jacobian = torch.stack([run.tangent(None, u.expand_as(run.final)).final for u in units], dim=2)
        assert float(torch.linalg.matrix_norm(jacobian, ord=norm).max()) <= bound


def test_a_network_of_identities_is_certified_up_to_its_exact_boundary():
    """x -> prod (I + h W) x is linear, so that the distance to the boundary is known."""
    model, theta, _, run = random_net(1, "identity")
    for norm in NORMS:
        exact = linearised_radius(model.read(run.final), input_jacobian(model, run), norm)
        radius = certified_radius(model, theta, run, norm, rounds=4)
        assert bool((radius <= exact).all())
        assert torch.allclose(radius, exact, rtol=2e-4)


@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_changed_weights_move_the_state_by_no_more_than_their_bound(norm):
    for seed in range(5):
        model, theta, _, run = random_net(seed, kind="linear", steps=2)
        for scale in (1e-3, 0.1, 1.0):
            change = scale * like(theta, seed + 10)
            moved = size(model.run(theta + change, run.states[0]).final - run.final, norm)
            bound = weight_bound(model, theta, change, run, norm)
            assert bool((moved <= bound).all())
    assert bool((weight_bound(model, theta, 0.0 * change, run, norm) == 0).all())


def test_the_bound_for_changed_weights_is_attained_where_it_can_be():
    """Biases of the identity without matrices: every layer moves by h db."""
    model, theta, _, run = random_net(1, "identity")
    change = torch.zeros_like(theta)
    change[:, 4, 0] = 0.3
    still = 0.0 * theta
    run = model.run(still, run.states[0])
    moved = size(model.run(change, run.states[0]).final - run.final, 2.0)
    assert torch.allclose(weight_bound(model, still, change, run), moved, rtol=1e-8)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus", "smooth-relu"])
def test_the_remainder_is_quadratic_and_below_its_constant(name):
    model, theta, _, run = random_net(4, name)
    constant, state = remainder_constant(model, theta), run.states[0]
    move = like(state, 3)
    xi = run.tangent(None, move).final
    for h in (1.0, 0.1, 0.01):
        remainder = size(model.run(theta, state + h * move).final - run.final - h * xi, 2.0)
        assert bool((remainder <= constant * (h * size(move, 2.0)) ** 2).all())
    if name != "smooth-relu":
        total = lambda x: float(model.run(theta, x).final.sum())  # noqa: E731
        assert taylor_test(total, state, move, float(xi.sum())).rate == pytest.approx(2.0, abs=0.1)


def test_rounding_of_the_run_is_part_of_the_certificate():
    """A margin of one rounding error is not certified at any radius, and larger ones at less in single precision."""
    model, theta, inputs, run = random_net(2)
    double = certified_radius(model, theta, run)
    single = certified_radius(model, theta.float(), model.run(theta.float(), model.embed(inputs).float()))
    assert float((single / double).median()) == pytest.approx(1.0, rel=1e-3)
    flat, state = 0.0 * theta, torch.zeros(1, 4, dtype=torch.float64)
    flat[:, 4] = 0.5
    tie = model.run(flat, state)
    flat[0, 4, 0] += 1e-15
    near = model.run(flat, state)
    assert float((near.final - tie.final).abs().max()) > 0
    for radius in (product_radius, certified_radius):
        assert float(radius(model, flat, near)) == 0.0
        assert float(radius(model, flat, tie)) == 0.0


def test_rounding_stays_below_its_bound():
    """States in single precision against the same layers in double, layer by layer."""
    for name in ("tanh", "softplus"):
        model, theta, _, run = random_net(2, name, dtype=torch.float32, scale=2.0, n=10)
        net_ = euler_net(model, theta)
        states = run.states.double()
        for j in range(7):
            exact = states[j] + net_.step * net_.activation.value(states[j] @ net_.matrices[j].T + net_.biases[j])
            error = (exact - states[j + 1]).abs()
            bound = rounding_of_step(net_, j, states[j].abs())
            assert bool((error <= bound).all())
            assert float(error.max()) > 1e-4 * float(bound.max())


def test_states_that_overflow_are_not_certified():
    model, theta, inputs, _ = random_net(2, "softplus")
    theta = 1e200 * theta
    run = model.run(theta, model.embed(inputs))
    assert float(product_radius(model, theta, run).max()) == 0.0
    assert float(certified_radius(model, theta, run).max()) == 0.0


def test_larger_balls_hold_less():
    model, theta, inputs, run = random_net(2)
    radii = torch.linspace(1e-3, 3.0, 30, dtype=torch.float64).expand(len(inputs), -1)
    held = tube_holds(model, euler_net(model, theta), run.states, radii, 2.0)
    assert bool((held[:, 1:] <= held[:, :-1]).all())
    assert 0 < int(held.sum()) < held.numel()


def test_what_holds_for_no_network_of_its_kind_is_refused():
    model, theta, _, run = random_net(2)
    sine = replace(TANH, name="sine", slopes=(-1.0, 1.0))
    for wrong in (replace(model, activation=sine), replace(model, activation=replace(TANH, slopes=(0.0, 2.0)))):
        with pytest.raises(ConfigError, match=r"slopes in \[0, 1\]"):
            certified_radius(wrong, theta, run)
    with pytest.raises(ConfigError, match="run the network with 'euler'"):
        product_radius(replace(model, scheme=RK4), theta, run)
    with pytest.raises(ConfigError, match="on an interval are not known"):
        certified_radius(replace(model, activation=replace(TANH, name="mine")), theta, run)
    for radius in (product_radius, certified_radius):
        with pytest.raises(ConfigError, match="take 2 or inf"):
            radius(model, theta, run, 1.0)
    with pytest.raises(ConfigError, match="slope of 'relu' jumps"):
        remainder_constant(replace(model, activation=activation_named("relu")), theta)
    with pytest.raises(ConfigError, match="take 1, 2 or inf"):
        layer_factors(euler_net(model, theta), 3.0)
