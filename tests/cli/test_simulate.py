"""`oncology simulate`: what it leaves behind against what is known of it, on two ranks too, and after being killed."""

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
from oncology.imaging import Case, read_volume, sample
from oncology.meshing import read_mesh
from oncology.model.trajectory import read_trajectory
from oncology.model.treatment import Radiotherapy
from oncology.results.images import on_day
from tests.cases import write_case

ROOT = Path(__file__).parents[2]
RADIOTHERAPY = {"kind": "radiotherapy", "day": 10.0, "dose_gy": 6.0, "fractions": 3}
GROWTH = "--diffusion-white 0.2 --diffusion-grey 0.03 --proliferation 0.02 --seed -16 12 8 --onset -60".split()
SIZE = ("--size", "7")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A case with radiotherapy between its sessions on days 0 and 40."""
    path = tmp_path_factory.mktemp("simulate")
    write_case(path, voxel=5.0, treatments=[RADIOTHERAPY])
    return path


@pytest.fixture(autouse=True)
def own_cache(folder, monkeypatch):
    monkeypatch.setenv("ONCOLOGY_CACHE", str(folder / "cache"))


def line(folder: Path, out: str, *words: str) -> list[str]:
    return ["simulate", str(folder / "sub-toy01"), "--out", str(folder / out), *GROWTH, *SIZE, *words]


@pytest.fixture(scope="module")
def grown(folder):
    """Results of a run with exponential growth and with images of three days."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONCOLOGY_CACHE", str(folder / "cache"))
        assert cli.run(line(folder, "out", "--law", "exponential", "--days", "40", "0", "15.5")) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def summary(grown):
    return json.loads((grown / "summary.json").read_text())


def test_everything_is_there_and_belongs_together(grown, summary):
    names = {path.name for path in grown.iterdir()}
    images = {f"density_day-{day}.nii.gz" for day in ("0", "15.5", "40")}
    files = {"trajectory.h5", "mesh.h5", "series.vtkhdf", "config.toml", "summary.json"}
    mesh, trajectory = read_mesh(grown / "mesh.h5"), read_trajectory(grown / "trajectory.h5")
    days = {day: on_day(trajectory, float(day)).max() for day in ("0", "15.5", "40")}
    regions = {"whole": summary["thresholds"]["oedema"], "core": summary["thresholds"]["core"]}
    shapes = {f"surface_{r}_day-{d}.stl" for r, level in regions.items() for d, most in days.items() if most > level}
    assert names == {*files, *images, *shapes, "dataset_description.json", ".oncology"}
    assert trajectory.mesh_fingerprint == mesh.fingerprint
    assert trajectory.density.shape == (len(trajectory.times), len(mesh.points))
    assert len(trajectory.times) >= 20
    assert trajectory.times[0] == -60.0
    assert {0.0, 15.5, 40.0} <= set(trajectory.times)
    assert trajectory.meta["proliferation"] == 0.02
    assert [frame["day"] for frame in summary["frames"]] == trajectory.times.tolist()
    assert summary["mesh"] == {"vertices": len(mesh.points), "cells": len(mesh.cells), "size_mm": 7.0}


def test_mass_grows_and_is_killed_as_the_laws_say(summary):
    """Diffusion keeps the mass, so that of exponential growth is known on every day."""
    therapy = Radiotherapy(10.0, 6.0, 3)
    days = np.array([frame["day"] for frame in summary["frames"]])
    fractions = (days[:, None] > np.array(therapy.days)).sum(axis=1)
    wanted = np.exp(0.02 * (days + 60.0)) * therapy.survival**fractions
    masses = np.array([frame["mass_mm3"] for frame in summary["frames"]])
    assert np.abs(masses / masses[0] / wanted - 1.0).max() < 1e-6
    assert masses[0] == pytest.approx(0.5 * 32.0 * np.pi / 105.0 * 6.5**3, rel=0.03)


