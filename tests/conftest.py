"""Fixtures that several test folders share."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from oncology.imaging import Case
from oncology.parallel import on_root
from tests.cases import write_case

# the same examples every time, and no test that fails because the machine is busy
settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")


EXAMPLE = Path(__file__).parents[1] / "data" / "sub-example01"
LARGE_CASES = "the large cases are not available, set ONCOLOGY_CASES"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what would compare one rank with itself."""
    if config.pluginmanager.has_plugin("tests.mpi_plugin"):
        return
    alone = [item for item in items if item.get_closest_marker("ranks")]
    if alone:
        config.hook.pytest_deselected(items=alone)
        items[:] = [item for item in items if item not in alone]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how many tests had no case to work on: such a run has not shown what it seems to show."""
    count = sum(LARGE_CASES in str(report.longrepr) for report in terminalreporter.stats.get("skipped", ()))
    if count:
        terminalreporter.write_line(f"{count} tests skipped: {LARGE_CASES}", yellow=True, bold=True)


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """Folder with the cases that are too large for the repository."""
    default = Path(__file__).parents[2] / "shared" / "cases"
    folder = Path(os.environ.get("ONCOLOGY_CASES", default))
    if not (folder / "sub-peer01" / "case.toml").is_file():
        pytest.skip(f"{folder} does not hold sub-peer01: {LARGE_CASES}")
    return folder


@pytest.fixture(scope="session")
def case_folder(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """From a name to the folder of a case: "example01" is in the repository, the others are large."""

    def find(name: str) -> Path:
        if name == "example01":
            return EXAMPLE
        folder = request.getfixturevalue("shared_cases") / f"sub-{name}"
        if not (folder / "case.toml").is_file():
            pytest.skip(f"{folder} is not there: {LARGE_CASES}")
        return folder

    return find


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
