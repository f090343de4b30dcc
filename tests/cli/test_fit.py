"""`oncology fit`: what it leaves behind, on one rank and two, after being killed, and where it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest

from oncology.cli import main as cli
from oncology.imaging import Case, read_volume
from oncology.meshing import read_mesh
from oncology.model.trajectory import read_trajectory
from tests.cases import write_case

ROOT = Path(__file__).parents[2]
SIZE = ("--size", "6")
LOGGED = {"diffusion_white", "diffusion_grey", "proliferation", "seed", "seed_radius", "onset"}
UNITS = {"diffusion_white": "mm^2/day", "diffusion_grey": "mm^2/day", "proliferation": "1/day"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A case of two sessions of concentric spheres, the second seen on finer and flipped voxels."""
    path = tmp_path_factory.mktemp("fit")
    write_case(path, scan_voxel=3.0, scan_axes=np.diag([-1.0, -1.0, 1.0]))
    return path


@pytest.fixture(autouse=True)
def own_cache(folder, monkeypatch):
    monkeypatch.setenv("ONCOLOGY_CACHE", str(folder / "cache"))


def line(folder: Path, out: str, *words: str) -> list[str]:
    return ["fit", str(folder / "sub-toy01"), "--out", str(folder / out), *SIZE, *words]


@pytest.fixture(scope="module")
def run(folder) -> subprocess.CompletedProcess[str]:
    """A run of its own process, whose output is a pipe."""
    environment = {**os.environ, "ONCOLOGY_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "oncology", *line(folder, "out")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment, cwd=ROOT)


@pytest.fixture(scope="module")
def fitted(folder, run) -> Path:
    assert run.returncode == 0, run.stderr
    return folder / "out"


@pytest.fixture(scope="module")
def estimate(fitted):
    return json.loads((fitted / "estimate.json").read_text())


def log_of(folder: Path) -> list[dict]:
    return [json.loads(text) for text in (folder / "log.jsonl").read_text().splitlines()]


def test_a_pipe_hears_nothing(run):
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_every_file_of_the_contract_is_there_and_nothing_else(folder, fitted):
    images = {"density_ses-01.nii.gz", "density_ses-02.nii.gz", "density-sd_ses-02.nii.gz"}
    files = {"estimate.json", "trajectory.h5", "mesh.h5", "report.html", "log.jsonl", "log.txt", "config.toml"}
    files |= {"series.vtkhdf", "dataset_description.json"}
    files |= {f"surface_{region}_ses-0{k}.stl" for region in ("whole", "core") for k in (1, 2)}
    assert {path.name for path in fitted.iterdir()} == {*images, *files, ".oncology"}
    assert not list(folder.glob("out.tmp-*"))


def test_estimate_keeps_its_schema(estimate):
    assert (estimate["schema"], estimate["case"], estimate["status"]) == (1, "toy01", "converged")
    parameters = estimate["parameters"]
    assert set(parameters) == {*UNITS, "seed", "seed_radius", "onset"}
    for name, unit in {**UNITS, "seed_radius": "mm"}.items():
        assert set(parameters[name]) == {"value", "unit", "sd_log", "identified"}
        assert parameters[name]["unit"] == unit
        assert parameters[name]["value"] > 0.0 < parameters[name]["sd_log"]
    for name, unit in {"seed": "mm", "onset": "day"}.items():
        assert set(parameters[name]) == {"value", "unit", "sd", "identified"}
        assert parameters[name]["unit"] == unit
    assert len(parameters["seed"]["value"]) == len(parameters["seed"]["sd"]) == 3
    assert all(isinstance(entry["identified"], bool) for entry in parameters.values())
    assert {name: entry["unit"] for name, entry in estimate["derived"].items()} == {
        "front_speed": "mm/day",
        "infiltration_length": "mm",
    }
    assert set(estimate["dice"]) == {"ses-01", "ses-02"}
    assert all(set(regions) == {"whole", "core"} for regions in estimate["dice"].values())
    assert estimate["misfit"] > 0.0
    assert 0 < estimate["iterations"] < estimate["gradient_evaluations"]
    assert set(estimate["mesh"]) == {"vertices", "cells", "size_mm"}
    run = estimate["run"]
    assert (run["ranks"], run["seconds"] > 0.0, run["peak_memory_gb"] > 0.0) == (1, True, True)
    assert {"oncology", "python", "numpy"} <= run["versions"].keys()


def test_numbers_belong_together(estimate):
    white, grey, rho = (estimate["parameters"][name]["value"] for name in UNITS)
    assert estimate["derived"]["front_speed"]["value"] == pytest.approx(2.0 * np.sqrt(white * rho))
    assert estimate["derived"]["infiltration_length"]["value"] == pytest.approx(np.sqrt(white / rho))
    assert grey / white == pytest.approx(next(c["value"] for c in estimate["combinations"] if "D_g" in c["name"]))
    for name in (*UNITS, "seed_radius"):
        low, high = estimate["intervals"][name]
        entry = estimate["parameters"][name]
        assert np.log(high / low) == pytest.approx(2 * 1.96 * entry["sd_log"], rel=1e-3)
        assert low < entry["value"] < high
    unknown = [name for name, entry in estimate["parameters"].items() if not entry["identified"]]
    assert estimate["not_identified"] == unknown
    # radii 14 and 20 mm 40 days apart, and the middle of the spheres
    assert estimate["derived"]["front_speed"]["value"] == pytest.approx(0.15, rel=0.2)
    np.testing.assert_allclose(estimate["parameters"]["seed"]["value"], [-16.0, 12.0, 8.0], atol=1.5)
    assert min(regions["whole"] for regions in estimate["dice"].values()) > 0.9
    low, high = estimate["density_range"]
    assert -1e-3 <= low <= high <= 1.0 + 1e-3


def test_densities_lie_in_the_space_of_the_scans(folder, fitted, estimate):
    case = Case.read(folder / "sub-toy01")
    for session in case.sessions:
        image = read_volume(fitted / f"density_{session.id}.nii.gz")
        assert image.same_grid(session.whole)
        assert image.data.dtype == np.float32
        assert 0.0 <= image.data.min() < 0.01 and 0.6 < image.data.max() <= 1.0
        for region, threshold in (("whole", 0.25), ("core", 0.60)):
            model, scan = image.data > threshold, getattr(session, region).data
            dice = 2.0 * (model & scan).sum() / (model.sum() + scan.sum())
            assert dice == pytest.approx(estimate["dice"][session.id][region], abs=1e-9)


def test_trajectory_belongs_to_the_mesh_and_ends_at_the_last_scan(fitted, estimate):
    mesh, trajectory = read_mesh(fitted / "mesh.h5"), read_trajectory(fitted / "trajectory.h5")
    assert trajectory.mesh_fingerprint == mesh.fingerprint
    assert trajectory.density.shape == (len(trajectory.times), len(mesh.points))
    assert trajectory.times[0] == pytest.approx(estimate["parameters"]["onset"]["value"])
    assert trajectory.times[-1] == pytest.approx(40.0)
    assert (np.diff(trajectory.times) > 0.0).all()
    assert estimate["mesh"] == {"vertices": len(mesh.points), "cells": len(mesh.cells), "size_mm": 6.0}
    mass = (trajectory.density[:, mesh.cells].mean(axis=2) * mesh.volumes).sum(axis=1)
    assert (np.diff(mass) > 0.0).all()


def test_log_has_a_line_an_iteration(fitted, estimate):
    records = log_of(fitted)
    stages = list(dict.fromkeys(record["stage"] for record in records))
    assert stages[0] == "9.6 mm, sharpness 10"
    assert stages[-1] == "6 mm, volume fraction"
    assert sum(record["iteration"] > 0 for record in records) == estimate["iterations"]
    assert all(record.keys() >= LOGGED for record in records)
    last = records[-1]
    for name in UNITS:
        assert last[name] == pytest.approx(estimate["parameters"][name]["value"], rel=0.05)


def test_every_setting_is_written(fitted):
    config = tomllib.loads((fitted / "config.toml").read_text())
    settings = config["settings"]
    assert (settings["size_mm"], settings["route"], settings["law"]) == (6.0, "stuffing", "logistic")
    assert config["run"] == {"ranks": 1, "seed": 0}
    assert config["thresholds"] == {"oedema": 0.25, "core": 0.6}
    assert {"oncology", "python", "numpy"} <= config["versions"].keys()


def test_report_stands_alone_and_names_the_parameters(fitted):
    page = (fitted / "report.html").read_text()
    assert "toy01" in page
    assert 'src="http' not in page and 'href="http' not in page


def test_results_are_replaced_only_when_asked(folder, fitted, capsys):
    before = (fitted / "estimate.json").read_bytes()
    assert cli.run(line(folder, "out")) == 2
    text = capsys.readouterr().err
    assert "--overwrite" in text and text.count("\n") == 1
    assert (fitted / "estimate.json").read_bytes() == before
    shutil.copytree(fitted, folder / "again")
    (folder / "again" / "left-over").write_text("old")
    assert cli.run(line(folder, "again", "--overwrite", "--no-report")) == 0
    assert not (folder / "again" / "left-over").exists()
    assert not (folder / "again" / "report.html").exists()
    first, second = (json.loads((folder / out / "estimate.json").read_text()) for out in ("out", "again"))
    assert second["parameters"] == first["parameters"], "nothing is random"


def test_two_ranks_find_the_same(folder, estimate):
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.is_file() else shutil.which("mpiexec")
    if launcher is None:
        pytest.skip("no mpiexec here")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PMI", "OMPI_COMM", "MPI_LOCAL"))}
    command = [launcher, "-n", "2", sys.executable, "-m", "oncology", *line(folder, "both", "--no-report")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    both = json.loads((folder / "both" / "estimate.json").read_text())
    assert both["run"]["ranks"] == 2
    assert (both["status"], both["mesh"]) == (estimate["status"], estimate["mesh"])
    for name, entry in estimate["parameters"].items():
        np.testing.assert_allclose(both["parameters"][name]["value"], entry["value"], rtol=1e-4, err_msg=name)
        assert both["parameters"][name]["identified"] == entry["identified"]
    one, two = (read_volume(folder / out / "density_ses-02.nii.gz").data for out in ("out", "both"))
    assert np.abs(one - two).max() < 1e-3


def interrupted(folder: Path, out: str, number: signal.Signals) -> tuple[int, str]:
    """Send a signal to a run in mid-course, when its fourth iterate has been accepted; return status and messages."""
    environment = {**os.environ, "ONCOLOGY_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "oncology", *line(folder, out, "--no-report")]
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120.0
    while not any(len(log_of(path.parent)) >= 4 for path in folder.glob(f"{out}.tmp-*/log.jsonl")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    messages = process.communicate(timeout=60)[1]
    assert not (folder / out).exists()
    return process.returncode, messages


def test_a_warned_run_leaves_with_its_last_iterate_saved(folder, fitted):
    """Schedulers send SIGUSR1 before the time limit."""
    status, messages = interrupted(folder, "warned", signal.SIGUSR1)
    assert (status, messages.count("\n")) == (os.EX_TEMPFAIL, 1)
    assert "--resume" in messages
    (work,) = folder.glob("warned.tmp-*")
    saved = json.loads((work / "checkpoint.json").read_text())["checkpoint"]["x"]
    last = log_of(work)[-1]
    np.testing.assert_allclose(np.exp(saved[0]), last["diffusion_white"], rtol=1e-12)


@pytest.fixture(scope="module")
def killed(folder, fitted) -> list[dict]:
    """Kill a run in mid-course; return its log."""
    assert interrupted(folder, "killed", signal.SIGKILL)[0] == -signal.SIGKILL
    return log_of(next(folder.glob("killed.tmp-*")))


@pytest.mark.parametrize(
    ("words", "changed"), [(("--size", "7"), "size_mm"), (("--law", "gompertz"), "law"), (("--single-seed",), "shape")]
)
def test_other_settings_do_not_go_on(folder, killed, capsys, words, changed):
    command = [w for w in line(folder, "killed", "--no-report") if w not in SIZE or words[0] != "--size"]
    assert cli.run([*command, *words, "--resume"]) == 2
    text = capsys.readouterr().err
    assert changed in text and "--overwrite" in text
    assert text.count("\n") == 1
    assert not (folder / "killed").exists()
    assert len(list(folder.glob("killed.tmp-*/checkpoint.json"))) == 1


def test_resumed_run_goes_on_from_the_last_accepted_iterate(folder, killed, estimate):
    """Runs after those that were refused: the checkpoint outlives them."""
    assert cli.run(line(folder, "killed", "--no-report", "--resume")) == 0
    records = log_of(folder / "killed")
    assert records[: len(killed)] == killed
    went_on = records[len(killed)]
    # the iterate itself, or the one before where the kill fell between log and checkpoint
    assert any(
        went_on["stage"] == record["stage"] and all(np.allclose(went_on[n], record[n], rtol=1e-9) for n in LOGGED)
        for record in killed[-2:]
    )
    assert not list(folder.glob("killed.tmp-*"))
    assert not (folder / "killed" / "checkpoint.json").exists()
    resumed = json.loads((folder / "killed" / "estimate.json").read_text())
    for name in UNITS:
        sd = estimate["parameters"][name]["sd_log"]
        moved = np.log(resumed["parameters"][name]["value"] / estimate["parameters"][name]["value"])
        assert abs(moved) < 0.2 * sd, name
    assert resumed["status"] == "converged"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--size", "0.1"), "--size 0.1 mm is outside 0.5 to 20 mm"),
        (("--law", "linear"), "linear"),
        (("--pet",), "no session has a tracer image"),
        (("--mesh", "no-such.h5"), "no-such.h5"),
        (("--out", "/proc/fit"), "/proc/fit"),
    ],
)
def test_settings_that_cannot_be_met(folder, capsys, words, named):
    base = line(folder, "never")
    if words[0] in base:
        place = base.index(words[0])
        base[place : place + 2] = []
    assert cli.run([*base, *words]) == 2
    text = capsys.readouterr().err
    assert named in text
    assert text.count("\n") == 1
    assert not list(folder.glob("never*"))


def test_a_case_that_is_none(folder, capsys):
    assert cli.run(["fit", str(folder / "sub-nobody"), "--out", str(folder / "never")]) == 2
    text = capsys.readouterr().err
    assert "sub-nobody" in text and text.count("\n") == 1
    assert not list(folder.glob("never*"))
