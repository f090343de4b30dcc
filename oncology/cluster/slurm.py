"""The tasks of a plan on Slurm: job arrays within the site's limit, and the state of the queue.

Every array has two files in `OUT/.cohort/slurm`: the script for sbatch, and the list of tasks by array index. Each job
of an array runs one task by `oncology.cluster.job`; a last job writes the table when all arrays have ended.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oncology.cluster.plan import CohortPlan, Slurm
from oncology.cluster.store import StateName, Store, write_whole
from oncology.cluster.tasks import Task
from oncology.errors import ConfigError

__all__ = ["Array", "array_limit", "chunks", "job_script", "queued", "submit", "write_arrays"]

_ENDING = 30  # seconds before the time limit at which a warned fit is ended, at most half of the warning


@dataclass(frozen=True)
class Array:
    """One job array.

    Attributes:
        script: Batch script.
        tasks: The task of each index, from 0.
    """

    script: Path
    tasks: tuple[Task, ...]

    @property
    def listing(self) -> Path:
        """File that lists the tasks."""
        return self.script.with_suffix(".json")

    @property
    def id_file(self) -> Path:
        """File with the job's number, once submitted."""
        return self.script.with_suffix(".job")


def chunks(tasks: Sequence[Task], limit: int) -> list[tuple[Task, ...]]:
    """Split tasks into arrays of at most `limit`; tasks for GPUs get arrays of their own."""
    queues = ([task for task in tasks if not task.on_gpu], [task for task in tasks if task.on_gpu])
    return [tuple(queue[k : k + limit]) for queue in queues for k in range(0, len(queue), limit)]


def array_limit(slurm: Slurm) -> int:
    """Return the largest number of jobs in one array: the site's MaxArraySize, or the plan's limit if that is lower.

    Raises:
        ConfigError: Slurm does not answer.
    """
    answer = _slurm("scontrol", "show", "config")
    found = re.search(r"(?m)^MaxArraySize\s*=\s*(\d+)", answer)
    site = int(found[1]) if found else 1001  # Slurm's default; the largest index is one below it
    return min(site, slurm.array_limit or site)


