"""Least-squares misfit between segmentations (and tracer images) and a forward map, with its Gauss-Newton linearisation.

`J(x) = 1/(2 s) sum_i int (f_i(u) - m_i)^2 dx + prior`: an integral over the brain in mm^3, so its value converges as
mesh and voxels are refined; `s` (mm^3) turns it into a log-likelihood. The Gauss-Newton matrix is built from one
tangent run an unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from oncology.inverse.forward import ForwardMap, Solution
from oncology.inverse.misfit import MaskObservation
from oncology.inverse.parameters import Parametrisation, Prior
from oncology.optimise import Linearisation

__all__ = ["Identification", "ResidualTable"]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class ResidualTable:
    """Residuals of one observation on the cells of this rank, weighted by the root of the cell volume.

    Attributes:
        residual: (m,) `sqrt(V) (f - m)`, mm^1.5.
        jacobian: (m, n) its derivative by the unknowns.
    """

    residual: Vector
    jacobian: Vector


@dataclass(frozen=True)
class Identification:
    """The inverse problem of one case on one mesh (`oncology.optimise.LeastSquares`).

    Attributes:
        forward: forward map.
        observations: segmented regions.
        parametrisation: meaning of the unknowns.
        prior: prior of the unknowns.
        noise: s, the variance of a cell's residual times its correlation volume, mm^3.
        sharpness: of the sigmoid that stands for the volume fraction; None: the exact fraction.
    """

    forward: ForwardMap
    observations: tuple[MaskObservation, ...]
    parametrisation: Parametrisation
    prior: Prior
    noise: float = 1.0
    sharpness: float | None = None
    _last: list[tuple[Vector, Solution]] = field(default_factory=list, init=False, repr=False, compare=False)

    def with_sharpness(self, sharpness: float | None) -> Identification:
        """Return the same problem with another sharpness."""
        return replace(self, sharpness=sharpness)

    def solve(self, x: Vector) -> Solution:
        """Return the forward run at x; the last one is kept, since a trial that is accepted is linearised next."""
        if not self._last or not np.array_equal(self._last[0][0], x):
            self._last.clear()
            self._last.append((np.array(x), self.forward.solve(self.parametrisation.physical(x))))
        return self._last[0][1]

    def misfit(self, x: Vector) -> float:
        """Return `sum_i int (f_i(u) - m_i)^2 dx`, mm^3."""
        densities = self.solve(x).densities
        squares = [
            self.forward.space.volumes @ (self._observe(x, o, densities[o.index])[0] - o.fractions) ** 2
            for o in self.observations
        ]
        return float(self.forward.space.total(np.array(squares)).sum())

    def evaluate(self, x: Vector, /) -> float:
        """Return J(x)."""
        return 0.5 * self.misfit(x) / self.noise + self.prior.value(x)

    def linearise(self, x: Vector, /) -> Linearisation:
        """Return J(x), its gradient and its Gauss-Newton matrix."""
        size = self.parametrisation.size
        sums = np.zeros((size + 1, size + 1))
        for table in self.tables(x):
            both = np.concatenate([table.jacobian, table.residual[:, None]], axis=1)
            sums += both.T @ both
        sums = self.forward.space.total(sums.ravel()).reshape(sums.shape) / self.noise
        return Linearisation(
            value=0.5 * float(sums[-1, -1]) + self.prior.value(x),
            gradient=sums[:-1, -1] + self.prior.gradient(x),
            hessian=sums[:-1, :-1] + self.prior.precision,
        )

    def tables(self, x: Vector) -> list[ResidualTable]:
        """Return residuals and Jacobian of every observation on the cells of this rank."""
        solution = self.solve(x)
        slopes = self.parametrisation.jacobian(x)
        tangents = [solution.tangent(slopes[:, k]) if slopes[:, k].any() else None for k in range(slopes.shape[1])]
        root = np.sqrt(self.forward.space.volumes)
        tables = []
        for observation in self.observations:
            fraction, slope = self._observe(x, observation, solution.densities[observation.index])
            jacobian = np.zeros((len(root), slopes.shape[1]))
            for k, tangent in enumerate(tangents):
                if tangent is not None:
                    jacobian[:, k] = root * np.einsum("mv,mv->m", slope, tangent[observation.index])
            region = observation.region
            if region in self.parametrisation.thresholds:
                threshold = self.parametrisation.threshold(x, region, observation.threshold)
                column = 7 + self.parametrisation.thresholds.index(region)
                # the fraction depends on u - threshold alone
                jacobian[:, column] = -root * slope.sum(axis=1) * threshold * (1.0 - threshold)
            tables.append(ResidualTable(root * (fraction - observation.fractions), jacobian))
        return tables

    def _observe(self, x: Vector, observation: MaskObservation, densities: Vector) -> tuple[Vector, Vector]:
        threshold = self.parametrisation.threshold(x, observation.region, observation.threshold)
        return observation.predict(densities, threshold, self.sharpness)
