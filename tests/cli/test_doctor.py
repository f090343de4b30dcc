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


OPEN_MPI_ROOT = """
--------------------------------------------------------------------------
prterun has detected an attempt to run as root.

Running as root is *strongly* discouraged as any mistake can result in damage.
--------------------------------------------------------------------------
"""
OPEN_MPI_ENDED = """Traceback (most recent call last):
  File "<string>", line 1, in <module>
oncology.errors.ConfigError: 2 processes were started, but each of them is alone
--------------------------------------------------------------------------
prterun detected that one or more processes exited with non-zero status.
   Exit code: 1
--------------------------------------------------------------------------
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (OPEN_MPI_ROOT, module.ROOT_REFUSED),
        (OPEN_MPI_ENDED, "2 processes were started, but each of them is alone"),
        ("ModuleNotFoundError: No module named 'dolfinx'\n", "ModuleNotFoundError: No module named 'dolfinx'"),
        ("cannot execute\n-----\n", "cannot execute"),
        ("-----\n", ""),
    ],
)
def test_the_reason_stands_before_what_launchers_add(text, reason):
    assert module._reason(text) == reason


def test_root_under_open_mpi_is_told_what_to_set(monkeypatch):
    monkeypatch.setattr(module, "_try", lambda command: (False, module.ROOT_REFUSED))
    finding = module._smoke(["mpiexec", "-n", "2"], 2)
    assert not finding.good and "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1" in finding.remedy


def test_a_launcher_of_another_mpi_is_a_finding(tmp_path):
    """A launcher whose two processes know nothing of each other, as MPICH's with Open MPI's library."""
    launcher = tmp_path / "mpiexec"
    start = 'OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=$rank "$@"'
    launcher.write_text(f'#!/bin/sh\nshift 2\nfor rank in 0 1; do {start} || end=1; done\nexit "${{end:-0}}"\n')
    launcher.chmod(0o755)
    finding = module._smoke([str(launcher), "-n", "2"], 2)
    assert not finding.good
    assert finding.detail.startswith("2 processes were started, but each of them is alone: the launcher belongs to")


def test_a_trial_that_crashes_or_hangs_is_a_finding(monkeypatch):
    assert module._try([sys.executable, "-c", "import os; os.abort()"]) == (False, "ended with status -6")
    monkeypatch.setattr(module, "LIMIT", 0.2)
    assert module._try([sys.executable, "-c", "import time; time.sleep(60)"]) == (False, "no answer within 0 s")
