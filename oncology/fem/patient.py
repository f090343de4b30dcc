"""From a case to finite-element engines: the mesh around the tumour and the matrices on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oncology.fem import probe
from oncology.fem.engine import FiniteElements
from oncology.imaging.case import Case
from oncology.imaging.neighbourhood import neighbourhood
from oncology.meshing import Grading, QualityReport, Route, TetMesh, build_mesh, cached_mesh
from oncology.meshing.engines import MeshedEngine
from oncology.model.growth import GrowthLaw
from oncology.parallel import on_root

__all__ = ["FiniteElementEngines", "MeshChoice", "make_mesh", "meshed_engine"]


@dataclass(frozen=True)
class MeshChoice:
    """How the neighbourhood of the tumour is meshed.

    Attributes:
        size: edge length, mm.
        route: "stuffing" or "lattice".
        margin: how far the mesh reaches beyond every segmentation, mm.
        cache: folder of meshes kept by content; None: none.
        grading: ball that keeps `size` and the size far from it; None: uniform.
        imported: user-supplied mesh; then size, route and margin do not count.
    """

    size: float = 2.5
    route: Route = "stuffing"
    margin: float = 20.0
    cache: Path | None = None
    grading: Grading | None = None
    imported: TetMesh | None = None


def make_mesh(case: Case, choice: MeshChoice) -> tuple[TetMesh, QualityReport | None]:
    """Mesh the neighbourhood of a case's tumour (serial).

    Raises:
        MeshError: where no mesh can be made.
    """
    if choice.imported is not None:
        return choice.imported, None
    near = neighbourhood(case, choice.margin)
    white, grey = (tissue.with_data(np.where(near, tissue.data, 0.0)) for tissue in (case.white, case.grey))
    if choice.cache is None:
        return build_mesh(white, grey, choice.size, choice.route, choice.grading)
    return cached_mesh(choice.cache, white, grey, choice.size, choice.route, choice.grading)


def meshed_engine(comm: Any, case: Case, choice: MeshChoice, law: GrowthLaw, tolerance: float = 1e-8) -> MeshedEngine:
    """Mesh a case and assemble its model (collective).

    Args:
        comm: MPI communicator.
        case: the patient, on every rank.
        choice: how the neighbourhood of the tumour is meshed.
        law: growth law.
        tolerance: relative residual of the diffusion solves.

    Raises:
        MeshError: where no mesh can be made, on every rank.
    """
    mesh, quality = on_root(comm, lambda: make_mesh(case, choice))
    margin = choice.margin if choice.imported is None else np.inf
    return MeshedEngine(FiniteElements(mesh, case, law, comm, tolerance), margin, quality)


@dataclass(frozen=True)
class FiniteElementEngines:
    """Finite-element engines for the levels of a case (`oncology.meshing.engines.Engines`).

    Attributes:
        comm: MPI communicator.
        route: "stuffing" or "lattice".
        imported: user-supplied mesh for the fine level.
        cache: folder of meshes kept by content.
    """

    comm: Any
    route: Route = "stuffing"
    imported: TetMesh | None = None
    cache: Path | None = None

    def make(self, case: Case, law: GrowthLaw, size: float, margin: float, fine: bool) -> MeshedEngine:
        """Return an engine for a case (collective).

        Raises:
            MeshError: where no mesh can be made, on every rank.
        """
        imported = self.imported if fine else None
        return meshed_engine(self.comm, case, MeshChoice(size, self.route, margin, self.cache, imported=imported), law)

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
