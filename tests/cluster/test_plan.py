"""Plans: what they mean, and the one line about what is wrong with them before anything is begun."""

from __future__ import annotations

import json
import shutil
import string
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncology.cli.main import build_app
from oncology.cluster import Task, list_tasks, read_plan
from oncology.cluster.plan import seconds_of
from tests.cluster.cohorts import Cohort, write_cohort

GOOD = 'cases = ["patients/sub-*"]\nout = "results"\n'
BAD = {
    "no TOML": ("cases = [", ("plan.toml", "not a TOML file")),
    "empty": ("", ("key cases is missing", "a list of folders")),
    "no out": ('cases = ["patients/*"]\n', ("key out is missing", "a folder")),
    "typing error": ('case = ["a"]\nout = "results"\n', ("unknown key case", "allowed here are cases, out")),
    "unknown key of slurm": (GOOD + '[slurm]\nqueue = "x"\n', ("unknown key slurm.queue", "partition")),
    "unknown key of slurm.gpu": (GOOD + "[slurm.gpu]\nranks = 2\n", ("unknown key slurm.gpu.ranks", "partition")),
    "no ranks": (GOOD + "ranks = 0\n", ("ranks = 0", "1 or more")),
    "ranks in words": (GOOD + 'ranks = "two"\n', ("ranks = 'two'", "whole number")),
    "cases of a number": ("cases = 3\nout = 'results'\n", ("cases = 3", "list of folders")),
    "no such folder": (GOOD.replace("patients", "nowhere"), ("nowhere/sub-*", "names no folder")),
    "own option": (GOOD + "[fit]\noverwrite = true\n", ("fit.overwrite", "set by the cohort")),
    "own option of a variant": (GOOD + '[variant.a]\nout = "b"\n', ("variant.a.out", "set by the cohort")),
    "unknown option": (GOOD + "[fit]\nsizes = 3\n", ("[fit]", "Unknown option", "oncology fit --help")),
    "option of the wrong type": (GOOD + '[variant.a]\nsize = "big"\n', ("[variant.a]", "--size", "big")),
    "option out of choice": (GOOD + '[fit]\nlaw = "linear"\n', ("linear", "gompertz")),
    "size out of range": (GOOD + "[fit]\nsize = 0.1\n", ("[fit]", "--size 0.1 mm is outside 0.5 to 20 mm")),
    "option of the other engine": (
        GOOD + '[variant.a]\nengine = "voxel"\nroute = "lattice"\n',
        ("[variant.a]", "--route"),
    ),
    "option of a table": (GOOD + "[fit.size]\nx = 1\n", ("fit.size = {'x': 1}", "a number, a text")),
    "variant in a folder": (GOOD + '[variant."../up"]\nsize = 3\n', ("../up", "names a folder")),
    "time in words": (GOOD + '[slurm]\ntime = "long"\n', ("time = 'long'", "HH:MM:SS")),
    "memory in words": (GOOD + '[slurm]\nmemory = "much"\n', ("slurm.memory = 'much'", "4G")),
    "warned too early": (GOOD + '[slurm]\ntime = "00:05:00"\n', ("slurm.time = '00:05:00'", "raise time or lower")),
    "gpu warned too early": (GOOD + '[slurm.gpu]\ntime = "5"\n', ("slurm.gpu.time = '5'", "raise time or lower")),
    "two lines": (GOOD + '[slurm]\nprelude = ["a\\nb"]\n', ("slurm.prelude", "shell lines")),
    "more ranks than cores": (GOOD + "ranks = 9999\n", ("9999", "--cores")),
}


@pytest.fixture
def cohort(tmp_path) -> Cohort:
    return write_cohort(tmp_path, ["01", "02"])


@pytest.mark.parametrize("name", BAD)
def test_wrong_plans_are_one_line_and_begin_nothing(cohort, name):
    text, named = BAD[name]
    cohort.plan.write_text(text)
    ended = cohort.run()
    assert (ended.status, ended.out) == (2, ""), ended.error
    assert ended.error.count("\n") == 1 and ended.error.startswith("oncology: ")
    for words in named:
        assert words in ended.error
    assert not list(cohort.results.rglob("*.log"))


def test_a_plan_that_is_not_there(cohort):
    cohort.plan.unlink()
    assert cohort.run().status == 2
    assert "docs/cohorts.md" in cohort.run("status").error


def test_two_cases_of_one_name(cohort):
    (cohort.folder / "more" / "sub-01").mkdir(parents=True)
    cohort.plan.write_text('cases = ["patients/*", "more/*"]\nout = "results"\n')
    ended = cohort.run()
    assert ended.status == 2
    assert "more/sub-01 have one name" in ended.error


def test_a_folder_of_something_else_is_left_alone(cohort):
    cohort.results.mkdir()
    (cohort.results / "thesis.txt").write_text("precious")
    ended = cohort.run()
    assert (ended.status, ended.error.count("\n")) == (2, 1)
    assert "choose another out" in ended.error
    assert [path.name for path in cohort.results.iterdir()] == ["thesis.txt"]


