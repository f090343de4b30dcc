"""A NIfTI file's bytes, header and affine, with one line for each thing that can be wrong with the file itself.

What a file is in truth (a pointer of Git LFS, a link of git-annex, a web page, a header that promises more than the
file has) is said in those words; what has one sensible reading is read so, and a note says what was done.
"""

from __future__ import annotations

import gzip
import logging
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from oncology.errors import ImageError

__all__ = ["affine_of", "one_line", "open_nifti", "voxels_of"]

nib: Any = nibabel  # its own type hints are incomplete

UNITS_OF_LENGTH = {1: "metre", 3: "micrometre"}  # xyzt_units codes other than 0 (unknown) and 2 (millimetre)
MIN_FLATNESS = 1e-6  # |det| over the product of the column lengths, below which an affine counts as singular
TEMPLATE_SPACES = (3, 4)  # sform codes of Talairach and MNI space, which differ from the scanner's on purpose
DISAGREEMENT = 1.0  # voxels at the corners of the image, above which qform and sform are said to differ

# Beginnings of files that are something else, and what to do about them.
_OTHER_FORMATS = (
    (b"version https://git-lfs", "is a pointer of Git LFS, not the image itself: run git lfs pull in its repository"),
    (b"/annex/objects/", "is a pointer of git-annex, not the image itself: run git annex get (datalad get) on it"),
    (b"BZh", "is compressed with bzip2, expected gzip: decompress it (bunzip2) and compress it again (gzip)"),
    (b"\xfd7zXZ", "is compressed with xz, expected gzip: decompress it (unxz) and compress it again (gzip)"),
    (b"PK\x03\x04", "is a ZIP archive, not a NIfTI image: unpack it (unzip)"),
    (b"<!doctype", "is a web page, not a NIfTI image: download it again"),
    (b"<html", "is a web page, not a NIfTI image: download it again"),
    (b"NRRD", "is an NRRD image, not NIfTI: convert it (3D Slicer, SimpleITK)"),
)


def open_nifti(path: Path) -> tuple[Any, tuple[str, ...]]:
    """Return a nibabel image with its bytes in memory, and notes on what was read otherwise than the header says.

    gzip's checksum finds truncation that a header alone does not show.

    Raises:
        ImageError: the file is missing, empty, damaged, no NIfTI image or shorter than its header promises.
    """
    raw = _unzipped(path, _bytes(path))
    header_size = (int.from_bytes(raw[:4], "little"), int.from_bytes(raw[:4], "big"))
    if not {348, 540} & set(header_size):
        raise ImageError(f"{path}: not a NIfTI image (no header at its start): convert it (dcm2niix, mrconvert)")
    kind = nib.Nifti2Image if 540 in header_size else nib.Nifti1Image
    order = "<" if header_size[0] in (348, 540) else ">"
    raw, notes = _with_offset(raw, order, 540 in header_size)
    try:
        with _without_log():
            image = kind.from_bytes(raw)
    except (ImageFileError, HeaderDataError, WrapStructError, ValueError, OSError, EOFError, IndexError) as error:
        what = one_line(error)
        if "data code" in what:
            code = struct.unpack_from(order + "h", raw, 12 if kind is nib.Nifti2Image else 70)[0]
            raise ImageError(
                f"{path}: voxel type {code} of NIfTI cannot be read{' (one bit per voxel)' if code == 1 else ''}: "
                "save it as 8-bit or 16-bit integers (mrconvert -datatype uint8)"
            ) from error
        raise ImageError(f"{path}: not a NIfTI image ({what}): convert it (dcm2niix, mrconvert)") from error
    _check_size(path, image, len(raw))
    return image, notes


def voxels_of(path: Path, image: Any, dtype: Any, unscaled: bool) -> NDArray[Any]:
    """Return the voxels of an opened image, as they are stored or scaled to a floating type.

    Raises:
        ImageError: the file is truncated, or its voxels do not fit into memory.
    """
    try:
        return np.array(image.dataobj.get_unscaled() if unscaled else image.get_fdata(dtype=dtype), order="C")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ImageError(f"{path}: truncated or damaged ({one_line(error)}): copy or convert it again") from error
    except MemoryError as error:
        raise ImageError(f"{path}: {image.shape} voxels do not fit into memory: crop or resample the image") from error


