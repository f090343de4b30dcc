"""Least-squares misfit between segmentations and a forward map, with its Gauss-Newton linearisation.

`J(x) = 1/(2 s) sum_i int (f_i(u) - m_i)^2 dx + prior`: an integral over the brain in mm^3, so its value converges as
mesh and voxels are refined; `s` (mm^3) turns it into a log-likelihood. The Gauss-Newton matrix is built from one
tangent run an unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oncology.inverse.misfit import Observation, Seen
from oncology.inverse.parameters import Parametrisation, Prior
from oncology.model.cells import ForwardMap, Solution, cell_gradients
from oncology.optimise import Linearisation

__all__ = ["FixedMetric", "Identification", "ResidualTable"]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class ResidualTable:
    """Residuals of one observation on the cells of this rank, weighted by the root of the cell volume.

    Attributes:
        residual: (m,) `sqrt(V) (f - m)`, mm^1.5.
        jacobian: (m, n) its derivative by the unknowns.
        rim: (m, 1 + d) its derivatives by an outward shift of the segmented rim and by a shift of the image, mm^0.5.
    """

    residual: Vector
    jacobian: Vector
    rim: Vector


@dataclass(frozen=True)
class Identification:
    """The inverse problem of one case on one mesh (`oncology.optimise.LeastSquares`).

    Attributes:
        forward: forward map.
        observations: segmented regions and tracer images.
        parametrisation: meaning of the unknowns.
        prior: prior of the unknowns.
        noise: s, the variance of a cell's residual times its correlation volume, mm^3.
        sharpness: of the sigmoid that stands for the volume fraction; None: the exact fraction.
    """

    forward: ForwardMap
    observations: tuple[Observation, ...]
    parametrisation: Parametrisation
    prior: Prior
    noise: float = 1.0
    sharpness: float | None = None
    _last: list[tuple[Vector, Solution]] = field(default_factory=list, init=False, repr=False, compare=False)

    def solve(self, x: Vector) -> Solution:
        """Return the forward run at x; the last one is kept, since a trial that is accepted is linearised next."""
        if not self._last or not np.array_equal(self._last[0][0], x):
            self._last.clear()
            self._last.append((np.array(x), self.forward.solve(self.parametrisation.physical(x))))
        return self._last[0][1]

    def observe(self, x: Vector) -> list[tuple[Observation, Seen]]:
        """Return every observation with its residual on the cells of this rank."""
        densities = self.solve(x).densities
        return [(o, o.compare(densities[o.index], self._level(x, o)[0], self.sharpness)) for o in self.observations]

    def misfit(self, x: Vector) -> float:
        """Return the sum of the integrals of the squared residuals, mm^3."""
        squares = [self.forward.space.volumes @ seen.residual**2 for _, seen in self.observe(x)]
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

    def gradient(self, x: Vector) -> tuple[float, Vector]:
        """Return J(x) and its gradient from one adjoint run."""
        solution = self.solve(x)
        volumes = self.forward.space.volumes
        duals = [np.zeros_like(density) for density in solution.densities]
        squares = 0.0
        by_level = np.zeros(self.parametrisation.size)
        for observation, seen in self.observe(x):
            miss = volumes * seen.residual
            duals[observation.index] += miss[:, None] * seen.slopes
            squares += float(miss @ seen.residual)
            column = self.parametrisation.level_column(observation.region)
            if column is not None:
                by_level[column] += self._level(x, observation)[1] * float(miss @ seen.by_level)
        sums = self.forward.space.total(np.concatenate([[squares], by_level]))
        derivative = self.parametrisation.jacobian(x).T @ solution.adjoint(tuple(duals)) + sums[1:]
        value = 0.5 * float(sums[0]) / self.noise + self.prior.value(x)
        return value, derivative / self.noise + self.prior.gradient(x)

    def tables(self, x: Vector) -> list[ResidualTable]:
        """Return residuals and Jacobian of every observation on the cells of this rank."""
        solution = self.solve(x)
        slopes = self.parametrisation.jacobian(x)
        tangents = [solution.tangent(slopes[:, k]) if slopes[:, k].any() else None for k in range(slopes.shape[1])]
        root = np.sqrt(self.forward.space.volumes)
        tables = []
        for observation, seen in self.observe(x):
            jacobian = np.zeros((len(root), slopes.shape[1]))
            for k, tangent in enumerate(tangents):
                if tangent is not None:
                    jacobian[:, k] = root * np.einsum("mv,mv->m", seen.slopes, tangent[observation.index])
            column = self.parametrisation.level_column(observation.region)
            if column is not None:
                jacobian[:, column] = root * seen.by_level * self._level(x, observation)[1]
            # a rim moved outwards by dr lowers the density there by |grad u| dr, an image moved by dx by grad u . dx
            gradients = cell_gradients(self.forward.space, solution.densities[observation.index])
            moves = np.concatenate([np.linalg.norm(gradients, axis=1)[:, None], gradients], axis=1)
            rim = -(root * seen.slopes.sum(axis=1))[:, None] * moves
            tables.append(ResidualTable(root * seen.residual, jacobian, rim))
        return tables

    def _level(self, x: Vector, observation: Observation) -> tuple[float, float]:
        return self.parametrisation.level(x, observation.region, observation.level)


@dataclass(frozen=True)
class FixedMetric:
    """The same cost with a given Gauss-Newton matrix (`oncology.optimise.LeastSquares`): one adjoint an iterate.

    Attributes:
        problem: cost and gradient.
        metric: (n, n) matrix that stands for the Gauss-Newton matrix, prior included.
    """

    problem: Identification
    metric: Vector

    def evaluate(self, x: Vector, /) -> float:
        """Return J(x)."""
        return self.problem.evaluate(x)

    def linearise(self, x: Vector, /) -> Linearisation:
        """Return J(x), its gradient and the given matrix."""
        value, gradient = self.problem.gradient(x)
        return Linearisation(value, gradient, self.metric)
