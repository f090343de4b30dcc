"""Flows, surfaces, controls and energies of the catalogue against their exact solutions."""

from __future__ import annotations

import math

import pytest
import torch

from oncology.errors import ConfigError, NumericalError
from oncology.nodes.depth import DepthGrid
from oncology.reproduce.science_shapes import DIRECT_SHAPES
from oncology.science.equations import area_flows, graphs
from oncology.science.equations import navier_stokes as flow
from oncology.science.exponential import ETDRK2
from oncology.science.grid import interval, square
from oncology.science.node import ScienceNODE
from oncology.science.runge_kutta import BACKWARD_EULER, SDIRK2
from oncology.science.variational import brachistochrone as fall
from oncology.science.variational import mumford_shah as crack
from tests.science.small import normal, numbers, orders, product_errors, run_errors


def solved(equation, q, start, time, steps, stepper):
    return ScienceNODE(equation, DepthGrid(time, steps), stepper).run(q, start).final


def relative(found, exact):
    return float((found - exact).norm() / exact.norm())


def zeros(number):
    return torch.zeros(number, dtype=torch.float64)


CURVE = graphs.GraphFlow(interval(-1.0, 1.0, 6), graphs.CURVE_SHORTENING, slopes=(-1.0, None))
RADIAL = graphs.GraphFlow(interval(0.0, 2.0, 6, "fixed"), graphs.PowerFlux(0.1), 3, (0.0, None))
MOBILE = graphs.GraphFlow(interval(-1.0, 1.0, 6), graphs.SlopeFlux(torch.atan, graphs.MOBILITY), slopes=(-1.0, None))
SCHERK = area_flows.AreaFlow(1.0, 4, area_flows.scherk(1.0, 4))
REVOLUTION = area_flows.RevolutionFlow(0.5, 6)
CRACKS = crack.AmbrosioTortorelli(interval(-1.0, 1.0, 6), normal(6, seed=3), 0.2)
PLANE, SPACE = flow.NavierStokes(flow.torus(6, 2)), flow.NavierStokes(flow.torus(5, 3))
CASES = {
    "curve": (CURVE, (normal(6, seed=1),), normal(2, 6)),
    "mobility": (MOBILE, (numbers(0.7), normal(6, seed=1)), normal(2, 6)),
    "slide": (fall.Slide(), (numbers(9.81), numbers(0.8)), 1.0 + 0.1 * normal(2, 2)),
    "p-laplace": (RADIAL, (numbers(2.6), normal(6, seed=1)), normal(2, 6)),
    "scherk": (SCHERK, (numbers(0.8),), normal(2, 9)),
    "revolution": (REVOLUTION, (numbers(1.2),), 1.0 + 0.1 * normal(2, 5)),
    "cracks": (CRACKS, (numbers(1.1), numbers(0.4), numbers(0.7)), normal(2, 12)),
    "plane": (PLANE, (numbers(0.1), normal(72, seed=1)), normal(2, 72)),
    "space": (SPACE, (numbers(0.1), normal(375, seed=1)), normal(1, 375)),
}


@pytest.mark.parametrize("case", CASES)
def test_products_are_transposes_and_derivatives(case):
    error, rate = product_errors(*[CASES[case][i] for i in (0, 2, 1)])
    assert error < 1e-14
    assert rate == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize(("case", "stepper"), [("curve", SDIRK2), ("p-laplace", BACKWARD_EULER), ("plane", ETDRK2)])
def test_runs_have_exact_tangents_and_adjoints(case, stepper):
    equation, q, start = CASES[case]
    error, rate = run_errors(ScienceNODE(equation, DepthGrid(0.2, 4), stepper), q, start)
    assert error < 1e-12
    assert rate == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("case", ["scherk", "revolution", "cracks"])
def test_flows_are_minus_the_gradient_of_their_energy(case):
    equation, q, start = CASES[case]
    energy = equation.energy if case == "cracks" else equation.area
    u = start.clone().requires_grad_()
    (dual,) = torch.autograd.grad(energy(u, q).sum(), u)
    factor = 2.0 * math.pi if case == "revolution" else 1.0
    assert torch.allclose(factor * equation.value(start, q), -dual / equation.weights, atol=1e-12)


