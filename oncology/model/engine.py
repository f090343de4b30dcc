"""What an engine is: tumours to densities on observation days, with exact tangent and adjoint products.

Engines turn model inputs into P1 densities and know nothing of images, priors or misfits; inversion, forecasts and
verification know engines by this protocol alone. `docs/extending.md` adds one from outside the package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from oncology.model.cells import CellSpace
from oncology.model.tumour import Tumour, TumourChange

__all__ = ["Engine", "EngineRun", "Record", "TangentRecord", "TissueEngine", "WatchedEngine"]

Vector = NDArray[np.float64]

# Called with day and density (n,) of the owned vertices at onset and after every step.
Record = Callable[[float, Vector], None]
# Called with day, density (n,) and its derivatives along k directions (k, n) before every step and on the last day.
TangentRecord = Callable[[float, Vector, Vector], None]


class EngineRun(Protocol):
    """A forward run; what tangent and adjoint need stays inside."""

    @property
    def tumour(self) -> Tumour:
        """What was run."""

    @property
    def densities(self) -> tuple[Vector, ...]:
        """Density (n,) at the owned vertices, one array for each observation day."""

    @property
    def extremes(self) -> tuple[float, float]:
        """Smallest and largest density of the run, over all ranks."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the run, in sentences."""


class Engine(Protocol):
    """A discretised growth model on one mesh (collective over the ranks that share it)."""

    @property
    def space(self) -> CellSpace:
        """The cells of this rank."""

    def plan(self, tumour: Tumour, days: Sequence[float]) -> Any:
        """Return time steps that suit a tumour and its neighbours, so that a run is a smooth function of the tumour.

        Args:
            tumour: around which the plan is to hold.
            days: observation days, ascending, after onset.
        """

    def run(self, tumour: Tumour, plan: Any, keep: bool = True, record: Record | None = None) -> EngineRun:
        """Grow a tumour.

        Args:
            tumour: model inputs.
            plan: of `plan`.
            keep: keep what tangent and adjoint need.
            record: called with day and density at onset and after every step.

        Raises:
            NumericalError: on every rank, where the model cannot be run.
        """

    def tangent(self, run: Any, changes: Sequence[TumourChange]) -> tuple[Vector, ...]:
        """Return the derivatives of `run.densities` along k directions, (k, n) for each observation day."""

    def adjoint(self, run: Any, duals: Sequence[Vector]) -> TumourChange:
        """Return the derivative of `sum_i <duals[i], run.densities[i]>` over all ranks by the tumour."""

    def destroy(self) -> None:
        """Free what the engine holds outside Python (collective)."""


@runtime_checkable
class WatchedEngine(Protocol):
    """An engine whose tangents can be looked at on their way through the steps."""

    def watched_tangent(self, run: Any, changes: Sequence[TumourChange], record: TangentRecord) -> tuple[Vector, ...]:
        """Return what `Engine.tangent` does; `record` sees every step and the last observation day."""


@runtime_checkable
class TissueEngine(Protocol):
    """An engine that can grow a tumour in tissue whose maps are wrong."""

    def run_moved(self, tumour: Tumour, plan: Any, distance: float) -> EngineRun:
        """Grow a tumour where the boundary of the white matter lies `distance` mm further out (`Engine.run`)."""
