"""Whole cases: what is read, and one clear line for each thing that can be wrong with a folder."""

import re
import tomllib

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from oncology.errors import CaseError, ImageError, InputError
from oncology.imaging import Case
from oncology.imaging.tensor import to_components, to_matrices
from oncology.model.treatment import Radiotherapy, Resection
from tests.cases import SCANS, SEMI_AXES, Scan, save, write_case, write_toml

WHITE = "anat/sub-toy01_label-WM_probseg.nii.gz"
GREY = "anat/sub-toy01_label-GM_probseg.nii.gz"
MASK = "ses-01/anat/sub-toy01_ses-01_desc-tumor_dseg.nii.gz"
PET = "ses-01/pet/sub-toy01_ses-01_trc-FET_pet.nii.gz"
CAVITY = "ses-02/anat/sub-toy01_ses-02_desc-resection_mask.nii.gz"
TENSOR = "dwi/sub-toy01_model-DTI_param-tensor_dwimap.nii.gz"


def change(path, edit):
    """Rewrite an image with `edit(data, affine)`, which returns both."""
    image = nib.load(path)
    data, affine = edit(np.array(image.get_fdata(dtype=np.float32)), image.affine.copy())
    save(path, data, affine)


def shifted(mm):
    def edit(data, affine):
        affine[:3, 3] += mm
        return data, affine

    return edit


