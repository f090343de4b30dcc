"""Inverse problems: coefficients within their posterior, fields within the discrepancy, symmetries."""

from __future__ import annotations

import math

import numpy as np
import pytest

from oncology.optimise import Status
from oncology.reproduce.science_fields import field_row
from oncology.reproduce.science_forms import closure_row, gain_row
from oncology.reproduce.science_inverse import FARTHEST, INVERSE, NOISE, Inverse
from oncology.reproduce.science_recovery import FIELDS, SoughtField, recover
from oncology.reproduce.science_shapes import INVERSE_SHAPES
from oncology.reproduce.science_symmetries import (
    clock,
    driven_curve,
    front_directions,
    growth_or_amplitude,
    integral_of_conductivity,
    layered_rod,
    segmentation,
    slide,
    stationary_layer,
)
from oncology.science.estimation import estimate


@pytest.mark.parametrize("case", [*INVERSE, *INVERSE_SHAPES], ids=lambda case: case.id)
def test_coefficients_are_recovered(case: Inverse):
    """At 0 and 5 % noise; `oncology reproduce science` does 0, 1, 5 and 10 %."""
    exact, noisy = case.rows((0.0, 0.05))
    assert max(abs(error) for error in exact.errors.values()) < 0.05
    assert noisy.recovered, noisy.deviations
    # what is left is noise and discretisation error, less the fraction of the noise that looks like another coefficient
    left = math.hypot(noisy.noise, exact.fit.residual)
    values = case.equation.size if case.seen is None else len(case.seen)
    fitted = len(case.coefficients) * FARTHEST**2 / (len(case.times) * values)
    assert left * math.sqrt(1.0 - fitted) <= noisy.fit.residual <= 1.02 * left
    assert exact.fit.before.rank == len(case.coefficients)
    assert noisy.fit.result.status.succeeded


def test_posterior_deviations_are_those_of_repeated_experiments():
    """Errors of 40 noise realisations, in standard deviations: their mean square is 1 within three of its own."""
    case = next(case for case in INVERSE if case.id == "H1")
    best = estimate(case.problem(0.0)[0]).values["conductivity"]
    scores = []
    for seed in range(40):
        fit = estimate(*case.problem(0.02, seed))
        scores.append(math.log(fit.values["conductivity"] / best) / fit.sd["conductivity"])
    assert np.mean(np.square(scores)) == pytest.approx(1.0, abs=3.0 * math.sqrt(2.0 / 40.0))


@pytest.mark.parametrize("level", NOISE)
@pytest.mark.parametrize("sought", ["source", "initial"])
def test_fields_are_as_close_as_the_discrepancy_allows(sought, level):
    """|F(found) - d| <= tau delta and |F(true) - d| <= delta bound the error of every mode by its singular value."""
    row = field_row(sought, level)
    assert row.result.status is Status.DISCREPANCY
    assert bool((row.modes <= row.bounds).all())
    if level > 0:
        assert row.error < 3.0 * row.best


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.id)
def test_nonlinear_fields_come_near_the_best_truncated_expansion(field: SoughtField):
    """At 5 % noise, without the truth that tells the expansion where to cut; the start is worth 1."""
    row = recover(field, 0.05)
    assert row.result.status is Status.DISCREPANCY
    assert row.error < min(0.7, 2.0 * row.best)


def test_fewer_iterations_are_trusted_where_there_is_more_noise():
    counts = [field_row("source", level).result.iterations for level in NOISE]
    assert counts == sorted(counts, reverse=True)


def test_the_initial_state_is_harder_than_the_source():
    """Exponentially against mildly ill-posed: the same noise costs more."""
    assert field_row("initial", 0.01).error > 3.0 * field_row("source", 0.01).error


def test_one_mode_sees_the_integral_of_conductivity():
    report = integral_of_conductivity()
    assert report.rank == 1
    assert report.directions[:, 0] / report.directions[0, 0] == pytest.approx([1.0] * 4, rel=1e-6)


def test_growth_and_amplitude_are_one():
    """delta ln c = 1 with delta rho = -1 / T = -0.1 changes nothing; diffusion is determined all the same."""
    report = growth_or_amplitude(10.0)
    assert report.rank == 2
    (unseen,) = report.unseen()
    assert unseen == pytest.approx([0.0, -0.1, 1.0], abs=1e-6)
    assert "initial by the factor c^1, proliferation by -0.1 c" in report.words()[0]


def test_an_unknown_duration_hides_behind_the_rates():
    report = clock()
    assert report.rank == 2
    (unseen,) = report.unseen()
    assert unseen / unseen[0] == pytest.approx([1.0, 1.0, -1.0], rel=1e-6)


@pytest.mark.parametrize(
    ("report", "hidden"),
    [
        (stationary_layer, [1.0, 1.0]),
        (driven_curve, [1.0, -1.0]),
        (slide, [1.0, -0.5]),
        (segmentation, [1.0, 1.0, 1.0]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_states_at_rest_and_on_the_move_hide_one_direction(report, hidden):
    found = report()
    assert found.rank == len(hidden) - 1
    (unseen,) = found.unseen()
    assert unseen / unseen[0] == pytest.approx(hidden, rel=1e-5)


def test_a_rod_without_a_turning_flux_hides_a_conductivity():
    """kappa u' = c - x for every c: the hidden direction of ln kappa is 1 / (c - x). A turning flux tells c."""
    found = layered_rod(1.2)
    assert found.rank == 24
    (unseen,) = found.unseen()
    faces = np.linspace(0.0, 1.0, 25)
    assert unseen / unseen[0] == pytest.approx(1.2 / (1.2 - faces), rel=1e-6)


def test_a_front_sees_the_product_at_two_times_and_the_ratio_at_two_levels():
    """Gradients of ln speed and ln width approach (1/2, 1/2) and (1/2, -1/2); what is left of Bramson's delay fades."""
    gaps = []
    for days in (75.0, 150.0):
        speed, width = front_directions(days)
        gaps.append([np.linalg.norm(speed - [0.5, 0.5]), np.linalg.norm(width - [0.5, -0.5])])
    assert gaps[1][0] < 0.6 * gaps[0][0] < 0.6 * 0.2
    assert gaps[1][1] < 0.6 * gaps[0][1] < 0.6 * 0.2


def test_form_b_learns_a_gain_in_depth():
    row = gain_row(0.05)
    assert row.result.status is Status.DISCREPANCY
    assert row.error < 0.2
    assert float(row.gain.min()) > 0.0


def test_form_c_learns_what_the_physics_leaves_out():
    row = closure_row()
    assert row.unseen < row.physics / 5.0
    assert row.trained < row.physics / 5.0
