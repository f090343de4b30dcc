"""`oncology predict --predict-gbm`: the benchmark's files in, one density out, the same as a fit of the same case."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from oncology.cli import main as cli
from oncology.imaging import Case, read_volume
from tests.cases import Scan, save, write_case
from tests.imaging.test_predictgbm import NUMBER, benchmark

ROOT = Path(__file__).parents[2]
SIZE = ("--size", "5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One scan of an elongated tumour, which one seed does not explain, as a case and in the benchmark's layout."""
    path = tmp_path_factory.mktemp("benchmark")
    patch = pytest.MonkeyPatch()
    patch.setenv("ONCOLOGY_CACHE", str(path / "cache"))
    case = write_case(path, sessions=[Scan("ses-01", 0.0, whole=15.0, core=8.0)])
    scan = case / "ses-01" / "anat" / "sub-toy01_ses-01_desc-tumor_dseg.nii.gz"
    image = read_volume(scan, dtype=None)
    points = image.world(np.argwhere(image.data >= 0)).reshape(*image.shape, 3)
    along = np.clip(points[..., 1], -14.0, 30.0)  # mm: the axis of the tumour
    axis = np.stack([np.full_like(along, -16.0), along, np.full_like(along, 8.0)], axis=-1)
    distance = np.linalg.norm(points - axis, axis=-1)
    save(scan, np.select([distance < 7.0, distance < 14.0], [3, 2]).astype(np.uint8), image.affine)
    benchmark(path / "io0", case)
    yield path
    patch.undo()


@pytest.fixture(scope="module")
def density(folder):
    (folder / "io1").mkdir()
    environment = {**os.environ, "ONCOLOGY_CACHE": str(folder / "cache")}
    words = ["predict", "--predict-gbm", str(folder / "io0"), "--out", str(folder / "io1"), *SIZE]
    command = [sys.executable, "-m", "oncology", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in (folder / "io1").iterdir()] == [f"{NUMBER}.nii.gz"]
    return read_volume(folder / "io1" / f"{NUMBER}.nii.gz")


def test_the_density_has_the_grid_of_the_segmentation(folder, density):
    scan = read_volume(folder / "io0" / f"Patient-{NUMBER}" / f"{NUMBER}-tumorseg.nii.gz", dtype=None)
    assert density.same_grid(scan)
    assert 0.0 <= density.data.min() and density.data.max() <= 1.0
    whole = scan.data > 0
    model = density.data > 0.25
    assert 2.0 * (model & whole).sum() / (model.sum() + whole.sum()) > 0.85


@pytest.fixture(scope="module")
def fitted(folder, density):
    words = ["fit", str(folder / "sub-toy01"), "--out", str(folder / "fit"), *SIZE, "--no-report"]
    assert cli.run(words) == 0
    return folder / "fit"


def test_it_is_the_density_of_a_fit(fitted, density):
    assert np.abs(read_volume(fitted / "density_ses-01.nii.gz").data - density.data).max() < 1e-4


def test_a_corrected_shape_goes_on_from_the_fit(folder, fitted):
    """The run with the correction in between is that of the fit."""
    estimate = json.loads((fitted / "estimate.json").read_text())
    assert estimate["shape_correction"], "one seed must not explain this tumour"
    assert cli.run(["predict", str(fitted), "--days", "0", "--out", str(folder / "again"), "--no-report"]) == 0
    content = json.loads((folder / "again" / "prediction.json").read_text())
    before, after = (
        read_volume(p) for p in (fitted / "density_ses-01.nii.gz", folder / "again" / "density_day-0.nii.gz")
    )
    assert content["mesh"] == estimate["mesh"]
    assert np.abs(before.data - after.data).max() < 1e-6
    case = Case.read(folder / "sub-toy01")
    model, whole = after.data > 0.25, case.sessions[0].whole.data
    assert 2.0 * (model & whole).sum() / (model.sum() + whole.sum()) > 0.85


def test_a_later_day_is_denser(folder, density):
    out = folder / "later" / "one.nii.gz"
    words = ["predict", "--predict-gbm", str(folder / "io0" / f"Patient-{NUMBER}"), "--out", str(out), *SIZE]
    assert cli.run([*words, "--days", "20"]) == 0
    later = read_volume(out)
    assert later.same_grid(density)
    assert later.data.sum() > 1.02 * density.data.sum()
    assert [path.name for path in out.parent.iterdir()] == ["one.nii.gz"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--days", "10", "20"), "takes one density"),
        (("--days", "-1"), "--days -1"),
        (("--size", "0.1"), "--size 0.1 mm"),
        (("--margin", "10"), "--margin has no meaning beside --predict-gbm"),
        (("--pet",), f"{NUMBER}-pet.nii.gz"),
        (("--out", "io1"), "is there already"),
    ],
)
def test_wrong_wishes_end_in_one_line(folder, density, capsys, words, named):
    words = tuple(str(folder / word) if word == "io1" else word for word in words)
    out = () if "--out" in words else ("--out", str(folder / "never"))
    assert cli.run(["predict", "--predict-gbm", str(folder / "io0"), *out, *words]) == 2
    text = capsys.readouterr().err
    assert named in text and text.count("\n") == 1
    assert not (folder / "never").exists()


def test_one_image_for_two_patients_is_refused(folder, tmp_path, capsys):
    for number in ("00001", "00002"):
        benchmark(tmp_path / "io", folder / "sub-toy01", number=number)
    assert cli.run(["predict", "--predict-gbm", str(tmp_path / "io"), "--out", str(tmp_path / "one.nii.gz")]) == 2
    assert "one image for 2 patients" in capsys.readouterr().err


@pytest.mark.slow
def test_a_real_patient(shared_cases, tmp_path, monkeypatch):
    """The published patient: its fit and both targets' coverage of its recurrence, and the benchmark's density."""
    monkeypatch.setenv("ONCOLOGY_CACHE", str(tmp_path / "cache"))
    root = shared_cases / "sub-gliodil001"
    coarse = ("--size", "6")
    assert cli.run(["fit", str(root), "--out", str(tmp_path / "fit"), *coarse, "--no-report"]) == 0
    assert (
        cli.run(["predict", str(tmp_path / "fit"), "--days", "0", "--out", str(tmp_path / "out"), "--no-report"]) == 0
    )
    rows = json.loads((tmp_path / "out" / "prediction.json").read_text())["coverage"]["ses-recurrence"]["all"]
    name = "sub-gliodil001_ses-recurrence_desc-tumor_mask.nii.gz"
    recurrence = read_volume(root / "ses-recurrence" / "anat" / name, dtype=None)
    voxels = recurrence.data > 0
    assert rows["volume_ml"] == pytest.approx(voxels.sum() * recurrence.voxel_volume / 1e3)
    assert rows["target_margin-15mm"] == 1.0, "the published plan covers it too"
    iso = read_volume(tmp_path / "out" / "target_isodensity_day-0.nii.gz", dtype=None).data > 0
    assert rows["target_isodensity_day-0"] == pytest.approx(iso[voxels].mean())
    assert rows["target_isodensity_day-0"] > 0.9
