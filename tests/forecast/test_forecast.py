"""Forecasts: tangents against differences of runs, intervals against samples, treatments, the run of the fit itself."""

from dataclasses import replace

import numpy as np
import pytest
from oncology.inverse.parameters import Parametrisation

from oncology.errors import ConfigError
from oncology.fem.patient import MeshChoice, make_mesh, patient_model
from oncology.fem.tumour_model import Rates
from oncology.forecast.forecast import forecast_ensemble, forecast_linearised
from oncology.inverse.fit import Shape
from oncology.inverse.shape import GaussianLattice
from oncology.model.seed import Seed
from oncology.model.timegrid import plan_time_grid, step_limit
from oncology.model.treatment import Radiotherapy
from oncology.parallel import on_root
from oncology.results.fitted import FittedTumour, posterior_content, read_fitted, shape_content

DAYS = (-60.0, 0.0, 40.0, 70.0, 100.0)
RIMS = {"whole": 0.25, "core": 0.60}
ONSET, SEED = -150.0, (-26.0, 12.0, 8.0)


@pytest.fixture(scope="module")
def model(comm, spheres):
    mesh, _ = on_root(comm, lambda: make_mesh(spheres, MeshChoice(size=7.0, margin=25.0)))
    return patient_model(comm, spheres, mesh, tolerance=1e-11)


def tumour(sd: float = 0.05, shape: bool = False, regions: tuple[str, ...] = (), **changes) -> FittedTumour:
    """A tumour whose unknowns all have one standard deviation, with correlations."""
    parametrisation = Parametrisation(0.0, regions)
    x = parametrisation.pack(0.3, 0.05, 0.04, SEED, ONSET, [RIMS[region] for region in regions])
    random = np.random.default_rng(3)
    factor = random.standard_normal((len(x), len(x)))
    covariance = factor @ factor.T
    scale = sd / np.sqrt(np.diag(covariance))
    correction = None
    if shape:
        centres = np.array([[-40.0, 12.0, 8.0], [-20.0, 22.0, 8.0]])
        correction = Shape(-40.0, GaussianLattice(centres, 6.0), np.array([2.0, -1.0]))
    return FittedTumour(parametrisation, x, covariance * np.outer(scale, scale), RIMS, (), correction, **changes)


def norm(model, values) -> float:
    """Root of the integral of the square, mm^1.5."""
    return float(np.sqrt(model.discretisation.integrate(values**2)))


@pytest.mark.mpi
@pytest.mark.parametrize("shape", [False, True])
@pytest.mark.parametrize("k", [0, 1, 2, 3, 6])
def test_deviations_are_differences_of_runs(model, shape, k):
    """With one unknown of sd h, sd u is |u(x + h) - u(x - h)| / 2 but for third order in h."""
    step = 1e-3
    known = replace(tumour(shape=shape), covariance=np.zeros((7, 7)), treatments=(Radiotherapy(45.0, 20.0, 10),))
    ends = [forecast_linearised(model, replace(known, mean=known.mean + h * np.eye(7)[k]), DAYS) for h in (step, -step)]
    alone = replace(known, covariance=step**2 * np.diag(np.eye(7)[k]))
    found = forecast_linearised(model, alone, DAYS, DAYS)
    for number, day in enumerate(DAYS):
        wanted = 0.5 * np.abs(ends[0].densities[number] - ends[1].densities[number])
        assert norm(model, wanted) > 0.0
        assert norm(model, found.deviations[day] - wanted) < 2e-3 * norm(model, wanted), day
    for region, band in found.volumes.items():
        moved = np.abs(ends[0].volumes[region].value - ends[1].volumes[region].value)
        wide = band.high - band.low  # 2 x 1.96 standard deviations, the ends 2 standard deviations apart
        np.testing.assert_allclose(wide, 1.959964 * moved, rtol=0.02, atol=1e-6, err_msg=region)


@pytest.mark.mpi
def test_a_threshold_that_is_unknown_moves_volumes_but_no_density(model):
    known = replace(tumour(regions=("whole",)), covariance=np.zeros((8, 8)))
    step = 1e-3
    alone = replace(known, covariance=step**2 * np.diag(np.eye(8)[7]))
    found = forecast_linearised(model, alone, DAYS[1:], DAYS[1:])
    assert max(deviation.max(initial=0.0) for deviation in found.deviations.values()) == 0.0
    raised, lowered = (
        forecast_linearised(model, replace(known, mean=known.mean + h * np.eye(8)[7]), DAYS[1:]).volumes
        for h in (step, -step)
    )
    band = found.volumes["whole"]
    moved = lowered["whole"].value - raised["whole"].value
    assert (moved > 0.0).all()
    np.testing.assert_allclose(band.high - band.low, 1.959964 * moved, rtol=1e-3)
    np.testing.assert_array_equal(found.volumes["core"].high, found.volumes["core"].low)


