"""Pooling flows against their closed forms and equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from oncology.nodes.convolution.pooling import Contraction, HeatFlow, Restriction, SoftMaxFlow
from oncology.nodes.convolution.torus import Torus
from oncology.optimise import dot_test, taylor_test
from tests.nodes.nets import like

inner = lambda a, b: float((a * b).sum())  # noqa: E731
FLOWS = {
    "heat": HeatFlow(0.01),
    "soft-max": SoftMaxFlow(0.1, 0.3),
    "contraction": Contraction(0.4),
    "restriction": Restriction(),
}


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
def test_flows_have_exact_derivatives(flow):
    torus, u = Torus((8, 12), (1.0, 1.5)), like(torch.empty(2, 3, 8, 12))
    value, linear = flow.apply(torus, u)
    direction, covector = 0.1 * like(u, 4), like(value, 5)
    assert dot_test(linear.push, linear.pull, direction, covector, inner, inner).error < 1e-14
    paired = lambda x: inner(flow.apply(torus, x)[0], covector)  # noqa: E731
    slope, second = inner(linear.push(direction), covector), inner(linear.second(direction), covector)
    rate = taylor_test(paired, u, direction, slope, second).rate
    assert rate == pytest.approx(3.0, abs=0.1) or rate == math.inf


def test_heat_damps_each_mode_by_its_eigenvalue():
    torus = Torus((16,), (2.0,))
    wave = 2.0 * math.pi * 3 / 2.0
    u = torch.cos(wave * torch.arange(16, dtype=torch.float64) / 8)[None, None]
    smooth, _ = HeatFlow(0.01).apply(torus, u)
    assert torch.allclose(smooth, math.exp(-0.01 * wave**2) * u, atol=1e-14)


def test_soft_max_solves_its_equation():
    """u_t = eps u_xx + u_x^2 by small explicit steps with spectral derivatives, against one step of the flow."""
    torus, eps, time = Torus((64,), (1.0,)), 0.02, 0.02
    x = torch.arange(64, dtype=torch.float64) / 64
    u = 0.1 * torch.sin(2 * math.pi * x)[None, None] + 0.03 * torch.cos(4 * math.pi * x)
    w = 1j * torus.frequencies(0)
    marched, steps = u, 4000
    for _ in range(steps):
        spectrum = torus.forward(marched)
        slope, bend = torus.backward(w * spectrum), torus.backward(w * w * spectrum)
        marched = marched + time / steps * (eps * bend + slope * slope)
    found, _ = SoftMaxFlow(time, eps).apply(torus, u)
    assert float((found - marched).abs().max()) < 1e-3 * float((found - u).abs().max())
    half, _ = SoftMaxFlow(time / 2, eps).apply(torus, u)
    twice, _ = SoftMaxFlow(time / 2, eps).apply(torus, half)
    assert torch.allclose(twice, found, atol=1e-11)


def test_soft_max_tends_to_the_maximum_over_parabolas_at_first_order():
    """Lax-Oleinik: sup_y u0(y) - |x - y|^2 / 4t; the error is O(eps)."""
    torus, time = Torus((512,), (1.0,)), 0.01
    x = torch.arange(512, dtype=torch.float64) / 512
    u = torch.sin(2 * math.pi * x) ** 3
    distance = (x[:, None] - x + 0.5) % 1.0 - 0.5
    exact = (u - distance**2 / (4 * time)).amax(-1)
    errors = [
        float((SoftMaxFlow(time, eps).apply(torus, u[None, None])[0][0, 0] - exact).abs().max())
        for eps in (0.04, 0.02, 0.01)
    ]
    assert np.diff(np.log2(errors)) == pytest.approx([-1.0, -1.0], abs=0.3)


def test_contraction_samples_the_picture_further_out_and_is_exact_for_parabolas():
    torus = Torus((40,), (1.0,))
    place = torch.arange(40, dtype=torch.float64) - 19.5
    for power in (0, 1, 2):
        found, _ = Contraction(math.log(2.0)).apply(torus, (place**power)[None, None])
        expected = torch.where(2 * place.abs() <= 17.5, (2 * place) ** power, torch.nan)
        inside = expected.isfinite()
        assert torch.allclose(found[0, 0][inside], expected[inside], atol=1e-10)
        assert float(found[0, 0][place.abs() > 11].abs().max()) == 0.0


def test_contraction_and_restriction_halve_the_grid_and_keep_the_picture():
    torus = Torus((32, 32), (1.0, 1.0))
    x = (torch.arange(32, dtype=torch.float64) - 15.5) / 32
    bump = torch.exp(-(x[:, None] ** 2 + x**2) / 0.02)[None, None]
    small, _ = Contraction(math.log(2.0)).apply(torus, bump)
    half, _ = Restriction().apply(torus, small)
    assert Restriction().target(torus) == Torus((16, 16), (0.5, 0.5))
    assert half.shape[2:] == (16, 16)
    coarse = (torch.arange(16, dtype=torch.float64) - 7.5) / 16
    expected = torch.exp(-(coarse[:, None] ** 2 + coarse**2) / 0.02)
    assert float((half[0, 0] - expected).abs().max()) < 5e-3
