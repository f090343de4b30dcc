"""`oncology cohort`: a folder of cases and settings fitted on this machine or on Slurm, and one table at the end."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import CycloptsError, Parameter

from oncology.cli.output import progress
from oncology.cli.runtime import Stopped
from oncology.errors import ArgumentError, ConfigError
from oncology.parallel import launched_rank

if TYPE_CHECKING:
    from oncology.cluster import CohortPlan, Store, Task, TaskState

__all__ = ["cohort"]


def cohort(
    plan: Path,
    action: Literal["run", "submit", "status", "table"] = "run",
    /,
    *,
    cores: int | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Fit many cases as a plan says, on this machine or on Slurm, and put what was found into one table.

    Cases that are finished are skipped, one that fails does not stop the others, and a cohort that was killed goes on
    when the same command is given again. Results are in the plan's output folder: one folder a fit, cohort.csv and
    cohort.html.

    Args:
        plan: TOML file that names cases, settings, output folder and queue (see docs/cohorts.md).
        action: run fits here; submit sends job arrays to Slurm; status tells where every fit stands; table writes
            cohort.csv and cohort.html from what is there.
        cores: Most cores to use at a time with run (all that this process may use, if not given).
        dry_run: With submit, write the scripts and show them, but submit nothing.

    Returns:
        0; 1 after a run with a case that failed. A run that was asked to leave (Ctrl-C, SIGTERM, SIGUSR1) ends with 75.
    """
    if launched_rank() > 0:
        return 0
    from oncology.cluster import Store, list_tasks, read_plan

    given = read_plan(plan)
    tasks = list_tasks(given)
    _require_options(given, tasks)
    store = Store(given.results)
    if action in ("run", "submit"):
        store.open(given.path, tasks)
    match action:
        case "run":
            return _run(given, tasks, store, _cores(cores))
        case "submit":
            return _submit(given, tasks, store, dry_run)
        case "status":
            return _status(given, tasks, store)
        case "table":
            return _table(given, tasks, store)


def _cores(given: int | None) -> int:
    if given is not None and given < 1:
        raise ConfigError(f"--cores {given} is below 1: give the number of cores to use at a time")
    return given or len(os.sched_getaffinity(0))


def _require_options(plan: CohortPlan, tasks: Sequence[Task]) -> None:
    """Let `oncology fit` itself look at the settings of every variant, before any case is begun."""
    from oncology.api.fitting import check_options
    from oncology.cli.main import build_app

    for task in {task.variant: task for task in tasks}.values():
        words = ["fit", str(task.case), "--out", str(task.out), "--resume", *task.words]
        try:
            check_options(**build_app(words).parse_args(words)[1].arguments)
        except (CycloptsError, ConfigError) as error:
            where = f"[variant.{task.variant}]" if task.variant else "[fit]"
            told = " ".join((error.option if isinstance(error, ArgumentError) else str(error)).split())
            raise ConfigError(f"{plan.path}: {where}: {told} (see oncology fit --help)") from error


def _run(plan: CohortPlan, tasks: Sequence[Task], store: Store, cores: int) -> int:
    from oncology.cluster.local import run_tasks
    from oncology.cluster.table import read_rows, write_tables

    with progress() as show, _asked_to_leave() as leave:
        ended = [task for task in tasks if store.is_finished(task)]
        now: list[str] = []

        def tell(task: Task, state: TaskState) -> None:
            if state.name == "running":
                now.append(task.name)
            else:
                ended.append(task)
                now[:] = [name for name in now if name != task.name]
            if state.name == "failed":
                print(f"oncology: {task.name}: {state.message}", file=sys.stderr, flush=True)
            show(f"{len(ended)} of {len(tasks)} fits, now {', '.join(now) or 'none'}", len(ended) / len(tasks))

        run_tasks(tasks, store, plan.folder, plan.python, cores, tell, leave)
        rows = read_rows(tasks, store)
        page = write_tables(rows, store.out, plan.path.stem)
        left = [row.task.name for row in rows if row.state.name not in ("finished", "failed")]
        if left:
            raise Stopped(f"stopped with {len(left)} of {len(tasks)} fits to go: the same command goes on")
    print(page)
    return 1 if any(row.state.name == "failed" for row in rows) else 0


@contextmanager
def _asked_to_leave() -> Iterator[Callable[[], int]]:
    """Count the signals that ask the runner to leave, instead of dying of them."""
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in numbers}
    try:
        yield lambda: len(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _submit(plan: CohortPlan, tasks: Sequence[Task], store: Store, dry_run: bool) -> int:
    from oncology.cluster.slurm import array_limit, queued, submit, write_arrays

    if plan.slurm is None:
        raise ConfigError(f"{plan.path}: has no [slurm]: add it, even if empty, or use 'run' to fit on this machine")
    limit = array_limit(plan.slurm)
    queue = queued(plan)
    states = {task.name: store.state(task, queue).name for task in tasks}
    missing = [task for task in tasks if states[task.name] in ("waiting", "stopped", "failed")]
    arrays = write_arrays(plan, missing, limit)
    if dry_run:
        for array in arrays:
            print(f"# sbatch {shlex.quote(str(array.script))}\n{array.script.read_text()}")
            array.script.unlink()
            array.listing.unlink()
        return 0
    jobs = submit(plan, arrays)
    for job, array in zip(jobs, arrays, strict=True):
        print(f"{job}: {len(array.tasks)} fits ({array.script})")
    if not jobs:
        done = sum(name == "finished" for name in states.values())
        print(f"nothing to submit: {done} of {len(tasks)} fits are finished, the others are running or in the queue")
    return 0


def _status(plan: CohortPlan, tasks: Sequence[Task], store: Store) -> int:
    from oncology.cluster.slurm import queued

    queue, width = queued(plan), max(len(task.name) for task in tasks)
    counts: dict[str, int] = {}
    for task in tasks:
        state = store.state(task, queue)
        counts[state.name] = counts.get(state.name, 0) + 1
        print(f"{task.name:{width}}  {state.name:8}  {state.message}".rstrip())
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    return 0


def _table(plan: CohortPlan, tasks: Sequence[Task], store: Store) -> int:
    from oncology.cluster.slurm import queued
    from oncology.cluster.table import read_rows, write_tables

    rows = read_rows(tasks, store, queued(plan))
    store.open(plan.path, tasks)
    print(write_tables(rows, store.out, plan.path.stem))
    return 0
