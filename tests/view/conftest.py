"""A case, a results folder with intervals, and a real browser without a screen."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from oncology.imaging import Case
from oncology.meshing import read_mesh
from oncology.model.trajectory import read_trajectory
from oncology.view.measures import volumes_above
from tests.cases import write_case
from tests.report.synthetic import write_results

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="session")
def toy(tmp_path_factory) -> Case:
    return Case.read(write_case(tmp_path_factory.mktemp("case")))


@pytest.fixture(scope="session")
def toy_out(toy, tmp_path_factory) -> Path:
    """A fit with intervals of +-15 % of the volume."""
    folder = tmp_path_factory.mktemp("results")
    out = write_results(folder, toy)
    mesh, trajectory = read_mesh(out / "mesh.h5"), read_trajectory(out / "trajectory.h5")
    growth: dict[str, object] = {"days": trajectory.times.tolist()}
    for region, rim in (("whole", 0.25), ("core", 0.6)):
        volume = np.array([volumes_above(mesh, u, [rim])[0] for u in trajectory.density])
        ends = {"volume_ml": volume, "low_ml": 0.85 * volume, "high_ml": 1.15 * volume}
        growth[region] = {name: values.tolist() for name, values in ends.items()}
    shutil.rmtree(out)
    return write_results(folder, toy, change={"growth": growth})


@pytest.fixture
def out(toy_out, tmp_path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(toy_out, tmp_path / "out"))


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """Chromium without a screen and without a graphics card."""
    api = pytest.importorskip("playwright.sync_api", reason='no playwright: pip install "oncology[test]"')
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt install chromium")
    with api.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield running
        running.close()
