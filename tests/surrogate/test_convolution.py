"""The voxel flow with learned coefficients: against the plain voxel model, its own derivatives, runs of the solver."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from oncology.errors import DataError
from oncology.forecast.ensemble import grow_many
from oncology.model.seed import Seed
from oncology.model.timegrid import plan_time_grid, step_limit
from oncology.optimise import taylor_test
from oncology.surrogate.convolution import ClosureProblem, family_of, flow_on, learn_closure
from oncology.surrogate.design import plan_runs
from oncology.surrogate.voxels import learn_flow, load_flow, save_flow
from oncology.voxel.box import tissue_box
from tests.surrogate.conftest import FRAMES

LEARNT, UNSEEN = 8, 6


def rows(snapshots, count: int):
    """The first runs of snapshots: variables (count, F, 6) and densities (count, F, nv)."""
    return (part.reshape(-1, FRAMES, part.shape[1])[:count] for part in (snapshots.variables, snapshots.density))


@pytest.fixture(scope="module")
def box(patient):
    return tissue_box(patient.case, 8.0, 25.0)


@pytest.fixture(scope="module")
def problem(patient, box) -> ClosureProblem:
    family = family_of(box, patient.mesh, *rows(patient.train, LEARNT))
    return ClosureProblem(flow_on(box, patient.domain, cells=3), family)


@pytest.fixture(scope="module")
def small(problem) -> ClosureProblem:
    """Three runs, two frames, no penalty."""
    family = problem.family
    cut = replace(
        family, variables=family.variables[:3], reaches=family.reaches[:3, :2], density=family.density[:2, :3]
    )
    return ClosureProblem(problem.flow, cut, decay=0.0)


def zero(problem) -> torch.Tensor:
    return torch.zeros(problem.flow.shape, dtype=torch.float64)


def some(problem, seed: int, scale: float) -> torch.Tensor:
    source = torch.Generator().manual_seed(seed)
    return scale * torch.randn(problem.flow.shape, dtype=torch.float64, generator=source)


def test_means_over_voxels_keep_the_mass(patient, box, problem):
    _, density = rows(patient.train, LEARNT)
    mass = (density[:, -1][:, patient.mesh.cells].mean(axis=2) * patient.mesh.volumes).sum(axis=1)
    on_voxels = box.spacing**3 * problem.family.density[-1].sum(dim=1).numpy()
    np.testing.assert_allclose(on_voxels, mass, rtol=0.05)


def test_without_factors_it_is_the_voxel_model(problem):
    """One run of it in days, through its own time grid."""
    family, flow = problem.family, problem.flow
    length, ratio = np.exp(family.variables[0, :2])
    growth = 0.03
    white = length**2 * growth
    days = family.reaches[0] / (2.0 * np.sqrt(white * growth))
    grid = plan_time_grid(0.0, list(days), (), step_limit(growth, white, Seed(radius=family.variables[0, 5]).width))
    rates = np.array([[white, ratio * white, growth]])
    run = flow.model.run(rates, problem.seeds[:1], grid, keep=False)
    expected = torch.stack([u[0] for u in run.observations])
    frames = problem.evaluate(zero(problem)).frames[:, 0]
    assert float(torch.linalg.norm(frames - expected)) < 0.02 * float(torch.linalg.norm(expected))


def test_the_derivative_is_exact(small):
    here, direction = some(small, 1, 0.1), some(small, 2, 0.1)
    slope = float((small.evaluate(here).derivative() * direction).sum())
    result = taylor_test(lambda x: small.evaluate(x).value, here, direction, slope)
    assert result.rate == pytest.approx(2.0, abs=0.1)


def test_the_curvature_is_exact_where_nothing_is_missed(small):
    truth, direction = some(small, 1, 0.1), some(small, 2, 0.1)
    exact = replace(small, family=replace(small.family, density=small.evaluate(truth).frames))
    curvature = exact.evaluate(truth).tangent(direction).curvature
    result = taylor_test(lambda x: exact.evaluate(x).value, truth, direction, 0.0, curvature)
    assert exact.evaluate(truth).value == 0.0
    assert result.rate == pytest.approx(3.0, abs=0.2)


def test_known_factors_are_reproduced(small):
    truth = some(small, 3, 0.1)
    known = replace(small, family=replace(small.family, density=small.evaluate(truth).frames))
    before = known.evaluate(zero(known)).residual
    assert known.evaluate(learn_closure(known, iterations=15)).residual < 0.15 * before


def test_it_comes_nearer_to_runs_of_the_solver_that_it_has_not_seen(patient, box, problem):
    unseen = replace(problem, family=family_of(box, patient.mesh, *rows(patient.unseen, UNSEEN)))
    plain = unseen.evaluate(zero(problem)).errors
    learnt = unseen.evaluate(learn_closure(problem, iterations=10)).errors
    assert np.median(learnt) < 0.8 * np.median(plain)  # voxels that keep the speed of fronts leave less to learn
    assert learnt.max() < 0.8 * plain.max()


def test_a_flow_comes_back_from_its_file(tmp_path, problem):
    theta = some(problem, 5, 0.1)
    save_flow(tmp_path / "voxels.h5", problem.flow, theta, {})
    flow, read = load_flow(tmp_path / "voxels.h5")
    assert flow.grid == problem.flow.grid
    again, once = (replace(problem, flow=f).evaluate(t).value for f, t in ((flow, read), (problem.flow, theta)))
    assert again == once
    whole = (tmp_path / "voxels.h5").read_bytes()
    (tmp_path / "voxels.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="train again"):
        load_flow(tmp_path / "voxels.h5")
    with pytest.raises(DataError, match="give --voxels"):
        load_flow(tmp_path / "nowhere.h5")


def test_runs_of_different_lengths_make_no_family(patient, box):
    planned = plan_runs(patient.domain, 8, 3, seed=1)
    days = [plan.days[: 3 - number] for number, plan in enumerate(planned[:2])]
    runs = list(grow_many(patient.engine, zip([p.tumour for p in planned[:2]], days, strict=True), {}))
    with pytest.raises(DataError, match="same number"):
        learn_flow(box, patient.mesh, patient.domain, runs, runs)
