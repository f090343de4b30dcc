"""Numbers as people read them, intervals, and the sentences that follow from what is identified."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncology.imaging.describe import treatment
from oncology.model.treatment import Chemotherapy, Radiotherapy, Resection
from oncology.report.words import (
    cannot_tell,
    combination_rows,
    direction,
    formula,
    headline,
    interval_sentences,
    parameter_rows,
    seed_count,
    seed_words,
)
from oncology.results.schema import Estimate
from oncology.text import number, symbols


@pytest.fixture
def estimate(toy_out):
    """Makes estimates of which the named parameters are not identified."""
    content = json.loads((toy_out / "estimate.json").read_text())

    def make(*unknown: str, vague: float = 0.05) -> Estimate:
        for name, parameter in content["parameters"].items():
            parameter["identified"] = name not in unknown
        content["combinations"][1] |= {"sd_log": vague, "identified": vague < 0.5}
        return Estimate.model_validate(content)

    return make


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.3, "0.300"),
        (-310.2, "−310"),
        (17881.9, "17\N{NARROW NO-BREAK SPACE}882"),
        (2.1e-7, "2.10 × 10⁻⁷"),
        (0.0, "0"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


@given(st.floats(1e-12, 1e12))
def test_numbers_keep_three_digits(value):
    text = number(value).replace("\N{NARROW NO-BREAK SPACE}", "")
    mantissa, _, power = text.partition(" × 10")
    power = power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    assert float(mantissa) * 10.0 ** int(power or 0) == pytest.approx(value, rel=5.1e-3)


def test_symbols():
    assert symbols("mm^2/day") == "mm²/day"
    assert symbols("2 sqrt(D rho)") == "2 √(D ρ)"
    assert symbols("1") == ""


def test_rows_show_intervals_and_where_a_value_is_known_from(estimate):
    rows = {row.name: row for row in parameter_rows(estimate("diffusion_grey")).values()}
    white, onset = rows["diffusion in white matter"], rows["day of onset"]
    assert white.interval == f"{number(0.3 * math.exp(-1.96 * 0.05))} to {number(0.3 * math.exp(1.96 * 0.05))}"
    assert (white.unit, white.determined) == ("mm²/day", True)
    assert onset.interval == f"{number(-160 - 1.96 * 14)} to {number(-160 + 1.96 * 14)}"
    assert not rows["diffusion in grey matter"].determined
    assert rows["site of onset (R, A, S)"].interval == "± 1.6, 1.4, 1.8"


def test_several_foci_have_a_row_each(estimate):
    """A seed that is not determined is said, whichever focus it belongs to."""
    content = estimate().model_dump(by_alias=True)
    content["parameters"]["seed_radius"] = {"value": 6.5, "unit": "mm", "sd_log": 0.1, "identified": True}
    one = Estimate.model_validate(content)
    assert "is a ball of 6.50 mm radius, the seed," in seed_words(one) and seed_count(one) == "a single seed"
    other = content["parameters"]["seed"] | {"value": (1.0, 2.0, 3.0), "identified": False}
    both = Estimate.model_validate(content | {"foci": [content["parameters"]["seed"], other]})
    rows = parameter_rows(both)
    assert rows["seed2"].name == "site of onset (R, A, S), focus 2" and rows["seed2"].value == "1.00, 2.00, 3.00"
    assert rows["seed"].determined and not rows["seed2"].determined
    assert any("do not determine site of onset" in sentence for sentence in cannot_tell(both, 2))
    assert "2 balls of" in seed_words(both) and "one in each focus" in seed_words(both)
    assert seed_count(both) == "2 seeds" and "falls to zero at their edges" in seed_words(both)


def test_bars_are_symmetric_and_stay_inside(estimate):
    grey = next(row for row in parameter_rows(estimate()).values() if "grey" in row.name)
    assert grey.bar is not None
    assert grey.bar[0] + grey.bar[1] == pytest.approx(100.0)
    wide = combination_rows(estimate(vague=9.0))[1]
    assert wide.bar == (0.0, 100.0)
    assert not wide.determined


def test_combinations_are_taken_apart(estimate):
    found = [(row.name, row.symbol) for row in combination_rows(estimate())]
    assert found == [
        ("infiltration length", "√(D/ρ)"),
        ("front speed", "2 √(D ρ)"),
        ("growth since onset", "ρ T"),
        ("diffusion ratio", "D_g/D_w"),
    ]


def test_formulas_get_their_indices_and_nothing_else():
    assert formula("D_g/D_w <b>") == "D<sub>g</sub>/D<sub>w</sub> &lt;b&gt;"
    assert direction("-0.71 ln_diffusion_ratio") == "−0.71 ln diffusion ratio"


def test_everything_known(estimate):
    sentences = cannot_tell(estimate(), sessions=2)
    assert len(sentences) == 1
    assert "every parameter" in sentences[0]
    assert "advances 0.155 mm/day" in " ".join(headline(estimate()))


def test_one_scan_leaves_the_pace_open(estimate):
    given = estimate("diffusion_white", "proliferation", "onset", vague=0.9)
    text = " ".join(cannot_tell(given, sessions=1))
    assert "do not determine diffusion in white matter, rate of proliferation or day of onset" in text
    assert "come from the prior" in text
    assert "second scan" in text
    assert "infiltration length √(D/ρ) = 3.87 mm" in text
    assert "Not determined either: front speed and diffusion ratio" in text
    assert headline(given)[0].startswith("Tumours that grow at different speeds match the scans")


def test_two_scans_with_loose_regions(estimate):
    text = " ".join(cannot_tell(estimate("diffusion_white", "proliferation"), sessions=2))
    assert "second scan" not in text
    assert "product D ρ" in text


def test_grey_matter_alone(estimate):
    text = " ".join(cannot_tell(estimate("diffusion_grey"), sessions=2))
    assert "The value given for it comes from the prior" in text
    assert "crosses grey matter" in text


def test_treatments_name_dose_and_days():
    text = treatment(Radiotherapy(day=14.0, dose_gy=60.0, fractions=30))
    assert "from day 14: 60 Gy in 30 fractions" in text
    assert "90.8 % of the cells" in text  # exp(-0.04 * 2 * 1.2)
    assert "half-life" in treatment(Chemotherapy(day=3.0, rate=0.02, half_life=0.1))
    assert "core of the scan before" in treatment(Resection(day=2.0))


def test_the_page_says_which_errors_its_intervals_count(estimate):
    known = estimate()
    boundaries, thresholds, maps = interval_sentences(known)
    assert "white and grey matter may lie off by 0.500 mm" in maps
    assert "off by 0.310 mm" in boundaries and "0.120 mm along each axis, correlated over 52 mm" in boundaries
    assert "as the residuals show" in boundaries and "given the thresholds" in thresholds
    guessed = known.model_copy(update={"boundary_errors": known.boundary_errors | {"interval": "default"}})
    assert "an assumption" in interval_sentences(guessed)[0]
    declared = known.model_copy(update={"declared_errors": {"threshold_sd": 0.03, "bias_mm": 0.5}})
    assert "uncertain by 0.0300" in interval_sentences(declared)[1] and "0.500 mm" in interval_sentences(declared)[2]
    unknown = known.model_copy(update={"posterior": {"names": ["threshold_whole"]}})
    assert interval_sentences(unknown)[1] == "The thresholds are among the unknowns."
    assert interval_sentences(known.model_copy(update={"boundary_errors": {}, "declared_errors": {}})) == []


def with_posterior(estimate, ratio: float, spread: float = 0.9):
    """Diffusion in grey matter is not identified; prior and posterior of ln(D_g / D_w) at -2.3 and at `ratio`."""
    names = ["ln_diffusion_white", "ln_diffusion_ratio", "ln_proliferation"]
    prior = {name: {"mean": mean, "sd": 1.0} for name, mean in zip(names, (-1.2, -2.3, -3.9), strict=True)}
    covariance = [[0.05**2, 0.0, 0.0], [0.0, spread**2, 0.0], [0.0, 0.0, 0.05**2]]
    posterior = {"names": names, "mean": [-1.2, ratio, -3.9], "covariance": covariance, "first_day": 0.0}
    return estimate("diffusion_grey").model_copy(update={"prior": prior, "posterior": posterior})


def test_a_value_comes_from_the_prior_only_where_both_agree(estimate):
    agrees = " ".join(cannot_tell(with_posterior(estimate, -2.2), sessions=2))
    assert "The value given for it comes from the prior assumption" in agrees and "add little about" not in agrees
    moved = " ".join(cannot_tell(with_posterior(estimate, -4.6), sessions=2))
    assert "comes from the prior" not in moved
    prior = number(math.exp(-1.2 - 2.3))
    assert f"The scans add little about diffusion in grey matter: they move it from {prior}, the prior" in moved
    assert "mm²/day open." in moved
    marks = {row.name: row.source for row in parameter_rows(with_posterior(estimate, -4.6)).values()}
    assert marks["diffusion in grey matter"] == "little" and marks["diffusion in white matter"] == "scans"


def test_the_prior_is_drawn_beside_the_posterior_on_one_scale(estimate):
    rows = {row.name: row for row in parameter_rows(with_posterior(estimate, -2.3)).values()}
    grey, white = rows["diffusion in grey matter"], rows["diffusion in white matter"]
    widths = [bar[1] - bar[0] for bar in (grey.bar, white.bar)]
    reach = 1.96 * math.hypot(0.05, 0.9) / math.log(8.0)
    assert widths[0] == pytest.approx(100.0 * min(reach, 1.0), rel=1e-3)
    assert widths[1] == pytest.approx(100.0 * 1.96 * 0.05 / math.log(8.0), rel=1e-3)
    assert white.prior[0] == pytest.approx(50.0 * (1.0 - 1.96 / math.log(8.0)), rel=1e-2)
    speed = next(row for row in combination_rows(with_posterior(estimate, -2.3)) if row.name == "front speed")
    assert speed.prior[1] - speed.prior[0] == pytest.approx(100.0 * 1.96 / math.sqrt(2.0) / math.log(8.0), rel=1e-3)
    without = list(parameter_rows(estimate("diffusion_grey")).values())
    assert all(row.prior is None for row in without), "the file of an earlier version holds no posterior"
