"""Recipes, and the ready mesh that one of them made."""

from pathlib import Path

import numpy as np
import pytest
from nilearn import datasets

from oncology.errors import ConfigError, MeshError
from oncology.imaging.volume import Volume
from oncology.meshing import read_mesh, read_quality, read_recipe

MESHES = Path(__file__).parents[2] / "meshes"


def test_ready_mesh_is_what_its_recipe_makes():
    images = [datasets.load_mni152_wm_template(resolution=1), datasets.load_mni152_gm_template(resolution=1)]
    white, grey = (Volume(np.asarray(i.get_fdata(), dtype=np.float32), i.affine) for i in images)
    mesh, report = read_recipe(MESHES / "mni152-frontal.toml").build(white, grey)
    ready = read_mesh(MESHES / "mni152-frontal.h5")
    np.testing.assert_array_equal(ready.cells, mesh.cells)
    assert ready.points == pytest.approx(mesh.points, abs=1e-6)  # another processor may round otherwise
    assert ready.white == pytest.approx(mesh.white, abs=0.02)
    assert read_quality(MESHES / "mni152-frontal.h5")["smallest_angle"] == pytest.approx(
        report.smallest_angle, abs=1e-3
    )
    assert (MESHES / "mni152-frontal.h5").stat().st_size < 1_000_000


@pytest.mark.parametrize("path", sorted(MESHES.glob("*.toml")), ids=lambda p: p.stem)
def test_every_recipe_can_be_read(path):
    recipe = read_recipe(path)
    assert recipe.size > 0
    assert f"`{path.name}`" in (MESHES / "README.md").read_text()


def test_all_keys(tmp_path):
    text = """
size = 2
route = "lattice"
[grading]
centre = [1, 2.5, -3]
fine_radius = 20
far_size = 5.0
[box]
lower = [-10, -10, -10]
upper = [10, 10, 10]
"""
    (tmp_path / "recipe.toml").write_text(text)
    recipe = read_recipe(tmp_path / "recipe.toml")
    assert (recipe.size, recipe.route) == (2.0, "lattice")
    assert recipe.grading.centre.tolist() == [1.0, 2.5, -3.0]
    assert (recipe.grading.fine_radius, recipe.grading.far_size) == (20.0, 5.0)
    assert [corner.tolist() for corner in recipe.box] == [[-10.0] * 3, [10.0] * 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "missing key 'size'"),
        ("size = 2.5\nsise = 3", "unknown key 'sise'"),
        ("size = 'fine'", "give a number of mm"),
        ("size = true", "give a number of mm"),
        ("size = ", "not a TOML file"),
        ("size = 2.5\nroute = 'gmsh'", "stuffing, lattice"),
        ("size = 2.5\nbox = 3", "expected a table"),
        ("size = 2.5\n[box]\nlower = [0, 0]\nupper = [1, 1, 1]", "three RAS coordinates"),
        ("size = 2.5\n[grading]\ncentre = [0, 0, 0]\nfar_size = 4", "missing key 'fine_radius'"),
    ],
)
def test_bad_recipes(tmp_path, text, message):
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_recipe(tmp_path / "recipe.toml")
    assert str(tmp_path / "recipe.toml") in str(caught.value)


def test_recipe_that_is_missing_or_out_of_range(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_recipe(tmp_path / "absent.toml")
    (tmp_path / "recipe.toml").write_text("size = 2\n[grading]\ncentre = [0, 0, 0]\nfine_radius = -1\nfar_size = 4")
    with pytest.raises(MeshError, match="fine_radius"):
        read_recipe(tmp_path / "recipe.toml")
