"""One job of an array: `python -m oncology.cluster.job LISTING INDEX`, which the batch scripts of `slurm` run.

Slurm sends SIGUSR1 before the time limit. The job forwards it, and when the fit has stopped with its iterate saved,
requeues itself, so that the fit resumes. A job that Slurm ends (cancelled, requeued, preempted) gets SIGTERM, as its
fit does: it starts nothing more and leaves the rest to Slurm. A failed fit is recorded and ends this job only. A fit
that crashes is started once more.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from oncology.cluster.execute import STOPPED, Running, command_line, start
from oncology.cluster.remains import remove_remains
from oncology.cluster.store import Store, TaskState
from oncology.cluster.tasks import Task

__all__ = ["main"]

_PERIOD = 0.1  # seconds between two polls of the process
_ATTEMPTS = 2
_ANSWER = 60.0  # seconds to wait for Slurm's answer
_TRIALS = 20  # attempts to take a lock, which a status query may hold for a moment


def main(arguments: Sequence[str]) -> int:
    """Run one task of a listing.

    Args:
        arguments: File with the tasks of the array, and the index of this one.

    Returns:
        0 if the task is finished, requeued or run by another process; 1 if it failed; 75 if Slurm ends the job.
    """
    came: list[int] = []
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, lambda number, frame: came.append(number))
    listing = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    task, store = Task.from_dict(listing["tasks"][int(arguments[1])]), Store(Path(listing["out"]))
    command = command_line(task, listing["python"], listing["launcher"])
    for _ in range(_ATTEMPTS):
        remove_remains()
        running = _start(task, store, command, Path(listing["folder"]))
        if running is None:
            return 0
        state = _watch(running, store, came, listing["patience"])
        if signal.SIGTERM in came or not (running.crashed and state.name == "failed"):
            break
    if signal.SIGTERM in came:
        return STOPPED
    if state.name == "stopped":
        state = _requeue(task, store, listing["requeues"])
    return 1 if state.name == "failed" else 0


def _watch(running: Running, store: Store, came: list[int], patience: float) -> TaskState:
    """Wait for the end of a fit: forward a warning, and end the fit if it does not stop in time or Slurm ends this job.

    Slurm's signal reaches the fit a moment before this process: Slurm is asked before an end counts as a crash.
    """
    while running.process.poll() is None and signal.SIGTERM not in came and running.asked_for() <= patience:
        if came:
            running.ask_to_leave()
        time.sleep(_PERIOD)
    if running.crashed and not _runs():
        came.append(signal.SIGTERM)
    if running.process.poll() is None or signal.SIGTERM in came:
        running.end()
    return running.conclude(store)


def _start(task: Task, store: Store, command: Sequence[str], folder: Path) -> Running | None:
    for _ in range(_TRIALS):
        if store.is_finished(task):
            return None
        if (running := start(task, store, command, folder)) is not None:
            return running
        time.sleep(_PERIOD)
    return None


def _requeue(task: Task, store: Store, limit: int, environment: Mapping[str, str] = os.environ) -> TaskState:
    """Requeue this job; its task counts as failed where that is not possible."""
    restarts = int(environment.get("SLURM_RESTART_COUNT", "0"))
    message = f"reached its time limit {restarts + 1} times: raise time or requeues in [slurm], or use more ranks"
    if restarts < limit:
        done = subprocess.run(["scontrol", "requeue", _job(environment)], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return TaskState("stopped")
        message = f"stopped before its time limit, and could not be requeued ({' '.join(done.stderr.split())})"
    store.note(task, "failed", message)
    return TaskState("failed", message)


def _runs(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether Slurm lets this job go on; True if Slurm does not answer."""
    words = ["squeue", "--noheader", "--array", f"--jobs={_job(environment)}", "--format=%T"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=_ANSWER)
    except (OSError, subprocess.SubprocessError):
        return True
    return done.stdout.strip() in ("RUNNING", "")


def _job(environment: Mapping[str, str]) -> str:
    return f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
