"""Files that are not what their name says, and headers that do not say what the file holds."""

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest

from oncology.errors import ImageError
from oncology.imaging import read_volume

GRID = np.diag([2.0, 2.0, 3.0, 1.0])
DATA = np.arange(1, 61, dtype=np.uint8).reshape(3, 4, 5)


def content(data=DATA, affine=GRID, kind=nib.Nifti1Image) -> bytes:
    image = kind(data, affine)
    image.header.set_xyzt_units("mm")
    return image.to_bytes()


def written(folder, raw: bytes, *edits, name="a.nii.gz"):
    """A file with values set in its header: (byte, format, values ...)."""
    changed = bytearray(raw)
    for at, form, *values in edits:
        struct.pack_into(form, changed, at, *values)
    path = folder / name
    path.write_bytes(gzip.compress(bytes(changed)) if name.endswith("gz") else bytes(changed))
    return path


@pytest.mark.parametrize(
    ("raw", "cure"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        (b"/annex/objects/MD5E-s9--00.nii.gz\n", "git annex get"),
        (b"BZh91AY&SY", "bunzip2"),
        (b"PK\x03\x04....", "unzip"),
        (b"\n<!DOCTYPE html><p>log in</p>", "download it again"),
        (b"NRRD0004\n", "convert it"),
        (b"", "empty, 0 bytes"),
    ],
)
def test_other_files_by_this_name(tmp_path, raw, cure):
    (tmp_path / "a.nii.gz").write_bytes(raw)
    with pytest.raises(ImageError, match=cure):
        read_volume(tmp_path / "a.nii.gz")


def test_a_link_into_an_annex_that_was_not_fetched(tmp_path):
    (tmp_path / "a.nii.gz").symlink_to("../.git/annex/objects/xx/MD5E-s9--00.nii.gz")
    with pytest.raises(ImageError, match=r"a link to \S+annex\S+, which is not there: run git annex get"):
        read_volume(tmp_path / "a.nii.gz")
    (tmp_path / "b.nii.gz").symlink_to("elsewhere.nii.gz")
    with pytest.raises(ImageError, match=r"a link to elsewhere\.nii\.gz, which is not there: copy the file"):
        read_volume(tmp_path / "b.nii.gz")


@pytest.mark.parametrize(("kind", "at", "form"), [(nib.Nifti1Image, 108, "<f"), (nib.Nifti2Image, 168, "<q")])
def test_voxels_that_begin_at_byte_zero_begin_after_the_header(tmp_path, kind, at, form):
    read = read_volume(written(tmp_path, content(kind=kind), (at, form, 0)), dtype=None)
    np.testing.assert_array_equal(read.data, DATA)
    assert len(read.notes) == 1 and "vox_offset is 0" in read.notes[0]
    assert not read_volume(written(tmp_path, content(kind=kind)), dtype=None).notes


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ((40, "<4h", 3, 9000, 9000, 9000), "header promises 729000000000 bytes for 9000 x 9000 x 9000 voxels"),
        ((40, "<4h", 3, -3, 4, 5), "dimension"),
        ((40, "<h", 0), "expected three axes"),
        ((70, "<hh", 1, 1), "one bit per voxel.*8-bit"),
        ((70, "<hh", 77, 8), "voxel type 77"),
        ((108, "<f", 1e9), "truncated"),
    ],
)
def test_headers_that_do_not_fit_the_file(tmp_path, capfd, caplog, edit, message):
    path = written(tmp_path, content(), edit)
    with pytest.raises(ImageError, match=message) as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == "" and not caplog.records, "nothing is said beside the error"


def with_forms(folder, qform, sform, codes=(1, 2)):
    image = nib.Nifti1Image(DATA, None)
    image.header.set_xyzt_units("mm")
    image.set_qform(qform, codes[0])
    image.set_sform(sform, codes[1])
    nib.save(image, folder / "a.nii.gz")
    return read_volume(folder / "a.nii.gz", dtype=None)


def test_qform_against_sform(tmp_path):
    mirrored = GRID @ np.diag([-1.0, 1.0, 1.0, 1.0])
    mirrored[0, 3] = GRID[0, 0] * (DATA.shape[0] - 1)
    moved = GRID.copy()
    moved[1, 3] += 40.0
    for qform, words in ((mirrored, "mirror images"), (moved, "differ by up to 40 mm")):
        read = with_forms(tmp_path, qform, GRID)
        np.testing.assert_allclose(read.affine, GRID)
        assert len(read.notes) == 1 and words in read.notes[0]
    near = GRID.copy()
    near[1, 3] += 0.5
    assert not with_forms(tmp_path, near, GRID).notes
    assert not with_forms(tmp_path, moved, GRID, codes=(1, 4)).notes, "a template space is another space on purpose"
    assert with_forms(tmp_path, mirrored, GRID, codes=(1, 4)).notes


def test_components_on_the_fifth_axis(tmp_path):
    data = np.zeros((3, 4, 5, 1, 6), np.float32)
    data[..., 2] = 1.0
    read = read_volume(written(tmp_path, content(data)))
    assert read.data.shape == (3, 4, 5, 1, 6) and read.shape == (3, 4, 5)
