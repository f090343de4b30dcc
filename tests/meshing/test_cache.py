"""The cache of meshes by content."""

import numpy as np
import pytest

from oncology.errors import MeshError
from oncology.meshing import Grading, cache, cached_mesh, mesh_key
from tests.meshing.images import ball_maps

GRADING = Grading(np.zeros(3), fine_radius=5.0, far_size=4.0)


def test_second_call_reads_the_file(tmp_path, monkeypatch):
    white, grey = ball_maps(10.0)
    first = cached_mesh(tmp_path / "cache", white, grey, 3.0, "stuffing", GRADING)

    def not_again(*_):
        raise AssertionError("built twice")

    monkeypatch.setattr(cache, "build_mesh", not_again)
    second = cached_mesh(tmp_path / "cache", white, grey, 3.0, "stuffing", GRADING)
    assert first[0].fingerprint == second[0].fingerprint
    assert first[1] == second[1]
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("keep", [0, 3000])
def test_damaged_file_is_built_again(tmp_path, keep):
    white, grey = ball_maps(10.0)
    first = cached_mesh(tmp_path, white, grey, 3.0)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    assert cached_mesh(tmp_path, white, grey, 3.0)[0].fingerprint == first[0].fingerprint
    assert path.read_bytes() == whole


def test_key_depends_on_every_input():
    white, grey = ball_maps(10.0)
    moved = type(white)(white.data, white.affine + np.eye(4)[:, [3, 0, 1, 2]] * 0.5)
    changed = white.with_data(np.where(np.arange(white.data.size).reshape(white.shape) == 7, 0.25, white.data))
    box = (np.full(3, -5.0), np.full(3, 20.0))
    keys = [
        mesh_key(white, grey, 3.0, "stuffing", None, None),
        mesh_key(grey, white, 3.0, "stuffing", None, None),
        mesh_key(moved, grey, 3.0, "stuffing", None, None),
        mesh_key(changed.with_data(changed.data.astype(np.float32)), grey, 3.0, "stuffing", None, None),
        mesh_key(white, grey, 3.5, "stuffing", None, None),
        mesh_key(white, grey, 3.0, "lattice", None, None),
        mesh_key(white, grey, 3.0, "stuffing", GRADING, None),
        mesh_key(white, grey, 3.0, "stuffing", Grading(GRADING.centre, 5.0, 4.5), None),
        mesh_key(white, grey, 3.0, "stuffing", None, box),
    ]
    assert len(set(keys)) == len(keys)


def test_errors_leave_no_file(tmp_path):
    white, grey = ball_maps(10.0)
    with pytest.raises(MeshError):
        cached_mesh(tmp_path, white, grey, 30.0)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("in the way")
    mesh, _ = cached_mesh(tmp_path / "file", white, grey, 3.0)
    assert len(mesh.cells), "a cache that cannot be written takes no mesh away"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
