"""The one place that names the world communicator; everything else in the package is handed a communicator.

Only the command line and the tests call this module: importing it initialises MPI.
"""

from __future__ import annotations

from mpi4py import MPI

__all__ = ["world"]


def world() -> MPI.Intracomm:
    """Return the communicator of all ranks that the launcher started (one rank without a launcher)."""
    return MPI.COMM_WORLD