def with_voxel(value):
    def edit(data, affine):
        data[tuple(n // 2 for n in data.shape)] = value
        return data, affine

    return edit


def set_toml(root, **sections):
    write_toml(root, tomllib.loads((root / "case.toml").read_text()) | sections)


def test_volumes_and_places(tmp_path):
    path = write_case(tmp_path, voxel=2.0, pet=True)
    case = Case.read(path)
    assert case.id == "toy01"
    assert (case.thresholds.oedema, case.thresholds.core, case.thresholds.sd) == (0.25, 0.6, 0.0)
    assert case.segmentation_bias == 0.0
    set_toml(path, thresholds={"oedema": 0.25, "core": 0.6, "sd": 0.03}, segmentation={"bias_mm": 0.5})
    declared = Case.read(path)
    assert (declared.thresholds.sd, declared.segmentation_bias) == (0.03, 0.5)
    assert case.t1 is None
    assert case.tensor is None
    assert case.reassigned_fraction == 0
    brain = 4 / 3 * np.pi * SEMI_AXES.prod()
    assert (case.white.data + case.grey.data).sum() * case.white.voxel_volume == pytest.approx(brain, rel=2e-3)
    for session, scan in zip(case.sessions, SCANS, strict=True):
        assert (session.id, session.day) == (scan.id, scan.day)
        stored = np.asarray(nib.load(session.labels.path).dataobj)
        np.testing.assert_array_equal(session.whole.data, (stored == 2) | (stored == 3))
        np.testing.assert_array_equal(session.core.data, stored == 3)
        for mask in (session.whole, session.core):
            centre = mask.world(np.argwhere(mask.data)).mean(axis=0)
            np.testing.assert_allclose(centre, (-16.0, 12.0, 8.0), atol=0.3)
        assert session.pet is not None
        peak = np.unravel_index(session.pet.data.argmax(), session.pet.data.shape)
        np.testing.assert_allclose(session.pet.world([peak])[0], (-16.0, 12.0, 8.0), atol=1.8)


@pytest.mark.parametrize("seed", [0, 1])
def test_sessions_on_turned_and_flipped_grids_stay_where_they_are(tmp_path, seed):
    turn = Rotation.random(rng=np.random.default_rng(seed)).as_matrix() @ np.diag([-1.0, 1.0, 1.0])
    path = write_case(tmp_path, axes=np.diag([-1.0, -1.0, 1.0]), scan_voxel=(2.0, 3.0, 2.5), scan_axes=turn)
    case = Case.read(path)
    assert case.reassigned_fraction == 0
    for session, scan in zip(case.sessions, SCANS, strict=True):
        points = session.whole.world(np.argwhere(session.whole.data))
        np.testing.assert_allclose(points.mean(axis=0), (-16.0, 12.0, 8.0), atol=0.5)
        volume = session.whole.data.sum() * session.whole.voxel_volume
        assert volume == pytest.approx(4 / 3 * np.pi * scan.whole**3, rel=0.05)


@pytest.mark.parametrize("scan_voxel", [None, 3.0])
def test_tumour_without_tissue_is_taken_as_white_matter(tmp_path, scan_voxel):
    """A tumour of radius 20 mm centred on the rim of a ventricle: the share within the ventricle is reassigned."""
    scan = Scan("ses-01", 0.0, whole=20.0, core=0.0)
    path = write_case(
        tmp_path, voxel=2.0, scan_voxel=scan_voxel, ventricle=16.0, tumour_centre=(16.0, 0.0, 0.0), sessions=[scan]
    )
    case = Case.read(path)
    # Two balls of radii R, r at distance d: volume of the lens.
    big, small, d = 20.0, 16.0, 16.0
    lens = np.pi * (big + small - d) ** 2 * (d * d + 2 * d * (big + small) - 3 * (big - small) ** 2) / (12 * d)
    assert case.reassigned_fraction == pytest.approx(lens / (4 / 3 * np.pi * big**3), abs=0.01)
    points = case.white.world(np.argwhere(case.white.data + case.grey.data <= 0.5))
    assert np.linalg.norm(points - (16.0, 0.0, 0.0), axis=1).min() > 19.0 - (scan_voxel or 0) / 2
    assert not case.sessions[0].core.data.any()


def test_grey_map_on_another_grid_is_resampled(tmp_path, case_path):
    expected = Case.read(case_path)
    image = nib.load(case_path / GREY)
    flipped = image.affine @ np.diag([-1.0, 1.0, 1.0, 1.0])
    flipped[:3, 3] = image.affine[:3, :3] @ [image.shape[0] - 1, 0, 0] + image.affine[:3, 3]
    save(case_path / GREY, np.array(image.get_fdata(dtype=np.float32)[::-1]), flipped)
    np.testing.assert_allclose(Case.read(case_path).grey.data, expected.grey.data, atol=1e-6)


def test_treatments_come_by_day_with_their_cavity(case_path):
    save(case_path / CAVITY, *nib_mask(case_path))
    radiotherapy = {"kind": "radiotherapy", "day": 60.0, "dose_gy": 60.0, "fractions": 30}
    resection = {"kind": "resection", "day": 20.0, "mask": CAVITY}
    set_toml(case_path, treatment=[radiotherapy, resection, {"kind": "resection", "day": 41.0}])
    cut, second, dose = Case.read(case_path).treatments
    assert cut == Resection(20.0, case_path / CAVITY)
    assert second == Resection(41.0)
    assert dose == Radiotherapy(60.0, 60.0, 30)


def nib_mask(root):
    image = nib.load(root / MASK)
    return (np.asarray(image.dataobj) > 0).astype(np.uint8), image.affine


def test_tensor_is_turned_into_ras(case_path):
    image = nib.load(case_path / WHITE)
    along = np.outer([1.0, 1.0, 0.0], [1.0, 1.0, 0.0])
    data = np.broadcast_to(to_components(along), (*image.shape, 6)).astype(np.float32)
    save(case_path / TENSOR, data, image.affine)
    assert np.linalg.det(image.affine) > 0
    for axes, expected in (("ras", 1.0), ("voxel", 1.0), ("fsl", -1.0)):
        set_toml(case_path, tensor={"axes": axes})
        tensor = Case.read(case_path).tensor
        assert tensor is not None
        assert to_matrices(tensor.data[3, 3, 3])[0, 1] == pytest.approx(expected)


def test_t1_is_read_where_it_exists(case_path):
    save(case_path / "anat/sub-toy01_T1w.nii.gz", *nib_mask(case_path))
    t1 = Case.read(case_path).t1
    assert t1 is not None
    assert t1.data.max() == 1


IMAGE_DAMAGE = [
    (WHITE, with_voxel(np.nan), "is nan: replace NaN"),
    (GREY, with_voxel(np.inf), "is inf: replace NaN"),
    (WHITE, with_voxel(-0.2), "probability -0.2 is negative"),
    (GREY, with_voxel(1.2), "probability 1.2 is above 1"),
    (WHITE, lambda d, a: (100 * d, a), "it looks scaled to 0..100, divide it by 100"),
    (GREY, lambda d, a: (255 * d, a), "it looks scaled to 0..255, divide it by 255"),
    (WHITE, lambda d, a: (0 * d, a), "zero everywhere"),
    (WHITE, lambda d, a: (np.stack([d, d], axis=3), a), "expected 3-D"),
    (GREY, lambda d, a: (np.where(d == 0, 0.4, d), a), "white + grey is 1.4"),
    (GREY, shifted([500.0, 0.0, 0.0]), "does not overlap the white-matter map"),
    (MASK, shifted([0.0, 0.0, 400.0]), "does not overlap the tissue maps"),
    (MASK, shifted([80.0, 0.0, 0.0]), "of the tumour lies outside the brain"),
    (MASK, with_voxel(7), "label 7 is not in the table (0, 1, 2, 3)"),
    (MASK, with_voxel(1.5), "label 1.5 is no integer"),
    (MASK, lambda d, a: (0 * d, a), "segmentation is empty"),
    (MASK, lambda d, a: (np.stack([d, d], axis=3), a), "expected 3-D"),
    (PET, with_voxel(np.nan), "is nan: replace NaN"),
    (PET, lambda d, a: (0 * d, a), "uptake is 0 everywhere"),
    (PET, shifted([0.0, -900.0, 0.0]), "does not overlap the tissue maps"),
]


@pytest.mark.parametrize(("name", "edit", "message"), IMAGE_DAMAGE)
def test_each_damaged_image_is_named(tmp_path, name, edit, message):
    path = write_case(tmp_path, pet=True)
    change(path / name, edit)
    with pytest.raises((CaseError, ImageError), match=re.escape(message)) as caught:
        Case.read(path)
    text = str(caught.value)
    assert "\n" not in text
    assert re.search(r"sub-toy01_\S+\.nii\.gz: ", text)


@pytest.mark.parametrize("name", [WHITE, GREY, MASK, "case.toml"])
def test_each_missing_file_is_named(case_path, name):
    (case_path / name).unlink()
    with pytest.raises(CaseError, match=rf"{re.escape(name)}: .*(missing|no such file)"):
        Case.read(case_path)


@pytest.mark.parametrize("name", [WHITE, GREY, MASK])
def test_each_truncated_file_is_named(case_path, name):
    raw = (case_path / name).read_bytes()
    (case_path / name).write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ImageError, match=rf"{re.escape(name)}: truncated"):
        Case.read(case_path)


def test_no_folder(tmp_path):
    with pytest.raises(CaseError, match="no such folder"):
        Case.read(tmp_path / "none")


def test_tumour_wholly_in_fluid(tmp_path):
    scan = Scan("ses-01", 0.0, whole=14.0, core=7.0)
    path = write_case(tmp_path, ventricle=18.0, tumour_centre=(0.0, 0.0, 0.0), sessions=[scan])
    with pytest.raises(CaseError, match="only 0% of the tumour is white or grey matter"):
        Case.read(path)


def test_tumour_that_leaks_over_the_surface_is_allowed(tmp_path):
    """A third of the volume outside the maps is a bad segmentation, not a wrong registration."""
    scan = Scan("ses-01", 0.0, whole=16.0, core=8.0)
    case = Case.read(write_case(tmp_path, tumour_centre=(50.0, 0.0, 0.0), sessions=[scan]))
    assert 0.1 < case.reassigned_fraction < 0.5


@pytest.mark.parametrize(
    ("treatment", "message"),
    [
        ({"mask": "none.nii.gz"}, "mask of the resection cavity is missing"),
        ({"mask": MASK}, "must hold 0 and 1"),
        ({"day": -1.0}, "no mask and no session is earlier: give a mask"),
    ],
)
def test_resections_without_a_cavity(case_path, treatment, message):
    set_toml(case_path, treatment=[{"kind": "resection", "day": 20.0} | treatment])
    with pytest.raises(InputError, match=message):
        Case.read(case_path)


def test_resection_of_a_core_that_is_empty(tmp_path):
    path = write_case(tmp_path, sessions=[Scan("ses-01", 0.0, whole=14.0, core=0.0)])
    set_toml(path, treatment=[{"kind": "resection", "day": 20.0}])
    with pytest.raises(CaseError, match="ses-01 has no core: give a mask"):
        Case.read(path)


def test_two_tracers_in_one_session(tmp_path):
    path = write_case(tmp_path, pet=True)
    (path / PET.replace("FET", "MET")).write_bytes((path / PET).read_bytes())
    with pytest.raises(CaseError, match=r"image may be \S+trc-FET\S+ and \S+trc-MET\S+: keep one"):
        Case.read(path)


@pytest.mark.parametrize(
    ("name", "sessions", "pet", "reassigned"),
    [
        ("peer01", 2, False, 0.0106),
        ("peer02", 2, False, 0.0040),
        ("gliodil001", 1, True, 0.1109),
        ("gliomasolver", 1, True, 0.0),
    ],
)
def test_the_shared_cases_read_without_complaint(shared_cases, name, sessions, pet, reassigned):
    case = Case.read(shared_cases / f"sub-{name}")
    assert len(case.sessions) == sessions
    assert all((session.pet is not None) == pet for session in case.sessions)
    assert case.reassigned_fraction == pytest.approx(reassigned, abs=1e-4)
    for session in case.sessions:
        assert session.core.data.sum() < session.whole.data.sum()


def test_a_real_segmentation_90_mm_too_low_is_outside_the_brain(shared_cases, tmp_path):
    source = shared_cases / "sub-gliodil001"
    root = tmp_path / source.name
    mask = "ses-01/anat/sub-gliodil001_ses-01_desc-tumor_dseg.nii.gz"
    (root / "ses-01" / "anat").mkdir(parents=True)
    (root / "anat").symlink_to(source / "anat")
    (root / "case.toml").write_bytes((source / "case.toml").read_bytes())
    image = nib.load(source / mask)
    affine = image.affine.copy()
    affine[2, 3] -= 90
    save(root / mask, np.asarray(image.dataobj), affine)
    with pytest.raises(CaseError, match="of the tumour lies outside the brain"):
        Case.read(root)
