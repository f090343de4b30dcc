"""The misfit of a case on its finite-element level: derivatives by all unknowns, sums over ranks, observations."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from oncology.inverse.parameters import TRACER, Parametrisation

from oncology.fem.patient import MeshChoice, PatientLevel, make_level
from oncology.inverse.misfit import MaskObservation
from oncology.inverse.problem import Identification
from oncology.inverse.start import default_prior
from oncology.inverse.uncertainty import information
from oncology.optimise import taylor_test

CHOICE = MeshChoice(size=7.0, route="lattice", margin=14.0)
PARAMETRISATION = Parametrisation(0.0, ("whole", "core"), tracer=True)
X = PARAMETRISATION.pack(0.25, 0.05, 0.03, [-25.0, 11.0, 9.0], -150.0, (0.3, 0.55)) + 0.05 * np.eye(10)[9]
STEPS = [0.004 * 0.5**k for k in range(5)]


@pytest.fixture(scope="module")
def level(comm, spheres) -> PatientLevel:
    return make_level(comm, spheres, CHOICE, tolerance=1e-13, tracer=True)


def problem_of(level: PatientLevel, sharpness: float | None) -> Identification:
    prior = default_prior(PARAMETRISATION, np.array([-26.0, 12.0, 8.0]), (0.25, 0.60))
    return level.problem(PARAMETRISATION, X, prior, 40.0, sharpness)


@pytest.mark.mpi
@pytest.mark.parametrize("sharpness", [10.0, None])
def test_taylor_rates_of_the_misfit_by_every_unknown(level, sharpness):
    problem = problem_of(level, sharpness)
    gradient = problem.gradient(X)[1]
    for name, direction, slope in zip(PARAMETRISATION.names, np.eye(10), gradient, strict=True):
        value = cache(lambda h, direction=direction: problem.evaluate(X + h * direction))
        first, second = (taylor_test(value, 0.0, 1.0, s, steps=STEPS, precision=1e-11).rate for s in (None, slope))
        assert first == pytest.approx(1.0, abs=0.15), name
        # fractions are smooth except where a vertex passes the rim: there the slope has a kink
        assert second > (1.95 if sharpness else 1.85), name


@pytest.mark.mpi
@pytest.mark.parametrize("sharpness", [25.0, None])
def test_adjoint_gradient_is_that_of_the_tangents(level, sharpness):
    problem = problem_of(level, sharpness)
    value, gradient = problem.gradient(X)
    model = problem.linearise(X)
    assert value == pytest.approx(model.value, rel=1e-12)
    np.testing.assert_allclose(gradient, model.gradient, rtol=1e-6, atol=1e-8 * np.abs(gradient).max())


@pytest.mark.mpi
def test_sums_do_not_depend_on_the_ranks(comm, spheres, level):
    from mpi4py import MPI

    alone = make_level(MPI.COMM_SELF, spheres, CHOICE, tolerance=1e-13, tracer=True)
    found = []
    for one in (level, alone):
        problem = problem_of(one, None)
        model = problem.linearise(X)
        info = information(problem.tables(X), problem.forward.space, *one.box)
        found.append((model.value, model.gradient, model.hessian, info.scores, info.boundaries, info.misfit, info.blocks))
    alone.destroy()
    for ours, serial in zip(*found, strict=True):
        np.testing.assert_allclose(ours, serial, rtol=1e-7, atol=1e-9 * np.abs(serial).max())


@pytest.mark.mpi
def test_observed_volumes_are_those_of_the_images(level, spheres):
    discretisation = level.discretisation
    for observation in level.observations:
        if not isinstance(observation, MaskObservation):
            continue
        mask = getattr(spheres.sessions[observation.index], observation.region)
        seen = float(discretisation.total(np.array([discretisation.volumes @ observation.fractions]))[0])
        true = float(mask.data.sum() * mask.voxel_volume)
        if true > 5000.0:  # a core of 7 mm is one cell wide here
            assert seen == pytest.approx(true, rel=0.01)
        assert observation.level == (0.25 if observation.region == "whole" else 0.60)


@pytest.mark.mpi
def test_tracer_is_seen_near_the_tumour_only(level, spheres):
    tracers = [o for o in level.observations if o.region == TRACER]
    assert [o.index for o in tracers] == [0, 1]
    points, cells = level.discretisation.points, level.discretisation.cells
    away = np.linalg.norm(points[cells].mean(axis=1) - np.array([-26.0, 12.0, 8.0]), axis=1)
    for tracer, radius in zip(tracers, (14.0, 20.0), strict=True):
        assert (tracer.support[away > radius + 5.0 + 3.0] == 0.0).all()
        assert (tracer.support[away < radius] > 0.0).all()


@pytest.mark.mpi
def test_mesh_reaches_the_margin_and_knows_its_cut(comm, level):
    assert level.margin == 14.0
    away = np.linalg.norm(level.space.points - np.array([-26.0, 12.0, 8.0]), axis=1) - 20.0
    furthest = -level.discretisation.extremes(-float(away.max()), 0.0)[0]
    assert furthest == pytest.approx(14.0, abs=math.sqrt(3.0) * 3.0 + 0.5 * level.mesh.size)
    assert (away[level.cut] > 0.0).all()
    density = np.where(level.cut, 0.2, 0.9)
    assert level.cut_density(density[level.space.cells]) == pytest.approx(0.2)
