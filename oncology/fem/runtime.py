"""The one place that names MPI's own communicators; everything else in the package is handed a communicator.

Either function initialises MPI, with the defaults of `oncology.parallel.set_launch_defaults`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oncology.errors import ConfigError
from oncology.parallel import launched_size, set_launch_defaults

if TYPE_CHECKING:
    from mpi4py import MPI

__all__ = ["alone", "world"]

_LAUNCHERS = {"Open MPI": "mpiexec.openmpi", "MPICH": "mpiexec.mpich or mpiexec.hydra", "Intel": "mpiexec.hydra"}


def world() -> MPI.Intracomm:
    """Return the communicator of all ranks that the launcher started (one rank without a launcher).

    Raises:
        ConfigError: the launcher started several processes, and each is alone: it belongs to another MPI.
    """
    set_launch_defaults()
    from mpi4py import MPI

    started = launched_size()
    if MPI.COMM_WORLD.size == 1 and started > 1:
        own = next((name for name in _LAUNCHERS if name in MPI.Get_library_version()), "")
        raise ConfigError(
            f"{started} processes were started, but each of them is alone: the launcher belongs to another MPI than "
            f"DOLFINx's{f', which is {own}' if own else ''}: use its own launcher"
            f"{f' ({_LAUNCHERS[own]})' if own else ''}, or start one process without a launcher"
        )
    return MPI.COMM_WORLD


def alone() -> MPI.Intracomm:
    """Return the communicator of this process alone."""
    set_launch_defaults()
    from mpi4py import MPI

    return MPI.COMM_SELF
