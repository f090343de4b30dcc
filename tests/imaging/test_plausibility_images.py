"""What is odd about files, labels, maps and treatments is said with its cure."""

import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from oncology.errors import CaseError, ImageError
from oncology.imaging import Case, Volume
from oncology.model.treatment import Chemotherapy, Radiotherapy, Resection
from tests.cases import SCANS, Scan, grid, save, write_case

MASK = "ses-01/anat/sub-toy01_ses-01_desc-tumor_dseg.nii.gz"
CENTRE = (-16.0, 12.0, 8.0)


def said(case: Case, words: str) -> list[str]:
    return [remark for remark in case.check() if words in remark]


def relabelled(root, radii: dict[float, int], labels=None):
    """Concentric shells in every session: value by outer radius, mm, the innermost last."""
    for path in root.rglob("*dseg.nii.gz"):
        image = nib.load(path)
        points = np.moveaxis(np.indices(image.shape), 0, -1) @ image.affine[:3, :3].T + image.affine[:3, 3]
        distance = np.linalg.norm(points - CENTRE, axis=-1)
        data = np.zeros(image.shape, np.uint8)
        for radius, value in radii.items():
            data[distance < radius] = value
        save(path, data, image.affine)
    return Case.read(root)


def test_classes_in_their_usual_order(tmp_path):
    root = write_case(tmp_path, voxel=2.0, labels="brats2021")
    assert not said(relabelled(root, {20.0: 2, 12.0: 3, 8.0: 1}), "label")


def test_labels_of_another_order(tmp_path):
    """The Decathlon writes oedema 1, necrosis 2, enhancing 3."""
    case = relabelled(write_case(tmp_path, voxel=2.0, labels="brats2021"), {20.0: 1, 12.0: 3, 8.0: 2})
    assert said(case, "ses-01: oedema lies inside the core") and said(case, "Decathlon")


@pytest.mark.parametrize("table", ["brats2021", "brats2017"])
def test_a_cavity_that_is_read_as_enhancing_tumour(tmp_path, table):
    case = relabelled(write_case(tmp_path, voxel=2.0, labels=table), {20.0: 2, 14.0: 1, 10.0: 4})
    assert said(case, "lies inside necrosis") and said(case, "brats2024-posttreatment")


def test_enhancing_tumour_after_a_resection_may_be_its_cavity(tmp_path):
    root = write_case(tmp_path, voxel=2.0, labels="brats2021", treatments=[{"kind": "resection", "day": 20.0}])
    case = relabelled(root, {20.0: 2, 12.0: 4, 8.0: 1})
    assert said(case, "ses-02: label 4 is read as enhancing tumour after a resection")
    assert not said(case, "ses-01: label 4")


def test_cavities_without_resection_or_tumour(tmp_path):
    root = write_case(tmp_path, voxel=2.0, labels={"oedema": 2, "enhancing": 3, "cavity": 4})
    assert said(relabelled(root, {20.0: 2, 12.0: 3, 8.0: 4}), "shows a resection cavity of")
    case = Case.read(write_case(tmp_path / "far", voxel=4.0))
    shape, affine = grid(4.0)
    mask = np.zeros(shape, np.uint8)
    mask[20:22, 8:10, 10:12] = 1
    far = Resection(20.0, save(tmp_path / "far.nii.gz", mask, affine))
    assert said(replace(case, treatments=(far,)), "far.nii.gz: the resection cavity meets no tumour of ses-01")


def test_white_and_grey_exchanged(tmp_path):
    root = write_case(tmp_path)
    assert not said(Case.read(root), "exchanged")
    white, grey = (root / "anat" / f"sub-toy01_label-{tissue}_probseg.nii.gz" for tissue in ("WM", "GM"))
    shutil.move(white, root / "x")
    shutil.move(grey, white)
    shutil.move(root / "x", grey)
    assert said(Case.read(root), "the two maps seem to be exchanged")


def test_thin_images_and_thin_tumours(tmp_path):
    case = Case.read(write_case(tmp_path, voxel=4.0))
    first = case.sessions[0]
    whole = np.zeros_like(first.whole.data)
    whole[:, :, 15:17] = first.whole.data[:, :, 15:17]
    flat = replace(case, sessions=(replace(first, whole=first.whole.with_data(whole)), case.sessions[1]))
    assert said(flat, "ses-01: the tumour is only 2 voxels thick")
    labels = first.labels
    slab = replace(first, labels=Volume(labels.data[:, :, 14:18], labels.affine))
    assert said(replace(case, sessions=(slab, case.sessions[1])), "ses-01: the image has only 4 voxels along one axis")


@pytest.mark.parametrize(("slices", "says"), [(1, "has 1 voxel along one axis"), (2, "has 2 voxels along one axis")])
def test_one_slice_is_no_volume(case_path, slices, says):
    image = nib.load(case_path / MASK)
    data = np.asarray(image.dataobj)
    k = int((data > 0).sum(axis=(0, 1)).argmax())
    affine = image.affine.copy()
    affine[:3, 3] += k * affine[:3, 2]
    save(case_path / MASK, data[:, :, k : k + slices], affine)
    with pytest.raises(ImageError, match=says):
        Case.read(case_path)


def test_a_stray_click_is_no_tumour(case_path):
    image = nib.load(case_path / MASK)
    data = np.zeros(image.shape, np.uint8)
    data[tuple(n // 2 for n in image.shape)] = 3
    save(case_path / MASK, data, image.affine)
    with pytest.raises(ImageError, match=r"the tumour has 1 voxel \(0\.064 mL\), too small"):
        Case.read(case_path)


@pytest.mark.parametrize(
    ("treatment", "words"),
    [
        (Radiotherapy(10.0, 120.0, 30), "a dose of 120 Gy is above 100 Gy"),
        (Chemotherapy(10.0, 50.0, 0.075), "a kill rate of 50 /day is above 1 /day"),
        (Radiotherapy(100000.0, 60.0, 30), "radiotherapy on day 1e+05 is more than ten years from the scans"),
    ],
)
def test_treatments(tmp_path, treatment, words):
    case = Case.read(write_case(tmp_path))
    assert said(replace(case, treatments=(treatment,)), words)
    assert not said(replace(case, treatments=(Radiotherapy(10.0, 60.0, 30), Chemotherapy(10.0, 0.02, 0.075))), "day 10")


def test_notes_of_the_files_are_passed_on(tmp_path):
    case = Case.read(write_case(tmp_path))
    noted = replace(case, grey=replace(case.grey, notes=("its qform and sform differ by up to 40 mm",)))
    assert said(noted, "sub-toy01_label-GM_probseg.nii.gz: its qform and sform differ")


def test_a_large_tumour_in_a_small_brain(tmp_path):
    case = Case.read(
        write_case(tmp_path, sessions=[Scan("ses-01", 0.0, whole=40.0, core=20.0)], tumour_centre=(0, 0, 0))
    )
    small = replace(
        case, white=case.white.with_data(0.5 * case.white.data), grey=case.grey.with_data(0 * case.grey.data)
    )
    assert said(small, "% of the volume of white and grey matter")


def test_a_scan_around_surgery_is_not_too_close(tmp_path):
    after = Scan("ses-02", 0.0, whole=14.0, core=0.0)
    resection = {"kind": "resection", "day": 0.0}
    case = Case.read(write_case(tmp_path, sessions=(SCANS[0], after), treatments=[resection]))
    assert not said(case, "days apart")
    with pytest.raises(CaseError, match="two scans on the same day"):
        Case.read(write_case(tmp_path / "none", sessions=(SCANS[0], after)))
