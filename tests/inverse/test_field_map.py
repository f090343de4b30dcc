"""The finite-element map from an initial density: tangent, adjoint, inner products and singular values."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from oncology.errors import ConfigError
from oncology.fem.discretisation import discretise
from oncology.fem.elliptic import EllipticOperator
from oncology.fem.engine import ModelEngine
from oncology.fem.runtime import world
from oncology.fem.tumour_model import TumourModel
from oncology.inverse.misfit import CellDensity, MaskObservation, VertexDensity
from oncology.inverse.problem import InverseProblem
from oncology.inverse.rates import LogPrior
from oncology.inverse.reconstruct import (
    FieldSettings,
    Localisation,
    initial_problem,
    localise,
    reconstruct_initial,
    sobolev_space,
)
from oncology.model.growth import Exponential, Gompertz, Logistic
from oncology.model.timegrid import TimeGrid, plan_time_grid
from oncology.model.treatment import Radiotherapy
from oncology.model.tumour import TumourChange
from oncology.optimise import dot_test, taylor_test
from tests.inverse.field_experiment import TUMOUR, Experiment

COARSE = Experiment(size=10.0, days=(60.0, 90.0))
LAWS = pytest.mark.parametrize("law", [Exponential(), Logistic(), Gompertz()], ids=lambda law: type(law).__name__)


def growth(law) -> tuple[ModelEngine, TimeGrid]:
    """Radiotherapy between the two observation days."""
    treatments = (Radiotherapy(day=70.0, dose_gy=10.0, fractions=5),)
    grid = plan_time_grid(0.0, COARSE.days, treatments, longest_step=15.0)
    return ModelEngine(TumourModel(discretise(world(), *COARSE.mesh()), law=law, tolerance=1e-13)), grid


def random_field(discretisation, seed: int) -> np.ndarray:
    """Owned part of a field that does not depend on the number of ranks."""
    return discretisation.scatter(np.random.default_rng(seed).standard_normal(discretisation.vertex_count))


def everything(engine: ModelEngine, grid: TimeGrid) -> tuple[InverseProblem, EllipticOperator]:
    """A problem with every kind of data, a penalty and two unknown rates."""
    d = engine.discretisation
    cells = d.input_cells
    values = np.random.default_rng(5).uniform(0.0, 0.4, (3, d.cell_count))[:, cells]
    data = (
        CellDensity(0, values[0]),
        VertexDensity(1, d.to_cells(random_field(d, 6))),
        MaskObservation("whole", 1, 0.2, values[2]),
    )
    metric = engine.elliptic(12.0**2, 1.0)
    priors = (LogPrior("proliferation", 0.01, 0.3), LogPrior("diffusion_grey", 0.1, 0.3))
    settings = FieldSettings(priors=priors, penalty=0.2, noise=50.0, sharpness=8.0)
    return initial_problem(engine, TUMOUR, COARSE.days, data, settings, metric, plan=grid), metric


@LAWS
@pytest.mark.mpi
def test_adjoint_is_the_transpose_of_the_tangent(law):
    engine, grid = growth(law)
    d = engine.discretisation
    run = engine.run(replace(TUMOUR, initial=COARSE.initial(d.points[: d.owned])), grid)
    # the duals are scaled by volumes, as a misfit's are
    covector = tuple(d.from_cells(d.volumes[:, None] * d.to_cells(random_field(d, seed))) for seed in (1, 2))

    def of_range(a, b) -> float:
        return float(d.total(np.array([sum(float(p @ q) for p, q in zip(a, b, strict=True))]))[0])

    def of_domain(a: TumourChange, b: TumourChange) -> float:
        return float(d.total(np.array([a.initial @ b.initial]))[0] + a.values[:3] @ b.values[:3])

    def tangent(change: TumourChange) -> tuple[np.ndarray, ...]:
        return tuple(day[0] for day in engine.tangent(run, [change]))

    direction = TumourChange(0.1, 0.02, 0.003, initial=random_field(d, 3))
    result = dot_test(tangent, lambda duals: engine.adjoint(run, duals), direction, covector, of_range, of_domain)
    assert result.error < 1e-11


@LAWS
@pytest.mark.mpi
def test_field_and_rates_have_taylor_rates_one_and_two(law):
    engine, grid = growth(law)
    d = engine.discretisation
    problem, metric = everything(engine, grid)
    x = np.concatenate([[0.2, -0.1], 0.3 + COARSE.initial(d.points[: d.owned])])
    direction = np.concatenate([[0.1, 0.2], 0.02 * random_field(d, 8)])
    gradient = problem.evaluate(x).derivative()
    slope = float(d.total(np.array([gradient[2:] @ direction[2:]]))[0] + gradient[:2] @ direction[:2])
    assert problem.dot(gradient, direction) == pytest.approx(slope, rel=1e-14)

    def value(y: np.ndarray) -> float:
        return problem.evaluate(y).value

    first = taylor_test(value, x, direction, precision=1e-11)
    second = taylor_test(value, x, direction, slope=slope, precision=1e-11)
    assert first.rate == pytest.approx(1.0, abs=0.05)
    assert second.rate == pytest.approx(2.0, abs=0.05)
    metric.destroy()


@pytest.mark.parametrize("length", [0.0, 20.0])
@pytest.mark.mpi
def test_the_gradient_represents_the_derivative(length):
    d = discretise(world(), *COARSE.mesh())
    metric = EllipticOperator(d, length**2, 1.0, 0.0)
    space = sobolev_space(metric, d.total)
    f, direction = d.lumped_mass * random_field(d, 1), random_field(d, 2)
    assert space.inner(space.riesz(f), direction) == pytest.approx(space.dual(f, direction), rel=1e-8)
    assert metric.solve(metric.apply(direction)) == pytest.approx(direction, abs=1e-8)
    # constants are not smoothed
    assert space.riesz(d.lumped_mass) == pytest.approx(np.ones(d.owned), abs=1e-8)
    metric.destroy()


def interval(cells: int, length: float):
    points = np.linspace(0.0, length, cells + 1)[:, None]
    numbers = np.stack([np.arange(cells), np.arange(1, cells + 1)], axis=1)
    return discretise(world(), points, numbers, np.ones(cells), np.zeros(cells), corrected_mass=False)


def test_the_h1_gradient_of_a_cosine():
    """(I - l^2 d^2/dx^2) g = cos(k pi x / L) with zero slope at the ends: g = cos / (1 + (l k pi / L)^2)."""
    errors = []
    for cells in (20, 40, 80):
        d = interval(cells, 30.0)
        metric = EllipticOperator(d, 4.0**2, 1.0, 0.0)
        cosine = np.cos(3.0 * math.pi * d.points[: d.owned, 0] / 30.0)
        exact = cosine / (1.0 + (4.0 * 3.0 * math.pi / 30.0) ** 2)
        errors.append(np.abs(metric.solve(d.lumped_mass * cosine) - exact).max())
        metric.destroy()
    assert np.log2(np.array(errors[:-1]) / errors[1:]) == pytest.approx(2.0, abs=0.1)


def test_cosines_grow_by_the_singular_values_of_the_backward_problem():
    """Exponential growth: sigma_k = exp(rho T - D m_k T), m_k the eigenvalue of the lumped stencil."""
    d = interval(200, 100.0)
    grid = plan_time_grid(0.0, (180.0,), (), longest_step=1.0)
    engine = ModelEngine(TumourModel(d, law=Exponential()))
    x = d.points[: d.owned, 0]
    for k in (0, 1, 3, 6):
        cosine = np.cos(k * math.pi * x / 100.0)
        grown = engine.run(replace(TUMOUR, initial=cosine), grid, keep=False).densities[0]
        eigenvalue = (2.0 / 0.5 * math.sin(0.5 * k * math.pi * 0.5 / 100.0)) ** 2
        sigma = math.exp(0.012 * 180.0 - 0.65 * eigenvalue * 180.0)
        assert grown == pytest.approx(sigma * cosine, abs=1e-4 * sigma)


@pytest.mark.mpi
def test_localisation_of_a_gaussian_and_of_nothing():
    e = replace(COARSE, size=5.0)
    engine, _ = e.engine(world())
    d = engine.discretisation
    # the true maximum is a vertex here, so the peak is exact
    e = replace(e, tumour=(97.5, 72.5))
    found = localise(engine, e.initial(d.points[: d.owned]))
    assert isinstance(found, Localisation)
    assert found.peak == pytest.approx(e.tumour)
    assert found.centre == pytest.approx(e.tumour, abs=1e-3)
    assert found.highest == pytest.approx(0.6)
    nowhere = localise(engine, np.full(d.owned, -1.0))
    assert np.isnan(nowhere.centre).all() and np.isnan(nowhere.peak).all()


def test_mistakes_end_in_one_line():
    engine, grid = growth(Logistic())
    d = engine.discretisation
    third_day = (VertexDensity(2, d.to_cells(d.lumped_mass)),)
    first_day = (VertexDensity(0, d.to_cells(d.lumped_mass)),)

    def reconstruct(data, level, settings=None):
        return lambda: reconstruct_initial(engine, TUMOUR, COARSE.days, data, level, settings, plan=grid)

    wrong = [
        reconstruct((), None),
        reconstruct(third_day, 1.0),
        reconstruct(first_day, 1.0, FieldSettings(smoothing=-1.0)),
        lambda: EllipticOperator(d, -1.0, 1.0, 0.0),
        lambda: FieldSettings(penalty=-1.0),
        lambda: FieldSettings(bounds=(1.0, 0.0)),
    ]
    for call in wrong:
        with pytest.raises(ConfigError) as caught:
            call()
        assert "\n" not in str(caught.value)
