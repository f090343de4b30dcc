"""The parts of an inverse problem that take a case: meshes around its tumour, and the Taylor test of a problem."""

from __future__ import annotations

from pathlib import Path

from numpy import float64
from numpy.typing import NDArray

from oncology.imaging.case import Case
from oncology.inverse.problem import InverseProblem
from oncology.inverse.solve import ProblemTaylor, taylor_test_problem
from oncology.meshing import Route, TetMesh, import_mesh
from oncology.meshing import read_mesh as read_own_mesh

__all__ = ["mesh", "read_mesh", "taylor_test"]


def mesh(
    case: Case, size: float = 2.5, *, route: Route = "stuffing", margin: float = 20.0, cache: Path | None = None
) -> TetMesh:
    """Return a tetrahedral mesh of the brain around a case's tumour.

    Args:
        case: the patient.
        size: edge length, mm.
        route: "stuffing" (smooth surface) or "lattice" (no obtuse angle).
        margin: how far the mesh reaches beyond every segmentation, mm.
        cache: folder of meshes kept by content; None: none.

    Raises:
        MeshError: no mesh can be made.
    """
    from oncology.fem.patient import MeshChoice, make_mesh

    return make_mesh(case, MeshChoice(size, route, margin, cache))[0]


def read_mesh(path: str | Path, case: Case | None = None) -> TetMesh:
    """Read a mesh: one of this package (`mesh.h5`), or any that meshio reads, with tissue from the case's maps.

    Args:
        path: mesh file; vertices in RAS mm.
        case: the patient, for files without tissue.

    Raises:
        MeshError: the file is missing or cannot be used.
    """
    path = Path(path)
    if case is None or path.suffix == ".h5":
        return read_own_mesh(path)
    return import_mesh(path, case.white, case.grey)[0]


def taylor_test(problem: InverseProblem, at: NDArray[float64], seed: int = 0) -> ProblemTaylor:
    """Return the Taylor rates of an inverse problem's data term along a random direction: about 1, 2 and 3.

    Args:
        problem: whose gradient is tested.
        at: point, for instance `solution.x`.
        seed: of the direction.
    """
    return taylor_test_problem(problem, at, seed)
