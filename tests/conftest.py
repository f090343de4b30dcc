"""Fixtures that several test folders share."""

import os
from pathlib import Path

import pytest

from tests.cases import write_case


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """Folder with the four cases that are too large for the repository."""
    default = Path(__file__).parents[2] / "shared" / "cases"
    folder = Path(os.environ.get("ONCOLOGY_CASES", default))
    if not (folder / "sub-peer01" / "case.toml").is_file():
        pytest.skip(f"{folder} does not hold sub-peer01: set ONCOLOGY_CASES to the folder with the shared cases")
    return folder


@pytest.fixture
def case_path(tmp_path: Path) -> Path:
    """A small synthetic case that may be damaged at will."""
    return write_case(tmp_path)
