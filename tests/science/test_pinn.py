"""The baseline with physics in the loss: its derivatives, and what it finds given enough work."""

from __future__ import annotations

import math

import pytest
import torch

from oncology.errors import ConfigError
from oncology.reproduce.science_pinn import CASES, compare
from oncology.science.pinn import Informed, PinnProblem, fit_pinn


def heat_problem(unknown: bool) -> PinnProblem:
    """u = exp(-pi^2 k t) cos(pi x), known on the first day, and on the last where k = 0.1 is sought."""
    x = torch.linspace(0.0, 1.0, 30, dtype=torch.float64)
    days = (0.0, 1.0) if unknown else (0.0,)
    places = torch.cat([torch.stack([x, torch.full_like(x, t)], 1) for t in days])
    values = torch.exp(-(math.pi**2) * 0.1 * places[:, 1]) * torch.cos(math.pi * places[:, 0])
    return PinnProblem(
        0.0,
        1.0,
        1.0,
        lambda f, q: f.t - q["conductivity"] * f.xx,
        places,
        values,
        {"conductivity": 0.3} if unknown else {},
        {} if unknown else {"conductivity": 0.1},
    )


def test_derivatives_are_those_of_torch():
    network = Informed(heat_problem(True), 8, 3, torch.Generator().manual_seed(0))
    places = torch.rand(5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    f = network.field(places)
    (first,) = torch.autograd.grad(f.u.sum(), places, create_graph=True)
    (second,) = torch.autograd.grad(first[:, 0].sum(), places)
    assert torch.allclose(torch.stack([f.x, f.t], 1), first, atol=1e-13)
    assert torch.allclose(f.xx, second[:, 0], atol=1e-13)


@pytest.mark.parametrize("unknown", [False, True])
def test_it_solves_heat_and_finds_its_conductivity(unknown):
    problem = heat_problem(unknown)
    fit = fit_pinn(
        problem, torch.Generator().manual_seed(2), lambda n: n >= 500, width=12, depth=2, points=200, refine_after=100
    )
    x = torch.linspace(0.0, 1.0, 50, dtype=torch.float64)
    exact = math.exp(-(math.pi**2) * 0.1) * torch.cos(math.pi * x)
    assert float((fit.at(x, 1.0) - exact).norm() / exact.norm()) < 0.05
    if unknown:
        assert fit.values["conductivity"] == pytest.approx(0.1, rel=0.05)


def test_the_comparison_gives_both_the_same_time_and_science_is_nearer():
    """On a clock that ticks once a look, so that the network has the same few evaluations on every machine."""
    ticks = iter(range(10_000))
    rows = list(compare(lambda: float(next(ticks)), noise=0.01, factors=(10.0,)))
    assert len(rows) == 4 * len(CASES)
    for core, loss in zip(rows[::2], rows[1::2], strict=True):
        assert (core.title, core.problem) == (loss.title, loss.problem)
        assert core.state_error < min(0.05, loss.state_error)
        assert math.isnan(core.coefficient_error) == (core.problem == "direct")
        if core.problem == "inverse":
            assert core.coefficient_error < 0.05


def test_data_must_be_there():
    with pytest.raises(ConfigError, match="m > 0"):
        PinnProblem(0.0, 1.0, 1.0, lambda f, q: f.t, torch.zeros(0, 2), torch.zeros(0))
