"""`div(D grad u)` by finite volumes on voxels: a symmetric graph Laplacian with few edge offsets in a flat array.

The diffusivity of a voxel is `D_v T`: D_v is the geometric mean over the image voxels inside, times the front factor of
this stencil (`oncology.model.front`), and T a tensor (identity without DTI). Faces to voxels without tissue carry no
flux. Edges are homogeneous of degree one in (D_w, D_g, rho), so they are `D_w E_w + D_g E_g + rho E_r` with their
slopes E at the ratio of the rates (Euler).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from oncology.errors import ConfigError
from oncology.model.front import TissueCells
from oncology.voxel.flux import edge_slopes
from oncology.voxel.legendre import DISPERSION

__all__ = ["Stencil", "stacked", "stencil"]

Vector = NDArray[np.float64]

# rho t of fronts with the right speed: on average over directions at 2.5 mm they have it to 2 % between 4 and 14.
_AGE = 6.0
_LEAST = 1e-30  # mm^2/day: slopes stay finite where nothing diffuses


@dataclass(frozen=True, eq=False)
class Stencil:
    """The diffusion operator of one or several patients on voxels of one box; n is the number of voxels of the box.

    Attributes:
        shape: voxels along each axis (1 to 3 axes).
        spacing: edge of a voxel, mm.
        inside: (p, n) tissue of each patient.
        tissue: what the diffusivities of the tissue voxels of each patient are made of, in C order.
        strides: offset in the flat array of each of k kinds of edge, positive.
        joined: (p, d, n) 1 where the face in front of a voxel joins two tissue voxels, 0 elsewhere.
        tensor: (p, d, d, n) tensor T; None: identity.
    """

    shape: tuple[int, ...]
    spacing: float
    inside: torch.Tensor
    tissue: tuple[TissueCells, ...]
    strides: tuple[int, ...]
    joined: torch.Tensor
    tensor: torch.Tensor | None = None

    @property
    def voxels(self) -> int:
        """Number n of voxels of the box."""
        return self.inside.shape[1]

    @property
    def guarded(self) -> bool:
        """Whether no edge leaves the flat array: there is no tissue within the largest offset of its ends."""
        reach = max(self.strides)
        return not bool(self.inside[:, :reach].any() or self.inside[:, -reach:].any())

    def slopes(self, rates: Vector) -> torch.Tensor:
        """Return the slopes (3, B, k, n) of the edges by D_w, D_g (both 1/mm^2) and rho (no unit) at rates (B, 3).

        One patient has all rows of the rates; of several, patient i has row i.
        """
        slopes, values = np.zeros((3, len(rates), self.voxels)), np.ones((len(rates), self.voxels))
        inside = self.inside.cpu().numpy()
        for row, rate in enumerate(rates):
            patient = row if len(self.tissue) > 1 else 0
            by_rates = self.tissue[patient].coefficients(*rate)
            slopes[:, row, inside[patient]] = by_rates
            values[row, inside[patient]] = rate @ by_rates
        values = np.maximum(values, _LEAST)
        here, changes = (torch.as_tensor(part).to(self.joined) for part in (values, slopes / self.spacing**2))
        return edge_slopes(here, changes, self.joined, self.strides, self.tensor)


def stencil(
    white: Vector,
    grey: Vector,
    inside: NDArray[np.bool_],
    spacing: float,
    averaging: sparse.csr_array | None = None,
    tensor: Vector | None = None,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> Stencil:
    """Return the operator of tissue maps on one box of voxels.

    Args:
        white: white-matter fraction of each voxel on 1 to 3 axes; with `averaging`, (v,) of each image voxel; 0..1.
        grey: grey-matter fraction likewise.
        inside: which voxels are tissue; all others (fluid, ventricles) are outside.
        spacing: edge of a voxel, mm.
        averaging: (m, v) fraction of each image voxel in each of the m tissue voxels; None: one each.
        tensor: (..., d, d) symmetric tensor of each voxel that multiplies the isotropic diffusivity; None: identity.
        dtype: float32 or float64.
        device: where to compute.

    Raises:
        ConfigError: where shapes do not fit.
    """
    if averaging is None:
        if not white.shape == grey.shape == inside.shape:
            raise ConfigError(
                f"tissue maps of shapes {white.shape}, {grey.shape}, {inside.shape}: give three of one shape"
            )
        white, grey = white[inside], grey[inside]
        averaging = sparse.eye_array(len(white), format="csr")
    if averaging.shape != (inside.sum(), len(white)) or len(white) != len(grey):
        raise ConfigError(
            f"averaging {averaging.shape} of {len(white)} and {len(grey)} image voxels over {inside.sum()} tissue "
            "voxels: give one row a tissue voxel and one column an image voxel"
        )
    if not 1 <= inside.ndim <= 3 or min(inside.shape) < 2:
        raise ConfigError(f"a box of {inside.shape} voxels: give 1 to 3 axes and at least 2 voxels along each")
    strides = _axis_strides(inside.shape)
    joined = torch.as_tensor(_joined(inside)[None], dtype=dtype, device=device)
    flags = torch.as_tensor(inside.ravel()[None], device=device)
    matrices = None
    if tensor is not None:
        strides = (*strides, *(a + sign * b for a, b in itertools.combinations(strides, 2) for sign in (1, -1)))
        flat = tensor.reshape(-1, inside.ndim, inside.ndim).transpose(1, 2, 0)
        matrices = torch.as_tensor(flat[None].copy(), dtype=dtype, device=device)
    # the stencil's leading error is on average over directions that of a planar front on voxels of this spacing
    squared = np.full(len(averaging.indptr) - 1, 12.0 * DISPERSION[inside.ndim] * spacing**2)
    tissue = TissueCells(averaging, np.asarray(white, dtype=float), np.asarray(grey, dtype=float), squared, _AGE)
    return Stencil(inside.shape, spacing, flags, (tissue,), strides, joined, matrices)


def stacked(parts: Sequence[Stencil]) -> Stencil:
    """Return one operator for several patients on boxes of one shape and spacing: patient i is row i of every batch.

    Raises:
        ConfigError: where the boxes differ, or only some have a tensor.
    """
    first = parts[0]
    if any((p.shape, p.spacing, p.strides) != (first.shape, first.spacing, first.strides) for p in parts):
        raise ConfigError(
            "patients of one batch need boxes of one shape and spacing, all with a tensor or none: pad to the largest"
        )
    tensors = [part.tensor for part in parts if part.tensor is not None]
    return Stencil(
        first.shape,
        first.spacing,
        torch.cat([part.inside for part in parts]),
        tuple(cells for part in parts for cells in part.tissue),
        first.strides,
        torch.cat([part.joined for part in parts]),
        torch.cat(tensors) if tensors else None,
    )


def _axis_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[axis + 1 :], dtype=int)) for axis in range(len(shape)))


def _joined(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return whether a voxel and the next one along each axis are both tissue, (d, n)."""
    joined = np.zeros((inside.ndim, *inside.shape), dtype=bool)
    for axis in range(inside.ndim):
        both, tissue = joined[axis].swapaxes(0, axis), inside.swapaxes(0, axis)
        both[:-1] = tissue[:-1] & tissue[1:]
    return joined.reshape(inside.ndim, -1)
