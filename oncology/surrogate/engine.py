"""The surrogate as an engine: densities of a seed from a trained network, everything else from the solver it replaces.

`SurrogateEngines` hands out the surrogate for the coarse level and the solver for the fine one: a fit then takes its
steps with the surrogate, and a correction step with the solver.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from oncology.errors import ConfigError, NumericalError
from oncology.imaging.case import Case
from oncology.meshing import TetMesh
from oncology.meshing.engines import Engines, MeshedEngine, PatientEngine
from oncology.model.cells import CellSpace
from oncology.model.engine import Record
from oncology.model.growth import GrowthLaw
from oncology.model.tumour import Tumour, TumourChange
from oncology.surrogate.coordinates import similarity, similarity_slopes
from oncology.surrogate.model import Response, Surrogate

__all__ = ["SurrogateEngine", "SurrogateEngines", "check_case", "tissue_fingerprint", "warnings_of"]

Vector = NDArray[np.float64]

_EDGE = 0.02  # fraction of the range that counts as close to its edge
_WORDS = {
    "ln_length": "infiltration length sqrt(D/rho)",
    "ln_diffusion_ratio": "diffusion ratio D_g/D_w",
    "seed_x": "seed x",
    "seed_y": "seed y",
    "seed_z": "seed z",
    "seed_radius": "radius of the seed",
    "reach": "growth since onset",
}


@dataclass(frozen=True, eq=False)
class SurrogateRun:
    """A run of the surrogate (`oncology.model.engine.EngineRun`).

    Attributes:
        tumour: what was run.
        response: of the surrogate, one row for each day.
        slopes: (days, 7, 8) derivative of the similarity variables by the scalars of the tumour.
        densities: (n,) for each day, in the order of the solver's vertices.
        notes: nothing.
    """

    tumour: Tumour
    response: Response = field(repr=False)
    slopes: Vector = field(repr=False)
    densities: tuple[Vector, ...] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def extremes(self) -> tuple[float, float]:
        """Smallest and largest density on the observation days."""
        return min(float(u.min()) for u in self.densities), max(float(u.max()) for u in self.densities)


@dataclass(frozen=True)
class SurrogateDays:
    """Days on which the surrogate answers: the plan of a tumour that it was trained for."""

    days: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class SurrogateEngine:
    """A trained surrogate in front of the solver on its mesh (`oncology.model.engine.Engine`); one process.

    Attributes:
        base: solver on the surrogate's mesh; it also grows densities that no seed explains.
        surrogate: what replaces it for seeds.
        vertices: (n,) vertex of the surrogate's mesh for each vertex of the solver.
    """

    base: PatientEngine
    surrogate: Surrogate
    vertices: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Match the vertices of solver and mesh."""
        order = self.base.gather(np.arange(len(self.base.space.owned), dtype=float))
        assert order is not None
        object.__setattr__(self, "vertices", np.argsort(order.astype(np.int64)))

    @property
    def mesh(self) -> TetMesh:
        """The surrogate's mesh."""
        return self.base.mesh

    @property
    def law(self) -> GrowthLaw:
        """Growth law."""
        return self.base.law

    @property
    def space(self) -> CellSpace:
        """The cells of the solver."""
        return self.base.space

    def plan(self, tumour: Tumour, days: Sequence[float]) -> Any:
        """Return the days for the surrogate, or the solver's plan where the tumour or a day is none of its own."""
        reach = [similarity(tumour.values, day)[-1] for day in days if day > tumour.onset]
        if _has_fields(tumour) or len(reach) < len(days) or min(reach) < self.surrogate.domain.lower[-1]:
            return self.base.plan(tumour, days)
        return SurrogateDays(tuple(days))

    def run(self, tumour: Tumour, plan: Any, keep: bool = True, record: Record | None = None) -> Any:
        """Return the densities of a tumour.

        Args:
            tumour: model inputs.
            plan: of `plan`.
            keep: keep what tangent and adjoint need.
            record: called with every density; the solver then runs, as it does for a tumour with fields.

        Raises:
            NumericalError: a rate is not positive or not finite, or the onset not before the first day.
        """
        if not isinstance(plan, SurrogateDays) or record is not None or _has_fields(tumour):
            steps = self.base.plan(tumour, plan.days) if isinstance(plan, SurrogateDays) else plan
            return self.base.run(tumour, steps, keep, record)
        values = tumour.values
        if not (np.isfinite(values).all() and (values[:3] > 0.0).all() and tumour.onset < min(plan.days)):
            raise NumericalError(f"parameters {values}: need positive rates and an onset before the first day")
        response = self.surrogate.respond(np.array([similarity(values, day) for day in plan.days]))
        slopes = np.array([similarity_slopes(values, day) for day in plan.days])
        return SurrogateRun(tumour, response, slopes, tuple(density[self.vertices] for density in response.densities))

    def tangent(self, run: Any, changes: Sequence[TumourChange]) -> tuple[Vector, ...]:
        """Return the derivatives of `run.densities` along k directions, (k, n) for each observation day."""
        if not isinstance(run, SurrogateRun):
            return self.base.tangent(run, changes)
        rows = [run.response.tangent(run.slopes @ change.values) for change in changes]
        return tuple(np.array([row[day][self.vertices] for row in rows]) for day in range(len(run.densities)))

    def adjoint(self, run: Any, duals: Sequence[Vector]) -> TumourChange:
        """Return the derivative of `sum_i <duals[i], run.densities[i]>` by the tumour."""
        if not isinstance(run, SurrogateRun):
            return self.base.adjoint(run, duals)
        whole = np.zeros((len(duals), len(self.mesh.points)))
        whole[:, self.vertices] = duals
        return TumourChange.of(np.einsum("dk,dkp->p", run.response.adjoint(whole), run.slopes))

    def gather(self, owned: Vector) -> Vector | None:
        """Return a density in the vertex order of the mesh."""
        return self.base.gather(owned)

    def destroy(self) -> None:
        """Free what the solver holds."""
        self.base.destroy()


