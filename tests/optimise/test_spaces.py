"""Riesz maps against exact solutions and their own definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from oncology.errors import ConfigError
from oncology.optimise import Blocks, euclidean, h1_by_solve, h1_in_time, product, weighted_l2
from oncology.optimise.spaces import solve_neumann


def neumann_matrix(count: int) -> np.ndarray:
    jumps = np.diff(np.eye(count), axis=0)
    return jumps.T @ jumps


def h1_error(count: int, horizon: float = 3.0, length: float = 0.4) -> float:
    """Largest error of the H1 gradient of cos(2 pi t / T) + 0.3, whose exact value is known."""
    h = horizon / count
    wave = 2.0 * math.pi / horizon
    t = (np.arange(count) + 0.5) * h
    gradient = h1_in_time(h, length).riesz(h * (np.cos(wave * t) + 0.3))
    return float(np.abs(gradient - np.cos(wave * t) / (1.0 + length**2 * wave**2) - 0.3).max())


def test_h1_in_time_converges_to_the_exact_solution_with_the_reference_errors() -> None:
    errors = [h1_error(count) for count in (50, 100, 200)]
    assert [float(f"{error:.1e}") for error in errors] == [3.2e-4, 8.0e-5, 2.0e-5]
    assert np.diff(np.log2(errors)) == pytest.approx([-2.0, -2.0], abs=0.01)


@settings(derandomize=True, deadline=None)
@given(count=st.integers(1, 40), ratio=st.floats(0.0, 1e6), seed=st.integers(0, 2**32 - 1))
def test_the_tridiagonal_solve_solves_and_is_self_adjoint_to_rounding(count: int, ratio: float, seed: int) -> None:
    a, b = np.random.default_rng(seed).standard_normal((2, count, 3))
    solved_a, solved_b = solve_neumann(a, ratio), solve_neumann(b, ratio)
    matrix = np.eye(count) + ratio * neumann_matrix(count)
    assert matrix @ solved_a == pytest.approx(a, abs=1e-13 * (1.0 + ratio) * np.abs(a).max())
    scale = np.linalg.norm(a) * np.linalg.norm(b)
    assert abs(float((solved_a * b).sum() - (a * solved_b).sum())) <= 1e-13 * scale


def test_the_tridiagonal_solve_agrees_with_lapack_and_leaves_its_argument_alone() -> None:
    right = np.random.default_rng(1).standard_normal(300)
    kept = right.copy()
    bands = np.vstack([np.full(300, -2500.0), 1.0 + 2500.0 * np.diag(neumann_matrix(300))])
    assert solve_neumann(right, 2500.0) == pytest.approx(scipy.linalg.solveh_banded(bands, right), abs=1e-12)
    assert np.array_equal(right, kept)


def finite_element_h1(count: int):
    """M + l^2 K of P1 elements on a line, with a dense solve."""
    operator = np.eye(count) / count + 0.3**2 * count * neumann_matrix(count)
    return h1_by_solve(lambda f: np.linalg.solve(operator, f), lambda a: operator @ a)


SPACES = {
    "euclidean": euclidean(),
    "weighted_l2": weighted_l2(np.linspace(0.5, 2.0, 12)),
    "h1_in_time": h1_in_time(0.25, 0.7),
    "h1_by_solve": finite_element_h1(12),
}


@pytest.mark.parametrize("name", SPACES)
def test_the_gradient_represents_the_derivative(name: str) -> None:
    space = SPACES[name]
    derivative, direction = np.random.default_rng(2).standard_normal((2, 12))
    gradient = space.riesz(derivative)
    assert space.inner(gradient, direction) == pytest.approx(space.dual(derivative, direction), rel=1e-12)
    assert space.inner(direction, gradient) == pytest.approx(space.inner(gradient, direction), rel=1e-12)
    assert space.norm(gradient) ** 2 == pytest.approx(space.dual(derivative, gradient), rel=1e-12)


def test_blocks_are_vectors_and_their_space_is_the_sum() -> None:
    rng = np.random.default_rng(3)
    space = product(weighted_l2(np.full(5, 0.2)), euclidean())
    f, d = (Blocks((rng.standard_normal(5), rng.standard_normal(2))) for _ in range(2))
    assert space.inner(space.riesz(f), d) == pytest.approx(space.dual(f, d), rel=1e-13)
    difference = (2.0 * f + d) - f
    assert difference.parts[1] == pytest.approx(f.parts[1] + d.parts[1], rel=1e-13)


def test_totals_over_parts_are_the_products_of_the_whole() -> None:
    a, b = np.random.default_rng(4).standard_normal((2, 10))
    weights = np.linspace(1.0, 2.0, 10)
    whole = weighted_l2(weights).inner(a, b)
    shares: list[float] = []
    for part in (slice(0, 3), slice(3, 10)):
        weighted_l2(weights[part], total=lambda share: shares.append(share) or share).inner(a[part], b[part])
    assert sum(shares) == pytest.approx(whole, rel=1e-14)


def test_an_empty_part_of_a_distributed_vector_counts_as_nothing() -> None:
    assert weighted_l2(np.zeros(0)).inner(np.zeros(0), np.zeros(0)) == 0.0


@pytest.mark.parametrize("make", [lambda: weighted_l2(np.array([1.0, 0.0])), lambda: h1_in_time(0.0, 1.0)])
def test_impossible_inner_products_are_refused(make) -> None:
    with pytest.raises(ConfigError):
        make()


def test_the_sobolev_gradient_of_a_tensor_is_that_of_the_array() -> None:
    torch = pytest.importorskip("torch")
    derivative = np.random.default_rng(6).standard_normal((30, 4, 4))
    space = h1_in_time(0.1, 0.7)
    tensor = torch.from_numpy(derivative)
    assert space.riesz(tensor).numpy() == pytest.approx(space.riesz(derivative), rel=1e-13)
    assert space.norm(tensor) == pytest.approx(space.norm(derivative), rel=1e-13)
