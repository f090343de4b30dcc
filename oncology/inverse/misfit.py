"""Observations of a density on the cells of an engine: model minus data, with derivatives by densities and levels.

The misfit is `sum_c V_c (f_c(u) - m_c)^2` in mm^3, an integral over the brain. For a segmentation m_c is the mask
averaged over the cell and f_c the volume fraction above the threshold (`oncology.model.fractions`); densities and
tracer images are compared as means. A *level* is the number an observation may share with the unknowns: the threshold
of a segmented region, or the scale of a tracer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oncology.errors import ConfigError
from oncology.model.fractions import sigmoid_fraction, volume_fraction

__all__ = [
    "TRACER",
    "CellDensity",
    "DeclaredErrors",
    "MaskObservation",
    "Observation",
    "Seen",
    "TracerObservation",
    "VertexDensity",
]

Vector = NDArray[np.float64]

# Region name of tracer images (FET-PET), which are linear in the density.
TRACER = "tracer"


@dataclass(frozen=True)
class Seen:
    """A residual on the cells of this rank: k numbers for each cell, each of which stands for a k-th of its volume.

    Attributes:
        residual: (m, k) model minus data, dimensionless.
        slopes: (m, k, d + 1) derivatives by the densities at the cell vertices.
        by_level: (m, k) derivative by the observation's level; None: there is none.
    """

    residual: Vector
    slopes: Vector
    by_level: Vector | None = None


@dataclass(frozen=True)
class DeclaredErrors:
    """Standard deviations of what a segmentation may be off by as a whole, which residuals do not show.

    Attributes:
        level: of the density at the boundary, the same error in all sessions.
        bias: of how far the boundary is drawn outwards, mm.
        shift: of the position of the image along each axis, mm.
    """

    level: float = 0.0
    bias: float = 0.0
    shift: float = 0.0


class Observation(Protocol):
    """Data of one day on the cells of this rank."""

    @property
    def region(self) -> str:
        """What is observed: "whole", "core", `TRACER`, or any name of its own."""

    @property
    def index(self) -> int:
        """Number of the observation day, from 0."""

    @property
    def level(self) -> float:
        """Given level: threshold of a region, scale of a tracer; 0 where there is none."""

    def compare(self, densities: Vector, level: float, sharpness: float | None) -> Seen:
        """Return model minus data for densities at the cell vertices (m, d + 1).

        Args:
            densities: (m, d + 1), fraction of the carrying capacity.
            level: the given level, or its estimate.
            sharpness: of the sigmoid that stands for the volume fraction; None: the exact fraction.
        """


@dataclass(frozen=True)
class MaskObservation:
    """A segmented region on one day, as cell fractions.

    Attributes:
        region: "whole" or "core".
        index: number of the observation day.
        level: given density at the boundary of the region, 0..1.
        fractions: (m,) fraction of each cell inside the region, 0..1.
        errors: of the segmentation as a whole.
    """

    region: str
    index: int
    level: float
    fractions: Vector
    errors: DeclaredErrors = DeclaredErrors()

    def compare(self, densities: Vector, level: float, sharpness: float | None) -> Seen:
        """Return the difference of the cell fractions; they depend on density minus threshold alone.

        Raises:
            ConfigError: the exact fraction is asked for on cells that are not tetrahedra.
        """
        if sharpness is None and densities.shape[1] != 4:
            raise ConfigError(
                f"exact volume fractions need tetrahedra, not cells of {densities.shape[1]} vertices: give a sharpness"
            )
        fraction, slopes = self.predict(densities, level, sharpness)
        return Seen((fraction - self.fractions)[:, None], slopes[:, None, :], -slopes.sum(axis=1)[:, None])

    def predict(self, densities: Vector, threshold: float, sharpness: float | None) -> tuple[Vector, Vector]:
        """Return the model's fractions (m,) and their slopes by the densities (m, d + 1)."""
        if sharpness is None:
            return volume_fraction(densities, threshold)
        return sigmoid_fraction(densities, threshold, sharpness)


@dataclass(frozen=True)
class TracerObservation:
    """A tracer image (FET-PET), linear in the density: `mean(u) = scale * uptake` where the tracer tells anything.

    Attributes:
        index: number of the observation day.
        uptake: (m,) uptake above the healthy brain's, in units of its high values in the tumour.
        support: (m,) weight of each cell, 0 where the tracer says nothing.
        level: given scale, density for one unit of uptake.
        region: `TRACER`.
    """

    index: int
    uptake: Vector
    support: Vector
    level: float = 1.0
    region: str = TRACER

    def compare(self, densities: Vector, level: float, sharpness: float | None) -> Seen:
        """Return `support (mean(u) - level * uptake)`; the sharpness does not matter."""
        corners = densities.shape[1]
        residual = self.support * (densities.mean(axis=1) - level * self.uptake)
        slopes = np.repeat((self.support / corners)[:, None], corners, axis=1)
        return Seen(residual[:, None], slopes[:, None, :], -(self.support * self.uptake)[:, None])


@dataclass(frozen=True)
class CellDensity:
    """Mean density of each cell on one day.

    Attributes:
        index: number of the observation day.
        values: (m,) density, fraction of the carrying capacity.
        region: name.
        level: 0, unused.
    """

    index: int
    values: Vector
    region: str = "density"
    level: float = 0.0

    def compare(self, densities: Vector, level: float = 0.0, sharpness: float | None = None) -> Seen:
        """Return the difference of the cell means."""
        corners = densities.shape[1]
        slopes = np.broadcast_to(1.0 / corners, (len(densities), 1, corners))
        return Seen((densities.mean(axis=1) - self.values)[:, None], slopes)


@dataclass(frozen=True)
class VertexDensity:
    """Density at the vertices on one day; the misfit is the integral by lumped mass.

    Attributes:
        index: number of the observation day.
        values: (m, d + 1) density at the vertices of each cell, fraction of the carrying capacity.
        region: name.
        level: 0, unused.
    """

    index: int
    values: Vector
    region: str = "density"
    level: float = 0.0

    def compare(self, densities: Vector, level: float = 0.0, sharpness: float | None = None) -> Seen:
        """Return the differences at the cell vertices."""
        corners = densities.shape[1]
        return Seen(densities - self.values, np.broadcast_to(np.eye(corners), (len(densities), corners, corners)))
