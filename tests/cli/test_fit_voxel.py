"""`oncology fit --engine voxel`: the files of the other engine, without FEniCS; what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from oncology.cli import main as cli
from oncology.imaging import Case, read_volume
from oncology.meshing import read_mesh
from oncology.model.trajectory import read_trajectory
from oncology.results.files import read_results
from tests.cases import write_case

pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("voxel")
    write_case(path, scan_voxel=3.0, scan_axes=np.diag([-1.0, -1.0, 1.0]))
    return path


def line(folder: Path, out: str, *words: str) -> list[str]:
    return ["fit", str(folder / "sub-toy01"), "--out", str(folder / out), "--size", "6", "--engine", "voxel", *words]


@pytest.fixture(scope="module")
def run(folder) -> subprocess.CompletedProcess[str]:
    """A run of its own process in which the finite elements' libraries cannot be imported."""
    hidden = "('dolfinx', 'dolfinx_solver', 'petsc4py', 'mpi4py', 'ufl', 'basix')"
    script = f"import sys; sys.modules.update(dict.fromkeys({hidden})); from oncology.cli.main import main; main()"
    command = [sys.executable, "-c", script, *line(folder, "out", "--device", "cpu")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=ROOT)


@pytest.fixture(scope="module")
def fitted(folder, run) -> Path:
    assert run.returncode == 0, run.stderr
    return folder / "out"


def test_a_pipe_hears_nothing(run):
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_the_contract_is_kept(folder, fitted):
    case = Case.read(folder / "sub-toy01")
    images = {"density_ses-01.nii.gz", "density_ses-02.nii.gz"}
    files = {"estimate.json", "trajectory.h5", "mesh.h5", "report.html", "log.jsonl", "log.txt", "config.toml"}
    files |= {"series.vtkhdf", "dataset_description.json"}
    files |= {f"surface_{region}_ses-0{k}.stl" for region in ("whole", "core") for k in (1, 2)}
    assert {path.name for path in fitted.iterdir()} == {*images, *files, ".oncology"}
    read_results(fitted, case)
    mesh, trajectory = read_mesh(fitted / "mesh.h5"), read_trajectory(fitted / "trajectory.h5")
    assert (mesh.route, trajectory.mesh_fingerprint) == ("voxel", mesh.fingerprint)
    assert trajectory.density.shape == (len(trajectory.times), len(mesh.points))
    assert trajectory.times[-1] == pytest.approx(40.0)
    mass = (trajectory.density[:, mesh.cells].mean(axis=2) * mesh.volumes).sum(axis=1)
    assert (np.diff(mass) > 0.0).all()
    config = tomllib.loads((fitted / "config.toml").read_text())
    settings = config["settings"]
    assert (settings["engine"], settings["device"], settings["precision"]) == ("voxel", "cpu", "double")
    assert {"oncology", "python", "torch"} <= config["versions"].keys()


def test_the_tumour_is_found(folder, fitted):
    estimate = json.loads((fitted / "estimate.json").read_text())
    assert (estimate["schema"], estimate["status"]) == (1, "converged")
    # radii 14 and 20 mm 40 days apart, and the middle of the spheres
    assert estimate["derived"]["front_speed"]["value"] == pytest.approx(0.15, rel=0.2)
    np.testing.assert_allclose(estimate["parameters"]["seed"]["value"], [-16.0, 12.0, 8.0], atol=1.5)
    assert min(regions["whole"] for regions in estimate["dice"].values()) > 0.9
    image = read_volume(fitted / "density_ses-02.nii.gz")
    assert image.same_grid(Case.read(folder / "sub-toy01").sessions[1].whole)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--mesh", "mesh.h5"), "--engine voxel has no use for --mesh"),
        (("--route", "lattice"), "--engine voxel has no use for --route"),
        (("--engine", "fem", "--precision", "single"), "--engine fem has no use for --precision"),
        (("--device", "cuda"), "finds no GPU here"),
    ],
)
def test_settings_that_do_not_belong(folder, capsys, words, named):
    if words[0] == "--device":
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a GPU here")
    base = line(folder, "never")
    if words[0] == "--engine":
        base = base[: base.index("--engine")]
    assert cli.run([*base, *words]) == 2
    text = capsys.readouterr().err
    assert named in text and text.count("\n") == 1
    assert not list(folder.glob("never*"))


def test_several_processes_are_refused(folder, capsys, monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "2")
    assert cli.run(line(folder, "never")) == 2
    assert "without mpiexec" in capsys.readouterr().err
