"""Exact solutions of reaction-diffusion equations, to measure the finite-element model against.

Travelling waves of the logistic law (Ablowitz and Zeppetella 1979) and of its generalisation `u (1 - u^q)` (Wang 1988),
the Gaussian of the Gompertz law in any dimension and solutions of the heat equation.
All are plain functions of points and time in mm and day; densities are dimensionless.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["cosine_mode", "gompertz_gaussian", "heat_gaussian", "logistic_wave", "power_wave"]


def logistic_wave(x: np.ndarray, time: float, diffusion: float, proliferation: float, shift: float = 1.0) -> np.ndarray:
    """Wave of `u_t = D u_xx + rho u (1 - u)` with speed `5 sqrt(rho D / 6)`.

    Ablowitz and Zeppetella, Bulletin of Mathematical Biology 41 (1979), equation (12).

    Args:
        x: coordinate along the wave, mm.
        time: day.
        diffusion: D, mm^2/day.
        proliferation: rho, 1/day.
        shift: constant C > 0; u(0, 0) = (1 + C)^-2.
    """
    return power_wave(x, time, diffusion, proliferation, 1.0, shift)


def power_wave(
    x: np.ndarray, time: float, diffusion: float, proliferation: float, power: float, shift: float = 1.0
) -> np.ndarray:
    """Wave of `u_t = D u_xx + rho u (1 - u^q)`, `[1 + C exp(b sqrt(rho/D) x - b c rho t)]^(-2/q)`.

    `b = q / sqrt(2 (q + 2))`, `c = (q + 4) / sqrt(2 (q + 2))`; speed `c sqrt(rho D)`.
    Wang, Physics Letters A 131 (1988).

    Args:
        x: coordinate along the wave, mm.
        time: day.
        diffusion: D, mm^2/day.
        proliferation: rho, 1/day.
        power: q > 0; 1 is the logistic law.
        shift: constant C > 0.
    """
    root = math.sqrt(2.0 * (power + 2.0))
    steepness, speed = power / root, (power + 4.0) / root
    phase = steepness * (math.sqrt(proliferation / diffusion) * np.asarray(x) - speed * proliferation * time)
    return np.asarray((1.0 + shift * np.exp(phase)) ** (-2.0 / power))


def gompertz_gaussian(
    points: np.ndarray, time: float, diffusion: float, proliferation: float, spread: float, log_peak: float
) -> np.ndarray:
    """Gaussian `exp(a(t) - |x|^2 / b(t))` of `u_t = D lap u - rho u ln u` in any dimension.

    `b = (b0 + 4 D / rho) e^(rho t) - 4 D / rho`, `a = e^(-rho t) [a0 - 2 d D / (rho (b0 + 4 D / rho)) ln(b / b0)]`.

    Args:
        points: (n, d) points, mm.
        time: day.
        diffusion: D, mm^2/day.
        proliferation: rho, 1/day.
        spread: b0, mm^2 (twice the variance at the start).
        log_peak: a0 <= 0, logarithm of the density in the centre at the start.
    """
    dimension = points.shape[1]
    rest = 4.0 * diffusion / proliferation
    wide = (spread + rest) * math.exp(proliferation * time) - rest
    fall = 2.0 * dimension * diffusion / (proliferation * (spread + rest)) * math.log(wide / spread)
    height = math.exp(-proliferation * time) * (log_peak - fall)
    return np.asarray(np.exp(height - (points**2).sum(axis=1) / wide))


def heat_gaussian(points: np.ndarray, time: float, diffusion: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Gaussian of `u_t = div(D grad u)` with a constant symmetric D, with unit density in the centre at the start.

    Its covariance is `S + 2 t D` and its integral is constant.

    Args:
        points: (n, d) points, mm.
        time: day.
        diffusion: (d, d) tensor D, mm^2/day.
        covariance: (d, d) covariance S at the start, mm^2.
    """
    wide = covariance + 2.0 * time * diffusion
    height = math.sqrt(np.linalg.det(covariance) / np.linalg.det(wide))
    return np.asarray(height * np.exp(-0.5 * np.einsum("ni,ij,nj->n", points, np.linalg.inv(wide), points)))


def cosine_mode(x: np.ndarray, time: float, diffusion: float, length: float, number: int = 1) -> np.ndarray:
    """Mode `cos(k pi x / L) exp(-D (k pi / L)^2 t)` of the heat equation on [0, L] without flux.

    Args:
        x: coordinate, mm.
        time: day.
        diffusion: D, mm^2/day.
        length: L, mm.
        number: k, half waves in L.
    """
    wave = number * math.pi / length
    return np.asarray(np.cos(wave * np.asarray(x)) * math.exp(-diffusion * wave**2 * time))
