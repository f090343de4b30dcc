"""`oncology predict`: the fit goes on, targets are equally large, a recurrence is counted, and what is refused."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from oncology.cli import main as cli
from oncology.imaging import Case, read_volume
from oncology.imaging.target import brain_mask
from oncology.meshing import read_mesh
from oncology.model.trajectory import read_trajectory
from oncology.report.prediction import boundary_band
from oncology.text import number, plain
from tests.cases import save, write_case, write_toml
from tests.phantom import Phantom

ROOT = Path(__file__).parents[2]
SIZE = ("--size", "4")
SOME = "target_isodensity_day-"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A case of two sessions of spheres and a later recurrence at their boundary, and its fit."""
    path = tmp_path_factory.mktemp("predict")
    patch = pytest.MonkeyPatch()
    patch.setenv("ONCOLOGY_CACHE", str(path / "cache"))
    case = write_case(path, scan_voxel=3.0, scan_axes=np.diag([-1.0, -1.0, 1.0]))
    scan = read_volume(case / "ses-01" / "anat" / "sub-toy01_ses-01_desc-tumor_dseg.nii.gz")
    away = np.linalg.norm(scan.world(np.argwhere(scan.data >= 0)) - (-40.0, 12.0, 8.0), axis=1).reshape(scan.shape)
    # enhancing within oedema, and a cavity that is no tumour
    labels = np.select([away < 6.0, away < 12.0, away < 14.0], [3, 2, 4]).astype(np.uint8)
    save(case / "ses-late" / "anat" / "sub-toy01_ses-late_desc-tumor_mask.nii.gz", labels, scan.affine)
    assert cli.run(["fit", str(case), "--out", str(path / "fit"), *SIZE, "--no-report"]) == 0
    yield path
    patch.undo()


def line(folder: Path, out: str, *words: str) -> list[str]:
    return ["predict", str(folder / "fit"), "--out", str(folder / out), *words]


@pytest.fixture(scope="module")
def predicted(folder) -> Path:
    assert cli.run(line(folder, "out", "--days", "10", "0", "5")) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def content(predicted):
    return json.loads((predicted / "prediction.json").read_text())


@pytest.fixture(scope="module")
def case(folder) -> Case:
    return Case.read(folder / "sub-toy01")


def test_every_file_is_there_and_nothing_else(folder, predicted):
    images = {f"{kind}_day-{day}.nii.gz" for kind in ("density", "density-sd") for day in (40, 45, 50)}
    targets = {"target_margin-15mm.nii.gz"} | {f"{SOME}{day}.nii.gz" for day in (40, 45, 50)}
    files = {"prediction.json", "prediction.html", "volumes.csv", "trajectory.h5", "mesh.h5", "config.toml"}
    files |= {"series.vtkhdf", "dataset_description.json"}
    files |= {f"surface_{region}_day-{day}.stl" for region in ("whole", "core") for day in (40, 45, 50)}
    assert {path.name for path in predicted.iterdir()} == {*images, *targets, *files, ".oncology"}
    assert not list(folder.glob("out.tmp-*"))


def test_on_the_last_session_it_is_the_density_of_the_fit(folder, predicted, case):
    fitted = read_volume(folder / "fit" / "density_ses-02.nii.gz")
    again = read_volume(predicted / "density_day-40.nii.gz")
    assert again.same_grid(fitted) and fitted.same_grid(case.sessions[-1].whole)
    assert np.abs(again.data - fitted.data).max() < 1e-6


