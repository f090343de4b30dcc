import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from oncology.model.growth import Exponential, Gompertz, Logistic
from oncology.model.treatment import Chemotherapy, Radiotherapy

LAWS = [Exponential(), Logistic(), Gompertz(), Gompertz(floor=0.05)]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("start", [0.003, 0.04, 0.3, 0.95])
def test_flow_solves_the_ode(law, start):
    reference = solve_ivp(lambda _, u: law.rate(u), (0.0, 0.7), [start], rtol=1e-11, atol=1e-14).y[0, -1]
    assert law.flow(np.array(start), 0.7) == pytest.approx(reference, rel=1e-7)


@pytest.mark.parametrize("law", LAWS)
@given(u=st.floats(1e-6, 1.0), first=st.floats(0.0, 1.0), second=st.floats(0.0, 1.0))
def test_flow_is_a_semigroup(law, u, first, second):
    twice = law.flow(law.flow(np.array(u), first), second)
    assert twice == pytest.approx(law.flow(np.array(u), first + second), rel=1e-9)


@pytest.mark.parametrize("law", LAWS)
def test_slopes_are_the_derivatives_of_the_flow(law):
    u = np.array([-1e-3, 2e-4, 0.01, 0.03, 0.2, 0.6, 0.999])
    step = 1e-6 * np.abs(u)
    by_start = (law.flow(u + step, 0.3) - law.flow(u - step, 0.3)) / (2 * step)
    np.testing.assert_allclose(law.flow_slope(u, 0.3), by_start, rtol=1e-6)
    by_exposure = (law.flow(u, 0.3 + 1e-6) - law.flow(u, 0.3 - 1e-6)) / 2e-6
    np.testing.assert_allclose(law.rate(law.flow(u, 0.3)), by_exposure, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("law", [Logistic(), Gompertz()])
@given(u=st.floats(0.0, 1.0), exposure=st.floats(0.0, 5.0))
def test_bounded_laws_keep_the_unit_interval(law, u, exposure):
    grown = law.flow(np.array(u), exposure)
    assert u * (1 - 1e-12) <= grown <= 1.0 + 1e-12


def test_rates_are_valid_for_floats_torch_and_ufl():
    ufl = pytest.importorskip("ufl")
    law = Gompertz()
    constant = ufl.as_ufl(0.3)
    assert float(law.rate(constant)(())) == pytest.approx(float(law.rate(0.3)))
    assert float(law.rate(0.3)) == pytest.approx(-0.3 * math.log(0.3))
    torch = pytest.importorskip("torch", reason="torch is only needed for the neural half")
    u = torch.linspace(0.01, 0.99, 5, dtype=torch.float64)
    np.testing.assert_allclose(law.flow(u, 0.4).numpy(), law.flow(u.numpy(), 0.4))


def test_linear_quadratic_survival_and_weekends():
    # 30 x 2 Gy with alpha 0.3 /Gy and alpha/beta 10 Gy: S = exp(-0.3 * 2 * 1.2) by hand
    therapy = Radiotherapy(day=3.0, dose_gy=60.0, fractions=30, alpha=0.3)
    assert therapy.survival == pytest.approx(math.exp(-0.72))
    assert therapy.days[:7] == (3.0, 4.0, 5.0, 6.0, 7.0, 10.0, 11.0)
    assert therapy.days[-1] - therapy.days[0] == 39.0


def test_chemotherapy_exposure_is_the_integral_of_its_rate():
    drug = Chemotherapy(day=2.0, rate=0.1, half_life=3.0)
    t = np.linspace(0.0, 20.0, 200001)
    rate = np.where(t >= 2.0, 0.1 * 0.5 ** ((t - 2.0) / 3.0), 0.0)
    integral = np.sum(0.5 * (rate[1:] + rate[:-1])) * (t[1] - t[0])
    assert drug.exposure(0.0, 20.0) == pytest.approx(integral, rel=1e-4)
    assert drug.exposure(0.0, 5.0) + drug.exposure(5.0, 20.0) == pytest.approx(drug.exposure(0.0, 20.0))
