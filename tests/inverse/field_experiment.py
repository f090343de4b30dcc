"""The reference experiment of fields: a tumour in an elliptic brain, grown by finite volumes for another method.

Finite volumes on cells of half the size, harmonic face diffusivities and explicit Heun steps share nothing with the
package's scheme; the average over blocks of 2^d cells is the density at the block's centre, a vertex of the mesh.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from oncology.fem.discretisation import Discretisation, discretise
from oncology.fem.engine import ModelEngine
from oncology.fem.tumour_model import TumourModel
from oncology.inverse.misfit import VertexDensity
from oncology.model.timegrid import TimeGrid, plan_time_grid
from oncology.model.tumour import Tumour

TUMOUR = Tumour(0.65, 0.13, 0.012, seed=(0.0, 0.0), onset=0.0)


@dataclass(frozen=True)
class Experiment:
    """Brain, tumour and grids; lengths in mm, times in day."""

    brain: tuple[float, ...] = (72.0, 60.0)
    inner: tuple[float, ...] = (48.0, 36.0)
    box: float = 160.0
    tumour: tuple[float, ...] = (98.0, 70.0)
    amplitude: float = 0.6
    width: float = 6.0
    days: tuple[float, ...] = (180.0,)
    size: float = 2.5
    step: float = 3.0

    @property
    def dimension(self) -> int:
        return len(self.brain)

    def initial(self, points: np.ndarray) -> np.ndarray:
        squared = ((points - np.array(self.tumour)) ** 2).sum(axis=-1)
        return self.amplitude * np.exp(-0.5 * squared / self.width**2)

    def inside(self, points: np.ndarray) -> np.ndarray:
        return self._ellipsoid(points, self.brain)

    def white(self, points: np.ndarray) -> np.ndarray:
        """Inner ellipse and patches: the indicator of white matter."""
        x, y = points[..., 0] - 0.5 * self.box, points[..., 1] - 0.5 * self.box
        return self._ellipsoid(points, self.inner) | (np.abs(np.sin(x / 9.0) * np.cos(y / 11.0)) > 0.75)

    def _ellipsoid(self, points: np.ndarray, axes: tuple[float, ...]) -> np.ndarray:
        return (((points - 0.5 * self.box) / np.array(axes)) ** 2).sum(axis=-1) < 1.0

    def centres(self, size: float) -> np.ndarray:
        """Centres of the voxels of the box, (n, ..., n, d)."""
        axis = (np.arange(round(self.box / size)) + 0.5) * size
        return np.stack(np.meshgrid(*[axis] * self.dimension, indexing="ij"), axis=-1)

    def grow(self, rates: Tumour = TUMOUR) -> list[np.ndarray]:
        """Density on the voxels of `size` on each day; nan outside the brain."""
        fine = 0.5 * self.size
        points = self.centres(fine)
        inside = self.inside(points)
        diffusion = np.where(self.white(points), rates.diffusion_white, rates.diffusion_grey) * inside
        u = self.initial(points) * inside
        shown, day = [], 0.0
        for end in self.days:
            steps = math.ceil((end - day) * 2 * self.dimension * rates.diffusion_white / (0.8 * fine**2))
            u = _strang(u, diffusion / fine**2, rates.proliferation, (end - day) / steps, steps)
            day = end
            shown.append(_blocks(np.where(inside, u, np.nan)))
        return shown

    def mesh(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Vertices, simplices, white and grey fractions; vertices are the voxel centres of `size` inside the brain."""
        usable = np.isfinite(_blocks(np.where(self.inside(self.centres(0.5 * self.size)), 0.0, np.nan)))
        cells = _kuhn(usable)
        used, cells = np.unique(cells, return_inverse=True)
        points = self.centres(self.size).reshape(-1, self.dimension)[used]
        cells = cells.reshape(-1, self.dimension + 1)
        # every lattice point inside a simplex stands for the same fraction of its volume
        depth = 8
        parts = np.array([s for s in itertools.product(range(depth + 1), repeat=self.dimension + 1) if sum(s) == depth])
        samples = np.einsum("sk,mkd->msd", (parts + 1.0 / (self.dimension + 1)) / (depth + 1.0), points[cells])
        white = self.white(samples).mean(axis=1)
        return points, cells, white, 1.0 - white

    def engine(self, comm: Any) -> tuple[ModelEngine, TimeGrid]:
        """Finite elements and time steps."""
        return ModelEngine(TumourModel(discretise(comm, *self.mesh()))), plan_time_grid(0.0, self.days, (), self.step)

    def data(self, discretisation: Discretisation) -> list[np.ndarray]:
        """Noise-free densities at the owned vertices on each day."""
        points = discretisation.points[: discretisation.owned]
        index = tuple(np.round(points / self.size - 0.5).astype(int).T)
        return [shown[index] for shown in self.grow()]


