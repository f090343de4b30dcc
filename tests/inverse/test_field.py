"""The field problem without an engine: a linear forward map in numpy, for which everything is known in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from oncology.inverse.field import (
    RATES,
    CellDensity,
    FieldProblem,
    LogPrior,
    Penalty,
    RegionFraction,
    Unknowns,
    VertexDensity,
    joint_space,
    scalar_weights,
)

from oncology.errors import ConfigError, NumericalError
from oncology.inverse.misfit import MaskObservation, volume_fraction
from oncology.model.cells import CellSpace
from oncology.optimise import dot_test, taylor_test, weighted_l2

POINTS = np.cumsum(np.array([0.0, 1.0, 2.0, 0.5, 1.5, 1.0, 3.0, 1.0]))[:, None]
CELLS = np.stack([np.arange(7), np.arange(1, 8)], axis=1)
SPACE = CellSpace(POINTS, CELLS, np.diff(POINTS[:, 0]), lambda values: values)
KNOWN = np.array([0.5, 0.1, 0.012])
PRIORS = (LogPrior("proliferation", 0.01, 0.4), LogPrior("diffusion_white", 0.6, 0.3))
DAYS = (50.0, 120.0)
RNG = np.random.default_rng(7)
BLUR = np.linalg.matrix_power(0.25 * np.eye(8, k=1) + 0.5 * np.eye(8) + 0.25 * np.eye(8, k=-1), 2)
FIELD = RNG.uniform(0.1, 0.6, 8)


@dataclass(frozen=True)
class Grown:
    """u(t) = e^(rho t) (B + D_w t / 100 B^2) phi: linear in the field, not in the rates."""

    initial: np.ndarray
    rates: np.ndarray

    def _map(self, day: float) -> np.ndarray:
        return np.exp(self.rates[2] * day) * (BLUR + self.rates[0] * day / 100.0 * BLUR @ BLUR)

    @property
    def densities(self) -> tuple[np.ndarray, ...]:
        return tuple((self._map(day) @ self.initial)[CELLS] for day in DAYS)

    def _by_rates(self, day: float) -> np.ndarray:
        by_white = np.exp(self.rates[2] * day) * day / 100.0 * BLUR @ BLUR @ self.initial
        return np.stack([by_white, 0.0 * by_white, day * self._map(day) @ self.initial], axis=1)

    def tangent(self, initial: np.ndarray, rates: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple((self._map(day) @ initial + self._by_rates(day) @ rates)[CELLS] for day in DAYS)

    def adjoint(self, duals: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
        sums = [np.bincount(CELLS.ravel(), dual.ravel(), minlength=8) for dual in duals]
        by_field = sum(self._map(day).T @ s for day, s in zip(DAYS, sums, strict=True))
        return by_field, sum(self._by_rates(day).T @ s for day, s in zip(DAYS, sums, strict=True))


class Forward:
    space = SPACE

    def solve(self, initial: np.ndarray, rates: np.ndarray) -> Grown:
        return Grown(initial, rates)


CELL_DATA = CellDensity(0, RNG.uniform(0.0, 1.0, 7))
VERTEX_DATA = VertexDensity(1, RNG.uniform(0.0, 1.0, 8)[CELLS])
MASK_DATA = RegionFraction(MaskObservation("whole", 1, 0.4, RNG.uniform(0.0, 1.0, 7)), 5.0)
PENALTY = Penalty(0.3, lambda field: 2.0 * field)


def problem(priors: tuple[LogPrior, ...] = PRIORS, penalty: Penalty | None = PENALTY, *data) -> FieldProblem:
    data = data or (CELL_DATA, VERTEX_DATA, MASK_DATA)
    return FieldProblem(Forward(), data, Unknowns(KNOWN, priors), penalty, noise=0.7)


@pytest.mark.parametrize("data", [CELL_DATA, VERTEX_DATA, MASK_DATA, None], ids=["cells", "vertices", "mask", "all"])
def test_the_derivative_has_taylor_rate_two(data):
    some = problem() if data is None else problem(PRIORS, PENALTY, data)
    x = np.concatenate([FIELD, [0.3, -0.2]])
    direction = np.random.default_rng(1).standard_normal(10)
    slope = float(some.evaluate(x).derivative() @ direction)
    result = taylor_test(lambda y: some.evaluate(y).value, x, 0.1 * direction, slope=0.1 * slope)
    assert min(result.rates[-3:]) > 1.95


def test_the_curvature_is_exact_where_the_map_is_linear():
    some = problem((), PENALTY, CELL_DATA, VERTEX_DATA)
    direction = np.random.default_rng(2).standard_normal(8)
    here = some.evaluate(FIELD)
    curvature = here.tangent(direction).curvature
    result = taylor_test(
        lambda y: some.evaluate(y).value, FIELD, direction, here.derivative() @ direction, curvature, precision=1e-12
    )
    assert result.rate == np.inf


def test_the_normal_operator_is_symmetric_and_positive():
    some = problem()
    here = some.evaluate(np.concatenate([FIELD, [0.3, -0.2]]))
    a, b = np.random.default_rng(3).standard_normal((2, 10))
    assert dot_test(here.normal, here.normal, a, b, np.dot, np.dot).error < 1e-13
    assert here.normal(a) @ a > 0.0


def test_value_is_the_negative_log_posterior_times_the_noise():
    x = np.concatenate([FIELD, [0.3, -0.2]])
    here = problem(PRIORS, PENALTY, CELL_DATA).evaluate(x)
    rates = np.array([0.6 * np.exp(0.3 * -0.2), 0.1, 0.01 * np.exp(0.4 * 0.3)])
    miss = Grown(FIELD, rates).densities[0].mean(axis=1) - CELL_DATA.values
    squared = SPACE.volumes @ miss**2
    assert here.residual == pytest.approx(np.sqrt(squared))
    assert here.value == pytest.approx(0.5 * (squared + 0.3 * 2.0 * FIELD @ FIELD + 0.7 * (0.09 + 0.04)))


def test_the_misfit_of_a_constant_difference_is_the_volume_of_the_domain():
    """An integral: cells and vertices give the same, however the volumes differ."""
    ones = np.ones(8)
    for data in (CellDensity(0, np.zeros(7)), VertexDensity(0, np.zeros((7, 2)))):
        some = problem((), None, data)
        seen = data.compare(ones[CELLS])
        assert (some.weights(seen.residual) * seen.residual**2).sum() == pytest.approx(POINTS[-1, 0])


def test_regions_on_tetrahedra_take_the_exact_fraction():
    densities = np.random.default_rng(9).uniform(0.0, 1.0, (20, 4))
    fractions = np.random.default_rng(10).uniform(0.0, 1.0, 20)
    seen = RegionFraction(MaskObservation("core", 0, 0.6, fractions)).compare(densities)
    exact, slopes = volume_fraction(densities, 0.6)
    assert seen.residual == pytest.approx((exact - fractions)[:, None])
    assert seen.slopes == pytest.approx(slopes[:, None, :])


def test_the_joint_inner_product_represents_derivatives():
    some = problem()
    space = joint_space(weighted_l2(np.full(8, 2.0)), some.unknowns, np.array([3.0, 5.0]))
    f, d = np.random.default_rng(4).standard_normal((2, 10))
    assert space.inner(space.riesz(f), d) == pytest.approx(space.dual(f, d))
    assert space.dual(f, d) == pytest.approx(f @ d)
    assert space.riesz(f) == pytest.approx(f / np.array([2.0] * 8 + [3.0, 5.0]))


def test_scalar_weights_follow_priors_and_data():
    some = problem(PRIORS, None, CELL_DATA)
    squared = SPACE.volumes @ CELL_DATA.values**2
    assert scalar_weights(some, 3.0) == pytest.approx((np.array([0.4, 0.3]) ** 2 * squared + 0.7) / 9.0)


def test_unknowns_join_and_split():
    unknowns = Unknowns(KNOWN, PRIORS)
    x = unknowns.join(FIELD, np.array([0.5, -1.0]))
    field, standard = unknowns.split(x)
    assert np.array_equal(field, FIELD) and np.array_equal(standard, [0.5, -1.0])
    assert unknowns.physical(standard) == pytest.approx([0.6 * np.exp(-0.3), 0.1, 0.01 * np.exp(0.2)])
    assert unknowns.physical(np.zeros(2))[RATES.index("proliferation")] == pytest.approx(0.01)
    with pytest.raises(NumericalError, match="proliferation"):
        unknowns.physical(np.array([20.0, 0.0]))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: LogPrior("onset", 1.0, 1.0),
        lambda: LogPrior("proliferation", 0.0, 1.0),
        lambda: LogPrior("proliferation", 0.01, -1.0),
        lambda: RegionFraction(MASK_DATA.mask).compare(FIELD[CELLS]),
    ],
    ids=["name", "median", "deviation", "exact fraction"],
)
def test_mistakes_end_in_one_line(wrong):
    with pytest.raises(ConfigError) as caught:
        wrong()
    assert "\n" not in str(caught.value)
