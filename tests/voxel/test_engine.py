"""The voxel engine of a patient: its cells, duality, slopes, agreement with finite elements, and what it refuses."""

import importlib.util
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from oncology.errors import ConfigError, NumericalError
from oncology.imaging import Case
from oncology.inverse.levels import Level, level_of
from oncology.inverse.problem import DenseCost, InverseProblem
from oncology.inverse.scalars import ScalarMap
from oncology.inverse.start import default_prior
from oncology.meshing.engines import MeshedEngine
from oncology.model.fractions import volume_fraction
from oncology.model.growth import Logistic
from oncology.model.seed import Seed
from oncology.model.tumour import Tumour, TumourChange
from oncology.optimise import dot_test, taylor_test
from oncology.verify.seeded import SeededGrowth
from oncology.voxel.engine import Voxels
from tests.cases import write_case

TUMOUR = Tumour(0.3, 0.05, 0.03, (-25.0, 11.0, 9.0), -120.0, Seed(0.5, 12.0))
PARAMETERS = TUMOUR.values
SCALES = np.array([0.05, 0.02, 0.01, 1.0, 1.0, 1.0, 5.0, 1.0])
TREATMENTS = [
    {"kind": "radiotherapy", "day": 5.0, "dose_gy": 12.0, "fractions": 6},
    {"kind": "chemotherapy", "day": 2.0, "rate": 0.02, "half_life": 10.0},
    {"kind": "resection", "day": 20.0},
]


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    folder = tmp_path_factory.mktemp("voxels")
    path = write_case(
        folder, voxel=3.0, tumour_centre=(-26.0, 12.0, 8.0), ventricle=12.0, pet=True, treatments=TREATMENTS
    )
    return Case.read(path)


@pytest.fixture(scope="module")
def engine(case) -> Voxels:
    return Voxels(case, 6.0, margin=20.0)


@pytest.fixture(scope="module")
def level(engine, case) -> Level:
    return level_of(MeshedEngine(engine, engine.margin), case, tracer=True)


@pytest.fixture(scope="module")
def growth(engine, case) -> SeededGrowth:
    return SeededGrowth(engine, engine.plan(TUMOUR, case.days))


def test_the_view_fills_the_tissue_and_no_fluid(level, engine):
    """Tetrahedra of equal volume between tissue voxels; the integral of a P1 function is that of the voxels inside."""
    space, points = level.space, engine.space.points
    np.testing.assert_allclose(space.volumes, 6.0**3 / 6.0)
    radius = np.linalg.norm(points, axis=1)
    assert radius.min() > 12.0 - 3.0
    assert np.linalg.norm(level.mesh.points - points[engine.used], axis=1).max() == 0.0
    np.testing.assert_array_equal(level.mesh.cells, np.searchsorted(engine.used, space.cells))
    np.testing.assert_array_equal(engine.gather(radius), np.linalg.norm(level.mesh.points, axis=1))
    assert (np.linalg.norm(points - np.array([-26.0, 12.0, 8.0]), axis=1)[level.cut] > 20.0).all()
    assert level.cut_density(np.where(level.cut, 0.2, 0.9)) == 0.2
    inner = np.linalg.norm(points - np.array([-34.0, 10.0, 6.0]), axis=1) < 12.0
    mean = space.to_cells(inner.astype(float)).mean(axis=1)
    assert space.volumes @ mean == pytest.approx(6.0**3 * inner.sum(), rel=1e-12)


def test_tangent_and_adjoint_are_dual(growth):
    solution = growth.solve(PARAMETERS)
    rng = np.random.default_rng(0)
    shape = solution.densities[0].shape

    def tangent(direction):
        return np.concatenate([du.ravel() for du in solution.tangent(direction)])

    def adjoint(duals):
        return solution.adjoint(tuple(duals.reshape(-1, *shape)))

    duals = rng.normal(size=(len(solution.densities), *shape)).ravel()
    assert dot_test(tangent, adjoint, SCALES * rng.uniform(0.5, 1.0, 8), duals, np.dot, np.dot).error < 1e-12


