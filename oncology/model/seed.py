"""The seed of a tumour: a ball of cells at onset, `u(x, onset) = a (1 - |x - s|^2 / R^2)_+^2`, zero beyond its edge.

Compact support matters: the tail of a Gaussian reaches across a sulcus, grows for months and fills the next gyrus.
Centre s and radius R are unknowns of every engine, so the derivatives by them stand beside the density. A mesh that
is too coarse for the ball gets a wider one with the same number of cells. A tumour with several foci has such a ball
at each of them; they join as `1 - prod_k (1 - u_k)`, which is smooth and stays in 0..1 where balls overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Seed"]

# Smallest radius that vertices show without losing cells between them, in spacings, and how sharply it takes over.
_SHOWN = 1.3
_SHARP = 8


@dataclass(frozen=True)
class Seed:
    """Initial density of a tumour: once continuously differentiable in space, and in centre and radius.

    Attributes:
        amplitude: density at the centre, 0..1.
        radius: distance R from the centre at which the density has fallen to zero, mm.

    Example:
        >>> Seed(0.5, 6.0).density(np.array([[0.0, 0.0], [3.0, 0.0], [6.0, 0.0]]), np.zeros(2))
        array([0.5    , 0.28125, 0.     ])
    """

    amplitude: float = 0.5
    radius: float = 6.5

    @property
    def width(self) -> float:
        """Standard deviation R / 2 of the Gaussian with the same curvature at the centre, mm."""
        return 0.5 * self.radius

    def density(self, points: np.ndarray, centres: np.ndarray, spacing: float = 0.0) -> np.ndarray:
        """Return the density at points (n, d), mm.

        Args:
            points: where.
            centres: s, (d,), or those of several foci, (k, d), mm.
            spacing: of the points, mm. A ball that falls between them is widened to `(R^8 + (1.3 spacing)^8)^(1/8)`
                and lowered so that its integral stays: by 0.2 % at R = 2.1 spacings, by 9 % at R = 1.3 spacings.
        """
        balls = self._balls(points, centres, spacing)
        return balls[0] if len(balls) == 1 else 1.0 - np.prod(1.0 - balls, axis=0)

    def slopes(self, points: np.ndarray, centres: np.ndarray, spacing: float = 0.0) -> np.ndarray:
        """Return the derivatives of the density by each centre in turn and by the radius, (n, k d + 1), 1/mm."""
        balls = self._balls(points, centres, spacing)
        by_centres, by_radius = [], np.zeros(len(points))
        for number, centre in enumerate(np.atleast_2d(centres)):
            others = np.prod(1.0 - np.delete(balls, number, axis=0), axis=0)[:, None]
            slopes = others * self._ball_slopes(points, centre, spacing)
            by_centres.append(slopes[:, :-1])
            by_radius += slopes[:, -1]
        return np.concatenate([*by_centres, by_radius[:, None]], axis=1)

    def _balls(self, points: np.ndarray, centres: np.ndarray, spacing: float) -> np.ndarray:
        """Return the density of each focus by itself, (k, n)."""
        widened = self._on(spacing, points.shape[1])
        return np.stack([widened.amplitude * widened._inside(points, c) ** 2 for c in np.atleast_2d(centres)])

    def _ball_slopes(self, points: np.ndarray, centre: np.ndarray, spacing: float) -> np.ndarray:
        """Return the derivatives of the density of one ball by its centre and by the radius, (n, d + 1)."""
        d = points.shape[1]
        widened = self._on(spacing, d)
        inside, away = widened._inside(points, centre), (points - centre) / widened.radius
        along = (4.0 * widened.amplitude / widened.radius) * inside[:, None] * away
        stretched = (along * away).sum(axis=1)
        # d ln amplitude = d (1 - c) d ln R and d ln R_widened = c d ln R
        c = (self.radius / widened.radius) ** _SHARP
        lowered = d * (1.0 - c) / self.radius * widened.amplitude * inside**2
        by_radius = c * widened.radius / self.radius * stretched + lowered
        return np.concatenate([along, by_radius[:, None]], axis=1)

    def _on(self, spacing: float, dimension: int) -> Seed:
        """Return the seed that points of a spacing (mm) show."""
        radius = self.radius * float((1.0 + (_SHOWN * spacing / self.radius) ** _SHARP) ** (1.0 / _SHARP))
        return Seed(self.amplitude * (self.radius / radius) ** dimension, radius)

    def _inside(self, points: np.ndarray, centre: np.ndarray) -> np.ndarray:
        """Return `(1 - r^2 / R^2)_+` at points (n, d)."""
        squared = ((points - centre) ** 2).sum(axis=1)
        return np.asarray(np.maximum(1.0 - squared / self.radius**2, 0.0))
