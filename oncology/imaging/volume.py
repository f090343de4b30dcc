"""Images as arrays with an affine, read from and written to NIfTI-1 and NIfTI-2.

Voxels stay in the order of the file; they are placed by the affine, which maps a voxel index (its *centre*) to
RAS+ millimetres (NIfTI-1 standard, section "3D image orientation and location in space"). No code in this package
may compare two images by index.
"""

from __future__ import annotations

import gzip
import os
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import ArrayLike, DTypeLike, NDArray

from oncology.errors import ImageError, OutputError

__all__ = ["Volume", "canonical", "read_volume", "write_volume"]

nib: Any = nibabel  # its own type hints are incomplete

GZIP_MAGIC = b"\x1f\x8b"
UNITS_OF_LENGTH = {1: "metre", 3: "micrometre"}  # xyzt_units codes other than 0 (unknown) and 2 (millimetre)
MIN_FLATNESS = 1e-6  # |det| over the product of the column lengths, below which an affine counts as singular


@dataclass(frozen=True, eq=False)
class Volume:
    """An image on a regular grid.

    Attributes:
        data: voxel values, shape (nx, ny, nz), or (nx, ny, nz, 6) for a symmetric tensor with components
            xx, xy, xz, yy, yz, zz along the RAS axes.
        affine: (4, 4), voxel index (centre) to RAS mm; flips, rotations and anisotropic voxels are allowed.
        path: the file it came from, for messages.

    Example:
        >>> volume = Volume(np.zeros((2, 2, 2)), np.diag([-1.0, 2.0, 3.0, 1.0]))
        >>> volume.voxel_volume
        6.0
        >>> volume.world([[1, 1, 0]]).tolist()
        [[-1.0, 2.0, 0.0]]
    """

    data: NDArray[Any]
    affine: NDArray[np.float64]
    path: Path | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along each index axis."""
        return cast(tuple[int, int, int], self.data.shape[:3])

    @property
    def voxel_sizes(self) -> NDArray[np.float64]:
        """Edge lengths of a voxel along its index axes, (3,), mm."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def voxel_volume(self) -> float:
        """Volume of a voxel, mm^3."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def name(self) -> str:
        """The file, or "image" if it never had one: the start of every message about this volume."""
        return str(self.path) if self.path is not None else "image"

    def world(self, ijk: ArrayLike) -> NDArray[np.float64]:
        """RAS mm of voxel coordinates (n, 3); integers are voxel centres."""
        return np.asarray(ijk, dtype=float) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def voxel(self, xyz: ArrayLike) -> NDArray[np.float64]:
        """Fractional voxel coordinates of points (n, 3) in RAS mm; integers are voxel centres."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(xyz, dtype=float) @ inverse[:3, :3].T + inverse[:3, 3]

    def same_grid(self, other: Volume) -> bool:
        """Whether both have the same shape and place their voxels at the same points (within 1e-3 mm)."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[[0, n - 1] for n in self.shape])).reshape(3, -1).T
        return bool(np.abs(self.world(corners) - other.world(corners)).max() < 1e-3)

    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper corner, RAS mm, of the box around all voxels (their faces, not their centres)."""
        corners = np.array(np.meshgrid(*[[-0.5, n - 0.5] for n in self.shape])).reshape(3, -1).T
        points = self.world(corners)
        return points.min(axis=0), points.max(axis=0)

    def with_data(self, data: NDArray[Any]) -> Volume:
        """The same grid with other values."""
        return Volume(data, self.affine, self.path)


def canonical(volume: Volume) -> Volume:
    """The same image with its index axes permuted and flipped to lie closest to +R, +A, +S, as pictures need it.

    No value is interpolated: `volume.world` of a voxel's old and new index is the same point.
    """
    orientation = nib.orientations.io_orientation(volume.affine)
    data = nib.orientations.apply_orientation(volume.data, orientation)
    affine = volume.affine @ nib.orientations.inv_ornt_aff(orientation, volume.shape)
    return Volume(data, affine, volume.path)


