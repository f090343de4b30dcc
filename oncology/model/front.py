"""Diffusivities of cells that keep the speed of a front which is narrower than a cell, with their exact slopes.

`D_c = m (1 - g + g phi(s))`, `s = rho h^2 / m`, with m the geometric mean over the cell of `D_w p_w + D_g p_g` and
`g = 1 - p_w`. The geometric mean is near to what a mixed cell lets through; the arithmetic mean, its upper bound, lets
fronts run along ribbons of grey matter that are hardly wider than a cell. phi makes up for the speed of a front in a
lumped stencil of spacing h, which is `min_k (4 D/h^2 sinh^2(k h / 2) + rho) / k > 2 sqrt(D rho)`: with phi D in place
of D the two agree. In white matter the corrected mass does that already, hence the weight g.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["TissueCells", "front_factor"]

Vector = NDArray[np.float64]

_LEAST_TISSUE = 1e-3  # of a voxel: the logarithm of what fluid lets through stays finite
_SMALL = 1e-4  # of s, below which the series is exact to rounding
_LARGEST_ROOT = 600.0  # sqrt(s): beyond, sinh overflows and the front does not move at all


def front_factor(s: Vector) -> tuple[Vector, Vector]:
    """Return the factor phi(s) for which a lumped stencil has the speed `2 sqrt(D rho)`, and its derivative by s.

    With x = k h at the minimum over k, `sqrt(s) / 2 = x - tanh(x/2)` and `phi = sqrt(s) / sinh(x)`; x is found by
    Newton's method, whose function is increasing and has one root.

    Args:
        s: `rho h^2 / D`, >= 0, dimensionless, of any shape.
    """
    s = np.asarray(s, dtype=float)
    root = np.clip(np.sqrt(s), np.sqrt(_SMALL), _LARGEST_ROOT)
    x = np.minimum(root, 0.5 * root + 1.0)
    for _ in range(5):
        t = np.tanh(0.5 * x)
        x = x - (x - t - 0.5 * root) / (0.5 + 0.5 * t**2)
    phi = root / np.sinh(x)
    # d ln phi / d ln s = 1/2 - coth(x) dx / d ln s, with dx / d ln s = sqrt(s) / (4 (1/2 + tanh^2(x/2) / 2))
    slope = phi / root**2 * (0.5 - root / np.tanh(x) / (2.0 + 2.0 * np.tanh(0.5 * x) ** 2))
    small = s < _SMALL
    series = 1.0 - s / 12.0 + s**2 / 90.0
    return np.where(small, series, phi), np.where(small, -1.0 / 12.0 + s / 45.0, slope)


@dataclass(frozen=True, eq=False, repr=False)
class TissueCells:
    """What the diffusivities of cells are made of.

    Attributes:
        averaging: (m, v) weights of the voxels of each cell, rows add up to one.
        white: (v,) white-matter fraction of each voxel, 0..1.
        grey: (v,) grey-matter fraction, 0..1; raised where a voxel holds hardly any tissue.
        spacing_squared: (m,) h^2 of the stencil of each cell, mm^2.
        white_mean: (m,) white-matter fraction of each cell.
    """

    averaging: sparse.csr_array
    white: Vector
    grey: Vector
    spacing_squared: Vector
    white_mean: Vector = field(init=False)

    def __post_init__(self) -> None:
        """Keep the logarithm of the diffusivity finite in voxels without tissue."""
        object.__setattr__(self, "grey", np.maximum(self.grey, _LEAST_TISSUE - self.white))
        object.__setattr__(self, "white_mean", self.averaging @ self.white)

    @classmethod
    def of_fractions(cls, white: Vector, grey: Vector, spacing_squared: Vector) -> TissueCells:
        """Return cells of which nothing but their tissue fractions (m,) is known."""
        unit = sparse.eye_array(len(white), format="csr")
        return cls(unit, np.asarray(white, dtype=float), np.asarray(grey, dtype=float), spacing_squared)

    def coefficients(self, white: float, grey: float, proliferation: float) -> Vector:
        """Return the derivatives of the cells' diffusivities D_c by D_w, D_g and rho, (3, m).

        D_c is homogeneous of degree one in the three, so `D_c = (D_w, D_g, rho) @ coefficients`; the first two rows
        are dimensionless, the third is in mm^2.

        Args:
            white: D_w, mm^2/day.
            grey: D_g, mm^2/day.
            proliferation: rho, 1/day.
        """
        diffusivity = white * self.white + grey * self.grey
        mean = np.exp(self.averaging @ np.log(diffusivity))
        weight = 1.0 - self.white_mean
        phi, slope = front_factor(proliferation * self.spacing_squared / mean)
        by_mean = 1.0 - weight + weight * (phi - slope * proliferation * self.spacing_squared / mean)
        by_white, by_grey = (mean * (self.averaging @ (part / diffusivity)) for part in (self.white, self.grey))
        return np.array([by_white * by_mean, by_grey * by_mean, weight * self.spacing_squared * slope])
