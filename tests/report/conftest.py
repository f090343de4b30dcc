"""A results folder that all tests of this folder read; those that damage it take a copy."""

import shutil
from pathlib import Path

import pytest

from oncology.imaging import Case
from tests.cases import write_case
from tests.report.synthetic import write_results

TREATMENTS = (
    {"kind": "radiotherapy", "day": 5.0, "dose_gy": 30.0, "fractions": 15},
    {"kind": "resection", "day": 2.0},
)


@pytest.fixture(scope="session")
def toy(tmp_path_factory) -> Case:
    """Two sessions and two treatments; the patient's left frontal lobe."""
    folder = tmp_path_factory.mktemp("case")
    return Case.read(write_case(folder, tumour_centre=(-16.0, 12.0, 8.0), treatments=TREATMENTS))


@pytest.fixture(scope="session")
def toy_out(toy, tmp_path_factory) -> Path:
    return write_results(tmp_path_factory.mktemp("results"), toy)


@pytest.fixture
def out(toy_out, tmp_path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(toy_out, tmp_path / "out"))
