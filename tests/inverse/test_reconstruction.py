"""Reconstruction of an initial density: filter factors, discrepancy, mesh independence, the reference experiment."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from mpi4py import MPI

from oncology.fem.discretisation import discretise
from oncology.fem.engine import ModelEngine
from oncology.fem.runtime import world
from oncology.fem.tumour_model import TumourModel
from oncology.inverse.misfit import MaskObservation, Observation, VertexDensity
from oncology.inverse.rates import LogPrior
from oncology.inverse.reconstruct import FieldEstimate, FieldSettings, landweber_length, reconstruct_initial
from oncology.model.growth import Exponential
from oncology.model.timegrid import TimeGrid, plan_time_grid
from oncology.model.tumour import Tumour, TumourChange
from oncology.optimise import ConjugateGradient, Fixed, Status, zero
from tests.inverse.field_experiment import TUMOUR, Experiment, noisy

REFERENCE = Experiment(step=20.0)
COARSE = replace(REFERENCE, size=5.0)
# 1 / |F'|^2 = exp(-2 rho T)
LANDWEBER = FieldSettings(bounds=None, direction=ConjugateGradient(zero), step=Fixed(math.exp(-2.0 * 0.012 * 180.0)))


def reconstructed(
    engine: ModelEngine,
    grid: TimeGrid,
    data: tuple[Observation, ...],
    level: float | None,
    settings: FieldSettings | None = None,
    start: np.ndarray | None = None,
    tumour: Tumour = TUMOUR,
) -> FieldEstimate:
    days = [interval.start + interval.duration for interval in grid.intervals if interval.observe]
    return reconstruct_initial(engine, tumour, days, data, level, settings, start, plan=grid)


def distance(estimate: FieldEstimate, experiment: Experiment) -> tuple[float, float]:
    """Errors of centre of mass and peak, mm."""
    found, true = estimate.localisation, np.array(experiment.tumour)
    return float(np.linalg.norm(found.centre - true)), float(np.linalg.norm(found.peak - true))


def test_landweber_applies_its_filter_factors():
    cells, tumour = 40, Tumour(0.13, 0.13, 0.012, seed=(0.0,), onset=0.0)
    points = np.linspace(0.0, 40.0, cells + 1)[:, None]
    numbers = np.stack([np.arange(cells), np.arange(1, cells + 1)], axis=1)
    d = discretise(world(), points, numbers, np.ones(cells), np.zeros(cells))
    engine = ModelEngine(TumourModel(d, law=Exponential(), tolerance=1e-13))
    grid = plan_time_grid(0.0, (60.0,), (), longest_step=5.0)
    values = np.random.default_rng(3).uniform(0.0, 1.0, cells + 1)
    data = (VertexDensity(0, d.to_cells(values)),)

    run = engine.run(replace(tumour, initial=np.zeros(cells + 1)), grid)
    (columns,) = engine.tangent(run, [TumourChange(initial=unit) for unit in np.eye(cells + 1)])
    root = np.sqrt(d.lumped_mass)
    left, singular, right = np.linalg.svd(root[:, None] * columns.T / root)
    assert singular[0] == pytest.approx(math.exp(0.012 * 60.0))

    length = landweber_length(engine, tumour, (60.0,), data, iterations=40, plan=grid)
    assert length == pytest.approx(math.exp(-2.0 * 0.012 * 60.0), rel=1e-3)
    for iterations in (1, 10, 60):
        settings = replace(LANDWEBER, step=Fixed(length), max_iterations=iterations)
        estimate = reconstructed(engine, grid, data, None, settings, tumour=tumour)
        factors = (1.0 - (1.0 - length * singular**2) ** iterations) / singular
        expected = right.T @ (factors * (left.T @ (root * values))) / root
        assert estimate.iterations == iterations
        assert estimate.initial == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("fraction", [0.10, 0.05, 0.01])
def test_reference_localises_within_a_cell_and_seven_times_faster_than_landweber(fraction):
    engine, grid = REFERENCE.engine(world())
    case = noisy(REFERENCE, engine, grid, fraction)
    assert case.mismatch < 0.02

    found = reconstructed(engine, grid, case.data, case.level, FieldSettings(bounds=None))
    assert found.status is Status.DISCREPANCY
    assert max(distance(found, REFERENCE)) < REFERENCE.size

    most = 7 * found.iterations
    slow = reconstructed(engine, grid, case.data, case.level, replace(LANDWEBER, max_iterations=most))
    assert slow.status is Status.MAX_ITERATIONS and slow.residual > 1.1 * case.level


def test_reference_within_bounds():
    """0 <= phi <= 1 is information: the error of phi falls well below the unbounded one of 0.6 to 0.7."""
    engine, grid = REFERENCE.engine(world())
    d = engine.discretisation
    case = noisy(REFERENCE, engine, grid, 0.05)
    found = reconstructed(engine, grid, case.data, case.level)
    assert found.status is Status.DISCREPANCY
    assert max(distance(found, REFERENCE)) < REFERENCE.size
    assert found.initial.min() >= 0.0 and found.initial.max() <= 1.0
    assert d.integrate((found.initial - case.truth) ** 2) < 0.5**2 * d.integrate(case.truth**2)
    assert d.integrate(found.initial) == pytest.approx(d.integrate(case.truth), rel=0.05)


def test_three_dimensions():
    experiment = Experiment(
        brain=(56.0, 50.0, 48.0),
        inner=(42.0, 36.0, 34.0),
        box=120.0,
        tumour=(72.0, 52.0, 62.0),
        size=5.0,
        step=20.0,
    )
    engine, grid = experiment.engine(world())
    case = noisy(experiment, engine, grid, 0.05)
    found = reconstructed(engine, grid, case.data, case.level, FieldSettings(bounds=None))
    assert found.status is Status.DISCREPANCY
    assert max(distance(found, experiment)) < experiment.size
    slow = replace(LANDWEBER, max_iterations=7 * found.iterations)
    assert reconstructed(engine, grid, case.data, case.level, slow).status is Status.MAX_ITERATIONS


def test_going_on_below_the_noise_fits_the_noise():
    engine, grid = COARSE.engine(world())
    d = engine.discretisation
    case = noisy(COARSE, engine, grid, 0.10)
    stopped = reconstructed(engine, grid, case.data, case.level, FieldSettings(bounds=None))
    residuals = [record.residual for record in stopped.history]
    assert residuals[-1] <= 1.1 * case.level < residuals[-2]

    on = reconstructed(engine, grid, case.data, None, FieldSettings(bounds=None, max_iterations=150))
    errors = [d.integrate((estimate.initial - case.truth) ** 2) for estimate in (stopped, on)]
    assert on.residual < stopped.residual and errors[1] > 1.2 * errors[0]


def test_a_penalty_regularises_too():
    """Tikhonov in H1, iterated to the minimum: the larger alpha, the larger the residual and the smoother phi."""
    engine, grid = COARSE.engine(world())
    case = noisy(COARSE, engine, grid, 0.10)
    settings = FieldSettings(bounds=None, penalty_length=6.0, smoothing=6.0, max_iterations=60)
    found = [
        reconstructed(engine, grid, case.data, None, replace(settings, penalty=alpha)) for alpha in (0.1, 1.0, 10.0)
    ]
    residuals = [estimate.residual for estimate in found]
    highest = [estimate.localisation.highest for estimate in found]
    assert residuals == sorted(residuals) and highest == sorted(highest, reverse=True)


def test_conjugate_gradients_in_h1_do_not_see_the_mesh():
    histories = []
    for size in (5.0, 2.5):
        experiment = replace(REFERENCE, size=size)
        engine, grid = experiment.engine(world())
        case = noisy(experiment, engine, grid, 0.0)
        settings = FieldSettings(smoothing=6.0, bounds=None, max_iterations=12)
        estimate = reconstructed(engine, grid, case.data, None, settings)
        residuals = np.array([record.residual for record in estimate.history])
        histories.append(residuals / residuals[0])
    coarse, fine = histories
    # later residuals are so small that the two meshes' models of grey matter tell them apart
    assert coarse[:7] == pytest.approx(fine[:7], rel=0.08)
    for level in (0.4, 0.2, 0.15):
        assert abs(int(np.argmax(coarse < level)) - int(np.argmax(fine < level))) <= 1


def test_field_and_rates_together():
    """Two densities: growth and place are found, D_w moves the right way only, since the field can mimic it."""
    experiment = replace(COARSE, days=(120.0, 180.0))
    engine, grid = experiment.engine(world())
    case = noisy(experiment, engine, grid, 0.01)
    start = replace(TUMOUR, diffusion_white=0.45, proliferation=0.009)
    priors = (LogPrior("diffusion_white", 0.45, 0.4), LogPrior("proliferation", 0.009, 0.4))
    # white noise at each vertex: variance times the volume it stands for
    noise = case.level**2 / engine.discretisation.vertex_count
    settings = FieldSettings(priors=priors, noise=noise, max_iterations=300)
    found = reconstructed(engine, grid, case.data, case.level, settings, tumour=start)
    assert found.status is Status.DISCREPANCY
    assert max(distance(found, experiment)) < experiment.size
    assert found.tumour.proliferation == pytest.approx(TUMOUR.proliferation, rel=0.06)
    assert abs(math.log(found.tumour.diffusion_white / 0.65)) < 0.9 * abs(math.log(0.45 / 0.65))
    assert found.tumour.diffusion_grey == 0.13

    wrong = reconstructed(engine, grid, case.data, case.level, FieldSettings(max_iterations=100), tumour=start)
    assert wrong.status is not Status.DISCREPANCY and wrong.residual > 1.5 * found.residual


def test_masks_give_a_place_but_no_height():
    """Two thresholds on one day: where the tumour started is found, its first density is not."""
    engine, grid = COARSE.engine(world())
    d = engine.discretisation
    case = noisy(COARSE, engine, grid, 0.0)
    density = case.data[0].values
    start = None
    for sharpness in (10.0, 25.0):
        masks = [
            MaskObservation(name, 0, level, (density > level).mean(axis=1))
            for name, level in (("whole", 0.16), ("core", 0.35))
        ]
        found = reconstructed(engine, grid, masks, None, FieldSettings(max_iterations=30, sharpness=sharpness), start)
        start = found.initial
    assert max(distance(found, COARSE)) < COARSE.size
    grown, truth = (
        engine.run(replace(TUMOUR, initial=initial), grid, keep=False).densities[0]
        for initial in (found.initial, case.truth)
    )
    for level in (0.16, 0.35):
        both, either = (grown > level) & (truth > level), 1.0 * (grown > level) + (truth > level)
        assert 2.0 * d.integrate(1.0 * both) / d.integrate(either) > 0.85
    assert d.integrate((found.initial - case.truth) ** 2) > 0.3**2 * d.integrate(case.truth**2)


@pytest.mark.mpi
def test_the_same_on_any_number_of_ranks():
    priors = (LogPrior("proliferation", 0.01, 0.3),)
    settings = FieldSettings(smoothing=6.0, penalty=0.01, priors=priors, noise=1.0, max_iterations=6)
    found = []
    for comm in (world(), MPI.COMM_SELF):
        engine, grid = COARSE.engine(comm)
        case = noisy(COARSE, engine, grid, 0.05)
        estimate = reconstructed(engine, grid, case.data, None, settings)
        whole = world().bcast(engine.discretisation.gather(estimate.initial))
        found.append((whole, estimate.residual, estimate.tumour.proliferation, estimate.localisation.centre))
        assert estimate.iterations == 6
    shared, alone = found
    assert shared[0] == pytest.approx(alone[0], abs=1e-6)
    assert shared[1:3] == pytest.approx(alone[1:3], rel=1e-6)
    assert shared[3] == pytest.approx(alone[3], abs=1e-4)
