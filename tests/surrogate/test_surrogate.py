"""A surrogate against the solver that it was trained on, at parameters that neither training nor choice has seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from oncology.errors import DataError, NumericalError
from oncology.fem.engine import FemRun
from oncology.fem.patient import FiniteElementEngines
from oncology.fem.runtime import world
from oncology.forecast.ensemble import grow_many
from oncology.inverse.levels import level_of
from oncology.model.growth import Logistic
from oncology.model.seed import Seed
from oncology.model.tumour import Tumour, TumourChange
from oncology.optimise import dot_test, taylor_test
from oncology.surrogate.design import plan_runs
from oncology.surrogate.engine import (
    SurrogateDays,
    SurrogateEngine,
    SurrogateEngines,
    SurrogateRun,
    tissue_fingerprint,
    warnings_of,
)
from oncology.surrogate.learn import relative_errors, snapshots_of
from oncology.surrogate.store import load_surrogate, save_surrogate
from oncology.verify.seeded import SeededGrowth
from tests.cases import write_case

# within the range of training, on no grid of it; the scans are on days 0 and 40
TUMOUR = Tumour(0.17, 0.021, 0.027, (-15.0, 11.0, 9.0), -210.0, Seed(0.5, 15.0))
DAYS = (0.0, 40.0)
PARAMETERS = TUMOUR.values
SCALES = np.array([0.17, 0.021, 0.027, 1.0, 1.0, 1.0, 30.0, 1.0])


@pytest.fixture(scope="module")
def engine(patient, surrogate):
    own = FiniteElementEngines(world(), imported=patient.mesh)
    made = SurrogateEngines(surrogate, own, own).make(patient.case, Logistic(), 9.0, 25.0, fine=False)
    assert isinstance(made.engine, SurrogateEngine) and np.isinf(made.margin)
    assert level_of(made, patient.case).name == "surrogate of 9 mm"
    yield made.engine
    made.engine.destroy()


@pytest.fixture(scope="module")
def growth(engine):
    plan = engine.plan(TUMOUR, DAYS)
    assert isinstance(plan, SurrogateDays)
    return SeededGrowth(engine, plan)


@pytest.fixture(scope="module")
def solution(growth):
    found = growth.solve(PARAMETERS)
    assert isinstance(found.run, SurrogateRun)
    return found


@pytest.fixture(scope="module")
def truth(engine):
    """The solver's own run."""
    base = engine.base
    return SeededGrowth(base, base.plan(TUMOUR, DAYS)).solve(PARAMETERS)


def size(engine, values) -> float:
    """L2 norm over the brain of values at the cell vertices, one array a day."""
    return float(np.sqrt(sum(engine.space.volumes @ (day**2).mean(axis=1) for day in values)))


def test_training_finds_more_than_the_quadratic_that_it_starts_from(patient, surrogate):
    """A network without weights hands its input on."""
    quadratic = relative_errors(replace(surrogate, theta=torch.zeros_like(surrogate.theta)), patient.unseen)
    trained = relative_errors(surrogate, patient.unseen)
    assert np.median(trained) < 0.75 * np.median(quadratic)
    assert np.quantile(trained, 0.95) < 0.6 * np.quantile(quadratic, 0.95)


def test_the_stated_error_is_that_of_other_runs(patient, surrogate):
    planned = plan_runs(patient.domain, 16, 2, seed=77)
    runs = list(grow_many(patient.engine, [(p.tumour, p.days) for p in planned], {"law": "logistic"}))
    errors = relative_errors(surrogate, snapshots_of(runs, patient.mesh, patient.domain))
    stated = surrogate.facts["error"]
    assert np.median(errors) == pytest.approx(stated["median"], rel=0.5)
    assert stated["median"] < 0.06


def test_densities_lie_where_the_solver_has_them(engine, solution, truth):
    """Through two orders of vertices; at a vertex of another order the front would be elsewhere."""
    miss = [a - b for a, b in zip(solution.densities, truth.densities, strict=True)]
    assert size(engine, miss) < 0.08 * size(engine, truth.densities)


def test_tangent_and_adjoint_are_exact(solution):
    rng = np.random.default_rng(3)
    for _ in range(3):
        direction = SCALES * rng.standard_normal(8)
        duals = tuple(rng.standard_normal(day.shape) for day in solution.densities)
        result = dot_test(
            solution.tangent,
            solution.adjoint,
            direction,
            duals,
            lambda v, w: sum(float((a * b).sum()) for a, b in zip(v, w, strict=True)),
            np.dot,
        )
        assert result.error < 1e-12


