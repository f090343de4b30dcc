"""A tumour's scalars as a parameter vector in front of any engine: the forward map whose derivatives are verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncology.model.engine import Engine
from oncology.model.seed import Seed
from oncology.model.tumour import Tumour, TumourChange

__all__ = ["SeededGrowth", "SeededSolution"]

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SeededSolution:
    """A run from a seed with its linearisation.

    Attributes:
        engine: what ran.
        run: its run.
    """

    engine: Engine
    run: Any

    @property
    def densities(self) -> tuple[Vector, ...]:
        """Density at the vertices of each cell (m, d + 1), one array for each observation day."""
        return tuple(self.engine.space.to_cells(u) for u in self.run.densities)

    def tangent(self, direction: Vector) -> tuple[Vector, ...]:
        """Return the derivative of `densities` along a direction in the order of `PARAMETERS`."""
        days = self.engine.tangent(self.run, [TumourChange.of(np.asarray(direction, dtype=float))])
        return tuple(self.engine.space.to_cells(day[0]) for day in days)

    def adjoint(self, duals: tuple[Vector, ...]) -> Vector:
        """Return the derivative of `sum <duals, densities>` by the parameters, in the order of `PARAMETERS`."""
        return self.engine.adjoint(self.run, [self.engine.space.from_cells(dual) for dual in duals]).values


@dataclass(frozen=True, eq=False)
class SeededGrowth:
    """Scalars (mm^2/day, mm^2/day, 1/day, d coordinates in mm, day, radius in mm) to densities.

    Attributes:
        engine: grows the tumour.
        plan: its time steps.
    """

    engine: Engine
    plan: Any

    def solve(self, parameters: Vector, linearise: bool = True) -> SeededSolution:
        """Run the engine for a parameter vector in the order of `PARAMETERS`.

        Args:
            parameters: (5 + d,).
            linearise: keep what tangent and adjoint need.

        Raises:
            NumericalError: if the engine cannot run.
        """
        p = [float(value) for value in parameters]
        tumour = Tumour(p[0], p[1], p[2], tuple(p[3:-2]), p[-2], Seed(radius=p[-1]))
        return SeededSolution(self.engine, self.engine.run(tumour, self.plan, keep=linearise))
