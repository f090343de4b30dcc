"""Forward maps on voxels, seen as P1 functions on tetrahedra between voxel centres.

`SeededVoxels` takes the seven scalars of `oncology.model.cells.PARAMETERS` to densities, `VoxelField` an initial
density and the rates. Vectors hold the tissue voxels, in C order; densities leave as float64 whatever the model
computes in. All seven tangents run as one batch, since an identification asks for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from oncology.model.cells import PARAMETERS, CellSpace
from oncology.model.seed import Seed
from oncology.model.timegrid import TimeGrid
from oncology.voxel.model import VoxelDirections, VoxelModel, VoxelRun

__all__ = ["FieldVoxelRun", "SeededVoxelRun", "SeededVoxels", "VoxelField", "VoxelView"]

Vector = NDArray[np.float64]

_HEADROOM = 2.0


@dataclass(frozen=True)
class VoxelView:
    """Where the tissue voxels of a box lie, and the cells between them.

    Attributes:
        space: tissue voxels as points (p, 3), mm, and tetrahedra between them.
        index: (p,) their place in the flat box.
        voxels: number n of voxels of the box.
    """

    space: CellSpace
    index: torch.Tensor
    voxels: int

    def spread(self, tissue: Vector, like: torch.Tensor) -> torch.Tensor:
        """Return densities (..., p) of the tissue voxels on the box, (..., n), in the precision of `like`."""
        values = torch.as_tensor(tissue, dtype=like.dtype, device=like.device)
        box = like.new_zeros(*values.shape[:-1], self.voxels)
        box[..., self.index] = values
        return box

    def pick(self, box: torch.Tensor) -> Vector:
        """Return densities (..., n) of the box at the tissue voxels, (..., p)."""
        return np.asarray(box[..., self.index].cpu().numpy(), dtype=float)

    def to_cells(self, tissue: Vector) -> Vector:
        """Return densities (p,) at the vertices of each cell, (m, 4)."""
        return tissue[self.space.cells]

    def from_cells(self, duals: Vector) -> Vector:
        """Add up duals at the cell vertices (m, 4) at the tissue voxels: transpose of `to_cells`."""
        return np.bincount(self.space.cells.ravel(), duals.ravel(), minlength=len(self.space.points))


@dataclass(frozen=True)
class SeededVoxelRun:
    """A run from a seed with its linearisation (`oncology.model.cells.Solution`)."""

    model: VoxelModel
    view: VoxelView
    run: VoxelRun
    seed_slope: Vector = field(repr=False)
    densities: tuple[Vector, ...] = field(repr=False)
    _jacobian: list[tuple[Vector, ...]] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def jacobian(self) -> tuple[Vector, ...]:
        """Derivatives (7, p) of the density of each observation day by `PARAMETERS`; kept once it is there."""
        if not self._jacobian:
            count = len(PARAMETERS)
            rates, duration = np.zeros((count, 1, 3)), np.zeros((count, 1))
            rates[[0, 1, 2], 0, [0, 1, 2]] = 1.0
            duration[-1] = -1.0
            initial = np.zeros((count, 1, len(self.seed_slope)))
            initial[3:6, 0] = self.seed_slope.T
            spread = self.view.spread(initial, self.model.stencil.white)
            tangents = self.model.tangent(self.run, VoxelDirections(rates, spread, duration))
            self._jacobian.append(tuple(self.view.pick(du[:, 0]) for du in tangents))
        return self._jacobian[0]

    def tangent(self, direction: Vector) -> tuple[Vector, ...]:
        """Return the derivative of `densities` along a direction in the order of `PARAMETERS`."""
        return tuple(self.view.to_cells(direction @ rows) for rows in self.jacobian)

    def adjoint(self, duals: tuple[Vector, ...]) -> Vector:
        """Return the derivative of `sum <duals, densities>` by the parameters, in the order of `PARAMETERS`."""
        like = self.model.stencil.white
        spread = [self.view.spread(self.view.from_cells(dual), like)[None] for dual in duals]
        derivative = self.model.adjoint(self.run, spread)
        seed = self.seed_slope.T @ self.view.pick(derivative.initial[0])
        return np.concatenate([derivative.rates[0], seed, -derivative.duration])


@dataclass(frozen=True)
class SeededVoxels:
    """Forward map from the seven scalars (`oncology.model.cells.ForwardMap`).

    Attributes:
        model: discrete growth model.
        view: tissue voxels and cells.
        grid: time grid; a solve only moves its onset.
        seed: shape of the seed.
        least: fewest stages of the diffusion steps of each interval.
    """

    model: VoxelModel
    view: VoxelView
    grid: TimeGrid
    seed: Seed = field(default_factory=Seed)
    least: tuple[int, ...] | None = None

    @classmethod
    def around(cls, parameters: Vector, model: VoxelModel, view: VoxelView, grid: TimeGrid, seed: Seed) -> SeededVoxels:
        """Return the map that is smooth around a parameter vector: stages for diffusivities up to twice as large."""
        least = model.stages(_HEADROOM * np.asarray(parameters[:3], dtype=float), grid)
        return cls(model, view, grid, seed, least)

    @property
    def space(self) -> CellSpace:
        """The cells on which densities are given."""
        return self.view.space

    def solve(self, parameters: Vector) -> SeededVoxelRun:
        """Return the run for a parameter vector (mm^2/day, mm^2/day, 1/day, mm, mm, mm, day).

        Raises:
            NumericalError: if the rates are not finite.
        """
        points, centre = self.view.space.points, np.asarray(parameters[3:6], dtype=float)
        initial = self.view.spread(self.seed.density(points, centre), self.model.stencil.white)
        grid = self.grid.from_onset(float(parameters[6]))
        run = self.model.run(np.asarray(parameters[None, :3], dtype=float), initial[None], grid, least=self.least)
        densities = tuple(self.view.to_cells(self.view.pick(u[0])) for u in run.observations)
        return SeededVoxelRun(self.model, self.view, run, self.seed.slope(points, centre), densities)


@dataclass(frozen=True)
class FieldVoxelRun:
    """A run from an initial density (`oncology.inverse.field.FieldSolution`)."""

    model: VoxelModel
    view: VoxelView
    run: VoxelRun
    densities: tuple[Vector, ...] = field(repr=False)

    def tangent(self, initial: Vector, rates: Vector) -> tuple[Vector, ...]:
        """Return the derivative of `densities` along a direction of initial density (p,) and rates (3,)."""
        spread = self.view.spread(initial, self.model.stencil.white)[None, None]
        directions = VoxelDirections(np.asarray(rates, dtype=float)[None, None], spread, np.zeros((1, 1)))
        return tuple(self.view.to_cells(self.view.pick(du[0, 0])) for du in self.model.tangent(self.run, directions))

    def adjoint(self, duals: tuple[Vector, ...]) -> tuple[Vector, Vector]:
        """Return the derivatives of `sum <duals, densities>` by the initial density (p,) and the rates (3,)."""
        like = self.model.stencil.white
        spread = [self.view.spread(self.view.from_cells(dual), like)[None] for dual in duals]
        derivative = self.model.adjoint(self.run, spread)
        return self.view.pick(derivative.initial[0]), derivative.rates[0]


@dataclass(frozen=True)
class VoxelField:
    """Forward map of an initial density (`oncology.inverse.field.FieldForward`).

    Attributes:
        model: discrete growth model.
        view: tissue voxels and cells.
        grid: time grid from onset to the last observation.
    """

    model: VoxelModel
    view: VoxelView
    grid: TimeGrid

    @property
    def space(self) -> CellSpace:
        """The cells on which densities are given."""
        return self.view.space

    def solve(self, initial: Vector, rates: Vector) -> FieldVoxelRun:
        """Return the run from an initial density (p,) with D_w, D_g (mm^2/day) and rho (1/day).

        Raises:
            NumericalError: if the rates are not finite.
        """
        spread = self.view.spread(initial, self.model.stencil.white)
        run = self.model.run(np.asarray(rates, dtype=float)[None], spread[None], self.grid)
        return FieldVoxelRun(
            self.model, self.view, run, tuple(self.view.to_cells(self.view.pick(u[0])) for u in run.observations)
        )
