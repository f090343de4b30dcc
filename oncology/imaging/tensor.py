"""Diffusion tensors from file: six components turned into RAS axes and made positive.

Files hold xx, xy, xz, yy, yz, zz (the order of FSL's dtifit and of BIDS `param-tensor`). The axes they refer to differ
between programs, so `case.toml` may say which: "fsl" (default; dtifit and everything else that is given FSL-style
b-vectors) are the voxel axes, the first reversed where the affine has a positive determinant; "voxel" are the voxel
axes as stored; "ras" are scanner axes (MRtrix).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from oncology.errors import ImageError
from oncology.imaging.volume import Volume

__all__ = ["Axes", "read_tensor", "to_components", "to_matrices"]

Axes = Literal["fsl", "voxel", "ras"]
_FULL = np.array([0, 1, 2, 1, 3, 4, 2, 4, 5])  # component of each of the nine matrix entries
_UPPER = np.array([0, 1, 2, 4, 5, 8])  # matrix entry of each of the six components


def to_matrices(components: NDArray[Any]) -> NDArray[Any]:
    """Symmetric matrices (..., 3, 3) of components (..., 6) in the order xx, xy, xz, yy, yz, zz."""
    return components[..., _FULL].reshape(*components.shape[:-1], 3, 3)


def to_components(matrices: NDArray[Any]) -> NDArray[Any]:
    """The six components (..., 6) of symmetric matrices (..., 3, 3)."""
    return matrices.reshape(*matrices.shape[:-2], 9)[..., _UPPER]


def read_tensor(volume: Volume, axes: Axes) -> Volume:
    """Turn a tensor image into RAS axes; negative eigenvalues, which noise can cause, are set to zero.

    Args:
        volume: (nx, ny, nz, 6), any unit (only ratios are used).
        axes: what the components refer to, see the module.

    Raises:
        ImageError: the image does not have six components, or is zero everywhere.
    """
    if volume.data.ndim != 4 or volume.data.shape[3] != 6:
        raise ImageError(f"{volume.name}: has shape {volume.data.shape}, expected 6 tensor components as fourth axis")
    data = np.zeros_like(volume.data)
    used = volume.data.any(axis=3)
    if not used.any():
        raise ImageError(f"{volume.name}: tensor is zero everywhere: leave the file out or fit the tensor again")
    turn = _turn(volume.affine, axes)
    matrices = turn @ to_matrices(volume.data[used].astype(float)) @ turn.T
    eigenvalues = np.linalg.eigvalsh(matrices)
    negative = eigenvalues[:, 0] < 0
    values, vectors = np.linalg.eigh(matrices[negative])
    matrices[negative] = (vectors * np.maximum(values, 0)[:, None, :]) @ vectors.swapaxes(1, 2)
    data[used] = to_components(matrices)
    return volume.with_data(data)


def _turn(affine: NDArray[np.float64], axes: Axes) -> NDArray[np.float64]:
    """The orthogonal matrix whose columns are the tensor's axes in RAS: the affine without scales and shears."""
    if axes == "ras":
        return np.eye(3)
    left, _, right = np.linalg.svd(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    turn = left @ right
    if axes == "fsl" and np.linalg.det(turn) > 0:
        turn = turn * np.array([-1.0, 1.0, 1.0])
    return np.asarray(turn)
