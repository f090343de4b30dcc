"""The tasks of a plan on the cores of one machine: never more ranks than cores, one failure no other's end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from oncology.cluster.execute import Running, command_line, mpiexec, start
from oncology.cluster.store import State, Store
from oncology.cluster.tasks import Task
from oncology.errors import ConfigError

__all__ = ["run_tasks"]

_PERIOD = 0.1  # seconds between two looks at the processes
_PATIENCE = 120.0  # seconds that a fit has to reach its next iterate when it is asked to leave

Tell = Callable[[Task, State], None]


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

    A task that another process runs (a second runner, or what a killed one left behind) is waited for; its ranks count.

    Args:
        tasks: The tasks, in order.
        store: Their files, opened.
        folder: Where relative paths among the settings start.
        python: Words that start Python; empty for the one that runs.
        cores: Most ranks at a time.
        tell: Called when a task starts ("running") and when it has ended.
        leave: How often the runner has been asked to leave: at once, running fits save their iterate; twice, they end.

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
    """Start what fits on the free cores; return what is still to be done."""
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
            tell(task, State("finished"))
        elif task.ranks > free:
            left.append(task)
        elif (run := start(task, store, command_line(task, python, launcher), folder)) is None:
            left.append(task)
        else:
            running.append(run)
            free -= task.ranks
            tell(task, State("running"))
    return left


def _reap(running: list[Running], store: Store, tell: Tell) -> list[Running]:
    """Conclude what has ended; return what runs on."""
    for run in running:
        if run.process.poll() is not None:
            tell(run.task, run.conclude(store))
    return [run for run in running if run.process.returncode is None]


def _ask(running: list[Running], times: int) -> bool:
    """Ask every fit once to leave; tell whether they are to be ended now, since they were asked twice or for long."""
    for run in running:
        run.ask_to_leave()
    return times > 1 or any(run.asked_for() > _PATIENCE for run in running)
