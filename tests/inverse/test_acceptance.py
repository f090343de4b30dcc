"""Whole fits with default settings on two ranks: what the package promises of its main job.

example01 is in the repository, grown by explicit finite volumes on 2 mm voxels. The others are large: peer01 and peer02
were grown in the MNI152 brain by an independent code, explicit finite differences on 1 mm voxels; gliodil001 and
gliomasolver are patients.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def fit(case: Path, out: Path, *words: str) -> dict:
    """Fit a case on two ranks and return its estimate."""
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.is_file() else shutil.which("mpiexec")
    if launcher is None:
        pytest.skip("no mpiexec here")
    command = [launcher, "-n", "2", sys.executable, "-m", "oncology", "fit", str(case), "--out", str(out / "fit")]
    environment = {**os.environ, "ONCOLOGY_CACHE": str(out / "cache")}
    done = subprocess.run([*command, "--no-report", *words], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads((out / "fit" / "estimate.json").read_text())


@pytest.mark.parametrize("name", ["example01", "peer01", "peer02"])
def test_parameters_of_another_solver_come_back(case_folder, tmp_path, name):
    case = case_folder(name)
    truth = json.loads((case / "truth.json").read_text())
    estimate = fit(case, tmp_path)
    assert estimate["status"] == "converged"
    for parameter, limit in {"diffusion_white": 0.08, "proliferation": 0.05}.items():
        found, true = estimate["parameters"][parameter], truth[parameter]
        assert abs(found["value"] / true - 1.0) < limit, (parameter, found)
        assert found["identified"], parameter
        low, high = estimate["intervals"][parameter]
        assert low < true < high, (parameter, found)
    speed = 2.0 * math.sqrt(truth["diffusion_white"] * truth["proliferation"])
    assert abs(estimate["derived"]["front_speed"]["value"] / speed - 1.0) < 0.05
    assert np.linalg.norm(np.subtract(estimate["parameters"]["seed"]["value"], truth["seed_mm"])) < 1.5
    for session, regions in estimate["dice"].items():
        for region, dice in regions.items():
            assert dice >= 0.93 or estimate["volumes_ml"][session][region]["scan"] < 10.0, (session, region)
    low, high = estimate["density_range"]
    assert -1e-3 < low < high < 1.0 + 1e-3


def first_scan(case: Path, folder: Path) -> Path:
    """Copy a case without its later sessions."""
    copy = Path(shutil.copytree(case, folder / case.name))
    content = tomllib.loads((copy / "case.toml").read_text())
    content["session"] = content["session"][:1]
    (copy / "case.toml").write_text(tomli_w.dumps(content))
    return copy


@pytest.mark.parametrize("name", ["example01", "gliodil001", "gliomasolver"])
def test_one_scan_of_a_patient_tells_combinations_only(case_folder, tmp_path, name):
    """At 4 mm, to be quick: what is identified does not depend on the mesh."""
    case = case_folder(name)
    estimate = fit(first_scan(case, tmp_path) if name == "example01" else case, tmp_path, "--size", "4")
    assert {"diffusion_white", "proliferation", "onset"} <= set(estimate["not_identified"])
    assert estimate["parameters"]["seed"]["identified"]
    known = {entry["name"].split()[0]: entry["identified"] for entry in estimate["combinations"]}
    assert known["infiltration"] and known["growth"] and not known["front"]
    assert estimate["dice"]["ses-01"]["whole"] >= 0.85
