"""A surrogate against the solver that it was trained on, at parameters that neither training nor choice has seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from oncology.surrogate.forward import SurrogateGrowth
from oncology.surrogate.level import SurrogateEngine, tissue_fingerprint, warnings_of

from oncology.errors import DataError, NumericalError
from oncology.fem.engine import ModelEngine
from oncology.fem.patient import FiniteElements
from oncology.fem.runtime import world
from oncology.forecast.ensemble import grow_many
from oncology.inverse.fit import FitSettings
from oncology.optimise import dot_test, taylor_test
from oncology.surrogate.design import plan_runs
from oncology.surrogate.learn import relative_errors, snapshots_of
from oncology.surrogate.store import load_surrogate, save_surrogate
from oncology.verify.seeded import SeededGrowth
from tests.cases import write_case

# within the range of training, on no grid of it; the scans are on days 0 and 40
PARAMETERS = np.array([0.17, 0.021, 0.027, -15.0, 11.0, 9.0, -210.0])
SCALES = np.array([0.17, 0.021, 0.027, 1.0, 1.0, 1.0, 30.0])


@pytest.fixture(scope="module")
def level(patient, surrogate):
    solver = FiniteElements(world(), imported=patient.mesh)
    made = SurrogateEngine(surrogate, solver, solver).level(patient.case, FitSettings(), 9.0, 25.0, fine=False)
    yield made
    made.destroy()


@pytest.fixture(scope="module")
def solution(level, patient):
    return forward(level).solve(PARAMETERS)


def forward(level):
    return SurrogateGrowth(level.surrogate, level.space, level.cells, level.days)


def solver_of(level):
    base = level.base
    return SeededGrowth(ModelEngine(base.model), base.grid(PARAMETERS), base.seed)


def size(level, values) -> float:
    """L2 norm over the brain of values at the cell vertices, one array a day."""
    return float(np.sqrt(sum(level.space.volumes @ (day**2).mean(axis=1) for day in values)))


def test_training_finds_more_than_the_quadratic_that_it_starts_from(patient, surrogate):
    """A network without weights hands its input on."""
    quadratic = relative_errors(replace(surrogate, theta=torch.zeros_like(surrogate.theta)), patient.unseen)
    trained = relative_errors(surrogate, patient.unseen)
    assert np.median(trained) < 0.75 * np.median(quadratic)
    assert np.quantile(trained, 0.95) < 0.6 * np.quantile(quadratic, 0.95)


def test_the_stated_error_is_that_of_other_runs(patient, surrogate):
    planned = plan_runs(patient.domain, 16, 2, seed=77)
    runs = list(grow_many(patient.model, patient.mesh, [(p.parameters, p.days) for p in planned], {"law": "logistic"}))
    errors = relative_errors(surrogate, snapshots_of(runs, patient.mesh, patient.domain))
    stated = surrogate.facts["error"]
    assert np.median(errors) == pytest.approx(stated["median"], rel=0.5)
    assert stated["median"] < 0.06


def test_densities_lie_where_the_solver_has_them(level, solution):
    """Through two orders of vertices; at a vertex of another order the front would be elsewhere."""
    truth = solver_of(level).solve(PARAMETERS, linearise=False).densities
    miss = [a - b for a, b in zip(solution.densities, truth, strict=True)]
    assert size(level, miss) < 0.08 * size(level, truth)


def test_tangent_and_adjoint_are_exact(level, solution):
    rng = np.random.default_rng(3)
    for _ in range(3):
        direction = SCALES * rng.standard_normal(7)
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


def test_the_tangent_is_the_derivative(level, solution):
    growth = forward(level)
    rng = np.random.default_rng(4)
    direction = 0.1 * SCALES * rng.standard_normal(7)
    result = taylor_test(
        lambda p: np.stack(growth.solve(p).densities),
        PARAMETERS,
        direction,
        np.stack(solution.tangent(direction)),
        norm=lambda v: size(level, v),
    )
    assert result.rate == pytest.approx(2.0, abs=0.1)


def test_sensitivities_are_the_solvers(level, solution):
    """Of each parameter but D_g, which the densities hardly depend on: direction and size of the tangent."""
    truth = solver_of(level).solve(PARAMETERS)
    for number, scale in enumerate(SCALES):
        if number == 1:
            continue
        direction = scale * np.eye(7)[number]
        mine, theirs = solution.tangent(direction), truth.tangent(direction)
        assert size(level, [a - b for a, b in zip(mine, theirs, strict=True)]) < 0.3 * size(level, theirs), number


def test_parameters_that_no_tumour_has(level):
    with pytest.raises(NumericalError, match="positive rates"):
        forward(level).solve(np.array([*PARAMETERS[:6], 10.0]))


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
    (run,) = grow_many(patient.model, patient.mesh, [(PARAMETERS, np.array([0.0]))], {"law": "gompertz"})
    with pytest.raises(DataError, match="logistic"):
        snapshots_of([run], patient.mesh, patient.domain)
    with pytest.raises(DataError, match="another mesh"):
        snapshots_of([replace(run, mesh_fingerprint="other")], patient.mesh, patient.domain)


def test_what_the_user_is_warned_of(tmp_path, patient, surrogate):
    case = patient.case
    assert warnings_of(surrogate, case, PARAMETERS) == ()
    (outside,) = warnings_of(surrogate, case, PARAMETERS + np.array([0, 0, 0, 12.0, 0, 0, 0]))
    assert "outside the range" in outside and "seed x" in outside
    other = type(case).read(write_case(tmp_path, id="other", ventricle=9.0))
    assert tissue_fingerprint(other) != tissue_fingerprint(case)
    (note,) = warnings_of(surrogate, other, PARAMETERS)
    assert "other tissue maps" in note
