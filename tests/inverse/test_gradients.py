"""The misfit of a case on a finite-element level: derivatives by all unknowns, sums over ranks, observations."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from oncology.fem.patient import MeshChoice, meshed_engine
from oncology.inverse.levels import Level, level_of
from oncology.inverse.misfit import TRACER, MaskObservation
from oncology.inverse.problem import DenseCost, InverseProblem, residual_tables
from oncology.inverse.scalars import ScalarMap
from oncology.inverse.start import default_prior
from oncology.inverse.uncertainty import information
from oncology.model.growth import Logistic
from oncology.model.seed import Seed
from oncology.model.tumour import Tumour
from oncology.optimise import taylor_test

CHOICE = MeshChoice(size=7.0, route="lattice", margin=14.0)
UNKNOWNS = ScalarMap(0.0, ("whole", "core"), tracer=True)
TUMOUR = Tumour(0.25, 0.05, 0.03, (-25.0, 11.0, 9.0), -150.0, Seed(0.5, 10.0))
X = UNKNOWNS.pack(TUMOUR, {"whole": 0.3, "core": 0.55}) + 0.05 * np.eye(11)[10]
# the seeds overlap: their derivatives are no sum of those of two tumours; no vertex lies on an edge, where slopes bend
TWO_FOCI = replace(TUMOUR, seed=(-30.0, 9.0, 10.0), others=((-21.5, 16.0, 7.0),))
TWO = replace(UNKNOWNS, foci=2)
X_TWO = TWO.pack(TWO_FOCI, {"whole": 0.3, "core": 0.55}) + 0.05 * np.eye(14)[13]
FOCI = pytest.mark.parametrize(("unknowns", "x"), [(UNKNOWNS, X), (TWO, X_TWO)], ids=["one focus", "two foci"])
STEPS = [0.004 * 0.5**k for k in range(5)]


def made(comm, case) -> Level:
    return level_of(meshed_engine(comm, case, CHOICE, Logistic(), tolerance=1e-13), case, tracer=True)


@pytest.fixture(scope="module")
def level(comm, spheres) -> Level:
    return made(comm, spheres)


def problem_of(level: Level, sharpness: float | None, unknowns=UNKNOWNS, x=X) -> InverseProblem:
    given = {"whole": 0.25, "core": 0.60}
    prior = default_prior(unknowns, [[-26.0, 12.0, 8.0]] * unknowns.foci, given)
    return level.problem(replace(unknowns, start=x, prior=prior), x, 40.0, sharpness)


def assert_taylor(problem: InverseProblem, unknowns: ScalarMap, x: np.ndarray, sharpness: float | None) -> None:
    gradient = problem.evaluate(x).derivative()
    for name, direction, slope in zip(unknowns.names, np.eye(unknowns.size), gradient, strict=True):
        value = cache(lambda h, direction=direction: problem.evaluate(x + h * direction).value)
        first, second = (taylor_test(value, 0.0, 1.0, s, steps=STEPS, precision=1e-11).rate for s in (None, slope))
        assert first == pytest.approx(1.0, abs=0.15), name
        # fractions are smooth except where a vertex passes the threshold: there the slope has a kink
        assert second > (1.95 if sharpness else 1.85), name


@pytest.mark.mpi
@pytest.mark.parametrize("sharpness", [10.0, None])
def test_taylor_rates_of_the_misfit_by_every_unknown(level, sharpness):
    assert_taylor(problem_of(level, sharpness), UNKNOWNS, X, sharpness)


@pytest.mark.mpi
def test_taylor_rates_for_two_foci(level):
    assert_taylor(problem_of(level, 10.0, TWO, X_TWO), TWO, X_TWO, 10.0)


@pytest.mark.mpi
@FOCI
@pytest.mark.parametrize("sharpness", [25.0, None])
def test_adjoint_gradient_is_that_of_the_tangents(level, sharpness, unknowns, x):
    problem = problem_of(level, sharpness, unknowns, x)
    here = problem.evaluate(x)
    gradient, model = here.derivative(), DenseCost(problem).linearise(x)
    assert here.value == pytest.approx(model.value, rel=1e-12)
    np.testing.assert_allclose(gradient, model.gradient, rtol=1e-6, atol=1e-8 * np.abs(gradient).max())


@pytest.mark.mpi
def test_sums_do_not_depend_on_the_ranks(comm, spheres, level):
    from mpi4py import MPI

    alone = made(MPI.COMM_SELF, spheres)
    found = []
    for one in (level, alone):
        problem = problem_of(one, None)
        model = DenseCost(problem).linearise(X)
        info = information(residual_tables(problem.evaluate(X)), problem.space)
        sums = (info.scores, info.gradient, info.misfit, info.rims.tau, info.rims.length, info.rims.blocks)
        found.append((model.value, model.gradient, model.hessian, *sums))
    alone.destroy()
    for ours, serial in zip(*found, strict=True):
        np.testing.assert_allclose(ours, serial, rtol=1e-7, atol=1e-9 * np.abs(serial).max())


@pytest.mark.mpi
def test_observed_volumes_are_those_of_the_images(level, spheres):
    masks = [o for o in level.data.observations if isinstance(o, MaskObservation)]
    assert level.masks == tuple(masks)
    for observation in masks:
        mask = getattr(spheres.sessions[observation.index], observation.region)
        seen = float(level.space.total(np.array([level.space.volumes @ observation.fractions]))[0])
        true = float(mask.data.sum() * mask.voxel_volume)
        if true > 5000.0:  # a core of 7 mm is one cell wide here
            assert seen == pytest.approx(true, rel=0.01)
        assert observation.level == (0.25 if observation.region == "whole" else 0.60)


@pytest.mark.mpi
def test_tracer_is_seen_near_the_tumour_only(level, spheres):
    tracers = [o for o in level.data.observations if o.region == TRACER]
    assert [o.index for o in tracers] == [0, 1]
    away = np.linalg.norm(level.space.centres - np.array([-26.0, 12.0, 8.0]), axis=1)
    for tracer, radius in zip(tracers, (14.0, 20.0), strict=True):
        assert (tracer.support[away > radius + 5.0 + 3.0] == 0.0).all()
        assert (tracer.support[away < radius] > 0.0).all()


@pytest.mark.mpi
def test_mesh_reaches_the_margin_and_knows_its_cut(comm, level):
    assert level.margin == 14.0
    away = np.linalg.norm(level.space.points - np.array([-26.0, 12.0, 8.0]), axis=1) - 20.0
    furthest = level.space.extremes(0.0, float(away.max()))[1]
    assert furthest == pytest.approx(14.0, abs=math.sqrt(3.0) * 3.0 + 0.5 * level.mesh.size)
    assert (away[level.cut] > 0.0).all()
    density = np.where(level.cut, 0.2, 0.9)[: len(level.space.owned)]
    assert level.cut_density(density) == pytest.approx(0.2)
