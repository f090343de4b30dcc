"""Couplings between voxels of constant diffusivity: the exact flux across faces, and its energy with a tensor.

An edge carries the flux through two half voxels in series: the harmonic mean of their diffusivities. With a tensor
every voxel adds its energy `1/2 g' D g`, averaged over the 2^d gradients g of one-sided differences up to its faces,
where the flux along the axis is continuous. So the operator is symmetric and positive whatever the tensor is, and
without off-diagonal entries it is the harmonic mean.
"""

from __future__ import annotations

import itertools

import torch
from torch.nn.functional import pad

__all__ = ["edge_slopes"]

_LEAST = 1e-37  # of the sum of two diffusivities: a tensor may conduct nothing along an axis


def edge_slopes(
    diffusivity: torch.Tensor,
    changes: torch.Tensor,
    joined: torch.Tensor,
    strides: tuple[int, ...],
    tensor: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the derivatives of the coupling of the edge that starts at each voxel, times h^2.

    Args:
        diffusivity: (B, n) of the voxels, positive.
        changes: (C, B, n) directions of the diffusivities.
        joined: (p, d, n) 1 where the face in front of a voxel joins two tissue voxels, 0 elsewhere.
        strides: offset of each of k kinds of edge in the flat array: d along the axes, then, with a tensor, two
            diagonals a pair of axes.
        tensor: (p, d, d, n) symmetric tensor of each voxel that multiplies its diffusivity; None: identity.

    Returns:
        (C, B, k, n); couplings are homogeneous of degree one, so the change `diffusivity` gives the couplings.
    """
    slopes = changes.new_zeros(*changes.shape[:2], len(strides), changes.shape[-1])
    dimension = joined.shape[1]
    slants = []
    for axis in range(dimension):
        stride, scale = strides[axis], None if tensor is None else tensor[:, axis, axis]
        up, down = _slants(diffusivity if scale is None else diffusivity * scale, joined[:, axis], stride)
        by_low, by_high = 0.5 * up**2, 0.5 * down**2
        if scale is not None:
            by_low, by_high = by_low * scale[:, :-stride], by_high * scale[:, stride:]
        edge = slopes[:, :, axis, :-stride]
        edge.addcmul_(by_low, changes[..., :-stride]).addcmul_(by_high, changes[..., stride:])
        slants.append((up, down))
    if tensor is not None:
        _add_diagonals(slopes, slants, diffusivity, changes, strides, tensor)
    return slopes


def _slants(along: torch.Tensor, joined: torch.Tensor, stride: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the slopes in the two voxels of each face up to that face, over the slope between their centres."""
    low, high = along[:, :-stride], along[:, stride:]
    double = 2.0 * joined[:, :-stride] / (low + high).clamp(min=_LEAST)
    return double * high, double * low


def _add_diagonals(
    slopes: torch.Tensor,
    slants: list[tuple[torch.Tensor, torch.Tensor]],
    diffusivity: torch.Tensor,
    changes: torch.Tensor,
    strides: tuple[int, ...],
    tensor: torch.Tensor,
) -> None:
    """Add the derivatives of what products of differences along two axes contribute to the energy.

    Differences to neighbours i and j of a voxel v contribute
    `t (u_i - u_v)(u_j - u_v) = t/2 [(u_i - u_v)^2 + (u_j - u_v)^2 - (u_i - u_j)^2]`.
    """
    relative = changes / diffusivity
    sides = []  # of each axis: slope up to the next (+1) and the previous face (-1), with its derivatives
    for (up, down), stride in zip(slants, strides, strict=False):
        turned = 0.5 * up * down * (relative[..., stride:] - relative[..., :-stride])
        ahead, behind = (0, stride), (stride, 0)
        sides.append({1: (pad(up, ahead), pad(turned, ahead)), -1: (pad(down, behind), -pad(turned, behind))})
    dimension = len(slants)
    for number, (a, b) in enumerate(itertools.combinations(range(dimension), 2)):
        quarter = 0.25 * tensor[:, a, b]
        conducted, moved = quarter * diffusivity, quarter * changes
        for one, two in itertools.product((1, -1), repeat=2):
            (f, df), (g, dg) = sides[a][one], sides[b][two]
            term = one * two * (moved * (f * g) + conducted * (df * g + f * dg))
            to_a, to_b = one * strides[a], two * strides[b]
            _add(slopes[:, :, a], term, min(0, to_a))
            _add(slopes[:, :, b], term, min(0, to_b))
            # diagonals run along a + b where the signs differ, along a - b where they agree
            _add(slopes[:, :, dimension + 2 * number + (one == two)], -term, min(to_a, to_b))


def _add(target: torch.Tensor, values: torch.Tensor, offset: int) -> None:
    """Add values (..., n) to a target, moved by an offset along the flat array."""
    count = values.shape[-1] - abs(offset)
    target[..., max(offset, 0) :][..., :count] += values[..., max(-offset, 0) :][..., :count]