def test_settings_that_changed_are_not_taken_for_the_old_ones(cohort):
    good = cohort.plan.read_text()
    assert cohort.run().status == 0
    cohort.plan.write_text(f"{good}\n[fit]\nsize = 3.0\n")
    for action in ("run", "submit", "table"):
        ended = cohort.run(action)
        assert ended.status == 2
        assert "was made with another size" in ended.error
    cohort.plan.write_text(f"{good}\n[fit]\n")
    assert cohort.run().status == 0
    assert len(cohort.events("+")) == 2


@pytest.mark.parametrize("state", ["finished", "half written"])
def test_another_case_of_the_same_name_is_not_taken_for_the_finished_one(cohort, state):
    assert cohort.run().status == 0
    if state == "half written":
        (cohort.results / "sub-01").rename(cohort.results / "sub-01.tmp-123")
    (cohort.folder / "patients").rename(cohort.folder / "others")
    cohort.plan.write_text(cohort.plan.read_text().replace("patients/", "others/"))
    for action in ("run", "submit", "table"):
        ended = cohort.run(action)
        assert (ended.status, ended.error.count("\n")) == (2, 1)
        assert f"{cohort.results}/sub-01 was made with another case: change it back" in ended.error
    assert len(cohort.events("+")) == 2, "nothing is begun"


def test_what_was_not_begun_may_change(cohort):
    (cohort.case("01") / "broken").write_text("wrong")
    assert cohort.run().status == 1
    shutil.rmtree(cohort.results / "sub-02")
    (cohort.case("01") / "broken").unlink()
    cohort.plan.write_text(f"{cohort.plan.read_text()}\n[fit]\nsize = 3.0\nroute = 'lattice'\n")
    assert cohort.run().status == 0
    assert len(cohort.events("+")) == 4
    cohort.plan.write_text(cohort.plan.read_text().replace("3.0", "4.0").replace("lattice", "stuffing"))
    assert "was made with another route, size: change" in cohort.run().error


def test_cases_may_be_added(cohort):
    assert cohort.run().status == 0
    assert sorted(cohort.events("+")) == ["sub-01", "sub-02"]  # side by side
    cohort.case("03").mkdir()
    assert cohort.run().status == 0
    assert cohort.events("+")[2:] == ["sub-03"]


def test_variants_add_to_the_common_options(cohort):
    cohort.plan.write_text(
        'cases = "patients/*"\nout = "results"\nranks = 4\n[fit]\nsingle-seed = true\nsize = 2.5\n'
        '[variant.a]\nsize = 3.0\n[variant.b]\nsingle_seed = false\nlaw = "gompertz"\n'
    )
    tasks = list_tasks(read_plan(cohort.plan))
    assert [task.name for task in tasks] == ["a/sub-01", "a/sub-02", "b/sub-01", "b/sub-02"]
    assert tasks[0].options == {"single_seed": True, "size": 3.0}
    assert tasks[2].options == {"single_seed": False, "size": 2.5, "law": "gompertz"}
    assert tasks[0].out == cohort.results / "a" / "sub-01"
    assert {task.ranks for task in tasks} == {4}


def test_relative_paths_start_at_the_plan(cohort, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    plan = read_plan(cohort.plan)
    assert plan.results == cohort.results
    assert [task.case for task in list_tasks(plan)] == [cohort.case("01"), cohort.case("02")]


def test_results_are_no_case(cohort):
    cohort.plan.write_text('cases = ["*"]\nout = "results"\n')
    cohort.results.mkdir()
    assert [task.name for task in list_tasks(read_plan(cohort.plan))] == ["patients"]


names = st.text(string.ascii_letters + string.digits + " %'\"$-_.é", min_size=1).filter(lambda name: name.strip("."))
values = st.one_of(st.booleans(), st.integers(-99, 99), st.floats(-9, 9), st.text(string.ascii_letters, min_size=1))
options = st.dictionaries(st.text(string.ascii_lowercase, min_size=2), st.one_of(values, st.tuples(values, values)))


@given(names, options, st.integers(1, 64))
def test_tasks_survive_their_file(name, options, ranks):
    task = Task(name, "", Path("/cases") / name, Path("/out") / name, options, ranks)
    assert Task.from_dict(json.loads(json.dumps(task.as_dict()))) == task


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "size": st.floats(-9.0, 9.0, allow_nan=False),
            "law": st.sampled_from(["exponential", "logistic", "gompertz"]),
            "single_seed": st.booleans(),
            "pet": st.booleans(),
            "report": st.booleans(),
        },
    )
)
def test_options_mean_on_the_command_line_what_they_mean_in_the_plan(options):
    task = Task("a", "", Path("a"), Path("b"), options, 1)
    words = ["fit", "a", "--out", "b", *task.words]
    arguments = build_app(words).parse_args(words)[1].arguments
    assert {key: arguments[key] for key in options} == options


@given(st.integers(0, 9), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_times_of_slurm(days, hours, minutes, seconds):
    whole = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    assert seconds_of(f"{days}-{hours:02d}:{minutes:02d}:{seconds:02d}") == whole.total_seconds()
    assert seconds_of(f"{hours:02d}:{minutes:02d}:{seconds:02d}") == (whole - timedelta(days=days)).total_seconds()
    assert seconds_of(f"{minutes}:{seconds}") == 60 * minutes + seconds
    assert seconds_of(f"{days}-{hours}") == 86400 * days + 3600 * hours
    assert seconds_of(f"{hours} h") is None
