"""Correction of the shape on a closed-form model: values, derivatives of the cost, a scan that shows two balls."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import optimize

from oncology.inverse.maps import Change, Inputs
from oncology.inverse.misfit import MaskObservation
from oncology.inverse.shape import GaussianLattice, LatticeMap, fit_shape, lattice_points, overlap, reshaped
from oncology.model.cells import CellSpace
from oncology.model.fractions import volume_fraction
from oncology.model.tumour import Tumour, TumourChange
from tests.inverse.expanding import box

TUMOUR = Tumour(0.2, 0.02, 0.03, (0.0, 0.0, 0.0), -30.0)
GROWTH = 40.0
DAYS = (0.0,)


@dataclass(frozen=True)
class LogisticRun:
    """Every vertex by itself: `u1 = u0 G / (1 - u0 + u0 G)` with the growth G."""

    tumour: Tumour
    extremes: tuple[float, float] = (0.0, 1.0)
    notes: tuple[str, ...] = ()

    @property
    def densities(self) -> tuple[np.ndarray, ...]:
        return (grown(self.tumour.initial),)


@dataclass(frozen=True)
class LogisticGrowth:
    space: CellSpace

    def plan(self, tumour: Tumour, days: Sequence[float]) -> tuple[float, ...]:
        assert tumour.onset < days[0]
        return tuple(days)

    def run(self, tumour: Tumour, plan: tuple[float, ...], keep: bool = True, record=None) -> LogisticRun:
        np.testing.assert_array_equal(tumour.values, TUMOUR.values)
        return LogisticRun(tumour)

    def tangent(self, run: LogisticRun, changes: Sequence[TumourChange]) -> tuple[np.ndarray, ...]:
        raise AssertionError("the shape needs adjoints only")

    def adjoint(self, run: LogisticRun, duals: Sequence[np.ndarray]) -> TumourChange:
        slope = GROWTH / (1.0 + run.tumour.initial * (GROWTH - 1.0)) ** 2
        return TumourChange(initial=slope * duals[0])

    def destroy(self) -> None:
        pass


def grown(initial: np.ndarray) -> np.ndarray:
    return initial * GROWTH / (1.0 - initial + initial * GROWTH)


def observed(space: CellSpace, initial: np.ndarray) -> tuple[MaskObservation, ...]:
    corners = space.to_cells(grown(initial))
    levels = {"whole": 0.25, "core": 0.6}
    return tuple(MaskObservation(name, 0, u, volume_fraction(corners, u)[0]) for name, u in levels.items())


def test_basis_is_a_gaussian_of_unit_height_cut_at_four_widths():
    lattice = GaussianLattice(np.array([[0.0, 0.0, 0.0], [8.0, 0.0, 0.0]]), 4.0)
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
    lattice = GaussianLattice(lattice_points(np.full(3, -8.0), np.full(3, 8.0), 8.0), 4.0)
    basis = lattice.basis(space.points)
    rng = np.random.default_rng(0)
    density = 0.01 + 0.2 * basis[:, [13]].toarray()[:, 0]
    target = observed(space, reshaped(density, basis @ rng.normal(0.0, 2.0, basis.shape[1])))
    costs = []

    def keep(cost, z, **settings):
        costs.append(cost)
        return optimize.OptimizeResult(x=z, nfev=1)

    monkeypatch.setattr(optimize, "minimize", keep)
    z = rng.normal(0.0, 1.0, basis.shape[1])
    unknowns = LatticeMap.of(lattice, space, TUMOUR, density, z)
    fit_shape(LogisticGrowth(space), target, DAYS, unknowns, 20.0, (sharpness,))
    _, gradient = costs[0](z)
    for k in rng.choice(len(z), 8, replace=False):
        unit = np.eye(len(z))[k]
        difference = (costs[0](z + 1e-5 * unit)[0] - costs[0](z - 1e-5 * unit)[0]) / 2e-5
        assert gradient[k] == pytest.approx(difference, rel=1e-4, abs=1e-6 * np.abs(gradient).max())


def test_a_second_ball_is_found_where_the_scan_shows_two():
    """The seed explains one ball, the mask shows a second: the correction rises there and hardly anywhere else."""
    space = box(28.0, 14)
    main, second = np.array([-12.0, 0.0, 0.0]), np.array([16.0, 0.0, 0.0])

    def ball(centre: np.ndarray) -> np.ndarray:
        return 0.5 * np.exp(-0.5 * ((space.points - centre) ** 2).sum(axis=1) / 4.0**2) + 1e-4

    target = observed(space, ball(main) + ball(second))
    lattice = GaussianLattice(lattice_points(np.full(3, -24.0), np.full(3, 24.0), 8.0), 4.0)
    corners = space.to_cells(grown(ball(main)))
    alone = sum(space.volumes @ (volume_fraction(corners, o.level)[0] - o.fractions) ** 2 for o in target)
    unknowns = LatticeMap.of(lattice, space, TUMOUR, ball(main), np.zeros(len(lattice.centres)))
    found = fit_shape(LogisticGrowth(space), target, DAYS, unknowns, 20.0)
    assert found.misfit < 0.3 * alone
    assert found.runs > 2
    strongest = lattice.centres[np.argmax(found.heights)]
    np.testing.assert_array_equal(strongest, second)
    elsewhere = np.linalg.norm(lattice.centres - second, axis=1) > 20.0
    assert np.abs(found.heights[elsewhere]).max() < 0.5 * found.heights.max()


def test_tangent_of_the_lattice_is_its_derivative_and_adjoint_the_transpose():
    space = box(16.0, 6)
    lattice = GaussianLattice(lattice_points(np.full(3, -8.0), np.full(3, 8.0), 8.0), 4.0)
    rng = np.random.default_rng(1)
    z, dz = rng.normal(size=(2, len(lattice.centres)))
    unknowns = LatticeMap.of(lattice, space, TUMOUR, rng.uniform(0.01, 0.9, len(space.points)), z)
    above, below = (unknowns.apply(z + h * dz, Inputs(TUMOUR)).tumour for h in (1e-6, -1e-6))
    moved = unknowns.tangent(z, dz).tumour.initial
    np.testing.assert_allclose(moved, (above.initial - below.initial) / 2e-6, atol=1e-8)
    np.testing.assert_array_equal(above.values, TUMOUR.values)
    dual = rng.normal(size=len(space.points))
    assert unknowns.adjoint(z, Change(TumourChange(initial=dual))) @ dz == pytest.approx(dual @ moved, rel=1e-12)


def test_reshaping_stays_between_zero_and_one_and_can_be_undone():
    density = np.array([0.0, 1e-6, 0.3, 0.999, 1.0])
    correction = np.array([3.0, 5.0, -2.0, 8.0, -1.0])
    there = reshaped(density, correction)
    assert ((there > 0.0) & (there < 1.0)).all()
    np.testing.assert_allclose(reshaped(there, -correction), np.clip(density, 1e-12, 1 - 1e-12), rtol=1e-6)
