"""One mesh of a case with what it is compared to: a level of the coarse-to-fine sequence, whichever engine solves it.

Only the neighbourhood of the tumour is meshed: all brain within a margin of any segmentation. The cut through tissue is
an artificial face without flux, so the density next to it is checked at the end and the margin widened where it is not
negligible.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from oncology.errors import MeshError
from oncology.imaging.case import Case
from oncology.imaging.resample import sample
from oncology.inverse.maps import ParameterMap
from oncology.inverse.misfit import MaskObservation, Observation
from oncology.inverse.observe import FixedData, ScanData
from oncology.inverse.problem import InverseProblem
from oncology.meshing import QualityReport, TetMesh
from oncology.meshing.engines import MeshedEngine, PatientEngine
from oncology.model.cells import CellSpace
from oncology.model.growth import GrowthLaw, Logistic
from oncology.model.timegrid import TimeGrid

__all__ = ["FitSettings", "Level", "level_of"]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class FitSettings:
    """Settings of a fit that no engine changes; the defaults suit any case.

    Attributes:
        size: edge length of the fine level's cells, mm.
        law: growth law.
        estimate_thresholds: treat the thresholds as unknown, with the given ones as prior medians.
        tracer: use the sessions' tracer images (FET-PET) too.
        seed_radius: radius of the seed where it is known, mm; None: unknown around 6.5 mm.
        shape: correct the density before the first scan where one seed does not explain the tumour's shape.
    """

    size: float = 2.5
    law: GrowthLaw = field(default_factory=Logistic)
    estimate_thresholds: bool = False
    tracer: bool = False
    seed_radius: float | None = None
    shape: bool = True


@dataclass(frozen=True, eq=False)
class Level:
    """One mesh of a case with what it is compared to.

    Attributes:
        engine: the engine.
        margin: how far its mesh reaches beyond every segmentation, mm; infinite where it cannot be made wider.
        quality: quality of the mesh, where it was measured.
        data: segmented regions and tracer images on the cells of this rank.
        cut: (n + ghosts,) vertices next to the artificial cut.
        kind: what stands before the edge length in logs.
    """

    engine: PatientEngine
    margin: float
    quality: QualityReport | None
    data: FixedData
    cut: NDArray[np.bool_]
    kind: str = ""

    @property
    def name(self) -> str:
        """For logs."""
        return f"{self.kind} {self.mesh.size:g} mm".lstrip()

    @property
    def mesh(self) -> TetMesh:
        """The mesh, on every rank."""
        return self.engine.mesh

    @property
    def space(self) -> CellSpace:
        """The cells of this rank."""
        return self.engine.space

    @property
    def masks(self) -> tuple[MaskObservation, ...]:
        """The segmented regions alone."""
        return tuple(o for o in self.data.observations if isinstance(o, MaskObservation))

    def problem(self, unknowns: ParameterMap, x: Vector, noise: float, sharpness: float | None) -> InverseProblem:
        """Return the inverse problem on this mesh with time steps that suit x, twice as long for a blurred misfit."""
        problem = InverseProblem(self.engine, self.data, unknowns, noise, sharpness, x)
        if sharpness is None or not isinstance(problem.plan, TimeGrid):
            return problem
        return replace(problem, plan=problem.plan.coarser())

    def cut_density(self, density: Vector) -> float:
        """Return the highest density of a P1 function (n,) next to the artificial cut, over all ranks (collective)."""
        corners = self.space.to_cells(density)
        highest = corners[self.cut[self.space.cells]].max(initial=0.0)
        return self.space.extremes(0.0, float(highest))[1]

    def destroy(self) -> None:
        """Free what the engine holds (collective)."""
        self.engine.destroy()


def level_of(made: MeshedEngine, case: Case, tracer: bool = False) -> Level:
    """Return the level of an engine: the case's images on its cells, and the vertices next to the cut (collective).

    Args:
        made: engine and margin.
        case: the patient, on every rank.
        tracer: observe the tracer images too.

    Raises:
        MeshError: a focus of the tumour lies outside the mesh, on every rank.
    """
    space = made.engine.space
    _require_foci(case, space, made.engine.mesh.size)
    observations: tuple[Observation, ...] = ScanData(case, tracer).on(space)
    reached = made.margin - 1.5 * made.engine.mesh.size
    cut = sample(case.tumour_distance, space.points) >= reached
    return Level(made.engine, made.margin, made.quality, FixedData(case.days, observations), cut, made.kind)


def _require_foci(case: Case, space: CellSpace, size: float) -> None:
    """Refuse a mesh that misses one of several foci: an edge length of `size` (mm) was too coarse for the way there."""
    if len(case.foci) < 2:
        return
    for focus in case.foci:
        voxels = focus.region.world(np.argwhere(focus.region.data))
        away = cKDTree(space.points).query(voxels)[0].min() if len(space.points) else np.inf
        if space.extremes(float(away), 0.0)[0] > size:
            where = " ".join(f"{x:.0f}" for x in focus.centre)
            raise MeshError(
                f"the mesh of {size:g} mm leaves out the focus at {where} mm (RAS): give a smaller --size, or a mesh "
                "of your own that holds all foci"
            )
