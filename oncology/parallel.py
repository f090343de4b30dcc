"""Work that one rank does for all: every rank returns or raises what it returned or raised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Alone", "Broadcaster", "on_root"]


class Broadcaster(Protocol):
    """What `on_root` needs from an MPI communicator (mpi4py's names)."""

    @property
    def rank(self) -> int:
        """Number of this rank, from 0."""

    @property
    def size(self) -> int:
        """Number of ranks."""

    def bcast(self, obj: Any, root: int = 0) -> Any:
        """Return rank `root`'s object on every rank."""


class Alone:
    """A communicator of this process alone, where no MPI is needed (mpi4py's names)."""

    rank = 0
    size = 1

    def bcast(self, obj: Any, root: int = 0) -> Any:
        """Return the object."""
        return obj

    def allgather(self, obj: Any) -> list[Any]:
        """Return the object as the only one."""
        return [obj]

    def Barrier(self) -> None:
        """Return at once."""

    def Dup(self) -> Alone:
        """Return a communicator of this process alone."""
        return Alone()

    def Abort(self, errorcode: int = 0) -> None:
        """End this process."""
        raise SystemExit(errorcode)


def on_root[T](comm: Broadcaster | None, function: Callable[[], T]) -> T:
    """Run a function on rank 0 only and return its result, or raise its error, on every rank.

    For what touches files or is cheap and serial: reading a case, meshing, making a folder.

    Args:
        comm: Communicator, collective over all its ranks; None runs the function here.
        function: Takes nothing; its result must be picklable.

    Raises:
        Exception: Whatever the function raised on rank 0.
    """
    if comm is None or comm.size == 1:
        return function()
    result: T | None = None
    error: Exception | None = None
    if comm.rank == 0:
        try:
            result = function()
        except Exception as raised:
            error = raised
    result, error = comm.bcast((result, error))
    if error is not None:
        raise error
    return result
