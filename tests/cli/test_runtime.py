"""Ranks end together: errors on every rank, on one rank, and on a rank that others wait for."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from oncology.cli.runtime import Ended, Stopped, exit_status, guarded, report_error, stoppable, world
from oncology.errors import CaseError, NumericalError
from oncology.parallel import without_launcher

PROGRAM = """
import sys
from oncology.cli import main as cli
from oncology.cli.runtime import guarded, world
from oncology.errors import CaseError, NumericalError

def broken(how: str) -> None:
    comm = world()
    with guarded(comm, grace=0.5):
        if how == "all" or (how == "alone" and comm.rank == 1):
            raise CaseError(f"case.toml: bad on {how}")
        if how == "hang":
            if comm.rank == 1:
                raise CaseError("case.toml: bad on hang")
            comm.Barrier()
        if how == "bug" and comm.rank == 1:
            1 / 0

sys.modules["program"] = sys.modules["__main__"]
cli.COMMANDS["break"] = "program:broken"
cli.main()
"""


@pytest.mark.mpi
def test_an_error_on_any_rank_ends_all_with_its_status():
    comm = world()
    last = comm.size - 1
    if comm.size == 1:
        with pytest.raises(CaseError), guarded(comm):
            raise CaseError("bad")
        return
    with pytest.raises(Ended) as caught, guarded(comm, grace=60.0):
        if comm.rank == last:
            raise CaseError("bad")
    assert caught.value.status == 2
    assert (caught.value.error is not None) == (comm.rank == last)


@pytest.mark.mpi
def test_errors_on_all_ranks_have_one_voice():
    comm = world()
    with pytest.raises((Ended, NumericalError)) as caught, guarded(comm, grace=60.0):
        raise NumericalError("bad")
    if comm.size > 1:
        assert caught.value.status == 1
        assert (caught.value.error is not None) == (comm.rank == 0)


@pytest.mark.mpi
def test_a_signal_ends_all_ranks_where_they_look_for_it():
    comm = world()
    before = signal.getsignal(signal.SIGUSR1)
    with stoppable(comm) as leave_if_asked:
        leave_if_asked()
        if comm.rank == 0:
            signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(Stopped) as caught:
            leave_if_asked()
    assert exit_status(caught.value) == 75
    assert signal.getsignal(signal.SIGUSR1) == before


@pytest.mark.mpi
def test_success_passes_through_on_every_rank():
    comm, done = world(), []
    with guarded(comm):
        done.append(comm.rank)
    assert done == [comm.rank]
    assert comm.allgather(comm.rank) == list(range(comm.size)), "no message of the guard is left over"


@pytest.mark.parametrize(
    ("how", "status", "line"),
    [
        ("none", 0, None),
        ("all", 2, "oncology: case.toml: bad on all"),
        ("alone", 2, "oncology: case.toml: bad on alone"),
        ("hang", 2, "oncology: case.toml: bad on hang"),
        ("bug", 1, "oncology: internal error, ZeroDivisionError: division by zero (--debug shows where)"),
    ],
)
def test_under_the_launcher(tmp_path, how, status, line):
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.is_file() else shutil.which("mpiexec")
    if launcher is None:
        pytest.skip("no mpiexec here")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PMI", "OMPI_COMM", "MPI_LOCAL"))}
    command = [launcher, "-n", "2", sys.executable, str(program), "break", how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == status
    spoken = [text for text in done.stderr.splitlines() if text.startswith("oncology:")]
    assert spoken == ([] if line is None else [line])


@pytest.mark.parametrize("rank", [0, 1])
def test_ranks_that_are_alone_are_told_so_before_any_work(tmp_path, rank):
    """MPICH's launcher over Open MPI's library, or the other way round: every process would do the whole work."""
    other = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": str(rank)}
    command = [sys.executable, "-m", "oncology", "verify", "--json", str(tmp_path / "checks.json")]
    environment = without_launcher(os.environ) | other
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 2 and done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == (rank == 0)
    assert all("2 processes were started, but each of them is alone" in line for line in lines)
    assert not (tmp_path / "checks.json").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "snode", "--data", "moons", "--out", "OUT"], "oncology train snode needs torch"),
        (["train", "evaluate", "OUT"], "oncology train evaluate needs torch"),
        (["reproduce", "snode", "--out", "OUT"], "oncology reproduce snode needs torch"),
        (["reproduce", "science", "--out", "OUT"], "oncology reproduce science needs torch"),
    ],
)
def test_without_torch_a_command_says_what_to_install(tmp_path, words, says):
    code = "import sys; sys.modules['torch'] = None; from oncology.cli.main import run; sys.exit(run(sys.argv[1:]))"
    words = [str(tmp_path / "out") if word == "OUT" else word for word in words]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"oncology: {says}, which is not installed: pip install 'oncology[node]'\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("package", "extra"), [("torch.nn", "node"), ("sklearn", "node"), ("dolfinx", "fem")])
def test_any_missing_package_of_an_extra_is_named(capsys, package, extra):
    error = ModuleNotFoundError(f"No module named {package!r}", name=package)
    report_error(error)
    assert capsys.readouterr().err.endswith(f"which is not installed: pip install 'oncology[{extra}]'\n")
    assert exit_status(error) == 2
    report_error(ModuleNotFoundError("No module named 'oncology.cli.nothing'", name="oncology.cli.nothing"))
    assert "internal error" in capsys.readouterr().err
