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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from oncology.errors import ArgumentError, InputError, OncologyError
from oncology.parallel import Broadcaster, Communicator, on_root

__all__ = [
    "STOPPED",
    "Ended",
    "Stopped",
    "exit_status",
    "guarded",
    "report_error",
    "stoppable",
    "world",
]

INTERRUPTED = 130
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


def world() -> Any:
    """Initialise MPI with the defaults of `set_launch_defaults` and return the communicator of all ranks."""
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
    text = " ".join((error.option if isinstance(error, ArgumentError) else str(error)).split())
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
