"""Run the tasks of a plan on one machine.

There are never more ranks than cores, and a failed task does not stop the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from oncology.cluster.execute import Running, command_line, mpiexec, start
from oncology.cluster.store import Store, TaskState
from oncology.cluster.tasks import Task
from oncology.errors import ConfigError

__all__ = ["run_tasks"]

_PERIOD = 0.1  # seconds between two polls of the processes
_PATIENCE = 120.0  # seconds in which a fit that is asked to stop must reach its next iterate

Tell = Callable[[Task, TaskState], None]


def run_tasks(
    tasks: Sequence[Task],
    store: Store,
    folder: Path,
    python: Sequence[str],
    cores: int,
    tell: Tell = lambda task, state: None,
    leave: Callable[[], int] = lambda: 0,
) -> None:
    """Run every task that is not finished.

    A task that another process runs (started by a second runner, or by one that was killed) is waited for, and its
    ranks count.

    Args:
        tasks: The tasks, in order.
        store: Their files; `Store.open` was called.
        folder: Working directory, from which relative paths in the settings start.
        python: Command that starts Python; empty for the current interpreter.
        cores: Largest number of ranks at a time.
        tell: Called when a task starts ("running") and when it has ended.
        leave: Returns how often the runner has been asked to stop: once, and running fits save their iterate and stop;
            twice, and they are ended.

    Raises:
        ConfigError: a task has more ranks than there are cores, or cannot be started.
    """
    needed = max((task.ranks for task in tasks), default=1)
    if needed > cores:
        raise ConfigError(f"ranks = {needed} is more than {cores} cores: lower ranks, or give --cores {needed}")
    launcher = (mpiexec(),) if needed > 1 else ()
    waiting, running = [task for task in tasks if not store.is_finished(task)], list[Running]()
    try:
        while running or (waiting and not leave()):
            if not leave():
                waiting = _start(waiting, running, store, folder, python, launcher, cores, tell)
            elif _ask(running, leave()):
                break
            running = _reap(running, store, tell)
            if running or waiting:
                time.sleep(_PERIOD)
    finally:
        for run in running:
            run.end()
        for run in running:
            run.conclude(store)


def _start(
    waiting: list[Task],
    running: list[Running],
    store: Store,
    folder: Path,
    python: Sequence[str],
    launcher: Sequence[str],
    cores: int,
    tell: Tell,
) -> list[Task]:
    """Start as many tasks as the free cores allow; return those that still wait."""
    free = cores - sum(run.task.ranks for run in running)
    if free < min((task.ranks for task in waiting), default=1):
        return waiting
    foreign = {task.name for task in waiting if store.is_claimed(task)}
    free -= sum(task.ranks for task in waiting if task.name in foreign)
    left = []
    for task in waiting:
        if task.name in foreign:
            left.append(task)
        elif store.is_finished(task):
            tell(task, TaskState("finished"))
        elif task.ranks > free:
            left.append(task)
        elif (run := start(task, store, command_line(task, python, launcher), folder)) is None:
            left.append(task)
        else:
            running.append(run)
            free -= task.ranks
            tell(task, TaskState("running"))
    return left


def _reap(running: list[Running], store: Store, tell: Tell) -> list[Running]:
    """Conclude the processes that have ended; return the others."""
    for run in running:
        if run.process.poll() is not None:
            tell(run.task, run.conclude(store))
    return [run for run in running if run.process.returncode is None]


def _ask(running: list[Running], times: int) -> bool:
    """Ask every fit once to stop; tell whether to end them now, asked twice or too long ago."""
    for run in running:
        run.ask_to_leave()
    return times > 1 or any(run.asked_for() > _PATIENCE for run in running)
