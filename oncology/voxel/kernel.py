"""The one operation of the time loop: `out += a S v` with a symmetric stencil S, for densities, slopes and duals alike.

An edge of offset s couples entry i with i + s of the flat array; edges across the end of a row have weight zero, so
every shift is one contiguous slice, whatever the dimension. Plain torch reads and writes the arrays in one pass an
edge; compiled, all edges are one pass: values once, edges once, the result read and written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

__all__ = ["Weights", "accumulate", "compiled", "edge_pairing", "join", "weights"]


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

    @property
    def fused(self) -> bool:
        """Whether it is applied in one compiled pass."""
        return self.diagonal is None


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
    if by.fused:
        # a number would be compiled in, a tensor of one is not
        compiled(_one_pass)(out, values, by.edges, by.strides, by.row_sum, torch.tensor(factor, dtype=out.dtype))
        return
    assert by.diagonal is not None
    out.addcmul_(by.diagonal, values, value=factor)
    for kind, stride in enumerate(by.strides):
        edge = by.edges[:, kind, :-stride]
        out[..., :-stride].addcmul_(edge, values[..., stride:], value=factor)
        out[..., stride:].addcmul_(edge, values[..., :-stride], value=factor)


def join(
    first: torch.Tensor, second: torch.Tensor, by_first: torch.Tensor, by_second: torch.Tensor, fused: bool
) -> torch.Tensor:
    """Return `by_first first + by_second second` for densities (..., b, n) and factors (b, 1)."""
    if fused:
        summed: torch.Tensor = compiled(_sum)(first, second, by_first, by_second)
        return summed
    return (by_first * first).addcmul_(by_second, second)


def edge_pairing(out: torch.Tensor, duals: torch.Tensor, values: torch.Tensor, by: Weights, factor: float) -> None:
    """Add the derivative of `factor <duals, S values>` by the edges to `out` (b, k, n), row sums fixed."""
    if by.fused:
        compiled(_pairs)(out, duals, values, by.strides, torch.tensor(factor, dtype=out.dtype))
        return
    for kind, stride in enumerate(by.strides):
        risen, fallen = values[:, stride:] - values[:, :-stride], duals[:, :-stride] - duals[:, stride:]
        out[:, kind, :-stride].addcmul_(risen, fallen, value=factor)


@cache
def compiled[**P, T](function: Callable[P, T]) -> Callable[P, T]:
    """Return a function of tensors compiled into as few passes as there can be, for arrays of any size."""
    return torch.compile(function, dynamic=True)


def _sum(first: torch.Tensor, second: torch.Tensor, by_first: torch.Tensor, by_second: torch.Tensor) -> torch.Tensor:
    return by_first * first + by_second * second


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


def _pairs(
    out: torch.Tensor, duals: torch.Tensor, values: torch.Tensor, strides: tuple[int, ...], factor: torch.Tensor
) -> None:
    """Add the derivative by the edges that start where no shift leaves the array; the others carry nothing."""
    guard = max(strides)
    count = values.shape[-1] - 2 * guard
    here, dual = values[:, guard : guard + count], duals[:, guard : guard + count]
    for kind, stride in enumerate(strides):
        up = guard + stride
        product = (values[:, up : up + count] - here) * (dual - duals[:, up : up + count])
        out[:, kind, guard : guard + count] += factor * product
