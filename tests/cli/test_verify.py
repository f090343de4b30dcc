"""`oncology verify` here, and what it says and returns where a check fails."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest

from oncology.cli.main import run
from oncology.verify import checks
from oncology.verify.checks import Check


def given(*results):
    return lambda comm: iter(results)


@pytest.mark.slow
def test_every_check_is_good_here(tmp_path):
    file = tmp_path / "verify.json"
    command = [sys.executable, "-m", "oncology", "verify", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(file.read_text())
    assert all(row["ok"] for row in rows)
    names = " ".join(row["check"] for row in rows)
    for part in (
        "wave",
        "Gaussian",
        "tensor",
        "sphere",
        "backward Euler",
        "mass",
        "Taylor rate 3",
        "dot test",
        "treated",
    ):
        assert part in names
    assert f"All {len(rows)} checks are good on 1 rank." in done.stdout
    assert done.stderr == ""


def test_a_failed_check_fails_the_command(monkeypatch, capsys, tmp_path):
    results = (Check("one", 2.0, low=1.9), Check("two", 0.3, -0.1, 0.1), Check("three", math.nan, high=1.0))
    monkeypatch.setattr(checks, "run_checks", given(*results))
    assert run(["verify", "--json", str(tmp_path / "out.json")]) == 1
    text = capsys.readouterr().out
    assert "ok      one" in text
    assert "FAILED  two" in text
    assert "FAILED  three" in text
    assert "2 of 3 checks failed on 1 rank" in text
    rows = json.loads((tmp_path / "out.json").read_text())
    assert [row["ok"] for row in rows] == [True, False, False]
    assert rows[1]["expected"] == "-0.1 .. 0.1"
    assert rows[2]["measured"] is None


def test_good_checks_return_zero(monkeypatch, capsys):
    monkeypatch.setattr(checks, "run_checks", given(Check("one", 2.0, low=1.9), Check("two", 0.0, high=1.0)))
    assert run(["verify"]) == 0
    assert "All 2 checks are good" in capsys.readouterr().out


def test_a_file_that_cannot_be_written_is_found_before_the_work(monkeypatch, capsys, tmp_path):
    def never(comm):
        raise AssertionError("the checks ran")

    monkeypatch.setattr(checks, "run_checks", never)
    assert run(["verify", "--json", str(tmp_path / "missing" / "out.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("check", "words"),
    [(Check("", 1.0, low=0.5), ">= 0.5"), (Check("", 1.0, high=2.0), "<= 2"), (Check("", 1.0, 0.0, 2.0), "0 .. 2")],
)
def test_intervals_in_words(check, words):
    assert check.good
    assert check.expected == words
