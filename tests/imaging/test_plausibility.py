"""What is odd about a case is said in one sentence each, and nothing is said of an ordinary one."""

from dataclasses import replace

import numpy as np
import pytest

from oncology.imaging import Case, Volume
from oncology.model.treatment import Radiotherapy
from tests.cases import Scan, write_case

FIRST, LATER = Scan("ses-01", 0.0, whole=14.0, core=7.0), Scan("ses-02", 40.0, whole=20.0, core=12.0)


def case_of(tmp_path, *sessions: Scan, **options) -> Case:
    return Case.read(write_case(tmp_path, voxel=3.0, sessions=sessions, **options))


def test_nothing_is_said_of_an_ordinary_case(tmp_path):
    remarks = case_of(tmp_path, FIRST, LATER).check()
    assert not remarks and list(remarks) == []
    assert str(remarks) == "Nothing unusual was found."


@pytest.mark.parametrize(
    ("sessions", "says"),
    [
        ((FIRST,), "is the only session"),
        ((FIRST, replace(LATER, day=3.0)), "3 days apart, usual are 7 to 365"),
        ((FIRST, replace(LATER, day=400.0)), "400 days apart"),
        ((LATER, replace(FIRST, id="ses-03", day=80.0)), "the whole tumour shrinks"),
        ((LATER, replace(LATER, id="ses-03", day=80.0, core=6.0)), "the core shrinks"),
        ((replace(FIRST, whole=9.0, core=4.0), replace(LATER, day=8.0)), "grows by 1.38 mm/day"),
        ((replace(FIRST, core=0.0), LATER), "ses-01: has no core: taken as not segmented"),
        (
            (LATER, replace(LATER, id="ses-03", day=80.0, core=0.0)),
            "has no core although ses-02 has one and no resection",
        ),
        ((FIRST, replace(FIRST, id="ses-02", day=40.0)), "ses-02: has the same segmentation as ses-01"),
        ((replace(FIRST, core=14.0), LATER), "check whether oedema is labelled"),
        ((replace(FIRST, whole=4.0, core=3.1), replace(LATER, day=60.0)), "usual are 0.5 to 200"),
    ],
)
def test_sessions(tmp_path, sessions, says):
    remarks = case_of(tmp_path, *sessions).check()
    assert [remark for remark in remarks if says in remark], str(remarks)


def test_a_tumour_that_shrinks_under_treatment_is_not_odd(tmp_path):
    case = case_of(tmp_path, LATER, replace(FIRST, id="ses-03", day=80.0))
    treated = replace(case, treatments=(Radiotherapy(45.0, 60.0, 30),))
    assert not [remark for remark in treated.check() if "shrinks" in remark]


def moved(case: Case, shift: int) -> Case:
    """The last session's labels shifted along the first axis."""
    last = case.sessions[-1]
    whole, core = (image.with_data(np.roll(image.data, shift, axis=0)) for image in (last.whole, last.core))
    return replace(case, sessions=(*case.sessions[:-1], replace(last, whole=whole, core=core)))


def test_sessions_that_do_not_overlap(tmp_path):
    case = case_of(tmp_path, FIRST, LATER)
    assert any("do not overlap: the tumour cannot have moved: register" in remark for remark in moved(case, 14).check())
    assert any("% of the smaller tumour" in remark for remark in moved(case, 9).check())


def test_a_tumour_cut_by_the_image(tmp_path):
    case = case_of(tmp_path, FIRST, LATER)
    whole = case.sessions[0].whole.data.copy()
    whole[0, 15, 15] = True
    first = replace(case.sessions[0], whole=case.sessions[0].whole.with_data(whole))
    cut = replace(case, sessions=(first, case.sessions[1]))
    assert any("ses-01: the tumour is cut by the border" in remark for remark in cut.check())


def test_several_foci(tmp_path):
    """Each gets a seed; unlike sizes, foci of a later scan and too many of them are said."""
    case = case_of(tmp_path, FIRST, LATER)
    first, last = case.sessions

    def also(session, *placed):
        points = session.whole.world(np.argwhere(np.ones(session.whole.shape)))
        away = points - points[session.whole.data.ravel()].mean(axis=0)
        inside = [np.linalg.norm(away - offset, axis=1) < radius for *offset, radius in placed]
        data = session.whole.data | np.any(inside, axis=0).reshape(session.whole.shape)
        return replace(session, whole=session.whole.with_data(data))

    def said(first, last, word):
        return [remark for remark in replace(case, sessions=(first, last)).check() if word in remark]

    (two,) = said(also(first, (50, 0, 0, 14)), also(last, (50, 0, 0, 20)), "foci")
    assert two.startswith("ses-01: the tumour has 2 foci (11.") and two.endswith("mL): each gets a seed of its own")
    (unlike,) = said(also(first, (50, 0, 0, 8)), last, "foci")
    assert "each gets a seed of its own; they start on the same day, which may not explain" in unlike
    (late,) = said(first, also(last, (50, 0, 0, 8)), "focus")
    assert late.startswith("ses-02: a focus of 2.") and "gets no seed, since seeds start on the same day" in late
    (many,) = said(also(first, *[(x, y, z, 7) for x in (0, 40) for y in (-40, -20) for z in (-20, 20)]), last, "foci")
    assert "ses-01: the tumour has 9 separate foci, at most 5 are fitted: this looks like metastases" in many


def test_images(tmp_path):
    case = Case.read(write_case(tmp_path, voxel=(3.0, 3.0, 6.0), sessions=(FIRST, LATER)))
    assert any("ses-01: voxels of 3 × 3 × 6 mm are thick" in remark for remark in case.check())
    tiny = replace(case, white=Volume(0.1 * case.white.data, case.white.affine), reassigned_fraction=0.7)
    said = str(tiny.check())
    assert "of white and grey matter, usual are 500 to 2200" in said and "70 % of the tumour" in said
    core = replace(case.sessions[0], core=case.sessions[0].core.with_data(~case.sessions[0].whole.data))
    outside = replace(case, sessions=(core, case.sessions[1]))
    assert any("the core reaches outside the whole tumour" in remark for remark in outside.check())
