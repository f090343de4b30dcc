"""Output folders appear whole or not at all, and never over what is not ours; logs are valid JSON lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from oncology.cli.output import closing, progress, tell_notes, time_left
from oncology.cli.runtime import world
from oncology.cli.voice import Voice, speaking
from oncology.errors import OutputError
from oncology.results.folder import MARKER, RESUME_HINT, json_lines, output_folder

KILLED = """
import os, sys
from pathlib import Path
from oncology.results.folder import output_folder
with output_folder(Path(sys.argv[1]), checkpoint="state.npz") as work:
    (work / "half").write_text("half")
    if sys.argv[2] == "with checkpoint":
        (work / "state.npz").write_text("state")
    os.kill(os.getpid(), 9)
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def kill_a_run(out, how):
    done = subprocess.run([sys.executable, "-c", KILLED, str(out), how], check=False)
    assert done.returncode == -9
    assert not out.exists()


def test_results_appear_at_the_end_only(tmp_path):
    out = tmp_path / "deep" / "out"
    with output_folder(out) as work:
        (work / "a.txt").write_text("1")
        assert not out.exists()
    assert names(out) == [MARKER, "a.txt"]
    assert names(out.parent) == ["out"]


def test_an_empty_folder_may_be_there_already(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with output_folder(out) as work:
        (work / "a.txt").write_text("1")
    assert names(out) == [MARKER, "a.txt"]


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), output_folder(tmp_path / "out", checkpoint="state.npz") as work:
        (work / "half").write_text("half")
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_an_error_keeps_the_checkpoint_for_the_next_run(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ZeroDivisionError), output_folder(out, checkpoint="state.npz") as work:
        (work / "state.npz").write_text("state")
        raise ZeroDivisionError
    assert not out.exists()
    with output_folder(out, resume=True, checkpoint="state.npz") as work:
        assert (work / "state.npz").read_text() == "state"
    assert names(tmp_path) == ["out"]


def test_a_full_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "mine.txt").write_text("dear")
    for options in ({}, {"overwrite": True}, {"resume": True, "checkpoint": "state.npz"}):
        with pytest.raises(OutputError, match="choose another --out"), output_folder(tmp_path, **options):
            raise AssertionError("must not be entered")
    assert names(tmp_path) == ["mine.txt"]


def test_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="is a file"), output_folder(tmp_path / "out"):
        raise AssertionError("must not be entered")


