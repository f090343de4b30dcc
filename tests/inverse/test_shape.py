"""Lattice of foci on a closed-form model: values, derivatives of the cost, and a shape that asks for two foci."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import optimize, sparse

from oncology.inverse import shape
from oncology.inverse.forward import CellSpace
from oncology.inverse.misfit import MaskObservation, volume_fraction
from oncology.inverse.shape import FocusLattice, fit_shape, lattice_points, overlap
from tests.inverse.expanding import box

RATES = np.array([0.2, 0.02, 0.03])
GROWTH = 40.0


@dataclass(frozen=True)
class LogisticRun:
    """Every vertex by itself: `u1 = u0 G / (1 - u0 + u0 G)` with the growth G (a `FieldSolution`)."""

    space: CellSpace
    initial: np.ndarray

    @property
    def densities(self) -> tuple[np.ndarray, ...]:
        grown = self.initial * GROWTH / (1.0 - self.initial + self.initial * GROWTH)
        return (grown[self.space.cells],)

    def tangent(self, initial: np.ndarray, rates: np.ndarray) -> tuple[np.ndarray, ...]:
        raise AssertionError("the shape needs adjoints only")

    def adjoint(self, duals: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
        slope = GROWTH / (1.0 - self.initial + self.initial * GROWTH) ** 2
        at_vertices = np.bincount(self.space.cells.ravel(), duals[0].ravel(), minlength=len(self.initial))
        return slope * at_vertices, np.zeros(3)


@dataclass(frozen=True)
class LogisticGrowth:
    space: CellSpace

    def solve(self, initial: np.ndarray, rates: np.ndarray) -> LogisticRun:
        assert rates is RATES
        return LogisticRun(self.space, initial)


def observed(space: CellSpace, initial: np.ndarray) -> tuple[MaskObservation, ...]:
    grown = LogisticRun(space, initial).densities[0]
    rims = {"whole": 0.25, "core": 0.6}
    return tuple(MaskObservation(name, 0, rim, volume_fraction(grown, rim)[0]) for name, rim in rims.items())


def test_basis_is_a_gaussian_of_unit_height_cut_at_four_widths():
    lattice = FocusLattice(np.array([[0.0, 0.0, 0.0], [8.0, 0.0, 0.0]]), 4.0)
    points = np.array([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 8.0, 0.0], [0.0, 0.0, 16.5], [8.0, 0.0, 0.0]])
    basis = lattice.basis(points)
    assert basis.shape == (5, 2)
    wide, edge = np.exp(-0.5), np.exp(-2.0)
    expected = [[1.0, edge], [wide, wide], [edge, np.exp(-4.0)], [0.0, 0.0], [edge, 1.0]]
    np.testing.assert_allclose(basis.toarray(), expected, atol=1e-15)


def test_lattice_does_not_move_with_the_box():
    small = lattice_points(np.array([-10.0, 0.5, 3.0]), np.array([17.0, 9.0, 30.0]), 8.0)
    large = lattice_points(np.full(3, -40.0), np.full(3, 40.0), 8.0)
    assert len(small) == 4 * 1 * 3
    np.testing.assert_array_equal(small % 8.0, 0.0)
    assert {tuple(p) for p in small} <= {tuple(p) for p in large}


def test_overlap_is_dice():
    both, either = overlap(np.array([2.0, 1.0, 3.0]), np.array([1.0, 0.5, 0.0]), np.array([0.5, 1.0, 1.0]))
    assert (both, either) == (2.0 * (1.0 + 0.5), 2.0 * 1.5 + 1.5 + 3.0)


@pytest.mark.parametrize("sharpness", [25.0, None])
def test_gradient_of_the_cost_against_central_differences(monkeypatch, sharpness):
    space = box(16.0, 6)
    lattice = FocusLattice(lattice_points(np.full(3, -8.0), np.full(3, 8.0), 8.0), 4.0)
    basis = lattice.basis(space.points)
    rng = np.random.default_rng(0)
    target = observed(space, basis @ np.exp(rng.uniform(-9.0, -2.0, basis.shape[1])))
    costs = []

    def keep(cost, z, **settings):
        costs.append(cost)
        return optimize.OptimizeResult(x=z, nfev=1)

    monkeypatch.setattr(shape.optimize, "minimize", keep)
    z = rng.uniform(-7.0, -3.0, basis.shape[1])
    fit_shape(
        LogisticGrowth(space), target, RATES, 0.01 * basis[:, [0]].toarray()[:, 0], basis, 3.0, 20.0, z, (sharpness,)
    )
    _, gradient = costs[0](z)
    for k in rng.choice(len(z), 8, replace=False):
        unit = np.eye(len(z))[k]
        difference = (costs[0](z + 1e-5 * unit)[0] - costs[0](z - 1e-5 * unit)[0]) / 2e-5
        assert gradient[k] == pytest.approx(difference, rel=1e-4, abs=1e-6 * np.abs(gradient).max())


def test_two_foci_are_found_where_the_scan_shows_two():
    """The seed explains one ball; the mask shows a second one: foci rise there, and nowhere else above visibility."""
    space = box(28.0, 14)
    main, second = np.array([-12.0, 0.0, 0.0]), np.array([16.0, 0.0, 0.0])

    def ball(centre: np.ndarray) -> np.ndarray:
        return 0.5 * np.exp(-0.5 * ((space.points - centre) ** 2).sum(axis=1) / 3.0**2)

    target = observed(space, ball(main) + ball(second))
    lattice = FocusLattice(lattice_points(np.full(3, -24.0), np.full(3, 24.0), 8.0), 4.0)
    basis = sparse.csr_array(lattice.basis(space.points))
    grown = LogisticRun(space, ball(main)).densities[0]
    alone = sum(space.volumes @ (volume_fraction(grown, o.level)[0] - o.fractions) ** 2 for o in target)
    found = fit_shape(LogisticGrowth(space), target, RATES, ball(main), basis, np.log(GROWTH), 20.0)
    assert found.misfit < 0.3 * alone
    assert found.runs > 2
    strongest = lattice.centres[np.argmax(found.ln_amplitudes)]
    np.testing.assert_array_equal(strongest, second)
    elsewhere = np.linalg.norm(lattice.centres - second, axis=1) > 20.0
    assert (np.exp(found.ln_amplitudes[elsewhere]) * GROWTH < 0.2).all()
