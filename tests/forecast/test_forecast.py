"""Forecasts: tangents against differences of runs, intervals against samples, treatments, the run of the fit itself."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from oncology.errors import ConfigError
from oncology.fem.patient import MeshChoice, meshed_engine
from oncology.forecast.forecast import forecast_ensemble, forecast_linearised
from oncology.inverse.scalars import ScalarMap
from oncology.inverse.shape import GaussianLattice, Shape
from oncology.model.fractions import volume_fraction
from oncology.model.growth import Logistic
from oncology.model.treatment import Radiotherapy
from oncology.model.tumour import Tumour
from oncology.results.fitted import FittedTumour, posterior_content, read_fitted, shape_content

DAYS = (-60.0, 0.0, 40.0, 70.0, 100.0)
RIMS = {"whole": 0.25, "core": 0.60}
ONSET, SEED = -150.0, (-26.0, 12.0, 8.0)


@pytest.fixture(scope="module")
def engine(comm, spheres):
    return meshed_engine(comm, spheres, MeshChoice(size=7.0, margin=25.0), Logistic(), tolerance=1e-11).engine


@pytest.fixture(scope="module")
def treated(comm, spheres):
    """The same with radiotherapy after the last session."""
    case = replace(spheres, treatments=(Radiotherapy(45.0, 60.0, 30),))
    return meshed_engine(comm, case, MeshChoice(size=7.0, margin=25.0), Logistic(), tolerance=1e-11).engine


def tumour(sd: float = 0.05, shape: bool = False, regions: tuple[str, ...] = (), others=()) -> FittedTumour:
    """A tumour whose unknowns all have one standard deviation, with correlations."""
    unknowns = ScalarMap(0.0, regions, foci=1 + len(others))
    x = unknowns.pack(Tumour(0.3, 0.05, 0.04, SEED, ONSET, others=others), RIMS)
    random = np.random.default_rng(3)
    factor = random.standard_normal((len(x), len(x)))
    covariance = factor @ factor.T
    scale = sd / np.sqrt(np.diag(covariance))
    correction = None
    if shape:
        centres = np.array([[-40.0, 12.0, 8.0], [-20.0, 22.0, 8.0]])
        correction = Shape(-40.0, GaussianLattice(centres, 6.0), np.array([2.0, -1.0]))
    return FittedTumour(unknowns, x, covariance * np.outer(scale, scale), RIMS, (), correction)


def norm(engine, values) -> float:
    """Root of the integral of the square, mm^1.5."""
    space = engine.space
    corners = space.to_cells(values**2)
    return float(np.sqrt(space.total(np.array([space.volumes @ corners.mean(axis=1)]))[0]))


@pytest.mark.mpi
@pytest.mark.parametrize("shape", [False, True])
@pytest.mark.parametrize("k", [0, 1, 2, 3, 6, 7])
def test_deviations_are_differences_of_runs(treated, shape, k):
    """With one unknown of sd h, sd u is |u(x + h) - u(x - h)| / 2 but for third order in h."""
    assert_differences(treated, tumour(shape=shape), np.eye(8)[k])


OTHER = (-12.0, -2.0, 14.0)  # the seed of a second focus


@pytest.mark.mpi
def test_deviations_hold_the_seeds_of_all_foci(treated):
    two = tumour(shape=True, others=(OTHER,))
    assert_differences(treated, two, two.unknowns.unit("seed2_x"))


def assert_differences(engine, given: FittedTumour, unit: np.ndarray) -> None:
    step = 1e-3
    known = replace(given, covariance=np.zeros((len(unit), len(unit))))
    ends = [forecast_linearised(engine, replace(known, mean=known.mean + h * unit), DAYS) for h in (step, -step)]
    alone = replace(known, covariance=step**2 * np.diag(unit))
    found = forecast_linearised(engine, alone, DAYS, DAYS)
    for number, day in enumerate(DAYS):
        wanted = 0.5 * np.abs(ends[0].densities[number] - ends[1].densities[number])
        assert norm(engine, wanted) > 0.0
        assert norm(engine, found.deviations[day] - wanted) < 2e-3 * norm(engine, wanted), day
    for region, band in found.volumes.items():
        moved = np.abs(ends[0].volumes[region].value - ends[1].volumes[region].value)
        wide = band.high - band.low  # 2 x 1.96 standard deviations, the ends 2 standard deviations apart
        there = band.value > 0.0  # a region that is about to appear has differences and no slope
        assert there.any()
        np.testing.assert_allclose(wide[there], 1.959964 * moved[there], rtol=0.02, atol=1e-6, err_msg=region)


@pytest.mark.mpi
def test_a_threshold_that_is_unknown_moves_volumes_but_no_density(engine):
    known = replace(tumour(regions=("whole",)), covariance=np.zeros((9, 9)))
    step = 1e-3
    alone = replace(known, covariance=step**2 * np.diag(np.eye(9)[8]))
    found = forecast_linearised(engine, alone, DAYS[1:], DAYS[1:])
    assert max(deviation.max(initial=0.0) for deviation in found.deviations.values()) == 0.0
    raised, lowered = (
        forecast_linearised(engine, replace(known, mean=known.mean + h * np.eye(9)[8]), DAYS[1:]).volumes
        for h in (step, -step)
    )
    band = found.volumes["whole"]
    moved = lowered["whole"].value - raised["whole"].value
    assert (moved > 0.0).all()
    np.testing.assert_allclose(band.high - band.low, 1.959964 * moved, rtol=1e-3)
    np.testing.assert_array_equal(found.volumes["core"].high, found.volumes["core"].low)


@pytest.fixture(scope="module")
def sampled(engine):
    return forecast_ensemble(engine, tumour(0.008), DAYS[1:], DAYS[1:], samples=60, seed=2)


def test_linearised_intervals_are_those_of_samples(engine, sampled):
    """Sixty samples know a standard deviation to 1/sqrt(120) = 9 %, a 2.5 % quantile to about 0.35 of one."""
    linear = forecast_linearised(engine, tumour(0.008), DAYS[1:], DAYS[1:])
    for day in DAYS[1:]:
        ratio = norm(engine, linear.deviations[day]) / norm(engine, sampled.deviations[day])
        assert 0.78 < ratio < 1.25, day
    for region in RIMS:
        found, wanted = linear.volumes[region], sampled.volumes[region]
        np.testing.assert_array_equal(found.value, wanted.value)
        sd = (found.high - found.low) / (2 * 1.959964)
        np.testing.assert_array_less(np.abs(found.median - wanted.median), 0.4 * sd)
        for end in ("low", "high"):
            np.testing.assert_array_less(np.abs(getattr(found, end) - getattr(wanted, end)), 0.7 * sd)


def test_the_same_seed_gives_the_same_samples(engine, sampled):
    again = forecast_ensemble(engine, tumour(0.015), DAYS[1:3], DAYS[1:3], samples=3, seed=1)
    twice = forecast_ensemble(engine, tumour(0.015), DAYS[1:3], DAYS[1:3], samples=3, seed=1)
    other = forecast_ensemble(engine, tumour(0.015), DAYS[1:3], DAYS[1:3], samples=3, seed=2)
    np.testing.assert_array_equal(again.volumes["whole"].low, twice.volumes["whole"].low)
    assert (again.volumes["whole"].low != other.volumes["whole"].low).all()


class Probe:
    """An engine whose densities are the proliferation that was run, in one cell of 1 mL."""

    class space:
        owned = np.eye(4, 3)
        volumes = np.array([1000.0])
        spacing = 10.0
        to_cells = staticmethod(lambda values: np.asarray(values)[None, :])
        total = staticmethod(np.asarray)

    def __init__(self) -> None:
        self.grown: list[float] = []

    def plan(self, tumour, days):
        return tuple(days)

    def run(self, tumour, plan, keep=True, record=None):
        self.grown.append(tumour.proliferation)
        ramp = tumour.proliferation * np.array([0.0, 1.0, 1.0, 1.0])
        if record is not None:
            record(plan[0], ramp)
        return SimpleNamespace(densities=tuple(ramp for _ in plan))


def test_an_ensemble_gives_the_quantiles_of_its_draws():
    """Of one cell, whose volume above a threshold follows from the proliferation of each draw."""
    probe = Probe()
    band = forecast_ensemble(probe, replace(tumour(1.5), thresholds={"whole": 0.01}), (40.0,), (40.0,), 41, 0)
    first, *drawn = probe.grown
    corners = np.array(drawn)[:, None] * np.array([0.0, 1.0, 1.0, 1.0])
    volumes, own = volume_fraction(corners, 0.01)[0], volume_fraction(first * np.array([[0.0, 1.0, 1.0, 1.0]]), 0.01)[0]
    found = band.volumes["whole"]
    assert len(drawn) == 41 and np.ptp(volumes) > 0.1
    assert found.value == pytest.approx(own)
    for end, quantile in (("low", 0.025), ("median", 0.5), ("high", 0.975)):
        assert getattr(found, end) == pytest.approx(np.quantile(volumes, quantile)), end
    spread = np.std(drawn, ddof=1)
    np.testing.assert_allclose(band.deviations[40.0], spread * np.array([0.0, 1.0, 1.0, 1.0]))


@pytest.mark.mpi
def test_volumes_grow_and_radiotherapy_takes_some_away(engine, treated):
    free = forecast_linearised(engine, tumour(), DAYS)
    for band in free.volumes.values():
        assert (np.diff(band.value) >= 0.0).all() and (np.diff(band.value)[1:] > 0.0).all()
        assert (band.low <= band.value).all() and (band.value <= band.high).all()
    after = forecast_linearised(treated, tumour(), DAYS)
    np.testing.assert_array_equal(after.volumes["whole"].value[:3], free.volumes["whole"].value[:3])
    assert (after.volumes["whole"].value[3:] < free.volumes["whole"].value[3:]).all()


def test_until_the_last_session_it_is_the_run_of_the_fit(engine, spheres):
    given = tumour()
    run = engine.run(given.estimate, engine.plan(given.estimate, spheres.days), keep=False)
    later = forecast_linearised(engine, given, (0.0, 40.0, 77.0, 130.0))
    for number in (0, 1):
        np.testing.assert_allclose(later.densities[number], run.densities[number], rtol=0, atol=1e-12)
    assert later.frame_days[0] == pytest.approx(ONSET) and later.frame_days[-1] == 130.0
    assert (np.diff(later.frame_days) > 0.0).all() and len(later.frames) == len(later.frame_days)


@pytest.mark.parametrize("others", [(), (OTHER, SEED)], ids=["one focus", "three foci"])
@pytest.mark.parametrize("shape", [False, True])
def test_estimate_json_holds_the_whole_tumour(shape, others):
    given = tumour(shape=shape, regions=("whole", "core"), others=others)
    content = {"posterior": posterior_content(given), "shape_correction": shape_content(given.shape)}
    read = read_fitted(content, RIMS, ())
    assert read.estimate.profile == given.estimate.profile and read.estimate.others == given.estimate.others
    for name in ("names", "first_day", "seed_scale"):
        assert getattr(read.unknowns, name) == getattr(given.unknowns, name), name
    np.testing.assert_array_equal(read.mean, given.mean)
    np.testing.assert_array_equal(read.covariance, given.covariance)
    np.testing.assert_allclose(given.deviations @ given.deviations.T, given.covariance, rtol=0, atol=1e-15)
    assert (read.shape is None) == (not shape)
    if shape:
        assert read.shape.day == given.shape.day
        np.testing.assert_array_equal(read.shape.heights, given.shape.heights)
        np.testing.assert_array_equal(read.shape.lattice.centres, given.shape.lattice.centres)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda c: c.pop("posterior"), "holds no posterior"),
        (lambda c: c["posterior"].pop("covariance"), "posterior is damaged"),
        (lambda c: c["posterior"]["mean"].pop(), "does not fit together"),
        (lambda c: c["posterior"].update(names=["speed"]), "does not fit together"),
    ],
)
def test_a_damaged_estimate_is_refused(damage, words):
    content = {"posterior": posterior_content(tumour())}
    damage(content)
    with pytest.raises(ConfigError, match=words) as caught:
        read_fitted(content, RIMS, ())
    assert "\n" not in str(caught.value)


def test_samples_that_begin_after_the_correction_are_drawn_again(engine):
    near = tumour(0.3, shape=True)
    near = replace(near, shape=replace(near.shape, day=ONSET + 20.0))
    sampled = forecast_ensemble(engine, near, (40.0,), (), samples=4, seed=0)
    again = np.random.default_rng(0)
    x = [near.mean + near.deviations @ again.standard_normal(8) for _ in range(4 + sampled.redrawn)]
    early = sum(near.unknowns.tumour(draw).onset >= near.shape.day for draw in x)
    assert sampled.redrawn == early > 0, "as many as began too late"
    assert np.isfinite(sampled.volumes["whole"].high).all()


def test_what_cannot_be_predicted_is_refused(engine):
    with pytest.raises(ConfigError, match="1 samples have no standard deviation"):
        forecast_ensemble(engine, tumour(), DAYS[1:], (), samples=1, seed=0)
    with pytest.raises(ConfigError, match="onset on day -150"):
        forecast_linearised(engine, tumour(), (ONSET - 1.0, 0.0))
