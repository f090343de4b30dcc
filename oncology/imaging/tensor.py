"""Diffusion tensors from file: six components in any usual order, turned into RAS axes and made positive.

Programs write the components in different orders: "fsl" (dtifit, BIDS `param-tensor`) xx xy xz yy yz zz; "mrtrix" (and
TORTOISE) xx yy zz xy xz yz; "dipy" and "ants" (NIfTI's symmetric matrices, the lower triangle) xx xy yy xz yz zz.
Images of five axes (x, y, z, 1, 6) are NIfTI's symmetric matrices, all others "fsl", unless `case.toml` says otherwise.
In a wrong order most tensors have a negative eigenvalue, which is how it is noticed.

The axes they refer to differ between programs as well: "fsl" (default; dtifit and all that is given FSL-style
b-vectors) are the voxel axes, the first reversed where the affine has a positive determinant; "voxel" are the voxel
axes as stored; "ras" are scanner axes (MRtrix).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from oncology.errors import ImageError
from oncology.imaging.volume import Volume

__all__ = ["Axes", "Order", "read_tensor", "to_components", "to_matrices"]

Axes = Literal["fsl", "voxel", "ras"]
Order = Literal["fsl", "mrtrix", "dipy", "ants"]
_ORDERS: dict[Order, tuple[int, ...]] = {  # where xx, xy, xz, yy, yz, zz stand in the file
    "fsl": (0, 1, 2, 3, 4, 5),
    "mrtrix": (0, 3, 4, 1, 5, 2),
    "dipy": (0, 1, 3, 2, 4, 5),
    "ants": (0, 1, 3, 2, 4, 5),
}
_MOST_INDEFINITE = 0.1  # fraction of tensors with a negative eigenvalue, above which the order is in doubt
_NEGATIVE = 0.05  # of the largest eigenvalue: what noise does to the smallest one
_FULL = np.array([0, 1, 2, 1, 3, 4, 2, 4, 5])  # component of each of the nine matrix entries
_UPPER = np.array([0, 1, 2, 4, 5, 8])  # matrix entry of each of the six components


def to_matrices(components: NDArray[Any]) -> NDArray[Any]:
    """Symmetric matrices (..., 3, 3) of components (..., 6) in the order xx, xy, xz, yy, yz, zz."""
    return components[..., _FULL].reshape(*components.shape[:-1], 3, 3)


def to_components(matrices: NDArray[Any]) -> NDArray[Any]:
    """The six components (..., 6) of symmetric matrices (..., 3, 3)."""
    return matrices.reshape(*matrices.shape[:-2], 9)[..., _UPPER]


def read_tensor(volume: Volume, axes: Axes, order: Order | None = None) -> Volume:
    """Turn a tensor image into RAS axes; negative eigenvalues, which noise can cause, are set to zero.

    Args:
        volume: (nx, ny, nz, 6) or (nx, ny, nz, 1, 6), any unit (only ratios are used).
        axes: what the components refer to, see the module.
        order: of the components; None: that of the image's shape.

    Returns:
        The image with xx, xy, xz, yy, yz, zz along the RAS axes as fourth axis.

    Raises:
        ImageError: the image does not have six components, is zero everywhere, or has a negative eigenvalue in more
            than a tenth of its tensors.
    """
    shape = volume.data.shape
    if shape[3:] not in ((6,), (1, 6)):
        raise ImageError(f"{volume.name}: has shape {shape}, expected 6 tensor components as fourth axis")
    order = order or ("ants" if len(shape) == 5 else "fsl")
    stored = volume.data.reshape(*shape[:3], 6)
    used = stored.any(axis=3)
    if not used.any():
        raise ImageError(f"{volume.name}: tensor is zero everywhere: leave the file out or fit the tensor again")
    _check_order(volume, stored[used], order)
    data = np.zeros_like(stored)
    turn = _turn(volume.affine, axes)
    matrices = turn @ to_matrices(stored[used][:, _ORDERS[order]].astype(float)) @ turn.T
    eigenvalues = np.linalg.eigvalsh(matrices)
    negative = eigenvalues[:, 0] < 0
    values, vectors = np.linalg.eigh(matrices[negative])
    matrices[negative] = (vectors * np.maximum(values, 0)[:, None, :]) @ vectors.swapaxes(1, 2)
    data[used] = to_components(matrices)
    return volume.with_data(data)


def _check_order(volume: Volume, stored: NDArray[Any], order: Order) -> None:
    """Refuse components that cannot be a tensor's in this order; name the order in which they can."""
    orders = {name: places for name, places in _ORDERS.items() if name != "ants"}
    indefinite = {name: _indefinite_fraction(stored[:, places].astype(float)) for name, places in orders.items()}
    here = indefinite["dipy" if order == "ants" else order]
    if here <= _MOST_INDEFINITE:
        return
    start = f"{volume.name}: {here:.0%} of the tensors have a negative eigenvalue with components in order {order!r}"
    best = min(indefinite, key=lambda name: indefinite[name])
    if indefinite[best] <= min(_MOST_INDEFINITE, 0.5 * here):
        raise ImageError(f'{start}, only {indefinite[best]:.0%} in order {best!r}: give [tensor] order = "{best}"')
    raise ImageError(f"{start}: check its sign and order, fit the tensor again, or leave the file out")


def _indefinite_fraction(components: NDArray[Any]) -> float:
    """Fraction of tensors with a smallest eigenvalue that is clearly negative."""
    eigenvalues = np.linalg.eigvalsh(to_matrices(components))
    return float((eigenvalues[:, 0] < -_NEGATIVE * np.abs(eigenvalues).max(axis=1)).mean())


def _turn(affine: NDArray[np.float64], axes: Axes) -> NDArray[np.float64]:
    """The orthogonal matrix whose columns are the tensor's axes in RAS: the affine without scales and shears."""
    if axes == "ras":
        return np.eye(3)
    left, _, right = np.linalg.svd(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    turn = left @ right
    if axes == "fsl" and np.linalg.det(turn) > 0:
        turn = turn * np.array([-1.0, 1.0, 1.0])
    return np.asarray(turn)
