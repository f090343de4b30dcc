"""The one operation of the time loop: `out += a (v + w tau L v)` on flat arrays, and the same for slopes and duals.

An edge of offset s couples entry i with i + s of the flat array; edges across the end of a row have weight zero, so
every shift is one contiguous slice, whatever the dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["Weights", "accumulate", "edge_pairing", "weights"]


@dataclass(frozen=True)
class Weights:
    """A symmetric stencil with given row sums: entry i couples to i + s_k with weight `edges[:, k, i]`.

    Attributes:
        strides: s_k > 0.
        edges: (b, k, n) couplings.
        diagonal: (b, n) entries on the diagonal.
    """

    strides: tuple[int, ...]
    edges: torch.Tensor
    diagonal: torch.Tensor


def weights(strides: tuple[int, ...], edges: torch.Tensor, row_sum: float) -> Weights:
    """Return the stencil with couplings (b, k, n) whose rows add up to `row_sum`."""
    diagonal = torch.full_like(edges[:, 0], row_sum)
    for kind, stride in enumerate(strides):
        diagonal -= edges[:, kind]
        diagonal[:, stride:] -= edges[:, kind, :-stride]
    return Weights(strides, edges, diagonal)


def accumulate(out: torch.Tensor, values: torch.Tensor, by: Weights, factor: float) -> None:
    """Add `factor S values` to `out` in place, S the stencil; both are (..., b, n)."""
    out.addcmul_(by.diagonal, values, value=factor)
    for kind, stride in enumerate(by.strides):
        edge = by.edges[:, kind, :-stride]
        out[..., :-stride].addcmul_(edge, values[..., stride:], value=factor)
        out[..., stride:].addcmul_(edge, values[..., :-stride], value=factor)


def edge_pairing(
    out: torch.Tensor, duals: torch.Tensor, values: torch.Tensor, strides: tuple[int, ...], factor: float
) -> None:
    """Add the derivative of `factor <duals, S values>` by the edges to `out` (b, k, n), row sums fixed."""
    for kind, stride in enumerate(strides):
        risen, fallen = values[:, stride:] - values[:, :-stride], duals[:, :-stride] - duals[:, stride:]
        out[:, kind, :-stride].addcmul_(risen, fallen, value=factor)
