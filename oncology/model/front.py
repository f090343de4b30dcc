"""Diffusivities of cells that keep the speed of a front which is narrower than a cell, with their exact slopes.

`D_c = m (1 - g + g phi(s))`, `s = rho h^2 / m`, with m the geometric mean over the cell of `D_w p_w + D_g p_g` and
`g = 1 - p_w`. The geometric mean is near to what a mixed cell lets through; the arithmetic mean, its upper bound, lets
fronts run along ribbons of grey matter that are hardly wider than a cell. phi makes up for the speed of a front in a
lumped stencil of spacing h, which is `min_k (4 D/h^2 sinh^2(k h / 2) + rho) / k > 2 sqrt(D rho)`: with phi D in place
of D the two agree, for old fronts or for those of a given age. In white matter the corrected mass does that already,
hence the weight g.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["FRONT_AGE", "TissueCells", "front_factor"]

Vector = NDArray[np.float64]

# rho t for which fronts have the right speed: tumours are at 5 to 15 when they are scanned. With 15, at cells of 2.5 mm
# and down to sqrt(D/rho) = 0.7 mm, young fronts are slow and old ones fast by about 1 % each.
FRONT_AGE = 15.0
_LEAST_TISSUE = 1e-3  # of a voxel: the logarithm of what fluid lets through stays finite
_NO_DIFFUSION = 1e-200  # mm^2/day: the logarithm stays finite where nothing diffuses
_SMALL = 1e-4  # of s, below which the series is exact to rounding
_LARGEST_ROOT = 600.0  # sqrt(s): beyond, sinh overflows and the front does not move at all


def front_factor(s: Vector, age: float = np.inf) -> tuple[Vector, Vector]:
    """Return the factor phi(s) for which a lumped stencil has the front speed of the equation, and its derivative by s.

    Fronts reach their final speed slowly: at time t after onset they are slower by `3 / (2 k t)`, k the decay ahead of
    the front (Bramson, Memoirs of the AMS 285, 1983; Ebert and van Saarloos, Physica D 146, 2000, section 1.2), and in
    the stencil by more than in the equation, since its k is smaller. With x = k h, `y = x - tanh(x/2)` and
    `c = 3 / (2 age)` the speeds agree where `sqrt(s) = (2 - c) / (1/y - c/x)` and `phi = s / (2 y sinh(x))`. x comes
    from a table and two steps of Newton's method.

    Args:
        s: `rho h^2 / D`, >= 0, dimensionless, of any shape.
        age: `rho t` of the fronts, above 2.25; infinite: they have their final speed `2 sqrt(D rho)`.
    """
    s, late = np.asarray(s, dtype=float), 1.5 / age
    root = np.clip(np.sqrt(s), np.sqrt(_SMALL), _LARGEST_ROOT)
    x = np.interp(root, *_table(late))
    for _ in range(2):
        value, by_x, _ = _root(x, late)
        x = x - (value - root) / by_x
    _, by_x, (y, y_by_x, sinh) = _root(x, late)
    phi = root**2 / (2.0 * y * sinh)
    # d ln phi / d ln s = 1 - d ln(y sinh(x)) / d ln s
    slope = phi / root**2 * (1.0 - 0.5 * root * (y_by_x / y + np.sqrt(1.0 + (1.0 / sinh) ** 2)) / by_x)
    slope = np.where(s > _LARGEST_ROOT**2, 0.0, slope)
    small, near = s < _SMALL, np.minimum(s, _SMALL)
    first = (3.0 * late - 2.0) / (12.0 * (2.0 - late))
    second = (35.0 * late**2 - 96.0 * late + 32.0) / (720.0 * (2.0 - late) ** 2)
    series = 1.0 + near * (first + near * second), first + 2.0 * near * second
    return np.where(small, series[0], phi), np.where(small, series[1], slope)


@cache
def _table(late: float) -> tuple[Vector, Vector]:
    """Return sqrt(s) and x = k h so densely that two steps of Newton's method from between them are exact."""
    x = np.geomspace(0.5 * np.sqrt(_SMALL), _LARGEST_ROOT, 2000)
    return _root(x, late)[0], x


def _root(x: Vector, late: float) -> tuple[Vector, Vector, tuple[Vector, Vector, Vector]]:
    """Return sqrt(s) at x = k h with its derivative, and y, its derivative, and sinh(x)."""
    grown = np.expm1(x)
    tanh = grown / (grown + 2.0)  # of x / 2
    y, y_by_x = x - tanh, 0.5 * (1.0 + tanh**2)
    inverse = 1.0 / y - late / x
    by_x = (2.0 - late) * (y_by_x / y**2 - late / x**2) / inverse**2
    return (2.0 - late) / inverse, by_x, (y, y_by_x, 0.5 * grown * (1.0 + 1.0 / (grown + 1.0)))


@dataclass(frozen=True, eq=False, repr=False)
class TissueCells:
    """What the diffusivities of cells are made of.

    Attributes:
        averaging: (m, v) weights of the voxels of each cell, rows add up to one.
        white: (v,) white-matter fraction of each voxel, 0..1.
        grey: (v,) grey-matter fraction, 0..1; raised where a voxel holds hardly any tissue.
        spacing_squared: (m,) h^2 of the stencil of each cell, mm^2.
        age: of the fronts, `rho t` (`front_factor`).
        white_mean: (m,) white-matter fraction of each cell.
    """

    averaging: sparse.csr_array
    white: Vector
    grey: Vector
    spacing_squared: Vector
    age: float = FRONT_AGE
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
        diffusivity = np.maximum(white * self.white + grey * self.grey, _NO_DIFFUSION)
        mean = np.exp(self.averaging @ np.log(diffusivity))
        weight = 1.0 - self.white_mean
        phi, slope = front_factor(proliferation * self.spacing_squared / mean, self.age)
        by_mean = 1.0 - weight + weight * (phi - slope * proliferation * self.spacing_squared / mean)
        by_white, by_grey = (mean * (self.averaging @ (part / diffusivity)) for part in (self.white, self.grey))
        return np.array([by_white * by_mean, by_grey * by_mean, weight * self.spacing_squared * slope])
