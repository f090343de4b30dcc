"""Fields of diffusion and proliferation: dot tests, Taylor rates, differences of runs, on one and two ranks."""

from dataclasses import replace

import numpy as np
import pytest

from oncology.errors import ConfigError, NumericalError
from oncology.fem.boxes import kuhn_box
from oncology.fem.engine import FiniteElements, ModelEngine
from oncology.fem.tumour_model import TumourModel
from oncology.meshing import TetMesh
from oncology.model.growth import Gompertz, Logistic
from oncology.model.seed import Seed
from oncology.model.treatment import Chemotherapy, Radiotherapy, Resection
from oncology.model.tumour import Tumour, TumourChange
from oncology.optimise import dot_test, taylor_test
from tests.fem.meshes import mixed_box, owned

pytestmark = pytest.mark.mpi

DAYS = (8.0, 30.0)
TREATMENT = (Radiotherapy(8.0, 12.0, 6), Chemotherapy(5.0, 0.05, 8.0), Resection(20.0))
SCALARS = np.array([0.05, 0.02, 0.01, 1.0, 1.0, 1.0, 3.0, 1.0])
CENTRE, OFF = np.array([-26.0, 12.0, 8.0]), np.array([7.0, -6.0, 5.0])
FIELDS = ("log_diffusion", "log_proliferation")


def waves(points, seed):
    """A smooth function of order one, of position and seed alone."""
    k, phase = np.random.default_rng(seed).uniform(0.05, 0.2, size=(2, points.shape[1]))
    return np.cos(points @ k + 10.0 * phase[0]) + np.sin(points @ k[::-1])


def tumour_on(engine) -> Tumour:
    """A tumour whose seed covers the box: near zero density, Gompertz's growth has no derivative."""
    points = engine.space.owned
    seed = CENTRE + OFF if isinstance(engine, FiniteElements) else OFF
    fields = {"log_diffusion": 0.4 * waves(points, 1), "log_proliferation": 0.3 * waves(points, 2)}
    return Tumour(0.5, 0.1, 0.06, tuple(map(float, seed)), -30.0, Seed(0.5, 50.0), **fields)


@pytest.fixture(scope="module", params=["untreated", "treated", "tensor", "patient"])
def engine(request, comm):
    """Boxes of mixed tissue: plain, treated, treated with a tensor of each cell and another law; and one in a brain."""
    if request.param == "patient":
        made = patient(comm, request.getfixturevalue("spheres"))
        yield made
        made.destroy()
        return
    options = {}
    if request.param == "tensor":
        roots = np.random.default_rng(4).normal(size=(6 * 8**3, 3, 3))
        options["tensor"] = roots @ roots.swapaxes(1, 2) / 3.0 + 0.2 * np.eye(3)
    box = mixed_box(comm, **options)
    cavity = 1.0 - 0.9 * np.exp(-((owned(box) - 5.0) ** 2).sum(axis=1) / 50.0)
    law = Gompertz() if request.param == "tensor" else Logistic()
    treatments = () if request.param == "untreated" else TREATMENT
    made = ModelEngine(TumourModel(box, law, resections={2: cavity}, tolerance=1e-13), treatments)
    yield made
    made.destroy()


def patient(comm, case) -> FiniteElements:
    """The engine of a patient with a tensor image, around the tumour whose core is taken out."""
    points, cells = kuhn_box(CENTRE - 20.0, CENTRE + 20.0, [8] * 3)
    white = np.random.default_rng(0).uniform(0.0, 1.0, len(cells))
    tensor = np.zeros((*case.white.shape, 6), dtype=np.float32)
    tensor[..., [0, 1, 3, 5]] = [1.5, 0.4, 1.0, 0.5]
    case = replace(case, treatments=TREATMENT, tensor=case.white.with_data(tensor))
    return FiniteElements(TetMesh(points, cells, white, 1.0 - white, 5.0, "imported"), case, comm=comm, tolerance=1e-13)


def total(engine, values) -> float:
    return float(engine.space.total(np.array([values]))[0])


def inner(engine, a, b) -> float:
    return total(engine, sum(float(x @ y) for x, y in zip(a, b, strict=True)))


def size(engine, densities) -> float:
    return float(np.sqrt(inner(engine, densities, densities)))


def moved(tumour: Tumour, change: TumourChange, h: float) -> Tumour:
    values = tumour.values + h * change.values
    fields = {
        name: getattr(tumour, name) + h * getattr(change, name) for name in FIELDS if getattr(change, name) is not None
    }
    return replace(
        tumour,
        diffusion_white=values[0],
        diffusion_grey=values[1],
        proliferation=values[2],
        seed=tuple(values[3:6]),
        onset=values[6],
        profile=Seed(tumour.profile.amplitude, values[7]),
        **fields,
    )


def changes_on(engine) -> dict[str, TumourChange]:
    """Each field alone, and everything at once."""
    a, b = (waves(engine.space.owned, seed) for seed in (5, 6))
    return {
        "log_diffusion": TumourChange(log_diffusion=a),
        "log_proliferation": TumourChange(log_proliferation=b),
        "everything": TumourChange.of(SCALARS, log_diffusion=a, log_proliferation=b),
    }


