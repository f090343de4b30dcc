"""The verdict: the worst finding decides, worse evidence never helps, and a fit that fails is told at any status."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oncology as onc
from oncology.imaging import write_volume
from oncology.inverse.residual import Residual, displacement
from oncology.report.words import cannot_tell, headline, verdict
from oncology.results.schema import Estimate
from oncology.results.verdict import LEVELS, RegionMatch, Verdict, judge, limits, verdict_of
from tests.cases import write_case
from tests.cluster.cohorts import example_estimate

GOOD = RegionMatch("ses-01", "whole", 0.96, 30.0, 30.5, 1.0)
FINE = Residual(0.6, 0.5)

overlaps = st.floats(0.0, 1.0)
volumes = st.floats(0.03, 200.0)
edges = st.floats(0.5, 8.0)
matches = st.builds(
    RegionMatch, st.just("ses-01"), st.sampled_from(["whole", "core"]), overlaps, volumes, volumes, edges
)
residuals = st.builds(Residual, st.floats(0.0, 30.0), st.floats(0.05, 6.0))


def rank(found: Verdict) -> int:
    return LEVELS.index(found.level)


def test_a_good_fit_is_explained_with_its_figures():
    found = judge([GOOD, replace(GOOD, region="core", dice=0.93)], converged=True, one_seed=0.95, residual=FINE)
    assert found.level == "explained" and not found.voids
    assert found.reasons == (
        "scan and model overlap by 0.93 or more (Dice) in every session and region",
        "their boundaries lie 0.60 mm apart, intervals and mesh allow for 0.50 mm",
    )


@pytest.mark.parametrize(
    ("change", "level", "reason"),
    [
        ({"matches": [GOOD, replace(GOOD, region="core", dice=0.8)]}, "partly", "of the core overlap by only 0.80"),
        ({"matches": [GOOD, replace(GOOD, session="ses-02", dice=0.0)]}, "not_explained", "ses-02: scan and model"),
        ({"converged": False}, "partly", "not confirmed"),
        ({"one_seed": 0.8}, "partly", "without a correction of the shape"),
        ({"one_seed": 0.2}, "not_explained", "without a correction of the shape"),
        ({"residual": Residual(0.9, 0.5)}, "partly", "lie 0.90 mm apart, intervals and mesh allow for 0.50 mm"),
        ({"residual": Residual(5.6, 0.7)}, "not_explained", "too narrow"),
    ],
)
def test_every_finding_has_its_level_and_its_sentence(change, level, reason):
    given = {"matches": [GOOD], "converged": True, "one_seed": 0.97, "residual": FINE} | change
    found = judge(given.pop("matches"), **given)
    assert found.level == level
    assert reason in found.reasons[0]
    assert len(found.reasons) == 1, "what is good is not listed among what is not"


def test_the_worst_finding_decides_and_comes_first():
    found = judge([replace(GOOD, dice=0.8), replace(GOOD, session="ses-02", dice=0.1)], converged=False)
    assert found.level == "not_explained"
    assert found.reasons[0].startswith("ses-02") and len(found.reasons) == 3


@given(matches, overlaps, edges, st.booleans(), overlaps, residuals)
def test_worse_evidence_never_helps(match, other, cell, converged, seed, residual):
    def level(dice: float, **change) -> int:
        evidence = {"converged": converged, "cell": cell, "one_seed": seed, "residual": residual} | change
        return rank(judge([replace(match, dice=dice)], **evidence))

    low, high = sorted((match.dice, other))
    assert level(low) >= level(high)
    assert level(high, converged=False) >= level(high)
    assert level(high, one_seed=0.9 * seed) >= level(high)
    assert level(high, residual=Residual(1.5 * residual.found, residual.assumed)) >= level(high)


@given(matches, edges)
def test_no_overlap_is_never_explained_however_small_the_tumour(match, cell):
    assert judge([replace(match, dice=0.0)], converged=True, cell=cell).level == "not_explained"


def test_a_core_that_the_cells_cannot_show_does_not_void_the_whole_tumour():
    core = RegionMatch("ses-01", "core", 0.0, 0.05, 0.0, 1.0)  # mL: a ball of 2.3 mm radius
    assert judge([GOOD, core], converged=True, cell=2.5).level == "partly"
    assert judge([GOOD, core], converged=True, cell=1.0).level == "not_explained"
    assert judge([core], converged=True, cell=2.5).level == "not_explained", "it is all that was drawn"


@pytest.mark.parametrize(
    ("model", "level"), [(0.0, "explained"), (1.0, "explained"), (6.0, "partly"), (20.0, "not_explained")]
)
def test_a_region_drawn_and_empty_is_judged_by_what_the_model_has_of_the_whole(model, level):
    core = RegionMatch("ses-01", "core", 0.0 if model else None, 0.0, model, 1.0)
    found = judge([GOOD, core], converged=True)
    assert found.level == level
    assert level == "explained" or "none was drawn, the model has" in found.reasons[0]


@given(matches, edges, st.floats(1.0, 3.0))
def test_limits_are_lower_for_small_regions_and_coarse_voxels_only(match, cell, factor):
    good, poor = limits(match, cell)
    assert 0.7 <= good <= 0.9 and 0.3 <= poor <= 0.6 and poor < good
    larger, finer = replace(match, scan_ml=factor * match.scan_ml), replace(match, voxel=match.voxel / factor)
    for other, edge in ((larger, cell), (finer, cell), (match, cell / factor)):
        assert all(new >= old for new, old in zip(limits(other, edge), (good, poor), strict=True))


@pytest.mark.parametrize("radius", [5.0, 10.0, 20.0])
def test_a_ball_displaced_by_a_seventh_of_a_cell_is_explained(radius):
    """Dice of two balls, one of which is larger: (R / (R + d))^3 against 1."""
    edge, volume = 2.5, 4.0 / 3.0 * math.pi * radius**3
    larger = (radius + edge / 7.0) ** 3 / radius**3
    match = RegionMatch("ses-01", "core", 2.0 / (1.0 + larger), volume / 1000.0, volume * larger / 1000.0, 1.0)
    assert judge([match], converged=True, cell=edge).level == "explained"


@given(st.floats(0.01, 20.0), st.floats(0.5, 6.0))
def test_the_displacement_is_that_of_a_plane_among_cells(distance, edge):
    """Fractions of cells of a plane that is displaced from one place in its cell to a later one, over all places."""
    places = (np.arange(2000) + 0.5) / 2000 * edge
    starts = edge * np.arange(-1, int(distance / edge) + 3)[:, None]
    before, after = (np.clip((x - starts) / edge, 0.0, 1.0) for x in (places, places + distance))
    misfit = edge * ((after - before) ** 2).sum(axis=0).mean()
    assert displacement(float(misfit), edge) == pytest.approx(distance, rel=2e-3, abs=2e-3 * edge)


def test_an_estimate_of_an_earlier_version_is_judged_by_what_it_holds():
    content = example_estimate()
    content.pop("verdict", None)
    assert verdict_of(Estimate.model_validate(content)).level == "explained"
    content["dice"]["ses-02"]["whole"] = 0.0
    assert verdict_of(Estimate.model_validate(content)).level == "not_explained"
    content |= {"verdict": "partly", "verdict_reasons": ["as it was written"]}
    assert verdict_of(Estimate.model_validate(content)) == Verdict("partly", ("as it was written",))


def test_what_is_not_explained_is_said_in_place_of_what_is_known():
    content = example_estimate() | {"verdict": "not_explained", "verdict_reasons": ["they do not meet"]}
    estimate = Estimate.model_validate(content)
    assert headline(estimate) == [
        "The model does not explain the scans: the numbers below do not describe this tumour."
    ]
    assert "no value counts as determined" in cannot_tell(estimate, 2)[0]
    assert "they do not meet" in cannot_tell(estimate, 2)[0]
    assert verdict(estimate).startswith("Verdict: not explained, converged, Dice of the whole tumour")


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """The second scan is flipped from left to right: each alone is a tumour, together they are none."""
    folder = tmp_path_factory.mktemp("mirrored")
    case = onc.read_case(write_case(folder))
    path = case.sessions[1].labels.path
    write_volume(path, case.sessions[1].labels.with_data(case.sessions[1].labels.data[::-1].copy()), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONCOLOGY_CACHE", str(folder / "cache"))
        return onc.fit(onc.read_case(case.root), size=6.0)


def test_a_mirrored_scan_is_not_explained_and_nothing_is_identified(mirrored, tmp_path):
    assert mirrored.verdict.level == "not_explained"
    assert "ses-02" in " ".join(mirrored.verdict.reasons)
    assert not mirrored.to_dataframe()["identified"].any()
    content = json.loads((mirrored.save(tmp_path / "out") / "estimate.json").read_text())
    assert content["verdict"] == "not_explained" and tuple(content["verdict_reasons"]) == mirrored.verdict.reasons
    assert list(content)[2:4] == ["status", "verdict"]
    assert not any(entry["identified"] for entry in (*content["parameters"].values(), *content["combinations"]))
    assert content["not_identified"] == list(content["parameters"])
    assert content["boundary_errors"]["residual_mm"] > 3.0 * content["boundary_errors"]["assumed_mm"]


def test_a_prediction_from_it_says_so_in_one_line(mirrored):
    found = mirrored.predict(days=[10.0]).results.record
    assert found.verdict == "not_explained"
    assert [note for note in found.notes if "does not explain the scans" in note] == list(found.notes[:1])
