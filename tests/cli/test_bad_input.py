"""Bad input ends with status 2 and one line that names file, value and remedy, on one rank and on two, nothing left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from oncology.cli import main as cli
from tests.cli.bad_cases import BAD, leftovers, prepare, words

ROOT = Path(__file__).parents[2]
COMMANDS = ("mesh", "simulate", "fit")
LIMIT = 240.0  # seconds, against hanging


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ONCOLOGY_CACHE", str(tmp_path / "cache"))


def assert_named(text: str, named: tuple[str, ...]) -> None:
    """The text is one line of ours that holds the words in this order."""
    assert text.startswith("oncology: ")
    assert text.count("\n") == 1
    assert text.endswith("\n")
    position = 0
    for word in named:
        position = text.find(word, position)
        assert position >= 0, f"{word!r} is not in, or not where it should be in: {text}"
        position += len(word)


def two_ranks(arguments: list[str], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments on two ranks."""
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.is_file() else shutil.which("mpiexec")
    if launcher is None:
        pytest.skip("no mpiexec here")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PMI", "OMPI_COMM", "MPI_LOCAL"))}
    environment |= {"PYTHONPATH": str(ROOT), "ONCOLOGY_CACHE": str(tmp_path / "cache")}
    command = [launcher, "-n", "2", sys.executable, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT, check=False, env=environment, cwd=tmp_path
    )


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", BAD)
def test_on_one_rank(tmp_path, capsys, kind, command):
    bad = BAD[kind]
    case, out = prepare(tmp_path, bad)
    assert cli.run(words(command, case, out, bad)) == 2
    captured = capsys.readouterr()
    assert_named(captured.err, bad.named)
    assert captured.out == ""
    assert leftovers(tmp_path) == []


def test_on_two_ranks(tmp_path):
    """All kinds and commands in one launch: every rank ends each with status 2, and one of them speaks."""
    runs = [
        (kind, command, tmp_path / f"{number}-{command}") for command in COMMANDS for number, kind in enumerate(BAD)
    ]
    lines = []
    for kind, command, folder in runs:
        folder.mkdir()
        lines.append(words(command, *prepare(folder, BAD[kind]), BAD[kind]))
    (tmp_path / "lines.json").write_text(json.dumps(lines))
    done = two_ranks(["-m", "tests.cli.bad_cases", str(tmp_path / "lines.json")], tmp_path)
    assert done.returncode == 0, done.stderr
    told = [json.loads((tmp_path / f"lines.{rank}").read_text()) for rank in range(2)]
    for (kind, command, folder), *ranks in zip(runs, *told, strict=True):
        assert [status for status, _ in ranks] == [2, 2], f"{kind}, {command}"
        assert_named("".join(text for _, text in ranks), BAD[kind].named)
        assert leftovers(folder) == [], f"{kind}, {command}"


def test_the_launcher_ends_with_the_status(tmp_path):
    bad = BAD["NaN probability"]
    done = two_ranks(["-m", "oncology", *words("fit", *prepare(tmp_path, bad), bad)], tmp_path)
    assert done.returncode == 2
    assert_named(done.stderr, bad.named)
    assert done.stdout == ""
    assert leftovers(tmp_path) == []
