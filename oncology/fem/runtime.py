"""The one place that names MPI's own communicators; everything else in the package is handed a communicator.

Either function initialises MPI, with the defaults of `oncology.parallel.set_launch_defaults`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oncology.parallel import set_launch_defaults

if TYPE_CHECKING:
    from mpi4py import MPI

__all__ = ["alone", "world"]


def world() -> MPI.Intracomm:
    """Return the communicator of all ranks that the launcher started (one rank without a launcher)."""
    set_launch_defaults()
    from mpi4py import MPI

    return MPI.COMM_WORLD


def alone() -> MPI.Intracomm:
    """Return the communicator of this process alone."""
    set_launch_defaults()
    from mpi4py import MPI

    return MPI.COMM_SELF