def test_an_unwritable_place_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), output_folder(tmp_path / "file" / "out"):
        raise AssertionError("must not be entered")
    with pytest.raises(OutputError, match="cannot be written"), output_folder(tmp_path / ("n" * 300)):
        raise AssertionError("must not be entered")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_forbidden_place_is_refused_before_any_work(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"), output_folder(tmp_path / "out"):
        raise AssertionError("must not be entered")


def test_overwrite_replaces_what_is_ours_as_a_whole(tmp_path):
    out = tmp_path / "out"
    with output_folder(out) as work:
        (work / "old").write_text("old")
    with pytest.raises(OutputError, match="--overwrite"), output_folder(out):
        raise AssertionError("must not be entered")
    with output_folder(out, overwrite=True) as work:
        (work / "new").write_text("new")
        assert names(out) == [MARKER, "old"]
    assert names(out) == [MARKER, "new"]
    assert names(tmp_path) == ["out"]


def test_a_killed_run_is_cleared_away_by_the_next(tmp_path):
    out = tmp_path / "out [1]"
    kill_a_run(out, "with checkpoint")
    assert len(names(tmp_path)) == 1
    with output_folder(out, checkpoint="state.npz") as work:
        assert names(work) == [MARKER]
    assert names(tmp_path) == ["out [1]"]


def test_a_killed_run_can_be_resumed(tmp_path):
    out = tmp_path / "out"
    kill_a_run(out, "without")
    kill_a_run(out, "with checkpoint")
    with output_folder(out, resume=True, checkpoint="state.npz") as work:
        assert names(work) == [MARKER, "half", "state.npz"]
    assert names(tmp_path) == ["out"]


def test_a_finished_run_can_be_resumed(tmp_path):
    out = tmp_path / "out"
    with output_folder(out, checkpoint="state.npz") as work:
        (work / "state.npz").write_text("state")
    with pytest.raises(ZeroDivisionError), output_folder(out, resume=True, checkpoint="other") as work:
        raise ZeroDivisionError
    with output_folder(out, resume=True, checkpoint="state.npz") as work:
        assert (work / "state.npz").read_text() == "state"
        (work / "more").write_text("more")
    assert names(out) == [MARKER, "more", "state.npz"]


def test_a_living_run_is_left_alone(tmp_path):
    out = tmp_path / "out"
    holder = (
        "import sys; from pathlib import Path; from oncology.results.folder import output_folder\n"
        "with output_folder(Path(sys.argv[1])) as work: print(work, flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", holder, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    living = other.stdout.readline().strip()
    for options in ({}, {"overwrite": True}, {"resume": True, "checkpoint": MARKER}):
        with pytest.raises(OutputError, match="another run is writing there"), output_folder(out, **options):
            raise AssertionError("must not be entered")
    assert os.path.isdir(living)
    other.communicate()
    assert other.returncode == 0
    assert names(tmp_path) == ["out"] and names(out) == [MARKER]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device"), MemoryError()])
def test_what_can_go_on_says_how(tmp_path, error):
    with (
        pytest.raises((type(error), OutputError)) as caught,
        output_folder(tmp_path / "out", checkpoint="state") as work,
    ):
        (work / "state").write_text("state")
        raise error
    assert caught.value.__notes__ == [RESUME_HINT]
    with pytest.raises((type(error), OutputError)) as caught, output_folder(tmp_path / "none", checkpoint="state"):
        raise error
    assert not hasattr(caught.value, "__notes__") or caught.value.__notes__ == [RESUME_HINT]
    assert [name for name in names(tmp_path) if name.startswith("none")] == []


def test_a_disk_that_is_full_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Disk", (), {"total": 10**9, "free": 10**6}))
    with pytest.raises(OutputError, match=r"only 1\.0 MB of space are left"), output_folder(tmp_path / "out"):
        raise AssertionError("must not be entered")
    assert names(tmp_path) == []


def test_an_error_of_the_disk_names_the_place(tmp_path):
    with (
        pytest.raises(OutputError, match=rf"{tmp_path}/out: no space left on the disk"),
        output_folder(tmp_path / "out"),
    ):
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == []


@pytest.mark.mpi
def test_one_folder_for_all_ranks(tmp_path):
    comm = world()
    out = comm.bcast(tmp_path) / "out"
    with output_folder(out, comm) as work:
        assert comm.allgather(work) == [work] * comm.size
        (work / f"rank-{comm.rank}").write_text("x")
    comm.Barrier()
    assert names(out) == [MARKER, *(f"rank-{rank}" for rank in range(comm.size))]
    comm.Barrier()
    with pytest.raises(OutputError, match="not empty"), output_folder(out, comm):
        raise AssertionError("must not be entered")


def test_log_lines_are_json(tmp_path):
    path = tmp_path / "log.jsonl"
    for step in range(2):
        with json_lines(path) as write:
            write({"step": step, "misfit": np.float64(0.5), "seed": np.arange(3.0), "rate": float("nan"), "at": path})
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert records[1] == {"step": 1, "misfit": 0.5, "seed": [0.0, 1.0, 2.0], "rate": None, "at": str(path)}
    with json_lines(None) as write:
        write({"step": 0})


@pytest.mark.parametrize("forced", ["", "1"])  # notebooks set it
def test_progress_is_silent_in_a_pipe(capsys, monkeypatch, forced):
    monkeypatch.setenv("FORCE_COLOR", forced)
    with progress() as show:
        show("working", 0.5)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_notes_are_for_terminals(capsys, monkeypatch):
    def never():
        raise AssertionError("not made in a pipe")

    tell_notes(never)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    tell_notes(lambda: ["ses-01: voxels of 1 x 1 x 5 mm are thick"])
    assert capsys.readouterr().err == "note: ses-01: voxels of 1 x 1 x 5 mm are thick\n"


def on_terminal(monkeypatch):
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True)


def test_a_finished_command_says_where_what_and_next_on_a_terminal(tmp_path, capsys, monkeypatch):
    def never():
        raise AssertionError("not made in a pipe")

    closing(tmp_path, never, tmp_path / "report.html", ("oncology view out",))
    assert capsys.readouterr().out == ""
    on_terminal(monkeypatch)
    with speaking(Voice(quiet=True)):
        closing(tmp_path, never)
        tell_notes(never)
    monkeypatch.setenv("PMI_RANK", "1")
    closing(tmp_path, never)
    assert capsys.readouterr().out == ""
    monkeypatch.delenv("PMI_RANK")
    closing(tmp_path, lambda: "rho 0.02 (0.01 to 0.04) 1/day", tmp_path / "report.html", ("oncology a", "oncology b"))
    assert capsys.readouterr().out.splitlines() == [
        "rho 0.02 (0.01 to 0.04) 1/day",
        "",
        f"results: {tmp_path}",
        f"report:  {tmp_path / 'report.html'} (open it in a browser)",
        "next:    oncology a",
        "         oncology b",
    ]


def test_every_step_is_told_in_a_pipe_where_it_is_asked_for(tmp_path, capsys):
    with speaking(Voice(verbose=True)), progress() as show:
        show("mesh")
        show("mesh", 0.2)
        show("uncertainty", 0.55)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" s ")[1].split() for line in lines] == [["mesh"], ["55", "%", "uncertainty"]]


def test_a_log_in_words_is_kept_and_continued(tmp_path, capsys):
    path = tmp_path / "log.txt"
    for words in (("fit", "a b"), ("fit", "a b", "--resume")):
        with speaking(Voice(words=words)), progress(path) as show:
            show("coarse mesh", 0.05)
    first, step, second, again = path.read_text().splitlines()
    assert first.endswith(": oncology fit 'a b'") and second.endswith(": oncology fit 'a b' --resume")
    assert step.endswith("5 %  coarse mesh") and again.endswith("5 %  coarse mesh")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("fraction", "elapsed", "words"),
    [
        (None, 60.0, ""),
        (0.01, 60.0, "1 %"),
        (0.5, 1.0, "50 %"),
        (0.25, 60.0, "25 %, about 3 min left"),
        (0.9, 90.0, "90 %, about 10 s left"),
        (1.0, 90.0, "100 %"),
    ],
)
def test_time_left_is_told_once_it_can_be_known(fraction, elapsed, words):
    assert time_left(fraction, elapsed).strip() == words
