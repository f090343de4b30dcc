"""Reaction-diffusion `u_t = D Laplacian u + rho f(u)` with its exact solutions F1 to F5.

Tumour cell density u as a fraction of the carrying capacity. F1 is the wave of Ablowitz and Zeppetella (Bull. Math.
Biol. 41, 1979), F2 that of Wang (Phys. Lett. A 131, 1988), F3 of the bistable equation (McKean, Adv. Math. 4, 1970),
F4 the Gaussian that Gompertz growth keeps, `exp(a - |x|^2 / b)` with `b' = rho b + 4 D`, F5 exponential growth of the
heat kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from oncology.science.equation import Coefficient, Coefficients
from oncology.science.equations.heat import heat_kernel
from oncology.science.grid_equation import DiffusiveEquation

__all__ = [
    "BistableLaw",
    "ExponentialLaw",
    "GompertzLaw",
    "Law",
    "PowerLaw",
    "ReactionDiffusion",
    "bistable_wave",
    "exponential_kernel",
    "gompertz_gaussian",
    "gompertz_growth",
    "logistic_growth",
    "power_wave",
]


class Law(Protocol):
    """A growth law with its derivative."""

    def rate(self, u: Tensor) -> Tensor:
        """f(u), dimensionless."""

    def slope(self, u: Tensor) -> Tensor:
        """f'(u)."""


@dataclass(frozen=True)
class ExponentialLaw:
    """f(u) = u."""

    def rate(self, u: Tensor) -> Tensor:
        """f(u)."""
        return u

    def slope(self, u: Tensor) -> Tensor:
        """f'(u)."""
        return torch.ones_like(u)


@dataclass(frozen=True)
class PowerLaw:
    """f(u) = u (1 - u^q); q = 1 is the logistic law of Fisher and Kolmogorov, Petrovsky and Piskunov.

    Attributes:
        power: q > 0, a whole number so that undershoots do no harm.
    """

    power: int = 1

    def rate(self, u: Tensor) -> Tensor:
        """f(u)."""
        return u * (1.0 - u**self.power)

    def slope(self, u: Tensor) -> Tensor:
        """f'(u)."""
        return 1.0 - (self.power + 1) * u**self.power


@dataclass(frozen=True)
class BistableLaw:
    """f(u) = u (1 - u) (u - a): below a the density dies out (Allee effect).

    Attributes:
        threshold: a, 0 to 1.
    """

    threshold: float

    def rate(self, u: Tensor) -> Tensor:
        """f(u)."""
        return u * (1.0 - u) * (u - self.threshold)

    def slope(self, u: Tensor) -> Tensor:
        """f'(u)."""
        a = self.threshold
        return -3.0 * u**2 + 2.0 * (1.0 + a) * u - a


@dataclass(frozen=True)
class GompertzLaw:
    """f(u) = -u ln((u + e) / (1 + e)): Gompertz growth, regularised since its slope at 0 is infinite.

    Attributes:
        floor: e > 0, a density too small to matter.
    """

    floor: float = 1e-12

    def _logarithm(self, u: Tensor) -> Tensor:
        return torch.log((u.clamp(min=0.0) + self.floor) / (1.0 + self.floor))

    def rate(self, u: Tensor) -> Tensor:
        """f(u)."""
        return -u * self._logarithm(u)

    def slope(self, u: Tensor) -> Tensor:
        """f'(u)."""
        inside = u.clamp(min=0.0)
        return -self._logarithm(u) - inside / (inside + self.floor)


