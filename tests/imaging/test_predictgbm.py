"""PREDICT-GBM's files become a case: labels, tissue of three maps, and what is incomplete."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from oncology.errors import CaseError, InputError
from oncology.imaging import Case, read_volume
from oncology.imaging.predictgbm import find_patients, write_benchmark_case
from oncology.imaging.recurrence import find_recurrences
from tests.cases import save, write_case

NUMBER = "00017"


def benchmark(folder: Path, case: Path, pet: bool = False, number: str = NUMBER) -> Path:
    """Write the benchmark's files of a case with one session and labels 2 and 3, its CSF the rest of the head."""
    root, stem = folder / f"Patient-{number}", case.name
    root.mkdir(parents=True)
    for kind, tissue in (("gm", "GM"), ("wm", "WM")):
        shutil.copy(case / "anat" / f"{stem}_label-{tissue}_probseg.nii.gz", root / f"{number}-{kind}.nii.gz")
    white, grey = (read_volume(root / f"{number}-{kind}.nii.gz") for kind in ("wm", "gm"))
    save(root / f"{number}-csf.nii.gz", (1.0 - white.data - grey.data).astype(np.float32), white.affine)
    scan = case / "ses-01" / "anat" / f"{stem}_ses-01_desc-tumor_dseg.nii.gz"
    shutil.copy(scan, root / f"{number}-tumorseg.nii.gz")
    if pet:
        shutil.copy(case / "ses-01" / "pet" / f"{stem}_ses-01_trc-FET_pet.nii.gz", root / f"{number}-pet.nii.gz")
    return root


@pytest.fixture
def source(tmp_path) -> Path:
    return write_case(tmp_path / "source", pet=True)


def test_it_is_the_case_it_came_from(tmp_path, source):
    benchmark(tmp_path / "io", source, pet=True)
    (patient,) = find_patients(tmp_path / "io")
    assert patient.number == NUMBER
    write_benchmark_case(patient, tmp_path / "case")
    made, original = Case.read(tmp_path / "case"), Case.read(source)
    assert made.id == NUMBER
    np.testing.assert_allclose(made.white.data, original.white.data, atol=1e-6)
    np.testing.assert_allclose(made.grey.data, original.grey.data, atol=1e-6)
    (session,) = made.sessions
    assert session.day == 0.0 and session.pet is not None
    for region in ("whole", "core"):
        assert (getattr(session, region).data == getattr(original.sessions[0], region).data).all()
        assert getattr(session, region).same_grid(original.sessions[0].whole)


def test_a_patients_own_folder_is_found_too(tmp_path, source):
    root = benchmark(tmp_path / "io", source)
    assert find_patients(root) == find_patients(tmp_path / "io")


def test_older_labels_and_floating_ones_are_read(tmp_path, source):
    root = benchmark(tmp_path / "io", source)
    path = root / f"{NUMBER}-tumorseg.nii.gz"
    scan = read_volume(path, dtype=None)
    save(path, np.where(scan.data == 3, 4, scan.data).astype(np.float32), scan.affine)
    write_benchmark_case(find_patients(root)[0], tmp_path / "case")
    assert (Case.read(tmp_path / "case").sessions[0].core.data == (scan.data == 3)).all()


def test_maps_that_sum_above_one_are_scaled(tmp_path, source):
    root = benchmark(tmp_path / "io", source)
    white = read_volume(root / f"{NUMBER}-wm.nii.gz")
    save(root / f"{NUMBER}-csf.nii.gz", np.full(white.shape, 0.25, dtype=np.float32), white.affine)
    write_benchmark_case(find_patients(root)[0], tmp_path / "case")
    made = Case.read(tmp_path / "case")
    inside = white.data == 1.0
    tumour = made.sessions[0].whole.data
    np.testing.assert_allclose(made.white.data[inside & ~tumour], 0.8, rtol=1e-6)
    assert (made.white.data + made.grey.data).max() <= 1.0


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda root: (root / f"{NUMBER}-csf.nii.gz").unlink(), f"lacks {NUMBER}-csf.nii.gz"),
        (lambda root: (root / f"{NUMBER}-tumorseg.nii.gz").unlink(), "holds neither NNNNN-tumorseg"),
        (lambda root: shutil.copy(root / f"{NUMBER}-tumorseg.nii.gz", root / "2-tumorseg.nii.gz"), "several"),
        (lambda root: shutil.rmtree(root), "no such folder"),
    ],
)
def test_incomplete_folders_are_refused(tmp_path, source, damage, words):
    root = benchmark(tmp_path / "io", source)
    damage(root)
    with pytest.raises(CaseError, match=words) as caught:
        find_patients(root)
    assert "\n" not in str(caught.value)


def test_a_damaged_image_is_named(tmp_path, source):
    root = benchmark(tmp_path / "io", source)
    (root / f"{NUMBER}-gm.nii.gz").write_bytes(b"nothing")
    with pytest.raises(InputError, match=f"{NUMBER}-gm"):
        write_benchmark_case(find_patients(root)[0], tmp_path / "case")


def test_what_the_preprocessing_leaves_is_read_too(tmp_path, source):
    """PATIENT/ses-preop with the tissue's maps, and the recurrence in the space of the first scan."""
    given = benchmark(tmp_path / "io", source)
    home = tmp_path / "predict_gbm" / "Patient-001"
    places = {
        **{kind: f"ses-preop/tissue_segmentation/{kind}_pbmap.nii.gz" for kind in ("gm", "wm", "csf")},
        "tumorseg": "ses-preop/tumor_segmentation/tumor_seg.nii.gz",
    }
    for kind, place in places.items():
        (home / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(given / f"{NUMBER}-{kind}.nii.gz", home / place)
    later = source / "ses-02" / "anat" / f"{source.name}_ses-02_desc-tumor_dseg.nii.gz"
    (home / "ses-followup" / "longitudinal").mkdir(parents=True)
    shutil.copy(later, home / "ses-followup" / "longitudinal" / "recurrence_preop.nii.gz")
    (patient,) = find_patients(tmp_path / "predict_gbm")
    assert patient.number == "Patient-001" and find_patients(home) == (patient,)
    write_benchmark_case(patient, tmp_path / "case")
    case, original = Case.read(tmp_path / "case"), Case.read(source)
    assert case.id == "Patient001"
    assert np.array_equal(case.sessions[0].regions["whole"].data, original.sessions[0].regions["whole"].data)
    (recurrence,) = find_recurrences(case)
    assert recurrence.name == "ses-followup"
    assert recurrence.parts["all"].data.sum() == original.sessions[1].regions["whole"].data.sum()
    (home / places["csf"]).unlink()
    with pytest.raises(CaseError, match=r"lacks ses-preop/tissue_segmentation/csf_pbmap\.nii\.gz"):
        find_patients(home)
