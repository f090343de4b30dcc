"""The seed of a tumour: its density at onset, `u(x, onset) = A exp(-|x - s|^2 / (2 w^2))` .

Its position s is one of the unknowns of every engine, so the derivative by s stands beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["Seed"]


@dataclass(frozen=True)
class Seed:
    """Initial density of a tumour.

    Attributes:
        amplitude: density at the centre, 0..1.
        width: standard deviation, mm.
    """

    amplitude: float = 0.5
    width: float = math.sqrt(10.0)

    def density(self, points: np.ndarray, centre: np.ndarray) -> np.ndarray:
        """Return the density at points (n, d), mm."""
        squared = ((points - centre) ** 2).sum(axis=1)
        return np.asarray(self.amplitude * np.exp(-0.5 * squared / self.width**2))

    def slope(self, points: np.ndarray, centre: np.ndarray) -> np.ndarray:
        """Return the derivative of the density by the centre, (n, d), 1/mm."""
        return np.asarray(self.density(points, centre)[:, None] * (points - centre) / self.width**2)
