"""Patients of the coverage benchmark: what is drawn, what is wrong in stratum B, and that they are complete cases."""

import json
import math

import nibabel as nib
import numpy as np
import pytest

import oncology
from benchmarks.calibration_patients import THRESHOLD_ERROR, _flipped, _wrong_white, draw, write_patient
from tests.calibration.anatomy import small_brain


@pytest.fixture(scope="module")
def brain():
    return small_brain()


def test_draws_lie_in_their_ranges_and_depend_on_the_number_only(brain):
    patients = [draw(np.random.default_rng(k), brain, "AB"[k % 2]) for k in range(300)]
    assert patients[7] == draw(np.random.default_rng(7), brain, "B")
    rates = np.array([[p.diffusion_white, p.diffusion_grey / p.diffusion_white, p.proliferation] for p in patients])
    assert (rates >= [0.05, 0.05, 0.008]).all() and (rates <= [0.6, 0.3, 0.05]).all()
    length = np.sqrt(rates[:, 0] / rates[:, 2])
    assert 1.0 <= length.min() < 1.3 and 4.2 < length.max() <= 5.0
    radii = np.array([p.radii for p in patients])
    growth = radii[:, 1] - radii[:, 0]
    assert 8.0 <= radii[:, 0].min() and radii[:, 0].max() <= 20.0 and 2.0 <= growth.min() and growth.max() <= 10.0
    logs = np.log([p.seed_radius / 6.5 for p in patients])
    assert abs(logs.mean()) < 0.03 and logs.std() == pytest.approx(0.15, abs=0.02)
    places = np.round(brain.voxel(np.array([p.seed for p in patients]))).astype(int)
    assert (brain.white[tuple(places.T)] > 0.5).all()
    assert {p.thresholds for p in patients[::2]} == {(0.25, 0.60)} and {p.voxel for p in patients[::2]} == {2.0, 4.0}
    errors = np.array([p.thresholds for p in patients[1::2]]) - (0.25, 0.60)
    assert np.abs(errors).max() <= THRESHOLD_ERROR and (errors.std(axis=0) > 0.02).all()


def test_white_matter_is_moved_but_not_the_brain(brain):
    moved = [_wrong_white(np.random.default_rng(k), brain) for k in range(8)]
    changes = [float((m.white - brain.white).sum() / brain.white.sum()) for m in moved]
    assert min(changes) < -0.05 and max(changes) > 0.05
    for maps in moved:
        assert np.abs(maps.white + maps.grey - brain.white - brain.grey).max() < 1e-6
        assert maps.grey.min() > -1e-6


def test_boundary_voxels_change_sides_in_patches():
    points = np.indices((60, 60, 60)) - 30.0
    radius = np.linalg.norm(points, axis=0)
    whole, core = radius < 22.0, radius < 13.0
    changed = _flipped(np.random.default_rng(0), [whole, core], 1.0)
    assert not (changed[1] & ~changed[0]).any()
    for before, after in zip((whole, core), changed, strict=True):
        flipped = before ^ after
        assert np.abs(radius[flipped] - radius[before].max()).max() < 2.0
        fraction = flipped.sum() / (np.abs(radius - radius[before].max()) < 1.0).sum()
        assert 0.06 < fraction < 0.2  # a quarter of one half
        assert abs(int(after.sum()) - int(before.sum())) < 0.03 * before.sum()


@pytest.mark.parametrize("stratum", ["A", "B"])
def test_patient_is_a_case_with_the_drawn_radii(tmp_path, brain, stratum):
    folder = write_patient(tmp_path, stratum, 2, brain, finest=1.0)
    truth = json.loads((folder / "truth.json").read_text())
    case = oncology.read_case(folder)
    assert case.id == f"{stratum}02" and case.sessions[0].day == 0.0 < case.sessions[1].day
    for session, drawn in zip(case.sessions, truth["radii"], strict=True):
        volume = session.whole.data.sum() * session.whole.voxel_volume
        assert (0.75 * volume / math.pi) ** (1.0 / 3.0) == pytest.approx(drawn, rel=0.05)
        assert not (session.core.data & ~session.whole.data).any()
    maps = case.white.affine
    scans = nib.load(next((folder / "ses-01" / "anat").glob("*dseg.nii.gz"))).affine
    assert np.allclose(maps, scans) == (stratum == "A")
    before = (folder / "truth.json").stat().st_mtime_ns
    assert write_patient(tmp_path, stratum, 2, brain, finest=1.0) == folder
    assert (folder / "truth.json").stat().st_mtime_ns == before
