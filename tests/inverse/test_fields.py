"""Fields of diffusion and proliferation as unknowns: derivatives, prior, optimum, posterior, on 1 and 2 ranks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg

from oncology.errors import ConfigError
from oncology.fem.boxes import kuhn_box
from oncology.fem.discretisation import discretise
from oncology.fem.engine import ModelEngine
from oncology.fem.tumour_model import TumourModel
from oncology.inverse.laplace import LowRankPosterior, laplace
from oncology.inverse.maps import Given
from oncology.inverse.misfit import CellDensity
from oncology.inverse.observe import FixedData
from oncology.inverse.priors import MaternPrior, matern_coefficients
from oncology.inverse.problem import InverseProblem
from oncology.inverse.solve import residual_noise, solve, taylor_test_problem
from oncology.inverse.unknowns import Field, Matern, Scalars
from oncology.model.seed import Seed
from oncology.model.tumour import Tumour

TUMOUR = Tumour(0.4, 0.1, 0.05, (1.0, -2.0), -40.0, Seed(0.5, 40.0))
DAYS = (0.0, 20.0)
EDGE = 30.0


def engine_on(comm, count: int = 10) -> ModelEngine:
    """White and grey halves of a square of 60 mm."""
    points, cells = kuhn_box([-EDGE] * 2, [EDGE] * 2, [count] * 2)
    white = (points[cells].mean(axis=1)[:, 0] < 8.0).astype(float)
    return ModelEngine(TumourModel(discretise(comm, points, cells, white, 1.0 - white), tolerance=1e-13))


def problem_on(engine: ModelEngine, sd: float = 0.5, noise: float = 0.05) -> InverseProblem:
    """Two densities of a tumour whose diffusion is higher to the right; both fields are unknown."""
    points = engine.space.owned
    true = replace(TUMOUR, log_diffusion=0.6 * np.tanh(points[:, 0] / 10.0), log_proliferation=0.0 * points[:, 0])
    run = engine.run(true, engine.plan(true, DAYS), keep=False)
    data = tuple(CellDensity(k, engine.space.to_cells(u).mean(axis=1)) for k, u in enumerate(run.densities))
    fixed = FixedData(DAYS, data)
    fields = [Field(name, Matern(sd, 30.0)).on(engine, fixed) for name in ("diffusion", "proliferation")]
    return InverseProblem(engine, fixed, Given(TUMOUR) + fields[0] + fields[1], noise, sharpness=25.0)


@pytest.mark.mpi
def test_gradient_and_curvature_have_their_taylor_rates(comm):
    problem = problem_on(engine_on(comm))
    x = 0.2 * problem.map.prior.sample(np.random.default_rng(0).standard_normal(len(problem.map.start)))
    assert taylor_test_problem(problem, x, length=0.03, precision=1e-11).rates == pytest.approx((1, 2, 3), abs=0.12)


@pytest.mark.mpi
def test_normal_product_is_that_of_the_jacobian(comm):
    problem = problem_on(engine_on(comm))
    here = problem.evaluate(problem.map.start)
    rng = np.random.default_rng(comm.rank)
    a, b = rng.standard_normal((2, len(here.x)))
    changes = zip(here.seen, here.push_forward(a), here.push_forward(b), strict=True)
    pairs = sum(float((problem.weights(s) * p * q).sum()) for s, p, q in changes) / problem.noise
    exact = float(problem.space.total(np.array([pairs]))[0])
    assert problem.dot(here.data_normal(a), b) == pytest.approx(exact, rel=1e-10)
    assert here.tangent(a).curvature == pytest.approx(
        problem.dot(here.data_normal(a) + problem.map.prior.precision(a), a), rel=1e-10
    )


def test_posterior_is_that_of_dense_algebra(comm):
    if comm.size > 1:
        pytest.skip("dense matrices on one rank")
    engine = engine_on(comm, 6)
    problem = problem_on(engine)
    found = solve(problem, measure_noise=False)
    assert found.status.succeeded and found.misfit < 0.05 * problem.evaluate(problem.map.start).misfit
    post = laplace(problem, found, modes=80)
    assert isinstance(post, LowRankPosterior)
    units = np.eye(len(found.x))
    normal = np.stack([found.here.data_normal(unit) for unit in units], axis=1)
    precision = np.stack([problem.map.prior.precision(unit) for unit in units], axis=1)
    exact = scipy.linalg.eigh(0.5 * (normal + normal.T), 0.5 * (precision + precision.T), eigvals_only=True)[::-1]
    leading = exact[exact > 1.0]
    np.testing.assert_allclose(post.eigenvalues[: len(leading)], leading, rtol=1e-3)
    covariance = np.linalg.inv(normal + precision)
    before = np.diag(np.linalg.inv(precision))
    known = before - post.modes**2 @ (post.eigenvalues / (1.0 + post.eigenvalues))
    # modes with eigenvalues below 0.05 are left out: they know less than that of the prior's variance
    assert (np.abs(known - np.diag(covariance)) <= 0.05 * before).all()
    draws = post.sample(400, seed=1)
    np.testing.assert_allclose(draws.std(axis=0), np.sqrt(np.diag(covariance)), rtol=0.2)
    np.testing.assert_allclose(draws.mean(axis=0), found.x, atol=4.0 * np.sqrt(np.diag(covariance).max() / 400))


@pytest.mark.mpi
def test_noise_is_the_misfit_for_each_block_that_holds_any(comm):
    """A square of 60 mm has 36 blocks of 10 mm; where nothing is missed on one half, 18 of them count."""
    engine = engine_on(comm, 12)
    run = engine.run(TUMOUR, engine.plan(TUMOUR, DAYS), keep=False)
    means = [engine.space.to_cells(u).mean(axis=1) for u in run.densities]
    for wrong, blocks in ((np.ones(len(engine.space.cells)), 36), (1.0 * (engine.space.centres[:, 0] < 0.0), 18)):
        data = FixedData(DAYS, tuple(CellDensity(k, mean + 0.5 * wrong) for k, mean in enumerate(means)))
        here = InverseProblem(engine, data, Given(TUMOUR), 1.0).evaluate(np.empty(0))
        assert residual_noise(here) == pytest.approx(here.misfit / blocks, rel=1e-6)
        assert here.misfit == pytest.approx(2 * 0.25 * 100.0 * blocks, rel=1e-3)


@pytest.mark.mpi
@pytest.mark.ranks
def test_draws_do_not_depend_on_the_ranks(comm):
    from mpi4py import MPI

    whole = []
    for one in (comm, MPI.COMM_SELF):
        engine = engine_on(one)
        problem = problem_on(engine)
        found = solve(problem, max_iterations=2, measure_noise=False)
        draw = laplace(problem, found, modes=10).sample(1, seed=5)[0]
        half = len(engine.space.owned)
        parts = [engine.gather(part) for part in (draw[:half], draw[half:])]
        whole.append(comm.bcast(parts))
    np.testing.assert_allclose(whole[0], whole[1], atol=1e-6)


def test_matern_prior_has_its_deviation_inside_and_little_more_at_the_edge(comm):
    """In free space the covariance is `sd^2 exp(-2 r / length)`; the Robin term holds the boundary down."""
    if comm.size > 1:
        pytest.skip("dense matrices on one rank")
    points, cells = kuhn_box([0.0] * 3, [80.0] * 3, [16] * 3)
    one = np.ones(len(cells))
    d = discretise(comm, points, cells, one, 0.0 * one)
    engine = ModelEngine(TumourModel(d))
    sd, length = 0.5, 30.0
    prior = MaternPrior(np.zeros(len(points)), engine.elliptic(*matern_coefficients(sd, length, 3)))
    centre = int(np.abs(engine.space.owned - 40.0).sum(axis=1).argmin())
    column = prior.covariance(np.eye(len(points))[centre])
    assert np.sqrt(column[centre]) == pytest.approx(1.03 * sd, rel=0.03)
    away = np.linalg.norm(engine.space.owned - engine.space.owned[centre], axis=1)
    near = (away > 7.0) & (away < 35.0)
    assert np.abs(column[near] - sd**2 * np.exp(-2.0 * away[near] / length)).max() < 0.03 * sd**2
    face = int(np.abs(engine.space.owned - [0.0, 40.0, 40.0]).sum(axis=1).argmin())
    assert np.sqrt(prior.covariance(np.eye(len(points))[face])[face]) == pytest.approx(1.14 * sd, rel=0.05)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Matern(sd=0.0),
        lambda: Matern(sd=2.5),
        lambda: Matern(length=-1.0),
        lambda: Field("onset", Matern()),
    ],
)
def test_mistakes_end_in_one_line(wrong):
    with pytest.raises(ConfigError) as caught:
        wrong()
    assert "\n" not in str(caught.value)


def test_lengths_that_do_not_suit_the_mesh_and_data_without_a_case_are_refused(comm):
    engine = engine_on(comm, 4)
    data = FixedData((0.0,), ())
    for length in (5.0, 2000.0):
        with pytest.raises(ConfigError, match="correlation length"):
            Field("diffusion", Matern(length=length)).on(engine, data)
    with pytest.raises(ConfigError, match="observe"):
        Scalars().on(engine, data)