def test_mass_and_volumes_are_those_of_the_trajectory(grown, summary):
    mesh, trajectory = read_mesh(grown / "mesh.h5"), read_trajectory(grown / "trajectory.h5")
    for frame, density in zip(summary["frames"], trajectory.density, strict=True):
        corners = density[mesh.cells]
        assert (corners.mean(axis=1) * mesh.volumes).sum() == pytest.approx(frame["mass_mm3"], rel=1e-5)
        for name, threshold in (("oedema", 0.25), ("core", 0.6)):
            volume = frame["volume_ml"][name] * 1e3
            surely, perhaps = ((corners > threshold).all(axis=1), (corners > threshold).any(axis=1))
            assert mesh.volumes[surely].sum() - 1e-6 <= volume <= mesh.volumes[perhaps].sum() + 1e-6
    low, high = summary["density_range"]
    assert low <= trajectory.density.min() + 1e-7
    assert high >= trajectory.density.max() - 1e-7


def test_images_show_the_trajectory_in_the_space_of_the_case(folder, grown):
    case = Case.read(folder / "sub-toy01")
    mesh, trajectory = read_mesh(grown / "mesh.h5"), read_trajectory(grown / "trajectory.h5")
    tissue = case.white.data + case.grey.data > 0.5
    for day in (0.0, 15.5, 40.0):
        image = read_volume(grown / f"density_day-{day:g}.nii.gz")
        assert image.same_grid(case.white)
        assert image.data.min() >= 0.0
        density = trajectory.density[trajectory.times == day][0]
        inside = sample(case.white.with_data(tissue.astype(float)), mesh.points) > 0.99
        difference = np.abs(sample(image, mesh.points[inside]) - density[inside])
        assert difference.mean() < 0.01 * density.max()
        mass = (density[mesh.cells].mean(axis=1) * mesh.volumes).sum()
        assert image.data.sum() * image.voxel_volume == pytest.approx(mass, rel=0.03)


def test_paraview_gets_every_frame(grown):
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonExecutionModel import vtkStreamingDemandDrivenPipeline
    from vtkmodules.vtkIOHDF import vtkHDFReader

    trajectory = read_trajectory(grown / "trajectory.h5")
    reader = vtkHDFReader()
    reader.SetFileName(str(grown / "series.vtkhdf"))
    reader.UpdateInformation()
    assert reader.GetOutputInformation(0).Get(vtkStreamingDemandDrivenPipeline.TIME_STEPS()) == tuple(trajectory.times)
    reader.UpdateTimeStep(trajectory.times[-1])
    density = reader.GetOutput().GetPointData().GetArray("density")
    assert (vtk_to_numpy(density) == trajectory.density[-1]).all()


def test_the_settings_are_all_written(grown):
    config = tomllib.loads((grown / "config.toml").read_text())
    settings = config["settings"]
    assert config["command"] == "simulate"
    assert settings["seed"] == [-16.0, 12.0, 8.0]
    assert settings["days"] == [0.0, 15.5, 40.0]
    assert (settings["law"], settings["frames"], settings["size_mm"]) == ("exponential", 40, 7.0)
    assert config["ranks"] == 1
    assert {"oncology", "python", "numpy"} <= config["versions"].keys()


def test_a_pipe_hears_nothing_and_the_days_are_those_of_the_sessions(folder, capsys):
    words = [word for word in line(folder, "quiet", "--frames", "20") if word not in ("--diffusion-grey", "0.03")]
    assert cli.run(words) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    settings = tomllib.loads((folder / "quiet" / "config.toml").read_text())["settings"]
    assert settings["days"] == [0.0, 40.0]
    assert settings["diffusion_grey"] == pytest.approx(0.02)
    summary = json.loads((folder / "quiet" / "summary.json").read_text())
    assert -1e-3 < summary["density_range"][0]
    assert summary["density_range"][1] < 1.0 + 1e-3
    assert len(summary["frames"]) >= 20
    assert summary["notes"] == []


def test_inaccurate_steps_are_cut_and_a_note_says_so(folder, capsys):
    assert cli.run(line(folder, "cut", "--step", "100", "--frames", "2")) == 0
    notes = json.loads((folder / "cut" / "summary.json").read_text())["notes"]
    assert "steps of 100 day would be inaccurate" in notes[0]
    assert f"oncology: note: {notes[0]}\n" == capsys.readouterr().err


