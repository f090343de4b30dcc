"""The diffusion step on voxels: a polynomial of the symmetric operator, its tangent and its adjoint.

The polynomial is that of `oncology.voxel.legendre`; since the operator is symmetric, its transpose is the same
recursion run with duals. What depends on the diffusivities are the couplings `w tau (D_w E_w + D_g E_g)` and, through
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
        slopes: (b, k, n) E_w and E_g of each edge by the diffusivities, 1/mm^2.
        edges: (b, k, n) `D_w E_w + D_g E_g`, 1/day.
        bound: (B,) bound of the largest eigenvalue, 1/day.
    """

    slopes: tuple[torch.Tensor, torch.Tensor]
    edges: torch.Tensor
    bound: Vector


@dataclass(frozen=True)
class Diffusion:
    """The diffusion step of one interval.

    Attributes:
        polynomial: its coefficients.
        operator: `1 + w tau L`.
        slopes: couplings E_w and E_g by the diffusivities.
        scale: (B,) w tau, day.
    """

    polynomial: Legendre
    operator: Weights
    slopes: tuple[torch.Tensor, torch.Tensor]
    scale: Vector

    def joined(self, start: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """Return `(1 - b) start + b P_s start` from Q_s, of densities and of their derivatives (..., B, n)."""
        share = self.polynomial.share
        kept, new = column(1.0 - share, start), column(share / self.polynomial.scale, start)
        return join(start, last, kept, new, self.operator.fused)


def couplings(stencil: Stencil, rates: Vector) -> Couplings:
    """Return the operator for rates (B, 3), of which D_w and D_g count."""
    like = stencil.white
    white, grey = (torch.as_tensor(rates[:, k], dtype=like.dtype, device=like.device) for k in (0, 1))
    slopes = stencil.slopes(white, grey)
    edges = white[:, None, None] * slopes[0] + grey[:, None, None] * slopes[1]
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


def change(by: Diffusion, rates: Vector, d_rates: Vector, tau: Vector, d_tau: Vector) -> tuple[Vector, Vector, Vector]:
    """Return the changes (R, B) of the couplings in units of E_w and E_g, and of ln b.

    The couplings are `w tau (D_w E_w + D_g E_g)`, and ln w moves with ln mu = ln(D_w tau / h^2).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        d_spread = np.where(rates[:, 0] > 0.0, d_rates[:, :, 0] / rates[:, 0], 0.0) + d_tau / tau
    bent = by.polynomial.bend * d_spread
    longer = d_tau / tau + bent
    white, grey = (by.scale * (d_rates[:, :, k] + rates[:, k] * longer) for k in (0, 1))
    return white, grey, -bent


def diffuse_tangent(
    by: Diffusion, u: torch.Tensor, du: torch.Tensor, moved: tuple[Vector, Vector, Vector]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the density after the diffusion step from u (B, n) and its derivatives (R, B, n)."""
    after, stages = diffuse_stages(by, u)
    strides = by.operator.strides
    pairs = zip(by.slopes, moved[:2], strict=True)
    slopes = [
        (weights(strides, slope, 0.0, by.operator.fused), column(amount, du)) for slope, amount in pairs if amount.any()
    ]
    before, now = du.clone(), torch.zeros_like(du)
    for number, factor in enumerate(by.polynomial.factors):
        target, source = (now, du) if number == 0 else (before, now)
        accumulate(target, source, by.operator, factor)
        for slope, amount in slopes:
            forcing = torch.zeros_like(u)
            accumulate(forcing, stages[number], slope, factor)
            target.addcmul_(amount, forcing)
        if number > 0:
            before, now = now, target
    result = by.joined(du, now)
    if moved[2].any():
        # d ln b (b P_s u - b u), which is d ln b times what the step changes
        result.addcmul_(column(moved[2], du), after - u)
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
    white, grey = ((edges * slope).sum(dim=(1, 2)).cpu().numpy().astype(float) * by.scale for slope in by.slopes)
    total = rates[:, 0] * white + rates[:, 1] * grey
    bent = by.polynomial.bend * (total - by.polynomial.share * share.cpu().numpy().astype(float))
    by_exposure = growth.cpu().numpy().astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_white = white + np.where(rates[:, 0] > 0.0, bent / rates[:, 0], 0.0)
    by_rates = np.stack([by_white, grey, 0.5 * tau * by_exposure], axis=1)
    return by_rates, (total + bent) / tau + 0.5 * rates[:, 2] * by_exposure
