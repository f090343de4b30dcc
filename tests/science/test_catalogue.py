"""Catalogue: products of every equation, orders against exact solutions, what each equation keeps."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oncology.nodes.depth import DepthGrid
from oncology.nodes.scheme import EULER
from oncology.reproduce.science_direct import DIRECT, Direct
from oncology.science.equation import SemiLinear
from oncology.science.equations import advection, conservation, heat, kinetic
from oncology.science.equations import reaction_diffusion as growth
from oncology.science.exponential import ETDRK2
from oncology.science.grid import interval, square
from oncology.science.node import ScienceNODE
from oncology.science.runge_kutta import BACKWARD_EULER, explicit
from tests.science.small import STEPPERS, normal, numbers, of, orders, product_errors, run_errors

LINE, RING, WALLS = (interval(-1.5, 1.5, 12, boundary) for boundary in ("noflux", "periodic", "fixed"))
PLANE = square(-1.0, 1.0, 4, "periodic")
D, R = numbers(0.3), numbers(0.8)

EQUATIONS = {
    "layers": (heat.LayeredHeat(interval(0.0, 1.0, 12, "fixed", (1.0, 2.0))), (D * torch.exp(normal(13)), normal(12))),
    "heat": (heat.Heat(interval(0.0, 1.0, 12, "fixed", (1.0, 2.0))), (D, normal(12))),
    "logistic": (growth.ReactionDiffusion(LINE), (D, R)),
    "power": (growth.ReactionDiffusion(LINE, growth.PowerLaw(3)), (D, R)),
    "bistable": (growth.ReactionDiffusion(RING, growth.BistableLaw(0.3)), (D, R)),
    "gompertz": (growth.ReactionDiffusion(LINE, growth.GompertzLaw(1e-3)), (D, R)),
    "exponential": (growth.ReactionDiffusion(WALLS, growth.ExponentialLaw()), (D, R)),
    "wind": (advection.Advection(PLANE, advection.winds(PLANE)), (numbers(0.4, -0.7), D, R)),
    "vortex": (advection.Advection(PLANE, advection.rotation(PLANE)), (numbers(0.9), D, R)),
    "burgers": (conservation.ConservationLaw(RING, conservation.central(conservation.burgers)), (D,)),
    "engquist-osher": (conservation.ConservationLaw(LINE, conservation.engquist_osher), (D,)),
    "lax-friedrichs": (conservation.ConservationLaw(WALLS, conservation.lax_friedrichs(torch.sin, 1.0)), (D,)),
    "fokker-planck": (kinetic.FokkerPlanck(LINE), (R, D)),
    "bgk": (kinetic.BGK(interval(-4.0, 4.0, 12)), (R,)),
    "goldstein-taylor": (kinetic.GoldsteinTaylor(RING), (R, D)),
}


def start(equation) -> torch.Tensor:
    """Two positive states."""
    return 0.1 + 0.3 * torch.sigmoid(normal(2, equation.size, seed=7))


@pytest.mark.parametrize("name", EQUATIONS)
def test_products(name):
    equation, q = EQUATIONS[name]
    error, rate = product_errors(equation, start(equation), q)
    assert error < 1e-12
    assert rate == pytest.approx(2.0, abs=0.15)


RUNS = [
    (name, stepper)
    for name, (equation, _) in EQUATIONS.items()
    for stepper in STEPPERS
    if stepper != "etdrk2" or isinstance(equation, SemiLinear)
]


@pytest.mark.parametrize(("name", "stepper"), RUNS)
def test_runs(name, stepper):
    equation, q = EQUATIONS[name]
    error, rate = run_errors(of(equation, stepper, length=0.1, cells=2), q, start(equation), size=0.01)
    assert error < 1e-12
    assert rate == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("case", DIRECT, ids=lambda case: case.id)
def test_convergence_to_the_exact_solution(case: Direct):
    """On the two coarser levels; `oncology reproduce science` does all three."""
    coarse = replace(case, levels=case.levels[:2]).row()
    assert coarse.orders[0] == pytest.approx(case.order, abs=0.2)
    assert coarse.errors[1] < 0.07


def test_the_semi_discrete_mode_is_exact():
    grid = interval(0.0, 2.0, 20)
    wave = heat.cosine_mode(grid.points, 2.0, 5)
    model = ScienceNODE(heat.Heat(grid), DepthGrid(1.5, 4), ETDRK2)
    final = model.run((D, torch.zeros(20, dtype=torch.float64)), wave).final
    assert torch.allclose(final, math.exp(-0.45 * heat.mode_rate(5, 2.0, 20)) * wave, rtol=0.0, atol=1e-13)


def test_a_rod_of_varying_conductivity_comes_to_rest_at_second_order():
    errors = []
    for cells in (20, 40, 80):
        wall = float(heat.rippled_rod(numbers(1.0), 0.8, 0.4)[0])
        equation = heat.LayeredHeat(interval(0.0, 1.0, cells, "fixed", (0.0, wall)))
        _, conductivity = heat.rippled_rod(equation.faces, 0.8, 0.4)
        exact, _ = heat.rippled_rod(equation.grid.points[:, 0], 0.8, 0.4)
        q = (conductivity, torch.ones(cells, dtype=torch.float64))
        found = ScienceNODE(equation, DepthGrid(1e9, 1), BACKWARD_EULER).run(q, torch.zeros_like(exact)).final
        errors.append(float((found - exact).norm() / exact.norm()))
    assert orders(errors) == pytest.approx([2.0, 2.0], abs=0.1)


@pytest.mark.parametrize("steps", [100, 400])
def test_the_fisher_wave_runs_at_its_speed(steps):
    """5 sqrt(rho D / 6) = 0.0806226 mm/day for D = 0.13 and rho = 0.012."""
    grid = interval(-60.0, 140.0, 400)
    x = grid.points[:, 0]
    equation = growth.ReactionDiffusion(grid)
    model = ScienceNODE(equation, DepthGrid(300.0, steps), ETDRK2)
    states = model.run((numbers(0.13), numbers(0.012)), growth.power_wave(x, 0.0, 0.13, 0.012)).states
    front = [float(np.interp(-0.25, -state[0].numpy(), x.numpy())) for state in (states[0], states[-1])]
    assert (front[1] - front[0]) / 300.0 == pytest.approx(5.0 * math.sqrt(0.13 * 0.012 / 6.0), rel=2e-3)


def test_logistic_growth_keeps_densities_between_zero_and_one():
    grid = interval(0.0, 10.0, 50)
    u = (grid.points[:, 0] < 3.0).to(torch.float64)[None]
    states = ScienceNODE(growth.ReactionDiffusion(grid), DepthGrid(20.0, 40), BACKWARD_EULER).run((D, R), u).states
    assert float(states.min()) >= -1e-14
    assert float(states.max()) <= 1.0 + 1e-14


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_monotone_fluxes_contract_in_l1_and_keep_bounds(seed):
    grid = interval(0.0, 1.0, 40, "periodic")
    u, v = (torch.rand(1, 40, generator=torch.Generator().manual_seed(seed + i), dtype=torch.float64) for i in (0, 1))
    for flux in (conservation.engquist_osher, conservation.lax_friedrichs(conservation.burgers, 1.0)):
        model = ScienceNODE(conservation.ConservationLaw(grid, flux), DepthGrid(0.5, 40), explicit(EULER))
        a, b = (model.run((numbers(0.0),), state).states for state in (u, v))
        distance = (a - b).abs().sum(-1)[:, 0]
        assert bool((distance[1:] <= distance[:-1] + 1e-13).all())
        assert float(a.min()) >= float(u.min()) - 1e-14
        assert float(a.max()) <= float(u.max()) + 1e-14
        assert torch.allclose(a.sum(-1), u.sum().expand(41, 1), rtol=1e-13)
        variation = torch.diff(torch.cat([a, a[..., :1]], -1)).abs().sum(-1)[:, 0]
        assert bool((variation[1:] <= variation[:-1] + 1e-13).all())


def test_fokker_planck_keeps_mass_sign_and_its_equilibrium():
    grid = interval(-6.0, 6.0, 30)
    equation, q = kinetic.FokkerPlanck(grid), (numbers(3.0), numbers(0.2))
    v = grid.points[:, 0]
    rest = kinetic.maxwellian(v, 1.0, 0.0, 0.2 / 3.0)[None]
    assert float(equation.value(rest, q).abs().max()) < 1e-12 * float(rest.max()) / grid.axes[0].spacing ** 2
    spike = torch.zeros(1, 30, dtype=torch.float64)
    spike[0, 25] = 1.0
    states = ScienceNODE(equation, DepthGrid(30.0, 30), BACKWARD_EULER).run(q, spike).states
    assert float(states.min()) >= 0.0
    assert torch.allclose(states.sum(-1), torch.ones(31, 1, dtype=torch.float64), rtol=1e-13)
    assert torch.allclose(states[-1] / states[-1].sum(), rest / rest.sum(), atol=1e-8)


def test_bgk_keeps_its_moments_and_linearises_to_a_projection():
    """M'[f] g = M sum_a psi_a int psi_a g with three orthonormal psi, which is a projection."""
    grid = interval(-20.0, 20.0, 160)
    v, w, equation = grid.points[:, 0], grid.weights, kinetic.BGK(grid)
    f = (kinetic.maxwellian(v, 0.7, -1.5, 0.6) + kinetic.maxwellian(v, 0.3, 2.0, 1.2))[None]
    change = equation.value(f, (numbers(0.5),))[0]
    assert [float((w * change * v**power).sum()) for power in range(3)] == pytest.approx([0.0] * 3, abs=1e-13)
    density = float(f @ w)
    mean = float(f @ (w * v)) / density
    heat_ = float(f @ (w * (v - mean) ** 2)) / density
    c = (v - mean) / math.sqrt(heat_)
    psi = torch.stack([torch.ones_like(v), c, (c**2 - 1.0) / math.sqrt(2.0)]) / math.sqrt(density)
    g = normal(1, 160) * torch.exp(-(v**2) / 4.0)
    projected = equation.equilibrium(f) * ((psi @ (w * g[0])) @ psi)
    pushed = equation.pushforward(f, (numbers(1.0),), g, (numbers(0.0),)) + g
    assert torch.allclose(pushed, projected, rtol=1e-10, atol=1e-12)


def test_fast_turning_is_diffusion():
    """Goldstein-Taylor with k -> infinity and c^2 = 2 k D: the heat equation, up to O(1/k)."""
    grid, errors = interval(0.0, 2.0 * math.pi, 64, "periodic"), []
    x = grid.points[:, 0]
    for turning in (40.0, 80.0, 160.0):
        u = kinetic.telegraph_mode(x, 1.0, math.sqrt(2.0 * turning * 0.5), turning, 1.0)
        density = u[0, :64] + u[0, 64:]
        errors.append(float((density - math.exp(-0.5) * torch.cos(x)).abs().max()))
    assert [a / b for a, b in pairwise(errors)] == pytest.approx([2.0, 2.0], abs=0.1)