def test_two_ranks_give_the_same_on_a_given_mesh(folder, grown):
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.is_file() else shutil.which("mpiexec")
    if launcher is None:
        pytest.skip("no mpiexec here")
    words = [
        word for word in line(folder, "both", "--law", "exponential", "--days", "40", "0", "15.5") if word not in SIZE
    ]
    words += ["--mesh", str(grown / "mesh.h5")]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PMI", "OMPI_COMM", "MPI_LOCAL"))}
    command = [launcher, "-n", "2", sys.executable, "-m", "oncology", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment, cwd=ROOT)
    notes = [text for text in done.stderr.splitlines() if not text.startswith("oncology: note: exponential growth")]
    assert (done.returncode, notes, done.stdout) == (0, [], "")
    one, two = (read_trajectory(out / "trajectory.h5") for out in (grown, folder / "both"))
    assert one.mesh_fingerprint == two.mesh_fingerprint
    assert (one.times == two.times).all()
    assert np.abs(one.density - two.density).max() < 1e-6 * one.density.max()
    assert tomllib.loads((folder / "both" / "config.toml").read_text())["ranks"] == 2


def test_a_seed_outside_the_brain_is_told_the_nearest_tissue(folder, capsys):
    words = line(folder, "outside", "--frames", "2")
    words[words.index("-16")] = "70"
    assert cli.run(words) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    nearest = np.array([float(word) for word in text.partition("nearest tissue is at ")[2].split()[:3]])
    case = Case.read(folder / "sub-toy01")
    assert sample(case.white, nearest[None]) + sample(case.grey, nearest[None]) > 0.5
    tissue = case.white.world(np.argwhere(case.white.data + case.grey.data > 0.5))
    seed = np.array([70.0, 12.0, 8.0])
    assert np.linalg.norm(nearest - seed) == pytest.approx(np.linalg.norm(tissue - seed, axis=1).min(), abs=0.1)
    assert not (folder / "outside").exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--diffusion-white", "-0.1"), "--diffusion-white -0.1 is out of range: give a finite number, above 0"),
        (("--proliferation", "inf"), "--proliferation inf is out of range: give a finite number, 0 or more"),
        (("--seed-amplitude", "1.5"), "--seed-amplitude 1.5 is out of range"),
        (("--seed-radius", "0"), "--seed-radius 0 is out of range"),
        (("--step", "0"), "--step 0 is out of range"),
        (("--frames", "1"), "--frames 1 is out of range: give 2 to 1000"),
        (("--days", "nan"), "--days nan is not finite"),
        (("--days", "-70", "3"), "--onset -60 is not before day -70: give an earlier onset"),
        (("--onset", "20", "--days", "30"), "treatment on day 10 is not after the onset on day 20"),
        (("--ratio", "0.5"), "--ratio 0.5 and --diffusion-grey 0.03 say the same: give one of them"),
        (("--mesh", "mesh.h5"), "mesh.h5: a mesh has its own --size"),
        (("--law", "linear"), "linear"),
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


@pytest.mark.parametrize("damaged", [False, True])
def test_a_mesh_file_that_is_none(folder, capsys, damaged):
    path = folder / "broken.h5"
    if damaged:
        path.write_text("no mesh")
    words = [word for word in line(folder, "never") if word not in SIZE]
    assert cli.run([*words, "--mesh", str(path)]) == 2
    text = capsys.readouterr().err
    assert str(path) in text
    assert text.count("\n") == 1


def test_a_killed_run_leaves_no_results_and_running_again_works(folder):
    """Killed in the time loop: the mesh is in the cache by then."""
    cache, out = folder / "cache-of-killed", folder / "killed"
    command = [sys.executable, "-m", "oncology", *line(folder, "killed", "--frames", "1000", "--step", "0.01")]
    environment = {**os.environ, "ONCOLOGY_CACHE": str(cache)}
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120.0
    while not any(cache.glob("mesh-*.h5")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not out.exists()
    assert len(list(folder.glob("killed.tmp-*"))) == 1
    assert cli.run(line(folder, "killed", "--frames", "2")) == 0
    assert (out / "summary.json").is_file()
    assert not list(folder.glob("killed.tmp-*"))
