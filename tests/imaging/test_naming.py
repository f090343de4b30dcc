"""Names as BIDS and as data sets write them, and files that are found under names that come near."""

import gzip
import shutil

import pytest

from oncology.errors import CaseError
from oncology.imaging import Case
from oncology.imaging.naming import bids_label, spellings
from tests.cases import write_case

WHITE = "anat/sub-toy01_label-WM_probseg.nii.gz"
MASK = "ses-01/anat/sub-toy01_ses-01_desc-tumor_dseg.nii.gz"


def renamed(root, old, new):
    """Rename subject or session everywhere: case.toml, files, folders."""
    toml = root / "case.toml"
    toml.write_text(toml.read_text().replace(old, new))
    for path in sorted(root.rglob(f"*{old}*"), reverse=True):
        path.rename(path.with_name(path.name.replace(old, new)))
    return root


def test_spellings():
    assert spellings("sub-", "Patient-001") == ("sub-Patient-001", "sub-Patient001")
    assert spellings("ses-", "ses-01") == ("ses-01",)
    assert bids_label("BraTS2021_00042") == "BraTS202100042"


@pytest.mark.parametrize("in_files", ["Patient-001", "Patient001"])
def test_a_name_with_dashes_is_kept_and_its_files_are_found(tmp_path, in_files):
    root = renamed(write_case(tmp_path), "toy01", in_files)
    toml = root / "case.toml"
    toml.write_text(toml.read_text().replace("Patient001", "Patient-001"))
    assert Case.read(root).id == "Patient-001"


@pytest.mark.parametrize("folder", ["ses-week-000-1", "ses-week0001", "week-000-1"])
def test_a_session_with_dashes(tmp_path, folder):
    root = renamed(write_case(tmp_path), "ses-01", "ses-week-000-1")
    (root / "ses-week-000-1").rename(root / folder)
    assert [session.id for session in Case.read(root).sessions] == ["ses-week-000-1", "ses-02"]


def test_uncompressed_images_further_entities_and_twins_of_macos(case_path):
    expected = Case.read(case_path)
    for path in list(case_path.rglob("*.nii.gz")):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7" + bytes(100))
    plain = case_path / WHITE.removesuffix(".gz")
    plain.write_bytes(gzip.decompress((case_path / WHITE).read_bytes()))
    (case_path / WHITE).unlink()
    (case_path / MASK).rename(case_path / MASK.replace("_desc", "_acq-3d_run-01_desc"))
    case = Case.read(case_path)
    assert case.white.path == plain
    assert (case.white.data == expected.white.data).all()
    assert (case.sessions[0].whole.data == expected.sessions[0].whole.data).all()


def test_two_runs_are_no_choice(case_path):
    for run in ("01", "02"):
        shutil.copy(case_path / MASK, case_path / MASK.replace("_desc", f"_run-{run}_desc"))
    assert Case.read(case_path).sessions[0].labels.path == case_path / MASK, "the exact name is meant"
    (case_path / MASK).unlink()
    with pytest.raises(CaseError, match=r"may be \S+_run-01_\S+ and \S+_run-02_\S+: keep one, or call it"):
        Case.read(case_path)


def test_names_that_come_near_are_listed(case_path):
    (case_path / MASK).rename(case_path / MASK.replace("dseg", "seg"))
    with pytest.raises(
        CaseError, match=r"missing: put it there .*, or rename what is meant: the folder holds \S+-tumor_seg"
    ):
        Case.read(case_path)
    shutil.rmtree(case_path / "ses-01")
    with pytest.raises(CaseError, match="segmentation of ses-01 is missing: there is no folder anat"):
        Case.read(case_path)
