"""One fit as a process: starting it, asking it to save and stop, and interpreting its exit status.

Runners (`local`, `job`) hold the `Running` objects and decide when to stop them.
"""

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

from oncology.cluster.store import Store, TaskState
from oncology.cluster.tasks import Task
from oncology.errors import ConfigError
from oncology.parallel import without_launcher

__all__ = ["STOPPED", "Running", "command_line", "mpiexec", "start", "task_environment"]

STOPPED = os.EX_TEMPFAIL  # exit status of an `oncology fit` that stopped with its iterate saved
_LONGEST = 400  # characters of a message
_LAUNCHERS = ("srun: ", "slurmstepd")  # lines of launchers report that a program ended, not why
# One thread per rank. Fits side by side do not know of each other, so their ranks must not be bound to fixed cores.
_DEFAULTS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
}


def mpiexec() -> str:
    """Return this machine's MPI launcher: the one beside this Python, else the first on the path.

    Raises:
        ConfigError: there is none.
    """
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.is_file() else shutil.which("mpiexec")
    if found is None:
        raise ConfigError("mpiexec: not found, and ranks is above 1: install MPI (apt install mpich), or use ranks = 1")
    return found


def command_line(task: Task, python: Sequence[str], launcher: Sequence[str]) -> list[str]:
    """Return the command that runs a task, resuming from its checkpoint if there is one.

    Args:
        task: The task.
        python: Command that starts Python; empty for the current interpreter.
        launcher: Command that starts an MPI program, before `-n RANKS`; a task of one rank is started without it.
    """
    launch = [*launcher, "-n", str(task.ranks)] if task.ranks > 1 else []
    fit = ["-m", "oncology", "fit", str(task.case), "--out", str(task.out), "--resume", *task.words]
    return [*launch, *(python or (sys.executable,)), *fit]


def task_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of a task: one thread per rank, without the variables of a launcher that started us."""
    return _DEFAULTS | without_launcher(environment)


@dataclass(eq=False)
class Running:
    """A running task.

    Attributes:
        task: The task.
        process: Its launcher, or the fit itself.
        lock: The task's lock file, held by this process and by the task.
        log: File with the output of the process.
        start: Length of the log when the process started, bytes.
        asked_at: Time on the monotonic clock at which it was asked to stop, s; None if it was not.
    """

    task: Task
    process: subprocess.Popen[bytes]
    lock: IO[str]
    log: Path
    start: int
    asked_at: float | None = None

    def ask_to_leave(self) -> None:
        """Ask it, once, to save its iterate and stop; launchers forward the signal to every rank."""
        if self.asked_at is not None:
            return
        self.asked_at = time.monotonic()
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGUSR1)

    def asked_for(self) -> float:
        """Return the time since it was asked to stop, s; 0 if it was not."""
        return 0.0 if self.asked_at is None else time.monotonic() - self.asked_at

    @property
    def crashed(self) -> bool:
        """Whether it ended neither with success, nor with an error of its own, nor because it was asked to stop."""
        return self.asked_at is None and self.process.returncode not in (0, 1, 2, STOPPED)

    def end(self) -> None:
        """Terminate it and all its ranks now; its last checkpoint stays."""
        self.asked_at = self.asked_at or time.monotonic()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)

    def conclude(self, store: Store) -> TaskState:
        """Wait for its end, record the outcome and release the lock."""
        status = self.process.wait()
        with self.lock:
            if store.is_finished(self.task):
                return TaskState("finished")
            if status == STOPPED or (self.asked_at is not None and status not in (1, 2)):
                store.note(self.task, "stopped")
                return TaskState("stopped")
            message = self._complaint(status)
            store.note(self.task, "failed", message)
            return TaskState("failed", message)

    def _complaint(self, status: int) -> str:
        """Return the fit's own error message, else its exit status and the last line that may tell a reason."""
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
        store: Files of the task: its log, lock and record.
        command: Command that runs it.
        folder: Working directory, from which relative paths in its settings start.

    Returns:
        The running task; None while another process runs it, or if it is finished.

    Raises:
        ConfigError: the program cannot be started.
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