def affine_of(path: Path, image: Any) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the affine in mm, and notes on it.

    Raises:
        ImageError: the header states none, or one that is singular or not in mm.
    """
    header = image.header
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        raise ImageError(
            f"{path}: header has neither sform nor qform, so left and right are unknown: set one (fslorient)"
        )
    unit = int(header["xyzt_units"]) & 7
    if unit in UNITS_OF_LENGTH:
        raise ImageError(f"{path}: affine is in {UNITS_OF_LENGTH[unit]}s, expected mm: save it again in millimetres")
    affine = np.array(image.affine, dtype=float)
    columns = affine[:3, :3]
    scale = float(np.prod(np.linalg.norm(columns, axis=0)))
    if not np.isfinite(affine).all() or not abs(np.linalg.det(columns)) > MIN_FLATNESS * scale:
        rows = np.array2string(columns, separator=",", precision=4).replace("\n", "")
        raise ImageError(f"{path}: affine {rows} is singular, so voxels have no volume: repair sform and qform")
    return affine, _two_forms(image)


def one_line(error: object) -> str:
    """Return an error's text on one line, its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def _without_log() -> Iterator[None]:
    """Keep nibabel from writing about a header that an error is about to describe."""
    logger = logging.getLogger("nibabel.global")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        if path.is_symlink():
            target = os.readlink(path)
            cure = "run git annex get (datalad get) on it" if "annex" in target else "copy the file it points to"
            raise ImageError(f"{path}: is a link to {target}, which is not there: {cure}") from error
        raise ImageError(f"{path}: no such file: put it there or correct the path") from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({one_line(error)}): check the path and its permissions") from error


def _unzipped(path: Path, raw: bytes) -> bytes:
    """The bytes of the image; zeros that pad a compressed file, as tapes and archives do, are ignored."""
    if not raw:
        raise ImageError(f"{path}: truncated or damaged (the file is empty, 0 bytes): copy or convert it again")
    start = raw[:512].lstrip().lower()
    other = next((cure for magic, cure in _OTHER_FORMATS if start.startswith(magic.lower())), None)
    if other is not None:
        raise ImageError(f"{path}: {other}; expected is a NIfTI image")
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, OSError, zlib.error) as error:
        raise ImageError(f"{path}: truncated or damaged ({one_line(error)}): copy or convert it again") from error


def _with_offset(raw: bytes, order: str, second: bool) -> tuple[bytes, tuple[str, ...]]:
    """The bytes with a vox_offset of zero set to the end of the header, where the voxels of a single file begin."""
    where, form, least = (168, "q", 544) if second else (108, "f", 352)
    if len(raw) < least:
        return raw, ()
    stated = struct.unpack_from(order + form, raw, where)[0]
    if stated != 0:
        return raw, ()
    changed = bytearray(raw)
    struct.pack_into(order + form, changed, where, least)
    return bytes(changed), (f"vox_offset is 0 in its header, read as {least}: save the file again (mrconvert)",)


def _check_size(path: Path, image: Any, size: int) -> None:
    """Refuse a header that promises more voxels than the file has, before memory is asked for."""
    shape = tuple(int(n) for n in image.header.get_data_shape())
    if not shape or min(shape) < 0 or len(shape) > 7:
        raise ImageError(f"{path}: header states dimensions {shape}: damaged, copy or convert it again")
    needed = int(np.prod([float(n) for n in shape])) * image.get_data_dtype().itemsize
    if needed > size:
        raise ImageError(
            f"{path}: header promises {needed} bytes for {' x '.join(map(str, shape))} voxels, the file has {size}: "
            "truncated or damaged, copy or convert it again"
        )


def _two_forms(image: Any) -> tuple[str, ...]:
    """What to say where qform and sform place the voxels differently; the sform is used."""
    header = image.header
    codes = int(header["qform_code"]), int(header["sform_code"])
    if 0 in codes:
        return ()
    try:
        qform, sform = (np.array(form, dtype=float) for form in (image.get_qform(), image.get_sform()))
    except (HeaderDataError, ValueError):
        return ("its qform is not a rotation; its sform is used: repair the qform (fslorient -copysform2qform)",)
    corners = np.array(np.meshgrid(*[[0, max(n - 1, 0)] for n in image.shape[:3]])).reshape(3, -1)
    moved = np.linalg.norm((qform - sform)[:3, :3] @ corners + (qform - sform)[:3, 3:], axis=0)
    voxel = float(np.linalg.norm(sform[:3, :3], axis=0).min())
    mirrored = np.linalg.det(qform[:3, :3]) * np.linalg.det(sform[:3, :3]) < 0
    if float(moved.max()) <= DISAGREEMENT * voxel or (codes[1] in TEMPLATE_SPACES and not mirrored):
        return ()
    how = "are mirror images of each other" if mirrored else f"differ by up to {moved.max():.0f} mm"
    return (
        f"its qform and sform {how}; its sform is used: check left and right in a viewer, then make them equal "
        "(fslorient -copysform2qform)",
    )
