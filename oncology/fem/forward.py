"""Forward map of a tumour that grows from a small seed: seven scalars to densities on the observation days.

The density at onset is that of `oncology.model.seed` at the vertices. Its position, the onset, D_w, D_g and rho are
the parameters, in the order of `oncology.model.cells.PARAMETERS`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from oncology.fem.discretisation import Discretisation
from oncology.fem.model import ModelDirection, Rates, Run, TumourModel
from oncology.model.cells import CellSpace
from oncology.model.seed import Seed
from oncology.model.timegrid import TimeGrid

__all__ = ["SeededGrowth", "SeededSolution"]


@dataclass(frozen=True)
class SeededSolution:
    """A run from a seed with its linearisation (`oncology.model.cells.Solution`)."""

    model: TumourModel
    run: Run
    seed_slope: np.ndarray
    densities: tuple[np.ndarray, ...] = field(repr=False)

    def tangent(self, direction: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the derivative of `densities` along a direction in the order of `PARAMETERS`."""
        moved = np.asarray(direction[3:-1], dtype=float)
        initial = self.seed_slope @ moved if moved.any() else None
        change = ModelDirection(Rates(*map(float, direction[:3])), initial, -float(direction[-1]))
        discretisation = self.model.discretisation
        return tuple(discretisation.to_cells(du) for du in self.model.tangent(self.run, change))

    def adjoint(self, duals: tuple[np.ndarray, ...]) -> np.ndarray:
        """Return the derivative of `sum <duals, densities>` by the parameters, in the order of `PARAMETERS`."""
        discretisation = self.model.discretisation
        derivative = self.model.adjoint(self.run, [discretisation.from_cells(dual) for dual in duals])
        rates = derivative.rates
        seed = discretisation.total(self.seed_slope.T @ derivative.initial)
        return np.array(
            [rates.diffusion_white, rates.diffusion_grey, rates.proliferation, *seed, -derivative.duration], dtype=float
        )


@dataclass(frozen=True)
class SeededGrowth:
    """Forward map from the seven scalars (`oncology.model.cells.ForwardMap`).

    Attributes:
        model: discrete growth model.
        grid: time grid; a solve only moves its onset.
        seed: shape of the seed.
    """

    model: TumourModel
    grid: TimeGrid
    seed: Seed = field(default_factory=Seed)

    @property
    def discretisation(self) -> Discretisation:
        """The mesh and its matrices."""
        return self.model.discretisation

    @property
    def space(self) -> CellSpace:
        """The cells on which densities are given."""
        return self.discretisation.cell_space

    def solve(self, parameters: np.ndarray, linearise: bool = True) -> SeededSolution:
        """Run the model for a parameter vector (mm^2/day, mm^2/day, 1/day, mm, mm, mm, day).

        Args:
            parameters: in the order of `PARAMETERS`.
            linearise: keep what tangent and adjoint need.

        Raises:
            NumericalError: if a diffusion solve does not converge.
        """
        discretisation = self.discretisation
        owned = discretisation.points[: discretisation.owned]
        centre = np.asarray(parameters[3:-1], dtype=float)
        rates = Rates(*map(float, parameters[:3]))
        grid = self.grid.from_onset(float(parameters[-1]))
        run = self.model.run(rates, self.seed.density(owned, centre), grid, keep=linearise)
        densities = tuple(discretisation.to_cells(u) for u in run.observations)
        slope = self.seed.slope(owned, centre) if linearise else np.empty((0, len(centre)))
        return SeededSolution(self.model, run, slope, densities)
