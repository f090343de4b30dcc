"""`odeint` against torchdiffeq: solutions and derivatives; and against closed solutions."""

from __future__ import annotations

import math

import pytest
import torch
import torchdiffeq

import oncology.nodes as nodes
from oncology.errors import ConfigError
from tests.nodes.nets import generator


class Field(torch.nn.Module):
    """A small network as a right-hand side that depends on time."""

    def __init__(self) -> None:
        super().__init__()
        self.a = torch.nn.Parameter(0.5 * torch.randn(3, 3, generator=generator(), dtype=torch.float64))
        self.b = torch.nn.Parameter(torch.randn(3, generator=generator(1), dtype=torch.float64))
        self.idle = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self, t, x):
        return torch.tanh(x @ self.a + torch.cos(3.0 * t) * self.b)


def derivatives(solver, field, times, **options):
    x0 = torch.randn(2, 3, generator=generator(2), dtype=torch.float64).requires_grad_()
    t = torch.tensor(times, dtype=torch.float64, requires_grad=True)
    out = solver(field, x0, t, **options)
    weight = torch.randn(out.shape, generator=generator(3), dtype=torch.float64)
    return out, torch.autograd.grad((weight * out).sum(), (x0, t, field.a, field.b))


@pytest.mark.parametrize("times", [[0.0, 0.4, 1.0, 1.1], [1.0, 0.3, -0.2]])
@pytest.mark.parametrize("method", ["euler", "midpoint", ("heun", "heun2")])
def test_fixed_steps_agree_with_torchdiffeq_to_rounding(method, times):
    """Values, and derivatives by the state, the times and the parameters, of torchdiffeq's differentiated solver."""
    ours, theirs = method if isinstance(method, tuple) else (method, method)
    field = Field()
    found, by_adjoint = derivatives(nodes.odeint, field, times, method=ours)
    wanted, by_graph = derivatives(torchdiffeq.odeint, field, times, method=theirs)
    assert torch.allclose(found, wanted, rtol=1e-13, atol=1e-14)
    for one, other in zip(by_adjoint, by_graph, strict=True):
        assert torch.allclose(one, other, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("method", ["dopri5", "bosh3"])
def test_adaptive_steps_agree_with_torchdiffeq_to_their_tolerance(method):
    field, options = Field(), {"rtol": 1e-8, "atol": 1e-10}
    found, by_adjoint = derivatives(nodes.odeint, field, [0.0, 0.4, 1.0], method=method, **options)
    wanted, by_graph = derivatives(torchdiffeq.odeint, field, [0.0, 0.4, 1.0], method="dopri8", **options)
    assert torch.allclose(found, wanted, atol=1e-6)
    for number in (0, 2, 3):
        assert torch.allclose(by_adjoint[number], by_graph[number], atol=1e-5)
    # torchdiffeq interpolates between its steps; a later time moves its own state alone, along the field
    weight = torch.randn(found.shape, generator=generator(3), dtype=torch.float64)
    slopes = torch.stack([field(torch.tensor(t), x) for t, x in zip((0.4, 1.0), found[1:], strict=True)])
    assert torch.allclose(by_adjoint[1][1:], (weight[1:] * slopes).sum((1, 2)), atol=1e-5)


def test_the_derivative_is_that_of_the_discrete_solution():
    """By central differences, where steps are long and the adjoint equation would be far off."""
    field, direction = Field(), torch.randn(3, 3, generator=generator(5), dtype=torch.float64)
    x0, t = torch.ones(1, 3, dtype=torch.float64), torch.tensor([0.0, 3.0], dtype=torch.float64)

    def end(amount):
        moved = Field()
        moved.a.data += amount * direction
        return nodes.odeint(moved, x0, t, method="rk4", steps=2)[-1].sum().detach()

    nodes.odeint(field, x0, t, method="rk4", steps=2)[-1].sum().backward()
    assert field.idle.grad is not None and not bool(field.idle.grad.any())
    slope = float((end(1e-5) - end(-1e-5)) / 2e-5)
    assert float((field.a.grad * direction).sum()) == pytest.approx(slope, rel=1e-8)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2), ("rk4", 4)])
def test_fixed_steps_converge_to_the_closed_solution(method, order):
    """x' = x cos t from 1 is exp(sin t)."""
    t = torch.tensor([0.0, 1.5], dtype=torch.float64)
    errors = [
        abs(float(nodes.odeint(lambda t, x: x * torch.cos(t), torch.ones(1).double(), t, method=method, steps=n)[-1])
            - math.exp(math.sin(1.5)))
        for n in (20, 40)
    ]  # fmt: skip
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2)


def test_single_precision_stays_and_named_tensors_are_enough():
    rate = torch.tensor(0.3, requires_grad=True)
    fixed = torch.tensor(1.0)
    out = nodes.odeint(lambda t, x: rate * fixed * x, torch.ones(2), torch.tensor([0.0, 1.0]), [rate, fixed], rtol=1e-5)
    out[-1, 0].backward()
    assert out.dtype == torch.float32
    assert float(rate.grad) == pytest.approx(math.exp(0.3), rel=1e-4)
    with torch.no_grad():
        assert not nodes.odeint(lambda t, x: rate * x, torch.ones(2), torch.tensor([0.0, 1.0])).requires_grad


@pytest.mark.parametrize(
    ("times", "options", "words"),
    [
        ([0.0], {}, "two or more"),
        ([0.0, 1.0, 0.5], {}, "ascending"),
        ([0.0, 1.0], {"method": "adams"}, "take one of"),
        ([0.0, 1.0], {"method": "rk4", "steps": 0}, "steps >= 1"),
        ([0.0, 1.0], {"rtol": 0.0}, "numbers > 0"),
    ],
)
def test_what_cannot_be_is_refused(times, options, words):
    with pytest.raises(ConfigError, match=words):
        nodes.odeint(lambda t, x: x, torch.ones(1), torch.tensor(times), **options)
