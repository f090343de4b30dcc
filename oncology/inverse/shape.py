"""Shape of the tumour where one seed does not explain it: a smooth correction of the density before the first scan.

Real tumours are elongated, lobed or grow from several places. With the rates fixed, the density u(t*) of the single
seed, some growth times before the first scan, becomes `logit u = logit u_seed + sum_i z_i g_i` with Gaussians g_i on
a lattice around the tumour: a few-parameter initial condition in the sense of B4.6 of the specification that stays in
(0, 1). The z_i have a Gaussian prior around zero, so the shape changes only where the segmentations ask for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse
from scipy.spatial import cKDTree

from oncology.inverse.field import FieldForward
from oncology.inverse.misfit import MaskObservation

__all__ = ["GaussianLattice", "ShapeFit", "fit_shape", "lattice_points", "overlap", "reshape_slope", "reshaped"]

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
    forward: FieldForward,
    observations: tuple[MaskObservation, ...],
    rates: Vector,
    density: Vector,
    basis: sparse.csr_array,
    noise: float,
    start: Vector | None = None,
    sharpness: tuple[float | None, ...] = (10.0, 25.0, None),
    iterations: int = 15,
) -> ShapeFit:
    """Fit the heights to the segmentations with the rates fixed (scipy's L-BFGS-B, adjoint gradients).

    Args:
        forward: density at t* to densities at the sessions.
        observations: segmented regions.
        rates: D_w, D_g (mm^2/day) and rho (1/day).
        density: (n,) density of the single seed at t*, at the owned vertices.
        basis: (n, k) values of the Gaussians at the owned vertices.
        noise: variance of a cell's residual times its correlation volume, mm^3.
        start: (k,) heights to start from; None: zero.
        sharpness: of the misfits to go through.
        iterations: most iterations for each of them.
    """
    space = forward.space
    z = np.zeros(basis.shape[1]) if start is None else np.array(start)
    runs = 0

    def cost(z: Vector, sharp: float | None) -> tuple[float, Vector, float]:
        corrected = reshaped(density, basis @ z)
        solution = forward.solve(corrected, rates)
        duals = [np.zeros_like(values) for values in solution.densities]
        misfit = 0.0
        for observation in observations:
            seen = observation.compare(solution.densities[observation.index], observation.level, sharp)
            miss = space.volumes * seen.residual
            misfit += float(miss @ seen.residual)
            duals[observation.index] += miss[:, None] * seen.slopes
        initial, _ = solution.adjoint(tuple(duals))
        sums = space.total(np.concatenate([[misfit], basis.T @ (initial * corrected * (1.0 - corrected))]))
        scaled = z / _PRIOR_SD
        value = 0.5 * sums[0] / noise + 0.5 * float(scaled @ scaled)
        return value, sums[1:] / noise + scaled / _PRIOR_SD, float(sums[0])

    for sharp in sharpness:
        result = optimize.minimize(
            lambda z, sharp=sharp: cost(z, sharp)[:2],
            z,
            jac=True,
            method="L-BFGS-B",
            bounds=[(-_LARGEST, _LARGEST)] * len(z),
            options={"maxiter": iterations, "maxcor": 20, "ftol": 1e-4},
        )
        z, runs = result.x, runs + int(result.nfev)
    return ShapeFit(z, cost(z, None)[2], runs + 1)
