"""One job of an array on its own, with scripts for Slurm's answers: stopped, put back, ended from outside, crashed."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from oncology.cluster import Store, list_tasks, read_plan
from oncology.cluster.remains import remove_remains
from oncology.cluster.slurm import write_arrays
from tests.cluster.cohorts import ROOT, Cohort, wait_for, write_cohort


def start_job(
    cohort: Cohort,
    answer: str = "echo RUNNING",
    requeue: str = "exit 0",
    restarts: int | None = None,
    patience: float | None = None,
) -> subprocess.Popen[bytes]:
    """Start the first job of a cohort's array; scripts in Slurm's place tell its state and put it back."""
    programs = cohort.folder / "bin"
    programs.mkdir()
    for name, script in (("squeue", answer), ("scontrol", requeue)):
        (programs / name).write_text(f'#!/bin/sh\necho "$@" >> {cohort.folder}/{name}.said\n{script}\n')
        (programs / name).chmod(0o755)
    plan = read_plan(cohort.plan)
    tasks = list_tasks(plan)
    Store(plan.results).open(plan.path, tasks)
    (array,) = write_arrays(plan, tasks, limit=len(tasks))
    if patience is not None:
        array.listing.write_text(json.dumps(json.loads(array.listing.read_text()) | {"patience": patience}))
    own = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0", "PATH": f"{programs}:{os.environ['PATH']}"}
    own |= {} if restarts is None else {"SLURM_RESTART_COUNT": str(restarts)}
    line = [sys.executable, "-m", "oncology.cluster.job", str(array.listing), "0"]
    return subprocess.Popen(line, env={**cohort.environment, **own}, cwd=ROOT)


def record(cohort: Cohort, key: str = "state") -> str:
    """Return what is noted of the fit."""
    return json.loads((cohort.results / ".cohort" / "records" / "sub-00.json").read_text())[key]


def said_to(cohort: Cohort, program: str) -> list[str]:
    """Return the words that a script in Slurm's place was given, one line per call."""
    path = cohort.folder / f"{program}.said"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize(
    ("answer", "status", "begun", "noted"),
    [
        ("echo RUNNING", 1, 2, "failed"),
        ("exit 1", 1, 2, "failed"),
        ("echo COMPLETING", 75, 1, "stopped"),
        ("echo CANCELLED", 75, 1, "stopped"),
    ],
)
def test_a_crash_counts_unless_slurm_ends_the_job(tmp_path, answer, status, begun, noted):
    cohort = write_cohort(tmp_path, ["00"], {"slurm": {}})
    (cohort.case("00") / "crashes").touch()
    assert start_job(cohort, answer).wait(timeout=60) == status
    assert (len(cohort.events("+")), record(cohort)) == (begun, noted)
    assert said_to(cohort, "squeue") == ["--noheader --array --jobs=7_0 --format=%T"] * begun
    assert not said_to(cohort, "scontrol"), "a crash is not put back"


@pytest.mark.parametrize(
    ("requeue", "restarts", "status", "state", "message"),
    [
        ("exit 0", None, 0, "stopped", ""),
        ("exit 0", 1, 0, "stopped", ""),
        (
            "exit 0",
            2,
            1,
            "failed",
            "reached its time limit 3 times: raise time or requeues in [slurm], or",
        ),
        ("echo 'Job is held' >&2; exit 1", 1, 1, "failed", "could not be requeued (Job is held)"),
    ],
)
def test_a_fit_that_is_stopped_before_the_limit_is_put_back(tmp_path, requeue, restarts, status, state, message):
    cohort = write_cohort(tmp_path, ["00"], {"slurm": {"requeues": 2}})
    (cohort.case("00") / "waits").touch()
    job = start_job(cohort, requeue=requeue, restarts=restarts)
    wait_for(lambda: cohort.events("+"))
    job.send_signal(signal.SIGUSR1)
    assert job.wait(timeout=60) == status
    assert cohort.events("=") == ["sub-00"], "the fit was told to save"
    assert said_to(cohort, "scontrol") == ([] if restarts == 2 else ["requeue 7_0"])
    assert (len(cohort.events("+")), record(cohort)) == (1, state)
    assert message in record(cohort, "message") and bool(message) == bool(record(cohort, "message"))


def test_a_fit_that_does_not_leave_in_time_is_ended_and_put_back(tmp_path):
    words = ["sh", "-c", "trap '' USR1; echo '+ sub-00' >> $EVENTS; sleep 300"]
    cohort = write_cohort(tmp_path, ["00"], {"python": words, "slurm": {"warning": 10}})
    job = start_job(cohort, patience=0.5)
    wait_for(lambda: cohort.events("+"))
    job.send_signal(signal.SIGUSR1)
    assert job.wait(timeout=60) == 0
    assert (said_to(cohort, "scontrol"), record(cohort)) == (["requeue 7_0"], "stopped")


def test_a_finished_or_running_task_is_left_alone(tmp_path):
    cohort = write_cohort(tmp_path, ["00"], {"slurm": {}})
    assert start_job(cohort).wait(timeout=60) == 0
    listing = next((cohort.results / ".cohort" / "slurm").glob("*.json"))
    assert json.loads(listing.read_text())["patience"] == 270, "half a minute is left to end it in"
    again = [sys.executable, "-m", "oncology.cluster.job", str(listing), "0"]
    assert subprocess.run(again, env=cohort.environment, cwd=ROOT, check=False, timeout=60).returncode == 0
    (cohort.results / "sub-00" / "estimate.json").unlink()
    with (cohort.results / ".cohort" / "locks" / "sub-00.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert subprocess.run(again, env=cohort.environment, cwd=ROOT, check=False, timeout=60).returncode == 0
    assert len(cohort.events("+")) == 1


def test_a_job_that_is_terminated_starts_nothing_more(tmp_path):
    cohort = write_cohort(tmp_path, ["00"], {"slurm": {}})
    (cohort.case("00") / "waits").touch()
    job = start_job(cohort, "echo RUNNING")
    wait_for(lambda: cohort.events("+"))
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=60) == 75
    assert (len(cohort.events("+")), record(cohort)) == (1, "stopped")


def test_a_reason_is_told_before_the_launchers_last_words(tmp_path):
    words = ["sh", "-c", "echo 'Fatal error in MPI_Init'; echo 'srun: error: task 0: Exited'; exit 3"]
    cohort = write_cohort(tmp_path, ["00"], {"python": words})
    assert cohort.run().error == "oncology: sub-00: ended with status 3 (Fatal error in MPI_Init)\n"


def test_only_memory_that_nobody_has_mapped_is_removed(tmp_path):
    names = ["mpich_shm_82cc51e2_0", "mpich_vci_82cc51e2_0", "mpich_shm_91d40e22_0", "sem.mp-j9v0yfut", "psm_5ed1ab3e"]
    for name in names:
        (tmp_path / name).write_bytes(bytes(mmap.PAGESIZE))
        os.utime(tmp_path / name, (time.time() - 60, time.time() - 60))
    (tmp_path / "mpich_shm_c0e32ef1_0").write_bytes(bytes(mmap.PAGESIZE))  # just made, perhaps not mapped yet
    with (tmp_path / names[2]).open("r+b") as handle, mmap.mmap(handle.fileno(), 0):
        assert sorted(remove_remains(tmp_path)) == [tmp_path / name for name in names[:2]]
    assert {path.name for path in tmp_path.iterdir()} == {*names[2:], "mpich_shm_c0e32ef1_0"}
    assert remove_remains(tmp_path) == [tmp_path / names[2]]
    assert remove_remains(Path(tmp_path / "absent")) == []
