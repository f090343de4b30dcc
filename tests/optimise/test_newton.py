"""Newton-CG and leading modes against dense linear algebra."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import scipy.linalg

from oncology.errors import NumericalError
from oncology.optimise.newton import NewtonSettings, leading_modes, newton_cg
from oncology.optimise.state import Status

SIZE = 30
RNG = np.random.default_rng(3)
ROOT = RNG.standard_normal((12, SIZE))
DATA = RNG.standard_normal(12)
SPREAD = np.diag(np.exp(RNG.uniform(-1.0, 1.0, SIZE))) + 0.3 * np.eye(SIZE, k=1) + 0.3 * np.eye(SIZE, k=-1)
PRECISION = SPREAD @ SPREAD.T


@dataclass(frozen=True)
class Bent:
    """Residuals `A x + bend (A x)^3 - d`, whose Gauss-Newton matrix is positive everywhere."""

    x: np.ndarray
    bend: float

    @property
    def _seen(self) -> np.ndarray:
        return ROOT @ self.x

    @property
    def value(self) -> float:
        residual = self._seen + self.bend * self._seen**3 - DATA
        return 0.5 * float(residual @ residual + self.x @ PRECISION @ self.x)

    def derivative(self) -> np.ndarray:
        residual = self._seen + self.bend * self._seen**3 - DATA
        slope = 1.0 + 3.0 * self.bend * self._seen**2
        return ROOT.T @ (slope * residual) + PRECISION @ self.x

    def data_normal(self, direction: np.ndarray) -> np.ndarray:
        slope = 1.0 + 3.0 * self.bend * self._seen**2
        return ROOT.T @ (slope**2 * (ROOT @ direction))


def run(bend: float, start: np.ndarray, **settings):
    return newton_cg(
        lambda x: Bent(x, bend),
        start,
        lambda v: PRECISION @ v,
        lambda d: np.linalg.solve(PRECISION, d),
        lambda a, b: float(a @ b),
        NewtonSettings(**settings),
    )


def test_a_quadratic_is_solved_exactly():
    found = run(0.0, np.zeros(SIZE), relative_gradient=1e-10, relative_decrease=0.0)
    exact = np.linalg.solve(ROOT.T @ ROOT + PRECISION, ROOT.T @ DATA)
    assert found.status is Status.CONVERGED
    np.testing.assert_allclose(found.x, exact, atol=1e-8)


def test_a_bent_cost_falls_at_every_step_to_a_zero_gradient():
    start = RNG.standard_normal(SIZE)
    found = run(0.3, start, relative_gradient=1e-10, relative_decrease=0.0, max_iterations=60)
    assert found.status is Status.CONVERGED
    assert list(found.values) == sorted(found.values, reverse=True) and len(found.values) > 3
    first, last = (np.linalg.norm(Bent(x, 0.3).derivative()) for x in (start, found.x))
    assert last < 1e-9 * first


def test_trials_that_cannot_be_computed_are_shortened():
    tried = []

    def evaluate(x: np.ndarray) -> Bent:
        tried.append(x)
        if len(tried) == 2:
            raise NumericalError("too far")
        return Bent(x, 0.0)

    found = newton_cg(
        evaluate, np.zeros(SIZE), lambda v: PRECISION @ v, lambda d: np.linalg.solve(PRECISION, d), np.dot
    )
    np.testing.assert_allclose(tried[2], 0.5 * tried[1])
    assert found.status is Status.CONVERGED


def test_modes_are_those_of_the_generalised_eigenproblem():
    normal = ROOT.T @ ROOT
    values, modes = leading_modes(
        lambda v: normal @ v,
        lambda v: PRECISION @ v,
        lambda d: np.linalg.solve(PRECISION, d),
        lambda a, b: float(a @ b),
        RNG.standard_normal(SIZE),
        most=25,
    )
    exact = scipy.linalg.eigh(normal, PRECISION, eigvals_only=True)[::-1]
    np.testing.assert_allclose(values[:10], exact[:10], rtol=1e-8)
    np.testing.assert_allclose(modes[:, :10].T @ PRECISION @ modes[:, :10], np.eye(10), atol=1e-8)
    for value, mode in zip(values[:10], modes.T, strict=False):
        np.testing.assert_allclose(normal @ mode, value * PRECISION @ mode, atol=1e-6 * values[0])
    assert len(values) <= 15, "twelve rows of data have twelve modes"


@pytest.mark.parametrize("most", [1, 4])
def test_few_products_give_few_modes(most):
    values, modes = leading_modes(
        lambda v: 3.0 * v, lambda v: v, lambda d: d, lambda a, b: float(a @ b), np.ones(5), most
    )
    assert values == pytest.approx([3.0])
    assert modes.shape == (5, 1)