@dataclass(frozen=True)
class SurrogateEngines:
    """Surrogate for coarse levels, solver for fine ones (`oncology.meshing.engines.Engines`).

    Attributes:
        surrogate: of the case.
        own: makes the solver on the surrogate's mesh.
        solver: makes the solver for the correction.
    """

    surrogate: Surrogate
    own: Engines
    solver: Engines

    def make(self, case: Case, law: GrowthLaw, size: float, margin: float, fine: bool) -> MeshedEngine:
        """Return the solver where `fine`, else the surrogate, whatever size and margin."""
        if fine:
            return self.solver.make(case, law, size, margin, fine)
        base = self.own.make(case, law, self.surrogate.mesh.size, margin, fine=True)
        return MeshedEngine(SurrogateEngine(base.engine, self.surrogate), base.margin, base.quality, "surrogate of")

    @property
    def options(self) -> dict[str, object]:
        """What was chosen, as plain values."""
        trained = {"surrogate_mesh": self.surrogate.mesh.fingerprint, "surrogate_of": str(self.surrogate.facts["case"])}
        return {**self.solver.options, **trained, "engine": "surrogate"}

    @property
    def versions(self) -> dict[str, str]:
        """Versions of what computes."""
        return {**self.solver.versions, "torch": torch.__version__}


def _has_fields(tumour: Tumour) -> bool:
    """Return whether a tumour is more than one seed in the tissue: of that the surrogate knows nothing."""
    return bool(tumour.others) or any(
        f is not None for f in (tumour.initial, tumour.log_diffusion, tumour.log_proliferation)
    )


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
        ConfigError: another growth law than the trained one, a treatment before the last session, or several foci.
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
    if len(case.foci) > 1:
        raise ConfigError(
            f"{case.root}: has {len(case.foci)} foci; surrogates know growth from one seed only: give --engine fem"
        )


def warnings_of(surrogate: Surrogate, case: Case, parameters: Vector) -> tuple[str, ...]:
    """Return what is wrong with the use of a surrogate for an estimate, in sentences.

    Args:
        surrogate: that led to the estimate.
        case: the patient.
        parameters: the estimate, in the order of `model.tumour.PARAMETERS`.
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