@pytest.mark.parametrize("name", [*FIELDS, "everything"])
def test_dot(engine, name):
    here, change = tumour_on(engine), changes_on(engine)[name]
    run = engine.run(here, engine.plan(here, DAYS))
    duals = [waves(engine.space.owned, seed) for seed in (7, 8)]

    def tangent(direction):
        return [day[0] for day in engine.tangent(run, [direction])]

    def pairing(direction, derivative):
        fields = sum(
            float(getattr(direction, field) @ getattr(derivative, field))
            for field in FIELDS
            if getattr(direction, field) is not None
        )
        return float(direction.values @ derivative.values) + total(engine, fields)

    result = dot_test(
        tangent, lambda w: engine.adjoint(run, w), change, duals, lambda a, b: inner(engine, a, b), pairing
    )
    assert result.error < 1e-11


@pytest.mark.parametrize("name", [*FIELDS, "everything"])
def test_taylor_rates_of_the_densities(engine, name):
    """1 without the tangent, 2 with it; and the tangent is what central differences of two runs say."""
    here, change = tumour_on(engine), changes_on(engine)[name]
    plan = engine.plan(here, DAYS)
    tangent = np.array([day[0] for day in engine.tangent(engine.run(here, plan), [change])])

    def states(h):
        return np.array(engine.run(moved(here, change, h), plan, keep=False).densities)

    steps = [0.5**k for k in range(1, 6)]
    rates = [
        taylor_test(states, 0.0, 1.0, slope=s, steps=steps, norm=lambda v: size(engine, v), precision=1e-11).rate
        for s in (None, tangent)
    ]
    assert rates == pytest.approx([1.0, 2.0], abs=0.1)
    e = 1e-3
    assert size(engine, (states(e) - states(-e)) / (2.0 * e) - tangent) < 1e-5 * size(engine, tangent)


@pytest.mark.parametrize("field", FIELDS)
def test_gradient_of_a_functional(engine, field):
    """J = sum_i |u(t_i)|^2 / 2 by the adjoint, against central differences of J along a direction that is rough."""
    here = tumour_on(engine)
    plan = engine.plan(here, DAYS)
    run = engine.run(here, plan)
    direction = np.sin(50.0 * waves(engine.space.owned, 9))
    gradient = getattr(engine.adjoint(run, list(run.densities)), field)
    slope = total(engine, float(gradient @ direction))

    def value(h):
        u = engine.run(replace(here, **{field: getattr(here, field) + h * direction}), plan, keep=False).densities
        return 0.5 * inner(engine, u, u)

    result = taylor_test(value, 0.0, 1.0, slope, steps=[0.5**k for k in range(1, 6)], precision=1e-11)
    assert result.rate == pytest.approx(2.0, abs=0.1)
    e = 1e-3
    assert slope == pytest.approx((value(e) - value(-e)) / (2.0 * e), rel=1e-5)


def test_a_constant_field_is_a_factor(engine):
    """m_D = ln 2 doubles the diffusivities, m_r = ln 2 the growth: with both, all three rates are doubled.

    The factor that keeps the front's speed depends on the ratio of the rates alone, so it stays.
    """
    ones = np.ones(len(engine.space.owned))
    here = replace(tumour_on(engine), log_diffusion=np.log(2.0) * ones, log_proliferation=np.log(2.0) * ones)
    plan = engine.plan(here, DAYS)
    plain = replace(here, log_diffusion=None, log_proliferation=None)
    twice = replace(plain, diffusion_white=1.0, diffusion_grey=0.2, proliferation=0.12)
    a, b = (engine.run(one, plan) for one in (here, twice))
    for mine, theirs in zip(a.densities, b.densities, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12)
    x, y = (engine.adjoint(run, list(run.densities)) for run in (a, b))
    assert y.log_diffusion is None and y.log_proliferation is None
    np.testing.assert_allclose(x.values[3:], y.values[3:], rtol=1e-9)
    np.testing.assert_allclose(x.values[:3], 2.0 * y.values[:3], rtol=1e-9)
    by_diffusion, by_growth = (total(engine, float(field.sum())) for field in (x.log_diffusion, x.log_proliferation))
    assert by_diffusion + by_growth == pytest.approx(y.values[:3] @ [1.0, 0.2, 0.12], rel=1e-9)


def test_a_run_stays_linearised_while_others_with_other_fields_go_on(engine):
    """Matrices of old fields are freed; a run that is still held gets them again."""
    here, change = tumour_on(engine), changes_on(engine)["everything"]
    plan = engine.plan(here, DAYS)
    run = engine.run(here, plan)
    tangent, derivative = engine.tangent(run, [change]), engine.adjoint(run, list(run.densities))
    for number in range(5):
        engine.run(replace(here, log_diffusion=0.1 * number * here.log_diffusion), plan, keep=False)
    for before, after in zip(tangent, engine.tangent(run, [change]), strict=True):
        np.testing.assert_allclose(after, before, rtol=0, atol=1e-11)
    again = engine.adjoint(run, list(run.densities))
    np.testing.assert_allclose(again.values, derivative.values, rtol=1e-9)
    np.testing.assert_allclose(again.log_diffusion, derivative.log_diffusion, rtol=0, atol=1e-11)


def test_a_run_that_kept_no_states_has_no_derivatives(engine):
    here = tumour_on(engine)
    run = engine.run(here, engine.plan(here, DAYS), keep=False)
    with pytest.raises(NumericalError, match="keep=True"):
        engine.tangent(run, [TumourChange(diffusion_white=1.0)])
    with pytest.raises(NumericalError, match="keep=True"):
        engine.adjoint(run, list(run.densities))


@pytest.mark.parametrize("field", ["initial", *FIELDS])
def test_fields_of_another_mesh_are_refused(engine, field):
    here = replace(tumour_on(engine), **{field: np.zeros(3)})
    with pytest.raises(ConfigError, match=field):
        engine.run(here, engine.plan(here, DAYS))
