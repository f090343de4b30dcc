"""Time grids: intervals tile the time, events lie on their ends, steps stay below the limit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncology.errors import ConfigError
from oncology.model.timegrid import plan_time_grid, step_limit
from oncology.model.treatment import Chemotherapy, Radiotherapy, Resection

days = st.floats(0.1, 400.0)
treatments = st.lists(
    st.one_of(
        st.builds(Radiotherapy, day=days, dose_gy=st.floats(1.0, 60.0), fractions=st.integers(1, 35)),
        st.builds(Chemotherapy, day=days, rate=st.floats(0.0, 0.5), half_life=st.floats(0.1, 50.0)),
        st.builds(Resection, day=days),
    ),
    max_size=5,
)
plans = st.tuples(st.lists(days, min_size=1, max_size=4, unique=True).map(sorted), treatments, st.floats(0.05, 20.0))


@given(plans)
def test_intervals_tile_the_time(plan):
    observations, given_treatments, longest = plan
    intervals = plan_time_grid(0.0, observations, given_treatments, longest).intervals
    ends = [interval.start + interval.duration for interval in intervals]
    assert intervals[0].start == 0.0
    np.testing.assert_allclose([interval.start for interval in intervals[1:]], ends[:-1], rtol=0, atol=1e-12)
    assert ends[-1] == pytest.approx(max(observations), abs=1e-12)
    for interval in intervals:
        assert interval.duration > 0.0
        assert interval.step <= longest * (1.0 + 1e-8)
        assert interval.steps == 1 or interval.duration / (interval.steps - 1) > longest * (1.0 - 1e-8)


@given(plans)
def test_events_lie_on_ends_of_intervals(plan):
    observations, given_treatments, longest = plan
    grid = plan_time_grid(0.0, observations, given_treatments, longest)
    starts = {interval.start for interval in grid.intervals}
    last = max(observations)
    survival, resected = 1.0, set()
    for number, treatment in enumerate(given_treatments):
        if treatment.day >= last:
            continue
        assert treatment.day in starts
        if isinstance(treatment, Radiotherapy):
            effective = [day for day in treatment.days if day < last]
            assert starts.issuperset(effective)
            survival *= treatment.survival ** len(effective)
        if isinstance(treatment, Resection):
            resected.add(treatment.day)
            assert number < len(given_treatments)
    assert sum(interval.observe for interval in grid.intervals) == len(observations)
    product = np.prod([interval.survival for interval in grid.intervals])
    assert product == pytest.approx(survival, rel=1e-9)
    assert sum(interval.resection is not None for interval in grid.intervals) == len(resected)


@given(plans)
def test_chemotherapy_is_counted_once(plan):
    observations, given_treatments, longest = plan
    grid = plan_time_grid(0.0, observations, given_treatments, longest)
    last = max(observations)
    drugs = [t for t in given_treatments if isinstance(t, Chemotherapy)]
    total = sum(interval.kill.sum() for interval in grid.intervals if interval.kill is not None)
    assert total == pytest.approx(sum(drug.exposure(0.0, last) for drug in drugs), rel=1e-9, abs=1e-12)


@given(plans, st.floats(-50.0, 0.05))
def test_another_onset_changes_the_first_interval_only(plan, onset):
    grid = plan_time_grid(0.0, *plan)
    moved = grid.from_onset(onset)
    assert moved.steps == grid.steps
    assert moved.intervals[1:] == grid.intervals[1:]
    assert moved.intervals[0].start == onset
    end = grid.intervals[0].start + grid.intervals[0].duration
    assert moved.intervals[0].start + moved.intervals[0].duration == pytest.approx(end, abs=1e-9)


def test_a_long_step_is_cut_with_a_note():
    limit = step_limit(0.1, 0.5, np.sqrt(10.0))
    assert limit == pytest.approx(2.5)
    grid = plan_time_grid(0.0, [60.0], (), limit, asked_step=10.0)
    assert grid.steps == 24
    (note,) = grid.notes
    assert "10 day" in note
    assert "2.5 day" in note
    assert plan_time_grid(0.0, [60.0], (), limit, asked_step=1.0).notes == ()
    assert plan_time_grid(0.0, [60.0], (), limit, asked_step=1.0).steps == 60


def test_limits_without_growth_or_diffusion():
    assert step_limit(0.0, 0.0, 3.0) == np.inf
    assert plan_time_grid(0.0, [60.0], (), np.inf).steps == 1
    assert step_limit(0.1, 0.0, 3.0) == pytest.approx(2.5)
    assert step_limit(0.0, 0.5, 3.0) == pytest.approx(0.4 * 9.0 / 0.5)


@pytest.mark.parametrize(
    ("observations", "given_treatments", "asked", "part"),
    [
        ([], (), None, "observation"),
        ([-1.0], (), None, "not before the first observation"),
        ([10.0], (Resection(-2.0),), None, "treatment on day -2"),
        ([10.0], (), 0.0, "not positive"),
        ([10.0], (), float("nan"), "not positive"),
    ],
)
def test_impossible_plans_are_refused(observations, given_treatments, asked, part):
    with pytest.raises(ConfigError, match=part):
        plan_time_grid(0.0, observations, given_treatments, 1.0, asked)


def test_an_onset_after_the_first_event_is_refused():
    with pytest.raises(ConfigError, match="onset on day 5"):
        plan_time_grid(0.0, [3.0, 10.0], (), 1.0).from_onset(5.0)


@pytest.mark.parametrize(("onset", "last", "longest", "asked"), [(-1e7, 10.0, 5.0, None), (0.0, 600.0, 5.0, 0.01)])
def test_a_grid_has_an_end(onset, last, longest, asked):
    with pytest.raises(ConfigError, match=r"time steps of .* more than 50000: check the days in case\.toml"):
        plan_time_grid(onset, [last], [], longest, asked)
