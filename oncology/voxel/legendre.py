"""The polynomial of a diffusion step: second-order Runge-Kutta-Legendre super time stepping with less dispersion.

`u+ = (1 - b) u + b P_s(1 + w tau L) u` with the Legendre polynomial P_s agrees with `exp(tau L)` to second order and is
stable for `tau |L| <= 2 / w`, which grows like s^2 (Meyer, Balsara and Aslam, Journal of Computational Physics 257,
2014, section 2.2). The second-order coefficient is `p = 1/2 - kappa / mu`, `mu = D_w tau / h^2`, instead of 1/2: in
white matter that cancels the mean over directions of the leading error `h^2/12 sum_i d_i^4` of the voxel stencil, as
the corrected mass does on tetrahedra, at no cost. Every coefficient is given with its slope by ln mu.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DISPERSION", "Legendre", "legendre"]

Vector = NDArray[np.float64]

# Mean over directions of sum_i k_i^4 / |k|^4 over 12: the fraction of h^2 |k|^2 that the stencil loses, by dimension.
DISPERSION = {1: 1.0 / 12.0, 2: 1.0 / 16.0, 3: 1.0 / 20.0}
# p stays above 1/4, where b reaches 1: corrections above half of this bend smoothly towards it.
_MOST = 0.25


@dataclass(frozen=True)
class Legendre:
    """Coefficients of one step for a batch of B runs.

    Attributes:
        stages: s, odd, so that the shortest waves are damped.
        weight: (B,) w.
        share: (B,) b.
        bend: (B,) slope of ln w by ln mu; that of ln b is its negative.
        factors: a_1..a_s with `Q_j = Q_(j-2) + a_j (1 + w tau L) Q_(j-1)` and Q_j a multiple of P_j u.
        scale: Q_s = scale P_s u.
    """

    stages: int
    weight: Vector
    share: Vector
    bend: Vector
    factors: tuple[float, ...]
    scale: float


def legendre(stiffness: Vector, spread: Vector, dimension: int, corrected: bool = True, least: int = 3) -> Legendre:
    """Return the polynomial for a step.

    Args:
        stiffness: (B,) bound of the largest eigenvalue of `-tau L`.
        spread: (B,) mu = D_w tau / h^2.
        dimension: of space.
        corrected: cancel the stencil's dispersion in white matter; False: p = 1/2.
        least: fewest stages: where stability asks for no more, the step is a smooth function of its inputs.
    """
    lost, slope = _lost(DISPERSION[dimension] / np.maximum(spread, 1e-300)) if corrected else (0.0 * spread,) * 2
    second = 0.5 - lost
    bend = slope / second
    needed = float((4.0 * second * stiffness).max())
    stages = max(3, least, math.ceil(0.5 * (math.sqrt(9.0 + 4.0 * needed) - 1.0)))
    stages += 1 - stages % 2
    reach = stages * stages + stages - 2
    weight = 8.0 * second / reach
    share = reach / (4.0 * second * stages * (stages + 1))
    # scales s_j with s_j (j - 1) / j = -s_(j-2) turn the three-term recursion into a sum
    scales = [1.0, 1.0]
    for j in range(2, stages + 1):
        scales.append(-scales[j - 2] * j / (j - 1))
    factors = tuple(scales[j] * (2 * j - 1) / (j * scales[j - 1]) for j in range(1, stages + 1))
    return Legendre(stages, weight, share, bend, factors, scales[stages])


def _lost(share: Vector) -> tuple[Vector, Vector]:
    """Return kappa / mu, once differentiably limited, and the slope of its negative by ln mu."""
    half = 0.5 * _MOST
    tail = half**2 / np.maximum(share, half)
    return np.where(share <= half, share, _MOST - tail), np.where(share <= half, share, tail)
