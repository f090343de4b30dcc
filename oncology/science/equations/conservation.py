"""Conservation laws `u_t + g(u)_x = nu u_xx` and the Burgers equation with its exact solutions B1 to B4.

Monotone fluxes (Engquist and Osher, Math. Comp. 36, 1981; Lax and Friedrichs) contract in L1 and converge to the
entropy solution; at shocks the map to the solution is not differentiable in L2, so that derivatives are taken of the
viscous equation. B1 and B3 come from the transform of Hopf (1950) and Cole (1951), B4 from Lax's Riemann problem.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import scipy.special
import torch
from torch import Tensor

from oncology.science.equation import Coefficient, Coefficients
from oncology.science.grid_equation import DiffusiveEquation

__all__ = [
    "ConservationLaw",
    "NumericalFlux",
    "burgers",
    "central",
    "cole_hopf_mode",
    "engquist_osher",
    "lax_friedrichs",
    "riemann",
    "sine_start",
    "viscous_shock",
]

type NumericalFlux = Callable[[Tensor, Tensor], Tensor]
"""Flux through a face from the values of the cells before and behind it."""


def burgers(u: Tensor) -> Tensor:
    """g(u) = u^2 / 2."""
    return 0.5 * u * u


def central(flux: Callable[[Tensor], Tensor]) -> NumericalFlux:
    """`g((a + b) / 2)`: second order, for viscous solutions that the grid resolves."""
    return lambda before, behind: flux(0.5 * (before + behind))


def engquist_osher(before: Tensor, behind: Tensor) -> Tensor:
    """Monotone flux of the Burgers equation, `(max(a, 0)^2 + min(b, 0)^2) / 2`; C1 in a and b."""
    return burgers(before.clamp(min=0.0)) + burgers(behind.clamp(max=0.0))


def lax_friedrichs(flux: Callable[[Tensor], Tensor], speed: float) -> NumericalFlux:
    """`(g(a) + g(b)) / 2 - speed (b - a) / 2`, monotone where speed >= |g'|; smooth, and more diffusive."""
    return lambda before, behind: 0.5 * (flux(before) + flux(behind)) - 0.5 * speed * (behind - before)


@dataclass(frozen=True, eq=False)
class ConservationLaw(DiffusiveEquation):
    """A scalar conservation law on an interval; coefficient "viscosity".

    Attributes:
        grid: cells of the interval.
        flux: numerical flux.
    """

    flux: NumericalFlux
    name: str = "conservation law"

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Viscosity nu."""
        return (Coefficient("viscosity", 1, "1", positive=True),)

    def value(self, u: Tensor, q: Coefficients) -> Tensor:
        """Differences of the fluxes, and viscosity."""
        padded = self.grid.padded(u, 0)
        fluxes = self.flux(padded[..., :-1], padded[..., 1:])
        return q[0] * self.grid.laplacian(u) - self.grid.divergence(fluxes)

    def eigenvalues(self, q: Coefficients) -> Tensor:
        """Nu times those of the Laplacian."""
        return q[0] * self.grid.laplacian_eigenvalues


def cole_hopf_mode(x: Tensor, time: float, viscosity: float, wave: float, amplitude: float) -> Tensor:
    """B1: `2 nu k a e sin kx / (1 + a e cos kx)` with e = exp(-nu k^2 t), |a| < 1; (1, n)."""
    decayed = amplitude * math.exp(-viscosity * wave**2 * time)
    return (2.0 * viscosity * wave * decayed * torch.sin(wave * x) / (1.0 + decayed * torch.cos(wave * x)))[None]


def viscous_shock(x: Tensor, time: float, viscosity: float, speed: float, jump: float) -> Tensor:
    """B2: `c - A tanh(A (x - c t) / (2 nu))`, (1, n)."""
    return (speed - jump * torch.tanh(jump * (x - speed * time) / (2.0 * viscosity)))[None]


def sine_start(x: Tensor, time: float, viscosity: float, terms: int = 60) -> Tensor:
    """B3: solution on (0, 1) with fixed walls at 0 that starts from sin(pi x), by its Fourier-Bessel series; (1, n).

    Args:
        x: positions, (n,).
        time: t > 0.
        viscosity: nu; s = 1 / (2 pi nu) has to stay well below `terms`.
        terms: of the series.
    """
    s = 1.0 / (2.0 * math.pi * viscosity)
    n = np.arange(terms + 1)
    a = np.where(n == 0, 1.0, 2.0) * scipy.special.ive(n, s) * np.exp(-((n * math.pi) ** 2) * viscosity * time)
    phase = math.pi * np.outer(x.numpy(), n)
    value = 2.0 * math.pi * viscosity * (np.sin(phase) @ (n * a)) / (np.cos(phase) @ a)
    return torch.from_numpy(value)[None]


def riemann(x: Tensor, time: float, left: float, right: float) -> Tensor:
    """B4: entropy solution of a jump at 0 without viscosity: shock of speed (l + r) / 2, rarefaction x / t; (1, n)."""
    if left > right:
        return torch.where(x < 0.5 * (left + right) * time, left, right).to(x)[None]
    return (x / time).clamp(left, right)[None]
