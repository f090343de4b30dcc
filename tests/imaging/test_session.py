"""Regions that are drawn, empty or not segmented, and cavities that a segmentation has a label for."""

import tomllib

import nibabel as nib
import numpy as np
import pytest

from oncology.errors import CaseError
from oncology.imaging import Case
from oncology.imaging.placement import cavity_at
from oncology.model.treatment import Resection
from tests.cases import Scan, save, write_case, write_toml

WITH, WITHOUT = Scan("ses-01", 0.0, whole=14.0, core=7.0), Scan("ses-02", 40.0, whole=20.0, core=0.0)
SECOND = "ses-02/anat/sub-toy01_ses-02_desc-tumor_dseg.nii.gz"
RESECTION = {"kind": "resection", "day": 20.0}


def states(root) -> list[str]:
    return [session.core_state for session in Case.read(root).sessions]


def say(root, **of_second):
    content = tomllib.loads((root / "case.toml").read_text())
    content["session"][1] |= of_second
    write_toml(root, content)


def test_a_core_that_is_not_drawn_is_not_read_as_none(tmp_path):
    root = write_case(tmp_path, sessions=(WITH, WITHOUT))
    assert states(root) == ["drawn", "not segmented"]
    assert [list(session.regions) for session in Case.read(root).sessions] == [["whole", "core"], ["whole"]]


def test_a_resection_leaves_an_empty_core(tmp_path):
    assert states(write_case(tmp_path, sessions=(WITH, WITHOUT), treatments=[RESECTION])) == ["drawn", "empty"]
    late = write_case(tmp_path / "late", sessions=(WITH, WITHOUT), treatments=[RESECTION | {"day": 41.0}])
    with pytest.raises(CaseError, match="ses-02 has no core: give a mask"):
        Case.read(late)


@pytest.mark.parametrize("state", ["empty", "not segmented"])
def test_what_the_file_says_counts(tmp_path, state):
    root = write_case(tmp_path, sessions=(WITH, WITHOUT))
    say(root, core=state)
    assert states(root) == ["drawn", state]


def test_what_the_file_says_must_not_contradict_the_image(tmp_path):
    root = write_case(tmp_path / "none", sessions=(WITH, WITHOUT))
    say(root, core="drawn")
    with pytest.raises(CaseError, match='ses-02 has core = "drawn" but its segmentation shows none'):
        Case.read(root)
    root = write_case(tmp_path / "one")
    say(root, core="empty")
    with pytest.raises(CaseError, match='ses-02 has core = "empty" but its segmentation shows a core'):
        Case.read(root)
    say(root, core="not segmented")
    assert states(root) == ["drawn", "not segmented"]


def test_a_table_without_core_and_one_without_oedema(tmp_path):
    root = write_case(tmp_path / "oedema", labels={"oedema": [2, 3]})
    assert [list(session.regions) for session in Case.read(root).sessions] == [["whole"], ["whole"]]
    root = write_case(tmp_path / "core", labels={"necrosis": 2, "enhancing": 3})
    case = Case.read(root)
    assert [list(session.regions) for session in case.sessions] == [["core"], ["core"]]
    assert (case.sessions[0].whole.data == case.sessions[0].core.data).all()


def cavity_in_second(root, radius=9.0):
    image = nib.load(root / SECOND)
    labels = np.asarray(image.dataobj).copy()
    points = np.moveaxis(np.indices(labels.shape), 0, -1) @ image.affine[:3, :3].T + image.affine[:3, 3]
    labels[np.linalg.norm(points - (-16.0, 12.0, 8.0), axis=-1) < radius] = 4
    save(root / SECOND, labels, image.affine)


def test_a_labelled_cavity_is_no_tumour_and_serves_the_resection(tmp_path):
    table = {"oedema": 2, "enhancing": 3, "cavity": 4}
    root = write_case(tmp_path, voxel=2.0, labels=table, treatments=[RESECTION])
    cavity_in_second(root)
    case = Case.read(root)
    second = case.sessions[1]
    assert second.cavity is not None and not (second.cavity.data & second.whole.data).any()
    assert case.sessions[0].cavity is None
    points = np.array([[-16.0, 12.0, 8.0], [-8.5, 12.0, 8.0], [-5.5, 12.0, 8.0]])  # 0, 7.5 and 10.5 mm from the centre
    inside = [(cavity_at(case, Resection(day), points) > 0.5).tolist() for day in (20.0, 50.0)]
    assert inside[0] == [True, True, False], "the cavity of 9 mm in the scan after, not the core of 7 mm before"
    assert inside[1] == [False, False, True], "no scan after it: the core of the one before, from 9 to 12 mm"


def test_scans_before_and_after_surgery_on_one_day(tmp_path):
    after = Scan("ses-02", 0.0, whole=14.0, core=0.0)
    root = write_case(tmp_path / "gone", sessions=(WITH, after), treatments=[RESECTION | {"day": 0.0}])
    case = Case.read(root)
    (resection,) = case.treatments
    assert 0.0 == case.sessions[0].day < resection.day < case.sessions[1].day < 0.1
    assert case.sessions[1].core_state == "empty"
    still = Scan("ses-02", 0.0, whole=14.0, core=7.0)
    root = write_case(tmp_path / "still", sessions=(WITH, still), treatments=[RESECTION | {"day": 0.0}])
    with pytest.raises(CaseError, match="ses-02 is on the same day as the resection but shows 100% of the core"):
        Case.read(root)
