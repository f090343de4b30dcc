"""The growth that a fit leaves: bands that an untreated tumour can have, and the fit's own volumes at its sessions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oncology.fem.patient import MeshChoice, meshed_engine
from oncology.fem.runtime import world
from oncology.forecast.curves import HORIZON, growth_content, never_shrinking
from oncology.forecast.forecast import Band
from oncology.imaging import Case
from oncology.inverse.levels import level_of
from oncology.inverse.scalars import ScalarMap
from oncology.inverse.volumes import VolumeWatch, boundary_level
from oncology.model.growth import Logistic
from oncology.model.treatment import Radiotherapy
from oncology.model.tumour import Tumour
from oncology.results.fitted import FittedTumour
from tests.cases import write_case

RIMS = {"whole": 0.25, "core": 0.60}


COURSE = Radiotherapy(45.0, 60.0, 30)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return Case.read(write_case(tmp_path_factory.mktemp("growth"), tumour_centre=(-26.0, 12.0, 8.0)))


def level_on(case: Case):
    made = meshed_engine(world(), case, MeshChoice(size=6.0, margin=30.0), Logistic())
    return level_of(made, case)


@pytest.fixture(scope="module")
def level(case):
    return level_on(case)


def fitted(*treatments) -> FittedTumour:
    unknowns = ScalarMap(0.0)
    x = unknowns.pack(Tumour(0.2, 0.02, 0.03, (-26.0, 12.0, 8.0), -180.0))
    return FittedTumour(unknowns, x, np.diag([0.3, 0.1, 0.3, 0.01, 0.01, 0.01, 0.1, 0.1]) ** 2, RIMS, treatments)


def test_bands_hold_what_is_known_of_later_days():
    volume = np.array([0.0, 1.0, 5.0, 9.0])
    band = Band(volume, np.zeros(4), np.array([0.0, 40.0, 8.0, 12.0]), volume)
    bounded = never_shrinking(band)
    assert bounded.high.tolist() == [0.0, 8.0, 8.0, 12.0]
    shrinking = Band(np.array([2.0, 1.0]), np.zeros(2), np.array([3.0, 1.5]), np.array([2.0, 1.0]))
    assert never_shrinking(shrinking).high.tolist() == [2.0, 1.5], "never below the estimate itself"


def test_growth_runs_from_onset_to_its_horizon(level):
    content = growth_content(level, fitted(), (0.0, 40.0))
    days = np.array(content["days"])
    assert -180.0 < days[0] and (np.diff(days) > 0.0).all()
    assert {0.0, 40.0} <= set(content["days"]) and 40.0 < days[-1] <= 40.0 + HORIZON
    for region in RIMS:
        low, value, high = (np.array(content[region][end]) for end in ("low_ml", "volume_ml", "high_ml"))
        assert len(low) == len(value) == len(high) == len(days)
        assert (0.0 <= low).all() and (low <= value).all() and (value <= high).all()
        grown = days > -180.0 + 3.0 / 0.03  # before, a compact seed spreads below the threshold
        assert (np.diff(high[grown]) >= 0.0).all() and (high > low)[days >= 0.0].all()
    assert content["method"] == "linearised"


def test_growth_goes_on_from_the_last_linearisation_of_the_fit(level):
    """Its days are those of the steps; on the days of both, volumes and intervals are those of a run from onset."""
    tumour, sessions = fitted(), (0.0, 40.0)
    here, unknowns, engine = tumour.estimate, tumour.unknowns, level.engine
    levels = {region: boundary_level(unknowns, tumour.mean, region, given) for region, given in RIMS.items()}
    watch = VolumeWatch(level.space, levels)
    changes = [unknowns.tangent(tumour.mean, unit).tumour for unit in np.eye(len(tumour.mean))]
    engine.watched_tangent(engine.run(here, engine.plan(here, sessions)), changes, watch)
    known = watch.course()
    content, other = growth_content(level, tumour, sessions, known), growth_content(level, tumour, sessions)
    np.testing.assert_allclose(content["days"][: len(known.days) - 1], known.days[1:], atol=1e-6)
    assert set(sessions) <= set(content["days"])
    for region, days in (("whole", [-30.0, *sessions, 60.0]), ("core", [*sessions, 60.0])):
        for part in ("volume_ml", "low_ml", "high_ml"):
            found, expected = (np.interp(days, c["days"], np.cbrt(c[region][part])) for c in (content, other))
            on_steps = np.isin(days, content["days"])  # the curves are interpolated between steps
            assert (np.abs(found - expected) <= np.where(on_steps, 0.01, 0.02) * expected).all()


def test_days_at_the_edge_of_the_mesh_are_left_out(level):
    untreated = growth_content(level, fitted(), (0.0, 40.0))
    fast = replace(fitted(), mean=fitted().mean + np.array([0.7, 0.0, 0.3, 0.0, 0.0, 0.0, -0.4, 0.0]))
    assert growth_content(level, fast, (0.0, 40.0))["days"][-1] < untreated["days"][-1]


def test_treatment_shows(level, case):
    free = growth_content(level, fitted(), (0.0, 40.0))
    treated = growth_content(level_on(replace(case, treatments=(COURSE,))), fitted(COURSE), (0.0, 40.0))
    at = treated["days"].index(40.0)
    assert treated["whole"]["volume_ml"][at] == pytest.approx(free["whole"]["volume_ml"][free["days"].index(40.0)])
    assert treated["whole"]["volume_ml"][at + 1] < treated["whole"]["volume_ml"][at]
