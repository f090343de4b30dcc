"""The voxel engine of one patient: finite volumes in torch, behind `oncology.model.engine.Engine`.

Vectors hold the tissue voxels in C order; densities are P1 functions on the tetrahedra between voxel centres and leave
as float64, whatever the model computes in. All directions of a tangent run as one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from oncology.errors import ConfigError
from oncology.imaging.case import Case
from oncology.imaging.placement import surviving_fractions, tensors_at
from oncology.imaging.tissue import moved_white
from oncology.meshing import TetMesh
from oncology.meshing.topology import cell_volumes, compact
from oncology.model.cells import CellSpace
from oncology.model.engine import Record
from oncology.model.growth import GrowthLaw, Logistic
from oncology.model.timegrid import TimeGrid, plan_time_grid, step_limit
from oncology.model.tumour import Tumour, TumourChange
from oncology.voxel.box import TissueBox, tissue_box, tissue_samples, voxel_cells
from oncology.voxel.stencil import stencil
from oncology.voxel.voxel_model import VoxelDirections, VoxelModel, VoxelRun

__all__ = ["VoxelPlan", "VoxelTumourRun", "VoxelView", "Voxels"]

Vector = NDArray[np.float64]

# A plan holds the stages that diffusivities up to this much larger need, so that runs nearby are smooth functions.
_HEADROOM = np.array([2.0, 2.0, 1.0])


@dataclass(frozen=True)
class VoxelView:
    """Where the tissue voxels of a box lie, and the cells between them.

    Attributes:
        space: tissue voxels as points (p, 3), mm, and tetrahedra between them.
        index: (p,) their place in the flat box.
        voxels: number n of voxels of the box.
    """

    space: CellSpace
    index: torch.Tensor
    voxels: int

    def spread(self, tissue: Vector, like: torch.Tensor) -> torch.Tensor:
        """Return densities (..., p) of the tissue voxels on the box, (..., n), in the precision of `like`."""
        values = torch.as_tensor(tissue, dtype=like.dtype, device=like.device)
        box = like.new_zeros(*values.shape[:-1], self.voxels)
        box[..., self.index] = values
        return box

    def pick(self, box: torch.Tensor) -> Vector:
        """Return densities (..., n) of the box at the tissue voxels, (..., p)."""
        return np.asarray(box[..., self.index].cpu().numpy(), dtype=float)


@dataclass(frozen=True)
class VoxelPlan:
    """Time grid and fewest stages of the diffusion steps of each interval."""

    grid: TimeGrid
    least: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class VoxelTumourRun:
    """A run on voxels (`oncology.model.engine.EngineRun`).

    Attributes:
        tumour: what was run.
        run: the run of the discrete model, a batch of one.
        densities: density (p,) of the tissue voxels, one array for each observation day.
    """

    tumour: Tumour
    run: VoxelRun
    densities: tuple[Vector, ...] = field(repr=False)

    @property
    def extremes(self) -> tuple[float, float]:
        """Smallest and largest density of the run."""
        return self.run.lowest, self.run.highest

    @property
    def notes(self) -> tuple[str, ...]:
        """What the time grid changed against what was asked."""
        return self.run.grid.notes


@dataclass(frozen=True, eq=False)
class Voxels:
    """Growth on cubic voxels around a patient's tumour (`oncology.model.engine.Engine`); one process.

    Attributes:
        case: the patient.
        size: edge of a voxel, mm.
        law: growth law.
        margin: how far the voxels reach beyond every segmentation, mm.
        dtype: float32 or float64.
        device: where to compute.
        fused: apply the stencil in one compiled pass.
        mesh: tetrahedra between the voxel centres.
        model: discrete growth model.
        view: tissue voxels and cells.
        used: (v,) tissue voxels that are vertices of the mesh, in its order.
    """

    case: Case = field(repr=False)
    size: float = 2.5
    law: GrowthLaw = field(default_factory=Logistic)
    margin: float = 25.0
    dtype: torch.dtype = torch.float64
    device: str | torch.device = "cpu"
    fused: bool = False
    mesh: TetMesh = field(init=False, repr=False)
    model: VoxelModel = field(init=False, repr=False)
    view: VoxelView = field(init=False, repr=False)
    used: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Average the tissue over the voxels and make the operator.

        Raises:
            MeshError: where there is no tissue.
        """
        case = self.case
        box = tissue_box(case, self.size, self.margin)
        samples = tissue_samples(case, box)
        points, cells = box.points, voxel_cells(box)
        tensor = None
        if case.tensor is not None:
            tensor = np.broadcast_to(np.eye(3), (*box.inside.shape, 3, 3)).copy()
            tensor[box.inside] = tensors_at(case.tensor, points)
        operator = stencil(
            samples.white,
            samples.grey,
            box.inside,
            self.size,
            samples.averaging,
            tensor,
            self.dtype,
            self.device,
        )
        index = torch.as_tensor(np.flatnonzero(box.inside), device=self.device)
        view = VoxelView(CellSpace(points, cells, cell_volumes(points, cells)), index, box.inside.size)
        left = {
            number: view.spread(fraction, operator.joined)
            for number, fraction in surviving_fractions(case, points).items()
        }
        for name, value in (
            ("mesh", _mesh_between(box, points, cells, self.size)),
            ("model", VoxelModel(operator, self.law, left, fused=self.fused)),
            ("view", view),
            ("used", np.unique(cells)),
        ):
            object.__setattr__(self, name, value)

    @property
    def space(self) -> CellSpace:
        """The cells between tissue voxels."""
        return self.view.space

    def plan(self, tumour: Tumour, days: Sequence[float]) -> VoxelPlan:
        """Return time grid and stages that suit a tumour; in a run only its onset moves.

        Raises:
            ConfigError: a day or a treatment is not after onset.
        """
        largest = max(tumour.diffusion_white, tumour.diffusion_grey)
        longest = step_limit(tumour.proliferation, largest, tumour.profile.width)
        grid = plan_time_grid(tumour.onset, days, self.case.treatments, longest)
        return VoxelPlan(grid, self.model.stages(_HEADROOM * tumour.values[:3], grid))

    def run(self, tumour: Tumour, plan: VoxelPlan, keep: bool = True, record: Record | None = None) -> VoxelTumourRun:
        """Grow a tumour.

        Args:
            tumour: model inputs; fields of diffusion and proliferation are not known here.
            plan: of `plan`.
            keep: keep what tangent and adjoint need.
            record: called with day and density (p,) at onset and after every step.

        Raises:
            ConfigError: the tumour has fields of diffusion or proliferation.
            NumericalError: the rates are not finite.
        """
        if tumour.log_diffusion is not None or tumour.log_proliferation is not None:
            raise ConfigError("the voxel engine knows no fields of diffusion or proliferation: take FiniteElements")
        like = self.model.stencil.joined
        grid = plan.grid.from_onset(tumour.onset)
        start = tumour.start(self.space)
        days = iter(grid.days)
        watch = None
        if record is not None:
            record(float(next(days)), start)

            def watch(u: torch.Tensor) -> None:
                record(float(next(days)), self.view.pick(u[0]))

        run = self.model.run(
            tumour.values[None, :3],
            self.view.spread(start, like)[None],
            grid,
            least=plan.least,
            keep=keep,
            record=watch,
        )
        return VoxelTumourRun(tumour, run, tuple(self.view.pick(u[0]) for u in run.observations))

    def run_moved(self, tumour: Tumour, plan: VoxelPlan, distance: float) -> VoxelTumourRun:
        """Grow a tumour where the boundary of the white matter lies `distance` mm further out."""
        white, grey = moved_white(self.case.white, self.case.grey, distance)
        moved = replace(self, case=replace(self.case, white=white, grey=grey))
        return moved.run(tumour, plan, keep=False)

    def tangent(self, run: VoxelTumourRun, changes: Sequence[TumourChange]) -> tuple[Vector, ...]:
        """Return the derivatives of `run.densities` along k directions, (k, p) for each observation day."""
        points = self.space.points
        rates = np.array([change.values[:3] for change in changes])[:, None]
        duration = np.array([[-change.onset] for change in changes])
        starts = [change.start(run.tumour, self.space) for change in changes]
        nothing = np.zeros(len(points))
        initial = np.stack([nothing if start is None else start for start in starts])[:, None]
        spread = self.view.spread(initial, self.model.stencil.joined)
        tangents = self.model.tangent(run.run, VoxelDirections(rates, spread, duration))
        return tuple(self.view.pick(du[:, 0]) for du in tangents)

    def adjoint(self, run: VoxelTumourRun, duals: Sequence[Vector]) -> TumourChange:
        """Return the derivative of `sum_i <duals[i], run.densities[i]>` by the tumour."""
        like = self.model.stencil.joined
        derivative = self.model.adjoint(run.run, [self.view.spread(dual, like)[None] for dual in duals])
        initial = self.view.pick(derivative.initial[0])
        tumour = run.tumour
        *seed, radius = tumour.start_slopes(self.space).T @ initial
        scalars = np.array([*derivative.rates[0], *seed, -float(derivative.duration[0]), radius])
        return TumourChange.of(scalars, None if tumour.initial is None else initial)

    def gather(self, owned: Vector) -> Vector:
        """Return a density (p,) in the vertex order of the mesh."""
        return owned[self.used]

    def destroy(self) -> None:
        """Nothing to free: torch frees what nobody holds."""


def _mesh_between(box: TissueBox, points: Vector, cells: NDArray[np.int64], size: float) -> TetMesh:
    vertices, tetrahedra = compact(points, cells)
    tissue = [part[box.inside][cells].mean(axis=1) for part in (box.white, box.grey)]
    return TetMesh(vertices, tetrahedra, tissue[0], tissue[1], size, "voxel")
