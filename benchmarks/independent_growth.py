"""Growth of a tumour by explicit finite volumes: a reference that shares no code with the package it judges.

`u_t = div(D grad u) + rho u (1 - u)` without flux out of the tissue, where D is constant in every voxel of an image.
Voxels are divided into cells that resolve the front; between two voxels the flux is that of the harmonic mean, which is
exact for constant D on either side. Time steps are those of the stabilised explicit Runge-Kutta-Chebyshev method of
second order (Sommeijer, Shampine and Verwer, J. Comput. Appl. Math. 88, 1998), their number of stages by Gershgorin's
bound. Only the voxels around the tumour are computed: those with a density above 1e-5 and their neighbourhood.
"""

from __future__ import annotations

import ctypes
import math
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["Density", "Medium", "cells_per_edge", "compact_seed", "march"]

type Floats = NDArray[np.floating]
type Coefficients = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]  # inner, wall, beside
type Seed = Callable[[Floats], Floats]

_ACTIVE = 1e-5  # density above which a voxel and its neighbourhood are computed
_TINY = 1e-25  # below this a density is zero: single precision would become slow
_REACH = 4.0  # mm of tissue around the active voxels
_DAMPING = 2.0 / 13.0
_PACE = 0.1  # a time step in units of 1/rho
_FRONT = 0.6  # edge of a cell in units of the narrowest front, sqrt(D_g/rho)


@dataclass(frozen=True, eq=False)
class Medium:
    """Tissue in which a tumour grows.

    Attributes:
        diffusivity: D of each voxel, mm^2/day; zero where there is no tissue.
        proliferation: rho, 1/day.
        spacing: edge of the voxels, mm.
        parts: cells per edge of a voxel.
    """

    diffusivity: NDArray[np.float64]
    proliferation: float
    spacing: float
    parts: int = 1

    @property
    def cell(self) -> float:
        """Edge of a cell, mm."""
        return self.spacing / self.parts


