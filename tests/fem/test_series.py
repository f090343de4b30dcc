"""Frames of a growing tumour: the days, equality with a single run, and volumes with a closed form."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncology.cli.runtime import world
from oncology.fem import series
from oncology.fem.discretisation import discretise
from oncology.fem.rates import Rates
from oncology.fem.series import frame_days, grow, volumes_above
from oncology.fem.tumour_model import TumourModel
from oncology.meshing import build_mesh
from oncology.model.timegrid import plan_time_grid
from oncology.model.treatment import Chemotherapy, Radiotherapy, Resection
from tests.meshing.images import ball_maps

RATES = Rates(0.3, 0.05, 0.02)
TREATMENTS = (Radiotherapy(30.0, 6.0, 3), Chemotherapy(40.0, 0.3, 2.0), Resection(50.0), Radiotherapy(60.0, 2.0, 1))
DAYS = (10.0, 30.0, 31.0, 35.0, 50.0, 60.0, 61.0, 80.0)  # also on the days of fractions and of the resection


@pytest.fixture(scope="module")
def model():
    mesh, _ = build_mesh(*ball_maps(14.0, core=9.0), 3.0)
    space = discretise(world(), mesh.points, mesh.cells, mesh.white, mesh.grey)
    left = np.where(space.points[: space.owned, 0] > 0.0, 0.1, 1.0)
    return TumourModel(space, resections={2: left})


def seeded(model: TumourModel) -> np.ndarray:
    points = model.discretisation.points[: model.discretisation.owned]
    return 0.4 * np.exp(-(points**2).sum(axis=1) / 40.0)


def test_the_example():
    assert doctest.testmod(series).failed == 0


@given(
    st.floats(-500.0, 0.0),
    st.lists(st.floats(0.1, 400.0), min_size=1, max_size=5),
    st.integers(2, 60),
)
def test_frames_hold_the_wanted_days_and_leave_no_wide_gap(onset, days, count):
    found = frame_days(onset, days, count)
    assert set(days) <= set(found)
    assert found[-1] == max(days)
    gaps = np.diff([onset, *found])
    assert (gaps > 0).all()
    assert gaps.max() <= (max(days) - onset) / count * (1 + 1e-6)
    assert count <= len(found) <= count + len(days)


@pytest.mark.mpi
def test_a_run_in_pieces_is_the_run_in_one(model):
    start = seeded(model)
    grid = plan_time_grid(0.0, DAYS, TREATMENTS, 4.0)
    whole = model.run(RATES, start, grid, keep=False)
    frames = list(grow(model, RATES, start, grid))
    assert [frame.day for frame in frames] == [0.0, *DAYS]
    assert sum(frame.steps for frame in frames) == grid.steps
    for frame, observed in zip(frames[1:], whole.observations, strict=True):
        assert np.abs(frame.density - observed).max(initial=0.0) < 1e-12
        assert frame.mass == pytest.approx(model.discretisation.integrate(observed), rel=1e-12)
    assert (frames[0].density == start).all()
    assert min(frame.lowest for frame in frames) == pytest.approx(whole.lowest, abs=1e-12)
    assert max(frame.highest for frame in frames) == pytest.approx(whole.highest, abs=1e-12)


@pytest.mark.mpi
def test_volumes_of_a_linear_density_are_those_of_slices_of_the_ball(model):
    height = model.discretisation.points[: model.discretisation.owned, 2]
    levels = np.array([-20.0, -7.0, 0.0, 5.0, 20.0])
    found = volumes_above(model, height, levels)
    total = model.discretisation.integrate(np.ones_like(height))
    radius = (0.75 * total / np.pi) ** (1 / 3)
    caps = np.clip(radius - levels, 0.0, 2 * radius)
    wanted = np.pi * caps**2 * (3 * radius - caps) / 3
    assert found[0] == pytest.approx(total, rel=1e-12)
    assert found[-1] == 0.0
    assert np.abs(found - wanted).max() < 0.02 * total
