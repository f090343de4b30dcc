"""Work that one rank does for all, and what a launcher says about the ranks before MPI is initialised."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Protocol

__all__ = [
    "Alone",
    "Broadcaster",
    "Communicator",
    "launched_rank",
    "launched_size",
    "on_root",
    "set_cache_defaults",
    "set_launch_defaults",
    "threads_of_rank",
    "without_launcher",
]

_CACHE_ROOM = 50_000_000  # bytes
_RANK_VARIABLES = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")
_SIZE_VARIABLES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LOCAL_SIZE_VARIABLES = ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE")
_LAUNCHED = ("PMI_", "PMIX_", "OMPI_COMM_", "PRTE_", "MPI_LOCAL")  # what launchers set, and users do not
_CHOSEN = ("PRTE_MCA_", "PRTE_ALLOW_")


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

    def Ibarrier(self) -> Any:
        """Return a request that completes once every rank has called this."""


class Communicator(Broadcaster, Protocol):
    """What commands and output folders ask of an MPI communicator (mpi4py's names)."""

    def Barrier(self) -> None:
        """Wait for every rank."""

    def Dup(self) -> Any:
        """Return a communicator of the same ranks whose messages are its own."""

    def Abort(self, errorcode: int = 0) -> Any:
        """End every rank now."""


class _Done:
    """A request that is complete (mpi4py's names)."""

    def Test(self) -> bool:
        """Return that it is."""
        return True


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

    def Ibarrier(self) -> Any:
        """Return a request that is complete."""
        return _Done()

    def Dup(self) -> Alone:
        """Return a communicator of this process alone."""
        return Alone()

    def Abort(self, errorcode: int = 0) -> None:
        """End this process."""
        raise SystemExit(errorcode)


def _wait(request: Any) -> None:
    """Wait for a request: attentive for a millisecond or so, then at longer and longer intervals up to 5 ms."""
    pause = 0.0
    while not request.Test():
        time.sleep(pause)
        pause = min(pause + 2e-5, 5e-3)


def on_root[T](comm: Broadcaster | None, function: Callable[[], T]) -> T:
    """Run a function on rank 0 only and return its result, or raise its error, on every rank.

    For what touches files or is cheap and serial: reading a case, meshing, making a folder. The others sleep meanwhile,
    where MPI itself would keep a core busy with waiting: rank 0 and what it starts may need that core.

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
    _wait(comm.Ibarrier())
    result, error = comm.bcast((result, error))
    if error is not None:
        raise error
    return result


def _first_integer(environment: MutableMapping[str, str], names: tuple[str, ...]) -> int | None:
    values = (environment.get(name, "") for name in names)
    return next((int(value) for value in values if value.isdigit()), None)


def launched_rank(environment: MutableMapping[str, str] = os.environ) -> int:
    """Return the rank the launcher gave this process, without initialising MPI (0 without a launcher)."""
    return _first_integer(environment, _RANK_VARIABLES) or 0


def launched_size(environment: MutableMapping[str, str] = os.environ) -> int:
    """Return how many processes the launcher started (1 without a launcher)."""
    return _first_integer(environment, _SIZE_VARIABLES) or 1


def without_launcher(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return an environment without what a launcher told this process, for a program that is no rank of it.

    What users choose for Open MPI (OMPI_MCA_..., OMPI_ALLOW_RUN_AS_ROOT) stays.
    """
    return {
        name: value for name, value in environment.items() if name.startswith(_CHOSEN) or not name.startswith(_LAUNCHED)
    }


def threads_of_rank(environment: MutableMapping[str, str] = os.environ) -> int:
    """Return how many threads a rank gets: the cores it may run on over the ranks that share them, at least one.

    A launcher that binds ranks to cores has divided them already: then fewer are left than the machine has.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    bound = cores < (os.cpu_count() or 1)
    local = _first_integer(environment, _LOCAL_SIZE_VARIABLES) or _first_integer(environment, _SIZE_VARIABLES) or 1
    return max(1, cores if bound else cores // local)


def set_cache_defaults(environment: MutableMapping[str, str] = os.environ) -> None:
    """Give compilers and plots another place for what they keep where that of the user is read-only or full.

    Compiled forms, meshes and fonts are kept in XDG_CACHE_HOME or ~/.cache. In a container whose home cannot be
    written they go to a folder of this user alone in the temporary folder.
    """
    given = environment.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    if _has_room(given):
        return
    import tempfile

    folder = os.path.join(tempfile.gettempdir(), f"oncology-cache-{os.getuid()}")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        found = os.lstat(folder)
    except OSError:
        return
    if found.st_uid != os.getuid() or found.st_mode & 0o170022 != 0o040000:
        return  # no folder, or one that others can write: nothing that is run may lie there
    environment["XDG_CACHE_HOME"] = folder
    environment.setdefault("MPLCONFIGDIR", os.path.join(folder, "matplotlib"))


def _has_room(folder: str) -> bool:
    """Whether a folder, or the nearest one above it that exists, can be written and is not full."""
    while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    free = disk.f_bavail * disk.f_frsize
    return os.access(folder, os.W_OK | os.X_OK) and (disk.f_blocks == 0 or free >= _CACHE_ROOM)


def set_launch_defaults(environment: MutableMapping[str, str] = os.environ) -> None:
    """Choose what MPI and the linear algebra read when they load, unless the user has chosen.

    It has to run before numpy and torch are imported, which fix their numbers of threads then: ranks with a thread for
    every core would compete for the cores. On one node only shared memory and the loopback are used: UCX would
    otherwise probe network devices, which fails or stalls inside containers. MPICH's own message about an abort is
    switched off: whoever aborts has already said why. So are PETSc's signal handlers, which would end a run that
    SIGTERM asks to save its state.
    """
    size = _first_integer(environment, _SIZE_VARIABLES)
    local = _first_integer(environment, _LOCAL_SIZE_VARIABLES)
    nodes = _first_integer(environment, ("SLURM_JOB_NUM_NODES",)) or 1
    if nodes == 1 and (size is None or local is None or local == size):
        environment.setdefault("UCX_TLS", "self,sm,tcp")
    if not any(name in environment for name in _THREAD_VARIABLES):
        for name in _THREAD_VARIABLES:
            environment[name] = str(threads_of_rank(environment))
    environment.setdefault("MPIR_CVAR_SUPPRESS_ABORT_MESSAGE", "1")
    set_cache_defaults(environment)
    petsc = environment.get("PETSC_OPTIONS", "")
    if "signal_handler" not in petsc:
        environment["PETSC_OPTIONS"] = f"{petsc} -no_signal_handler".strip()