@pytest.mark.parametrize("case", ["scherk", "cracks"])
def test_every_implicit_step_lowers_the_energy(case):
    equation, q, start = CASES[case]
    run = ScienceNODE(equation, DepthGrid(0.3, 12), BACKWARD_EULER).run(q, start)
    energy = equation.energy if case == "cracks" else equation.area
    values = torch.stack([energy(state, q) for state in run.states])
    assert float(torch.diff(values, dim=0).max()) < 0.0


def test_taylor_green_and_beltrami_flows_decay_exactly():
    """Their advection is a gradient, which the projection removes; the exponential stepper does the rest."""
    plane = flow.NavierStokes(flow.torus(8, 2))
    found = solved(plane, (numbers(0.1), zeros(plane.size)), flow.taylor_green(plane.grid, 0.0, 0.1, 2), 1.0, 4, ETDRK2)
    assert relative(found, flow.taylor_green(plane.grid, 1.0, 0.1, 2)) < 1e-13
    space = flow.NavierStokes(flow.torus(8, 3))
    found = solved(space, (numbers(0.1), zeros(space.size)), flow.beltrami(space.grid, 0.0, 0.1), 1.0, 4, ETDRK2)
    assert relative(found, flow.beltrami(space.grid, 1.0, 0.1)) < 1e-13


def test_vortices_in_a_wind_are_carried_to_second_order():
    equation, wind = flow.NavierStokes(flow.torus(8, 2)), (1.0, 0.5)
    q, start = (numbers(0.1), zeros(equation.size)), flow.taylor_green(equation.grid, 0.0, 0.1, 1, wind)
    exact = flow.taylor_green(equation.grid, 1.0, 0.1, 1, wind)
    errors = [relative(solved(equation, q, start, 1.0, steps, ETDRK2), exact) for steps in (10, 20, 40)]
    assert orders(errors) == pytest.approx([2.0, 2.0], abs=0.05)


def test_a_vortex_spreads_as_in_free_space_the_better_the_larger_the_box():
    errors = []
    for length in (8.0, 16.0):
        equation = flow.NavierStokes(flow.torus(int(4 * length), 2, length))
        start, exact = (flow.lamb_oseen(equation, t, 0.05, 1.0, 1.0) for t in (0.0, 2.0))
        errors.append(relative(solved(equation, (numbers(0.05), zeros(equation.size)), start, 2.0, 20, ETDRK2), exact))
    assert errors[1] < 0.3 * errors[0] < 3e-5


@pytest.mark.parametrize(
    "case", [case for case in DIRECT_SHAPES if case.id in ("N2", "N3", "V1", "ROF")], ids=lambda case: case.id
)
def test_flows_in_a_wind_the_bead_and_total_variation_converge(case):
    """The wind makes the advection matter; the bead follows the exact weights of the brachistochrone."""
    row = case.row()
    assert row.orders[-1] == pytest.approx(case.order, abs=0.1)
    assert row.errors[-1] < 1e-3


