"""The field problem without finite elements: a linear engine in numpy, for which everything is known in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from oncology.errors import ConfigError, NumericalError
from oncology.inverse.maps import Change, Inputs
from oncology.inverse.misfit import CellDensity, MaskObservation, Observation, VertexDensity
from oncology.inverse.problem import InverseProblem
from oncology.inverse.rates import LogPrior, RatesMap
from oncology.inverse.reconstruct import FieldSettings, initial_problem, joint_space, reconstruct_initial
from oncology.model.cells import CellSpace
from oncology.model.tumour import Tumour, TumourChange
from oncology.optimise import ConjugateGradient, Fixed, dot_test, taylor_test, weighted_l2, zero

POINTS = np.cumsum(np.array([0.0, 1.0, 2.0, 0.5, 1.5, 1.0, 3.0, 1.0]))[:, None]
CELLS = np.stack([np.arange(7), np.arange(1, 8)], axis=1)
SPACE = CellSpace(POINTS, CELLS, np.diff(POINTS[:, 0]))
LUMPED = SPACE.from_cells(np.repeat(0.5 * SPACE.volumes[:, None], 2, axis=1))
KNOWN = Tumour(0.5, 0.1, 0.012, seed=(0.0,), onset=0.0)
PRIORS = (LogPrior("proliferation", 0.01, 0.4), LogPrior("diffusion_white", 0.6, 0.3))
DAYS = (50.0, 120.0)
RNG = np.random.default_rng(7)
BLUR = np.linalg.matrix_power(0.25 * np.eye(8, k=1) + 0.5 * np.eye(8) + 0.25 * np.eye(8, k=-1), 2)
FIELD = RNG.uniform(0.1, 0.6, 8)
X = np.concatenate([[0.3, -0.2], FIELD])


@dataclass(frozen=True)
class Grown:
    """u(t) = e^(rho t) (B + D_w t / 100 B^2) phi: linear in the field, not in the rates."""

    tumour: Tumour
    extremes: tuple[float, float] = (0.0, 1.0)
    notes: tuple[str, ...] = ()

    def map(self, day: float) -> np.ndarray:
        return np.exp(self.tumour.proliferation * day) * (
            BLUR + self.tumour.diffusion_white * day / 100.0 * BLUR @ BLUR
        )

    def by_rates(self, day: float) -> np.ndarray:
        field = self.tumour.initial
        by_white = np.exp(self.tumour.proliferation * day) * day / 100.0 * BLUR @ BLUR @ field
        return np.stack([by_white, 0.0 * by_white, day * self.map(day) @ field], axis=1)

    @property
    def densities(self) -> tuple[np.ndarray, ...]:
        return tuple(self.map(day) @ self.tumour.initial for day in DAYS)


class Lumped:
    """`A = mass M_L`."""

    lumped_mass = LUMPED

    def __init__(self, mass: float) -> None:
        self.mass = mass

    def apply(self, values: np.ndarray) -> np.ndarray:
        return self.mass * LUMPED * values

    def solve(self, dual: np.ndarray) -> np.ndarray:
        return dual / (self.mass * LUMPED)

    def destroy(self) -> None:
        pass


class Linear:
    """The engine."""

    space = SPACE

    def plan(self, tumour: Tumour, days: Sequence[float]) -> None:
        assert tuple(days) == DAYS

    def run(self, tumour: Tumour, plan: None, keep: bool = True, record=None) -> Grown:
        return Grown(tumour)

    def tangent(self, run: Grown, changes: Sequence[TumourChange]) -> tuple[np.ndarray, ...]:
        moved = [(0.0 if c.initial is None else c.initial, c.values[:3]) for c in changes]
        return tuple(
            np.array([run.map(d) @ (field + np.zeros(8)) + run.by_rates(d) @ p for field, p in moved]) for d in DAYS
        )

    def adjoint(self, run: Grown, duals: Sequence[np.ndarray]) -> TumourChange:
        by_field = sum(run.map(day).T @ s for day, s in zip(DAYS, duals, strict=True))
        by_rates = sum(run.by_rates(day).T @ s for day, s in zip(DAYS, duals, strict=True))
        return TumourChange(*map(float, by_rates), seed=(0.0,), initial=by_field)

    def elliptic(self, stiffness: float, mass: float, boundary: float = 0.0) -> Lumped:
        assert stiffness == boundary == 0.0
        return Lumped(mass)

    def destroy(self) -> None:
        pass


class Doubled(Lumped):
    """The penalty's operator, A = 2."""

    def apply(self, values: np.ndarray) -> np.ndarray:
        return 2.0 * values


