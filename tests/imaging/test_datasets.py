"""Patients of public data sets become cases: their layouts, labels, days, and what they lack."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

import numpy as np
import pytest

from oncology.errors import ArgumentError, CaseError, InputError, OutputError
from oncology.imaging import Case
from oncology.imaging.brats import find_brats
from oncology.imaging.caseimport import Tissue, import_case
from oncology.imaging.datasets import find_tissue
from oncology.imaging.lumiere import find_lumiere
from tests.cases import Scan, centres, save, write_case

CENTRE = (-16.0, 12.0, 8.0)
SHELLS = ((14.0, "oedema"), (9.0, "enhancing"), (5.0, "necrosis"))  # radius mm, the inner ones last
LABELS = {
    "brats2017": {"oedema": 2, "enhancing": 4, "necrosis": 1},
    "brats2023": {"oedema": 2, "enhancing": 3, "necrosis": 1},
    "deepbratumia": {"oedema": 3, "enhancing": 1, "necrosis": 2},
    "hd-glio": {"oedema": 1, "enhancing": 2, "necrosis": 2},
}


@pytest.fixture
def brain(tmp_path) -> Case:
    """A brain whose maps serve as those of a patient."""
    return Case.read(write_case(tmp_path / "brain", sessions=(Scan("ses-01", 0.0, whole=14.0, core=9.0),)))


def maps(case: Case) -> Tissue:
    white, grey = (case.root / "anat" / f"{case.root.name}_label-{kind}_probseg.nii.gz" for kind in ("WM", "GM"))
    return Tissue(white, grey)


def segmented(path: Path, case: Case, labels: dict[str, int], grown: float = 0.0) -> Path:
    """Write a tumour of three shells in the labels of a data set."""
    distance = np.linalg.norm(centres(case.white.shape, case.white.affine) - np.asarray(CENTRE), axis=-1)
    image = np.zeros(case.white.shape, np.uint8)
    for radius, name in SHELLS:
        image[distance < radius + grown] = labels[name]
    return save(path, image, case.white.affine)


def brats(folder: Path, name: str, case: Case, labels: str, suffix: str = ".nii.gz", grown: float = 0.0) -> Path:
    """Write the folder of one scan: its segmentation and its contrast-enhanced T1."""
    mark = "-" if "-" in name else "_"
    segmented(folder / name / f"{name}{mark}seg{suffix}", case, LABELS[labels], grown)
    save(folder / name / f"{name}{mark}{'t1c' if mark == '-' else 't1ce'}{suffix}", case.white.data, case.white.affine)
    return folder / name


def volumes(case: Case) -> list[tuple[float, float]]:
    return [tuple(float(s.regions[r].data.sum()) for r in ("whole", "core")) for s in case.sessions]


@pytest.mark.parametrize(
    ("name", "labels", "table", "suffix"),
    [
        ("Brats17_TCIA_100_1", "brats2017", "brats2017", ".nii.gz"),
        ("BraTS20_Training_001", "brats2017", "brats2017", ".nii"),
        ("BraTS2021_00042", "brats2017", "brats2021", ".nii.gz"),
        ("BraTS-GLI-00005-000", "brats2023", "brats2023-glioma", ".nii.gz"),
        ("BraTS-GLI-00005-100", "brats2023", "brats2024-posttreatment", ".nii.gz"),
    ],
)
def test_a_scan_of_brats_is_the_case_it_shows(tmp_path, brain, name, labels, table, suffix):
    folder = brats(tmp_path / "data", name, brain, labels, suffix)
    patient = find_brats(folder)
    import_case(tmp_path / "case", patient, maps(brain))
    case = Case.read(tmp_path / "case")
    assert case.id == (name.rsplit("-", 1)[0] if "-" in name else name)
    assert (case.labels.name, case.days) == (table, (0.0,))
    assert volumes(case) == volumes(brain), "the same shells, whatever their labels"
    assert list((tmp_path / "case" / "anat").glob("*_T1w.nii*"))


def test_scans_of_one_brats_patient_need_their_days(tmp_path, brain):
    data = tmp_path / "data"
    for name, grown in (("BraTS-GLI-00005-100", 0.0), ("BraTS-GLI-00005-101", 4.0), ("BraTS-GLI-00006-100", 0.0)):
        brats(data, name, brain, "brats2023", grown=grown)
    (data / "BraTS-GLI-00005-100" / "._BraTS-GLI-00005-100-seg.nii.gz").write_bytes(b"\0\5\26\7")
    with pytest.raises(
        CaseError, match=r"2 patients: give one with --subject, such as BraTS-GLI-00005, BraTS-GLI-0000"
    ):
        find_brats(data)
    patient = find_brats(data, "BraTS-GLI-00005")
    assert [scan.name for scan in patient.scans] == ["100", "101"]
    with pytest.raises(ArgumentError, match="are 0 for the scans 100, 101, whose days are not in the data set"):
        import_case(tmp_path / "case", patient, maps(brain))
    import_case(tmp_path / "case", patient, maps(brain), [0.0, 60.0])
    case = Case.read(tmp_path / "case")
    assert case.days == (0.0, 60.0) and volumes(case)[0] < volumes(case)[1]
    assert [scan.name for scan in find_brats(data, "BraTS-GLI-00005", ["101"]).scans] == ["101"]


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("BraTS-MEN-00001-000", {}, "does not tell the year and the challenge"),
        ("scan7", {}, "does not tell the year and the challenge"),
        ("BraTS2021_00042", {"subject": "BraTS2021_00043"}, "holds no BraTS2021_00043: give one of BraTS2021_00042"),
        ("BraTS-GLI-00005-100", {"sessions": ["102"]}, "has no scan 102: give some of 100"),
    ],
)
def test_what_brats_does_not_tell_is_asked_for(tmp_path, brain, name, given, says):
    folder = brats(tmp_path / "data", name, brain, "brats2023")
    with pytest.raises(CaseError, match=says):
        find_brats(folder, **given)
    assert find_brats(folder, table="brats2023-glioma").table == "brats2023-glioma"


def test_folders_of_another_kind(tmp_path):
    for find in (find_brats, find_lumiere):
        with pytest.raises(CaseError, match="no such folder"):
            find(tmp_path / "none")
        with pytest.raises(CaseError, match=r"give a folder of the (BraTS|LUMIERE) layout"):
            find(tmp_path)


@pytest.mark.parametrize(
    "names", [("a_label-WM_probseg", "a_label-GM_probseg"), ("x-wm", "x-gm"), ("b_pve_2", "b_pve_1")]
)
def test_maps_beside_the_scans_are_found_by_name(tmp_path, names):
    for name in (*names, "BraTS2021_00042_t1ce", "swarm"):
        (tmp_path / f"{name}.nii.gz").touch()
    found = [find_tissue(tmp_path, kind) for kind in ("white", "grey")]
    assert found == [tmp_path / f"{name}.nii.gz" for name in names]
    (tmp_path / "deep").mkdir()
    shutil.copy(found[0], tmp_path / "deep")
    assert find_tissue(tmp_path, "white") is None, "which of the two is not known"


def test_nothing_is_left_of_a_case_that_cannot_be_written(tmp_path, brain):
    patient = find_brats(brats(tmp_path / "data", "BraTS2021_00042", brain, "brats2017"))
    with pytest.raises(ArgumentError, match=r"white is missing: .* make them from the T1 image"):
        import_case(tmp_path / "case", patient, Tissue())
    with pytest.raises(CaseError, match="no such file: correct --grey"):
        import_case(tmp_path / "case", patient, Tissue(maps(brain).white, tmp_path / "none.nii.gz"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("dear")
    with pytest.raises(OutputError, match="is there already"):
        import_case(tmp_path / "mine", patient, maps(brain))
    patient.scans[0].segmentation.unlink()
    with pytest.raises(InputError):
        import_case(tmp_path / "case", patient, maps(brain))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["brain", "data", "mine"]


MASKS = {
    "deepbratumia": "DeepBraTumIA-segmentation/atlas/segmentation/seg_mask.nii.gz",
    "hd-glio": "HD-GLIO-AUTO-segmentation/registered/segmentation.nii.gz",
}
RATING = "Rating (according to RANO, PD: Progressive disease, SD: Stable disease)"


def lumiere(folder: Path, case: Case, weeks: dict[str, float], programs=("deepbratumia", "hd-glio")) -> Path:
    """Write a patient with segmentations of both programs, grown by so many mm in each week."""
    home = folder / "Imaging" / "Patient-001"
    for week, grown in weeks.items():
        for program in programs:
            segmented(home / week / MASKS[program], case, LABELS[program], grown)
    return home


WEEKS = {"week-000-1": 0.0, "week-000-2": -4.0, "week-013": 2.0, "week-102": 4.0}


@pytest.mark.parametrize("rated", [True, False])
def test_weeks_become_days_and_the_surgery_lies_between_its_scans(tmp_path, brain, rated):
    home = lumiere(tmp_path, brain, WEEKS)
    if rated:
        rows = [("Patient-001", "week-000-1", "Pre-Op"), ("Patient-001", "week-000-2", "Post-Op ")]
        rows += [("Patient-001", "week-013", "PD"), ("Patient-002", "week-013", "Pre-Op")]
        text = f'\ufeffPatient,Date,LessThan3M,"{RATING}"\n' + "".join(f"{p},{d},,{r}\n" for p, d, r in rows)
        (tmp_path / "LUMIERE-ExpertRating-v202211.csv").write_text(text, encoding="utf-8")
    patient = find_lumiere(home)
    assert patient.notes[0] == (
        "a resection is set between week-000-1 and week-000-2, by "
        f"{'the ratings' if rated else 'their names, since no ratings are there (--ratings)'}"
    )
    import_case(tmp_path / "case", patient, maps(brain))
    case = Case.read(tmp_path / "case")
    assert (case.id, case.labels.name) == ("Patient-001", "lumiere-deepbratumia")
    assert [session.id for session in case.sessions] == [f"ses-{week}" for week in WEEKS]
    assert case.days == (0.0, 3.5, 91.0, 714.0)
    assert [(t.day, type(t).__name__) for t in case.treatments] == [(1.75, "Resection")]
    assert volumes(case)[0] == volumes(brain)[0]


def test_days_that_are_known_better_move_the_surgery(tmp_path, brain):
    patient = find_lumiere(lumiere(tmp_path, brain, WEEKS), sessions=["week-000-1", "week-000-2"])
    import_case(tmp_path / "case", patient, maps(brain), [datetime.date(2020, 3, 1), datetime.date(2020, 3, 5)])
    case = Case.read(tmp_path / "case")
    assert case.days == (0.0, 4.0) and case.treatments[0].day == 2.0


def test_scans_without_surgery_between_them_have_no_resection(tmp_path, brain):
    home = lumiere(tmp_path, brain, WEEKS)
    assert find_lumiere(home, sessions=["week-013", "week-102"]).operated_after is None
    assert find_lumiere(home, sessions=["week-000-1"]).operated_after is None


def test_scans_of_hd_glio_share_no_space(tmp_path, brain):
    home = lumiere(tmp_path, brain, WEEKS)
    with pytest.raises(CaseError, match="space of each scan's own: give one scan with --sessions"):
        find_lumiere(home, program="hd-glio")
    import_case(tmp_path / "case", find_lumiere(home, None, "hd-glio", ["week-013"]), maps(brain))
    case = Case.read(tmp_path / "case")
    assert case.labels.name == "lumiere-hd-glio" and case.days == (91.0,)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"sessions": ["week-007"]},
            "week-007 has no DeepBraTumIA-segmentation.*: give some of week-000-1, week-000-2",
        ),
        ({"program": "hd-glio"}, "no week has no|no week has|take the other program with --segmentation"),
        ({"subject": "Patient-009"}, "holds no Patient-009: give one of Patient-001"),
    ],
)
def test_what_lumiere_lacks_is_named(tmp_path, brain, given, says):
    lumiere(tmp_path, brain, WEEKS, programs=("deepbratumia",))
    with pytest.raises(CaseError, match=says):
        find_lumiere(tmp_path / "Imaging", **given)


def test_ratings_of_another_kind_are_refused(tmp_path, brain):
    home = lumiere(tmp_path, brain, {"week-000": 0.0})
    for text in ("Patient,Date\nPatient-001,week-000\n", ""):
        (tmp_path / "ratings.csv").write_text(text)
        with pytest.raises(CaseError, match="has no columns Patient, Date and Rating"):
            find_lumiere(home, ratings=tmp_path / "ratings.csv")
    with pytest.raises(CaseError, match="cannot be read as CSV"):
        find_lumiere(home, ratings=tmp_path / "none.csv")