def write_arrays(plan: CohortPlan, tasks: Sequence[Task], limit: int) -> list[Array]:
    """Write the scripts and task lists of new arrays, without submitting them."""
    slurm = _section(plan)
    folder = Store(plan.results).folder / "slurm"
    folder.mkdir(parents=True, exist_ok=True)
    number = max((int(path.stem.split("-")[1]) for path in folder.glob("array-*.sh")), default=0)
    arrays = []
    for chunk in chunks(tasks, limit):
        number += 1
        array = Array(folder / f"array-{number:04d}.sh", chunk)
        content = {
            "out": str(plan.results),
            "folder": str(plan.folder),
            "python": plan.python,
            "launcher": slurm.launcher,
            "patience": slurm.warning - min(_ENDING, slurm.warning // 2),
            "requeues": slurm.requeues,
            "tasks": [task.as_dict() for task in chunk],
        }
        write_whole(array.listing, json.dumps(content, indent=1) + "\n")
        write_whole(array.script, job_script(plan, array))
        arrays.append(array)
    return arrays


def job_script(plan: CohortPlan, array: Array) -> str:
    """Return the batch script of an array."""
    slurm, first = _section(plan), array.tasks[0]
    queue = slurm.queue(first.on_gpu)
    at_once = "" if queue.at_once is None else f"%{queue.at_once}"
    options: dict[str, str | int | None] = {
        "job-name": f"oncology-{plan.path.stem}",
        "array": f"0-{len(array.tasks) - 1}{at_once}",
        "nodes": 1,
        "ntasks": first.ranks,
        "partition": queue.partition,
        "account": queue.account,
        "time": queue.time,
        "mem-per-cpu": queue.memory,
        "gres": queue.gres,
        "signal": f"B:USR1@{slurm.warning}",
        "open-mode": "append",
        "output": f"{_literal(array.script.with_suffix(''))}-%a.out",
        "chdir": str(plan.folder),
    }
    words = [sys.executable, "-m", "oncology.cluster.job", str(array.listing)]
    return _script(options, ["--requeue", *(queue.sbatch or ())], slurm, f'{shlex.join(words)} "$SLURM_ARRAY_TASK_ID"')


def table_script(plan: CohortPlan, after: Sequence[str]) -> str:
    """Return the batch script that writes the table when the arrays have ended, successfully or not."""
    slurm = _section(plan)
    folder = Store(plan.results).folder / "slurm"
    options: dict[str, str | int | None] = {
        "job-name": f"oncology-{plan.path.stem}-table",
        "ntasks": 1,
        "partition": slurm.partition,
        "account": slurm.account,
        "time": None if slurm.time is None else "00:30:00",
        "mem-per-cpu": slurm.memory,
        "dependency": f"afterany:{':'.join(after)}",
        "output": f"{_literal(folder)}/table.out",
        "chdir": str(plan.folder),
    }
    words = [sys.executable, "-m", "oncology", "cohort", str(plan.path), "table"]
    return _script(options, list(slurm.sbatch or ()), slurm, shlex.join(words))


def submit(plan: CohortPlan, arrays: Sequence[Array]) -> list[str]:
    """Submit arrays and the job that writes the table after them; return the job numbers of the arrays.

    Raises:
        ConfigError: sbatch refuses; arrays submitted before stay in the queue.
    """
    jobs = []
    for array in arrays:
        jobs.append(_sbatch(array.script))
        write_whole(array.id_file, jobs[-1] + "\n")
    if jobs:
        script = Store(plan.results).folder / "slurm" / "table.sh"
        write_whole(script, table_script(plan, jobs))
        _sbatch(script)
    return jobs


def queued(plan: CohortPlan) -> dict[str, StateName]:
    """Return the tasks in Slurm's queue by name, each "running" or "queued".

    Raises:
        ConfigError: Slurm does not answer.
    """
    folder = Store(plan.results).folder / "slurm"
    known = {path.read_text().strip(): path.with_suffix(".json") for path in sorted(folder.glob("array-*.job"))}
    if not known:
        return {}
    states: dict[str, StateName] = {}
    listings: dict[str, list[Mapping[str, str]]] = {}
    for line in _slurm("squeue", "--noheader", "--array", "--me", "--format=%F %K %t").splitlines():
        job, index, state = line.split()
        if job in known and index.isdigit():
            tasks = listings.setdefault(job, json.loads(known[job].read_text(encoding="utf-8"))["tasks"])
            states[tasks[int(index)]["name"]] = "running" if state == "R" else "queued"
    return states


def _section(plan: CohortPlan) -> Slurm:
    if plan.slurm is None:
        raise ConfigError(f"{plan.path}: has no [slurm]: add it to submit, even if empty, or run here with 'run'")
    return plan.slurm


def _script(options: Mapping[str, str | int | None], flags: Sequence[str], slurm: Slurm, last: str) -> str:
    given = [f"--{name}={shlex.quote(str(value))}" for name, value in options.items() if value is not None]
    lines = ["#!/bin/bash", *(f"#SBATCH {option}" for option in (*given, *flags)), "set -e", *slurm.prelude]
    return "\n".join([*lines, f"exec {last}"]) + "\n"


def _literal(path: Path) -> str:
    """Escape a path in which sbatch would fill in patterns."""
    return str(path).replace("%", "%%")


def _sbatch(script: Path) -> str:
    return _slurm("sbatch", "--parsable", str(script)).strip().split(";")[0]


def _slurm(*words: str) -> str:
    """Run a command of Slurm and return its output."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    except FileNotFoundError as error:
        raise ConfigError(f"{words[0]}: not found: submit where Slurm is, or run here with 'run'") from error
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.split()) or f"ended with status {error.returncode}"
        raise ConfigError(f"{' '.join(words)}: {said}: correct [slurm] in the plan, or ask your site") from error
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{' '.join(words)}: no answer for {error.timeout:.0f} s: try again later") from error
    return done.stdout
