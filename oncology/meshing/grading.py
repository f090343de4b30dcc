"""Where a mesh is fine: a ball of constant edge length around the tumour, coarsening smoothly outside it.

The uniform background lattice is pulled outwards by the radial map x -> c + (x - c) s(|x - c|) with
s(rho) = clip((rho / R)^BETA, 1, far / h), so a lattice edge of length h at the radius rho becomes s h long across the
radius and at most (1 + BETA) s h along it: BETA bounds the anisotropy, and with it the loss in dihedral angle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oncology.errors import MeshError

__all__ = ["Grading"]

type Floats = NDArray[np.float64]

BETA = 0.8  # growth exponent: worst angles after repair stay at their target; 1.0 and above need more repair


@dataclass(frozen=True, eq=False)
class Grading:
    """A ball of fine cells and the size far from it.

    Attributes:
        centre: (3,) centre of the fine ball, RAS mm.
        fine_radius: radius within which cells have the mesh's own size, mm, > 0.
        far_size: edge length approached far away, mm, at least the mesh's own size.

    Raises:
        MeshError: a value is not finite or out of range.

    Example:
        >>> grading = Grading(np.zeros(3), fine_radius=20.0, far_size=4.0)
        >>> grading.sizes([10.0, 1000.0], size=2.0).tolist()
        [2.0, 4.0]
    """

    centre: NDArray[np.float64]
    fine_radius: float
    far_size: float

    def __post_init__(self) -> None:
        """Refuse values that define no map."""
        if np.shape(self.centre) != (3,) or not np.isfinite(self.centre).all():
            raise MeshError(f"grading centre {self.centre} is not a point: give three finite RAS coordinates in mm")
        for name in ("fine_radius", "far_size"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise MeshError(f"grading {name} {value} mm is out of range: give a finite number of mm above 0")

    def require_coarser_than(self, size: float) -> None:
        """Raise MeshError unless `far_size` is at least `size` (mm)."""
        if self.far_size < size:
            raise MeshError(f"grading far_size {self.far_size:g} mm is below the mesh size: give at least {size:g} mm")

    def stretch(self, radius: ArrayLike, size: float) -> Floats:
        """Stretch s at a distance (mm) from the centre *before* the map, 1 .. far_size / size."""
        return np.asarray(np.clip((np.asarray(radius) / self.fine_radius) ** BETA, 1.0, self.far_size / size))

    def outward(self, points: Floats, size: float) -> Floats:
        """Map lattice points (n, 3) of a uniform lattice of edge length `size` to the graded lattice, RAS mm."""
        arm = points - self.centre
        radius = np.sqrt(arm[:, 0] ** 2 + arm[:, 1] ** 2 + arm[:, 2] ** 2)
        return np.asarray(self.centre + arm * self.stretch(radius, size)[:, None])

    def inward(self, radius: ArrayLike, size: float) -> Floats:
        """Distance (mm) from the centre before the map of what lies `radius` (mm) away after it: inverts r = rho s."""
        radius = np.asarray(radius, dtype=float)
        full = self.far_size / size
        growing = (np.maximum(radius, self.fine_radius) * self.fine_radius**BETA) ** (1 / (1 + BETA))
        return np.asarray(np.where(radius <= self.fine_radius, radius, np.maximum(growing, radius / full)))

    def sizes(self, radius: ArrayLike, size: float) -> Floats:
        """Edge length across the radius (mm) at a distance (mm) from the centre *after* the map."""
        return size * self.stretch(self.inward(radius, size), size)
