"""One fit as a process: the words that start it, its environment, and what its end means."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from oncology.cluster import Store, Task, TaskState
from oncology.cluster.execute import STOPPED, command_line, mpiexec, start, task_environment
from oncology.errors import ConfigError
from tests.cluster.cohorts import wait_for

CASE, OUT = Path("/cases/sub-01"), Path("/out/sub-01")
LAUNCHER = ("srun", "--mpi=pmi2")


def task_of(out: Path = OUT, ranks: int = 1) -> Task:
    return Task("sub-01", "", CASE, out, {"size": 3.0, "single_seed": True, "route": "lattice"}, ranks)


def test_a_fit_is_started_so_that_it_goes_on_from_its_last_iterate():
    words = "-m oncology fit /cases/sub-01 --out /out/sub-01 --resume --size=3.0 --single-seed=true --route=lattice"
    assert command_line(task_of(), (), LAUNCHER) == [sys.executable, *words.split()]
    assert command_line(task_of(), ("sh", "stub"), ()) == ["sh", "stub", *words.split()]
    assert command_line(task_of(ranks=2), ("python",), LAUNCHER) == [*LAUNCHER, "-n", "2", "python", *words.split()]


def test_the_environment_of_a_fit_has_one_thread_and_no_launcher():
    given = {
        "PATH": "/bin",
        "PMI_RANK": "3",
        "PMIX_ID": "1",
        "OMPI_COMM_WORLD_RANK": "0",
        "PRTE_X": "y",
        "MPI_LOCALRANKID": "0",
    }
    found = task_environment(given | {"OMP_NUM_THREADS": "4", "OMPI_MCA_btl": "self"})
    assert {"PATH": "/bin", "OMP_NUM_THREADS": "4", "OMPI_MCA_btl": "self"}.items() <= found.items(), "one's own wins"
    assert not {"PMI_RANK", "PMIX_ID", "OMPI_COMM_WORLD_RANK", "PRTE_X", "MPI_LOCALRANKID"} & found.keys()
    single = task_environment({})
    assert {single[f"{name}_NUM_THREADS"] for name in ("OMP", "OPENBLAS", "MKL")} == {"1"}
    assert single["OMPI_MCA_hwloc_base_binding_policy"] == single["PRTE_MCA_hwloc_default_binding_policy"] == "none"


def test_the_launcher_beside_this_python_comes_first(tmp_path, monkeypatch):
    for folder in ("venv", "system"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "system"))
    with pytest.raises(ConfigError, match="mpiexec: not found"):
        mpiexec()
    for folder in ("system", "venv"):
        program = tmp_path / folder / "mpiexec"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        assert mpiexec() == str(program)


def ended(tmp_path: Path, script: str, asked: bool = False) -> tuple[TaskState, Store, Task, bool]:
    """Run a shell script in the place of a fit; ask it to leave once it has begun."""
    task, store = task_of(tmp_path / "out" / "sub-01"), Store(tmp_path / "out")
    store.open(tmp_path / "plan.toml", [task])
    store.log(task).write_text("oncology: of an earlier run\n")
    running = start(task, store, ["sh", "-c", f"echo begun; {script}"], tmp_path)
    assert running is not None and start(task, store, ["true"], tmp_path) is None, "one process runs a task"
    assert store.state(task).name == "running"
    if asked:
        wait_for(lambda: "begun" in store.log(task).read_text())
        running.ask_to_leave()
        running.ask_to_leave()
    state = running.conclude(store)
    assert store.state(task) == TaskState(state.name, state.message), "what is noted is what is told"
    assert store.claim(task) is not None, "the lock is free again"
    return state, store, task, running.crashed


@pytest.mark.parametrize(
    ("script", "state", "crashed"),
    [
        (f"exit {STOPPED}", TaskState("stopped"), False),
        ("echo 'oncology: bad case'; echo later; exit 1", TaskState("failed", "bad case"), False),
        ("echo 'oncology: first'; echo 'oncology: last'; exit 2", TaskState("failed", "last"), False),
        ("echo reason; echo 'srun: error: task 0'; exit 3", TaskState("failed", "ended with status 3 (reason)"), True),
        ("echo slurmstepd told; exit 4", TaskState("failed", "ended with status 4 (begun)"), True),
        ("kill -SEGV $$", TaskState("failed", "was killed by signal 11 (begun)"), True),
        ("mkdir -p out/sub-01; touch out/sub-01/estimate.json; exit 3", TaskState("finished"), True),
        ("exit 0", TaskState("failed", "ended with status 0 (begun)"), False),
        ("printf 'oncology: %0500d' 0; exit 1", TaskState("failed", "0" * 400), False),
    ],
)
def test_what_an_end_means(tmp_path, script, state, crashed):
    assert ended(tmp_path, script)[::3] == (state, crashed)


@pytest.mark.parametrize(
    ("status", "name"), [(STOPPED, "stopped"), (0, "stopped"), (3, "stopped"), (1, "failed"), (2, "failed")]
)
def test_a_fit_that_was_asked_to_leave_is_told_once_and_has_not_crashed(tmp_path, status, name):
    script = f"trap 'echo told; n=1' USR1; while [ -z \"$n\" ]; do sleep 0.05; done; sleep 0.2; exit {status}"
    state, store, task, crashed = ended(tmp_path, script, asked=True)
    assert (state.name, crashed) == (name, False)
    assert store.log(task).read_text().count("told") == 1


def test_a_fit_is_ended_with_all_its_children(tmp_path):
    task, store = task_of(tmp_path / "out" / "sub-01"), Store(tmp_path / "out")
    store.open(tmp_path / "plan.toml", [task])
    running = start(task, store, ["sh", "-c", "sleep 300 & echo $!; wait"], tmp_path)
    assert running is not None and running.asked_for() == 0.0
    wait_for(lambda: store.log(task).read_text().strip())
    child = int(store.log(task).read_text())
    running.end()
    assert running.conclude(store) == TaskState("stopped") and running.process.returncode == -signal.SIGTERM
    wait_for(lambda: not Path(f"/proc/{child}").exists() or " Z " in Path(f"/proc/{child}/stat").read_text())
    assert running.asked_for() > 0.0


def test_a_program_that_is_not_there_is_one_line_and_leaves_no_lock(tmp_path):
    task, store = task_of(tmp_path / "out" / "sub-01"), Store(tmp_path / "out")
    store.open(tmp_path / "plan.toml", [task])
    with pytest.raises(
        ConfigError, match=r"/no/python: cannot be started \(No such file or directory\): correct the plan"
    ):
        start(task, store, ["/no/python"], tmp_path)
    assert not store.is_claimed(task)


def test_a_task_that_is_finished_meanwhile_is_not_started(tmp_path):
    task, store = task_of(tmp_path / "out" / "sub-01"), Store(tmp_path / "out")
    store.open(tmp_path / "plan.toml", [task])
    task.out.mkdir(parents=True)
    (task.out / "estimate.json").touch()
    assert start(task, store, ["touch", "begun"], tmp_path) is None
    assert not store.is_claimed(task) and not (tmp_path / "begun").exists() and os.listdir(tmp_path) == ["out"]
