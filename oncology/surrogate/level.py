"""What an identification needs of a surrogate: a level whose forward map is the surrogate, and the engine around it.

Everything but the forward map is the solver's own level on the surrogate's mesh, so that observations, seeds and the
correction of shapes are the same. The engine hands out that level as the coarse one and the solver's as the fine one:
the fit then takes its steps with the surrogate, and a correction step with the solver.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from oncology.errors import ConfigError
from oncology.imaging.case import Case
from oncology.inverse.field import FieldForward
from oncology.inverse.fit import Engine, FitSettings, Growth, PatientLevel
from oncology.inverse.misfit import Observation
from oncology.inverse.parameters import Parametrisation, Prior
from oncology.inverse.problem import Identification
from oncology.meshing import QualityReport, TetMesh
from oncology.model.cells import CellSpace
from oncology.model.growth import GrowthLaw
from oncology.model.seed import Seed
from oncology.model.timegrid import TimeGrid
from oncology.surrogate.coordinates import similarity
from oncology.surrogate.forward import SurrogateGrowth
from oncology.surrogate.model import Surrogate

__all__ = ["SurrogateEngine", "SurrogateLevel", "check_case", "surrogate_level", "tissue_fingerprint", "warnings_of"]

Vector = NDArray[np.float64]

_EDGE = 0.02  # share of the range that counts as close to its edge
_WORDS = {
    "ln_length": "infiltration length sqrt(D/rho)",
    "ln_diffusion_ratio": "diffusion ratio D_g/D_w",
    "seed_x": "seed x",
    "seed_y": "seed y",
    "seed_z": "seed z",
    "reach": "growth since onset",
}


@dataclass(frozen=True)
class SurrogateLevel:
    """A solver's level on the surrogate's mesh with the surrogate as forward map (`inverse.fit.PatientLevel`).

    Attributes:
        base: the solver's level.
        surrogate: what replaces the solver.
        cells: (m, 4) the level's cells as vertices of the surrogate's mesh.
        days: observation days.
    """

    base: PatientLevel
    surrogate: Surrogate
    cells: NDArray[np.int64]
    days: tuple[float, ...]

    @property
    def name(self) -> str:
        """For logs."""
        return f"surrogate of {self.mesh.size:g} mm"

    @property
    def box(self) -> tuple[Vector, Vector]:
        """Lower and upper corner of the mesh, mm."""
        return self.base.box

    @property
    def mesh(self) -> TetMesh:
        """The surrogate's mesh."""
        return self.base.mesh

    @property
    def margin(self) -> float:
        """Infinite: the mesh is what it is."""
        return self.base.margin

    @property
    def quality(self) -> QualityReport | None:
        """Quality of the mesh, where it was measured."""
        return self.base.quality

    @property
    def law(self) -> GrowthLaw:
        """Growth law."""
        return self.base.law

    @property
    def seed(self) -> Seed:
        """Shape of the seed."""
        return self.base.seed

    @property
    def observations(self) -> tuple[Observation, ...]:
        """Segmented regions and tracer images on the cells."""
        return self.base.observations

    @property
    def space(self) -> CellSpace:
        """The cells."""
        return self.base.space

    @property
    def points(self) -> Vector:
        """Vertices in the solver's order, (nv, 3), mm."""
        return self.base.points

    def grid(self, parameters: Vector, until: float | None = None) -> TimeGrid:
        """Return the solver's time grid."""
        return self.base.grid(parameters, until)

    def problem(
        self, parametrisation: Parametrisation, x: Vector, prior: Prior, noise: float, sharpness: float | None
    ) -> Identification:
        """Return the inverse problem with the surrogate, the same for every x."""
        forward = SurrogateGrowth(self.surrogate, self.space, self.cells, self.days)
        return Identification(forward, self.observations, parametrisation, prior, noise, sharpness)

    def grow(self, rates: Vector, initial: Vector, grid: TimeGrid, record: list[Vector] | None = None) -> Growth:
        """Return the solver's run: surrogates know seeds only."""
        return self.base.grow(rates, initial, grid, record)

    def field(self, grid: TimeGrid) -> FieldForward:
        """Return the solver's forward map of an initial density."""
        return self.base.field(grid)

    def gather(self, owned: Vector) -> Vector | None:
        """Return a density in the vertex order of the mesh."""
        return self.base.gather(owned)

    def cut_density(self, densities: Vector) -> float:
        """Return the highest of densities at the cell vertices (m, 4) next to the artificial cut."""
        return self.base.cut_density(densities)

    def destroy(self) -> None:
        """Free what the solver holds."""
        self.base.destroy()


