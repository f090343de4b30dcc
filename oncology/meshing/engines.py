"""Engines on meshes of a patient's brain: what makes them, and what a fit needs to know of one beside the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oncology.imaging.case import Case
from oncology.meshing.mesh import TetMesh
from oncology.meshing.quality import QualityReport
from oncology.model.engine import Engine
from oncology.model.growth import GrowthLaw

__all__ = ["Engines", "MeshedEngine", "PatientEngine"]

Vector = NDArray[np.float64]


class PatientEngine(Engine, Protocol):
    """An engine on a mesh of a patient's brain."""

    @property
    def mesh(self) -> TetMesh:
        """The mesh on which densities are P1 functions, on every rank."""

    @property
    def law(self) -> GrowthLaw:
        """Growth law."""

    def gather(self, owned: Vector) -> Vector | None:
        """Return a P1 function (n,) in the vertex order of the mesh on rank 0, None elsewhere."""


@dataclass(frozen=True, eq=False)
class MeshedEngine:
    """An engine and how far its mesh reaches.

    Attributes:
        engine: the engine.
        margin: how far the mesh reaches beyond every segmentation, mm; infinite where it cannot be made wider.
        quality: quality of the mesh, where it was measured.
        kind: what stands before the edge length in logs, such as "surrogate of".
    """

    engine: PatientEngine
    margin: float
    quality: QualityReport | None = None
    kind: str = ""


class Engines(Protocol):
    """Makes engines for the levels of a case."""

    def make(self, case: Case, law: GrowthLaw, size: float, margin: float, fine: bool) -> MeshedEngine:
        """Return an engine for a case (collective).

        Args:
            case: the patient, on every rank.
            law: growth law.
            size: edge length, mm.
            margin: how far the mesh reaches beyond every segmentation, mm.
            fine: whether it is the level of the result.
        """

    @property
    def options(self) -> Mapping[str, object]:
        """What was chosen, as plain values."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of what computes."""
