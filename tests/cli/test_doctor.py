"""`oncology doctor` here, where a fit can run, and where nothing is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from oncology.cli import doctor as module
from oncology.cli.doctor import Finding

ROOT = Path(__file__).parents[2]


def test_a_fit_can_run_here():
    done = subprocess.run([sys.executable, "-m", "oncology", "doctor"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "A fit can run here." in done.stdout
    for name in ("Python", "C compiler", "DOLFINx", "solve, 1 rank", "HDF5", "3-D pictures", "cores", "threads"):
        assert any(line.startswith("ok") and name in line for line in done.stdout.splitlines()), done.stdout


def test_it_answers_where_nothing_is_installed():
    bare = [sys.executable, "-S", "-E", "-m", "oncology", "doctor"]
    done = subprocess.run(bare, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr == ""
    assert "-> run `make setup`" in done.stdout


@pytest.mark.parametrize(("needed", "status"), [(True, 1), (False, 0)])
def test_only_what_a_fit_needs_decides(monkeypatch, capsys, needed, status):
    findings = [Finding("one", True, "here"), Finding("two", False, "absent", "install two", needed=needed)]
    monkeypatch.setattr(module, "examine", lambda: iter(findings))
    assert module.doctor() == status
    text = capsys.readouterr().out
    assert "-> install two" in text
    assert ("MISSING" in text) == needed


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ("0.5.2|3.18.5|3.1.4|True|Open MPI", "too old"),
        ("0.11.0|3.25.0|4.1.2|False|MPICH", "complex"),
    ],
)
def test_an_engine_that_cannot_serve_is_refused(monkeypatch, answer, part):
    monkeypatch.setattr(module, "_try", lambda command: (True, answer))
    finding = module._engine()
    assert not finding.good
    assert part in finding.detail
    assert finding.remedy


def test_a_trial_that_crashes_or_hangs_is_a_finding(monkeypatch):
    assert module._try([sys.executable, "-c", "import os; os.abort()"]) == (False, "ended with status -6")
    monkeypatch.setattr(module, "LIMIT", 0.2)
    assert module._try([sys.executable, "-c", "import time; time.sleep(60)"]) == (False, "no answer within 0 s")
