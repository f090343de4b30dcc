"""Work of rank 0 for all: its result and its errors reach every rank, whatever kind they are."""

import os

import numpy as np
import pytest

from oncology.cli.runtime import world
from oncology.errors import CaseError, MeshError
from oncology.parallel import on_root, set_cache_defaults


@pytest.mark.mpi
def test_root_works_for_all():
    comm = world()
    calls = []

    def work() -> tuple[int, np.ndarray]:
        calls.append(1)
        return comm.rank, np.arange(3.0)

    rank, values = on_root(comm, work)
    assert rank == 0
    assert values.tolist() == [0.0, 1.0, 2.0]
    assert len(calls) == (comm.rank == 0)


@pytest.mark.mpi
@pytest.mark.parametrize("kind", [CaseError, MeshError, ValueError, FileNotFoundError])
def test_an_error_of_root_reaches_all_and_the_next_call_works(kind):
    comm = world()

    def fail() -> None:
        raise kind(f"bad on {comm.rank}")

    with pytest.raises(kind, match="bad on 0"):
        on_root(comm, fail)
    assert on_root(comm, lambda: "next") == "next"


def test_without_a_communicator_the_function_runs_here():
    assert on_root(None, lambda: 7) == 7
    with pytest.raises(CaseError, match="here"):
        on_root(None, lambda: (_ for _ in ()).throw(CaseError("here")))


def test_a_home_that_cannot_be_written_gets_caches_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    usable = {"XDG_CACHE_HOME": str(tmp_path / "deep" / "cache")}
    set_cache_defaults(usable)
    assert usable == {"XDG_CACHE_HOME": str(tmp_path / "deep" / "cache")}
    monkeypatch.setattr("os.access", lambda path, mode: False)
    unusable = {"XDG_CACHE_HOME": "/home/nobody/.cache"}
    set_cache_defaults(unusable)
    folder = tmp_path / f"oncology-cache-{os.getuid()}"
    assert unusable == {"XDG_CACHE_HOME": str(folder), "MPLCONFIGDIR": str(folder / "matplotlib")}
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    open_to_others = {"XDG_CACHE_HOME": "/home/nobody/.cache"}
    set_cache_defaults(open_to_others)
    assert open_to_others == {"XDG_CACHE_HOME": "/home/nobody/.cache"}, "nothing is taken from where others can write"
