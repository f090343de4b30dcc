"""Forward map of a surrogate: the seven scalars to densities on the observation days, without solving anything.

Each day is one set of similarity variables, so that all days are one batch of the network. Vectors leave cell by cell,
in the order of whichever engine discretised the surrogate's mesh for the observations.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oncology.errors import NumericalError
from oncology.model.cells import CellSpace
from oncology.surrogate.coordinates import similarity, similarity_slopes
from oncology.surrogate.model import Response, Surrogate

__all__ = ["SurrogateGrowth", "SurrogateSolution"]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class SurrogateSolution:
    """A run with its linearisation (`oncology.model.cells.Solution`).

    Attributes:
        response: of the surrogate, one row a day.
        slopes: (days, 6, 7) derivative of the similarity variables by `model.cells.PARAMETERS`.
        cells: (m, 4) vertices of the surrogate's mesh at the cells.
        densities: (m, 4) a day.
    """

    response: Response
    slopes: Vector
    cells: NDArray[np.int64]
    densities: tuple[Vector, ...] = field(repr=False)

    def tangent(self, direction: Vector) -> tuple[Vector, ...]:
        """Return the derivative of `densities` along a direction in the order of `PARAMETERS`."""
        return tuple(change[self.cells] for change in self.response.tangent(self.slopes @ direction))

    def adjoint(self, duals: tuple[Vector, ...]) -> Vector:
        """Return the derivative of `sum <duals, densities>` by the parameters, in the order of `PARAMETERS`."""
        count = len(self.response.surrogate.mesh.points)
        summed = [np.bincount(self.cells.ravel(), dual.ravel(), minlength=count) for dual in duals]
        return np.asarray(np.einsum("dk,dkp->p", self.response.adjoint(np.array(summed)), self.slopes))


@dataclass(frozen=True)
class SurrogateGrowth:
    """Forward map from the seven scalars (`oncology.model.cells.ForwardMap`).

    Attributes:
        surrogate: what replaces the solver.
        space: the cells on which densities are given.
        cells: (m, 4) the same cells as vertices of the surrogate's mesh.
        days: observation days.
    """

    surrogate: Surrogate
    space: CellSpace
    cells: NDArray[np.int64]
    days: tuple[float, ...]

    def solve(self, parameters: Vector) -> SurrogateSolution:
        """Return the densities for a parameter vector (mm^2/day, mm^2/day, 1/day, mm, mm, mm, day).

        Raises:
            NumericalError: a rate is not positive or not finite, or the onset not before the first day.
        """
        values = np.asarray(parameters, dtype=float)
        if not (np.isfinite(values).all() and (values[:3] > 0.0).all() and values[6] < min(self.days)):
            raise NumericalError(f"parameters {values}: need positive rates and an onset before the first day")
        response = self.surrogate.respond(np.array([similarity(values, day) for day in self.days]))
        slopes = np.array([similarity_slopes(values, day) for day in self.days])
        densities = tuple(density[self.cells] for density in response.densities)
        return SurrogateSolution(response, slopes, self.cells, densities)
