"""Fixtures that several test folders share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from oncology.imaging import Case
from oncology.parallel import on_root
from tests.cases import write_case

# the same examples every time, and no test that fails because the machine is busy
settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """Folder with the four cases that are too large for the repository."""
    default = Path(__file__).parents[2] / "shared" / "cases"
    folder = Path(os.environ.get("ONCOLOGY_CASES", default))
    if not (folder / "sub-peer01" / "case.toml").is_file():
        pytest.skip(f"{folder} does not hold sub-peer01: set ONCOLOGY_CASES to the folder with the shared cases")
    return folder


@pytest.fixture(scope="session")
def comm():
    """All ranks: one under plain pytest, two under mpiexec."""
    from oncology.fem.runtime import world

    return world()


@pytest.fixture(scope="session")
def spheres(comm, tmp_path_factory) -> Case:
    """Two sessions of concentric spheres across white and grey matter, the same on every rank."""
    folder = comm.bcast(tmp_path_factory.mktemp("spheres"))
    return on_root(comm, lambda: Case.read(write_case(folder, voxel=3.0, tumour_centre=(-26.0, 12.0, 8.0), pet=True)))


@pytest.fixture
def case_path(tmp_path: Path) -> Path:
    """A small synthetic case that may be damaged at will."""
    return write_case(tmp_path)