def surrogate_level(base: PatientLevel, surrogate: Surrogate, days: tuple[float, ...]) -> SurrogateLevel:
    """Return the level of a surrogate from a solver's level on the same mesh, in one process."""
    order = base.gather(np.arange(len(base.points), dtype=float))  # place of each vertex of the mesh in the solver
    assert order is not None
    vertex = np.argsort(order.astype(np.int64))
    return SurrogateLevel(base, surrogate, vertex[base.space.cells], days)


@dataclass(frozen=True)
class SurrogateEngine:
    """Coarse levels are the surrogate's, fine ones the solver's (`inverse.fit.Engine`).

    Attributes:
        surrogate: of the case.
        own: solver on the surrogate's mesh.
        solver: solver for the correction.
    """

    surrogate: Surrogate
    own: Engine
    solver: Engine

    def level(self, case: Case, settings: FitSettings, size: float, margin: float, fine: bool) -> PatientLevel:
        """Return the solver's level of a case where `fine`, else the surrogate's, whatever size and margin."""
        if fine:
            return self.solver.level(case, settings, size, margin, fine)
        base = self.own.level(case, settings, self.surrogate.mesh.size, margin, fine=True)
        return surrogate_level(base, self.surrogate, tuple(session.day for session in case.sessions))

    @property
    def options(self) -> dict[str, object]:
        """What was chosen, as plain values."""
        trained = {"surrogate_mesh": self.surrogate.mesh.fingerprint, "surrogate_of": str(self.surrogate.facts["case"])}
        return {**self.solver.options, **trained, "engine": "surrogate"}

    @property
    def versions(self) -> dict[str, str]:
        """Versions of what computes."""
        return {**self.solver.versions, "torch": torch.__version__}


def tissue_fingerprint(case: Case) -> str:
    """Return SHA-256 of all in a case that growth depends on: tissue maps and tensor with their affines."""
    digest = hashlib.sha256()
    for volume in (case.white, case.grey, *(() if case.tensor is None else (case.tensor,))):
        for array in (volume.data, volume.affine):
            plain = np.ascontiguousarray(array, dtype=float)
            digest.update(str(plain.shape).encode())
            digest.update(plain.tobytes())
    return digest.hexdigest()


def check_case(case: Case, law: str, trained: str = "logistic") -> None:
    """Refuse what no surrogate is trained for.

    Raises:
        ConfigError: another growth law than the trained one, or a treatment before the last session.
    """
    if law != trained:
        raise ConfigError(f"--law {law}: the surrogate grew by the {trained} law: give --engine fem")
    last = case.sessions[-1].day
    treated = [treatment.day for treatment in case.treatments if treatment.day < last]
    if treated:
        raise ConfigError(
            f"{case.root}: is treated on day {min(treated):g}, before its last session; surrogates know growth without "
            "treatment only: give --engine fem"
        )


def warnings_of(surrogate: Surrogate, case: Case, parameters: Vector) -> tuple[str, ...]:
    """Return what is wrong with the use of a surrogate for an estimate, in sentences.

    Args:
        surrogate: that led to the estimate.
        case: the patient.
        parameters: the estimate, in the order of `model.cells.PARAMETERS`.
    """
    notes = []
    if surrogate.facts["tissue"] != tissue_fingerprint(case):
        notes.append(
            f"the surrogate was trained on other tissue maps (case {surrogate.facts['case']}): its densities are those "
            "of another brain, and one correction step cannot mend that; train one for this case"
        )
    days = [session.day for session in case.sessions]
    domain = surrogate.domain
    here = [similarity(np.asarray(parameters, dtype=float), day) for day in (days[0], days[-1])]
    outside = {name for variables in here for name in domain.beyond(variables)}
    near = {name for variables in here for name in domain.beyond(variables, _EDGE)} - outside
    for names, where in ((outside, "outside"), (near, "close to the edge of")):
        if names:
            words = ", ".join(text for name, text in _WORDS.items() if name in names)
            notes.append(f"the estimate lies {where} the range that the surrogate was trained in ({words})")
    return tuple(notes)
