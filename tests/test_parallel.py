"""Work of rank 0 for all: its result and its errors reach every rank, whatever kind they are."""

import numpy as np
import pytest

from oncology.cli.runtime import world
from oncology.errors import CaseError, MeshError
from oncology.parallel import on_root


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
