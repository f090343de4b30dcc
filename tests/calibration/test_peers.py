"""Side by side with other packages: patients that one of them grows, coverage in closed form, the tables."""

import json
import os
import sys
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

import oncology
from benchmarks import peers
from benchmarks.calibration_patients import Anatomy, write_case
from tests.calibration.anatomy import small_brain

# A stand-in for TumorGrowthToolkit with its interface: density 1 in a ball that grows by 1 mm in 10 days.
STAND_IN = """
import numpy as np
class Solver:
    def __init__(self, given): self.given = given
    def solve(self):
        g, shape = self.given, self.given["wm"].shape
        assert (g["Dw"], g["RatioDw_Dg"], g["rho"], g["resolution_factor"]) == (0.3, 10.0, 0.02, 1.0)
        place = [int(g[f"N{axis}T1_pct"] * n) for axis, n in zip("xyz", shape)]
        away = np.moveaxis(np.indices(shape), 0, -1) - place
        r = g["dx_mm"] * np.linalg.norm(away, axis=-1)
        return {"success": True, "final_state": np.clip((g["stopping_time"] / 10.0 - r) / 5.0, 0.0, 1.0)}
"""


def test_a_patient_grown_by_the_other_package_is_a_case_with_its_truth(tmp_path, monkeypatch):
    (tmp_path / "TumorGrowthToolkit").mkdir()
    (tmp_path / "TumorGrowthToolkit" / "FK.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    brain = small_brain()
    monkeypatch.setattr(peers, "mni152", lambda: brain)
    patient = peers.Grown(0.3, 0.03, 0.02, (24, 22, 27), (100.0, 150.0))
    folder = peers.grow(tmp_path, "ball", patient, sys.executable)
    case = oncology.read_case(folder)
    truth = json.loads((folder / "truth.json").read_text())
    assert truth["seed_mm"] == pytest.approx(brain.affine[:3, :3] @ (24, 22, 27) + brain.affine[:3, 3])
    assert [session.day for session in case.sessions] == [0.0, 50.0]
    for session, grown in zip(case.sessions, (10.0, 15.0), strict=True):
        for mask, threshold in ((session.whole, 0.25), (session.core, 0.6)):
            points = mask.world(np.argwhere(mask.data))
            away = np.linalg.norm(points - truth["seed_mm"], axis=1)
            assert away.max() < grown - 5.0 * threshold < away.max() + 1.0  # voxels of 2 mm
            assert np.linalg.norm(points.mean(axis=0) - truth["seed_mm"]) < 0.01
    stamp = (folder / "truth.json").stat().st_mtime_ns
    assert peers.grow(tmp_path, "ball", patient, "no such Python") == folder
    assert (folder / "truth.json").stat().st_mtime_ns == stamp


def test_coverage_of_a_recurrence_on_one_side(tmp_path):
    """The core is a ball; the recurrence lies 3 to 9 mm from it on one side, where the density is higher."""
    spacing, shape = 1.0, (70, 70, 70)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    points = np.moveaxis(np.indices(shape), 0, -1) - 34.5
    radius = np.linalg.norm(points, axis=-1)
    brain, white = (radius < 34.0).astype(float), (radius < 30.0).astype(float)
    core, whole = radius < 8.0, radius < 9.0
    case = tmp_path / "sub-side"
    write_case(case, Anatomy(white, brain - white, affine), [[whole, core]], affine, [0.0])
    recurrence = (radius > 11.0) & (radius < 17.0) & (points[..., 0] > 0.8 * radius)
    (case / "ses-later" / "anat").mkdir(parents=True)
    mask = nib.Nifti1Image(recurrence.astype(np.uint8), affine)
    nib.save(mask, case / "ses-later" / "anat" / "sub-side_ses-later_desc-tumor_mask.nii.gz")
    density = np.exp(-np.maximum(radius - 8.0, 0.0) / np.where(points[..., 0] > 0.7 * radius, 8.0, 2.0))
    nib.save(nib.Nifti1Image(density.astype(np.float32), affine), tmp_path / "density.nii.gz")
    rows = peers.coverages(oncology.read_case(case), tmp_path / "density.nii.gz")
    assert [row[:2] for row in rows] == [("side, ses-later, all", f"{margin:g} mm") for margin in peers.MARGINS]
    around, whole_too, densest = np.array([[float(cell.split()[0]) for cell in row[3:]] for row in rows]).T
    # the shell from 11 to 17 mm, up to the margin: the numbers of the continuum, within what voxels do to them
    expected = [100.0 * (min(8.0 + margin, 17.0) ** 3 - 11.0**3) / (17.0**3 - 11.0**3) for margin in peers.MARGINS]
    assert around == pytest.approx(np.array(expected), abs=6.0)
    assert whole_too == pytest.approx(around, abs=1.0)  # concentric with the core
    assert (densest >= around).all() and densest[0] > around[0] + 30.0 and densest[-1] == 100.0


def test_tables_tell_values_errors_and_cost(tmp_path, monkeypatch):
    def value(value, low, high, identified=True):
        return SimpleNamespace(value=value, interval=(low, high), identified=identified)

    estimate = SimpleNamespace(
        case="one",
        diffusion_white=value(0.33, 0.3, 0.36),
        diffusion_grey=value(0.02, 0.01, 0.04, False),
        proliferation=value(0.02, 0.019, 0.021),
        front_speed=value(2.0 * (0.33 * 0.02) ** 0.5, 0.15, 0.17),
        infiltration_length=value((0.33 / 0.02) ** 0.5, 4.0, 4.1),
        seed=SimpleNamespace(value=(1.0, 2.0, 2.0), identified=True),
        dice={"ses-01": {"whole": 0.98, "core": None}, "ses-02": {"whole": 0.95, "core": 0.9}},
        run={"peak_memory_gb": 1.84},
    )
    fitted = SimpleNamespace(estimate=estimate, verdict=SimpleNamespace(level="not_explained"))
    monkeypatch.setattr(peers.oncology, "load", lambda folder: fitted)
    truth = {"diffusion_white": 0.3, "diffusion_grey": 0.03, "proliferation": 0.02, "seed_mm": [0.0, 0.0, 0.0]}
    run = {"out": tmp_path, "truth": truth, "seconds": 31.4, "cpu": 52.6, "load": 2.2}
    text = peers.table([run, {**run, "truth": {}}])
    assert "| one | diffusion white, mm²/day | 0.33 | 0.3 to 0.36 | yes | 0.3 | +10.0 % |" in text
    assert "| one | diffusion grey, mm²/day | 0.02 | 0.01 to 0.04 | no | 0.03 | -33.3 % |" in text
    assert "| one | front speed, mm/day | 0.162 | 0.15 to 0.17 | yes | 0.155 | +4.9 % |" in text
    assert text.count("3.00 mm away") == 1  # without a truth there is no error
    assert text.count("| one | not explained | 0.90 to 0.98 | 31 | 53 | 2 | 1.8 |") == 2
