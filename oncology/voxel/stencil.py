"""`div(D grad u)` by finite volumes on voxels: a symmetric graph Laplacian with few edge offsets in a flat array.

`D = (D_w p_w + D_g p_g) T` with a tensor T (identity without DTI). Without a tensor an edge joins two voxels across a
face, with the arithmetic or the harmonic mean of their diffusivities. With a tensor every voxel adds its energy
`1/2 g' D g`, averaged over the 2^d gradients g of one-sided differences, so the operator is symmetric and positive
whatever T is, and without off-diagonal entries it is the arithmetic mean. Faces to voxels without tissue carry no flux.
Either mean is homogeneous of degree one in (D_w, D_g), so the edges are `D_w E_w + D_g E_g` with their slopes E
(Euler); with harmonic means E depends on the diffusivities.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from oncology.errors import ConfigError

__all__ = ["Mean", "Stencil", "stacked", "stencil"]

Mean = Literal["arithmetic", "harmonic"]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Stencil:
    """The diffusion operator of one or several patients on voxels of one box; n is the number of voxels of the box.

    Attributes:
        shape: voxels along each axis (1 to 3 axes).
        spacing: edge of a voxel, mm.
        inside: (p, n) tissue of each patient.
        strides: offset in the flat array of each kind of edge, positive.
        white: (p, k, n) slope of the edge that starts at each voxel by D_w, 1/mm^2; tissue fractions (p, n) where the
            mean is harmonic.
        grey: the same by D_g.
        mean: how the diffusivities of two voxels are averaged.
    """

    shape: tuple[int, ...]
    spacing: float
    inside: torch.Tensor
    strides: tuple[int, ...]
    white: torch.Tensor
    grey: torch.Tensor
    mean: Mean = "arithmetic"

    @property
    def voxels(self) -> int:
        """Number n of voxels of the box."""
        return self.inside.shape[1]

    @property
    def guarded(self) -> bool:
        """Whether no edge leaves the flat array: there is no tissue within the largest offset of its ends."""
        reach = max(self.strides)
        return not bool(self.inside[:, :reach].any() or self.inside[:, -reach:].any())

    def slopes(self, white: torch.Tensor, grey: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the slopes (b, k, n) of the edges by D_w and D_g at given diffusivities (b,), 1/mm^2."""
        if self.mean == "arithmetic":
            return self.white, self.grey
        diffusivity = white[:, None] * self.white + grey[:, None] * self.grey
        by_white, by_grey = (diffusivity.new_zeros(len(diffusivity), len(self.strides), self.voxels) for _ in range(2))
        for kind, stride in enumerate(self.strides):
            low, high = diffusivity[:, :-stride], diffusivity[:, stride:]
            total = low + high
            joined = (total > 0.0) & (low * high > 0.0) & self._joined(kind)
            share = torch.where(joined, 2.0 / torch.where(joined, total, 1.0) ** 2 / self.spacing**2, 0.0)
            by_low, by_high = share * high**2, share * low**2
            for slope, tissue in ((by_white, self.white), (by_grey, self.grey)):
                slope[:, kind, :-stride] = by_low * tissue[:, :-stride] + by_high * tissue[:, stride:]
        return by_white, by_grey

    def _joined(self, kind: int) -> torch.Tensor:
        """Return whether the edge that starts at each voxel joins two tissue voxels of the box, (p, n - stride)."""
        return torch.stack([_along(i.reshape(self.shape), i.reshape(self.shape), kind) for i in self.inside])


def _along(low: torch.Tensor, high: torch.Tensor, axis: int) -> torch.Tensor:
    """Return `low and high one further along the axis` at every voxel, flat and without the last stride."""
    both = torch.zeros_like(low)
    count = low.shape[axis] - 1
    both.narrow(axis, 0, count).copy_(low.narrow(axis, 0, count) & high.narrow(axis, 1, count))
    stride = int(np.prod(low.shape[axis + 1 :], dtype=int))
    return both.reshape(-1)[:-stride]


