"""Scaled unknowns: there and back, derivatives, prior."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncology.inverse.maps import Change, Inputs
from oncology.inverse.misfit import TRACER
from oncology.inverse.priors import GaussianPrior
from oncology.inverse.scalars import ScalarMap
from oncology.model.seed import Seed
from oncology.model.tumour import PARAMETERS, Tumour, TumourChange

RATES = st.floats(1e-4, 10.0)
POSITIONS = st.floats(-90.0, 90.0)
PAIRS = st.tuples(*[st.floats(0.02, 0.98)] * 2)
TUMOUR = Tumour(0.3, 0.04, 0.02, (10.0, -5.0, 3.0), -200.0)
LEVELS = {"whole": 0.25, "core": 0.6, TRACER: 0.8}


@given(RATES, RATES, RATES, st.tuples(*[POSITIONS] * 3), st.floats(1.0, 5000.0), st.floats(0.5, 40.0), PAIRS)
def test_physical_values_come_back(white, grey, rho, seed, duration, radius, thresholds):
    unknowns = ScalarMap(30.0, ("whole", "core"))
    levels = dict(zip(("whole", "core"), thresholds, strict=True))
    x = unknowns.pack(Tumour(white, grey, rho, seed, 30.0 - duration, Seed(radius=radius)), levels)
    assert x.shape == (unknowns.size,)
    found = unknowns.tumour(x)
    np.testing.assert_allclose(found.values[:3], [white, grey, rho], rtol=1e-12)
    np.testing.assert_allclose(found.seed, seed, atol=1e-12)
    assert found.seed_radius == pytest.approx(radius, rel=1e-12)
    assert found.onset == pytest.approx(30.0 - duration, rel=1e-9, abs=1e-9)
    for region, threshold in levels.items():
        assert unknowns.level(x, region, 0.5)[0] == pytest.approx(threshold, rel=1e-12)
    assert unknowns.apply(x, Inputs(TUMOUR)).levels == pytest.approx(levels, rel=1e-12)


@pytest.mark.parametrize("radius", [True, False])
@pytest.mark.parametrize("thresholds", [(), ("whole",), ("whole", "core")])
def test_jacobian_against_central_differences(thresholds, radius):
    unknowns = ScalarMap(0.0, thresholds, radius=radius)
    x = unknowns.pack(TUMOUR, LEVELS)
    jacobian = unknowns.jacobian(x)
    assert jacobian.shape == (len(PARAMETERS), unknowns.size) == (8, len(unknowns.names))
    for k, unit in enumerate(np.eye(unknowns.size)):
        difference = (unknowns.tumour(x + 1e-6 * unit).values - unknowns.tumour(x - 1e-6 * unit).values) / 2e-6
        np.testing.assert_allclose(jacobian[:, k], difference, rtol=1e-7, atol=1e-8)


@settings(max_examples=20)
@given(st.lists(st.tuples(*[POSITIONS] * 3), min_size=1, max_size=4), st.booleans())
def test_seeds_of_all_foci_come_back(others, radius):
    """In their order, with a column for each coordinate; one focus has the names it always had."""
    unknowns, one = (
        ScalarMap(0.0, ("core",), radius=radius, foci=1 + len(others)),
        ScalarMap(0.0, ("core",), radius=radius),
    )
    tumour = replace(TUMOUR, others=tuple(others))
    x = unknowns.pack(tumour, LEVELS)
    assert x.shape == (unknowns.size,) == unknowns.trust.shape and unknowns.size == one.size + 3 * len(others)
    np.testing.assert_allclose(unknowns.tumour(x).values, tumour.values, rtol=1e-12, atol=1e-12)
    added = [name for name in unknowns.names if name not in one.names]
    assert added[:3] == ["seed2_x", "seed2_y", "seed2_z"] and unknowns.unit("seed2_y") @ unknowns.trust == 2.0
    jacobian = unknowns.jacobian(x)
    assert jacobian.shape == (8 + 3 * len(others), unknowns.size)
    for k, unit in enumerate(np.eye(unknowns.size)):
        difference = (unknowns.tumour(x + 1e-6 * unit).values - unknowns.tumour(x - 1e-6 * unit).values) / 2e-6
        np.testing.assert_allclose(jacobian[:, k], difference, rtol=1e-6, atol=1e-7)


def test_tangent_is_the_derivative_of_apply_and_adjoint_its_transpose():
    unknowns = ScalarMap(0.0, ("whole", "core"), tracer=True)
    x = unknowns.pack(TUMOUR, LEVELS) + 0.1
    rng = np.random.default_rng(0)
    dx, dual = rng.normal(size=(2, 11))
    above, below = (unknowns.apply(x + h * dx, Inputs(TUMOUR)) for h in (1e-6, -1e-6))
    moved = unknowns.tangent(x, dx)
    np.testing.assert_allclose(moved.tumour.values, (above.tumour.values - below.tumour.values) / 2e-6, rtol=1e-6)
    regions = [*LEVELS]
    differences = {name: (above.levels[name] - below.levels[name]) / 2e-6 for name in regions}
    assert moved.levels == pytest.approx(differences, rel=1e-6)
    derivative = Change(TumourChange.of(dual[:8]), dict(zip(regions, dual[8:], strict=True)))
    paired = dual[:8] @ moved.tumour.values + sum(derivative.levels[name] * moved.levels[name] for name in regions)
    assert unknowns.adjoint(x, derivative) @ dx == pytest.approx(paired, rel=1e-12)


def test_only_unknown_thresholds_have_a_column():
    unknowns = ScalarMap(0.0, ("core",))
    x = unknowns.pack(TUMOUR, {"core": 0.7})
    assert unknowns.level_column("whole") is None
    assert unknowns.names[unknowns.level_column("core")] == "threshold_core"
    assert unknowns.level(x, "whole", 0.25) == (0.25, 0.0)
    assert unknowns.level_column(TRACER) is None
    assert unknowns.level(x, TRACER, 0.8) == (0.8, 0.0)
    assert unknowns.apply(x, Inputs(TUMOUR)).levels == pytest.approx({"core": 0.7})


def test_a_given_radius_is_no_unknown():
    """Nothing else of the vector changes, and the tumour has the radius that was given."""
    given, unknown = ScalarMap(0.0, ("core",), radius=False, profile=Seed(radius=9.0)), ScalarMap(0.0, ("core",))
    assert set(unknown.names) - set(given.names) == {"ln_seed_radius"}
    x = unknown.pack(TUMOUR, LEVELS)
    shorter = np.delete(x, unknown.names.index("ln_seed_radius"))
    np.testing.assert_array_equal(given.pack(TUMOUR, LEVELS), shorter)
    assert given.tumour(shorter).seed_radius == 9.0 and unknown.tumour(x).seed_radius == pytest.approx(6.5)
    assert unknown.unit("ln_seed_radius") @ unknown.trust == 0.3 and given.trust.shape == (given.size,)


def test_scale_of_the_tracer_starts_at_the_given_one():
    unknowns = ScalarMap(0.0, ("whole", "core"), tracer=True)
    x = unknowns.pack(TUMOUR, LEVELS)
    assert x.size == unknowns.size == len(unknowns.names) == 11
    assert unknowns.names[unknowns.level_column(TRACER)] == "ln_tracer_scale"
    assert unknowns.level(x, TRACER, 1.0)[0] == pytest.approx(0.8)


@pytest.mark.parametrize("region", ["whole", "core", TRACER])
def test_slopes_of_levels_against_central_differences(region):
    unknowns = ScalarMap(0.0, ("whole", "core"), tracer=True)
    x = unknowns.pack(TUMOUR, LEVELS) + 0.1
    step = 1e-6 * np.eye(11)[unknowns.level_column(region)]
    above, below = (unknowns.level(moved, region, 1.0)[0] for moved in (x + step, x - step))
    assert unknowns.level(x, region, 1.0)[1] == pytest.approx((above - below) / 2e-6, rel=1e-8)


def test_other_fields_of_the_inputs_stay():
    """A map sets its own entries: levels that somebody else set are kept."""
    unknowns = ScalarMap(0.0, ("core",))
    inputs = unknowns.apply(unknowns.pack(TUMOUR, LEVELS), replace(Inputs(TUMOUR), levels={"other": 3.0}))
    assert inputs.levels["other"] == 3.0


def test_prior_is_half_the_squared_distance():
    rng = np.random.default_rng(0)
    prior = GaussianPrior(rng.normal(size=5), rng.uniform(0.5, 2.0, 5))
    x = prior.mean + prior.sd * np.array([1.0, -2.0, 0.0, 3.0, 0.5])
    assert prior.value(x) == pytest.approx(0.5 * (1.0 + 4.0 + 9.0 + 0.25))
    for k, unit in enumerate(np.eye(5)):
        difference = (prior.value(x + 1e-5 * unit) - prior.value(x - 1e-5 * unit)) / 2e-5
        assert prior.gradient(x)[k] == pytest.approx(difference, rel=1e-8, abs=1e-9)
    away = x - prior.mean
    np.testing.assert_allclose(prior.matrix @ away, prior.gradient(x))
    np.testing.assert_allclose(prior.precision(away), prior.gradient(x))
    np.testing.assert_allclose(prior.covariance(prior.precision(away)), away)
    np.testing.assert_allclose(prior.sample(np.arange(5.0)), prior.sd * np.arange(5.0))
