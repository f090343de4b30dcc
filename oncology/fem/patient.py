"""From a case to the finite-element levels of its inverse problem: region, mesh, matrices, observations.

Only the neighbourhood of the tumour is meshed: all brain within a margin of any segmentation. The cut through tissue is
an artificial face without flux, so the density next to it is checked at the end and the margin widened where it is not
negligible.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncology.fem import probe
from oncology.fem.discretisation import Discretisation, discretise
from oncology.fem.field import FieldGrowth
from oncology.fem.forward import SeededGrowth
from oncology.fem.model import Rates, Run, TumourModel
from oncology.imaging.case import Case
from oncology.imaging.resample import sample
from oncology.inverse.fit import FitSettings
from oncology.inverse.misfit import Observation
from oncology.inverse.parameters import Parametrisation, Prior
from oncology.inverse.patient import cavity_at, observations_of, tensors_at, tumour_distance
from oncology.inverse.problem import Identification
from oncology.meshing import Grading, QualityReport, Route, TetMesh, build_mesh, cached_mesh
from oncology.model.cells import CellSpace
from oncology.model.growth import GrowthLaw, Logistic
from oncology.model.seed import Seed
from oncology.model.timegrid import TimeGrid, plan_time_grid, step_limit
from oncology.model.treatment import Resection
from oncology.parallel import on_root

__all__ = ["FiniteElements", "MeshChoice", "PatientLevel", "make_level", "make_mesh", "patient_model"]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class MeshChoice:
    """How the neighbourhood of the tumour is meshed.

    Attributes:
        size: edge length, mm.
        route: "stuffing" or "lattice".
        margin: how far the mesh reaches beyond every segmentation, mm.
        cache: folder of meshes kept by content; None: none.
        grading: ball that keeps `size` and the size far from it; None: uniform.
        imported: mesh the user brought; then size, route and margin do not count.
    """

    size: float = 2.5
    route: Route = "stuffing"
    margin: float = 20.0
    cache: Path | None = None
    grading: Grading | None = None
    imported: TetMesh | None = None


@dataclass(frozen=True)
class PatientLevel:
    """One mesh of a case with what it is compared to (`oncology.inverse.fit.PatientLevel`).

    Attributes:
        mesh: the mesh, on every rank.
        margin: how far it reaches beyond every segmentation, mm (infinite for an imported mesh).
        quality: its quality report; None for an imported mesh.
        model: discrete growth model.
        observations: segmented regions as cell fractions, and tracer images.
        days: observation days.
        treatments: treatment events of the case.
        seed: shape of the seed.
        cut: (owned + ghosts,) vertices next to the artificial cut.
    """

    mesh: TetMesh
    margin: float
    quality: QualityReport | None
    model: TumourModel
    observations: tuple[Observation, ...]
    days: tuple[float, ...]
    treatments: tuple[Any, ...]
    seed: Seed
    cut: NDArray[np.bool_]

    @property
    def name(self) -> str:
        """For logs."""
        return f"{self.mesh.size:g} mm"

    @property
    def discretisation(self) -> Discretisation:
        """Mesh and matrices."""
        return self.model.discretisation

    @property
    def law(self) -> GrowthLaw:
        """Growth law."""
        return self.model.law

    @property
    def space(self) -> CellSpace:
        """The cells of this rank."""
        return self.discretisation.cell_space

    @property
    def points(self) -> Vector:
        """Owned vertices, (owned, 3), mm."""
        return self.discretisation.points[: self.discretisation.owned]

    def grid(self, parameters: Vector, until: float | None = None) -> TimeGrid:
        """Return a time grid that suits a parameter vector; `until` a day before any session or treatment, if given."""
        longest = step_limit(float(parameters[2]), float(max(parameters[:2])), self.seed.width)
        if until is not None:
            return plan_time_grid(float(parameters[6]), [until], (), longest)
        return plan_time_grid(float(parameters[6]), self.days, self.treatments, longest)

    @property
    def box(self) -> tuple[Vector, Vector]:
        """Lower and upper corner of the mesh, mm."""
        return self.mesh.points.min(axis=0), self.mesh.points.max(axis=0)

    def problem(
        self, parametrisation: Parametrisation, x: Vector, prior: Prior, noise: float, sharpness: float | None
    ) -> Identification:
        """Return the inverse problem on this mesh with a time grid that suits x."""
        forward = SeededGrowth(self.model, self.grid(parametrisation.physical(x)), self.seed)
        return Identification(forward, self.observations, parametrisation, prior, noise, sharpness)

    def grow(self, rates: Vector, initial: Vector, grid: TimeGrid, record: list[Vector] | None = None) -> Run:
        """Return the run from an initial density (owned,) with D_w, D_g and rho."""
        return self.model.run(Rates(*map(float, rates)), initial, grid, keep=False, record=record)

    def field(self, grid: TimeGrid) -> FieldGrowth:
        """Return the forward map of an initial density."""
        return FieldGrowth(self.model, grid)

    def gather(self, owned: Vector) -> Vector | None:
        """Return a density in the vertex order of the mesh on rank 0, None elsewhere."""
        return self.discretisation.gather(owned)

    def cut_density(self, densities: Vector) -> float:
        """Return the highest of densities at the cell vertices (m, 4) next to the artificial cut."""
        highest = densities[self.cut[self.discretisation.cells]].max(initial=0.0)
        return self.discretisation.extremes(0.0, float(highest))[1]

    def destroy(self) -> None:
        """Free solvers and matrices (collective)."""
        self.model.destroy()
        self.discretisation.destroy()


def make_mesh(case: Case, choice: MeshChoice) -> tuple[TetMesh, QualityReport | None]:
    """Mesh the neighbourhood of a case's tumour (serial).

    Raises:
        MeshError: where no mesh can be made.
    """
    if choice.imported is not None:
        return choice.imported, None
    near = tumour_distance(case).data <= choice.margin
    white, grey = (tissue.with_data(np.where(near, tissue.data, 0.0)) for tissue in (case.white, case.grey))
    if choice.cache is None:
        return build_mesh(white, grey, choice.size, choice.route, choice.grading)
    return cached_mesh(choice.cache, white, grey, choice.size, choice.route, choice.grading)


def make_level(
    comm: Any,
    case: Case,
    choice: MeshChoice,
    law: GrowthLaw | None = None,
    seed: Seed | None = None,
    tolerance: float = 1e-8,
    tracer: bool = False,
) -> PatientLevel:
    """Mesh a case, assemble its model and average its images over the cells (collective).

    Args:
        comm: MPI communicator.
        case: the patient, on every rank.
        choice: how the neighbourhood of the tumour is meshed.
        law: growth law; None: logistic.
        seed: shape of the seed.
        tolerance: relative residual of the diffusion solves.
        tracer: observe the tracer images too.

    Raises:
        MeshError: where no mesh can be made, on every rank.
    """
    mesh, quality = on_root(comm, lambda: make_mesh(case, choice))
    model = patient_model(comm, case, mesh, law, tolerance)
    discretisation = model.discretisation
    observations = observations_of(case, discretisation.cell_space, tracer)
    distance = sample(tumour_distance(case), discretisation.points)
    reached = choice.margin - 1.5 * choice.size if choice.imported is None else np.inf
    return PatientLevel(
        mesh=mesh,
        margin=choice.margin if choice.imported is None else np.inf,
        quality=quality,
        model=model,
        observations=observations,
        days=tuple(session.day for session in case.sessions),
        treatments=case.treatments,
        seed=seed or Seed(),
        cut=distance >= reached,
    )


def patient_model(
    comm: Any, case: Case, mesh: TetMesh, law: GrowthLaw | None = None, tolerance: float = 1e-8
) -> TumourModel:
    """Return the discrete growth model of a case on a mesh (collective)."""
    tensor = None
    if case.tensor is not None:
        tensor = tensors_at(case.tensor, mesh.points[mesh.cells].mean(axis=1))
    discretisation = discretise(comm, mesh.points, mesh.cells, mesh.white, mesh.grey, tensor)
    owned = discretisation.points[: discretisation.owned]
    resections = {
        number: 1.0 - cavity_at(case, treatment, owned)
        for number, treatment in enumerate(case.treatments)
        if isinstance(treatment, Resection)
    }
    return TumourModel(discretisation, law or Logistic(), resections=resections, tolerance=tolerance)


@dataclass(frozen=True)
class FiniteElements:
    """The finite-element engine (`oncology.inverse.fit.Engine`).

    Attributes:
        comm: MPI communicator.
        route: "stuffing" or "lattice".
        imported: mesh the user brought, for the fine level.
        cache: folder of meshes kept by content.
    """

    comm: Any
    route: Route = "stuffing"
    imported: TetMesh | None = None
    cache: Path | None = None

    def level(self, case: Case, settings: FitSettings, size: float, margin: float, fine: bool) -> PatientLevel:
        """Return a level of a case (collective).

        Args:
            case: the patient, on every rank.
            settings: growth law and data.
            size: edge length, mm.
            margin: how far the mesh reaches beyond every segmentation, mm.
            fine: take the user's mesh, if there is one.

        Raises:
            MeshError: where no mesh can be made, on every rank.
        """
        imported = self.imported if fine else None
        choice = MeshChoice(size, self.route, margin, self.cache, imported=imported)
        return make_level(self.comm, case, choice, settings.law, tracer=settings.tracer)

    @property
    def options(self) -> dict[str, object]:
        """What was chosen, as plain values."""
        return {
            "engine": "fem",
            "route": self.route if self.imported is None else "imported",
            "mesh_fingerprint": "" if self.imported is None else self.imported.fingerprint,
        }

    @property
    def versions(self) -> dict[str, str]:
        """Versions of what computes."""
        return probe.versions().named
