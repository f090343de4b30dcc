"""Images as arrays with an affine, read from and written to NIfTI-1 and NIfTI-2.

Voxels stay in the order of the file; they are placed by the affine, which maps a voxel index (its *centre*) to
RAS+ millimetres (NIfTI-1 standard, section "3D image orientation and location in space"). No code in this package
may compare two images by index.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import ArrayLike, DTypeLike, NDArray

from oncology.errors import ImageError, OutputError
from oncology.imaging.nifti import affine_of, one_line, open_nifti, voxels_of

__all__ = ["Volume", "canonical", "extent", "read_volume", "write_volume"]

nib: Any = nibabel  # its own type hints are incomplete


@dataclass(frozen=True, eq=False)
class Volume:
    """An image on a regular grid.

    Attributes:
        data: voxel values, shape (nx, ny, nz), or (nx, ny, nz, 6) for a symmetric tensor with components
            xx, xy, xz, yy, yz, zz along the RAS axes.
        affine: (4, 4), voxel index (centre) to RAS mm; flips, rotations and anisotropic voxels are allowed.
        path: the file it came from, for messages.
        notes: what is odd about that file, in sentences without its name.

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
    notes: tuple[str, ...] = ()

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
        return Volume(data, self.affine, self.path, self.notes)


def extent(mask: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """Return the smallest box of voxels that holds a mask (nx, ny, nz), as slices; empty where the mask is.

    Example:
        >>> mask = np.zeros((4, 4, 4), dtype=bool)
        >>> mask[1, 2, 0] = mask[2, 2, 3] = True
        >>> extent(mask)
        (slice(1, 3, None), slice(2, 3, None), slice(0, 4, None))
    """
    plane = mask.any(axis=2)
    occupied = (plane.any(axis=1), plane.any(axis=0), mask.any(axis=(0, 1)))
    ends = [np.flatnonzero(axis)[[0, -1]] if axis.any() else np.array([0, -1]) for axis in occupied]
    first, second, third = (slice(int(low), int(high) + 1) for low, high in ends)
    return first, second, third


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
        A volume of shape (nx, ny, nz), or (nx, ny, nz, nt) for a 4-D file, or (nx, ny, nz, 1, nc) for NIfTI's vectors
        and matrices; trailing axes of length one are dropped.

    Raises:
        ImageError: the file is missing, truncated, damaged or not NIfTI; its affine is missing, singular or not in
            mm; it has fewer than three axes; its voxels are colours, complex, NaN or infinite.
    """
    path = Path(path)
    image, notes = open_nifti(path)
    affine, more = affine_of(path, image)
    if image.get_data_dtype().kind not in "biuf":
        raise ImageError(
            f"{path}: voxels of type {image.get_data_dtype()} cannot be used: save one real number per voxel"
        )
    data = voxels_of(path, image, dtype or float, _is_label_like(image, dtype))
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    matrix = data.ndim == 5 and data.shape[3] == 1  # NIfTI's vectors and matrices have their components as fifth axis
    if not (data.ndim in (3, 4) or matrix) or 0 in data.shape:
        raise ImageError(f"{path}: has shape {data.shape}, expected three axes: extract one volume (fslroi, mrconvert)")
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(data))[0])
        raise ImageError(f"{path}: voxel {where} is {data[where]}: replace NaN and infinite voxels (fslmaths -nan)")
    return Volume(data, affine, path, (*notes, *more))


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
        raise OutputError(f"{path}: cannot be written ({one_line(error)}): choose another folder or name") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _is_label_like(image: Any, dtype: DTypeLike | None) -> bool:
    """Whether the stored integers may be used as they are: integers were asked for and the header does not scale."""
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    return dtype is None and image.get_data_dtype().kind in "iu" and slope == 1 and intercept == 0