@pytest.mark.parametrize("number", range(8))
def test_slopes_by_every_parameter(growth, number):
    direction = SCALES * np.eye(8)[number]
    tangent = np.concatenate(growth.solve(PARAMETERS).tangent(direction)).ravel()

    def states(h):
        return np.concatenate(growth.solve(PARAMETERS + h * direction).densities).ravel()

    test = taylor_test(
        states, 0.0, 1.0, slope=tangent, steps=[0.5**k for k in range(1, 6)], norm=np.linalg.norm, precision=1e-12
    )
    assert test.rate == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("treated", [True, False], ids=["treated", "untreated"])
def test_a_given_density_has_its_own_slopes(case, engine, treated):
    """By rates, onset and the density itself: dual, and of rate 2. The seed's position then does not matter."""
    if not treated:
        engine = Voxels(replace(case, treatments=()), 6.0, margin=20.0)
    rng, count = np.random.default_rng(0), len(engine.space.points)
    here = replace(TUMOUR, initial=TUMOUR.start(engine.space))
    plan = engine.plan(here, case.days)
    run = engine.run(here, plan)
    direction = np.concatenate([SCALES * rng.uniform(0.5, 1.0, 8), 0.1 * rng.normal(size=count)])

    def change(d):
        return TumourChange.of(d[:8], initial=d[8:])

    def tangent(d):
        return np.concatenate([day[0] for day in engine.tangent(run, [change(d)])])

    def adjoint(duals):
        found = engine.adjoint(run, list(duals.reshape(-1, count)))
        assert not found.values[[3, 4, 5, 7]].any()
        return np.concatenate([found.values, found.initial])

    duals = rng.normal(size=len(case.days) * count)
    assert dot_test(tangent, adjoint, direction, duals, np.dot, np.dot).error < 1e-12

    direction[8:] *= here.initial  # densities stay positive: the law has a kink at zero

    def states(h):
        values = PARAMETERS + h * direction[:8]
        moved = Tumour(*values[:3], tuple(values[3:6]), values[6], initial=here.initial + h * direction[8:])
        return np.concatenate(engine.run(moved, plan, keep=False).densities)

    test = taylor_test(states, 0.0, 1.0, slope=tangent(direction), norm=np.linalg.norm, precision=1e-12)
    assert test.rate == pytest.approx(2.0, abs=0.1)


def posed(level: Level, sharpness: float | None, *others) -> tuple[InverseProblem, np.ndarray]:
    """The misfit at a tumour with one focus and others, all of them unknown."""
    unknowns = ScalarMap(0.0, ("whole", "core"), tracer=True, foci=1 + len(others))
    tumour = Tumour(0.25, 0.05, 0.03, (-25.0, 11.0, 9.0), -150.0, others=others)
    x = unknowns.pack(tumour, {"whole": 0.3, "core": 0.55})
    prior = default_prior(unknowns, tumour.seeds + np.array([-1.0, 1.0, -1.0]), {"whole": 0.25, "core": 0.60})
    return level.problem(replace(unknowns, start=x, prior=prior), x, 40.0, sharpness), x


OTHER = (-18.0, 17.0, 5.0)  # 10 mm away: the balls overlap


@pytest.mark.parametrize("others", [(), (OTHER,)], ids=["one focus", "two foci"])
@pytest.mark.parametrize("sharpness", [10.0, None])
def test_adjoint_gradient_of_the_misfit_is_that_of_the_tangents(level, sharpness, others):
    problem, x = posed(level, sharpness, *others)
    here, model = problem.evaluate(x), DenseCost(problem).linearise(x)
    gradient = here.derivative()
    assert here.value == pytest.approx(model.value, rel=1e-12)
    np.testing.assert_allclose(gradient, model.gradient, rtol=1e-10, atol=1e-12 * np.abs(gradient).max())


