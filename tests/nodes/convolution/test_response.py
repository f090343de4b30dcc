"""Frequency response, propagated noise and growth bounds of a convolutional NODE against the network itself."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oncology.errors import ConfigError
from oncology.nodes.convolution.convolutional import ConvolutionalNODE
from oncology.nodes.convolution.kernel_basis import GaussianDerivatives
from oncology.nodes.convolution.pooling import HeatFlow
from oncology.nodes.convolution.response import frequency_response, growth_bound, propagate_noise
from oncology.nodes.convolution.torus import Torus
from oncology.nodes.depth import DepthGrid
from tests.nodes.nets import generator, like

TORUS = Torus((8, 8), (1.0, 1.0))


def network(pooling=None):
    basis = GaussianDerivatives((0.1,), 2)
    return ConvolutionalNODE(2, DepthGrid(1.0, 6), basis, (0,), (1,), pooling=pooling or {})


def test_the_frequency_response_is_what_a_small_wave_becomes():
    model = network()
    theta, background = model.initial(generator(), 1.0), torch.tensor([0.3, -0.2], dtype=torch.float64)
    response = frequency_response(model, theta, TORUS, background)
    constant = background.reshape(1, 2, 1, 1).expand(1, 2, 8, 8)
    run = model.run(theta, constant.contiguous(), TORUS)
    wave = like(torch.empty(1, 2, 8, 8))
    expected = torch.einsum("foi,kif->kof", response, TORUS.forward(wave))
    assert torch.allclose(TORUS.forward(run.tangent(None, wave).final), expected, atol=1e-12)


def test_propagated_noise_is_the_trace_of_the_jacobian():
    model = network({2: HeatFlow(0.002)})
    theta = model.initial(generator(), 1.0)
    run = model.run(theta, model.embed(like(torch.empty(1, 1, 8, 8))), TORUS)
    unit = torch.eye(64, dtype=torch.float64).reshape(64, 1, 1, 8, 8)
    exact = sum(float((model.read(run.tangent(None, model.embed(e)).final) ** 2).sum()) for e in unit)
    found = propagate_noise(model, run, generator(1), samples=400)
    assert abs(found.variance - exact) < 4.0 * found.error
    assert found.error < 0.1 * exact


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.05, 1.5))
def test_no_two_images_part_faster_than_the_bound(seed, scale):
    model = network()
    theta = model.initial(generator(seed), scale)
    bound = growth_bound(model, theta, TORUS)
    first, second = like(torch.empty(2, 1, 2, 8, 8), seed + 1)
    apart = (model.run(theta, first, TORUS).final - model.run(theta, second, TORUS).final).norm()
    assert float(apart) <= bound * float((first - second).norm()) * (1.0 + 1e-12)
    assert bound <= math.exp(sum(_symbol_norms(model, theta))) * (1.0 + 1e-12)


def _symbol_norms(model, theta):
    run = model.run(theta, torch.zeros(1, 2, 8, 8, dtype=torch.float64), TORUS)
    return [model.grid.step * float(torch.linalg.matrix_norm(s.symbol, 2).max()) for s in run.stages]


def test_what_cannot_be_said_is_refused():
    model = network({1: HeatFlow(0.1)})
    theta = model.initial(generator())
    with pytest.raises(ConfigError, match="no pooling"):
        growth_bound(model, theta, TORUS)
    with pytest.raises(ConfigError, match="propagate noise instead"):
        frequency_response(model, theta, TORUS, torch.zeros(2, dtype=torch.float64))
    run = model.run(theta, torch.zeros(1, 2, 8, 8, dtype=torch.float64), TORUS)
    with pytest.raises(ConfigError, match="at least 2"):
        propagate_noise(model, run, generator(), samples=1)
