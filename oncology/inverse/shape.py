"""Shape of the tumour where one seed does not explain it: a smooth correction of the density before the first scan.

Real tumours are elongated, lobed or grow from several places. With the rates fixed, the density u(t*) of the single
seed, some growth times before the first scan, becomes `logit u = logit u_seed + sum_i z_i g_i` with Gaussians g_i on
a lattice around the tumour: an initial condition of a few parameters that stays in (0, 1). The z_i have a Gaussian
prior around zero, so the shape changes only where the segmentations ask for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from oncology.inverse.maps import Change, Inputs
from oncology.inverse.misfit import MaskObservation
from oncology.inverse.observe import FixedData
from oncology.inverse.priors import GaussianPrior
from oncology.inverse.problem import InverseProblem
from oncology.model.cells import CellSpace
from oncology.model.engine import Engine
from oncology.model.tumour import Tumour, TumourChange

__all__ = [
    "GaussianLattice",
    "LatticeMap",
    "Shape",
    "ShapeFit",
    "fit_shape",
    "lattice_points",
    "overlap",
    "reshape_slope",
    "reshaped",
]

Vector = NDArray[np.float64]

_PRIOR_SD = 3.0  # of a Gaussian's height, log-odds
_LARGEST = 15.0
_REACH = 4.0  # a Gaussian is cut off after so many widths
# Densities are kept this far from 0 and 1, where log-odds end.
_EDGE = 1e-12


@dataclass(frozen=True)
class GaussianLattice:
    """Gaussians of unit height on a lattice.

    Attributes:
        centres: (k, 3) positions, mm.
        width: standard deviation, mm.
    """

    centres: Vector
    width: float

    def basis(self, points: Vector) -> sparse.csr_array:
        """Return the values of all Gaussians at points (n, 3), (n, k)."""
        pairs = cKDTree(points).sparse_distance_matrix(
            cKDTree(self.centres), _REACH * self.width, output_type="coo_matrix"
        )
        pairs.data = np.exp(-0.5 * (pairs.data / self.width) ** 2)
        return sparse.csr_array(pairs)


@dataclass(frozen=True)
class Shape:
    """A correction of the single seed's density.

    Attributes:
        day: day on which it acts.
        lattice: Gaussians.
        heights: (k,) their heights, log-odds.
    """

    day: float
    lattice: GaussianLattice
    heights: Vector


@dataclass(frozen=True, eq=False)
class LatticeMap:
    """Heights of Gaussians as unknowns (`oncology.inverse.maps.ParameterMap`); every rank holds all of them.

    Attributes:
        tumour: rates, and the day of the correction as onset.
        density: (n,) density of the single seed on that day, at the owned vertices.
        basis: (n, k) values of the Gaussians at the owned vertices.
        total: sum over the ranks.
        start: (k,) first guess.
    """

    tumour: Tumour
    density: Vector
    basis: sparse.csr_array
    total: Callable[[Vector], Vector]
    start: Vector

    @classmethod
    def of(
        cls, lattice: GaussianLattice, space: CellSpace, tumour: Tumour, density: Vector, start: Vector
    ) -> LatticeMap:
        """Return the map of a lattice on the cells of an engine."""
        return cls(tumour, density, lattice.basis(space.owned), space.total, start)

    @property
    def prior(self) -> GaussianPrior:
        """Independent heights around zero."""
        return GaussianPrior(np.zeros(len(self.start)), np.full(len(self.start), _PRIOR_SD))

    def corrected(self, x: Vector) -> Vector:
        """Return the corrected density, (n,)."""
        return reshaped(self.density, self.basis @ x)

    def apply(self, x: Vector, inputs: Inputs) -> Inputs:
        """Return the inputs with the corrected density."""
        return replace(inputs, tumour=replace(self.tumour, initial=self.corrected(x)))

    def tangent(self, x: Vector, dx: Vector) -> Change:
        """Return the change of the corrected density."""
        corrected = self.corrected(x)
        return Change(TumourChange(initial=corrected * (1.0 - corrected) * (self.basis @ dx)))

    def adjoint(self, x: Vector, derivative: Change) -> Vector:
        """Return the derivative by the heights."""
        corrected, initial = self.corrected(x), derivative.tumour.initial
        assert initial is not None
        return self.total(self.basis.T @ (initial * corrected * (1.0 - corrected)))


@dataclass(frozen=True)
class ShapeFit:
    """Outcome of a shape fit.

    Attributes:
        heights: (k,) height of every Gaussian, log-odds.
        misfit: sum over regions of the integral of the squared difference, mm^3.
        runs: forward-and-adjoint runs.
    """

    heights: Vector
    misfit: float
    runs: int


def lattice_points(lower: Vector, upper: Vector, spacing: float) -> Vector:
    """Return the points (k, 3) of a cubic lattice in a box, mm; the same lattice whatever the box."""
    axes = [
        np.arange(np.ceil(a / spacing), np.floor(b / spacing) + 1) * spacing for a, b in zip(lower, upper, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def overlap(volumes: Vector, model: Vector, mask: Vector) -> tuple[float, float]:
    """Return this rank's two sums of the Dice overlap `2 int min / int (f + m)` of cell fractions, mm^3."""
    return float(2.0 * volumes @ np.minimum(model, mask)), float(volumes @ (model + mask))


def reshaped(density: Vector, correction: Vector) -> Vector:
    """Return the density whose log-odds are those of `density` plus a correction."""
    kept = np.clip(density, _EDGE, 1.0 - _EDGE)
    return np.asarray(1.0 / (1.0 + np.exp(-(np.log(kept / (1.0 - kept)) + correction))))


def reshape_slope(density: Vector, corrected: Vector) -> Vector:
    """Return the derivative of `reshaped` by the density, given its outcome (0 where the density was cut off)."""
    inside = (density > _EDGE) & (density < 1.0 - _EDGE)
    kept = np.where(inside, density, 0.5)
    return np.where(inside, corrected * (1.0 - corrected) / (kept * (1.0 - kept)), 0.0)


def fit_shape(
    engine: Engine,
    masks: tuple[MaskObservation, ...],
    days: tuple[float, ...],
    unknowns: LatticeMap,
    noise: float,
    sharpness: tuple[float | None, ...] = (10.0, 25.0, None),
    iterations: int = 15,
) -> ShapeFit:
    """Fit the heights to the segmentations with the rates fixed (SciPy's L-BFGS-B, adjoint gradients).

    Args:
        engine: grows the corrected density.
        masks: segmented regions.
        days: observation days, ascending.
        unknowns: the Gaussians.
        noise: variance of a cell's residual times its correlation volume, mm^3.
        sharpness: of the misfits to go through.
        iterations: most iterations for each of them.
    """
    from scipy.optimize import minimize  # most tumours need no correction

    z, runs, misfit = np.array(unknowns.start), 0, math.nan
    data = FixedData(days, masks)
    for sharp in sharpness:
        problem = InverseProblem(engine, data, unknowns, noise, sharp)

        def cost(z: Vector, problem: InverseProblem = problem) -> tuple[float, Vector]:
            here = problem.evaluate(z)
            return here.value, here.derivative()

        result = minimize(
            cost,
            z,
            jac=True,
            method="L-BFGS-B",
            bounds=[(-_LARGEST, _LARGEST)] * len(z),
            options={"maxiter": iterations, "maxcor": 20, "ftol": 1e-4},
        )
        z, runs = result.x, runs + int(result.nfev)
        misfit = problem.evaluate(z).misfit if sharp is sharpness[-1] else misfit
    return ShapeFit(z, misfit, runs + 1)
