"""Shape of the initial density where one seed does not explain a tumour: a lattice of foci with unknown amplitudes.

Real tumours are elongated, lobed or grow from several places. With the rates fixed, the initial density becomes `seed
+ sum_i exp(z_i) g_i` with Gaussians g_i on a lattice inside the tumour: the few-parameter initial condition of B4.6
of the specification (cf. Gholami, Mang and Biros 2016), positive by construction. The Gaussian prior of z holds every
focus below what would be seen at the first scan, so foci appear only where the segmentations ask for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse
from scipy.spatial import cKDTree

from oncology.inverse.field import FieldForward
from oncology.inverse.misfit import MaskObservation

__all__ = ["FocusLattice", "ShapeFit", "fit_shape", "lattice_points", "overlap"]

Vector = NDArray[np.float64]

_PRIOR_SD = 3.0  # of ln amplitude
_LOWEST, _HIGHEST = -18.0, 0.0
_REACH = 4.0  # a Gaussian is cut off after so many widths
# How far below visibility (in ln density) the prior holds a focus.
_HIDDEN = 2.0


@dataclass(frozen=True)
class FocusLattice:
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
        ln_amplitudes: (k,) ln amplitude of every focus.
        misfit: sum over regions of the integral of the squared difference, mm^3.
        runs: forward-and-adjoint runs.
    """

    ln_amplitudes: Vector
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


def fit_shape(
    forward: FieldForward,
    observations: tuple[MaskObservation, ...],
    rates: Vector,
    seed: Vector,
    basis: sparse.csr_array,
    exposure: float,
    noise: float,
    start: Vector | None = None,
    sharpness: tuple[float | None, ...] = (25.0, None),
    iterations: int = 40,
) -> ShapeFit:
    """Fit the amplitudes of the foci to the segmentations with the rates fixed (scipy's L-BFGS-B, adjoint gradients).

    Args:
        forward: initial density to densities at the sessions.
        observations: segmented regions.
        rates: D_w, D_g (mm^2/day) and rho (1/day).
        seed: (n,) density of the main seed at the owned vertices.
        basis: (n, k) values of the foci at the owned vertices.
        exposure: growth rho T from onset to the first session, dimensionless.
        noise: variance of a cell's residual times its correlation volume, mm^3.
        start: (k,) ln amplitudes to start from; None: the prior's.
        sharpness: of the misfits to go through.
        iterations: most iterations for each of them.
    """
    space = forward.space
    prior = -exposure - _HIDDEN
    z = np.full(basis.shape[1], prior) if start is None else np.array(start)
    runs = 0

    def cost(z: Vector, sharp: float | None) -> tuple[float, Vector, float]:
        amplitudes = np.exp(z)
        solution = forward.solve(seed + basis @ amplitudes, rates)
        duals = [np.zeros_like(density) for density in solution.densities]
        misfit = 0.0
        for observation in observations:
            fraction, slope = observation.predict(solution.densities[observation.index], observation.level, sharp)
            miss = space.volumes * (fraction - observation.fractions)
            misfit += float(miss @ (fraction - observation.fractions))
            duals[observation.index] += miss[:, None] * slope
        initial, _ = solution.adjoint(tuple(duals))
        sums = space.total(np.concatenate([[misfit], basis.T @ initial]))
        scaled = (z - prior) / _PRIOR_SD
        value = 0.5 * sums[0] / noise + 0.5 * float(scaled @ scaled)
        return value, amplitudes * sums[1:] / noise + scaled / _PRIOR_SD, float(sums[0])

    for sharp in sharpness:
        result = optimize.minimize(
            lambda z, sharp=sharp: cost(z, sharp)[:2],
            z,
            jac=True,
            method="L-BFGS-B",
            bounds=[(_LOWEST, _HIGHEST)] * len(z),
            options={"maxiter": iterations, "maxcor": 20, "ftol": 1e-5},
        )
        z, runs = result.x, runs + int(result.nfev)
    return ShapeFit(z, cost(z, None)[2], runs + 1)
