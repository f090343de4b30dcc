"""Grids: the transforms are orthogonal and make the Laplacian diagonal, the stencil holds all of the Jacobian."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oncology.errors import ConfigError
from oncology.science.grid import Axis, Grid, interval, square
from tests.science.small import normal, orders

WALLS = st.sampled_from(["noflux", "periodic", "fixed"])


@given(WALLS, WALLS, st.integers(3, 8), st.integers(3, 8))
def test_the_laplacian_is_diagonal_in_its_modes(first, second, m, n):
    grid = Grid((Axis(0.0, 1.3, m, first), Axis(-1.0, 2.0, n, second)))
    u = normal(4, grid.size)
    assert torch.allclose(grid.values(grid.modes(u)), u, atol=1e-13)
    assert grid.modes(u).norm() == pytest.approx(float(u.norm()), rel=1e-13)
    image = grid.values(grid.laplacian_eigenvalues * grid.modes(u))
    assert torch.allclose(image, grid.laplacian(u), rtol=1e-11, atol=1e-10)
    matrix = grid.laplacian(torch.eye(grid.size, dtype=torch.float64)).numpy()
    assert not matrix[grid.pattern.toarray() == 0].any()
    assert torch.allclose(grid.weights.sum(), torch.tensor(3.9, dtype=torch.float64))


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
def test_differences_are_of_second_order(boundary):
    """cos x between walls at 0 and 2 pi has no flux there and is periodic."""
    slopes, laplacians = [], []
    for cells in (20, 40, 80):
        grid = interval(0.0, 2.0 * math.pi, cells, boundary)
        x = grid.points[:, 0]
        slopes.append(float((grid.slope(torch.cos(x)[None]) + torch.sin(x)).abs().max()))
        laplacians.append(float((grid.laplacian(torch.cos(x)[None]) + torch.cos(x)).abs().max()))
    assert orders(slopes) == pytest.approx([2.0, 2.0], abs=0.02)
    assert orders(laplacians) == pytest.approx([2.0, 2.0], abs=0.02)


def test_fixed_walls_hold_their_values():
    """The stationary state between walls at 1 and 3 is the straight line."""
    grid = interval(0.0, 4.0, 10, "fixed", (1.0, 3.0))
    line = (1.0 + 0.5 * grid.points[:, 0])[None]
    assert grid.laplacian(line).abs().max() < 1e-13


def test_the_divergence_of_fluxes_through_faces_conserves():
    grid = square(0.0, 1.0, 6)
    flux = normal(2, 6, 7)
    flux[..., 0] = flux[..., -1] = 0.0
    total = grid.divergence(flux, 1) @ grid.weights
    assert total.abs().max() < 1e-14


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Axis(1.0, 0.0, 5), "from 1 to 0"),
        (lambda: Axis(0.0, 1.0, 5, "robin"), "'noflux', 'periodic' or 'fixed'"),
    ],
)
def test_errors_say_what_to_take(wrong, words):
    with pytest.raises(ConfigError, match=words):
        wrong()
