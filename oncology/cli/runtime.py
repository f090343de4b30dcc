"""How a command lives under a launcher: environment, one voice on the screen, one exit status on every rank.

An error that all ranks raise passes quietly with one line in total; an error that one rank raises alone ends the
others too, so that `mpiexec -n N oncology ...` never hangs in a collective call that one rank will not join.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from array import array
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from oncology.errors import InputError, OncologyError
from oncology.parallel import Broadcaster, on_root

__all__ = [
    "STOPPED",
    "Communicator",
    "Ended",
    "Stopped",
    "exit_status",
    "guarded",
    "launched_rank",
    "launched_size",
    "mesh_cache",
    "report_error",
    "stoppable",
    "world",
]

INTERRUPTED = 130
STOPPED = os.EX_TEMPFAIL  # 75: the same command line, given again, goes on
_RANK_VARIABLES = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")
_SIZE_VARIABLES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
_LOCAL_SIZE_VARIABLES = ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE")


class Communicator(Broadcaster, Protocol):
    """What the command line asks of an MPI communicator (mpi4py's names)."""

    def Barrier(self) -> None:
        """Wait for every rank."""

    def Dup(self) -> Any:
        """Return a communicator of the same ranks whose messages are its own."""

    def Abort(self, errorcode: int = 0) -> Any:
        """End every rank now."""


class Ended(Exception):
    """All ranks know that the command failed, and agree on its exit status.

    Attributes:
        status: Exit status, the same on every rank.
        error: The error to report; None on the ranks that keep quiet.
    """

    def __init__(self, status: int, error: BaseException | None) -> None:
        super().__init__(status)
        self.status = status
        self.error = error


class Stopped(OncologyError):
    """The command left when it was asked to, and what it needs to go on is on disk (exit status 75)."""


def _first_integer(environment: MutableMapping[str, str], names: tuple[str, ...]) -> int | None:
    values = (environment.get(name, "") for name in names)
    return next((int(value) for value in values if value.isdigit()), None)


def launched_rank(environment: MutableMapping[str, str] = os.environ) -> int:
    """Return the rank the launcher gave this process, without initialising MPI (0 without a launcher)."""
    return _first_integer(environment, _RANK_VARIABLES) or 0


def launched_size(environment: MutableMapping[str, str] = os.environ) -> int:
    """Return how many processes the launcher started (1 without a launcher)."""
    return _first_integer(environment, _SIZE_VARIABLES) or 1


def set_launch_defaults(environment: MutableMapping[str, str] = os.environ) -> None:
    """Choose what MPI and the linear algebra read when they load, unless the user has chosen.

    On one node only shared memory and the loopback are used: UCX would otherwise probe network devices, which
    fails or stalls inside containers. With several ranks each runs one thread, or they fight for the cores.
    MPICH's own message about an abort is switched off, since `guarded` has already printed the reason.
    """
    size = _first_integer(environment, _SIZE_VARIABLES)
    local = _first_integer(environment, _LOCAL_SIZE_VARIABLES)
    nodes = _first_integer(environment, ("SLURM_JOB_NUM_NODES",)) or 1
    if nodes == 1 and (size is None or local is None or local == size):
        environment.setdefault("UCX_TLS", "self,sm,tcp")
    if size is not None and size > 1:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            environment.setdefault(name, "1")
    environment.setdefault("MPIR_CVAR_SUPPRESS_ABORT_MESSAGE", "1")


def world() -> Any:
    """Initialise MPI with the defaults of `set_launch_defaults` and return the communicator of all ranks."""
    set_launch_defaults()
    from oncology.fem.runtime import world as communicator

    return communicator()


def exit_status(error: BaseException) -> int:
    """Return the exit status: 2 for what the user can mend, 75 when stopped, 130 for Ctrl-C, 1 for other errors."""
    if isinstance(error, InputError):
        return 2
    if isinstance(error, Stopped):
        return STOPPED
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1


def report_error(error: BaseException, debug: bool = False) -> None:
    """Print one line on standard error; with `debug`, the traceback before it."""
    if debug:
        traceback.print_exception(error)
    text = " ".join(str(error).split())
    if isinstance(error, KeyboardInterrupt):
        text = "interrupted"
    elif not isinstance(error, OncologyError):
        text = f"internal error, {type(error).__name__}: {text} (--debug shows where)"
    print(f"oncology: {text}", file=sys.stderr, flush=True)


@contextmanager
def stoppable(comm: Broadcaster) -> Iterator[Callable[[], None]]:
    """Let SIGUSR1, which schedulers send before the time limit, end the block at a place that can be returned to.

    Launchers pass the signal to every rank; rank 0's copy counts, so that all ranks leave at the same place.

    Args:
        comm: Communicator of all ranks that enter the block.

    Yields:
        Function to call on every rank once the state is saved; it raises `Stopped` if the signal has come.
    """
    asked: list[int] = []

    def leave_if_asked() -> None:
        if on_root(comm, lambda: bool(asked)):
            raise Stopped("stopped by SIGUSR1 with its state saved: give the same command with --resume to go on")

    before = signal.signal(signal.SIGUSR1, lambda number, frame: asked.append(number))
    try:
        yield leave_if_asked
    finally:
        signal.signal(signal.SIGUSR1, before)


@contextmanager
def guarded(comm: Communicator, grace: float = 10.0, debug: bool = False) -> Iterator[None]:
    """Make all ranks leave the block together, whatever happens to any of them.

    Every rank that leaves the block, by its end or by an error, joins a nonblocking exchange of statuses on a
    communicator of its own. A rank that leaves by its end waits for the others as long as it takes. A rank that
    leaves by an error waits `grace` seconds: others which raise the same error come within moments, others which
    do not come sit in a collective call that can never finish, and are aborted. Higher ranks wait half a second
    longer each, so that one rank speaks. On one rank the block is left as it is.

    Args:
        comm: Communicator of all ranks that entered the command.
        grace: Seconds that a failed rank waits for the others.
        debug: Show the traceback before aborting.

    Raises:
        Ended: On every rank, when all have left the block and at least one by an error; the lowest of the failed
            ranks carries the error.
    """
    if comm.size == 1:
        yield
        return
    private = comm.Dup()
    failure: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failure = error
    mine = array("i", [0 if failure is None else exit_status(failure)])
    statuses = array("i", [0] * comm.size)
    request = private.Iallgather(mine, statuses)
    if failure is None:
        request.Wait()
    elif not _completes(request, grace + 0.5 * comm.rank):
        report_error(failure, debug)
        private.Abort(mine[0])
    private.Free()
    failed = [rank for rank, status in enumerate(statuses) if status]
    if failed:
        speaks = comm.rank == failed[0]
        raise Ended(statuses[failed[0]], failure if speaks else None) from failure


def _completes(request: Any, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not request.Test():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def mesh_cache() -> Path | None:
    """Return the folder of meshes kept by content, None where the user's cache folder cannot be written.

    It is ONCOLOGY_CACHE, or `oncology` in XDG_CACHE_HOME or ~/.cache.
    """
    given = os.environ.get("ONCOLOGY_CACHE")
    if given:
        return Path(given)
    folder = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "oncology"
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return folder if os.access(existing, os.W_OK) else None
