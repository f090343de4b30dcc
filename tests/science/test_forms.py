"""Gains keep a dissipative equation dissipative whatever their weights, any matrix does not."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oncology.nodes.activation import TANH
from oncology.nodes.depth import DepthGrid
from oncology.nodes.scheme import EULER
from oncology.nodes.standalone import StandaloneNODE
from oncology.science.equation_activation import EquationActivation
from oncology.science.equations.heat import Heat
from oncology.science.forms import Activated, Closed, ConvolutionGain, DiagonalGain, ScalarGain
from oncology.science.grid import Grid, interval
from oncology.science.node import ScienceNODE
from oncology.science.runge_kutta import BACKWARD_EULER, SDIRK2
from tests.science.small import normal, numbers

SEEDS = st.integers(0, 10_000)
SIZE = 12


def heat(boundary: str) -> Heat:
    return Heat(interval(0.0, 2.0, SIZE, boundary))


def energy(grid: Grid, e: torch.Tensor, negative: bool) -> torch.Tensor:
    """|e|^2 in L2, or in H^-1 (the inverse of -Laplacian, on what is not its kernel)."""
    if not negative:
        return (grid.weights * e**2).sum(-1)
    values = -grid.laplacian_eigenvalues
    inverse = torch.where(values > 1e-10, 1.0 / values.clamp(min=1e-10), 0.0)
    return (grid.weights * grid.modes(e) ** 2 * inverse).sum(-1)


GAINS = {
    "scalar": (lambda grid: ScalarGain(), False),
    "convolution": (lambda grid: ConvolutionGain(grid, 4), False),
    "diagonal": (lambda grid: DiagonalGain(SIZE), True),
}


@pytest.mark.parametrize("boundary", ["noflux", "periodic", "fixed"])
@pytest.mark.parametrize("gain", GAINS)
@settings(max_examples=8)
@given(seed=SEEDS, size=st.floats(0.1, 10.0))
def test_energy_never_grows(gain, boundary, seed, size):
    """(S(Wx + b) - S(Wy + b), x - y) <= 0 for random weights, and after steps of any length."""
    build, negative = GAINS[gain]
    physics = heat(boundary)
    equation = Activated(physics, build(physics.grid))
    weights = size * normal(equation.coefficients[-2].size, seed=seed)
    q = (numbers(0.4), normal(SIZE, seed=1), weights, normal(SIZE, seed=2))
    x, y = normal(1, SIZE, seed=seed + 1), normal(1, SIZE, seed=seed + 2)
    if negative and boundary != "fixed":  # H^-1 knows nothing of the mean, which is conserved
        y = y + (x - y).mean()
    moved = equation.value(x, q) - equation.value(y, q)
    e = x - y
    after = energy(physics.grid, e + 1e-4 * moved, negative) - energy(physics.grid, e - 1e-4 * moved, negative)
    slack = 1e-12 * energy(physics.grid, e, negative) + 1e-12 * energy(physics.grid, 1e-4 * moved, negative)
    assert float(after) <= float(slack)
    model = ScienceNODE(equation, DepthGrid(50.0, 3), BACKWARD_EULER)
    ends = model.run(q, x).states - model.run(q, y).states
    sizes = energy(physics.grid, ends, negative)[:, 0]
    assert bool((sizes[1:] <= sizes[:-1] * (1.0 + 1e-9)).all())


def test_an_arbitrary_matrix_can_make_the_heat_equation_grow():
    """The same equation, W = -I: what the parametrisations of the gains exclude."""
    physics = heat("noflux")
    activation = EquationActivation(physics, (numbers(0.4), torch.zeros(SIZE, dtype=torch.float64)))
    model = StandaloneNODE(SIZE, DepthGrid(0.1, 20), tuple(range(SIZE)), (0,), activation, EULER)
    state = normal(1, SIZE, seed=3)
    unit = torch.eye(SIZE, dtype=torch.float64)
    theta = torch.zeros(model.shape, dtype=torch.float64)
    for sign, grows in ((1.0, False), (-1.0, True)):
        theta[:, :SIZE] = sign * unit
        assert (float(model.run(theta, state).final.norm()) > float(state.norm())) == grows


def test_equations_follow_the_activation_protocol_of_the_core():
    """Products are transposes of each other, curvature is a second difference."""
    physics = Closed(heat("noflux"), 3, TANH)
    q = (numbers(0.4), normal(SIZE), normal(3 * SIZE, seed=1), normal(3 * SIZE, seed=2), normal(3, seed=3))
    activation = EquationActivation(physics, q)
    z, d, w = (normal(4, SIZE, seed=s) for s in (4, 5, 6))
    memory = activation.memory(z, activation.value(z))
    left = (activation.pushforward(memory, d) * w).sum()
    assert float(left) == pytest.approx(float((activation.pullback(memory, w) * d).sum()), rel=1e-12)
    h = 1e-3
    second = (activation.value(z + h * d) - 2.0 * activation.value(z) + activation.value(z - h * d)) / h**2
    assert torch.allclose(activation.curvature(z, d), second, rtol=1e-3, atol=1e-4)
    linear = EquationActivation(heat("noflux"), (numbers(0.4), normal(SIZE)))
    assert not linear.curvature(z, d).any()


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_a_constant_gain_is_another_conductivity(gain):
    """S(w x) with w constant is the heat equation with conductivity w kappa."""
    physics = heat("noflux")
    equation = Activated(physics, ScalarGain())
    still = torch.zeros(SIZE, dtype=torch.float64)
    raw = torch.log(torch.expm1(numbers(gain)))
    model = lambda e: ScienceNODE(e, DepthGrid(1.0, 5), SDIRK2)  # noqa: E731
    state = normal(2, SIZE)
    activated = model(equation).run((numbers(0.3), still, raw, still), state).final
    plain = model(physics).run((numbers(0.3 * gain), still), state).final
    assert torch.allclose(activated, plain, rtol=1e-12, atol=1e-13)
