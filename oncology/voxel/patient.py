"""From a case to the voxel levels of its inverse problem: tissue fractions of each voxel, operator, observations.

Voxels are cubes of the wanted size, aligned with the RAS axes, whatever the grid of the images; their tissue fractions
are means of the maps over each cube. Only the neighbourhood of the tumour is kept, as in the finite-element engine.
Between the centres of tissue voxels lie tetrahedra (Kuhn's subdivision of the cubes of the dual lattice): the cells on
which densities are P1 functions, so that both engines share misfit, files and pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from oncology.errors import ConfigError, MeshError
from oncology.imaging.case import Case
from oncology.imaging.resample import sample
from oncology.imaging.volume import Volume
from oncology.inverse.fit import FitSettings
from oncology.inverse.misfit import Observation
from oncology.inverse.parameters import Parametrisation, Prior
from oncology.inverse.patient import cavity_at, observations_of, tensors_at, tumour_distance
from oncology.inverse.problem import Identification
from oncology.meshing import QualityReport, TetMesh
from oncology.meshing.lattice import kuhn_cells
from oncology.meshing.topology import cell_volumes, compact, oriented
from oncology.model.cells import CellSpace
from oncology.model.growth import GrowthLaw
from oncology.model.seed import Seed
from oncology.model.timegrid import TimeGrid, plan_time_grid, step_limit
from oncology.model.treatment import Resection, Treatment
from oncology.voxel.forward import SeededVoxels, VoxelField, VoxelView
from oncology.voxel.model import VoxelModel, VoxelRun
from oncology.voxel.stencil import Mean, stencil

__all__ = ["TissueBox", "VoxelEngine", "VoxelLevel", "tissue_box", "voxel_level"]

Vector = NDArray[np.float64]

_TISSUE = 0.5  # smallest tissue fraction of a voxel that is not fluid
_SAMPLES = 1.5  # samples of the maps a source voxel along each axis
_CHUNK = 1 << 14  # voxels whose fractions are sampled at a time


@dataclass(frozen=True)
class TissueBox:
    """Tissue fractions on a box of cubic voxels.

    Attributes:
        white: (nx, ny, nz) white-matter fraction, 0..1.
        grey: (nx, ny, nz) grey-matter fraction, 0..1.
        inside: which voxels are tissue.
        lower: centre of the first voxel, mm.
        spacing: edge of a voxel, mm.
    """

    white: Vector
    grey: Vector
    inside: NDArray[np.bool_]
    lower: Vector
    spacing: float

    @property
    def points(self) -> Vector:
        """Centres of the tissue voxels in C order, (p, 3), mm."""
        return np.asarray(self.lower + self.spacing * np.argwhere(self.inside))


def tissue_box(case: Case, distance: Volume, size: float, margin: float) -> TissueBox:
    """Return the tissue within a margin of a case's tumour on voxels of a size (both mm): one connected piece.

    Args:
        case: the patient.
        distance: of every voxel of the tissue maps from the tumour, mm.
        size: edge of a voxel, mm.
        margin: how far the box reaches, mm.

    Raises:
        MeshError: where no voxel is mostly tissue.
    """
    near = distance.data <= margin
    planes = 1 + (case.tensor is not None)  # of margin along the first axis (`Stencil.guarded`)
    corners = case.white.world(np.argwhere(near & (case.white.data + case.grey.data > _TISSUE)))
    if not len(corners):
        raise MeshError(f"{case.root}: no tissue within {margin:g} mm of the segmentations: check the tissue maps")
    first, last = (np.floor(edge / size).astype(int) for edge in (corners.min(axis=0), corners.max(axis=0)))
    first[0] -= planes
    last[0] += planes
    shape = np.maximum(last - first + 1, 2)
    lower = (first + 0.5) * size
    maps = np.stack([np.where(near, tissue.data, 0.0) for tissue in (case.white, case.grey)], axis=-1)
    fractions = _means(case.white.with_data(maps), lower, shape, size)
    white, grey = fractions[..., 0], fractions[..., 1]
    labels, count = ndimage.label(white + grey >= _TISSUE)
    if not count:
        raise MeshError(f"{case.root}: no voxel of {size:g} mm is mostly tissue: give a smaller --size")
    labels[:planes] = labels[-planes:] = 0
    inside = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    return TissueBox(white, grey, inside, lower, size)


def _means(maps: Volume, lower: Vector, shape: Vector, size: float) -> Vector:
    """Return the means of maps (..., k) over the cubes of a box, (nx, ny, nz, k)."""
    count = max(1, int(np.ceil(_SAMPLES * size / maps.voxel_sizes.min())))
    inner = (np.arange(count) + 0.5) / count - 0.5
    offsets = size * np.stack(np.meshgrid(inner, inner, inner, indexing="ij"), axis=-1).reshape(-1, 3)
    centres = lower + size * np.moveaxis(np.indices(tuple(shape)), 0, -1).reshape(-1, 3)
    parts = [
        sample(maps, (part[:, None] + offsets).reshape(-1, 3), order=0)
        .reshape(len(part), len(offsets), -1)
        .mean(axis=1)
        for part in np.array_split(centres, len(centres) // _CHUNK + 1)
    ]
    return np.clip(np.concatenate(parts), 0.0, 1.0).reshape(*shape, -1)


def voxel_cells(box: TissueBox) -> NDArray[np.int64]:
    """Return the tetrahedra between tissue voxels (numbers in C order of the tissue), (m, 4), of positive volume."""
    inside = box.inside
    full = np.ones(tuple(n - 1 for n in inside.shape), dtype=bool)
    for corner in np.ndindex(2, 2, 2):
        full &= inside[tuple(slice(c, n - 1 + c) for c, n in zip(corner, inside.shape, strict=True))]
    number = np.cumsum(inside.ravel()) - 1
    cells = number[kuhn_cells(np.argwhere(full), np.array(inside.shape))]
    return np.asarray(oriented(box.points, cells))


@dataclass(frozen=True)
class VoxelLevel:
    """One voxel size of a case with what it is compared to (`oncology.inverse.fit.PatientLevel`).

    Attributes:
        mesh: tetrahedra between the voxel centres.
        margin: how far the voxels reach beyond every segmentation, mm.
        model: discrete growth model.
        view: tissue voxels and cells.
        used: (p,) tissue voxels that are vertices of the mesh, in its order.
        observations: segmented regions as cell fractions, and tracer images.
        days: observation days.
        treatments: treatment events of the case.
        seed: shape of the seed.
        cut: (p,) tissue voxels next to the artificial cut.
    """

    mesh: TetMesh
    margin: float
    model: VoxelModel
    view: VoxelView
    used: NDArray[np.int64]
    observations: tuple[Observation, ...]
    days: tuple[float, ...]
    treatments: tuple[Treatment, ...]
    seed: Seed
    cut: NDArray[np.bool_]

    @property
    def name(self) -> str:
        """For logs."""
        return f"{self.mesh.size:g} mm"

    @property
    def quality(self) -> QualityReport | None:
        """None: all cells are alike."""
        return None

    @property
    def law(self) -> GrowthLaw:
        """Growth law."""
        return self.model.law

    @property
    def space(self) -> CellSpace:
        """The cells between tissue voxels."""
        return self.view.space

    @property
    def points(self) -> Vector:
        """Centres of the tissue voxels, (p, 3), mm."""
        return self.view.space.points

    @property
    def box(self) -> tuple[Vector, Vector]:
        """Lower and upper corner of the cells, mm."""
        return self.points.min(axis=0), self.points.max(axis=0)

    def grid(self, parameters: Vector, until: float | None = None) -> TimeGrid:
        """Return a time grid that suits a parameter vector; `until` a day before any session or treatment, if given."""
        longest = step_limit(float(parameters[2]), float(max(parameters[:2])), self.seed.width)
        if until is not None:
            return plan_time_grid(float(parameters[6]), [until], (), longest)
        return plan_time_grid(float(parameters[6]), self.days, self.treatments, longest)

    def problem(
        self, parametrisation: Parametrisation, x: Vector, prior: Prior, noise: float, sharpness: float | None
    ) -> Identification:
        """Return the inverse problem on these voxels with a time grid that suits x."""
        values = parametrisation.physical(x)
        forward = SeededVoxels.around(values, self.model, self.view, self.grid(values), self.seed)
        return Identification(forward, self.observations, parametrisation, prior, noise, sharpness)

    def grow(self, rates: Vector, initial: Vector, grid: TimeGrid, record: list[Vector] | None = None) -> VoxelGrowth:
        """Return the run from an initial density (p,) with D_w, D_g and rho."""
        keep = None if record is None else lambda u: record.append(self.view.pick(u[0]))
        start = self.view.spread(initial, self.model.stencil.white)[None]
        run = self.model.run(np.asarray(rates, dtype=float)[None], start, grid, keep=False, record=keep)
        return VoxelGrowth(run, tuple(self.view.pick(u[0]) for u in run.observations))

    def field(self, grid: TimeGrid) -> VoxelField:
        """Return the forward map of an initial density."""
        return VoxelField(self.model, self.view, grid)

    def gather(self, owned: Vector) -> Vector:
        """Return a density (p,) in the vertex order of the mesh."""
        return owned[self.used]

    def cut_density(self, densities: Vector) -> float:
        """Return the highest of densities at the cell vertices (m, 4) next to the artificial cut."""
        return float(densities[self.cut[self.space.cells]].max(initial=0.0))

    def destroy(self) -> None:
        """Nothing to free: torch frees what nobody holds."""


@dataclass(frozen=True)
class VoxelGrowth:
    """A run with its densities at the tissue voxels (`oncology.inverse.fit.Growth`)."""

    run: VoxelRun
    observations: tuple[Vector, ...]

    @property
    def grid(self) -> TimeGrid:
        """Its time grid."""
        return self.run.grid

    @property
    def lowest(self) -> float:
        """Smallest density of the run."""
        return self.run.lowest

    @property
    def highest(self) -> float:
        """Largest density of the run."""
        return self.run.highest


def voxel_level(
    case: Case,
    settings: FitSettings,
    size: float,
    margin: float,
    mean: Mean = "harmonic",
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
    fused: bool = False,
) -> VoxelLevel:
    """Return a level of a case.

    Args:
        case: the patient.
        settings: growth law and data.
        size: edge of a voxel, mm.
        margin: how far the voxels reach beyond every segmentation, mm.
        mean: of the diffusivities of neighbouring voxels; arithmetic where the case has a tensor.
        dtype: float32 or float64.
        device: where to compute.
        fused: apply the stencil in one compiled pass.

    Raises:
        MeshError: where there is no tissue.
    """
    distance = tumour_distance(case)
    box = tissue_box(case, distance, size, margin)
    points, cells = box.points, voxel_cells(box)
    tensor = None
    if case.tensor is not None:
        tensor = np.broadcast_to(np.eye(3), (*box.inside.shape, 3, 3)).copy()
        tensor[box.inside] = tensors_at(case.tensor, points)
        mean = "arithmetic"
    operator = stencil(box.white, box.grey, box.inside, size, mean, tensor, dtype, device)
    index = torch.as_tensor(np.flatnonzero(box.inside), device=device)
    space = CellSpace(points, cells, cell_volumes(points, cells), lambda values: values)
    view = VoxelView(space, index, box.inside.size)
    left = {
        number: view.spread(1.0 - cavity_at(case, treatment, points), operator.white)
        for number, treatment in enumerate(case.treatments)
        if isinstance(treatment, Resection)
    }
    used = np.unique(cells)
    vertices, tetrahedra = compact(points, cells)
    tissue = [part[box.inside][cells].mean(axis=1) for part in (box.white, box.grey)]
    return VoxelLevel(
        mesh=TetMesh(vertices, tetrahedra, tissue[0], tissue[1], size, "voxel"),
        margin=margin,
        model=VoxelModel(operator, settings.law, left, fused=fused),
        view=view,
        used=used,
        observations=observations_of(case, view.space, settings.tracer),
        days=tuple(session.day for session in case.sessions),
        treatments=case.treatments,
        seed=Seed(),
        cut=sample(distance, points) >= margin - 1.5 * size,
    )


@dataclass(frozen=True)
class VoxelEngine:
    """The voxel engine (`oncology.inverse.fit.Engine`).

    Attributes:
        device: "cpu" or "cuda".
        precision: "single" or "double".
        mean: of the diffusivities of neighbouring voxels.
        fused: apply the stencil in one compiled pass.
    """

    device: str = "cpu"
    precision: str = "double"
    mean: Mean = "harmonic"
    fused: bool = False

    @classmethod
    def choose(cls, device: str | None = None, precision: str | None = None) -> VoxelEngine:
        """Return the engine on a GPU if there is one, in single precision there and in double precision on a CPU.

        Raises:
            ConfigError: a GPU is asked for and there is none.
        """
        if device == "cuda" and not torch.cuda.is_available():
            raise ConfigError(f"--device cuda: torch {torch.__version__} finds no GPU here: give --device cpu")
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        # on a CPU compiling takes longer than a fit
        return cls(device, precision or ("single" if device == "cuda" else "double"), fused=device == "cuda")

    def level(self, case: Case, settings: FitSettings, size: float, margin: float, fine: bool) -> VoxelLevel:
        """Return a level of a case (`voxel_level`); coarse and fine ones differ in size and margin only."""
        dtype = {"single": torch.float32, "double": torch.float64}[self.precision]
        return voxel_level(case, settings, size, margin, self.mean, dtype, self.device, self.fused)

    @property
    def options(self) -> dict[str, object]:
        """What was chosen, as plain values."""
        return {
            "engine": "voxel",
            "device": self.device,
            "precision": self.precision,
            "mean": self.mean,
            "fused": self.fused,
        }

    @property
    def versions(self) -> dict[str, str]:
        """Versions of what computes."""
        found = {"torch": torch.__version__}
        return found | ({"gpu": torch.cuda.get_device_name()} if self.device.startswith("cuda") else {})
