"""A real Slurm of one node: arrays of MPI jobs, one told to leave, one killed and put back, one broken."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from oncology.cluster import Task, list_tasks, read_plan
from oncology.cluster.execute import mpiexec
from oncology.cluster.slurm import Array, chunks, job_script, table_script
from tests.cases import write_case
from tests.cluster import slurm_site
from tests.cluster.cohorts import ROOT, Cohort, wait_for, write_cohort

ABSENT = slurm_site.missing()
needs_slurm = pytest.mark.skipif(bool(ABSENT), reason=f"no {', '.join(ABSENT)} here: {slurm_site.INSTALL}")


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    with slurm_site.slurm_site(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture
def slurm(site, monkeypatch) -> Mapping[str, str]:
    for name, value in site.items():
        monkeypatch.setenv(name, value)
    return site


@pytest.fixture
def launcher(slurm) -> list[str]:
    """The first launcher that gives this MPI two ranks in one world: srun, where the two know each other."""
    program = "from oncology.cli.runtime import world; print(world().size)"
    for kind in ("pmi2", "pmix"):
        words = ["srun", f"--mpi={kind}", "--kill-on-bad-exit=1"]
        line = [*words, "-n", "2", sys.executable, "-c", program]
        for _ in range(3):
            done = subprocess.run(line, env=slurm, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT)
            if "".join(done.stdout.split()) == "22":
                return words
    return [mpiexec()]


def jobs(slurm: Mapping[str, str], form: str = "%i %t") -> list[str]:
    """Return a line for each job in the queue, arrays element by element."""
    words = ["squeue", "--noheader", "--array", f"--format={form}"]
    return subprocess.run(words, env=slurm, capture_output=True, text=True, check=True).stdout.splitlines()


def listed(cohort: Cohort) -> dict[str, str]:
    """Return the job of every submitted task, as Slurm writes it: ARRAY_INDEX."""
    found = {}
    for path in sorted((cohort.results / ".cohort" / "slurm").glob("array-*.job")):
        tasks = json.loads(path.with_suffix(".json").read_text())["tasks"]
        found |= {task["name"]: f"{path.read_text().strip()}_{index}" for index, task in enumerate(tasks)}
    return found


def what_was_said(cohort: Cohort) -> str:
    """Return the logs of all fits and the output of all jobs, for a test that fails."""
    paths = sorted((cohort.results / ".cohort").rglob("*.log")) + sorted((cohort.results / ".cohort").rglob("*.out"))
    return "\n".join(f"== {path}\n{path.read_text(errors='replace')}" for path in paths)


def is_pending(slurm: Mapping[str, str], job: str) -> bool:
    """Tell whether a job waits in the queue."""
    return f"{job} PD" in jobs(slurm)


def hasten(slurm: Mapping[str, str], job: str) -> None:
    """Let a requeued job start again soon: Slurm waits two minutes, and refuses one in the second in which it ended."""
    wait_for(partial(is_pending, slurm, job))
    subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now+2"], env=slurm, check=True)


def task(name: str, engine: str | None = None, ranks: int = 2) -> Task:
    options = {} if engine is None else {"engine": engine}
    return Task(name, "", Path("/cases") / name, Path("/out") / name, options, ranks)


@given(st.lists(st.sampled_from([None, "voxel"]), max_size=40), st.integers(1, 9))
def test_arrays_hold_every_task_once_and_keep_the_limit(engines, limit):
    tasks = [task(f"sub-{k}", engine) for k, engine in enumerate(engines)]
    arrays = chunks(tasks, limit)
    assert sorted(t.name for array in arrays for t in array) == sorted(t.name for t in tasks)
    assert all(1 <= len(array) <= limit for array in arrays)
    assert all(len({t.on_gpu for t in array}) == 1 for array in arrays)
    assert len(arrays) <= -(-len(tasks) // limit) + 1


def options_of(script: str) -> dict[str, str]:
    """Return the options of a batch script as sbatch reads them."""
    words = [word for line in re.findall(r"(?m)^#SBATCH (.*)$", script) for word in shlex.split(line)]
    return dict(word.removeprefix("--").partition("=")[::2] for word in words)


def test_scripts_ask_for_what_the_plan_says(tmp_path):
    folder = tmp_path / "50% of 'all'"
    folder.mkdir()
    cohort = write_cohort(folder, ["01"], {"ranks": 2})
    text = (
        '[slurm]\npartition = "cpu"\naccount = "brain"\ntime = "02:00:00"\nmemory = "3G"\nwarning = 120\nat_once = 7\n'
        'prelude = ["module load mpich"]\nsbatch = ["--qos=long"]\n[slurm.gpu]\npartition = "gpu"\ngres = "gpu:1"\n'
    )
    cohort.plan.write_text(cohort.plan.read_text() + text)
    plan = read_plan(cohort.plan)
    script = job_script(plan, Array(folder / "array-0001.sh", tuple(list_tasks(plan)) * 3))
    options = options_of(script)
    assert options["array"] == "0-2%7"
    assert options["output"] == str(folder / "array-0001-%a.out").replace("50%", "50%%")
    expected = {"partition": "cpu", "account": "brain", "time": "02:00:00", "mem-per-cpu": "3G", "ntasks": "2"}
    assert expected.items() <= options.items()
    assert {"signal": "B:USR1@120", "requeue": "", "qos": "long"}.items() <= options.items()
    assert script.splitlines()[-2] == "module load mpich"
    words = shlex.split(script.splitlines()[-1])
    assert words[2:4] == ["-m", "oncology.cluster.job"] and words[4] == str(folder / "array-0001.json")
    gpu = options_of(job_script(plan, Array(folder / "array-0002.sh", (task("sub-02", "voxel", ranks=1),))))
    assert {"partition": "gpu", "gres": "gpu:1", "account": "brain", "ntasks": "1"}.items() <= gpu.items()
    table = options_of(table_script(plan, ["11", "12"]))
    assert {"dependency": "afterany:11:12", "partition": "cpu", "ntasks": "1"}.items() <= table.items()
    for text in (script, table_script(plan, ["11"])):
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_without_slurm_one_line_says_so(tmp_path, monkeypatch):
    cohort = write_cohort(tmp_path, ["01"])
    assert "has no [slurm]" in cohort.run("submit").error
    cohort.plan.write_text(cohort.plan.read_text() + "[slurm]\n")
    monkeypatch.setenv("PATH", "/nowhere")
    ended = cohort.run("submit")
    assert (ended.status, ended.error.count("\n")) == (2, 1)
    assert "scontrol: not found" in ended.error


@needs_slurm
def test_a_refused_job_is_one_line(tmp_path, slurm):
    cohort = write_cohort(tmp_path, ["01"], {"slurm": {"partition": "nowhere"}})
    ended = cohort.run("submit")
    assert (ended.status, ended.error.count("\n")) == (2, 1)
    assert "invalid partition" in ended.error.lower() and "correct [slurm]" in ended.error
    assert not jobs(slurm)


@needs_slurm
def test_a_dry_run_shows_scripts_and_submits_nothing(tmp_path, slurm):
    cohort = write_cohort(tmp_path, [f"{k:02d}" for k in range(6)], {"slurm": {}})
    ended = cohort.run("submit", "--dry-run")
    assert (ended.status, ended.out.count("#!/bin/bash")) == (0, 2)
    assert not jobs(slurm) and not list(cohort.results.rglob("*.sh"))


@needs_slurm
def test_arrays_keep_the_sites_limit_and_the_table_follows(tmp_path, slurm):
    names = [f"{k:02d}" for k in range(6)]
    cohort = write_cohort(tmp_path, names, {"slurm": {"partition": "cpu"}})
    (cohort.case("03") / "broken").write_text("key subject is missing: give it")
    (cohort.case("00") / "waits").touch()
    first = cohort.run("submit")
    assert first.status == 0 and re.findall(r"(?m)^\d+: (\d) fits", first.out) == ["4", "2"]
    wait_for(lambda: "sub-00" in cohort.events("+"))
    assert "sub-00  running" in cohort.run("status").out
    again = cohort.run("submit")
    assert (again.status, again.out[:17]) == (0, "nothing to submit"), "what is in the queue is not submitted again"
    (cohort.case("00") / "waits").unlink()
    wait_for(lambda: not jobs(slurm))
    assert cohort.finished() == {f"sub-{name}" for name in names if name != "03"}
    assert cohort.run("status").out.splitlines()[-1] == "5 finished, 1 failed"
    with (cohort.results / "cohort.csv").open() as handle:
        rows = {row["case"]: row for row in csv.DictReader(handle)}
    assert rows["sub-03"]["error"] == f"{cohort.case('03')}/case.toml: key subject is missing: give it"
    (cohort.case("03") / "broken").unlink()
    assert (
        cohort.run("submit")
        .out.splitlines()[0]
        .endswith("1 fits (" + str(cohort.results / ".cohort/slurm/array-0003.sh)"))
    )
    wait_for(lambda: not jobs(slurm))
    assert len(cohort.finished()) == 6
    assert len(cohort.events("+")) == 7, "nothing is done twice"


@needs_slurm
def test_a_case_that_never_gets_done_is_given_up(tmp_path, slurm):
    cohort = write_cohort(tmp_path, ["00"], {"slurm": {"requeues": 0, "warning": 30}})
    (cohort.case("00") / "waits").touch()
    assert cohort.run("submit").status == 0
    wait_for(lambda: cohort.events("+"))
    subprocess.run(["scancel", "--signal=USR1", "--batch", listed(cohort)["sub-00"]], env=slurm, check=True)
    wait_for(lambda: not jobs(slurm))
    assert "sub-00  failed    reached its time limit 1 times: raise time" in cohort.run("status").out


@needs_slurm
@pytest.mark.parametrize(("marker", "begun"), [("crashes", 2), ("silent", 2), ("broken", 1)])
def test_a_fit_that_crashes_is_started_once_more(tmp_path, slurm, marker, begun):
    cohort = write_cohort(tmp_path, ["00"], {"slurm": {}})
    (cohort.case("00") / marker).write_text("wrong")
    assert cohort.run("submit").status == 0
    wait_for(lambda: not jobs(slurm))
    assert len(cohort.events("+")) == begun
    assert "sub-00  failed" in cohort.run("status").out


@needs_slurm
def test_a_fit_that_does_not_leave_is_ended_and_requeued(tmp_path, slurm):
    stubborn = ["bash", "-c", "trap '' USR1; echo + >> $EVENTS; while [ -e patients/sub-00/waits ]; do sleep 0.1; done"]
    cohort = write_cohort(tmp_path, ["00"], {"python": stubborn, "slurm": {"warning": 10}})
    (cohort.case("00") / "waits").touch()
    assert cohort.run("submit").status == 0
    wait_for(lambda: len(cohort.events()) == 1)
    job = listed(cohort)["sub-00"]
    subprocess.run(["scancel", "--signal=USR1", "--batch", job], env=slurm, check=True)
    wait_for(partial(is_pending, slurm, job))
    assert "sub-00  queued" in cohort.run("status").out
    subprocess.run(["scancel", job], env=slurm, check=True)
    wait_for(lambda: not jobs(slurm))
    assert "sub-00  stopped" in cohort.run("status").out


@needs_slurm
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_job_that_slurm_puts_back_is_no_failure(tmp_path, slurm, ranks):
    cohort = write_cohort(tmp_path, ["00"], {"ranks": ranks, "slurm": {}})
    (cohort.case("00") / "waits").touch()
    assert cohort.run("submit").status == 0
    wait_for(lambda: cohort.events("+"))
    job = listed(cohort)["sub-00"]
    subprocess.run(["scontrol", "requeue", job], env=slurm, check=True)
    wait_for(partial(is_pending, slurm, job))
    assert "sub-00  queued" in cohort.run("status").out
    assert json.loads((cohort.results / ".cohort/records/sub-00.json").read_text())["state"] == "stopped"
    assert len(cohort.events("+")) == 1, "nothing new is started"
    (cohort.case("00") / "waits").unlink()
    hasten(slurm, job)
    wait_for(lambda: not jobs(slurm))
    assert cohort.finished() == {"sub-00"}, what_was_said(cohort)


def fits(folder: Path, names: list[str], launcher: list[str]) -> Cohort:
    """A cohort of real cases and two ranks each, on meshes so coarse that a fit takes seconds."""
    for name in names:
        write_case(folder / "patients", id=name, voxel=6.0)
    cohort = Cohort(folder)
    plan = {
        "cases": "patients/sub-*",
        "out": "results",
        "ranks": 2,
        "fit": {"size": 20.0, "single_seed": True, "report": False},
        "slurm": {"launcher": launcher},
    }
    cohort.plan.write_text(tomli_w.dumps(plan))
    return cohort


def checkpoint(cohort: Cohort, name: str) -> list[Path]:
    return list(cohort.results.glob(f"{name}.tmp-*/checkpoint.json"))


def log_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@needs_slurm
@pytest.mark.slow
@pytest.mark.timeout(1500)  # ranks that wait for each other are slow where others keep the cores busy
def test_mpi_fits_are_stopped_killed_and_go_on(tmp_path, slurm, launcher, monkeypatch):
    """One is warned as before its time limit, one is killed as by a failed node, one is broken."""
    monkeypatch.setenv("ONCOLOGY_CACHE", str(tmp_path / "cache"))
    cohort = fits(tmp_path, ["00", "01", "02"], launcher)
    (cohort.case("02") / "case.toml").unlink()
    assert cohort.run("submit").status == 0
    job, before = listed(cohort), {}
    for name, words in (
        ("sub-00", ["scancel", "--signal=USR1", "--batch"]),
        ("sub-01", ["scontrol", "requeue"]),
    ):
        wait_for(partial(checkpoint, cohort, name), seconds=400.0)
        with subprocess.Popen([*words, job[name]], env=slurm, stderr=subprocess.DEVNULL) as sender:
            wait_for(partial(is_pending, slurm, job[name]))
            sender.kill()  # scancel may not have noticed that the job is gone, and would stop the next one too
        (saved,) = checkpoint(cohort, name)
        before[name] = log_of(saved.parent)
        assert not (cohort.results / name).exists()
    for name in before:
        hasten(slurm, job[name])
    wait_for(lambda: not jobs(slurm), seconds=400.0)
    assert cohort.finished() == {"sub-00", "sub-01"}, what_was_said(cohort)
    assert not cohort.half_written()
    for name, records in before.items():
        after = log_of(cohort.results / name)
        assert after[: len(records)] == records and len(after) > len(records), "it went on"
        # the iterate itself, or the one before where the kill fell between log and checkpoint
        values = [record["diffusion_white"] for record in (records[-2:] if name == "sub-01" else records[-1:])]
        assert any(np.isclose(after[len(records)]["diffusion_white"], value, rtol=1e-9) for value in values)
        assert json.loads((cohort.results / name / "estimate.json").read_text())["run"]["ranks"] == 2
    assert "stopped by SIGUSR1 with its state saved" in cohort.log("sub-00")
    assert "CANCELLED" in cohort.log("sub-01") and "Fatal error" not in cohort.log("sub-01"), "nor in what was killed"
    assert "case.toml: no such file" in cohort.run("status").out
    with (cohort.results / "cohort.csv").open() as handle:
        assert [row["state"] for row in csv.DictReader(handle)] == ["finished", "finished", "failed"]


@needs_slurm
@pytest.mark.slow
@pytest.mark.timeout(1500)  # ranks that wait for each other are slow where others keep the cores busy
def test_the_launcher_of_mpi_works_inside_a_job_too(tmp_path, slurm, monkeypatch):
    monkeypatch.setenv("ONCOLOGY_CACHE", str(tmp_path / "cache"))
    cohort = fits(tmp_path, ["00"], [mpiexec()])
    assert cohort.run("submit").status == 0
    wait_for(lambda: not jobs(slurm), seconds=400.0)
    assert cohort.finished() == {"sub-00"}, what_was_said(cohort)
    assert json.loads((cohort.results / "sub-00" / "estimate.json").read_text())["run"]["ranks"] == 2
