"""Runs: tangent and adjoint of every stepper and form by Taylor and dot tests, orders in time, states kept or not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from oncology.errors import ConfigError, NumericalError
from oncology.nodes.depth import DepthGrid
from oncology.nodes.scheme import SCHEMES
from oncology.science.equations.heat import Heat, cosine_mode, mode_rate
from oncology.science.exponential import phi_functions
from oncology.science.forms import Activated, Clocked, Closed, ConvolutionGain, DiagonalGain, ScalarGain
from oncology.science.grid import interval
from oncology.science.node import ScienceNODE
from oncology.science.runge_kutta import explicit
from tests.science.small import STEPPERS, normal, numbers, of, orders, product_errors, run_errors

GRID = interval(0.0, 3.0, 9)
HEAT = Heat(GRID)
K = numbers(0.3)
FORMS = {
    "A": (HEAT, (K, normal(9, seed=1))),
    "A in depth": (HEAT, (0.2 + normal(3, 1, seed=2) ** 2, normal(3, 9, seed=3))),
    "B scalar": (Activated(HEAT, ScalarGain()), (K, normal(9), normal(3, 1, seed=2), normal(3, 9, seed=3))),
    "B convolution": (
        Activated(HEAT, ConvolutionGain(GRID, 3)),
        (K, normal(9), normal(3, 3, seed=2), normal(9, seed=3)),
    ),
    "B diagonal": (Activated(HEAT, DiagonalGain(9)), (K, normal(9), normal(3, 9, seed=2), normal(9, seed=3))),
    "C": (Closed(HEAT, 2), (K, normal(9), normal(3, 18, seed=2), normal(18, seed=3), normal(2, seed=4))),
    "B and C": (
        Closed(Activated(HEAT, ScalarGain()), 2),
        (K, normal(9), numbers(0.5), normal(9, seed=1), normal(18, seed=2), normal(18, seed=3), normal(3, 2, seed=4)),
    ),
    "unknown duration": (Clocked(HEAT), (K, normal(9), numbers(0.7))),
}


@pytest.mark.parametrize("name", FORMS)
def test_products_of_forms(name):
    equation, q = FORMS[name]
    constant = tuple(part if part.ndim == 1 else part[0] for part in q)
    error, rate = product_errors(equation, normal(2, 9, seed=5), constant)
    assert error < 1e-12
    assert rate == pytest.approx(2.0, abs=0.1)


RUNS = [
    (name, stepper, keep)
    for name in FORMS
    for stepper in STEPPERS
    if stepper != "etdrk2" or name.startswith("A")
    for keep in ((1, 4) if name in ("A in depth", "B and C") else (1,))
]


@pytest.mark.parametrize(("name", "stepper", "keep"), RUNS)
def test_tangent_and_adjoint_are_exact(name, stepper, keep):
    equation, q = FORMS[name]
    error, rate = run_errors(of(equation, stepper, keep=keep), q, normal(2, 9, seed=5))
    assert error < 1e-12
    assert rate == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("stepper", [*STEPPERS.values(), *map(explicit, SCHEMES.values())], ids=lambda s: s.name)
def test_order_in_time(stepper):
    """A mode of the semi-discrete heat equation under a source that grows with time has a closed solution."""
    grid, mode, kappa = interval(0.0, 1.0, 8), 2, 0.05
    rate, wave = kappa * mode_rate(mode, 1.0, 8), cosine_mode(interval(0.0, 1.0, 8).points, 1.0, mode)
    # u' = -rate u + t, u(0) = 1, by linear weights in depth
    exact = (1.0 + 1.0 / rate**2) * math.exp(-rate) + 1.0 / rate - 1.0 / rate**2
    errors = []
    for steps in (8, 16, 32):
        model = ScienceNODE(Heat(grid), DepthGrid(1.0, 1, "linear"), stepper, steps)
        source = torch.cat([0.0 * wave, wave])
        final = model.run((numbers(kappa), source), wave).final
        errors.append(float((final - exact * wave).abs().max()))
    if stepper.name == "etdrk2":  # its quadrature of a source is exact for straight lines
        assert max(errors) < 1e-12
    else:
        assert orders(errors)[-1] == pytest.approx(stepper.order, abs=0.15)


def test_phi_functions_from_series_to_asymptotes():
    z = -(10.0 ** torch.linspace(-12.0, 3.0, 200, dtype=torch.float64))
    phi = phi_functions(torch.cat([z, numbers(0.0)]))
    for k in range(3):
        assert torch.allclose(phi[k][:-1], z * phi[k + 1][:-1] + 1.0 / math.factorial(k), rtol=1e-13, atol=1e-14)
    assert [float(p[-1]) for p in phi] == pytest.approx([1.0, 1.0, 0.5, 1.0 / 6.0], rel=1e-15)
    # phi_2 and phi_3 as integrals: int_0^1 e^{(1-s) z} s^(k-1) / (k-1)! ds, by Gauss-Legendre quadrature
    for value in (-0.3, -0.99, -1.01, -4.0):
        s, w = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(40))
        s, w = 0.5 * (s + 1.0), 0.5 * w
        _, _, second, third = phi_functions(numbers(value))
        assert float(second) == pytest.approx(float((w * torch.exp((1 - s) * value) * s).sum()), rel=1e-13)
        assert float(third) == pytest.approx(float((w * torch.exp((1 - s) * value) * s**2 / 2).sum()), rel=1e-13)


def test_states_that_were_not_kept_are_repeated():
    q, state = FORMS["A"][1], normal(1, 9)
    covector = normal(7, 1, 9, seed=8)
    kept, repeated = (of(HEAT, "sdirk2", keep=keep).run(q, state) for keep in (1, 4))
    assert len(repeated.kept) == 2 < len(kept.kept)
    assert torch.equal(kept.adjoint(covector).states, repeated.adjoint(covector).states)
    with pytest.raises(ConfigError, match="keep=1"):
        _ = repeated.states


def test_errors_say_what_to_do():
    with pytest.raises(NumericalError, match="implicit stepper"):
        of(Heat(interval(0.0, 1.0, 100)), "rk4", length=1e3, cells=150).run(
            (numbers(1.0), torch.zeros(100)), normal(1, 100)
        )
    with pytest.raises(ConfigError, match="SDIRK2"):
        of(Closed(HEAT, 2), "etdrk2").run(FORMS["C"][1], normal(1, 9))
    with pytest.raises(ConfigError, match="multiple of"):
        of(HEAT, "rk4").at(0.1)
    with pytest.raises(ConfigError, match="at least 1"):
        of(HEAT, "rk4", steps=0)
