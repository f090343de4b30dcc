import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from oncology.errors import ImageError, OutputError
from oncology.imaging import Volume, canonical, read_volume, write_volume
from tests.imaging.strategies import affines, seeds, shapes

GRID = np.diag([2.0, 2.0, 3.0, 1.0])


def saved(path: Path, data: np.ndarray, affine: np.ndarray = GRID) -> Path:
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


@given(affines(), seeds)
def test_voxel_inverts_world(affine, seed):
    volume = Volume(np.zeros((2, 2, 2)), affine)
    ijk = np.random.default_rng(seed).uniform(-50, 300, (20, 3))
    np.testing.assert_allclose(volume.voxel(volume.world(ijk)), ijk, atol=1e-8)


@given(affines())
def test_sizes_and_volume_do_not_depend_on_direction(affine):
    volume = Volume(np.zeros((2, 2, 2)), affine)
    assert volume.voxel_volume == pytest.approx(np.prod(volume.voxel_sizes))


@given(affines(), shapes, seeds)
def test_bounds_hold_all_voxel_faces(affine, shape, seed):
    volume = Volume(np.zeros(shape), affine)
    low, high = volume.bounds()
    points = volume.world(np.random.default_rng(seed).uniform(-0.5, np.array(shape) - 0.5, (50, 3)))
    assert (points >= low - 1e-9).all()
    assert (points <= high + 1e-9).all()


@given(affines(), shapes, seeds)
def test_canonical_moves_no_value(affine, shape, seed):
    cosines = np.sort(np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)), axis=0)
    assume((cosines[2] - cosines[1]).min() > 0.1)  # half-way between two axes the closest one is anybody's choice
    data = np.random.default_rng(seed).random(shape)
    volume = Volume(data, affine)
    turned = canonical(volume)
    np.testing.assert_array_equal(nib.aff2axcodes(turned.affine), ("R", "A", "S"))
    ijk = np.argwhere(np.ones(shape, dtype=bool))
    back = np.rint(turned.voxel(volume.world(ijk))).astype(int)
    np.testing.assert_array_equal(turned.data[tuple(back.T)], data[tuple(ijk.T)])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_write_then_read(tmp_path, suffix, dtype):
    data = np.arange(24, dtype=dtype).reshape(2, 3, 4)
    affine = np.array([[0, -2.0, 0, 9], [1.5, 0, 0, -7], [0, 0, 3, 4], [0, 0, 0, 1]])
    path = tmp_path / f"a{suffix}"
    write_volume(path, Volume(data, affine), dtype)
    read = read_volume(path, dtype=None)
    np.testing.assert_array_equal(read.data, data)
    np.testing.assert_allclose(read.affine, affine)
    assert read.data.flags.c_contiguous
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_write_gives_the_same_bytes_every_time(tmp_path):
    volume = Volume(np.arange(8.0).reshape(2, 2, 2), GRID)
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(tmp_path / name, volume, np.float32)
    assert gzip.decompress((tmp_path / "a.nii.gz").read_bytes()) == gzip.decompress(
        (tmp_path / "b.nii.gz").read_bytes()
    )


def test_write_into_missing_folder(tmp_path):
    with pytest.raises(OutputError, match=r"none/a\.nii\.gz: cannot be written"):
        write_volume(tmp_path / "none" / "a.nii.gz", Volume(np.zeros((2, 2, 2)), GRID), np.uint8)


def test_nifti2_and_scaled_integers(tmp_path):
    image = nib.Nifti2Image(np.array([[[0.0, 0.5, 1.0]]]), GRID)
    image.set_data_dtype(np.uint8)
    nib.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii.gz").data, [[[0.0, 0.5, 1.0]]], atol=0.5 / 255 + 1e-6)


def test_trailing_axes_of_length_one_are_dropped(tmp_path):
    assert read_volume(saved(tmp_path / "a.nii", np.zeros((2, 3, 4, 1), np.uint8))).data.shape == (2, 3, 4)


@given(keep=st.floats(0.0, 1.0, exclude_max=True))
def test_truncated_gzip_is_never_read(tmp_path_factory, keep):
    folder = tmp_path_factory.mktemp("cut")
    path = saved(folder / "a.nii.gz", np.random.default_rng(0).random((6, 6, 6)).astype(np.float32))
    raw = path.read_bytes()
    path.write_bytes(raw[: int(keep * len(raw))])
    with pytest.raises(ImageError, match=r"a\.nii\.gz: (truncated or damaged|not a NIfTI image)"):
        read_volume(path)


def test_flipped_bit_is_found(tmp_path):
    path = saved(tmp_path / "a.nii.gz", np.random.default_rng(0).random((6, 6, 6)).astype(np.float32))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ImageError, match="truncated or damaged"):
        read_volume(path)


def test_truncation_inside_whole_gzip_shows_when_voxels_are_read(tmp_path):
    path = saved(tmp_path / "a.nii", np.ones((6, 6, 6), np.float32))
    cut = path.with_name("b.nii.gz")
    cut.write_bytes(gzip.compress(path.read_bytes()[:-100]))
    with pytest.raises(ImageError, match=r"b\.nii\.gz: truncated or damaged"):
        read_volume(cut)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_voxels(tmp_path, value):
    data = np.zeros((3, 3, 3), np.float32)
    data[1, 2, 0] = value
    with pytest.raises(ImageError, match=r"a\.nii: voxel \(1, 2, 0\) is (nan|inf|-inf)"):
        read_volume(saved(tmp_path / "a.nii", data))


def with_header(path: Path, **fields) -> Path:
    image = nib.load(saved(path, np.zeros((3, 3, 3), np.uint8)))
    raw = bytearray(path.read_bytes())
    header = image.header
    for key, value in fields.items():
        header[key] = value
    raw[:348] = header.binaryblock
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"srow_x": [0, 0, 0, 0]}, "singular"),
        ({"srow_x": [1, 0, 0, np.nan]}, "singular"),
        ({"srow_y": [2, 0, 0, 0]}, "singular"),
        ({"sform_code": 0, "qform_code": 0}, "neither sform nor qform"),
        ({"xyzt_units": 1}, "metre"),
        ({"xyzt_units": 3}, "micrometre"),
    ],
)
def test_affines_that_cannot_be_used(tmp_path, fields, message):
    with pytest.raises(ImageError, match=message):
        read_volume(with_header(tmp_path / "a.nii", **fields))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ImageError, match=r"a\.nii: no such file"):
        read_volume(tmp_path / "a.nii")
    with pytest.raises(ImageError, match="cannot be read"):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x1f\x8b\x08", b"\0" * 400, gzip.compress(b"hello" * 100, mtime=0)]
)
def test_what_is_no_nifti(tmp_path, content):
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.nii\.gz: (not a NIfTI|truncated)"):
        read_volume(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("shape", [(5,), (5, 5), (2, 2, 2, 2, 2)])
def test_wrong_number_of_axes(tmp_path, shape):
    with pytest.raises(ImageError, match="expected three axes"):
        read_volume(saved(tmp_path / "a.nii", np.zeros(shape, np.uint8)))


def test_complex_voxels(tmp_path):
    with pytest.raises(ImageError, match="complex64"):
        read_volume(saved(tmp_path / "a.nii", np.zeros((2, 2, 2), np.complex64)))


@pytest.mark.parametrize("message_file", ["a.nii.gz"])
def test_messages_are_one_line(tmp_path, message_file):
    (tmp_path / message_file).write_bytes(b"\x1f\x8b\x08junk")
    with pytest.raises(ImageError) as caught:
        read_volume(tmp_path / message_file)
    assert "\n" not in str(caught.value)
