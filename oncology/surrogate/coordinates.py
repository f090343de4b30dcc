"""Coordinates in which grown tumours are nearly low-dimensional: similarity variables and log-odds of the density.

Fisher-KPP from a seed of given centre and radius depends on (D_w, D_g, rho, t) through `sqrt(D_w/rho)`, `D_g/D_w` and
`rho t` alone, here as the way `2 sqrt(D_w rho) t` of a free front. The log-odds `z = ln((u + d) / (1 - u + d))` of a
travelling front are nearly linear in the distance, so that a moving front is a small move of z and not of u.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

__all__ = ["SIMILARITY", "density_of", "density_slope", "odds_of", "similarity", "similarity_slopes"]

Vector = NDArray[np.float64]

SIMILARITY = ("ln_length", "ln_diffusion_ratio", "seed_x", "seed_y", "seed_z", "seed_radius", "reach")
"""ln sqrt(D_w/rho) (of mm), ln D_g/D_w, seed and its radius (mm), way 2 sqrt(D_w rho) t of a free front (mm)."""

# d: below this density a tail is of no interest and the solver's own error shows.
_FLOOR = 3e-3


def similarity(parameters: Vector, day: float) -> Vector:
    """Return the variables of `SIMILARITY`, (7,), of a parameter vector (`model.tumour.PARAMETERS`) on a day."""
    white, grey, growth, *seed, onset, radius = (float(value) for value in parameters)
    reach = 2.0 * np.sqrt(white * growth) * (day - onset)
    return np.array([0.5 * np.log(white / growth), np.log(grey / white), *seed, radius, reach])


def similarity_slopes(parameters: Vector, day: float) -> Vector:
    """Return the derivative of `similarity` by the parameters, (7, 8)."""
    white, grey, growth, onset = (float(parameters[k]) for k in (0, 1, 2, 6))
    speed = 2.0 * np.sqrt(white * growth)
    reach = speed * (day - onset)
    slopes = np.zeros((7, 8))
    slopes[0, [0, 2]] = 0.5 / white, -0.5 / growth
    slopes[1, [0, 1]] = -1.0 / white, 1.0 / grey
    slopes[2:5, 3:6] = np.eye(3)
    slopes[5, 7] = 1.0
    slopes[6, [0, 2, 6]] = 0.5 * reach / white, 0.5 * reach / growth, -speed
    return slopes


def odds_of(density: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the log-odds z of densities, which are clipped to 0..1."""
    inside = np.clip(density, 0.0, 1.0)
    return np.asarray(np.log((inside + _FLOOR) / (1.0 - inside + _FLOOR)))


def density_of(odds: Vector) -> Vector:
    """Return the density of log-odds z: the inverse of `odds_of`."""
    return np.asarray((1.0 + 2.0 * _FLOOR) * expit(odds) - _FLOOR)


def density_slope(odds: Vector) -> Vector:
    """Return the derivative of `density_of`."""
    share = expit(odds)
    return np.asarray((1.0 + 2.0 * _FLOOR) * share * (1.0 - share))