@pytest.fixture(scope="module")
def sampled(model):
    return forecast_ensemble(model, tumour(0.015), DAYS[1:], DAYS[1:], samples=60, seed=1)


def test_linearised_intervals_are_those_of_samples(model, sampled):
    """Sixty samples know a standard deviation to 1/sqrt(120) = 9 %, a 95 % quantile to about 0.4 of one."""
    linear = forecast_linearised(model, tumour(0.015), DAYS[1:], DAYS[1:])
    for day in DAYS[1:]:
        ratio = norm(model, linear.deviations[day]) / norm(model, sampled.deviations[day])
        assert 0.75 < ratio < 1.3, day
    for region in RIMS:
        found, wanted = linear.volumes[region], sampled.volumes[region]
        np.testing.assert_array_equal(found.value, wanted.value)
        sd = (found.high - found.low) / (2 * 1.959964)
        np.testing.assert_array_less(np.abs(found.high - wanted.high), 0.8 * sd)
        np.testing.assert_array_less(np.abs(found.low - wanted.low), 0.8 * sd)


def test_the_same_seed_gives_the_same_samples(model, sampled):
    again = forecast_ensemble(model, tumour(0.015), DAYS[1:3], DAYS[1:3], samples=3, seed=1)
    twice = forecast_ensemble(model, tumour(0.015), DAYS[1:3], DAYS[1:3], samples=3, seed=1)
    other = forecast_ensemble(model, tumour(0.015), DAYS[1:3], DAYS[1:3], samples=3, seed=2)
    np.testing.assert_array_equal(again.volumes["whole"].low, twice.volumes["whole"].low)
    assert (again.volumes["whole"].low != other.volumes["whole"].low).all()


@pytest.mark.mpi
def test_volumes_grow_and_radiotherapy_takes_some_away(model):
    free = forecast_linearised(model, tumour(), DAYS)
    for band in free.volumes.values():
        assert (np.diff(band.value) >= 0.0).all() and (np.diff(band.value)[1:] > 0.0).all()
        assert (band.low <= band.value).all() and (band.value <= band.high).all()
    treated = replace(tumour(), treatments=(Radiotherapy(45.0, 60.0, 30),))
    after = forecast_linearised(model, treated, DAYS)
    np.testing.assert_array_equal(after.volumes["whole"].value[:3], free.volumes["whole"].value[:3])
    assert (after.volumes["whole"].value[3:] < free.volumes["whole"].value[3:]).all()


def test_until_the_last_session_it_is_the_run_of_the_fit(model, spheres):
    given = tumour()
    values, space = given.values, model.discretisation
    longest = step_limit(values[2], max(values[:2]), given.seed.width)
    grid = plan_time_grid(values[6], [s.day for s in spheres.sessions], (), longest)
    seed = Seed().density(space.points[: space.owned], values[3:6])
    run = model.run(Rates(*values[:3]), seed, grid, keep=False)
    later = forecast_linearised(model, given, (0.0, 40.0, 77.0, 130.0))
    for number in (0, 1):
        np.testing.assert_allclose(later.densities[number], run.observations[number], rtol=0, atol=1e-12)
    assert later.frame_days[0] == pytest.approx(ONSET) and later.frame_days[-1] == 130.0
    assert (np.diff(later.frame_days) > 0.0).all() and len(later.frames) == len(later.frame_days)


@pytest.mark.parametrize("shape", [False, True])
def test_estimate_json_holds_the_whole_tumour(shape):
    given = tumour(shape=shape, regions=("whole", "core"))
    content = {"posterior": posterior_content(given), "shape_correction": shape_content(given.shape)}
    read = read_fitted(content, RIMS, ())
    assert read.parametrisation == given.parametrisation and read.seed == given.seed
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


def test_samples_that_begin_after_the_correction_are_drawn_again(model):
    near = tumour(0.3, shape=True)
    near = replace(near, shape=replace(near.shape, day=ONSET + 20.0))
    sampled = forecast_ensemble(model, near, (40.0,), (), samples=4, seed=0)
    assert sampled.redrawn > 0
    assert np.isfinite(sampled.volumes["whole"].high).all()


def test_what_cannot_be_predicted_is_refused(model):
    with pytest.raises(ConfigError, match="1 samples have no standard deviation"):
        forecast_ensemble(model, tumour(), DAYS[1:], (), samples=1, seed=0)
    with pytest.raises(ConfigError, match="onset on day -150"):
        forecast_linearised(model, tumour(), (ONSET - 1.0, 0.0))
