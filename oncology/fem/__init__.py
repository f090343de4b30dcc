"""Finite-element growth model on DOLFINx and PETSc: discretisation, time stepping, tangent and adjoint."""

import importlib.util
import warnings

# mpi4py warns of a launcher of another MPI, in three lines a rank; `runtime.world` refuses it in one.
warnings.filterwarnings("ignore", "suspicious MPI", RuntimeWarning)

if importlib.util.find_spec("dolfinx_solver") is not None:
    import dolfinx_solver  # noqa: F401  (the PyPI wheel: loads MPI before the bindings)
