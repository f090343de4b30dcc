"""From a case to the finite-element levels of its inverse problem: region, mesh, matrices, observations.

Only the neighbourhood of the tumour is meshed: all brain within a margin of any segmentation. The cut through tissue is
an artificial face without flux, so the density next to it is checked at the end and the margin widened where it is not
negligible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncology.errors import CaseError, MeshError
from oncology.fem.discretisation import Discretisation, discretise
from oncology.fem.forward import Seed, SeededGrowth
from oncology.fem.model import TumourModel
from oncology.fem.timegrid import TimeGrid, plan_time_grid, step_limit
from oncology.growth import GrowthLaw, Logistic, Resection
from oncology.imaging.case import Case
from oncology.imaging.resample import cell_average, resample_to, sample
from oncology.imaging.tensor import to_matrices
from oncology.imaging.volume import Volume
from oncology.inverse.misfit import MaskObservation, Observation, TracerObservation
from oncology.inverse.parameters import Parametrisation, Prior
from oncology.inverse.problem import Identification
from oncology.meshing import Grading, QualityReport, Route, TetMesh, build_mesh, cached_mesh
from oncology.parallel import on_root

__all__ = ["MeshChoice", "PatientLevel", "make_level", "make_mesh", "patient_model", "tumour_distance"]

Vector = NDArray[np.float64]

# Weight of a tracer's residual beside a segmentation's: uptake follows density only roughly.
_TRACER_WEIGHT = 0.5


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
    """One mesh of a case with what it is compared to (`oncology.inverse.identify.Level`).

    Attributes:
        mesh: the mesh, on every rank.
        margin: how far it reaches beyond every segmentation, mm (infinite for an imported mesh).
        quality: its quality report; None for an imported mesh.
        model: discrete growth model.
        observations: segmented regions as cell fractions, and tracer images.
        days: observation days.
        treatments: treatment events of the case.
        seed: shape of the seed.
        cut: (owned,) owned vertices next to the artificial cut.
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

    def cut_density(self, owned: Vector) -> float:
        """Return the highest density next to the artificial cut."""
        highest = owned[self.cut].max(initial=0.0)
        return self.discretisation.extremes(0.0, float(highest))[1]

    def destroy(self) -> None:
        """Free solvers and matrices (collective)."""
        self.model.destroy()
        self.discretisation.destroy()


def tumour_distance(case: Case) -> Volume:
    """Return the distance of every voxel of the tissue maps from the union of all segmentations, mm."""
    union = np.zeros(case.white.shape, dtype=bool)
    for session in case.sessions:
        union |= resample_to(session.whole, case.white, order=0).data > 0.5
    if not union.any():
        raise MeshError(f"{case.root}: the segmentations miss the grid of the tissue maps: check their affines")
    return case.white.with_data(ndimage.distance_transform_edt(~union, sampling=case.white.voxel_sizes))


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
    observations: list[Observation] = [*_masks(case, discretisation)]
    if tracer:
        observations += _tracers(case, discretisation)
    owned = discretisation.points[: discretisation.owned]
    distance = sample(tumour_distance(case), owned)
    reached = choice.margin - 1.5 * choice.size if choice.imported is None else np.inf
    return PatientLevel(
        mesh=mesh,
        margin=choice.margin if choice.imported is None else np.inf,
        quality=quality,
        model=model,
        observations=tuple(observations),
        days=tuple(session.day for session in case.sessions),
        treatments=case.treatments,
        seed=seed or Seed(),
        cut=distance >= reached,
    )


def _masks(case: Case, discretisation: Discretisation) -> list[MaskObservation]:
    """Return the segmented regions as cell fractions."""
    given = {"whole": case.thresholds.oedema, "core": case.thresholds.core}
    return [
        MaskObservation(
            region, index, given[region], cell_average(mask, discretisation.points, discretisation.cells, order=0)
        )
        for index, session in enumerate(case.sessions)
        for region, mask in (("whole", session.whole), ("core", session.core))
    ]


def _tracers(case: Case, discretisation: Discretisation) -> list[TracerObservation]:
    """Return the tracer images of the sessions that have one.

    Uptake is measured above the median of the brain beyond 20 mm from any segmentation, in units of the 95th percentile
    of the whole tumour, and compared within 5 mm of the whole tumour.
    """
    brain = case.white.data + case.grey.data > 0.5
    away = case.white.world(np.argwhere(brain & (tumour_distance(case).data > 20.0)))
    observations = []
    for index, session in enumerate(case.sessions):
        if session.pet is None:
            continue
        background = float(np.median(sample(session.pet, away))) if len(away) else 0.0
        inside = sample(session.pet, session.whole.world(np.argwhere(session.whole.data)))
        high = float(np.percentile(inside, 95.0)) - background
        if not high > 0.0:
            raise CaseError(
                f"{session.pet.name}: uptake in the tumour is not above that of the healthy brain ({background:g}): "
                "fit without --pet"
            )
        uptake = cell_average(session.pet, discretisation.points, discretisation.cells, order=1)
        centres = discretisation.points[discretisation.cells].mean(axis=1)
        outside = ndimage.distance_transform_edt(~session.whole.data, sampling=session.whole.voxel_sizes)
        near = sample(session.whole.with_data(outside), centres, outside=np.inf) <= 5.0
        observations.append(TracerObservation(index, (uptake - background) / high, np.where(near, _TRACER_WEIGHT, 0.0)))
    return observations


def patient_model(
    comm: Any, case: Case, mesh: TetMesh, law: GrowthLaw | None = None, tolerance: float = 1e-8
) -> TumourModel:
    """Return the discrete growth model of a case on a mesh (collective)."""
    tensor = None
    if case.tensor is not None:
        tensor = _cell_tensors(case.tensor, mesh)
    discretisation = discretise(comm, mesh.points, mesh.cells, mesh.white, mesh.grey, tensor)
    owned = discretisation.points[: discretisation.owned]
    resections = {
        number: 1.0 - _cavity(case, treatment)(owned)
        for number, treatment in enumerate(case.treatments)
        if isinstance(treatment, Resection)
    }
    return TumourModel(discretisation, law or Logistic(), resections=resections, tolerance=tolerance)


def _cavity(case: Case, resection: Resection) -> Callable[[Vector], Vector]:
    """Return the indicator (0..1) of a resection's cavity at points."""
    if resection.mask is not None:
        from oncology.imaging.volume import read_volume

        mask = read_volume(resection.mask)
        return lambda points: sample(mask.with_data((mask.data > 0.5).astype(float)), points)
    before = [session for session in case.sessions if session.day < resection.day][-1]
    core = before.core.with_data(before.core.data.astype(float))
    return lambda points: sample(core, points)


def _cell_tensors(tensor: Volume, mesh: TetMesh) -> Vector:
    """Return the tensor at the cell centres divided by its mean diffusivity, (nc, 3, 3); identity where it is zero."""
    centres = mesh.points[mesh.cells].mean(axis=1)
    components = [sample(replace(tensor, data=tensor.data[..., k]), centres) for k in range(6)]
    matrices = to_matrices(np.stack(components, axis=-1))
    mean = np.trace(matrices, axis1=1, axis2=2) / 3.0
    result = np.broadcast_to(np.eye(3), matrices.shape).copy()
    known = mean > 1e-3 * np.median(mean[mean > 0.0]) if (mean > 0.0).any() else mean > 0.0
    result[known] = matrices[known] / mean[known, None, None]
    return result
