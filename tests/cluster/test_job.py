"""One job of an array on its own, with a script for Slurm's answer: ended from outside, crashed, in left memory."""

from __future__ import annotations

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


def start_job(cohort: Cohort, answer: str) -> subprocess.Popen[bytes]:
    """Start the first job of a cohort's array, of which a script in Slurm's place tells the state."""
    programs = cohort.folder / "bin"
    programs.mkdir()
    (programs / "squeue").write_text(f"#!/bin/sh\n{answer}\n")
    (programs / "squeue").chmod(0o755)
    plan = read_plan(cohort.plan)
    tasks = list_tasks(plan)
    Store(plan.results).open(plan.path, tasks)
    (array,) = write_arrays(plan, tasks, limit=len(tasks))
    own = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0", "PATH": f"{programs}:{os.environ['PATH']}"}
    line = [sys.executable, "-m", "oncology.cluster.job", str(array.listing), "0"]
    return subprocess.Popen(line, env={**cohort.environment, **own}, cwd=ROOT)


def record(cohort: Cohort) -> str:
    """Return what is noted of the fit."""
    return json.loads((cohort.results / ".cohort" / "records" / "sub-00.json").read_text())["state"]


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
