"""Shows that the finite-element engine works here: versions of its parts, and one small solve with a known answer."""

from __future__ import annotations

from dataclasses import dataclass

import dolfinx
import dolfinx.fem.petsc
import mpi4py
import numpy as np
import ufl
from mpi4py import MPI
from petsc4py import PETSc

from oncology.errors import NumericalError

__all__ = ["Versions", "smoke_solve", "versions"]


@dataclass(frozen=True)
class Versions:
    """Versions of the engine's parts, as they name themselves."""

    dolfinx: str
    petsc: str
    mpi4py: str
    mpi: str
    real: bool

    @property
    def named(self) -> dict[str, str]:
        """Versions by name."""
        return {"dolfinx": self.dolfinx, "petsc": self.petsc, "mpi4py": self.mpi4py, "mpi": self.mpi}


def versions() -> Versions:
    """Return what is installed; `real` tells whether PETSc's scalars are real."""
    return Versions(
        dolfinx=dolfinx.__version__,
        petsc=".".join(str(part) for part in PETSc.Sys.getVersion()),
        mpi4py=mpi4py.__version__,
        mpi=" ".join(MPI.Get_library_version().split()[:3]).rstrip(","),
        real=not np.issubdtype(PETSc.ScalarType, np.complexfloating),
    )


def smoke_solve(comm: MPI.Intracomm, n: int = 8) -> float:
    """Solve -div grad u + u = (1 + 3 pi^2) u* on the unit cube with P1 elements, where u* = prod_i cos(pi x_i).

    The cosines fulfil the natural boundary condition, so u* is the solution. This compiles a form, assembles and
    solves: every part a fit needs.

    Args:
        comm: Communicator of the mesh.
        n: Cells along each edge.

    Returns:
        Relative error in L2, which falls like n^-2.

    Raises:
        NumericalError: The solver does not converge.
    """
    mesh = dolfinx.mesh.create_unit_cube(comm, n, n, n)
    space = dolfinx.fem.functionspace(mesh, ("P", 1))
    x = ufl.SpatialCoordinate(mesh)
    exact = ufl.cos(ufl.pi * x[0]) * ufl.cos(ufl.pi * x[1]) * ufl.cos(ufl.pi * x[2])
    u, v = ufl.TrialFunction(space), ufl.TestFunction(space)
    problem = dolfinx.fem.petsc.LinearProblem(
        (ufl.inner(ufl.grad(u), ufl.grad(v)) + u * v) * ufl.dx,
        (1.0 + 3.0 * ufl.pi**2) * exact * v * ufl.dx,
        petsc_options_prefix="oncology_smoke_",
        petsc_options={"ksp_type": "cg", "pc_type": "jacobi", "ksp_rtol": 1e-10},
    )
    solution = problem.solve()
    if not problem.solver.is_converged:
        raise NumericalError(f"conjugate gradient ended with PETSc's reason {problem.solver.getConvergedReason()}")
    squares = [
        comm.allreduce(dolfinx.fem.assemble_scalar(dolfinx.fem.form(form * ufl.dx)))
        for form in ((solution - exact) ** 2, exact**2)
    ]
    return float(np.sqrt(squares[0] / squares[1]))
