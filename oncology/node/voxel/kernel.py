"""The one operation of the time loop: `out += a S v` with a symmetric stencil S, for densities, slopes and duals alike.

An edge of offset s couples entry i with i + s of the flat array; edges across the end of a row have weight zero, so
every shift is one contiguous slice, whatever the dimension. Plain torch reads and writes the arrays in one pass an
edge; compiled, all edges are one pass: values once, edges once, the result read and written.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

__all__ = ["Weights", "accumulate", "edge_pairing", "weights"]


@dataclass(frozen=True)
class Weights:
    """A symmetric stencil with given row sums: entry i couples to i + s_k with weight `edges[:, k, i]`.

    Attributes:
        strides: s_k > 0.
        edges: (b, k, n) couplings.
        row_sum: sum of each row.
        diagonal: (b, n) entries on the diagonal; None where one compiled pass works them out.
    """

    strides: tuple[int, ...]
    edges: torch.Tensor
    row_sum: float
    diagonal: torch.Tensor | None


def weights(strides: tuple[int, ...], edges: torch.Tensor, row_sum: float, fused: bool = False) -> Weights:
    """Return the stencil with couplings (b, k, n) whose rows add up to `row_sum`.

    Args:
        strides: s_k > 0.
        edges: (b, k, n) couplings; where fused, those of the first and last max(s_k) entries are zero.
        row_sum: sum of each row.
        fused: apply it in one compiled pass.
    """
    if fused:
        return Weights(strides, edges, row_sum, None)
    diagonal = torch.full_like(edges[:, 0], row_sum)
    for kind, stride in enumerate(strides):
        diagonal -= edges[:, kind]
        diagonal[:, stride:] -= edges[:, kind, :-stride]
    return Weights(strides, edges, row_sum, diagonal)


def accumulate(out: torch.Tensor, values: torch.Tensor, by: Weights, factor: float) -> None:
    """Add `factor S values` to `out` in place, S the stencil; both are (..., b, n)."""
    if by.diagonal is None:
        # a number would be compiled in, a tensor of one is not
        _compiled()(out, values, by.edges, by.strides, by.row_sum, torch.tensor(factor, dtype=out.dtype))
        return
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


@cache
def _compiled() -> Any:
    return torch.compile(_one_pass, dynamic=True)


def _one_pass(
    out: torch.Tensor,
    values: torch.Tensor,
    edges: torch.Tensor,
    strides: tuple[int, ...],
    row_sum: float,
    factor: torch.Tensor,
) -> None:
    """Add `factor S values` where no shift leaves the array; elsewhere all couplings are zero."""
    guard = max(strides)
    count = values.shape[-1] - 2 * guard
    here = values[..., guard : guard + count]
    total = row_sum * here
    for kind, stride in enumerate(strides):
        up, down = guard + stride, guard - stride
        total = total + edges[:, kind, guard : guard + count] * (values[..., up : up + count] - here)
        total = total + edges[:, kind, down : down + count] * (values[..., down : down + count] - here)
    out[..., guard : guard + count] += factor * total
