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
from oncology.fem.discretisation import Discretisation, discretise
from oncology.fem.elliptic import EllipticOperator
from oncology.fem.rates import Rates
from oncology.fem.tumour_model import ModelDirection, Run, TumourModel
from oncology.imaging.case import Case
from oncology.imaging.placement import surviving_fractions, tensors_at
from oncology.imaging.tissue import moved_white
from oncology.imaging.volume import Volume
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
        voxels: of the maps in the cells; None where the mesh has tags of its own or there is no case.
    """

    mesh: TetMesh
    case: Case | None = field(default=None, repr=False)
    law: GrowthLaw = field(default_factory=Logistic)
    comm: Any = field(default=None, repr=False)
    tolerance: float = 1e-8
    core: ModelEngine = field(init=False, repr=False)
    voxels: CaseVoxels | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Assemble the matrices."""
        mesh, case = self.mesh, self.case
        tensor = None
        if case is not None and case.tensor is not None:
            tensor = tensors_at(case.tensor, mesh.points[mesh.cells].mean(axis=1))
        comm = MPI.COMM_SELF if self.comm is None else self.comm
        voxels = None if case is None or mesh.tagged else CaseVoxels(case)
        object.__setattr__(self, "voxels", voxels)
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

        Where no map tells the tissue of the cells (a mesh with tags of its own, no case) nothing moves.
        """
        model = self.core.model
        if self.voxels is None:
            return self.run(tumour, plan, keep=False)
        white, grey = self.voxels.moved(distance)
        tissue = replace(model.discretisation.tissue, white=white, grey=grey)
        moved = replace(model, discretisation=replace(model.discretisation, tissue=tissue))
        try:
            return ModelEngine(moved, self.core.treatments).run(tumour, plan, keep=False)
        finally:
            moved.destroy()

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


class CaseVoxels:
    """The voxels of a case that lie in the cells of a mesh, with their tissue (`VoxelTissue`)."""

    def __init__(self, case: Case) -> None:
        """Find nothing yet."""
        self._case = case
        self._used: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def __call__(
        self, points: Vector, cells: NDArray[np.int64], volumes: Vector
    ) -> tuple[sparse.csr_array, Vector, Vector]:
        """Return the weights of the voxels in the cells, and their fractions of white and grey matter."""
        averaging, self._used = voxel_weights(self._case.white, points, cells, volumes)
        white, grey = (
            np.append(tissue.data.ravel(), 0.0)[self._used] for tissue in (self._case.white, self._case.grey)
        )
        return averaging, white.astype(float), grey.astype(float)

    def moved(self, distance: float) -> tuple[Vector, Vector]:
        """Return their fractions where the boundary of the white matter lies `distance` mm further out."""
        maps = (self._case.white, self._case.grey)
        shape, inside = maps[0].data.shape, self._used < maps[0].data.size
        place = np.stack(np.unravel_index(self._used[inside], shape), axis=1)
        if len(place) == 0:
            return np.zeros(len(self._used)), np.zeros(len(self._used))
        low = np.maximum(place.min(axis=0) - 1, 0)
        part = tuple(map(slice, low, place.max(axis=0) + 2))
        found = []
        white, grey = (Volume(tissue.data[part], tissue.affine) for tissue in maps)
        for tissue in moved_white(white, grey, distance):
            values = np.zeros(len(self._used))
            values[inside] = tissue.data[tuple((place - low).T)]
            found.append(values)
        return found[0], found[1]
