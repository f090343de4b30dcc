"""The diffusion step on voxels: a polynomial of the symmetric operator, its tangent and its adjoint.

The polynomial is that of `oncology.voxel.legendre`; since the operator is symmetric, its transpose is the same
recursion run with duals. What depends on the rates are the couplings `w tau (D_w E_w + D_g E_g + rho E_r)` and, through
`mu = D_w tau / h^2`, the coefficients w and b; `change` carries both forward and `collect` is its transpose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from oncology.voxel.kernel import Weights, accumulate, edge_pairing, join, weights
from oncology.voxel.legendre import Legendre, legendre
from oncology.voxel.stencil import Stencil

__all__ = [
    "Couplings",
    "Diffusion",
    "change",
    "collect",
    "column",
    "couplings",
    "diffuse",
    "diffuse_adjoint",
    "diffuse_stages",
    "diffuse_tangent",
    "diffusion_step",
    "step_stages",
]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Couplings:
    """The diffusion operator at given rates.

    Attributes:
        slopes: (3, B, k, n) E_w and E_g, 1/mm^2, and E_r of each edge by the rates.
        edges: (B, k, n) `D_w E_w + D_g E_g + rho E_r`, 1/day.
        bound: (B,) bound of the largest eigenvalue, 1/day.
    """

    slopes: torch.Tensor
    edges: torch.Tensor
    bound: Vector


@dataclass(frozen=True)
class Diffusion:
    """The diffusion step of one interval.

    Attributes:
        polynomial: its coefficients.
        operator: `1 + w tau L`.
        slopes: (3, B, k, n) slopes E of the couplings by the rates.
        scale: (B,) w tau, day.
    """

    polynomial: Legendre
    operator: Weights
    slopes: torch.Tensor
    scale: Vector

    def joined(self, start: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """Return `(1 - b) start + b P_s start` from Q_s, of densities and of their derivatives (..., B, n)."""
        share = self.polynomial.share
        kept, new = column(1.0 - share, start), column(share / self.polynomial.scale, start)
        return join(start, last, kept, new, self.operator.fused)


def couplings(stencil: Stencil, rates: Vector) -> Couplings:
    """Return the operator for rates (B, 3): D_w, D_g (mm^2/day) and rho (1/day)."""
    slopes = stencil.slopes(rates)
    edges = sum(column(rates[:, [k]], slope) * slope for k, slope in enumerate(slopes))
    return Couplings(slopes, edges, _row_bound(stencil.strides, edges).cpu().numpy().astype(float))


def diffusion_step(
    stencil: Stencil, by: Couplings, rates: Vector, tau: Vector, corrected: bool, fused: bool, least: int = 0
) -> Diffusion:
    """Return the step of length tau (B,), day, with at least so many stages."""
    spread = rates[:, 0] * tau / stencil.spacing**2
    polynomial = legendre(tau * by.bound, spread, len(stencil.shape), corrected, least)
    scale = polynomial.weight * tau
    edges = by.edges * column(scale, by.edges)[:, None]
    return Diffusion(polynomial, weights(stencil.strides, edges, 1.0, fused), by.slopes, scale)


def step_stages(stencil: Stencil, by: Couplings, rates: Vector, tau: Vector, corrected: bool, least: int = 0) -> int:
    """Return how many stages the step of `diffusion_step` has."""
    spread = rates[:, 0] * tau / stencil.spacing**2
    return legendre(tau * by.bound, spread, len(stencil.shape), corrected, least).stages


def column(values: Vector, like: torch.Tensor) -> torch.Tensor:
    """Return numbers (..., B) as factors of densities (..., B, n)."""
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)[..., None]


def _row_bound(strides: tuple[int, ...], edges: torch.Tensor) -> torch.Tensor:
    """Return Gershgorin's bound of the largest eigenvalue of the graph Laplacian with these edges, (b,)."""
    total = (edges.clamp(min=0.0) * 2.0).sum(dim=1)
    for kind, stride in enumerate(strides):
        total[:, stride:] += edges[:, kind, :-stride].clamp(min=0.0) * 2.0
    return total.amax(dim=1)


def diffuse(by: Diffusion, u: torch.Tensor) -> torch.Tensor:
    """Return the density after the diffusion step."""
    return diffuse_stages(by, u, keep=False)[0]


