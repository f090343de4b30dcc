"""Sensitivities of a trained net against torch.autograd, finite differences, Monte Carlo and random search."""

from __future__ import annotations

import pytest
import torch

from oncology.errors import ConfigError
from oncology.nodes.cost import Cost
from oncology.nodes.depth import apply
from oncology.nodes.robustness.sensitivity import (
    depth_kernel,
    depth_profile,
    input_covariance,
    input_jacobian,
    linearised_radius,
    lyapunov,
    noise_regulariser,
    weight_covariance,
    worst_weights,
)
from oncology.nodes.scheme import SCHEMES, scheme_named
from oncology.nodes.standalone import StandaloneNODE
from oncology.nodes.training_problem import TrainingProblem
from tests.nodes.nets import batch, generator, like, net

CONFIGURATIONS = [(kind, scheme, steps) for kind in ("constant", "linear") for scheme in SCHEMES for steps in (1, 2)]


def run_of(model, seed=0, scale=0.9, number=5):
    theta, samples = model.initial(generator(seed), scale), batch(number).inputs
    return theta, samples, model.run(theta, model.embed(samples))


@pytest.mark.parametrize("outputs", [(0, 1), (0, 1, 3)], ids=["adjoint rows", "tangent columns"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_input_jacobian_is_that_of_automatic_differentiation_and_of_finite_differences(scheme, outputs):
    base = net(scheme=scheme_named(scheme), kind="linear", steps=2)
    model = StandaloneNODE(4, base.grid, base.inputs, outputs, scheme=base.scheme, steps=2)
    theta, samples, run = run_of(model)
    jacobian = input_jacobian(model, run)
    weights = base.grid.interpolation(2, base.scheme.c).push(theta).unflatten(0, (-1, base.scheme.stages))

    def by_torch(x):
        x = torch.cat([torch.zeros(len(x), 2, dtype=x.dtype), x], dim=1)
        for stages in weights:
            slopes = []
            for w, row in zip(stages, base.scheme.a, strict=True):
                y = x + model.time_step * sum(a * k for a, k in zip(row, slopes, strict=True))
                slopes.append(torch.tanh(y @ w[:4] + w[4]))
            x = x + model.time_step * sum(b * k for b, k in zip(base.scheme.b, slopes, strict=True))
        return x[:, list(outputs)]

    full = torch.autograd.functional.jacobian(by_torch, samples)
    samples_own = torch.arange(len(samples))
    assert torch.allclose(jacobian, full[samples_own, :, samples_own], atol=1e-13)
    move = 1e-5 * like(samples)
    difference = model.outputs_of(theta, samples + move) - model.outputs_of(theta, samples - move)
    assert torch.allclose(torch.einsum("kij,kj->ki", jacobian, 2 * move), difference, atol=1e-13)


def test_the_depth_kernel_is_the_gradient_in_its_space_and_its_profile_the_one_of_the_equations():
    model = net()
    theta, _, run = run_of(model, number=1)
    covector = like(run.final)
    kernel = depth_kernel(run, covector, model.space())
    eps, direction = 1e-5, model.initial(generator(3), 1.0)
    change = (
        model.run(theta + eps * direction, run.states[0]).final
        - model.run(theta - eps * direction, run.states[0]).final
    )
    assert model.space().inner(kernel, direction) == pytest.approx(
        float((covector * change).sum()) / (2 * eps), rel=1e-8
    )
    expected = run.memory * run.adjoint(covector).states[1:]
    expected = expected.norm(dim=-1) * (1.0 + run.states[:-1].square().sum(-1)).sqrt()
    assert torch.allclose(depth_profile(run, covector), expected, rtol=1e-12)
    assert torch.allclose(kernel.flatten(1).norm(dim=1), expected[:, 0], rtol=1e-12)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_profile_is_the_derivative_by_the_weights_of_each_time_step(scheme):
    model = net(scheme=scheme_named(scheme))
    _, _, run = run_of(model, number=1)
    covector = like(run.final)
    dual = run.adjoint(covector).theta  # one time step in each cell
    assert torch.allclose(depth_profile(run, covector)[:, 0], dual.flatten(1).norm(dim=1) / model.time_step, rtol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.7])
@pytest.mark.parametrize("kind", ["constant", "linear"])
def test_no_unit_change_of_the_weights_moves_the_output_further_than_the_worst_one(smoothing, kind):
    model = net(kind=kind)
    theta, _, run = run_of(model)
    covector, space = like(run.final), model.space(smoothing)
    worst = worst_weights(run, covector, space)
    assert space.norm(worst.direction) == pytest.approx(1.0, rel=1e-12)
    moved = lambda d: float((covector * run.tangent(d).final).sum())  # noqa: E731
    assert moved(worst.direction) == pytest.approx(worst.gain, rel=1e-12)
    for seed in range(50):
        direction = like(theta, seed)
        assert abs(moved((1.0 / space.norm(direction)) * direction)) < worst.gain
    # nearby directions are worse too: a maximum, not merely a large value
    near = worst.direction + 0.01 * like(theta, 99)
    assert moved((1.0 / space.norm(near)) * near) < worst.gain
    eps = 1e-6
    nonlinear = (covector * (model.run(theta + eps * worst.direction, run.states[0]).final - run.final)).sum() / eps
    assert float(nonlinear) == pytest.approx(worst.gain, rel=1e-4)


def test_the_smooth_worst_perturbation_is_smoother_and_no_worse_than_the_free_one():
    model = net(cells=40)
    _, _, run = run_of(model)
    covector = like(run.final)
    free, smooth = (worst_weights(run, covector, model.space(length)) for length in (0.0, 0.7))
    rough = lambda d: float((d * apply(model.grid.stiffness(), d)).sum()) / model.space().norm(d) ** 2  # noqa: E731
    assert rough(smooth.direction) < 0.5 * rough(free.direction)
    assert smooth.gain < free.gain


def test_without_influence_there_is_no_worst_perturbation():
    model = net()
    _, _, run = run_of(model)
    with pytest.raises(ConfigError, match="another covector"):
        worst_weights(run, torch.zeros_like(run.final), model.space())


@pytest.mark.parametrize(("kind", "scheme", "steps"), CONFIGURATIONS)
def test_the_covariance_for_uncertain_weights_is_that_of_explicit_kernels(kind, scheme, steps):
    model = net(kind=kind, scheme=scheme_named(scheme), steps=steps)
    _, _, run = run_of(model, number=3)
    for smoothing in (0.0, 0.5):
        space = model.space(smoothing)
        found = weight_covariance(model, run, space, 2.0)
        for sample in range(3):
            duals = []
            for output in model.outputs:
                unit = torch.zeros_like(run.final)
                unit[sample, output] = 1.0
                duals.append(run.adjoint(unit).theta)
            expected = [[2.0 * space.dual(a, space.riesz(b)) for b in duals] for a in duals]
            assert torch.allclose(found[sample], torch.tensor(expected, dtype=torch.float64), rtol=1e-10)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_lyapunov_agrees_with_kernels_and_with_the_input_covariance(scheme):
    model = net(scheme=scheme_named(scheme))
    _, _, run = run_of(model)
    initial = torch.zeros(4, 4, dtype=torch.float64)
    initial[2:, 2:] = torch.tensor([[0.5, 0.2], [0.2, 0.3]])
    rows = list(model.outputs)
    read = lambda matrix: matrix[:, rows][:, :, rows]  # noqa: E731
    assert torch.allclose(read(lyapunov(run, initial)), input_covariance(model, run, initial[2:, 2:]), atol=1e-14)
    white = read(lyapunov(run, 0.0 * initial, weight_variance=0.3))
    assert torch.allclose(white, weight_covariance(model, run, model.space(), 0.3), rtol=1e-12)


def test_covariances_are_those_of_monte_carlo():
    model = net()
    theta, samples, run = run_of(model, number=1)
    draws, size = 40000, 1e-3
    state = run.states[0].expand(draws, -1)
    noise = size * torch.randn(7, draws, 4, generator=generator(1), dtype=torch.float64)
    final = model.run(theta, state, noise).final
    expected = lyapunov(run, torch.zeros(4, 4, dtype=torch.float64), step_variance=size**2)[0]
    relative = lambda a, b: float((a - b).norm() / b.norm())  # noqa: E731
    assert relative(torch.cov(final.T), expected) < 0.03
    factor = size * torch.tensor([[1.0, 0.0], [0.6, 0.5]], dtype=torch.float64)
    inputs = samples + torch.randn(draws, 2, generator=generator(2), dtype=torch.float64) @ factor.T
    expected = input_covariance(model, run, factor @ factor.T)[0]
    assert relative(torch.cov(model.outputs_of(theta, inputs).T), expected) < 0.03


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_the_covariance_for_uncertain_weights_is_that_of_monte_carlo(smoothing):
    model = net(cells=5)
    theta, _, run = run_of(model, number=1)
    space, size = model.space(smoothing), 1e-3
    root = torch.linalg.cholesky(space.riesz(torch.eye(5, dtype=torch.float64)))
    noise = torch.randn(5, 20000, 5, 4, generator=generator(4), dtype=torch.float64)
    weights = theta[:, None] + size * torch.tensordot(root, noise, 1)
    x = run.states[0].expand(20000, -1)
    for w in weights:
        x = x + model.time_step * torch.tanh((x[:, None] @ w[:, :4])[:, 0] + w[:, 4])
    expected = weight_covariance(model, run, space, size**2)[0]
    assert float((torch.cov(model.read(x).T) - expected).norm() / expected.norm()) < 0.03


def test_the_noise_regulariser_is_the_mean_change_of_the_cost():
    """Against Monte Carlo, for targets that the network hits, where no other term is of that order."""
    model = net()
    theta, samples, run = run_of(model, number=4)
    factor = torch.tensor([[1.0, 0.0], [0.6, 0.5]], dtype=torch.float64)
    problem = TrainingProblem(model, Cost(squared=1.0), batch(4))
    terminal = problem.terminal
    hit = type(terminal)(terminal.cost, terminal.targets, run.final, terminal.outputs, terminal.at_rest)
    expected = noise_regulariser(model, run, hit, 1e-6 * factor @ factor.T)
    draws = 1e-3 * torch.randn(20000, 4, 2, generator=generator(5), dtype=torch.float64) @ factor.T
    final = model.run(theta, model.embed((samples + draws).flatten(0, 1))).final.unflatten(0, (20000, 4))
    assert 0.5 * float((final - run.final).square().sum(-1).mean()) == pytest.approx(expected, rel=0.03)
    # by its definition, for the cross-entropy
    entropy = TrainingProblem(model, Cost(squared=0.5, entropy=1.0), batch(4)).terminal
    square = torch.linalg.cholesky(factor @ factor.T)
    ends = [run.tangent(None, model.embed(column.expand(4, 2))).final for column in square.T]
    assert noise_regulariser(model, run, entropy, factor @ factor.T) == pytest.approx(
        sum(0.5 * entropy.curvature(run.final, end) for end in ends), rel=1e-10
    )


def test_the_linearised_radius_is_the_exact_distance_for_a_linear_classifier():
    matrix, outputs = like(torch.empty(3, 2)), like(torch.empty(6, 3), 3)
    radius = linearised_radius(outputs, matrix.expand(6, 3, 2))
    largest = linearised_radius(outputs, matrix.expand(6, 3, 2), torch.inf)
    for k in range(6):
        c = int(outputs[k].argmax())
        planes = [i for i in range(3) if i != c]
        distances = [(outputs[k, c] - outputs[k, i]) / (matrix[c] - matrix[i]).norm() for i in planes]
        corner = [(outputs[k, c] - outputs[k, i]) / (matrix[c] - matrix[i]).abs().sum() for i in planes]
        assert float(radius[k]) == pytest.approx(float(min(distances)), rel=1e-12)
        assert float(largest[k]) == pytest.approx(float(min(corner)), rel=1e-12)
    with pytest.raises(ConfigError, match="take 2 or inf"):
        linearised_radius(outputs, matrix.expand(6, 3, 2), 1.0)
