"""Physical values and intervals of a posterior that is known in numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest

from oncology.inverse.estimate import Quantity, combinations, parameter_quantities, seed_sd
from oncology.inverse.scalars import ScalarMap
from oncology.inverse.start import default_prior
from oncology.inverse.uncertainty import Posterior
from oncology.model.tumour import Tumour

UNKNOWNS = ScalarMap(10.0)
UNKNOWNS = replace(UNKNOWNS, prior=default_prior(UNKNOWNS, (0.0, 0.0, 0.0), {}))
GIVEN = ScalarMap(10.0, radius=False)
# ln D_w and ln rho are wrong together; their sum (the speed) is known well, their difference (the width) is not
COVARIANCE = np.diag([0.10, 0.04, 0.09, 0.01, 0.04, 0.09, 0.16, 0.01])
COVARIANCE[0, 2] = COVARIANCE[2, 0] = -0.09
COVARIANCE[2, 6] = COVARIANCE[6, 2] = -0.10


@pytest.fixture
def known() -> Posterior:
    mean = UNKNOWNS.pack(Tumour(0.2, 0.02, 0.05, (30.0, -20.0, 10.0), -90.0))
    return Posterior(mean, COVARIANCE, 4.0 * COVARIANCE, np.eye(8), np.ones(8))


def test_values_deviations_and_intervals(known):
    found = parameter_quantities(UNKNOWNS, known)
    expected = {
        "diffusion_white": (0.2, "mm^2/day", math.sqrt(0.10)),
        "diffusion_grey": (0.02, "mm^2/day", math.sqrt(0.10 + 0.04)),
        "proliferation": (0.05, "1/day", 0.3),
        "duration": (100.0, "day", 0.4),
        "seed_radius": (6.5, "mm", 0.1),
    }
    assert list(found) == list(expected)
    for name, (value, unit, sd) in expected.items():
        quantity = found[name]
        assert (quantity.name, quantity.unit) == (name, unit)
        assert quantity.value == pytest.approx(value)
        assert quantity.sd_log == pytest.approx(sd)
        assert quantity.interval == pytest.approx((value * math.exp(-1.96 * sd), value * math.exp(1.96 * sd)), rel=1e-4)


def test_combinations_carry_the_correlations(known):
    found = combinations(UNKNOWNS, known)
    assert found["front_speed"].value == pytest.approx(2.0 * math.sqrt(0.2 * 0.05))
    assert found["front_speed"].sd_log == pytest.approx(0.5 * math.sqrt(0.10 + 0.09 - 2 * 0.09))
    assert found["infiltration_length"].value == pytest.approx(2.0)
    assert found["infiltration_length"].sd_log == pytest.approx(0.5 * math.sqrt(0.10 + 0.09 + 2 * 0.09))
    assert found["growth_since_onset"].value == pytest.approx(5.0)
    assert found["growth_since_onset"].sd_log == pytest.approx(math.sqrt(0.09 + 0.16 - 2 * 0.10))
    assert found["diffusion_ratio"].value == pytest.approx(0.1)
    assert found["diffusion_ratio"].sd_log == pytest.approx(0.2)


def test_identified_looks_at_the_data_alone(known):
    """The data's deviations are twice the posterior's here; half a doubling (0.35 in ln) is the limit."""
    found = {**parameter_quantities(UNKNOWNS, known), **combinations(UNKNOWNS, known)}
    assert {name for name, quantity in found.items() if quantity.identified} == {"front_speed"}
    sharper = Posterior(known.mean, known.covariance, 0.25 * COVARIANCE, known.directions, known.strengths)
    found = {**parameter_quantities(UNKNOWNS, sharper), **combinations(UNKNOWNS, sharper)}
    assert all(quantity.identified for quantity in found.values())


def test_seed_in_millimetres(known):
    deviations, identified = seed_sd(UNKNOWNS, known)
    np.testing.assert_allclose(deviations, 3.0 * np.array([0.1, 0.2, 0.3]))
    assert identified
    np.testing.assert_allclose(seed_sd(ScalarMap(10.0, seed_scale=2.0), known)[0], 2.0 * np.array([0.1, 0.2, 0.3]))
    vague = Posterior(known.mean, known.covariance, 30.0 * COVARIANCE, known.directions, known.strengths)
    assert not seed_sd(UNKNOWNS, vague)[1]


def test_a_given_radius_has_no_deviation_and_is_not_identified(known):
    unit = np.eye(7)
    found = parameter_quantities(GIVEN, Posterior(known.mean[:7], 0.01 * unit, 0.01 * unit, unit, np.ones(7)))
    assert found["seed_radius"] == Quantity("seed_radius", 6.5, "mm", 0.0, False)


@pytest.mark.parametrize(("data", "identified"), [(0.14, True), (0.16, False)])
def test_a_radius_is_identified_where_the_data_know_it_better_than_the_prior(known, data, identified):
    alone = np.array(known.data_covariance)
    alone[7, 7] = data**2
    posterior = Posterior(known.mean, known.covariance, alone, known.directions, known.strengths)
    assert parameter_quantities(UNKNOWNS, posterior)["seed_radius"].identified is identified


def test_interval_of_a_certain_quantity_is_its_value():
    assert Quantity("x", 3.0, "mm", 0.0, True).interval == (3.0, 3.0)
