"""Finite-element growth model on DOLFINx and PETSc: discretisation, time stepping, tangent and adjoint."""

import importlib.util

if importlib.util.find_spec("dolfinx_solver") is not None:
    import dolfinx_solver  # noqa: F401  (the PyPI wheel: loads MPI before the bindings)