@pytest.mark.parametrize(
    ("flux", "half", "exact", "slope"),
    [
        (graphs.CURVE_SHORTENING, 1.2, graphs.grim_reaper, math.tan(1.2)),
        (graphs.LENGTH_FLOW, 0.8, lambda x, t: graphs.length_flow_arc(x, t, 1.0), 0.8 / 0.6),
    ],
    ids=["grim reaper", "arc"],
)
def test_curves_move_as_they_should(flux, half, exact, slope):
    errors = []
    for cells in (20, 40, 80):
        grid = interval(-half, half, cells)
        equation = graphs.GraphFlow(grid, flux, slopes=(-slope, slope))
        x = grid.points[:, 0]
        errors.append(
            relative(solved(equation, (zeros(cells),), exact(x, 0.0), 1.0, cells // 2, SDIRK2), exact(x, 1.0))
        )
    assert orders(errors) == pytest.approx([2.0, 2.0], abs=0.1)


@pytest.mark.parametrize(("p", "dimension"), [(3.0, 1), (3.0, 2), (1.7, 2), (4.0, 3)])
def test_torsion_of_a_ball(p, dimension):
    errors = []
    for cells in (20, 40, 80):
        grid = interval(0.0, 1.0, cells, "fixed")
        equation = graphs.GraphFlow(grid, graphs.PowerFlux(1e-3 / cells), dimension, (0.0, None))
        r = grid.points[:, 0]
        q, start = (numbers(p), torch.ones(cells, dtype=torch.float64)), 0.3 * (1.0 - r**2)[None]
        errors.append(
            relative(solved(equation, q, start, 1e4, 12, BACKWARD_EULER), graphs.torsion(r, p, 1.0, dimension))
        )
    assert min(orders(errors)) > 1.85


@pytest.mark.parametrize(("p", "dimension", "reach"), [(3.0, 1, 5.0), (4.0, 2, 3.0)])
def test_barenblatt_spreads_to_its_finite_front(p, dimension, reach):
    errors = []
    for cells in (40, 80, 160):
        grid = interval(0.0, reach, cells)
        equation = graphs.GraphFlow(grid, graphs.PowerFlux(1e-2 / cells), dimension, (0.0, 0.0))
        r = grid.points[:, 0]
        exact = [graphs.barenblatt(r, time, p, dimension) for time in (0.2, 1.2)]
        found = solved(equation, (numbers(p), zeros(cells)), exact[0], 1.0, cells, SDIRK2)
        errors.append(relative(found, exact[1]))
    assert min(orders(errors)) > 1.7


def test_scherk_and_the_catenoid_are_reached_at_second_order():
    errors = []
    for cells in (8, 16, 32):
        exact = area_flows.scherk(1.0, cells)
        equation = area_flows.AreaFlow(1.0, cells, exact)
        found = solved(equation, (numbers(1.0),), zeros(equation.size)[None], 1e3, 8, BACKWARD_EULER)
        errors.append(relative(found.reshape(cells - 1, -1), exact[1:-1, 1:-1]))
    assert min(orders(errors)) > 1.95
    ring, errors, areas = 0.8 * math.cosh(0.5 / 0.8), [], []
    for cells in (10, 20, 40):
        tube = area_flows.RevolutionFlow(0.5, cells)
        start = torch.full((1, cells - 1), ring, dtype=torch.float64)
        found = solved(tube, (numbers(ring),), start, 1e3, 10, BACKWARD_EULER)
        errors.append(relative(found, area_flows.catenoid(tube.points, 0.8)))
        areas.append(abs(float(tube.area(found, (numbers(ring),))) - area_flows.catenoid_area(0.5, 0.8)))
    assert orders(errors) == pytest.approx([2.0, 2.0], abs=0.1)
    assert orders(areas) == pytest.approx([2.0, 2.0], abs=0.1)


def test_no_catenoid_joins_rings_that_are_too_far_apart():
    """It exists exactly for a / R < 0.6627; beyond, the neck closes."""
    for ratio, stands in ((0.6, True), (0.75, False)):
        model = ScienceNODE(area_flows.RevolutionFlow(ratio, 40), DepthGrid(8.0, 80), BACKWARD_EULER)
        try:
            neck = float(model.run((numbers(1.0),), torch.ones(1, 39, dtype=torch.float64)).final.min())
        except NumericalError:
            neck = 0.0
        assert (neck > 0.6) == stands


def test_the_brachistochrone_to_second_order_with_weights_linear_in_depth():
    """1.9e-5 at N = 40 with g = 9.81 m/s^2; with the end point (1, 1.2) m errors are of that size."""
    angle = fall.cycloid_angle(1.0, 1.2)
    time = angle * math.sqrt(1.2 / (1.0 - math.cos(angle)) / 9.81)
    times, angles = [], []
    for cells in (10, 20, 40):
        found = fall.descend_by_programming(fall.Brachistochrone(1.0, 1.2, cells, 9.81))
        s = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
        times.append(found.time - time)
        angles.append(float((found.angles - (0.5 * math.pi - 0.5 * angle * s)).abs().max()))
        assert found.miss < 1e-12
    assert orders(times) == pytest.approx([2.0, 2.0], abs=0.05)
    assert orders(angles) == pytest.approx([2.0, 2.0], abs=0.05)
    assert times[-1] < 1.9e-5
    assert angles[-1] < 1.6e-4


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_conjugate_gradients_find_the_same_descent(smoothing):
    problem = fall.Brachistochrone(math.pi, 2.0, 10)
    reference = fall.descend_by_programming(problem)
    found = fall.descend_by_conjugate_gradients(problem, smoothing)
    assert found.time == pytest.approx(reference.time, abs=1e-8)
    assert found.miss < 1e-7
    assert torch.allclose(found.angles, reference.angles, atol=1e-4)


def test_the_uncracked_image_solves_its_equation_and_costs_its_energy():
    x = torch.linspace(-1.0, 1.0, 20001, dtype=torch.float64)
    u = crack.uncracked_image(x, 0.8, 1.3, 0.1)
    slope = torch.gradient(u, spacing=(x,), edge_order=2)[0]
    away = (x.abs() > 0.01) & (x.abs() < 0.99)
    bend = torch.gradient(slope, spacing=(x,))[0]
    assert torch.allclose(0.1 * bend[away], (1.3 * (u - 0.4 * torch.sign(x)))[away], atol=1e-5)
    density = 1.3 * (u - 0.4 * torch.sign(x)) ** 2 + 0.1 * slope**2
    assert float(torch.trapezoid(density, x)) == pytest.approx(crack.uncracked_energy(0.8, 1.3, 0.1), rel=1e-3)


def test_a_crack_is_optimal_exactly_below_the_threshold():
    """A discrete crack costs (1 + h / 4 eps) gamma (Bourdin, Francfort, Marigo 2008); energies converge."""
    bound = crack.uncracked_energy(1.0, 1.0, 0.1)
    costs = []
    for width in (0.02, 0.01, 0.005):
        cells = round(10.0 / width)
        grid = interval(-1.0, 1.0, cells)
        x = grid.points[:, 0]
        image = torch.where(x > 0, 0.5, -0.5).double()
        equation = crack.AmbrosioTortorelli(grid, image, width)
        for share, cracks in ((0.8, True), (1.2, False)):
            q = (numbers(1.0), numbers(0.1), numbers(share * bound))
            whole = crack.alternate(equation, torch.cat([0.0 * image, torch.ones_like(x)]), q)
            split = crack.alternate(equation, torch.cat([image, crack.crack_profile(x, width)]), q)
            energies = [float(equation.energy(state, q)) for state in (whole, split)]
            assert (energies[1] < energies[0]) == cracks
            if cracks:
                costs.append((energies[1] / (share * bound), energies[0] / bound))
                profile = crack.crack_profile(x, width)
                assert float((split[cells:] - profile).abs().max()) < 0.1
    dear, stiff = zip(*costs, strict=True)
    assert dear[-1] == pytest.approx(1.05, abs=0.02)  # h / 4 eps = 0.05
    assert abs(stiff[-1] - 1.0) < 0.02
    assert abs(stiff[-1] - 1.0) < 0.6 * abs(stiff[0] - 1.0)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: flow.NavierStokes(square(0.0, 1.0, 4)), "periodic box"),
        (lambda: graphs.GraphFlow(square(0.0, 1.0, 4), graphs.LENGTH_FLOW), "one axis"),
        (lambda: graphs.GraphFlow(interval(1.0, 2.0, 4), graphs.LENGTH_FLOW, 2), "starts at 0"),
        (lambda: area_flows.AreaFlow(1.0, 4, zeros(3)), "boundary values"),
        (lambda: fall.Brachistochrone(1.0, -1.0, 4), "> 0"),
    ],
)
def test_what_cannot_be_is_refused(wrong, words):
    with pytest.raises(ConfigError, match=words):
        wrong()