def stencil(
    white: Vector,
    grey: Vector,
    inside: NDArray[np.bool_],
    spacing: float,
    mean: Mean = "arithmetic",
    tensor: Vector | None = None,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> Stencil:
    """Return the operator of tissue maps on one box of voxels.

    Args:
        white: white-matter fraction of each voxel, 0..1, on 1 to 3 axes.
        grey: grey-matter fraction of each voxel, 0..1.
        inside: which voxels are tissue; all others (fluid, ventricles) are outside.
        spacing: edge of a voxel, mm.
        mean: of the diffusivities of neighbouring voxels.
        tensor: (..., d, d) symmetric tensor of each voxel that multiplies the isotropic diffusivity; None: identity.
        dtype: float32 or float64.
        device: where to compute.

    Raises:
        ConfigError: where shapes do not fit, or a tensor comes with harmonic means.
    """
    if not (white.shape == grey.shape == inside.shape and 1 <= white.ndim <= 3):
        raise ConfigError(
            f"tissue maps of shapes {white.shape}, {grey.shape}, {inside.shape}: give three of one shape, 1 to 3 axes"
        )
    if tensor is not None and mean == "harmonic":
        raise ConfigError("harmonic means of tensors are not defined here: take mean='arithmetic' with a tensor")
    if min(white.shape) < 2:
        raise ConfigError(f"a box of {white.shape} voxels has no edges along some axis: give at least 2 along each")
    fractions = [np.where(inside, tissue, 0.0) for tissue in (white, grey)]
    strides = _axis_strides(white.shape)
    if mean == "harmonic":
        parts = [fraction.ravel() for fraction in fractions]
    elif tensor is None:
        parts = [_faces(fraction, inside, strides) / spacing**2 for fraction in fractions]
    else:
        parts = [_tensor_edges(fraction, inside, tensor) / spacing**2 for fraction in fractions]
        strides = (*strides, *(a + sign * b for a, b in itertools.combinations(strides, 2) for sign in (1, -1)))
    by_white, by_grey = (torch.as_tensor(part[None], dtype=dtype, device=device) for part in parts)
    flags = torch.as_tensor(inside.ravel()[None], device=device)
    return Stencil(white.shape, spacing, flags, strides, by_white, by_grey, mean)


def stacked(parts: Sequence[Stencil]) -> Stencil:
    """Return one operator for several patients on boxes of one shape and spacing: patient i is row i of every batch.

    Raises:
        ConfigError: where the boxes or the means differ.
    """
    first = parts[0]
    if any(
        (p.shape, p.spacing, p.strides, p.mean) != (first.shape, first.spacing, first.strides, first.mean)
        for p in parts
    ):
        raise ConfigError("patients of one batch need boxes of one shape, spacing and mean: pad them to the largest")
    joined = [torch.cat([getattr(part, name) for part in parts]) for name in ("inside", "white", "grey")]
    return Stencil(first.shape, first.spacing, joined[0], first.strides, joined[1], joined[2], first.mean)


def _axis_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[axis + 1 :], dtype=int)) for axis in range(len(shape)))


def _faces(fraction: Vector, inside: NDArray[np.bool_], strides: tuple[int, ...]) -> Vector:
    """Return the arithmetic mean across the face that starts at each voxel, (d, n), zero where there is no flux."""
    edges = np.zeros((len(strides), *fraction.shape))
    for axis in range(fraction.ndim):
        low, high = (_part(fraction.ndim, axis, part) for part in (slice(None, -1), slice(1, None)))
        edges[axis][low] = 0.5 * (fraction[low] + fraction[high]) * (inside[low] & inside[high])
    return edges.reshape(len(strides), -1)


def _tensor_edges(fraction: Vector, inside: NDArray[np.bool_], tensor: Vector) -> Vector:
    """Return the edges of the energy with a tensor, (d^2, n): faces, then two diagonals a pair of axes.

    A pair of one-sided differences to neighbours a and b of voxel i contributes
    `t (u_a - u_i)(u_b - u_i) = t/2 [(u_a - u_i)^2 + (u_b - u_i)^2 - (u_a - u_b)^2]`.
    """
    dimension = fraction.ndim
    strides = np.array(_axis_strides(fraction.shape))
    matrices = tensor.reshape(-1, dimension, dimension)
    pairs = list(itertools.combinations(range(dimension), 2))
    edges = np.zeros((dimension + 2 * len(pairs), fraction.size))
    flat = fraction.ravel()
    for axis in range(dimension):
        scaled = (flat * matrices[:, axis, axis]).reshape(fraction.shape)
        edges[axis] = _faces(scaled, inside, tuple(strides))[axis]
    neighbour = {(axis, sign): _has_neighbour(inside, axis, sign) for axis in range(dimension) for sign in (1, -1)}
    for number, (first, second) in enumerate(pairs):
        for one, two in itertools.product((1, -1), repeat=2):
            here = np.flatnonzero(neighbour[first, one] & neighbour[second, two])
            t = 0.25 * one * two * flat[here] * matrices[here, first, second]
            a, b = here + one * strides[first], here + two * strides[second]
            edges[first, np.minimum(here, a)] += t
            edges[second, np.minimum(here, b)] += t
            # diagonals run along first + second where the signs differ, along first - second where they agree
            edges[dimension + 2 * number + (one == two), np.minimum(a, b)] -= t
    return edges


def _has_neighbour(inside: NDArray[np.bool_], axis: int, sign: int) -> NDArray[np.bool_]:
    """Return whether a voxel and its neighbour along an axis are both tissue, flat."""
    both = np.zeros_like(inside)
    low, high = (_part(inside.ndim, axis, part) for part in (slice(None, -1), slice(1, None)))
    here, there = (low, high) if sign > 0 else (high, low)
    both[here] = inside[here] & inside[there]
    return both.ravel()


def _part(dimension: int, axis: int, part: slice) -> tuple[slice, ...]:
    index = [slice(None)] * dimension
    index[axis] = part
    return tuple(index)