CELL_DATA = CellDensity(0, RNG.uniform(0.0, 1.0, 7))
VERTEX_DATA = VertexDensity(1, RNG.uniform(0.0, 1.0, 8)[CELLS])
MASK_DATA = MaskObservation("whole", 1, 0.4, RNG.uniform(0.0, 1.0, 7))
NOISE = 0.7


def problem(priors: tuple[LogPrior, ...] = PRIORS, penalty: float = 0.3, *data: Observation) -> InverseProblem:
    settings = FieldSettings(priors=priors, penalty=penalty, noise=NOISE, sharpness=5.0)
    return initial_problem(Linear(), KNOWN, DAYS, data or (CELL_DATA, VERTEX_DATA, MASK_DATA), settings, Doubled(1.0))


@pytest.mark.parametrize("data", [CELL_DATA, VERTEX_DATA, MASK_DATA, None], ids=["cells", "vertices", "mask", "all"])
def test_the_derivative_has_taylor_rate_two(data):
    some = problem() if data is None else problem(PRIORS, 0.3, data)
    direction = np.random.default_rng(1).standard_normal(10)
    slope = float(some.evaluate(X).derivative() @ direction)
    result = taylor_test(lambda y: some.evaluate(y).value, X, 0.1 * direction, slope=0.1 * slope)
    assert min(result.rates[-3:]) > 1.95


def test_the_curvature_is_exact_where_the_map_is_linear():
    some = problem((), 0.3, CELL_DATA, VERTEX_DATA)
    direction = np.random.default_rng(2).standard_normal(8)
    here = some.evaluate(FIELD)
    curvature = here.tangent(direction).curvature
    result = taylor_test(
        lambda y: some.evaluate(y).value, FIELD, direction, here.derivative() @ direction, curvature, precision=1e-12
    )
    assert result.rate == np.inf


def test_the_normal_operator_is_symmetric_and_positive():
    here = problem().evaluate(X)
    a, b = np.random.default_rng(3).standard_normal((2, 10))
    assert dot_test(here.data_normal, here.data_normal, a, b, np.dot, np.dot).error < 1e-13
    assert here.data_normal(a) @ a > 0.0


def test_value_is_the_negative_log_posterior():
    here = problem(PRIORS, 0.3, CELL_DATA).evaluate(X)
    rates = replace(
        KNOWN, diffusion_white=0.6 * np.exp(0.3 * -0.2), proliferation=0.01 * np.exp(0.4 * 0.3), initial=FIELD
    )
    miss = SPACE.to_cells(Grown(rates).densities[0]).mean(axis=1) - CELL_DATA.values
    squared = SPACE.volumes @ miss**2
    assert here.residual == pytest.approx(np.sqrt(squared))
    assert NOISE * here.value == pytest.approx(0.5 * (squared + 0.3 * 2.0 * FIELD @ FIELD + NOISE * (0.09 + 0.04)))


def test_the_misfit_of_a_constant_difference_is_the_volume_of_the_domain():
    """An integral: cells and vertices give the same, however the volumes differ."""
    ones = np.ones(8)
    for data in (CellDensity(0, np.zeros(7)), VertexDensity(0, np.zeros((7, 2)))):
        some = problem((), 0.0, data)
        seen = data.compare(ones[CELLS])
        assert (some.weights(seen) * seen.residual**2).sum() == pytest.approx(POINTS[-1, 0] - POINTS[0, 0])


