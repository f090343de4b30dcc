"""`mesh.h5`: what is written is what is read, damage is noticed, nothing is left half written."""

import h5py
import numpy as np
import pytest

from oncology.errors import MeshError, OutputError
from oncology.meshing import TetMesh, build_mesh, read_mesh, read_quality, write_mesh
from tests.meshing.images import ball_maps


@pytest.fixture(scope="module")
def built():
    return build_mesh(*ball_maps(10.0, core=7.0), size=3.0)


def test_round_trip(tmp_path, built):
    mesh, report = built
    write_mesh(tmp_path / "mesh.h5", mesh, report.as_dict())
    again = read_mesh(tmp_path / "mesh.h5")
    for name in ("points", "cells", "white", "grey"):
        np.testing.assert_array_equal(getattr(again, name), getattr(mesh, name))
    assert (again.size, again.route, again.fingerprint) == (mesh.size, mesh.route, mesh.fingerprint)
    assert read_quality(tmp_path / "mesh.h5") == report.as_dict()


def test_same_bytes_uncompressed_and_nothing_left_behind(tmp_path, built):
    for name in ("a.h5", "b.h5"):
        write_mesh(tmp_path / name, built[0])
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5"]
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["cells"].compression is None
        assert file["cells"].dtype == np.int64
    assert read_quality(tmp_path / "a.h5") is None


def test_fingerprint_depends_on_every_value(built):
    mesh = built[0]
    other = TetMesh(mesh.points, mesh.cells, mesh.white, np.nextafter(mesh.grey, 1), mesh.size, mesh.route)
    assert other.fingerprint != mesh.fingerprint


@pytest.mark.parametrize("damage", ["missing", "truncated", "text", "changed", "format", "dataset"])
def test_damaged_files(tmp_path, built, damage):
    path = tmp_path / "mesh.h5"
    if damage != "missing":
        write_mesh(path, built[0])
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    if damage == "text":
        path.write_text("not a mesh")
    if damage in ("changed", "format", "dataset"):
        with h5py.File(path, "r+") as file:
            if damage == "changed":
                file["white"][0] = 0.123
            if damage == "format":
                file.attrs["format"] = 99
            if damage == "dataset":
                del file["grey"]
    with pytest.raises(MeshError, match=r"mesh\.h5"):
        read_mesh(path)


def test_unwritable_folder(tmp_path, built):
    with pytest.raises(OutputError, match="cannot be written"):
        write_mesh(tmp_path / "nowhere" / "mesh.h5", built[0])


def test_arrays_that_do_not_belong_together(built):
    mesh = built[0]
    with pytest.raises(MeshError, match="shapes"):
        TetMesh(mesh.points, mesh.cells, mesh.white[:-1], mesh.grey, 3.0, "stuffing")
    with pytest.raises(MeshError, match="vertices"):
        TetMesh(mesh.points[:-1], mesh.cells, mesh.white, mesh.grey, 3.0, "stuffing")
    with pytest.raises(MeshError, match="route"):
        TetMesh(mesh.points, mesh.cells, mesh.white, mesh.grey, 3.0, "gmsh")
