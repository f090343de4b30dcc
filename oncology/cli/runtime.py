"""How a command lives under a launcher: environment, one voice on the screen, one exit status on every rank.

An error that all ranks raise passes quietly with one line in total; an error that one rank raises alone ends the
others too, so that `mpiexec -n N oncology ...` never hangs in a collective call that one rank will not join. Whatever
the machine does to a command (no disk space, no memory, SIGTERM, a closed pipe) ends in one line as well.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import time
import traceback
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from oncology.cli.voice import voice
from oncology.errors import ArgumentError, InputError, OncologyError
from oncology.files import os_error_text
from oncology.parallel import Broadcaster, Communicator, on_root

__all__ = [
    "PIPE_CLOSED",
    "STOPPED",
    "Ended",
    "Stopped",
    "Terminated",
    "exit_status",
    "guarded",
    "open_streams",
    "report_error",
    "stoppable",
    "terminable",
    "world",
]

INTERRUPTED = 130
TERMINATED = 128 + signal.SIGTERM
PIPE_CLOSED = 128 + signal.SIGPIPE
_EXTRAS = {  # packages that not everybody installs, and what of pyproject.toml brings them
    **dict.fromkeys(("dolfinx", "petsc4py", "mpi4py", "ufl", "basix", "ffcx"), "fem"),
    **dict.fromkeys(("torch", "sklearn"), "node"),
}
STOPPED = os.EX_TEMPFAIL  # 75: the same command line, given again, goes on


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


class Terminated(KeyboardInterrupt):
    """SIGTERM came: the command ends as after Ctrl-C, with exit status 143."""


def world() -> Any:
    """Initialise MPI with the defaults of `set_launch_defaults` and return the communicator of all ranks."""
    from oncology.fem.runtime import world as communicator

    return communicator()


def exit_status(error: BaseException) -> int:
    """Return the exit status: 2 for what the user can mend, 75 when stopped, 128 + n for a signal, 1 for others."""
    match error:
        case BrokenPipeError():
            return PIPE_CLOSED
        case InputError() | OSError():
            return 2
        case ModuleNotFoundError() if _missing(error):
            return 2
        case Stopped():
            return STOPPED
        case Terminated():
            return TERMINATED
        case KeyboardInterrupt():
            return INTERRUPTED
    return 1


def report_error(error: BaseException, debug: bool = False) -> None:
    """Print one line on standard error; with `debug`, the traceback before it."""
    if debug:
        traceback.print_exception(error)
    if isinstance(error, BrokenPipeError):  # whoever read the output has seen enough
        return
    notes = "".join(f"; {note}" for note in getattr(error, "__notes__", ()))
    print(f"oncology: {_one_line(error)}{notes}", file=sys.stderr, flush=True)


def _one_line(error: BaseException) -> str:
    text = " ".join((error.option if isinstance(error, ArgumentError) else str(error)).split())
    match error:
        case OncologyError():
            return text
        case Terminated():
            return "interrupted by SIGTERM"
        case KeyboardInterrupt():
            return "interrupted"
        case OSError():
            return os_error_text(error)
        case ModuleNotFoundError() if package := _missing(error):
            return f"this needs {package}, which is not installed: pip install 'oncology[{_EXTRAS[package]}]'"
        case MemoryError():
            return "out of memory: take a larger --size, fewer processes, or a machine with more memory"
    if type(error).__name__ == "LinAlgError":  # numpy's, which is not imported here
        return (
            f"the linear algebra broke down ({text}): the scans tell too little, or contradict each other; "
            "look at them with `oncology case check`"
        )
    return f"internal error, {type(error).__name__}: {text} (--debug shows where)"


def _missing(error: ModuleNotFoundError) -> str:
    """The package of an extra that is not installed; empty where it is something else that is missing."""
    package = (error.name or "").partition(".")[0]
    return package if package in _EXTRAS else ""


def open_streams() -> None:
    """Give the process the standard streams that it was started without, as by cron or a daemon; no letter ends it.

    Else the next file that is opened takes the place of one, and what is printed ends up in it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or open(os.devnull)
    sys.stdout = sys.stdout or open(os.devnull, "w")
    sys.stderr = sys.stderr or open(os.devnull, "w")
    for stream in (sys.stdout, sys.stderr):  # a terminal of an old encoding lacks the true minus
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def terminable() -> None:
    """Let SIGTERM, which schedulers, containers and `kill` send, end the command as Ctrl-C does: cleanly."""

    def end(number: int, frame: object) -> None:
        raise Terminated

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, end)


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
def guarded(comm: Communicator, grace: float = 10.0) -> Iterator[None]:
    """Make all ranks leave the block together, whatever happens to any of them.

    Every rank that leaves the block, by its end or by an error, joins a nonblocking exchange of statuses on a
    communicator of its own. A rank that leaves by its end waits for the others as long as it takes. A rank that
    leaves by an error waits `grace` seconds: others which raise the same error come within moments, others which
    do not come sit in a collective call that can never finish, and are aborted. Higher ranks wait half a second
    longer each, so that one rank speaks. On one rank the block is left as it is.

    Args:
        comm: Communicator of all ranks that entered the command.
        grace: Seconds that a failed rank waits for the others.

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
        report_error(failure, voice().debug)
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
