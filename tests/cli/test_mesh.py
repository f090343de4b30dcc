"""`oncology mesh`: what it writes and prints, where it takes meshes from, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import meshio
import numpy as np
import pytest

from oncology.cli import main as cli
from oncology.imaging import Case
from oncology.meshing import read_mesh, read_quality, read_recipe
from oncology.results.folder import MARKER
from tests.cases import write_case

SIZE = ("--size", "8")
RECIPE = """
size = 9.0
route = "lattice"
[box]
lower = [-60.0, -30.0, -60.0]
upper = [20.0, 60.0, 60.0]
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run `oncology mesh` on a small case; return status, standard output and standard error."""
    monkeypatch.setenv("ONCOLOGY_CACHE", str(tmp_path / "cache"))
    case = write_case(tmp_path, voxel=5.0)

    def call(*words: str | Path, out: str = "mesh.h5") -> tuple[int, str, str]:
        status = cli.run(["mesh", str(case), "--out", str(tmp_path / out), *map(str, words)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def case(tmp_path, run) -> Case:
    return Case.read(tmp_path / "sub-toy01")


def edges(mesh) -> np.ndarray:
    """Mean edge length of each cell, mm."""
    corners = mesh.points[mesh.cells]
    pairs = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
    return np.mean([np.linalg.norm(corners[:, a] - corners[:, b], axis=1) for a, b in pairs], axis=0)


def test_the_mesh_is_fine_around_the_tumour_and_its_figures_are_printed_as_json(tmp_path, run):
    status, said, _ = run("--size", "5", "--json")
    assert status == 0
    mesh, figures = read_mesh(tmp_path / "mesh.h5"), json.loads(said)
    assert figures.pop("route") == mesh.route == "stuffing"
    assert figures.pop("size_mm") == mesh.size == 5.0
    assert figures == read_quality(tmp_path / "mesh.h5")
    distance = np.linalg.norm(mesh.points[mesh.cells].mean(axis=1) - [-16.0, 12.0, 8.0], axis=1)
    assert np.median(edges(mesh)[distance < 20.0]) == pytest.approx(5.0, rel=0.1)
    assert np.median(edges(mesh)[distance > 70.0]) == pytest.approx(8.0, rel=0.15)
    assert abs(figures["volume_error"]) < 0.01


def test_a_pipe_hears_nothing_and_a_terminal_sees_a_table(run, monkeypatch):
    assert run(*SIZE) == (0, "", "")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    status, said, _ = run(*SIZE, "--overwrite")
    assert status == 0
    for word in ("vertices", "dihedral", "white matter", "grey matter", "mesh or image only"):
        assert word in said


def test_uniform_and_lattice_meshes_have_one_size(tmp_path, run):
    assert run(*SIZE, "--uniform", out="a.h5")[0] == run(*SIZE, "--route", "lattice", out="b.h5")[0] == 0
    for name in ("a.h5", "b.h5"):
        assert np.quantile(edges(read_mesh(tmp_path / name)), 0.99) < 1.35 * 8.0


def test_the_neighbourhood_of_the_tumour_is_what_a_fit_meshes(tmp_path, run, case):
    from oncology.fem.patient import MeshChoice, make_mesh

    assert run(*SIZE, "--margin", "25")[0] == 0
    assert read_mesh(tmp_path / "mesh.h5").fingerprint == make_mesh(case, MeshChoice(8.0, margin=25.0))[0].fingerprint


def test_a_recipe_says_all(tmp_path, run, case):
    (tmp_path / "recipe.toml").write_text(RECIPE)
    assert run("--recipe", tmp_path / "recipe.toml")[0] == 0
    wanted = read_recipe(tmp_path / "recipe.toml").build(case.white, case.grey)[0]
    assert read_mesh(tmp_path / "mesh.h5").fingerprint == wanted.fingerprint


def test_what_is_exported_can_be_imported_with_and_without_tags(tmp_path, run):
    assert run(*SIZE, "--uniform", "--export", tmp_path / "brain.vtu")[0] == 0
    made, raw = read_mesh(tmp_path / "mesh.h5"), meshio.read(tmp_path / "brain.vtu")
    assert run("--import", tmp_path / "brain.vtu", out="again.h5")[0] == 0
    again = read_mesh(tmp_path / "again.h5")
    assert again.route == "imported"
    assert (again.cells == made.cells).all()
    assert np.abs(again.white - made.white).max() < 1e-6
    raw.cell_data = {"label": [np.where(made.white > 0.5, 7, 3)]}
    raw.write(tmp_path / "tagged.vtu")
    tags = ("--white-tags", "7", "--grey-tags", "3", "--tag-name", "label")
    assert run("--import", tmp_path / "tagged.vtu", *tags, out="tagged.h5")[0] == 0
    assert (read_mesh(tmp_path / "tagged.h5").white == (made.white > 0.5)).all()


def test_meshes_are_kept_and_taken_from_the_cache_unless_asked_not_to(tmp_path, run, monkeypatch):
    assert run(*SIZE, "--no-cache", out="a.h5")[0] == 0
    assert not (tmp_path / "cache").exists()
    assert run(*SIZE, out="b.h5")[0] == 0
    assert len(list((tmp_path / "cache").iterdir())) == 1
    monkeypatch.setattr("oncology.meshing.cache.build_mesh", None)
    assert run(*SIZE, out="c.h5")[0] == 0
    assert len({read_mesh(tmp_path / name).fingerprint for name in ("a.h5", "b.h5", "c.h5")}) == 1


def test_an_old_file_stays_until_a_new_one_is_whole(tmp_path, run):
    out = tmp_path / "mesh.h5"
    out.write_text("old")
    assert run(*SIZE)[0] == 2
    assert run("--size", "300", "--overwrite")[0] == 2
    assert out.read_text() == "old"
    assert run(*SIZE, "--overwrite", "--export", tmp_path / "new" / "brain.vtu")[0] == 0
    assert read_mesh(out).size == 8.0
    known = {"sub-toy01", "cache", "mesh.h5", "new"}
    assert {path.name for path in tmp_path.iterdir()} == known


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--size", "0"), "--size 0 mm is out of range"),
        (("--size", "nan"), "--size nan mm is out of range"),
        (("--margin", "-3"), "--margin -3 mm is out of range"),
        (("--size", "5", "--far-size", "3"), "far_size 3 mm is below the mesh size"),
        (("--far-size", "9", "--uniform"), "--far-size 9.0 leaves nothing to --uniform: give one or the other"),
        (("--recipe", "r.toml", "--size", "3"), "--recipe r.toml leaves nothing to --size"),
        (("--recipe", "missing.toml"), "missing.toml: cannot be read"),
        (("--import", "missing.vtu"), "missing.vtu: no such mesh file"),
        (("--import", "brain.vtu", "--route", "lattice"), "--import brain.vtu leaves nothing to --route"),
        (("--white-tags", "1"), "--white-tags belong to an imported mesh: give it by --import"),
        (("--export", "brain.stl"), "brain.stl: cannot be written with this suffix: end it in .vtu"),
        (("--box", "0", "0", "0", "-1", "5", "5"), "has no inside: give the lower corner first"),
    ],
)
def test_options_that_cannot_be_met(tmp_path, run, words, named):
    status, said, error = run(*words)
    assert (status, said) == (2, "")
    assert named in error
    assert error.count("\n") == 1
    assert not (tmp_path / "mesh.h5").exists()


@pytest.mark.parametrize(("out", "named"), [("mesh.vtu", "end it in .h5"), ("sub-toy01", "end it in .h5")])
def test_names_that_are_no_mesh_file(run, out, named):
    status, _, error = run(*SIZE, out=out)
    assert status == 2
    assert named in error


def test_a_cache_that_cannot_be_written_ends_nothing(tmp_path, run, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ONCOLOGY_CACHE", str(tmp_path / "file"))
    status, _, _ = run(*SIZE)
    assert status == 0
    assert (tmp_path / "mesh.h5").exists()
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"ONCOLOGY_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, Path("/a")),
        ({"XDG_CACHE_HOME": "/b"}, Path("/b/oncology")),
        ({}, Path.home() / ".cache" / "oncology"),
    ],
)
def test_the_cache_folder(monkeypatch, environment, folder):
    from oncology.meshing import default_cache

    for name in ("ONCOLOGY_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_cache() == folder


def test_other_outputs_of_this_package_are_no_place_for_a_mesh(tmp_path, run):
    (tmp_path / "mesh.h5").mkdir()
    (tmp_path / "mesh.h5" / MARKER).write_text("")
    status, _, error = run(*SIZE, "--overwrite")
    assert status == 2
    assert "is a folder; name a file" in error
