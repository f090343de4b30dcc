"""One task as a process: how it is started, asked to save and leave, and what its end means."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from oncology.cluster.store import State, Store
from oncology.cluster.tasks import Task
from oncology.errors import ConfigError

__all__ = ["STOPPED", "Running", "command_line", "mpiexec", "start", "task_environment"]

STOPPED = os.EX_TEMPFAIL  # exit status of an `oncology fit` that left with its iterate saved
_LONGEST = 400  # characters of a message
_LAUNCHERS = ("srun: ", "slurmstepd")  # how lines begin that tell of an end, not of its reason
_LAUNCHED = ("PMI_", "PMIX_", "OMPI_COMM_", "PRTE_", "MPI_LOCAL")
# One thread a rank; ranks of several fits share a machine, so none may be bound to cores that the others think theirs.
_DEFAULTS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
}


def mpiexec() -> str:
    """Return the launcher of this machine: the one beside this Python, else the first on the path.

    Raises:
        ConfigError: there is none.
    """
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.is_file() else shutil.which("mpiexec")
    if found is None:
        raise ConfigError("mpiexec: not found, and ranks is above 1: install MPI (apt install mpich), or use ranks = 1")
    return found


def command_line(task: Task, python: Sequence[str], launcher: Sequence[str]) -> list[str]:
    """Return the words that run a task.

    Args:
        task: The task.
        python: Words that start Python; empty for the one that runs.
        launcher: Words that start an MPI program, before `-n RANKS`; a task of one rank is started without.
    """
    launch = [*launcher, "-n", str(task.ranks)] if task.ranks > 1 else []
    fit = ["-m", "oncology", "fit", str(task.case), "--out", str(task.out), "--resume", *task.words]
    return [*launch, *(python or (sys.executable,)), *fit]


def task_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of a task: one thread a rank, and no trace of a launcher that started us."""
    own = {name: value for name, value in environment.items() if not name.startswith(_LAUNCHED)}
    return _DEFAULTS | own


@dataclass(eq=False)
class Running:
    """A task that runs.

    Attributes:
        task: The task.
        process: Its launcher, or the fit itself.
        lock: The task's lock, held by us and by the process.
        log: Where the process writes.
        start: Length of the log before, bytes.
        asked_at: When it was asked to leave, on the monotonic clock, s; None if it was not.
    """

    task: Task
    process: subprocess.Popen[bytes]
    lock: IO[str]
    log: Path
    start: int
    asked_at: float | None = None

    def ask_to_leave(self) -> None:
        """Tell it, once, to save its iterate and leave; launchers pass the signal on to every rank."""
        if self.asked_at is not None:
            return
        self.asked_at = time.monotonic()
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGUSR1)

    def asked_for(self) -> float:
        """Return how long ago it was asked to leave, s; 0 if it was not."""
        return 0.0 if self.asked_at is None else time.monotonic() - self.asked_at

    @property
    def crashed(self) -> bool:
        """Whether it ended neither well, nor by its own decision, nor because it was asked to."""
        return self.asked_at is None and self.process.returncode not in (0, 1, 2, STOPPED)

    def end(self) -> None:
        """End it and all its ranks now; what it saved last stays."""
        self.asked_at = self.asked_at or time.monotonic()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)

    def conclude(self, store: Store) -> State:
        """Note how it ended and let go of the lock."""
        status = self.process.wait()
        with self.lock:
            if store.is_finished(self.task):
                return State("finished")
            if status == STOPPED or (self.asked_at is not None and status not in (1, 2)):
                store.note(self.task, "stopped")
                return State("stopped")
            message = self._complaint(status)
            store.note(self.task, "failed", message)
            return State("failed", message)

    def _complaint(self, status: int) -> str:
        """The line in which the fit said what was wrong, else its exit status and the last one of a reason."""
        with self.log.open("rb") as handle:
            handle.seek(self.start)
            lines = [line.strip() for line in handle.read().decode(errors="replace").splitlines() if line.strip()]
        lines = [line for line in lines if not line.startswith(_LAUNCHERS)] or lines
        own = next((line for line in reversed(lines) if line.startswith("oncology: ")), None)
        if own is not None:
            return own.removeprefix("oncology: ")[:_LONGEST]
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"{how} ({lines[-1][:_LONGEST]})" if lines else how


def start(task: Task, store: Store, command: Sequence[str], folder: Path) -> Running | None:
    """Start a task.

    Args:
        task: The task.
        store: Where its log and its lock are.
        command: Words that run it.
        folder: Where relative paths among its settings start.

    Returns:
        The running task; None while another process runs it, or if one has just finished it.

    Raises:
        ConfigError: the first word of the command is no program.
    """
    lock = store.claim(task)
    if lock is None:
        return None
    if store.is_finished(task):
        lock.close()
        return None
    log = store.log(task)
    store.note(task, "started")
    try:
        with log.open("ab") as stream:
            before = stream.tell()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=task_environment(),
                pass_fds=(lock.fileno(),),
                start_new_session=True,
            )
    except OSError as error:
        lock.close()
        raise ConfigError(f"{command[0]}: cannot be started ({error.strerror}): correct the plan") from error
    return Running(task, process, lock, log, before)