@dataclass(frozen=True, eq=False)
class ReactionDiffusion(DiffusiveEquation):
    """Growth and spread of a tumour; coefficients "diffusion" and "proliferation".

    Attributes:
        grid: cells, with their walls; mm.
        law: growth law f.
    """

    law: Law = PowerLaw()
    name: str = "reaction-diffusion"

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """D, mm^2/day, and rho, 1/day."""
        return (
            Coefficient("diffusion", 1, "mm^2/day", positive=True),
            Coefficient("proliferation", 1, "1/day", positive=True),
        )

    def value(self, u: Tensor, q: Coefficients) -> Tensor:
        """D times the Laplacian of u, plus rho f(u)."""
        return q[0] * self.grid.laplacian(u) + q[1] * self.law.rate(u)

    def pushforward(self, u: Tensor, q: Coefficients, du: Tensor, dq: Coefficients) -> Tensor:
        """Derivative along state and rates."""
        grown = q[1] * self.law.slope(u) * du + dq[1] * self.law.rate(u)
        return q[0] * self.grid.laplacian(du) + dq[0] * self.grid.laplacian(u) + grown

    def pullback(self, u: Tensor, q: Coefficients, covector: Tensor) -> tuple[Tensor, Coefficients]:
        """Transposed products; the Laplacian is symmetric."""
        state = q[0] * self.grid.laplacian(covector) + q[1] * self.law.slope(u) * covector
        rates = (self.grid.laplacian(u), self.law.rate(u))
        return state, tuple((covector * rate).sum().reshape(1) for rate in rates)

    def eigenvalues(self, q: Coefficients) -> Tensor:
        """D times those of the Laplacian."""
        return q[0] * self.grid.laplacian_eigenvalues


def power_wave(x: Tensor, time: float, diffusion: float, rho: float, power: int = 1, start: float = 0.0) -> Tensor:
    """F1 (power 1) and F2: `[1 + exp(beta sqrt(rho/D) (x - x0) - beta c rho t)]^(-2/q)`, (1, n).

    Args:
        x: positions, (n,), mm.
        time: t, day.
        diffusion: D, mm^2/day.
        rho: proliferation, 1/day.
        power: q of the law.
        start: x0, position at t = 0, mm.
    """
    beta = power / math.sqrt(2.0 * (power + 2.0))
    speed = (power + 4.0) / math.sqrt(2.0 * (power + 2.0))
    phase = beta * math.sqrt(rho / diffusion) * (x - start) - beta * speed * rho * time
    return torch.exp(-2.0 / power * torch.nn.functional.softplus(phase))[None]


def bistable_wave(x: Tensor, time: float, diffusion: float, rho: float, threshold: float) -> Tensor:
    """F3: `1 / (1 + exp(sqrt(rho/2D) (x - sqrt(rho D/2) (1 - 2a) t)))`, (1, n)."""
    speed = math.sqrt(0.5 * rho * diffusion) * (1.0 - 2.0 * threshold)
    return torch.sigmoid(-math.sqrt(0.5 * rho / diffusion) * (x - speed * time))[None]


def gompertz_gaussian(points: Tensor, time: float, diffusion: float, rho: float, width: float, height: float) -> Tensor:
    """F4: `exp(a(t) - |x|^2 / beta(t))`, (1, n).

    Args:
        points: (n, d), mm.
        time: t, day.
        diffusion: D, mm^2/day.
        rho: proliferation, 1/day.
        width: beta(0), mm^2.
        height: a(0) <= 0.
    """
    rest = 4.0 * diffusion / rho
    beta = (width + rest) * math.exp(rho * time) - rest
    drop = 2.0 * points.shape[1] * diffusion / (rho * (width + rest)) * math.log(beta / width)
    return torch.exp(math.exp(-rho * time) * (height - drop) - (points**2).sum(-1) / beta)[None]


def exponential_kernel(points: Tensor, time: float, diffusion: float, rho: float, started: float) -> Tensor:
    """F5: `exp(rho t)` times the heat kernel H1, (1, n)."""
    return math.exp(rho * time) * heat_kernel(points, time, diffusion, started)


def logistic_growth(start: float, time: float, rho: float) -> float:
    """F5, the logistic law without space: `u0 e / (1 - u0 + u0 e)` with e = exp(rho t)."""
    grown = start * math.exp(rho * time)
    return grown / (1.0 - start + grown)


def gompertz_growth(start: float, time: float, rho: float) -> float:
    """F5, Gompertz's law without space: `exp(exp(-rho t) ln u0)`."""
    return math.exp(math.exp(-rho * time) * math.log(start))
