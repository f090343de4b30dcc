"""Volumes of the regions over time with their derivatives by the unknowns, taken while tangents pass through the steps.

The linearisation that gives the uncertainty of a fit goes through every step anyway: a look at each of them gives the
intervals of the growth curves without a run of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oncology.inverse.scalars import ScalarMap
from oncology.model.cells import CellSpace
from oncology.model.fractions import volume_fraction

__all__ = ["VolumeCourse", "VolumeWatch", "boundary_level", "local_volume"]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class VolumeCourse:
    """Volumes of the regions over time.

    Attributes:
        days: (nt,) ascending.
        volumes: (nt,) mm^3, by region.
        slopes: (nt, n) derivatives by the unknowns, mm^3, by region.
        density: (owned,) density on the last day.
        moved: (n, owned) its derivatives by the unknowns.
    """

    days: Vector
    volumes: Mapping[str, Vector]
    slopes: Mapping[str, Vector]
    density: Vector = field(repr=False)
    moved: Vector = field(repr=False)


class VolumeWatch:
    """Takes volumes and their derivatives at every call: the `record` of tangents along all unknowns."""

    def __init__(self, space: CellSpace, levels: Mapping[str, tuple[float, Vector]]) -> None:
        """Start with nothing.

        Args:
            space: cells of this rank.
            levels: density at the boundary of each region, and its derivative by the unknowns (n,).
        """
        self._space, self._levels = space, dict(levels)
        self._days: list[float] = []
        self._rows: list[Vector] = []
        self._last: tuple[Vector, Vector] | None = None

    def __call__(self, day: float, density: Vector, moved: Vector) -> None:
        """Look at the density (owned,) on a day and its derivatives (n, owned); collective."""
        found = [local_volume(self._space, density, moved, *level) for level in self._levels.values()]
        self._days.append(day)
        self._rows.append(np.array([[volume, *slopes] for volume, slopes in found]))
        self._last = density, moved

    def course(self) -> VolumeCourse | None:
        """Return what was seen, None where the engine did not let it be seen (collective)."""
        if self._last is None:
            return None
        sums = self._space.total(np.array(self._rows))
        volumes = {region: sums[:, k, 0] for k, region in enumerate(self._levels)}
        slopes = {region: sums[:, k, 1:] for k, region in enumerate(self._levels)}
        return VolumeCourse(np.array(self._days), volumes, slopes, *self._last)


def boundary_level(unknowns: ScalarMap, x: Vector, region: str, given: float) -> tuple[float, Vector]:
    """Return the density at the boundary of a region and its derivative by the unknowns, (n,).

    Args:
        unknowns: which may hold the density.
        x: their values, (n,).
        region: "whole" or "core".
        given: density that counts where it is not unknown.
    """
    level, slope = unknowns.level(x, region, given)
    raised, column = np.zeros(len(x)), unknowns.level_column(region)
    if column is not None:
        raised[column] = slope
    return level, raised


def local_volume(
    space: CellSpace, density: Vector, moved: Vector, level: float, raised: Vector
) -> tuple[float, Vector]:
    """Return this rank's part of a region's volume, mm^3, and of its derivatives along k directions (collective).

    Args:
        space: cells of this rank.
        density: (owned,).
        moved: (k, owned) its derivatives.
        level: density at the boundary of the region.
        raised: (k,) its derivatives.
    """
    fraction, slopes = volume_fraction(space.to_cells(density), level)
    weighted = space.volumes[:, None] * slopes
    # the fraction depends on density minus level alone
    return float(space.volumes @ fraction), moved @ space.from_cells(weighted) - weighted.sum() * raised