def test_densities_and_volumes_grow(folder, predicted, content):
    days = [read_volume(predicted / f"density_day-{day}.nii.gz") for day in (40, 45, 50)]
    assert all(later.data.sum() > earlier.data.sum() for earlier, later in pairwise(days))
    volumes = content["volumes"]
    for region, threshold in (("whole", 0.25), ("core", 0.60)):
        low, value, high = (np.array(volumes[region][end]) for end in ("low_ml", "volume_ml", "high_ml"))
        assert (np.diff(value) > 0.0).all() and (low <= value).all() and (value <= high).all()
        for day, image in zip((40.0, 45.0, 50.0), days, strict=True):
            counted = (image.data > threshold).sum() * image.voxel_volume / 1e3
            assert value[volumes["days"].index(day)] == pytest.approx(counted, rel=0.05)
    estimate = json.loads((folder / "fit" / "estimate.json").read_text())
    for region, found in estimate["volumes_ml"]["ses-02"].items():
        assert volumes[region]["volume_ml"][volumes["days"].index(40.0)] == pytest.approx(found["model"], rel=0.05)
    widths = np.array(volumes["whole"]["high_ml"]) - np.array(volumes["whole"]["low_ml"])
    assert widths[-1] > widths[volumes["days"].index(40.0)] > 0.0, "the future is less certain than the scan"


def test_deviations_are_those_of_a_rim(predicted):
    density, spread = (read_volume(predicted / f"{kind}_day-50.nii.gz").data for kind in ("density", "density-sd"))
    assert spread.min() >= 0.0 and np.isfinite(spread).all()
    front = (density > 0.15) & (density < 0.7)
    assert spread[front].mean() > 5.0 * spread[density < 1e-4].mean()