def read_volume(path: str | Path, dtype: DTypeLike | None = np.float32) -> Volume:
    """Read a whole NIfTI file (.nii or .nii.gz), so that a damaged file fails here and not later.

    Args:
        path: the file.
        dtype: floating type of the values after the header's scaling; `None` keeps integers as they are stored
            (label images).

    Returns:
        A volume of shape (nx, ny, nz), or (nx, ny, nz, nt) for a 4-D file; trailing axes of length one are dropped.

    Raises:
        ImageError: the file is missing, truncated, damaged or not NIfTI; its affine is missing, singular or not in
            mm; it has fewer than three axes; its voxels are colours, complex, NaN or infinite.
    """
    path = Path(path)
    image = _open(path)
    affine = _affine(path, image)
    if image.get_data_dtype().kind not in "biuf":
        raise ImageError(
            f"{path}: voxels of type {image.get_data_dtype()} cannot be used: save one real number per voxel"
        )
    try:
        scaled = image.dataobj.get_unscaled() if _is_label_like(image, dtype) else image.get_fdata(dtype=dtype or float)
        data = np.array(scaled, order="C")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ImageError(f"{path}: truncated or damaged ({_one_line(error)}): copy or convert it again") from error
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim not in (3, 4) or 0 in data.shape:
        raise ImageError(f"{path}: has shape {data.shape}, expected three axes: extract one volume (fslroi, mrconvert)")
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(data))[0])
        raise ImageError(f"{path}: voxel {where} is {data[where]}: replace NaN and infinite voxels (fslmaths -nan)")
    return Volume(data, affine, path)


def write_volume(path: str | Path, volume: Volume, dtype: DTypeLike) -> None:
    """Write a NIfTI file on the volume's own grid, completely or not at all (temporary file, then rename).

    Args:
        path: ends in .nii or .nii.gz.
        volume: what to write.
        dtype: type on disk; values are stored unscaled.

    Raises:
        OutputError: the folder is missing or cannot be written.
    """
    path = Path(path)
    image = nib.Nifti1Image(np.asarray(volume.data).astype(dtype), volume.affine)
    image.header.set_xyzt_units("mm")
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        nib.save(image, temporary)
        os.replace(temporary, path)
    except (OSError, ImageFileError) as error:
        raise OutputError(f"{path}: cannot be written ({_one_line(error)}): choose another folder or name") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _open(path: Path) -> Any:
    """The image with its bytes in memory; gzip's checksum finds truncation that a header alone does not show."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file: put it there or correct the path") from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({_one_line(error)}): check the path and its permissions") from error
    try:
        if raw[:2] == GZIP_MAGIC:
            raw = gzip.decompress(raw)
    except (EOFError, OSError, zlib.error) as error:
        raise ImageError(f"{path}: truncated or damaged ({_one_line(error)}): copy or convert it again") from error
    header_size = (int.from_bytes(raw[:4], "little"), int.from_bytes(raw[:4], "big"))
    kind = nib.Nifti2Image if 540 in header_size else nib.Nifti1Image
    try:
        return kind.from_bytes(raw)
    except (ImageFileError, HeaderDataError, WrapStructError, ValueError, OSError, EOFError) as error:
        raise ImageError(f"{path}: not a NIfTI image ({_one_line(error)}): convert it (dcm2niix, mrconvert)") from error


def _affine(path: Path, image: Any) -> NDArray[np.float64]:
    """The affine in mm, refused where the header does not state one."""
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
    return affine


def _is_label_like(image: Any, dtype: DTypeLike | None) -> bool:
    """Whether the stored integers may be used as they are: integers were asked for and the header does not scale."""
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    return dtype is None and image.get_data_dtype().kind in "iu" and slope == 1 and intercept == 0


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