def diffuse_stages(by: Diffusion, u: torch.Tensor, keep: bool = True) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the density after the diffusion step and Q_0..Q_s (only Q_s without `keep`)."""
    before, now = u.clone(), torch.zeros_like(u)
    accumulate(now, u, by.operator, by.polynomial.factors[0])
    stages = [u, now]
    for number, factor in enumerate(by.polynomial.factors[1:]):
        after = before.clone() if keep and number > 0 else before
        accumulate(after, now, by.operator, factor)
        before, now = now, after
        stages.append(now)
    return by.joined(u, now), stages if keep else [now]


def change(by: Diffusion, rates: Vector, d_rates: Vector, tau: Vector, d_tau: Vector) -> tuple[Vector, Vector]:
    """Return the changes of the couplings in units of the slopes E, (3, R, B), and of ln b, (R, B).

    The couplings are `w tau (D_w E_w + D_g E_g + rho E_r)`, and ln w moves with ln mu = ln(D_w tau / h^2).
    """
    longer = d_tau / tau
    with np.errstate(divide="ignore", invalid="ignore"):
        d_spread = np.where(rates[:, 0] > 0.0, d_rates[:, :, 0] / rates[:, 0], 0.0) + longer
    bent = by.polynomial.bend * d_spread
    return by.scale * np.moveaxis(d_rates + rates * (longer + bent)[:, :, None], -1, 0), -bent


def diffuse_tangent(
    by: Diffusion, u: torch.Tensor, du: torch.Tensor, moved: tuple[Vector, Vector]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the density after the diffusion step from u (B, n) and its derivatives (R, B, n)."""
    after, stages = diffuse_stages(by, u)
    strides = by.operator.strides
    slopes = [
        (weights(strides, slope, 0.0, by.operator.fused), [(r, column(amount[r], du)) for r in rows])
        for slope, amount in zip(by.slopes, moved[0], strict=True)
        if len(rows := np.flatnonzero(amount.any(axis=1)))
    ]
    before, now = du.clone(), torch.zeros_like(du)
    for number, factor in enumerate(by.polynomial.factors):
        target, source = (now, du) if number == 0 else (before, now)
        accumulate(target, source, by.operator, factor)
        for slope, amounts in slopes:
            forcing = torch.zeros_like(u)
            accumulate(forcing, stages[number], slope, factor)
            for row, amount in amounts:
                target[row].addcmul_(amount, forcing)
        if number > 0:
            before, now = now, target
    result = by.joined(du, now)
    if moved[1].any():
        # d ln b (b P_s u - b u), which is d ln b times what the step changes
        result.addcmul_(column(moved[1], du), after - u)
    return after, result


def diffuse_adjoint(
    by: Diffusion, stages: list[torch.Tensor], dual: torch.Tensor, edges: torch.Tensor, share: torch.Tensor
) -> torch.Tensor:
    """Return the dual of the start; add the derivatives by the couplings to `edges` and by b to `share`."""
    polynomial = by.polynomial
    share += (dual * (stages[-1] / polynomial.scale - stages[0])).sum(dim=-1)
    now = dual * column(polynomial.share / polynomial.scale, dual)
    before = torch.zeros_like(dual)
    for number in reversed(range(polynomial.stages)):
        factor = polynomial.factors[number]
        edge_pairing(edges, now, stages[number], by.operator, factor)
        accumulate(before, now, by.operator, factor)
        before, now = now, before
    # the first stage has no predecessor: what was passed on to it counts for nothing
    return now + dual * column(1.0 - polynomial.share, dual)


def collect(
    by: Diffusion, rates: Vector, tau: Vector, edges: torch.Tensor, share: torch.Tensor, growth: torch.Tensor
) -> tuple[Vector, Vector]:
    """Return the derivatives by D_w, D_g and rho (B, 3) and by the step's length (B,): the transpose of `change`."""
    by_rates = np.array([(edges * slope).sum(dim=(1, 2)).cpu().numpy() for slope in by.slopes], dtype=float).T
    by_rates *= by.scale[:, None]
    total = (rates * by_rates).sum(axis=1)
    bent = by.polynomial.bend * (total - by.polynomial.share * share.cpu().numpy().astype(float))
    by_exposure = growth.cpu().numpy().astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_rates[:, 0] += np.where(rates[:, 0] > 0.0, bent / rates[:, 0], 0.0)
    by_rates[:, 2] += 0.5 * tau * by_exposure
    return by_rates, (total + bent) / tau + 0.5 * rates[:, 2] * by_exposure
