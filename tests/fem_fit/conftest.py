"""Fixtures of the tests that fit cases with finite elements."""

import pytest

from oncology.fem.runtime import world
from oncology.imaging import Case
from oncology.parallel import on_root
from tests.cases import write_case


@pytest.fixture(scope="session")
def comm():
    """All ranks: one under plain pytest, two under mpiexec."""
    return world()


@pytest.fixture(scope="session")
def spheres(comm, tmp_path_factory) -> Case:
    """Two sessions of concentric spheres across white and grey matter, the same on every rank."""
    folder = comm.bcast(tmp_path_factory.mktemp("spheres"))
    return on_root(comm, lambda: Case.read(write_case(folder, voxel=3.0, tumour_centre=(-26.0, 12.0, 8.0), pet=True)))
