"""0 <= u <= 1: exactly with backward Euler on the lattice, nearly with the default scheme; conservation of mass."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncology.fem.diffusion import BackwardEuler, Sdirk2
from oncology.fem.discretisation import discretise
from oncology.fem.engine import ModelEngine
from oncology.fem.rates import Rates
from oncology.fem.runtime import world
from oncology.fem.tumour_model import TumourModel
from oncology.imaging import Case
from oncology.meshing import build_mesh
from oncology.model.growth import Exponential, Gompertz, Logistic
from oncology.model.seed import Seed
from oncology.model.timegrid import plan_time_grid, step_limit
from oncology.verify.derivatives import vertex_noise
from oncology.verify.seeded import SeededGrowth
from oncology.verify.verification import equal_steps, mass_balance
from tests.fem.meshes import mixed_box, owned


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dimension=st.integers(1, 3),
    diffusion=st.floats(1e-3, 10.0),
    ratio=st.floats(1e-3, 1.0),
    proliferation=st.floats(0.0, 0.5),
    step=st.floats(0.01, 50.0),
    law=st.sampled_from([Logistic(), Gompertz()]),
)
def test_maximum_principle_of_backward_euler(seed, dimension, diffusion, ratio, proliferation, step, law):
    """Random mixtures of tissue in every cell, densities of 0 and 1 at random vertices, any step."""
    box = mixed_box(world(), dimension, 4, 6.0, seed, corrected_mass=False)
    model = TumourModel(box, law, BackwardEuler(), tolerance=1e-14)
    sharp = np.random.default_rng(seed).integers(0, 2, box.owned).astype(float)
    run = model.run(Rates(diffusion, ratio * diffusion, proliferation), sharp, equal_steps(4 * step, 4), keep=False)
    model.destroy()
    box.destroy()
    # the solves are iterative: their residual, not the scheme, may leave rounding
    assert run.lowest >= -1e-13
    assert run.highest <= 1.0 + 1e-13


@pytest.mark.slow
@pytest.mark.parametrize(("route", "bound"), [("lattice", 1e-4), ("stuffing", 1e-3)])
def test_default_scheme_from_the_default_seed_in_a_brain(comm, shared_cases, route, bound):
    """peer01 around its tumour at 2.5 mm, with the default step, until the tumour is at capacity.

    Fronts in grey matter are down to a sixth of a cell wide; the last, a twentieth, is for the lattice alone: there the
    consistent part of the mass undershoots by 5e-4 at the edge of the seed.
    """
    case = Case.read(shared_cases / "sub-peer01")
    whole = case.sessions[-1].whole
    centre = whole.world(np.argwhere(whole.data)).mean(axis=0)
    mesh, _ = build_mesh(case.white, case.grey, 2.5, route, box=(centre - 40.0, centre + 40.0))
    brain = discretise(comm, mesh.points, mesh.cells, mesh.white, mesh.grey)
    model = TumourModel(brain)
    wide = [Rates(0.3, 0.03, 0.02), Rates(0.65, 0.13, 0.012), Rates(0.1, 0.005, 0.03)]
    thin = [Rates(0.05, 0.001, 0.05)] if route == "lattice" else []
    for rates in [*wide, *thin]:
        below = bound if rates in wide else 1e-3
        longest = step_limit(rates.proliferation, rates.diffusion_white, Seed().width)
        grid = plan_time_grid(0.0, [50.0, 150.0, 400.0], (), longest)
        parameters = np.array([rates.diffusion_white, rates.diffusion_grey, rates.proliferation, *centre, 0.0, 6.5])
        run = SeededGrowth(ModelEngine(model), grid).solve(parameters, linearise=False).run.run
        assert -below <= run.lowest <= 0.0 + bound, rates
        assert run.highest <= 1.0 + bound, rates
    assert run.highest > 0.99  # so that the upper bound was put to the test


@pytest.mark.mpi
@pytest.mark.parametrize("scheme", [Sdirk2(), BackwardEuler()])
@pytest.mark.parametrize("law", [Exponential(), Logistic(), Gompertz()])
def test_mass_balance(comm, scheme, law):
    """Diffusion keeps the integral; what is gained is the integral of rho f(u) over space and time."""
    box = mixed_box(comm, count=6)
    model = TumourModel(box, law, scheme, tolerance=1e-13)
    start = 0.3 + 0.2 * np.cos(0.2 * owned(box)).prod(axis=1)
    gains = []
    for steps in (20, 40):
        run = model.run(Rates(0.5, 0.1, 0.05), start, equal_steps(20.0, steps))
        balance = mass_balance(model, run, run.observations[0])
        assert balance.leak < 1e-11
        gains.append(abs(balance.gain / balance.reaction - 1.0))
    assert gains[1] < 1e-3
    assert np.log2(gains[0] / gains[1]) > 1.9


def test_extremes_cover_every_step(comm):
    """The run reports what happened between the observations too."""
    box = mixed_box(comm, 1, count=40)
    model = TumourModel(box)
    record: list[tuple[float, np.ndarray]] = []
    start = (vertex_noise(box, 0) > 1.5).astype(float)
    run = model.run(Rates(5.0, 5.0, 0.3), start, equal_steps(30.0, 30), record=lambda day, u: record.append((day, u)))
    assert [day for day, _ in record] == pytest.approx(np.arange(31.0))
    assert run.lowest == min(u.min() for _, u in record)
    assert run.highest == max(u.max() for _, u in record)
