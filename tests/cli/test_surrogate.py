"""`oncology train surrogate` and `oncology fit --engine surrogate`: files, what is said, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from oncology.cli import main as cli
from oncology.imaging import Case
from oncology.meshing import read_mesh
from oncology.model.trajectory import read_trajectory
from oncology.results.files import read_results
from tests.cases import write_case

pytest.importorskip("torch")

RUNS, UNSEEN, FRAMES = 48, 8, 4
SMALL = ["--unseen", str(UNSEEN), "--basis", "30", "--iterations", "100"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("surrogates")
    write_case(path, scan_voxel=3.0)
    return path


def training(folder: Path, out: str, *words: str) -> list[str]:
    return ["train", "surrogate", "--case", str(folder / "sub-toy01"), "--out", str(folder / out), *SMALL, *words]


def fitting(folder: Path, out: str, *words: str, case: str = "sub-toy01") -> list[str]:
    trained = ["--engine", "surrogate", "--surrogate", str(folder / "net")]
    return ["fit", str(folder / case), "--out", str(folder / out), "--size", "8", *trained, *words]


@pytest.fixture(scope="module")
def net(folder) -> Path:
    words = ["--runs", str(RUNS), "--frames", str(FRAMES), "--size", "8", "--seed", "3", "--keep-runs"]
    assert cli.run(training(folder, "net", *words)) == 0
    return folder / "net"


@pytest.fixture(scope="module")
def fitted(folder, net) -> Path:
    assert cli.run(fitting(folder, "out")) == 0
    return folder / "out"


def test_the_folder_of_a_training(net):
    assert {path.name for path in net.iterdir()} == {
        *("mesh.h5", "network.pt", "surrogate.h5", "summary.json", "runs", ".oncology")
    }
    summary, mesh = json.loads((net / "summary.json").read_text()), read_mesh(net / "mesh.h5")
    assert (summary["case"], summary["law"], summary["seed"]) == ("toy01", "logistic", 3)
    assert (summary["training_runs"], summary["unseen_runs"], summary["mesh_size_mm"]) == (RUNS, UNSEEN, 8.0)
    assert summary["training_snapshots"] == RUNS * FRAMES
    assert 0.0 < summary["error"]["median"] <= summary["error"]["percentile_95"] <= summary["error"]["worst"]
    assert {"oncology", "torch", "dolfinx"} <= summary["versions"].keys()
    assert (summary["settings"]["basis"], summary["design"]["frames"]) == (30, FRAMES)
    runs = sorted((net / "runs").iterdir())
    assert len(runs) == RUNS + UNSEEN
    run = read_trajectory(runs[-1])
    assert run.mesh_fingerprint == mesh.fingerprint
    assert run.density.shape == (FRAMES, len(mesh.points))
    reach = 2.0 * np.sqrt(run.meta["diffusion_white"] * run.meta["proliferation"]) * run.times
    low, high = summary["range"]["reach"]
    assert low <= reach[0] < reach[-1] <= high


def test_kept_runs_are_learnt_from_again(folder, net, capsys):
    """The same runs and the same seed give the same network, without the solver."""
    words = ["--trajectories", str(net), "--seed", "3", "--voxels", "9"]
    assert cli.run(training(folder, "again", *words)) == 0
    text = capsys.readouterr().out
    assert f"learnt from {RUNS} runs, {RUNS * FRAMES} densities" in text and "on voxels of 9 mm" in text
    first, second = (json.loads((folder / name / "summary.json").read_text()) for name in ("net", "again"))
    assert first["error"] == second["error"]
    assert first["design"] | {"voxels": 9.0} == second["design"]
    voxels = second["voxels"]
    assert voxels["error"]["median"] < voxels["error_plain"]["median"]
    assert (folder / "again" / "voxels.h5").is_file()


def test_the_tumour_is_found(folder, fitted):
    estimate = json.loads((fitted / "estimate.json").read_text())
    # radii 14 and 20 mm 40 days apart, and the middle of the spheres
    assert estimate["derived"]["front_speed"]["value"] == pytest.approx(0.15, rel=0.2)
    np.testing.assert_allclose(estimate["parameters"]["seed"]["value"], [-16.0, 12.0, 8.0], atol=1.5)
    assert min(regions["whole"] for regions in estimate["dice"].values()) > 0.9
    entry = estimate["surrogate"]
    assert (entry["trained_on"]["case"], entry["trained_on"]["training_runs"]) == ("toy01", RUNS)
    assert entry["correction_steps"] == 1
    np.testing.assert_allclose(entry["estimate"]["seed"], [-16.0, 12.0, 8.0], atol=1.5)
    assert not [warning for warning in estimate["warnings"] if "surrogate" in warning]
    steps = [json.loads(line) for line in (fitted / "log.jsonl").read_text().splitlines()]
    assert steps[0]["stage"].startswith("surrogate of 8 mm")
    assert max(step["iteration"] for step in steps if step["stage"].startswith("8 mm")) == 1  # one step of the solver


def test_results_and_page_are_those_of_a_fit(folder, fitted):
    results = read_results(fitted, Case.read(folder / "sub-toy01"))
    assert results.mesh.route == "stuffing"
    assert results.config["settings"]["engine"] == "surrogate"
    page = (fitted / "report.html").read_text(encoding="utf-8")
    assert "<h3>Neural surrogate</h3>" in page and "corrected the estimate" in page
    assert f"{RUNS} runs of logistic growth in the brain of case" in page


def test_another_brain_is_warned_of(folder, net):
    write_case(folder, id="other", scan_voxel=3.0, ventricle=8.0)
    assert cli.run(fitting(folder, "elsewhere", "--no-report", case="sub-other")) == 0
    warnings = json.loads((folder / "elsewhere" / "estimate.json").read_text())["warnings"]
    assert [text for text in warnings if "trained on other tissue maps (case toy01)" in text]


def treated(folder: Path) -> str:
    event = {"kind": "radiotherapy", "day": 10.0, "dose_gy": 10.0, "fractions": 5}
    return write_case(folder, id="treated", scan_voxel=3.0, treatments=[event]).name


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--law", "gompertz"), "--law gompertz: the surrogate grew by the logistic law: give --engine fem"),
        (("--device", "cpu"), "--engine surrogate has no use for --device"),
        (
            ("--surrogate", "nowhere"),
            "nowhere: holds no surrogate: give a folder that `oncology train surrogate` wrote",
        ),
    ],
)
def test_settings_that_do_not_belong(folder, net, capsys, words, named):
    base = fitting(folder, "never")
    if words[0] == "--surrogate":
        base = base[:-2]
    assert cli.run([*base, *words]) == 2
    text = capsys.readouterr().err
    assert named in text and text.count("\n") == 1
    assert not list(folder.glob("never*"))


def test_an_engine_without_its_folder(folder, capsys):
    base = ["fit", str(folder / "sub-toy01"), "--out", str(folder / "never")]
    assert cli.run([*base, "--engine", "surrogate"]) == 2
    assert "needs --surrogate: give a folder" in capsys.readouterr().err
    assert cli.run([*base, "--surrogate", "net"]) == 2
    assert "--engine fem has no use for --surrogate" in capsys.readouterr().err


def test_treatment_is_refused_by_training_and_fit(folder, net, capsys):
    name = treated(folder)
    assert cli.run(fitting(folder, "never", case=name)) == 2
    fit = capsys.readouterr().err
    words = ["train", "surrogate", "--case", str(folder / name), "--out", str(folder / "never")]
    assert cli.run(words) == 2
    for text in (fit, capsys.readouterr().err):
        assert "is treated on day 10" in text and "give --engine fem" in text and text.count("\n") == 1
    assert not list(folder.glob("never*"))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--runs", "4"), "--runs 4 is out of range: give 8 to 16384"),
        (("--size", "0.1"), "--size 0.1 is out of range"),
        (("--trajectories", "nowhere"), "nowhere: holds no runs"),
    ],
)
def test_training_that_cannot_be(folder, capsys, words, named):
    assert cli.run(training(folder, "never", *words)) == 2
    text = capsys.readouterr().err
    assert named in text and text.count("\n") == 1
    assert not list(folder.glob("never*"))


def test_runs_of_another_brain_are_refused(folder, net, capsys, tmp_path):
    other = shutil.copytree(folder / "sub-toy01", tmp_path / "sub-toy01")
    (white,) = (other / "anat").glob("*label-WM_probseg.nii.gz")
    image = nib.load(white)
    nib.save(nib.Nifti1Image(0.9 * image.get_fdata(), image.affine), white)
    words = training(folder, "never", "--trajectories", str(net))
    words[words.index("--case") + 1] = str(other)
    assert cli.run(words) == 2
    text = capsys.readouterr().err
    assert "its runs are of case toy01" in text and text.count("\n") == 1


def test_too_few_runs_for_the_basis(folder, net, capsys, tmp_path):
    shutil.copytree(net, tmp_path / "few")
    for path in sorted((tmp_path / "few" / "runs").iterdir())[16:]:
        path.unlink()
    words = training(folder, "never", "--trajectories", str(tmp_path / "few"))
    words[words.index("--basis") + 1] = "40"
    assert cli.run(words) == 2
    assert "do not span 40 dimensions: give more --runs, or a smaller --basis" in capsys.readouterr().err


def test_several_processes_are_refused(folder, capsys, monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "2")
    for command in (training(folder, "never"), fitting(folder, "never")):
        assert cli.run(command) == 2
        assert "without mpiexec" in capsys.readouterr().err