@dataclass(frozen=True, eq=False)
class Density:
    """A density on the cells of some voxels, zero elsewhere.

    Attributes:
        medium: where it lives.
        voxels: (n, 3) indices of the voxels.
        values: (n, parts^3) density of their cells, the last axis running fastest.
    """

    medium: Medium
    voxels: NDArray[np.int64]
    values: NDArray[np.float32]

    def volume(self, threshold: float) -> float:
        """Return the volume above a threshold, mm^3."""
        return float(np.count_nonzero(self.values > threshold)) * self.medium.cell**3

    def centres(self) -> NDArray[np.float32]:
        """Return the density at the centres of all voxels, the mean of the cells that touch the centre."""
        n = self.medium.parts
        middle = slice((n - 1) // 2, n // 2 + 1)
        cells = self.values.reshape(-1, n, n, n)[:, middle, middle, middle]
        image = np.zeros(self.medium.diffusivity.shape, np.float32)
        image[tuple(self.voxels.T)] = cells.mean(axis=(1, 2, 3))
        return image

    def at(self, points: Floats) -> NDArray[np.float32]:
        """Return the density of the cells in which points lie; (..., 3) in units of voxels, centres at integers."""
        n, shape = self.medium.parts, self.medium.diffusivity.shape
        cell = np.floor((np.asarray(points) + 0.5) * n).astype(np.int64)
        voxel, part = np.divmod(cell, n)
        inside = ((voxel >= 0) & (voxel < shape)).all(axis=-1)
        number = np.full(shape, -1)
        number[tuple(self.voxels.T)] = np.arange(len(self.voxels))
        row = np.where(inside, number[tuple(np.moveaxis(np.where(inside[..., None], voxel, 0), -1, 0))], -1)
        found = self.values[row, np.ravel_multi_index(tuple(np.moveaxis(part, -1, 0)), (n, n, n))]
        return np.where(row >= 0, found, np.float32(0.0))


def compact_seed(radius: float, amplitude: float = 0.5) -> Seed:
    """Return `amplitude (1 - r^2/radius^2)_+^2` as a function of r^2, mm^2."""
    return lambda squared: amplitude * np.maximum(1.0 - squared / radius**2, 0.0) ** 2


def cells_per_edge(spacing: float, diffusion_grey: float, proliferation: float, finest: float = 0.25) -> int:
    """Return how many cells an edge of a voxel needs for the front in grey matter.

    A cell of edge h makes a front faster by about (h/l)^2/24, l = sqrt(D_g/rho): 1.5 % at 0.6 l.

    Args:
        spacing: edge of the voxels, mm.
        diffusion_grey: D_g, mm^2/day.
        proliferation: rho, 1/day.
        finest: edge below which cells are not made, mm.
    """
    edge = min(max(_FRONT * math.sqrt(diffusion_grey / proliferation), finest), 1.0)
    return math.ceil(spacing / edge - 1e-9)


def march(medium: Medium, seed: Seed, place: Floats, pace: float = _PACE) -> Iterator[tuple[float, Density]]:
    """Grow a tumour for ever, one time step at a time.

    Args:
        medium: the tissue.
        seed: initial density by the squared distance from `place`, mm^2.
        place: in units of voxels, centres at integers, (3,).
        pace: time step in units of 1/rho.

    Yields:
        Day since the seed and density, the seed itself first.
    """
    step = pace / medium.proliferation
    density = _seeded(medium, seed, np.asarray(place, dtype=float))
    day = 0.0
    while True:
        density = _activated(density)
        edge = _edge(density)
        coefficients, radius = _coefficients(density)
        stages = _stages(step * (radius + medium.proliferation))
        while edge.size == 0 or density.values[edge].max() <= _ACTIVE:
            yield day, density
            values = _chebyshev_step(
                density.values.ravel(), coefficients, medium.parts, medium.proliferation, step, stages
            )
            density = Density(medium, density.voxels, values.reshape(density.values.shape))
            day += step


def _seeded(medium: Medium, seed: Seed, place: Floats) -> Density:
    """Return the initial density on the voxels where it is not zero."""
    n = medium.parts
    voxels = np.argwhere(medium.diffusivity > 0.0)
    voxels = voxels[np.linalg.norm(voxels - place, axis=1) * medium.spacing < 40.0]
    part = (np.moveaxis(np.indices((n, n, n)), 0, -1).reshape(-1, 3) + 0.5) / n - 0.5
    squared = (((voxels[:, None] + part - place) * medium.spacing) ** 2).sum(axis=-1)
    values = seed(squared).astype(np.float32)
    some = values.max(axis=1) > 0.0
    return Density(medium, voxels[some], values[some])


def _activated(density: Density) -> Density:
    """Return the same density with the tissue around what grows."""
    medium = density.medium
    shape, size = medium.diffusivity.shape, medium.parts**3
    steps = max(1, round(_REACH / medium.spacing))
    voxels = density.voxels
    low = np.maximum(voxels.min(axis=0) - steps - 1, 0)
    high = np.minimum(voxels.max(axis=0) + steps + 2, shape)
    box = np.zeros(high - low, dtype=bool)
    box[tuple((voxels[density.values.max(axis=1) > _ACTIVE] - low).T)] = True
    box = ndimage.binary_dilation(box, iterations=steps)
    box &= medium.diffusivity[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] > 0.0
    box[tuple((voxels - low).T)] = True
    number = np.full(box.shape, -1)
    active = np.argwhere(box)
    number[tuple(active.T)] = np.arange(len(active))
    values = np.zeros((len(active), size), np.float32)
    values[number[tuple((voxels - low).T)]] = density.values
    return Density(medium, active + low, values)


def _neighbours(density: Density, axis: int, side: int, every: bool = False) -> NDArray[np.int64]:
    """Return the number of each voxel's neighbour; -1: none, -2 (only with `every`): tissue that is not computed."""
    low = density.voxels.min(axis=0) - 1
    number = np.full(density.voxels.max(axis=0) - low + 2, -1)
    number[tuple((density.voxels - low).T)] = np.arange(len(density.voxels))
    beside = density.voxels.copy()
    beside[:, axis] += side
    found = number[tuple((beside - low).T)]
    if every:
        shape = density.medium.diffusivity.shape
        inside = (beside[:, axis] >= 0) & (beside[:, axis] < shape[axis])
        beside[~inside] = 0
        tissue = inside & (density.medium.diffusivity[tuple(beside.T)] > 0.0)
        found = np.where((found < 0) & tissue, -2, found)
    return found


def _edge(density: Density) -> NDArray[np.int64]:
    """Return the voxels beside tissue that is not computed."""
    open_ = [(_neighbours(density, axis, side, True) == -2) for axis in range(3) for side in (-1, 1)]
    return np.flatnonzero(np.any(open_, axis=0))


def _coefficients(density: Density) -> tuple[Coefficients, float]:
    """Return D/h^2 of the voxels (1/day), relative D of their walls, neighbours, and the spectral radius (1/day)."""
    medium = density.medium
    inner = medium.diffusivity[tuple(density.voxels.T)] / medium.cell**2
    beside = np.stack([_neighbours(density, axis, side) for axis in range(3) for side in (-1, 1)], axis=1)
    theirs = np.where(beside >= 0, inner[beside], 0.0)
    wall = 2.0 * inner[:, None] * theirs / (inner[:, None] + theirs)
    arrays = (
        inner.astype(np.float32),
        (wall / inner[:, None]).astype(np.float32),
        np.maximum(beside, 0).astype(np.int32),
    )
    return arrays, 2.0 * float(np.maximum(6.0 * inner, wall.sum(axis=1)).max())


def _stages(product: float) -> int:
    """Return the least number of stages that is stable for a step times the spectral radius."""
    return max(2, math.ceil(math.sqrt(1.0 + product / (2.0 / 3.0 * (1.0 - 2.0 / 15.0 * _DAMPING)))))


def _chebyshev_step(u: Floats, coefficients: Coefficients, parts: int, rho: float, step: float, stages: int) -> Floats:
    """Return the density after one step of the Runge-Kutta-Chebyshev method (Sommeijer et al. 1998, eq. 2.2 to 2.6)."""
    degree = np.arange(stages + 1)
    w0 = 1.0 + _DAMPING / stages**2
    angle = math.acosh(w0)
    t = np.cosh(degree * angle)
    slope = degree * np.sinh(degree * angle) / math.sinh(angle)
    curvature = (degree**2 * t - w0 * slope) / (w0**2 - 1.0)
    w1 = slope[-1] / curvature[-1]
    b = np.empty(stages + 1)
    b[2:] = curvature[2:] / slope[2:] ** 2
    b[:2] = b[2]

    def stage(v: Floats, w: Floats, f: Floats, *factors: float) -> Floats:
        return _stage(coefficients, parts, rho, factors, v, w, u, f)

    first = stage(u, u, u, step, 0.0, 0.0, 0.0, 0.0)
    before, now = u, u + np.float32(b[1] * w1) * first
    for j in range(2, stages + 1):
        mu, nu, pace = 2.0 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2], 2.0 * b[j] * w1 / b[j - 1]
        gamma = -(1.0 - b[j - 1] * t[j - 1]) * pace
        before, now = now, stage(now, before, first, pace * step, mu, nu, 1.0 - mu - nu, gamma)
    now[now < _TINY] = 0.0
    return now


def _stage(
    coefficients: Coefficients, parts: int, rho: float, factors: Sequence[float], *vectors: Floats
) -> NDArray[np.float32]:
    """Call `stage` of independent_growth.c."""
    inner, wall, beside = coefficients
    result = np.empty_like(vectors[0])
    arrays = [np.ascontiguousarray(a) for a in (inner, wall, beside, np.array(factors, np.float32), *vectors)]
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*arrays, result)]
    _kernel(parts).stage(ctypes.c_long(len(inner)), *pointers[:3], ctypes.c_float(rho), *pointers[3:])
    return result


@cache
def _kernel(parts: int) -> ctypes.CDLL:
    """Compile independent_growth.c, with the C compiler that DOLFINx needs too."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "independent_growth.so"
        # Not -ffast-math: a library linked with it rounds small numbers to zero in the whole process.
        sums = ["-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math", "-fno-math-errno", "-freciprocal-math"]
        flags = ["-O3", "-march=native", *sums, f"-DN={parts}", "-shared", "-fPIC"]
        source = Path(__file__).with_suffix(".c")
        subprocess.run([os.environ.get("CC", "cc"), *flags, str(source), "-o", str(library)], check=True)
        return ctypes.CDLL(str(library))