def test_the_joint_inner_product_represents_derivatives():
    space = joint_space(weighted_l2(np.full(8, 2.0)), 2, np.array([3.0, 5.0]))
    f, d = np.random.default_rng(4).standard_normal((2, 10))
    assert space.inner(space.riesz(f), d) == pytest.approx(space.dual(f, d))
    assert space.dual(f, d) == pytest.approx(f @ d)
    assert space.riesz(f) == pytest.approx(f / np.array([3.0, 5.0] + [2.0] * 8))


@pytest.mark.parametrize("noise", [0.7, 3.0])
def test_first_step_is_the_gradient_of_s_J_with_weights_by_priors_and_data(noise):
    """One step of Landweber's iteration from zero: `omega M_L^-1 s J'` in the field, weighted log-rates beside it."""
    settings = FieldSettings(
        priors=PRIORS,
        noise=noise,
        bounds=None,
        direction=ConjugateGradient(zero),
        step=Fixed(1e-4),
        max_iterations=1,
    )
    started = initial_problem(Linear(), KNOWN, DAYS, (CELL_DATA,), settings, start=0.1 * FIELD)
    derivative = noise * started.evaluate(started.unknowns.start).derivative()
    found = reconstruct_initial(Linear(), KNOWN, DAYS, (CELL_DATA,), None, settings, start=0.1 * FIELD)
    np.testing.assert_allclose(0.1 * FIELD - found.initial, 1e-4 * derivative[2:] / LUMPED, rtol=1e-9)
    squared, growth = SPACE.volumes @ CELL_DATA.values**2, np.exp(0.012 * 120.0)
    weights = (np.array([0.4, 0.3]) ** 2 * squared + noise) / growth**2
    moved = -1e-4 * derivative[:2] / weights
    assert found.tumour.proliferation == pytest.approx(0.01 * np.exp(0.4 * moved[0]), rel=1e-9)
    assert found.tumour.diffusion_white == pytest.approx(0.6 * np.exp(0.3 * moved[1]), rel=1e-9)
    assert found.tumour.diffusion_grey == 0.1
    assert abs(moved).min() > 1e-6


def test_rates_are_standardised_logarithms():
    unknowns = RatesMap(KNOWN, PRIORS)
    found = unknowns.apply(np.array([0.5, -1.0]), Inputs(KNOWN)).tumour
    assert found.values[:3] == pytest.approx([0.6 * np.exp(-0.3), 0.1, 0.01 * np.exp(0.2)])
    assert unknowns.apply(unknowns.start, Inputs(KNOWN)).tumour.proliferation == pytest.approx(0.01)
    moved = unknowns.tangent(np.array([0.5, -1.0]), np.array([2.0, 3.0])).tumour.values[:3]
    assert moved == pytest.approx([0.3 * 3.0 * found.diffusion_white, 0.0, 0.4 * 2.0 * found.proliferation])
    dual = Change(TumourChange(5.0, 6.0, 7.0, seed=(0.0,)))
    transposed = [0.4 * 7.0 * found.proliferation, 0.3 * 5.0 * found.diffusion_white]
    assert unknowns.adjoint(np.array([0.5, -1.0]), dual) == pytest.approx(transposed)
    with pytest.raises(NumericalError, match="proliferation"):
        unknowns.apply(np.array([20.0, 0.0]), Inputs(KNOWN))


def test_the_vector_is_rates_then_field():
    inputs = problem().inputs(X)
    assert np.array_equal(inputs.tumour.initial, FIELD)
    assert inputs.tumour.proliferation == pytest.approx(0.01 * np.exp(0.4 * 0.3))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: LogPrior("onset", 1.0, 1.0),
        lambda: LogPrior("proliferation", 0.0, 1.0),
        lambda: LogPrior("proliferation", 0.01, -1.0),
        lambda: initial_problem(Linear(), KNOWN, DAYS, (MASK_DATA,), FieldSettings()).evaluate(FIELD),
    ],
    ids=["name", "median", "deviation", "exact fraction"],
)
def test_mistakes_end_in_one_line(wrong):
    with pytest.raises(ConfigError) as caught:
        wrong()
    assert "\n" not in str(caught.value)
