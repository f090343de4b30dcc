"""The case in `data/` is what its truth file and README say."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from oncology.imaging import Case
from oncology.imaging.casefile import read_case_file

DATA = Path(__file__).parents[2] / "data"


def test_example_case_reads_and_agrees_with_its_truth():
    case = Case.read(DATA / "sub-example01")
    truth = json.loads((DATA / "sub-example01" / "truth.json").read_text())
    assert truth["thresholds"] == {"oedema": case.thresholds.oedema, "core": case.thresholds.core}
    assert case.labels.name == "brats2021"
    volumes = []
    for session in case.sessions:
        assert set(np.unique(session.labels.data)) == {0, 1, 2, 3}
        points = session.whole.world(np.argwhere(session.whole.data))
        assert np.linalg.norm(points.mean(axis=0) - truth["seed_mm"]) < 3
        volumes.append(session.whole.data.sum() * session.whole.voxel_volume)
        assert not session.whole.same_grid(case.white)
    # Mean radial speed of the rim between the scans, against 2 sqrt(D rho) of pure white matter.
    radii = (3 * np.array(volumes) / (4 * np.pi)) ** (1 / 3)
    speed = np.diff(radii)[0] / np.diff([session.day for session in case.sessions])[0]
    fastest = 2 * np.sqrt(truth["diffusion_white"] * truth["proliferation"])
    assert 0.3 * fastest < speed < fastest
    assert case.reassigned_fraction < 0.01


def test_tests_without_their_large_case_are_counted_at_the_end_of_a_run(tmp_path):
    test = "tests/imaging/test_case.py::test_a_real_segmentation_90_mm_too_low_is_outside_the_brain"
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    environment = {**os.environ, "ONCOLOGY_CASES": str(tmp_path)}
    done = subprocess.run(words, capture_output=True, text=True, cwd=DATA.parent, env=environment, check=True)
    assert "1 tests skipped: the large cases are not available, set ONCOLOGY_CASES" in done.stdout


def test_the_repository_holds_only_a_small_case():
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) < 400_000


def test_the_documented_case_toml_is_valid(tmp_path):
    (text,) = re.findall(r"```toml\n(.*?)```", (DATA / "README.md").read_text(), flags=re.DOTALL)
    (tmp_path / "case.toml").write_text(text)
    case_file = read_case_file(tmp_path / "case.toml")
    written = tomllib.loads(text)
    assert [entry.kind for entry in case_file.treatment] == [entry["kind"] for entry in written["treatment"]]
    assert case_file.treatment[0].build(tmp_path).survival == pytest.approx(np.exp(-0.04 * 2 * 1.2))
