"""What the machine does to a command ends in one line and a status: signals, full disks, closed streams and pipes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from oncology.cli.runtime import Stopped, Terminated, exit_status, report_error
from oncology.errors import CaseError, NumericalError, OutputError
from oncology.files import hdf5_bytes, os_error_text, write_file
from oncology.results.folder import RESUME_HINT

PROGRAM = """
import os, sys, time
from pathlib import Path
from oncology.cli import main as cli
from oncology.results.folder import output_folder

def command(how: str, out: Path) -> None:
    with output_folder(out, checkpoint="state") as work:
        if how == "late":
            (work / "state").write_text("state")
        if how == "print":
            for _ in range(100000):
                print("line", flush=True)
        print("ready", flush=True)
        time.sleep(60 if how != "quick" else 0)

sys.modules["program"] = sys.modules["__main__"]
cli.COMMANDS["run"] = "program:command"
cli.main()
"""


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (CaseError("case.toml: bad"), 2, "case.toml: bad"),
        (NumericalError("diverged"), 1, "diverged"),
        (OSError(28, "No space left on device", "/data/x.h5"), 2, "/data/x.h5: no space left on the disk: free some"),
        (PermissionError(13, "Permission denied", "/data/x"), 2, "/data/x: permission denied"),
        (OSError("unable to\nopen file"), 2, "unable to open file"),
        (MemoryError(), 1, "out of memory: take a larger --size"),
        (np.linalg.LinAlgError("Singular matrix"), 1, "the linear algebra broke down (Singular matrix)"),
        (Stopped("stopped"), 75, "stopped"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Terminated(), 143, "interrupted by SIGTERM"),
        (ZeroDivisionError("x / 0"), 1, "internal error, ZeroDivisionError: x / 0 (--debug shows where)"),
    ],
)
def test_every_error_is_one_line_and_a_status(capsys, error, status, words):
    assert exit_status(error) == status
    report_error(error)
    said = capsys.readouterr().err
    assert said.startswith(f"oncology: {words}") and said.count("\n") == 1


def test_nobody_is_told_that_nobody_reads(capsys):
    assert exit_status(BrokenPipeError(32, "Broken pipe")) == 141
    report_error(BrokenPipeError(32, "Broken pipe"))
    assert capsys.readouterr().err == ""


def test_notes_belong_to_the_line(capsys):
    error = KeyboardInterrupt()
    error.add_note(RESUME_HINT)
    report_error(error)
    assert capsys.readouterr().err == f"oncology: interrupted; {RESUME_HINT}\n"


def started(tmp_path, how: str, before: str = 'exec "$@"', **options) -> subprocess.Popen:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    words = [sys.executable, str(program), "run", how, str(tmp_path / "out")]
    # what runs in the background of a shell ignores SIGINT
    pipes = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    } | options
    return subprocess.Popen(["bash", "-c", before, "bash", *words], text=True, **pipes)


def left(tmp_path) -> list[str]:
    return sorted(path.name for path in tmp_path.iterdir() if path.name != "program.py")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("how", ["early", "late"])
def test_a_signal_ends_a_command_cleanly(tmp_path, number, status, how):
    process = started(tmp_path, how)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == status
    assert said.startswith("oncology: interrupted") and said.count("\n") == 1
    assert (RESUME_HINT in said) == (how == "late")
    assert [name[:8] for name in left(tmp_path)] == (["out.tmp-"] if how == "late" else [])


def test_a_reader_that_has_seen_enough(tmp_path):
    process = started(tmp_path, "print", '"$@" | head -1')
    out, said = process.communicate(timeout=60)
    assert (out, said) == ("line\n", "")
    assert left(tmp_path) == []


@pytest.mark.parametrize("closed", ['exec "$@" >&-', 'exec "$@" <&- >&- 2>&-'])
def test_a_command_without_streams(tmp_path, closed):
    process = started(tmp_path, "quick", closed)
    assert process.wait(timeout=60) == 0
    assert left(tmp_path) == ["out"] and [path.name for path in (tmp_path / "out").iterdir()] == [".oncology"]


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch):
    def full(*args, **options):
        return os.open("/dev/full", os.O_WRONLY), str(tmp_path / "part")

    monkeypatch.setattr("oncology.files.tempfile.mkstemp", full)
    with pytest.raises(OutputError, match=r"a\.h5: cannot be written: no space left on the disk"):
        write_file(tmp_path / "a.h5", hdf5_bytes(lambda file: file.create_dataset("x", data=np.arange(9))))
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_is_there_as_a_whole(tmp_path):
    write_file(tmp_path / "a.txt", "Größe\n")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "Größe\n"
    assert oct((tmp_path / "a.txt").stat().st_mode & 0o777) == "0o644"
    with pytest.raises(OutputError, match="cannot be written: no such file or folder"):
        write_file(tmp_path / "none" / "a.txt", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert os_error_text(OSError(30, "Read-only file system"), Path("/x")) == (
        "/x: the file system is read-only: choose a folder you can write to"
    )