def test_taylor_rates_for_two_foci(level):
    """Rates 1 and 2 of the misfit by every coordinate of both seeds and by what they share."""
    problem, x = posed(level, 10.0, OTHER)
    gradient = problem.evaluate(x).derivative()
    names = ("seed_x", "seed_y", "seed_z", "seed2_x", "seed2_y", "seed2_z", "ln_duration", "ln_seed_radius")
    for name in names:
        unit = problem.map.unit(name)
        value = cache(lambda h, unit=unit: problem.evaluate(x + h * unit).value)
        steps = [0.004 * 0.5**k for k in range(5)]
        slopes = (None, float(gradient @ unit))
        rates = [taylor_test(value, 0.0, 1.0, s, steps=steps, precision=1e-12).rate for s in slopes]
        assert rates[0] == pytest.approx(1.0, abs=0.15) and rates[1] > 1.95, name


def test_a_tensor_turns_the_tumour(case, engine):
    """With fast diffusion along x the whole tumour gets longer there."""
    tensor = np.zeros((*case.white.shape, 6), dtype=np.float32)
    tensor[..., [0, 3, 5]] = [3.0, 0.5, 0.5]
    turned = Voxels(replace(case, tensor=case.white.with_data(tensor)), 6.0, margin=20.0)
    widths = []
    for one in (engine, turned):
        u, points = one.run(TUMOUR, one.plan(TUMOUR, case.days), keep=False).densities[0], one.space.points
        centred = points - np.average(points, axis=0, weights=u)
        widths.append(np.sqrt(np.average(centred**2, axis=0, weights=u)))
    assert widths[1][0] > 1.2 * widths[0][0]
    assert (widths[1][1:] < widths[0][1:]).all()


def test_every_step_is_recorded_with_its_day(case, engine):
    plan = engine.plan(TUMOUR, case.days)
    days, frames = [], []
    run = engine.run(TUMOUR, plan, keep=False, record=lambda day, u: (days.append(day), frames.append(u)))
    np.testing.assert_allclose(days, plan.grid.days, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(frames[0], TUMOUR.start(engine.space))
    np.testing.assert_array_equal(frames[days.index(40.0)], run.densities[1])
    np.testing.assert_array_equal(frames[days.index(0.0)], run.densities[0])


def test_a_run_that_kept_no_states_has_no_derivatives(case, engine):
    run = engine.run(TUMOUR, engine.plan(TUMOUR, case.days), keep=False)
    with pytest.raises(NumericalError, match="keep=True"):
        engine.tangent(run, [TumourChange(diffusion_white=1.0)])
    with pytest.raises(NumericalError, match="keep=True"):
        engine.adjoint(run, run.densities)


@pytest.mark.parametrize("name", ["log_diffusion", "log_proliferation"])
def test_fields_of_the_rates_are_refused(case, engine, name):
    plan = engine.plan(TUMOUR, case.days)
    with pytest.raises(ConfigError, match="take FiniteElements"):
        engine.run(replace(TUMOUR, **{name: np.zeros(len(engine.space.points))}), plan)


def test_finite_elements_agree_within_the_discretisation_errors(tmp_path):
    """Volumes above both thresholds on the same case: the difference shrinks with the cells, below 0.8 % at 2.2 mm."""
    if importlib.util.find_spec("dolfinx") is None:
        pytest.skip("dolfinx is not installed")
    from oncology.fem.patient import MeshChoice, meshed_engine
    from oncology.fem.runtime import world

    case = Case.read(write_case(tmp_path, voxel=2.5, tumour_centre=(-20.0, 10.0, 8.0)))
    tumour = Tumour(0.3, 0.05, 0.03, (-20.0, 10.0, 8.0), -150.0, Seed(0.5, 12.0))
    differences = []
    for size in (5.0, 2.2):
        volumes = []
        elements = meshed_engine(world(), case, MeshChoice(size, "lattice", 20.0), Logistic()).engine
        for one in (elements, Voxels(case, size, margin=20.0)):
            space = one.space
            run = one.run(tumour, one.plan(tumour, case.days), keep=False)
            corners = [space.to_cells(u) for u in run.densities]
            volumes.append([space.volumes @ volume_fraction(c, edge)[0] for c in corners for edge in (0.25, 0.6)])
            one.destroy()
        differences.append(np.abs(np.array(volumes[1]) / np.array(volumes[0]) - 1.0).max())
    assert differences[1] < 0.008
    assert differences[1] < 0.5 * differences[0]
