"""Statistics of the coverage benchmark on errors whose distribution is known."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.calibration_statistics import Quantity, bands, joint_distance, markdown, quantities, rms_band, row

TRUTH = {
    "diffusion_white": 0.2,
    "diffusion_grey": 0.03,
    "proliferation": 0.02,
    "seed": [10.0, -20.0, 30.0],
    "seed_radius": 6.0,
    "duration": 300.0,
}
NAMES = ["ln_diffusion_white", "ln_diffusion_ratio", "ln_proliferation", "seed_x", "seed_y", "seed_z", "ln_duration"]


def estimate(errors, covariance, identified=True):
    """An `estimate.json` whose parameters are off by `errors` (units of the scaled unknowns)."""
    e, sd = np.asarray(errors), np.sqrt(np.diag(covariance))
    rates = {
        "diffusion_white": (TRUTH["diffusion_white"] * math.exp(e[0]), sd[0]),
        "diffusion_grey": (TRUTH["diffusion_grey"] * math.exp(e[0] + e[1]), math.hypot(sd[0], sd[1])),
        "proliferation": (TRUTH["proliferation"] * math.exp(e[2]), sd[2]),
    }
    white, rho = rates["diffusion_white"][0], rates["proliferation"][0]
    parameters = {name: {"value": v, "sd_log": s, "identified": identified} for name, (v, s) in rates.items()}
    seed = (np.array(TRUTH["seed"]) + 3.0 * e[3:6]).tolist()
    parameters["seed"] = {"value": seed, "sd": (3.0 * sd[3:6]).tolist(), "identified": identified}
    duration = TRUTH["duration"] * math.exp(e[6])
    parameters["onset"] = {"value": 5.0 - duration, "sd": duration * sd[6], "identified": identified}
    joint = {"front speed 2 sqrt(D rho)": 2.0 * math.sqrt(white * rho), "infiltration length": math.sqrt(white / rho)}
    half = 0.5 * math.hypot(sd[0], sd[2])
    return {
        "parameters": parameters,
        "combinations": [
            {"name": name, "value": value, "sd_log": half, "identified": identified} for name, value in joint.items()
        ],
        "posterior": {
            "names": NAMES,
            "covariance": np.asarray(covariance).tolist(),
            "first_day": 5.0,
            "seed_scale_mm": 3.0,
        },
    }


def results(count, narrow=1.0, stratum="A"):
    """Results of fits whose posteriors are `narrow` times too narrow."""
    rng = np.random.default_rng(1)
    covariance = np.diag([0.03, 0.2, 0.02, 0.1, 0.1, 0.1, 0.05]) ** 2
    draws = narrow * rng.multivariate_normal(np.zeros(7), covariance, count)
    return [
        {"id": f"{stratum}{k:02d}", "stratum": stratum, "truth": TRUTH, "estimate": estimate(e, covariance)}
        for k, e in enumerate(draws, start=1)
    ]


def test_bands_are_those_of_the_binomial_and_chi_distributions():
    assert bands(60) == ((20, 40), (40, 55), (52, 60))
    assert bands(50) == ((16, 34), (32, 47), (43, 50))
    assert bands(30, 0.95)[2][0] == 26
    assert rms_band(60) == pytest.approx((0.77, 1.24), abs=0.005)


def test_errors_are_those_of_the_estimate():
    errors = [0.1, -0.3, 0.05, 0.2, -0.1, 0.0, 0.02]
    found = quantities(TRUTH, estimate(errors, np.eye(7) * 0.01))
    assert found["diffusion_white"].error == pytest.approx(0.1)
    assert found["diffusion_grey"].error == pytest.approx(-0.2)
    assert found["front_speed"].error == pytest.approx(0.075)
    assert found["infiltration_length"].error == pytest.approx(0.025)
    assert found["seed_y"].error == pytest.approx(-0.3) and found["seed_y"].sd == pytest.approx(0.3)
    assert found["onset"].error == pytest.approx(0.02) and found["onset"].sd == pytest.approx(0.1)
    assert joint_distance(TRUTH, estimate(errors, np.eye(7) * 0.01)) == (
        pytest.approx(sum(np.square(errors)) / 0.01),
        7,
    )


@pytest.mark.parametrize(("narrow", "calibrated"), [(1.0, True), (2.0, False), (0.5, False)])
def test_only_calibrated_errors_lie_in_the_bands(narrow, calibrated):
    count = 400
    found = [quantities(r["truth"], r["estimate"]) for r in results(count, narrow)]
    for name in ("diffusion_white", "diffusion_grey", "proliferation", "seed_x", "onset", "front_speed"):
        summary = row([errors[name] for errors in found])
        inside = [low <= n <= high for n, (low, high) in zip(summary.covered, bands(count), strict=True)]
        assert all(inside) == calibrated, (name, summary.covered)
        low, high = rms_band(count)
        assert (low <= summary.rms <= high) == calibrated
        p = stats.kstest([stats.norm.cdf(errors[name].z) for errors in found], "uniform").pvalue
        assert (p > 1e-3) == calibrated


def test_failures_and_unidentified_values():
    good, vague = Quantity(0.1, 0.1, True), Quantity(-0.9, 1.0, False)
    summary = row([good, vague, None, Quantity(0.8, 0.1, True)])
    assert (summary.n, summary.identified, summary.covered) == (4, 2, (0, 2, 2))
    assert summary.wrong == 1  # 0.8 is more than a factor of two
    assert summary.mean == pytest.approx(4.5) and summary.sd == 0.1


def test_table_names_strata_and_failures():
    failed = {"id": "B31", "stratum": "B", "error": "NumericalError: no", "truth": TRUTH}
    page = markdown([*results(30), *results(29, stratum="B"), failed])
    assert "Stratum A: 30 patients, 0 failed fits." in page
    assert "Stratum B: 30 patients, 1 failed fits: B31." in page
    assert "Stratum A and B: 60 patients" in page and "20 to 40 | 40 to 55 | 52 to 60" in page
