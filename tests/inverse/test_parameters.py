"""Scaled unknowns: there and back, derivatives, prior."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oncology.inverse.parameters import TRACER, Parametrisation, Prior

from oncology.model.tumour import PARAMETERS

RATES = st.floats(1e-4, 10.0)
POSITIONS = st.floats(-90.0, 90.0)
DENSITIES = st.floats(0.02, 0.98)


@given(RATES, RATES, RATES, st.tuples(*[POSITIONS] * 3), st.floats(1.0, 5000.0), st.tuples(DENSITIES, DENSITIES))
def test_physical_values_come_back(white, grey, rho, seed, duration, thresholds):
    parametrisation = Parametrisation(30.0, ("whole", "core"))
    x = parametrisation.pack(white, grey, rho, seed, 30.0 - duration, thresholds)
    assert x.shape == (parametrisation.size,)
    np.testing.assert_allclose(parametrisation.physical(x)[:3], [white, grey, rho], rtol=1e-12)
    np.testing.assert_allclose(parametrisation.physical(x)[3:6], seed, atol=1e-12)
    assert parametrisation.physical(x)[6] == pytest.approx(30.0 - duration, rel=1e-9, abs=1e-9)
    for region, threshold in zip(("whole", "core"), thresholds, strict=True):
        assert parametrisation.level(x, region, 0.5)[0] == pytest.approx(threshold, rel=1e-12)


@pytest.mark.parametrize("thresholds", [(), ("whole",), ("whole", "core")])
def test_jacobian_against_central_differences(thresholds):
    parametrisation = Parametrisation(0.0, thresholds)
    x = parametrisation.pack(0.3, 0.04, 0.02, [10.0, -5.0, 3.0], -200.0, (0.25, 0.6)[: len(thresholds)])
    jacobian = parametrisation.jacobian(x)
    assert jacobian.shape == (len(PARAMETERS), parametrisation.size) == (7, len(parametrisation.names))
    for k, unit in enumerate(np.eye(parametrisation.size)):
        difference = (parametrisation.physical(x + 1e-6 * unit) - parametrisation.physical(x - 1e-6 * unit)) / 2e-6
        np.testing.assert_allclose(jacobian[:, k], difference, rtol=1e-7, atol=1e-8)


def test_only_unknown_thresholds_have_a_column():
    parametrisation = Parametrisation(0.0, ("core",))
    x = parametrisation.pack(0.3, 0.04, 0.02, [0.0, 0.0, 0.0], -200.0, (0.7,))
    assert parametrisation.level_column("whole") is None
    assert parametrisation.names[parametrisation.level_column("core")] == "threshold_core"
    assert parametrisation.level(x, "whole", 0.25) == (0.25, 0.0)
    assert parametrisation.level_column(TRACER) is None
    assert parametrisation.level(x, TRACER, 0.8) == (0.8, 0.0)


def test_scale_of_the_tracer_starts_at_the_given_one():
    parametrisation = Parametrisation(0.0, ("whole", "core"), tracer=True)
    x = parametrisation.pack(0.3, 0.04, 0.02, [0.0, 0.0, 0.0], -200.0, (0.25, 0.6))
    assert x.size == parametrisation.size == len(parametrisation.names) == 10
    assert parametrisation.names[parametrisation.level_column(TRACER)] == "ln_tracer_scale"
    assert parametrisation.level(x, TRACER, 0.8)[0] == pytest.approx(0.8)


@pytest.mark.parametrize("region", ["whole", "core", TRACER])
def test_slopes_of_levels_against_central_differences(region):
    parametrisation = Parametrisation(0.0, ("whole", "core"), tracer=True)
    x = parametrisation.pack(0.3, 0.04, 0.02, [0.0, 0.0, 0.0], -200.0, (0.25, 0.6)) + 0.1
    step = 1e-6 * np.eye(10)[parametrisation.level_column(region)]
    above, below = (parametrisation.level(moved, region, 0.8)[0] for moved in (x + step, x - step))
    assert parametrisation.level(x, region, 0.8)[1] == pytest.approx((above - below) / 2e-6, rel=1e-8)


def test_prior_is_half_the_squared_distance():
    rng = np.random.default_rng(0)
    prior = Prior(rng.normal(size=5), rng.uniform(0.5, 2.0, 5))
    x = prior.mean + prior.sd * np.array([1.0, -2.0, 0.0, 3.0, 0.5])
    assert prior.value(x) == pytest.approx(0.5 * (1.0 + 4.0 + 9.0 + 0.25))
    for k, unit in enumerate(np.eye(5)):
        difference = (prior.value(x + 1e-5 * unit) - prior.value(x - 1e-5 * unit)) / 2e-5
        assert prior.gradient(x)[k] == pytest.approx(difference, rel=1e-8, abs=1e-9)
    np.testing.assert_allclose(prior.precision @ (x - prior.mean), prior.gradient(x))