def test_the_tangent_is_the_derivative(engine, growth, solution):
    rng = np.random.default_rng(4)
    direction = 0.1 * SCALES * rng.standard_normal(8)
    result = taylor_test(
        lambda p: np.stack(growth.solve(p).densities),
        PARAMETERS,
        direction,
        np.stack(solution.tangent(direction)),
        norm=lambda v: size(engine, v),
    )
    assert result.rate == pytest.approx(2.0, abs=0.1)


def test_sensitivities_are_the_solvers(engine, solution, truth):
    """Of each parameter but D_g, which the densities hardly depend on: direction and size of the tangent."""
    for number, scale in enumerate(SCALES):
        if number == 1:
            continue
        direction = scale * np.eye(8)[number]
        mine, theirs = solution.tangent(direction), truth.tangent(direction)
        assert size(engine, [a - b for a, b in zip(mine, theirs, strict=True)]) < 0.3 * size(engine, theirs), number


def test_parameters_that_no_tumour_has(growth):
    with pytest.raises(NumericalError, match="positive rates"):
        growth.solve(np.array([*PARAMETERS[:6], 10.0, 9.0]))


@pytest.mark.parametrize("field", ["initial", "log_diffusion", "log_proliferation"])
def test_what_no_seed_explains_is_left_to_the_solver(engine, field):
    """A tumour with fields, whether the days were planned for it or for a seed: runs and both derivatives."""
    points = engine.space.owned
    values = TUMOUR.start(engine.space) if field == "initial" else 0.3 * np.cos(0.1 * points[:, 0])
    tumour, base = replace(TUMOUR, **{field: values}), engine.base
    expected = base.run(tumour, base.plan(tumour, DAYS))
    change = TumourChange(proliferation=0.01, **{field: 0.1 * values})
    for plan in (engine.plan(tumour, DAYS), engine.plan(TUMOUR, DAYS)):
        run = engine.run(tumour, plan)
        assert isinstance(run, FemRun)
        for mine, theirs in zip(run.densities, expected.densities, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12)
        mine, theirs = (one.tangent(of, [change])[1][0] for one, of in ((engine, run), (base, expected)))
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-9)
        mine, theirs = (one.adjoint(of, list(of.densities)) for one, of in ((engine, run), (base, expected)))
        np.testing.assert_allclose(mine.values, theirs.values, rtol=1e-6)
        np.testing.assert_allclose(getattr(mine, field), getattr(theirs, field), rtol=0, atol=1e-6)


def test_days_before_its_range_and_courses_are_left_to_the_solver(engine):
    early = engine.run(TUMOUR, engine.plan(TUMOUR, [TUMOUR.onset + 5.0, 0.0]), keep=False)
    assert isinstance(early, FemRun)
    frames = []
    course = engine.run(TUMOUR, engine.plan(TUMOUR, DAYS), keep=False, record=lambda day, u: frames.append(day))
    assert isinstance(course, FemRun)
    assert frames[0] == TUMOUR.onset and frames[-1] == DAYS[-1] and len(frames) > 3


def test_a_surrogate_comes_back_from_its_folder(tmp_path, surrogate):
    save_surrogate(tmp_path, surrogate)
    again = load_surrogate(tmp_path)
    variables = 0.5 * (surrogate.domain.lower + surrogate.domain.upper)[None]
    expected = surrogate.respond(variables).densities
    np.testing.assert_allclose(again.respond(variables).densities, expected, atol=1e-6)  # the basis is float32
    assert again.facts == surrogate.facts


def test_folders_that_hold_no_surrogate(tmp_path, surrogate):
    with pytest.raises(DataError, match="holds no surrogate"):
        load_surrogate(tmp_path)
    save_surrogate(tmp_path, surrogate)
    whole = (tmp_path / "surrogate.h5").read_bytes()
    (tmp_path / "surrogate.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="train again"):
        load_surrogate(tmp_path)


def test_runs_that_are_of_no_use(patient):
    (run,) = grow_many(patient.engine, [(TUMOUR, np.array([0.0]))], {"law": "gompertz"})
    with pytest.raises(DataError, match="logistic"):
        snapshots_of([run], patient.mesh, patient.domain)
    with pytest.raises(DataError, match="another mesh"):
        snapshots_of([replace(run, mesh_fingerprint="other")], patient.mesh, patient.domain)


def test_what_the_user_is_warned_of(tmp_path, patient, surrogate):
    case = patient.case
    assert warnings_of(surrogate, case, PARAMETERS) == ()
    (outside,) = warnings_of(surrogate, case, PARAMETERS + np.array([0, 0, 0, 12.0, 0, 0, 0, 0]))
    assert "outside the range" in outside and "seed x" in outside
    other = type(case).read(write_case(tmp_path, id="other", ventricle=9.0))
    assert tissue_fingerprint(other) != tissue_fingerprint(case)
    (note,) = warnings_of(surrogate, other, PARAMETERS)
    assert "other tissue maps" in note
