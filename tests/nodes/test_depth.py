"""Weights as functions of depth: inner products against exact integrals, refinement."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oncology.errors import ConfigError
from oncology.nodes.depth import DepthGrid, depth_space, prolong, smooth_weights
from oncology.nodes.scheme import SCHEMES
from oncology.optimise import dot_test, h1_in_time
from tests.nodes.nets import generator, like, net

KINDS = ("constant", "linear")


@pytest.mark.parametrize("smoothing", [0.0, 0.3, 4.0])
def test_on_constant_weights_it_is_the_tridiagonal_space(smoothing):
    grid = DepthGrid(3.0, 40)
    dense, sparse = depth_space(grid, smoothing), h1_in_time(grid.step, smoothing)
    f, d = like(torch.empty(40, 3, 2), 0), like(torch.empty(40, 3, 2), 1)
    assert torch.allclose(dense.riesz(f), sparse.riesz(f), rtol=1e-11, atol=1e-11)
    assert dense.inner(f, d) == pytest.approx(sparse.inner(f, d), rel=1e-11)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("smoothing", [0.0, 0.7])
def test_riesz_is_the_inverse_of_the_inner_product_and_self_adjoint(kind, smoothing):
    space = depth_space(DepthGrid(2.0, 23, kind), smoothing)
    shape = torch.empty(DepthGrid(2.0, 23, kind).nodes, 4)
    f, d = like(shape, 0), like(shape, 1)
    assert space.inner(space.riesz(f), d) == pytest.approx(space.dual(f, d), rel=1e-12)
    assert space.dual(f, space.riesz(d)) == pytest.approx(space.dual(d, space.riesz(f)), rel=1e-12)


def test_linear_weights_have_the_h1_gradient_of_a_cosine_to_second_order():
    """v - l^2 v'' = cos(2 pi t / T) + 0.3 with natural ends."""
    length, smoothing = 3.0, 0.4
    wave, errors = 2.0 * math.pi / length, []
    for cells in (50, 100, 200):
        grid = DepthGrid(length, cells, "linear")
        t = grid.times[:, None]
        source = grid.mass() @ (torch.cos(wave * t) + 0.3)
        exact = torch.cos(wave * t) / (1.0 + (smoothing * wave) ** 2) + 0.3
        errors.append(float((depth_space(grid, smoothing).riesz(source) - exact).abs().max()))
    assert np.diff(np.log2(errors)) == pytest.approx([-2.0, -2.0], abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_inner_products_are_integrals(kind):
    """Of t and 1 + t on (0, 2): int t (1 + t) = 14/3, and int 1 for the derivatives where weights are linear."""
    grid = DepthGrid(2.0, 400, kind)
    t = grid.times[:, None]
    assert depth_space(grid).inner(t, 1.0 + t) == pytest.approx(14.0 / 3.0, rel=1e-5)
    with_slope = depth_space(grid, 0.5).inner(t, 1.0 + t)
    assert with_slope == pytest.approx(14.0 / 3.0 + 0.25 * 2.0, rel=3e-3 if kind == "constant" else 1e-5)


@pytest.mark.parametrize("kind", KINDS)
@given(cells=st.integers(1, 9), factor=st.integers(1, 5), seed=st.integers(0, 1000))
def test_refinement_keeps_the_function_and_its_norm(kind, cells, factor, seed):
    grid = DepthGrid(1.7, cells, kind)
    fine = grid.refined(factor)
    theta = like(torch.empty(grid.nodes, 3, 2), seed)
    finer = prolong(theta, grid, fine)
    assert len(finer) == fine.nodes
    assert depth_space(fine).inner(finer, finer) == pytest.approx(depth_space(grid).inner(theta, theta), rel=1e-12)
    # the same stages read the same weights: `factor` steps in a coarse cell are one step in a fine one
    coarse_view = grid.interpolation(factor, (0.0, 0.5)).push(theta)
    assert torch.allclose(fine.interpolation(1, (0.0, 0.5)).push(finer), coarse_view, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_refinement_keeps_the_network(kind, scheme):
    coarse = net(kind=kind, scheme=scheme, steps=3)
    fine = net(kind=kind, scheme=scheme, cells=21)
    theta, state = coarse.initial(generator(), 0.8), like(torch.empty(5, 4))
    finer = prolong(theta, coarse.grid, fine.grid)
    assert torch.allclose(fine.run(finer, state).final, coarse.run(theta, state).final, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_reading_weights_at_stages_has_its_transpose(kind, scheme):
    reading = DepthGrid(2.0, 5, kind).interpolation(2, scheme.c)
    theta, dual = like(torch.empty(reading.nodes, 3), 0), like(torch.empty(10 * scheme.stages, 3), 1)
    inner = lambda a, b: float((a * b).sum())  # noqa: E731
    assert dot_test(reading.push, reading.pull, theta, dual, inner, inner).error < 1e-14


def test_initial_weights_are_normal_at_whole_depths_and_smooth_between():
    grid = DepthGrid(3.0, 300)
    theta = smooth_weights(grid, (60, 60), generator(5), 0.5)
    near_knot = theta[100]  # depth 1.005
    assert float(near_knot.std()) == pytest.approx(0.5, rel=0.05)
    jumps = (theta[1:] - theta[:-1]).abs().max()
    assert float(jumps) < 0.1 * float(theta.abs().max())
    assert torch.equal(theta, smooth_weights(grid, (60, 60), generator(5), 0.5))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: DepthGrid(0.0, 3), "length > 0"),
        (lambda: DepthGrid(1.0, 0), "at least one cell"),
        (lambda: DepthGrid(1.0, 3, "cubic"), "'constant' or 'linear'"),
        (lambda: depth_space(DepthGrid(1.0, 3), -1.0), "smoothing length -1"),
        (lambda: prolong(torch.zeros(4), DepthGrid(1.0, 4), DepthGrid(1.0, 6)), "refine by a whole factor"),
    ],
)
def test_what_cannot_be_is_refused(wrong, words):
    with pytest.raises(ConfigError, match=words):
        wrong()
