"""The forward maps that an identification speaks to: duality, slopes, P1 view, and agreement with the other engine."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from oncology.inverse.parameters import Parametrisation
from oncology.voxel.forward import SeededVoxels

from oncology.imaging import Case
from oncology.inverse.fit import FitSettings
from oncology.inverse.start import default_prior
from oncology.model.fractions import volume_fraction
from oncology.model.growth import Logistic
from oncology.optimise import dot_test, taylor_test
from oncology.voxel.patient import VoxelLevel, voxel_level
from tests.cases import write_case

PARAMETERS = np.array([0.3, 0.05, 0.03, -25.0, 11.0, 9.0, -120.0])
SCALES = np.array([0.05, 0.02, 0.01, 1.0, 1.0, 1.0, 5.0])
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
def level(case) -> VoxelLevel:
    return voxel_level(case, FitSettings(tracer=True), 6.0, 20.0)


@pytest.fixture(scope="module")
def forward(level) -> SeededVoxels:
    return SeededVoxels.around(PARAMETERS, level.model, level.view, level.grid(PARAMETERS), level.seed)


def test_the_view_fills_the_tissue_and_no_fluid(case, level):
    """Tetrahedra of equal volume between tissue voxels; the integral of a P1 function is that of the voxels inside."""
    space = level.space
    np.testing.assert_allclose(space.volumes, 6.0**3 / 6.0)
    radius = np.linalg.norm(space.points, axis=1)
    assert radius.min() > 12.0 - 3.0
    assert np.linalg.norm(level.mesh.points - level.points[level.used], axis=1).max() == 0.0
    np.testing.assert_array_equal(level.mesh.cells, np.searchsorted(level.used, space.cells))
    assert (np.linalg.norm(level.points - np.array([-26.0, 12.0, 8.0]), axis=1)[level.cut] > 20.0).all()
    u = np.where(level.cut, 0.2, 0.9)
    assert level.cut_density(u[space.cells]) == 0.2
    inner = np.linalg.norm(level.points - np.array([-34.0, 10.0, 6.0]), axis=1) < 12.0
    mean = level.view.to_cells(inner.astype(float)).mean(axis=1)
    assert space.volumes @ mean == pytest.approx(6.0**3 * inner.sum(), rel=1e-12)


def test_tangent_and_adjoint_are_dual(forward):
    solution = forward.solve(PARAMETERS)
    rng = np.random.default_rng(0)
    shape = solution.densities[0].shape

    def tangent(direction):
        return np.concatenate([du.ravel() for du in solution.tangent(direction)])

    def adjoint(duals):
        return solution.adjoint(tuple(duals.reshape(-1, *shape)))

    duals = rng.normal(size=(len(solution.densities), *shape)).ravel()
    assert dot_test(tangent, adjoint, SCALES * rng.uniform(0.5, 1.0, 7), duals, np.dot, np.dot).error < 1e-12


@pytest.mark.parametrize("number", range(7))
def test_slopes_by_every_parameter(forward, number):
    direction = SCALES * np.eye(7)[number]
    tangent = np.concatenate(forward.solve(PARAMETERS).tangent(direction)).ravel()

    def states(h):
        return np.concatenate(forward.solve(PARAMETERS + h * direction).densities).ravel()

    test = taylor_test(
        states, 0.0, 1.0, slope=tangent, steps=[0.5**k for k in range(1, 6)], norm=np.linalg.norm, precision=1e-12
    )
    assert test.rate == pytest.approx(2.0, abs=0.1)


def test_a_field_map_is_dual_too(level):
    field = level.field(level.grid(PARAMETERS))
    points, rng = level.points, np.random.default_rng(0)
    start, rates = level.seed.density(points, PARAMETERS[3:6]), PARAMETERS[:3]
    solution = field.solve(start, rates)
    shape = solution.densities[0].shape

    def tangent(d):
        return np.concatenate([du.ravel() for du in solution.tangent(d[3:], d[:3])])

    def adjoint(duals):
        initial, by_rates = solution.adjoint(tuple(duals.reshape(-1, *shape)))
        return np.concatenate([by_rates, initial])

    direction = np.concatenate([SCALES[:3], 0.1 * rng.normal(size=len(points))])
    duals = rng.normal(size=(len(solution.densities), *shape)).ravel()
    assert dot_test(tangent, adjoint, direction, duals, np.dot, np.dot).error < 1e-12


@pytest.mark.parametrize("sharpness", [10.0, None])
def test_adjoint_gradient_of_the_misfit_is_that_of_the_tangents(level, sharpness):
    parametrisation = Parametrisation(0.0, ("whole", "core"), tracer=True)
    x = parametrisation.pack(0.25, 0.05, 0.03, [-25.0, 11.0, 9.0], -150.0, (0.3, 0.55))
    prior = default_prior(parametrisation, np.array([-26.0, 12.0, 8.0]), (0.25, 0.60))
    problem = level.problem(parametrisation, x, prior, 40.0, sharpness)
    value, gradient = problem.gradient(x)
    model = problem.linearise(x)
    assert value == pytest.approx(model.value, rel=1e-12)
    np.testing.assert_allclose(gradient, model.gradient, rtol=1e-10, atol=1e-12 * np.abs(gradient).max())


def test_a_tensor_turns_the_tumour(case):
    """With fast diffusion along x the whole tumour gets longer there."""
    tensor = np.zeros((*case.white.shape, 6), dtype=np.float32)
    tensor[..., [0, 3, 5]] = [3.0, 0.5, 0.5]
    turned = voxel_level(replace(case, tensor=case.white.with_data(tensor)), FitSettings(), 6.0, 20.0)
    widths = []
    for one in (voxel_level(case, FitSettings(), 6.0, 20.0), turned):
        grid = one.grid(PARAMETERS)
        u = one.grow(PARAMETERS[:3], one.seed.density(one.points, PARAMETERS[3:6]), grid).observations[0]
        centred = one.points - np.average(one.points, axis=0, weights=u)
        widths.append(np.sqrt(np.average(centred**2, axis=0, weights=u)))
    assert widths[1][0] > 1.2 * widths[0][0]
    assert (widths[1][1:] < widths[0][1:]).all()


def test_finite_elements_agree_within_the_discretisation_errors(tmp_path):
    """Volumes above both rims on the same case: the difference shrinks with the cells, to 1 % at 2.5 mm."""
    if importlib.util.find_spec("dolfinx") is None:
        pytest.skip("dolfinx is not installed")
    from oncology.fem.patient import MeshChoice, make_level
    from oncology.fem.runtime import world

    case = Case.read(write_case(tmp_path, voxel=2.5, tumour_centre=(-20.0, 10.0, 8.0)))
    parameters = np.array([0.3, 0.05, 0.03, -20.0, 10.0, 8.0, -170.0])
    differences = []
    for size in (5.0, 2.5):
        volumes = []
        levels = (
            make_level(world(), case, MeshChoice(size, "lattice", 20.0), Logistic()),
            voxel_level(case, FitSettings(), size, 20.0),
        )
        for one in levels:
            start = one.seed.density(one.points, parameters[3:6])
            run = one.grow(parameters[:3], start, one.grid(parameters))
            corners = [u[one.space.cells] for u in run.observations]
            volumes.append([one.space.volumes @ volume_fraction(c, rim)[0] for c in corners for rim in (0.25, 0.6)])
        differences.append(np.abs(np.array(volumes[1]) / np.array(volumes[0]) - 1.0).max())
    assert differences[1] < 0.012
    assert differences[1] < 0.5 * differences[0]
