"""The finite-element engine of one patient: P1 elements on a mesh of the brain, behind `oncology.model.engine.Engine`.

A tumour's scalars, seed and fields become inputs of the discrete model (`oncology.fem.tumour_model`), and derivatives
by those inputs become derivatives by the tumour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy import sparse

from oncology.errors import ConfigError
from oncology.fem.discretisation import Discretisation, VoxelTissue, discretise
from oncology.fem.elliptic import EllipticOperator
from oncology.fem.rates import Rates
from oncology.fem.tumour_model import ModelDirection, Run, TumourModel
from oncology.imaging.case import Case
from oncology.imaging.placement import moved_diffusion, surviving_fractions, tensors_at
from oncology.meshing import TetMesh
from oncology.meshing.averaging import voxel_weights
from oncology.model.cells import CellSpace
from oncology.model.engine import Record, TangentRecord
from oncology.model.growth import GrowthLaw, Logistic
from oncology.model.timegrid import TimeGrid, plan_time_grid, step_limit
from oncology.model.treatment import Treatment
from oncology.model.tumour import Tumour, TumourChange

__all__ = ["FemRun", "FiniteElements", "ModelEngine"]

Vector = NDArray[np.float64]

_AT_ONCE = 16  # tangents in one sweep, so that many unknowns do not need the memory of all


@dataclass(frozen=True, eq=False)
class FemRun:
    """A run with finite elements (`oncology.model.engine.EngineRun`).

    Attributes:
        tumour: what was run.
        run: the run of the discrete model.
    """

    tumour: Tumour
    run: Run

    @property
    def densities(self) -> tuple[Vector, ...]:
        """Density (n,) at the owned vertices, one array for each observation day."""
        return self.run.observations

    @property
    def extremes(self) -> tuple[float, float]:
        """Smallest and largest density of the run."""
        return self.run.lowest, self.run.highest

    @property
    def notes(self) -> tuple[str, ...]:
        """What the time grid changed against what was asked."""
        return self.run.grid.notes


@dataclass(frozen=True, eq=False)
class ModelEngine:
    """A discrete model of any dimension as an engine (`oncology.model.engine.Engine`); collective over its ranks.

    Attributes:
        model: discrete growth model.
        treatments: treatment events, by day.
    """

    model: TumourModel
    treatments: tuple[Treatment, ...] = ()

    @property
    def discretisation(self) -> Discretisation:
        """Mesh and matrices."""
        return self.model.discretisation

    @property
    def space(self) -> CellSpace:
        """The cells of this rank."""
        return self.discretisation.cell_space

    def plan(self, tumour: Tumour, days: Sequence[float], step: float | None = None) -> TimeGrid:
        """Return the time grid that suits a tumour; in a run only its onset moves.

        Args:
            tumour: around which the grid is to hold.
            days: observation days, ascending, after onset.
            step: asked time step, day; None: the longest accurate one.

        Raises:
            ConfigError: a day or a treatment is not after onset.
        """
        largest = max(tumour.diffusion_white, tumour.diffusion_grey)
        longest = step_limit(tumour.proliferation, largest, tumour.profile.width)
        return plan_time_grid(tumour.onset, days, self.treatments, longest, step)

    def run(self, tumour: Tumour, plan: TimeGrid, keep: bool = True, record: Record | None = None) -> FemRun:
        """Grow a tumour.

        Args:
            tumour: model inputs.
            plan: of `plan`.
            keep: keep what tangent and adjoint need.
            record: called with day and density (n,) at onset and after every step.

        Raises:
            ConfigError: the onset is not before the first observation or treatment.
            NumericalError: a diffusion solve does not converge.
        """
        owned = self.discretisation.owned
        for name in ("initial", "log_diffusion", "log_proliferation"):
            given = getattr(tumour, name)
            if given is not None and given.shape != (owned,):
                raise ConfigError(f"{name} of shape {given.shape}: give one value for each of the {owned} own vertices")
        rates = Rates(
            tumour.diffusion_white,
            tumour.diffusion_grey,
            tumour.proliferation,
            tumour.log_diffusion,
            tumour.log_proliferation,
        )
        grid = plan.from_onset(tumour.onset)
        return FemRun(tumour, self.model.run(rates, tumour.start(self.space), grid, keep, record))

    def tangent(self, run: FemRun, changes: Sequence[TumourChange]) -> tuple[Vector, ...]:
        """Return the derivatives of `run.densities` along k directions, (k, n) for each observation day."""
        directions = self._directions(run, changes)
        parts = [self.model.tangent(run.run, directions[k : k + _AT_ONCE]) for k in range(0, len(directions), _AT_ONCE)]
        return tuple(np.concatenate(day) for day in zip(*parts, strict=True))

    def watched_tangent(
        self, run: FemRun, changes: Sequence[TumourChange], record: TangentRecord
    ) -> tuple[Vector, ...]:
        """Return what `tangent` does; `record` sees day, density and its derivatives before every step."""
        return self.model.tangent(run.run, self._directions(run, changes), record)

    def _directions(self, run: FemRun, changes: Sequence[TumourChange]) -> list[ModelDirection]:
        space = self.space
        directions = []
        for change in changes:
            rates = Rates(
                change.diffusion_white,
                change.diffusion_grey,
                change.proliferation,
                change.log_diffusion,
                change.log_proliferation,
            )
            directions.append(ModelDirection(rates, change.start(run.tumour, space), -change.onset))
        return directions

    def adjoint(self, run: FemRun, duals: Sequence[Vector]) -> TumourChange:
        """Return the derivative of `sum_i <duals[i], run.densities[i]>` over all ranks by the tumour."""
        derivative = self.model.adjoint(run.run, duals)
        tumour, rates = run.tumour, derivative.rates
        *seed, radius = self.discretisation.total(tumour.start_slopes(self.space).T @ derivative.initial)
        return TumourChange(
            rates.diffusion_white,
            rates.diffusion_grey,
            rates.proliferation,
            np.array(seed),
            -derivative.duration,
            float(radius),
            None if tumour.initial is None else derivative.initial,
            rates.log_diffusion,
            rates.log_proliferation,
        )

    def elliptic(self, stiffness: float, mass: float, boundary: float = 0.0) -> EllipticOperator:
        """Return `A = stiffness K + mass M_L + boundary S` with unit diffusivity, for priors and inner products."""
        return EllipticOperator(self.discretisation, stiffness, mass, boundary)

    def gather(self, owned: Vector) -> Vector | None:
        """Return a P1 function in the vertex order of the mesh on rank 0, None elsewhere."""
        return self.discretisation.gather(owned)

    def destroy(self) -> None:
        """Free solvers and matrices (collective)."""
        self.model.destroy()
        self.discretisation.destroy()


@dataclass(frozen=True, eq=False)
class FiniteElements:
    """Growth on a tetrahedral mesh of a patient's brain, with MPI: `ModelEngine` with all that it is made of.

    Attributes:
        mesh: the mesh, the same on every rank.
        case: the patient, for treatments, cavities and the diffusion tensor; None: untreated, isotropic.
        law: growth law.
        comm: MPI communicator; None: this process alone.
        tolerance: relative residual of the diffusion solves.
        core: the engine without the patient.
    """

    mesh: TetMesh
    case: Case | None = field(default=None, repr=False)
    law: GrowthLaw = field(default_factory=Logistic)
    comm: Any = field(default=None, repr=False)
    tolerance: float = 1e-8
    core: ModelEngine = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Assemble the matrices."""
        mesh, case = self.mesh, self.case
        tensor = None
        if case is not None and case.tensor is not None:
            tensor = tensors_at(case.tensor, mesh.points[mesh.cells].mean(axis=1))
        comm = MPI.COMM_SELF if self.comm is None else self.comm
        voxels = None if case is None or mesh.tagged else _voxels_of(case)
        discretisation = discretise(comm, mesh.points, mesh.cells, mesh.white, mesh.grey, tensor, voxels=voxels)
        resections = {} if case is None else surviving_fractions(case, discretisation.points[: discretisation.owned])
        model = TumourModel(discretisation, self.law, resections=resections, tolerance=self.tolerance)
        object.__setattr__(self, "core", ModelEngine(model, () if case is None else case.treatments))

    @property
    def space(self) -> CellSpace:
        """The cells of this rank."""
        return self.core.space

    def plan(self, tumour: Tumour, days: Sequence[float], step: float | None = None) -> TimeGrid:
        """Return the time grid that suits a tumour (`ModelEngine.plan`)."""
        return self.core.plan(tumour, days, step)

    def run(self, tumour: Tumour, plan: TimeGrid, keep: bool = True, record: Record | None = None) -> FemRun:
        """Grow a tumour (`ModelEngine.run`)."""
        return self.core.run(tumour, plan, keep, record)

    def run_moved(self, tumour: Tumour, plan: TimeGrid, distance: float) -> FemRun:
        """Grow a tumour where the boundary of the white matter lies `distance` mm further out.

        Raises:
            ConfigError: the engine was made without a case.
            NumericalError: a diffusion solve does not converge.
        """
        if self.case is None:
            raise ConfigError("no maps of the tissue to move: make FiniteElements with the case")
        rates = (tumour.diffusion_white, tumour.diffusion_grey)
        moved = moved_diffusion(self.case, rates, distance, self.space.owned, self.mesh.size)
        field = moved if tumour.log_diffusion is None else tumour.log_diffusion + moved
        return self.run(replace(tumour, log_diffusion=field), plan, keep=False)

    def tangent(self, run: FemRun, changes: Sequence[TumourChange]) -> tuple[Vector, ...]:
        """Return the derivatives along k directions, (k, n) for each observation day (`ModelEngine.tangent`)."""
        return self.core.tangent(run, changes)

    def watched_tangent(
        self, run: FemRun, changes: Sequence[TumourChange], record: TangentRecord
    ) -> tuple[Vector, ...]:
        """Return what `tangent` does, with a look at every step (`ModelEngine.watched_tangent`)."""
        return self.core.watched_tangent(run, changes, record)

    def adjoint(self, run: FemRun, duals: Sequence[Vector]) -> TumourChange:
        """Return the derivative of `sum_i <duals[i], run.densities[i]>` by the tumour (`ModelEngine.adjoint`)."""
        return self.core.adjoint(run, duals)

    def elliptic(self, stiffness: float, mass: float, boundary: float = 0.0) -> EllipticOperator:
        """Return `A = stiffness K + mass M_L + boundary S` with unit diffusivity (`ModelEngine.elliptic`)."""
        return self.core.elliptic(stiffness, mass, boundary)

    def gather(self, owned: Vector) -> Vector | None:
        """Return a P1 function in the vertex order of the mesh on rank 0, None elsewhere."""
        return self.core.gather(owned)

    def destroy(self) -> None:
        """Free solvers and matrices (collective)."""
        self.core.destroy()


def _voxels_of(case: Case) -> VoxelTissue:
    """Return the function that finds the tissue of the voxels of cells in the maps of a case."""
    maps = tuple(np.append(tissue.data.ravel(), 0.0) for tissue in (case.white, case.grey))

    def voxels(points: Vector, cells: NDArray[np.int64], volumes: Vector) -> tuple[sparse.csr_array, Vector, Vector]:
        averaging, used = voxel_weights(case.white, points, cells, volumes)
        white, grey = (tissue[used].astype(float) for tissue in maps)
        return averaging, white, grey

    return voxels