def test_the_table_holds_the_curves(predicted, content):
    with (predicted / "volumes.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [float(row["day"]) for row in rows] == content["volumes"]["days"]
    for row in rows:
        assert float(row["days_after_last_session"]) == pytest.approx(float(row["day"]) - 40.0)
    for region in ("whole", "core"):
        for end, values in content["volumes"][region].items():
            assert [float(row[f"{region}_{end}"]) for row in rows] == values
    assert [float(row["day"]) for row in rows][:2] == [0.0, 40.0]


def test_trajectory_belongs_to_its_mesh_and_ends_on_the_last_day(folder, predicted):
    mesh, trajectory = read_mesh(predicted / "mesh.h5"), read_trajectory(predicted / "trajectory.h5")
    assert trajectory.mesh_fingerprint == mesh.fingerprint == read_mesh(folder / "fit" / "mesh.h5").fingerprint
    assert trajectory.times[-1] == 50.0
    fitted = read_trajectory(folder / "fit" / "trajectory.h5")
    assert trajectory.times[0] == pytest.approx(fitted.times[0])
    at = int(np.abs(trajectory.times - 40.0).argmin())
    assert trajectory.times[at] == pytest.approx(40.0, abs=1e-9)
    np.testing.assert_allclose(trajectory.density[at], fitted.density[-1], rtol=0, atol=1e-6)


def masks(out: Path) -> dict[str, np.ndarray]:
    return {path.name.partition(".")[0]: read_volume(path, dtype=None).data > 0 for path in out.glob("target_*")}


def test_targets_are_equally_large_and_lie_in_the_brain(predicted, content, case):
    core = case.sessions[-1].core
    brain = brain_mask(case.white, case.grey, core).data
    found = masks(predicted)
    distance = ndimage.distance_transform_edt(~core.data, sampling=core.voxel_sizes)
    standard = found.pop("target_margin-15mm")
    assert (standard == ((distance <= 15.0) & brain)).all()
    for name, mask in found.items():
        assert mask.sum() == standard.sum() and not (mask & ~brain).any(), name
        density = read_volume(predicted / f"density_{name.rpartition('_')[2]}.nii.gz").data
        level = content["targets"][name]["density"]
        assert level == pytest.approx(density[mask].min())
        assert density[brain & ~mask].max() <= level + 1e-7
        assert content["targets"][name]["volume_ml"] == pytest.approx(standard.sum() * 27.0 / 1e3)


def test_coverage_is_counted(folder, predicted, content):
    labels = read_volume(next((folder / "sub-toy01" / "ses-late" / "anat").iterdir()), dtype=None).data
    parts = {"all": np.isin(labels, (1, 2, 3)), "enhancing": labels == 3}
    assert set(content["coverage"]) == {"ses-late"}
    rows = content["coverage"]["ses-late"]
    for part, voxels in parts.items():
        for name, mask in masks(predicted).items():
            assert rows[part][name] == pytest.approx(mask[voxels].mean()), (part, name)
    assert 0.0 < rows["all"]["target_margin-15mm"] < 1.0


def test_the_page_stands_alone(predicted):
    page = (predicted / "prediction.html").read_text()
    assert "http" not in page.replace("base64", "") and "<script" not in page and "url(" not in page
    for part in ("Research only, not a medical device", "toy01", "95 % interval", "ses-late", "50", "processes"):
        assert part in page, part
    assert "<td>: " not in page and ">: " not in page
    assert page.count("<img") == 4  # growth, two later days, targets


def cells(page: str) -> list[list[str]]:
    """Rows of every table of a page."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page, re.DOTALL)
    return [
        [re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[hd].*?>.*?</t[hd]>", row, re.DOTALL)] for row in rows
    ]


def test_the_numbers_of_the_page_are_those_of_the_file(predicted, content):
    rows = cells((predicted / "prediction.html").read_text())
    volumes = content["volumes"]
    for day in (40.0, 45.0, 50.0):
        k = volumes["days"].index(day)
        shown = [plain(day), plain(day - 40.0)]
        for region in ("whole", "core"):
            value, low, high = (volumes[region][end][k] for end in ("volume_ml", "low_ml", "high_ml"))
            shown += [number(value), f"{number(low)} to {number(high)}"]
        assert shown in rows
    inside = content["coverage"]["ses-late"]["all"]
    names = [name for name in inside if name != "volume_ml"]
    shown = [row for row in rows if row[:2] == ["ses-late", "all"]]
    volume = number(inside["volume_ml"])
    assert shown == [["ses-late", "all", volume, name, f"{100 * inside[name]:.1f}"] for name in names]


def test_the_band_of_the_boundary_is_where_its_density_may_be(predicted):
    density, spread = (read_volume(predicted / f"{kind}_day-50.nii.gz") for kind in ("density", "density-sd"))
    band = boundary_band(density, spread, 0.25).data
    away = np.abs(density.data - 0.25) / np.maximum(spread.data, 1e-12)
    assert band[away < 1.95].all() and not band[away > 1.97].any()
    assert 0 < band.sum() < 0.1 * band.size


def test_settings_are_written(folder, predicted):
    config = tomllib.loads((predicted / "config.toml").read_text())
    assert config["settings"]["days"] == [40.0, 45.0, 50.0]
    assert (config["settings"]["margin_mm"], config["settings"]["samples"]) == (15.0, 0)
    assert config["settings"]["fit"] == str((folder / "fit").resolve())
    assert config["run"]["ranks"] == 1


def test_two_ranks_find_the_same(folder, predicted, content):
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.is_file() else shutil.which("mpiexec")
    if launcher is None:
        pytest.skip("no mpiexec here")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PMI", "OMPI_COMM", "MPI_LOCAL"))}
    words = line(folder, "both", "--days", "0", "5", "10", "--no-report")
    command = [launcher, "-n", "2", sys.executable, "-m", "oncology", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    both = json.loads((folder / "both" / "prediction.json").read_text())
    assert both["run"]["ranks"] == 2
    for region in ("whole", "core"):
        for end, values in content["volumes"][region].items():
            np.testing.assert_allclose(both["volumes"][region][end], values, rtol=1e-4)
    for name in ("density_day-50.nii.gz", "density-sd_day-50.nii.gz"):
        one, two = (read_volume(out / name).data for out in (predicted, folder / "both"))
        assert np.abs(one - two).max() < 1e-5


def test_samples_absolute_days_and_a_given_volume(folder, content):
    words = ("--days", "50", "--absolute", "--samples", "12", "--seed", "3", "--volume", "60", "--no-report")
    assert cli.run(line(folder, "sampled", *words)) == 0
    sampled = json.loads((folder / "sampled" / "prediction.json").read_text())
    assert sampled["uncertainty"] == {"method": "ensemble", "samples": 12, "seed": 3, "redrawn": 0}
    assert sampled["days"] == [50.0]
    sizes = {name: mask.sum() for name, mask in masks(folder / "sampled").items()}
    assert set(sizes) == {"target_nearest-60ml", f"{SOME}40", f"{SOME}50"}
    assert set(sizes.values()) == {round(60_000 / 27)}
    here, there = sampled["volumes"], content["volumes"]
    k, m = here["days"].index(50.0), there["days"].index(50.0)
    assert here["whole"]["volume_ml"][k] == pytest.approx(there["whole"]["volume_ml"][m], rel=1e-9)
    ratio = (here["whole"]["high_ml"][k] - here["whole"]["low_ml"][k]) / (
        there["whole"]["high_ml"][m] - there["whole"]["low_ml"][m]
    )
    assert 0.4 < ratio < 1.4, "twelve samples reach a little less far than the interval of all"


def test_a_tumour_that_outgrows_its_mesh_gets_a_wider_one(folder, content):
    assert cli.run(line(folder, "far", "--days", "150", "--no-report")) == 0
    far = json.loads((folder / "far" / "prediction.json").read_text())
    assert any("outgrows the mesh of the fit" in note for note in far["notes"])
    assert far["mesh"]["vertices"] > content["mesh"]["vertices"]
    assert far["cut_density"] < 0.3 * 0.25
    assert not any("outgrows" in note for note in content["notes"])


def with_treatments(folder: Path, name: str, *treatments: dict[str, object]) -> Path:
    """A copy of the case with treatments that it did not have when it was fitted."""
    copy = Path(shutil.copytree(folder / "sub-toy01", folder / name))
    toml = tomllib.loads((copy / "case.toml").read_text())
    write_toml(copy, toml | {"treatment": list(treatments)})
    return copy


def test_treatment_planned_after_the_fit_is_honoured(folder, content):
    course = {"kind": "radiotherapy", "day": 41.0, "dose_gy": 60.0, "fractions": 30}
    copy = with_treatments(folder, "treated", course)
    assert cli.run(line(folder, "irradiated", "--days", "10", "--case", str(copy), "--no-report")) == 0
    treated = json.loads((folder / "irradiated" / "prediction.json").read_text())["volumes"]
    free = content["volumes"]
    for region in ("whole", "core"):
        last = [volumes[region]["volume_ml"][volumes["days"].index(40.0)] for volumes in (treated, free)]
        assert last[0] == pytest.approx(last[1], rel=1e-9)
        assert treated[region]["volume_ml"][-1] < 0.9 * free[region]["volume_ml"][-1]


def test_another_past_is_refused(folder, capsys):
    copy = with_treatments(folder, "rewritten", {"kind": "chemotherapy", "day": 10.0, "rate": 0.1})
    assert cli.run(line(folder, "never", "--days", "60", "--case", str(copy))) == 2
    text = capsys.readouterr().err
    assert "rewritten has changed since (case.toml)" in text and text.count("\n") == 1
    assert not list(folder.glob("never*"))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), "--days is missing"),
        (("--days", "-3"), "--days -3"),
        (("--days", "nan"), "--days nan"),
        (("--days", "39", "--absolute"), "--days 39"),
        (("--days", "9999"), "--days 9999"),
        (("--days", "30", "--margin", "-1"), "--margin -1"),
        (("--days", "30", "--margin", "10", "--volume", "30"), "give one of them"),
        (("--days", "30", "--volume", "0"), "volume 0 mL"),
        (("--days", "30", "--samples", "1"), "--samples 1"),
        (("--days", "30", "--recurrence", "nowhere.nii.gz"), "nowhere.nii.gz"),
        (("--days", "30", "--case", "nowhere"), "nowhere"),
        (("--days", "30", "--pet"), "--pet has no meaning"),
        (("--days", "30", "--predict-gbm", "nowhere"), "both are given"),
    ],
)
def test_wrong_wishes_end_in_one_line(folder, capsys, words, named):
    assert cli.run(line(folder, "never", *words)) == 2
    text = capsys.readouterr().err
    assert named in text and text.count("\n") == 1
    assert not list(folder.glob("never*"))


def test_a_recurrence_of_other_labels_is_refused(folder, tmp_path, capsys):
    scan = read_volume(folder / "fit" / "density_ses-02.nii.gz")
    path = save(tmp_path / "labels.nii.gz", np.full(scan.shape, 7, dtype=np.uint8), scan.affine)
    assert cli.run(line(folder, "never", "--days", "30", "--recurrence", str(path))) == 2
    assert "holds 7, allowed is a mask" in capsys.readouterr().err
    path = save(tmp_path / "empty.nii.gz", np.zeros(scan.shape, dtype=np.uint8), scan.affine)
    assert cli.run(line(folder, "never", "--days", "30", "--recurrence", str(path))) == 2
    assert "mask is empty" in capsys.readouterr().err
    assert not list(folder.glob("never*"))


def test_a_fit_of_an_earlier_version_is_refused(folder, capsys):
    old = Path(shutil.copytree(folder / "fit", folder / "old"))
    estimate = json.loads((old / "estimate.json").read_text())
    del estimate["posterior"]
    (old / "estimate.json").write_text(json.dumps(estimate))
    assert cli.run(["predict", str(old), "--days", "30", "--out", str(folder / "never")]) == 2
    assert "holds no posterior" in capsys.readouterr().err


def test_a_folder_without_a_fit_and_a_fit_without_its_case(folder, tmp_path, capsys):
    assert cli.run(["predict", str(tmp_path), "--days", "30", "--out", str(folder / "never")]) == 2
    assert "estimate.json: no such file" in capsys.readouterr().err
    lost = Path(shutil.copytree(folder / "fit", tmp_path / "lost"))
    config = (lost / "config.toml").read_text()
    (lost / "config.toml").write_text(config.replace("sub-toy01", "sub-gone"))
    assert cli.run(["predict", str(lost), "--days", "30", "--out", str(folder / "never")]) == 2
    text = capsys.readouterr().err
    assert "case folder not found: give its folder with --case" in text and text.count("\n") == 1


def test_a_fit_of_another_engine_goes_on_with_a_note(folder, content):
    other = Path(shutil.copytree(folder / "fit", folder / "other"))
    config = (other / "config.toml").read_text()
    (other / "config.toml").write_text(config.replace('engine = "fem"', 'engine = "voxel"'))
    assert cli.run(["predict", str(other), "--days", "0", "--out", str(folder / "voxel"), "--no-report"]) == 0
    notes = json.loads((folder / "voxel" / "prediction.json").read_text())["notes"]
    assert [note for note in notes if "voxel engine" in note]
    assert not [note for note in content["notes"] if "engine" in note]


def test_neither_a_fit_nor_a_benchmark(folder, capsys):
    assert cli.run(["predict", "--days", "30", "--out", str(folder / "never")]) == 2
    assert "none is given" in capsys.readouterr().err


@pytest.mark.slow
def test_a_tumour_of_another_solver_is_where_it_was_predicted(tmp_path, monkeypatch):
    """Finite volumes grow a tumour to day 75; the fit sees days 0 and 40, the prediction is for day 75."""
    monkeypatch.setenv("ONCOLOGY_CACHE", str(tmp_path / "cache"))
    truth = Phantom(days=(0.0, 40.0, 75.0))
    later = truth.grow()[-1]
    seen = Phantom().write(tmp_path)
    assert cli.run(["fit", str(seen), "--out", str(tmp_path / "fit"), "--size", "4", "--no-report"]) == 0
    words = ["--days", "75", "--absolute", "--out", str(tmp_path / "out"), "--no-report"]
    assert cli.run(["predict", str(tmp_path / "fit"), *words]) == 0
    predicted = read_volume(tmp_path / "out" / "density_day-75.nii.gz")
    volumes = json.loads((tmp_path / "out" / "prediction.json").read_text())["volumes"]
    for region, threshold in (("whole", 0.25), ("core", 0.60)):
        model, real = predicted.data > threshold, later > threshold
        assert 2.0 * (model & real).sum() / (model.sum() + real.sum()) > 0.97, region
        low, high = (volumes[region][end][-1] for end in ("low_ml", "high_ml"))
        wanted = real.sum() * predicted.voxel_volume / 1e3
        assert low <= wanted <= high, region