@dataclass(frozen=True)
class Noisy:
    """Data with noise, the noise level with the discretisation's part, and the true initial density."""

    data: tuple[VertexDensity, ...]
    level: float
    mismatch: float
    truth: np.ndarray


def noisy(experiment: Experiment, engine: ModelEngine, grid: TimeGrid, fraction: float, seed: int = 2024) -> Noisy:
    """Data with Gaussian noise whose norm is a fraction of the data's, the same on any number of ranks."""
    d = engine.discretisation
    truth = experiment.initial(d.points[: d.owned])
    clean = experiment.data(d)
    run = engine.run(replace(TUMOUR, initial=truth), grid, keep=False)
    generator = np.random.default_rng(seed)
    data, squared, missed, size = [], 0.0, 0.0, 0.0
    for index, (density, predicted) in enumerate(zip(clean, run.densities, strict=True)):
        noise = d.scatter(generator.standard_normal(d.vertex_count))
        norm = math.sqrt(d.integrate(density**2))
        noise *= fraction * norm / math.sqrt(d.integrate(noise**2))
        data.append(VertexDensity(index, d.to_cells(density + noise)))
        squared += (fraction * norm) ** 2
        missed += d.integrate((predicted - density) ** 2)
        size += norm**2
    return Noisy(tuple(data), math.sqrt(squared + missed), math.sqrt(missed / size), truth)


def _strang(u: np.ndarray, diffusion: np.ndarray, rho: float, step: float, steps: int) -> np.ndarray:
    """Half a logistic step, a Heun step of diffusion by face fluxes, half a logistic step; diffusion in 1/day."""
    faces = []
    for axis in range(u.ndim):
        low, high = (diffusion.take(range(a, diffusion.shape[axis] + a - 1), axis=axis) for a in (0, 1))
        with np.errstate(invalid="ignore"):
            faces.append(np.nan_to_num(2.0 * low * high / (low + high)))

    def spread(v: np.ndarray) -> np.ndarray:
        change = np.zeros_like(v)
        for axis, face in enumerate(faces):
            flux = face * np.diff(v, axis=axis)
            pad = [(0, 0)] * v.ndim
            pad[axis] = (1, 1)
            change += np.diff(np.pad(flux, pad), axis=axis)
        return change

    growth = math.expm1(0.5 * rho * step)
    for _ in range(steps):
        u = (1.0 + growth) * u / (1.0 + growth * u)
        first = spread(u)
        u = u + 0.5 * step * (first + spread(u + step * first))
        u = (1.0 + growth) * u / (1.0 + growth * u)
    return u


def _blocks(values: np.ndarray) -> np.ndarray:
    """Mean over blocks of 2^d voxels."""
    shape = [n for size in values.shape for n in (size // 2, 2)]
    return values.reshape(shape).mean(axis=tuple(range(1, 2 * values.ndim, 2)))


def _kuhn(usable: np.ndarray) -> np.ndarray:
    """Kuhn subdivision of every cube whose 2^d corners are usable: flat point indices (m, d + 1)."""
    dimension = usable.ndim
    number = np.arange(usable.size).reshape(usable.shape)
    lower = tuple(slice(0, -1) for _ in range(dimension))
    corner_index = np.array(list(itertools.product((0, 1), repeat=dimension)))
    whole = np.ones([n - 1 for n in usable.shape], dtype=bool)
    for corner in corner_index:
        whole &= usable[tuple(slice(c, n - 1 + c) for c, n in zip(corner, usable.shape, strict=True))]
    base = number[lower][whole]
    strides = np.array([int(np.prod(usable.shape[axis + 1 :])) for axis in range(dimension)])
    cells = []
    for order in itertools.permutations(range(dimension)):
        path = np.concatenate([[0], np.cumsum(strides[list(order)])])
        cells.append(base[:, None] + path)
    return np.concatenate(cells)
