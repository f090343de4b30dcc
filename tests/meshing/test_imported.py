"""Meshes the user brings, written by meshio as gmsh and others write them."""

import meshio
import numpy as np
import pytest

from oncology.errors import MeshError
from oncology.meshing import TissueTags, build_mesh, import_mesh
from oncology.meshing.topology import face_table
from tests.meshing.images import affine_of, ball_maps, ellipsoid, maps


@pytest.fixture(scope="module")
def brain():
    return ball_maps(16.0, core=11.0)


@pytest.fixture(scope="module")
def ball(brain):
    return build_mesh(*brain, size=2.0)[0]


def write(path, mesh, tags=None, scale=1.0):
    """Like gmsh: an unused vertex first, surface triangles, lines, two tetrahedron blocks, one of them inside out."""
    points = np.concatenate([[[0.0, 0.0, 0.0]], mesh.points * scale])
    cells, triangles = mesh.cells + 1, face_table(mesh.cells).boundary + 1
    half = len(cells) // 2
    blocks = [("line", triangles[:5, :2]), ("triangle", triangles), ("tetra", cells[:half])]
    blocks.append(("tetra", cells[half:][:, [1, 0, 2, 3]]))
    data = {}
    if tags is not None:
        parts = [np.full(5, 8), np.full(len(triangles), 9), tags[:half], tags[half:]]
        data = {name: [np.asarray(p, dtype=np.int32) for p in parts] for name in ("gmsh:physical", "gmsh:geometrical")}
    extra = {"file_format": "gmsh22", "binary": False} if path.suffix == ".msh" else {}
    meshio.write(path, meshio.Mesh(points, blocks, cell_data=data), **extra)
    return path


@pytest.mark.parametrize("name", ["ball.msh", "ball.vtu", "ball.mesh"])
def test_without_tags_tissue_comes_from_the_maps(tmp_path, brain, ball, name):
    mesh, report = import_mesh(write(tmp_path / name, ball), *brain)
    assert mesh.route == "imported"
    assert mesh.points == pytest.approx(ball.points, abs=1e-6)
    assert mesh.volumes.min() > 0
    assert mesh.white == pytest.approx(ball.white, abs=0.13)  # one of eight samples may change its voxel
    assert mesh.size == pytest.approx(2.0, rel=0.1)
    assert report.components == 1


def test_with_tags_other_cells_are_left_out(tmp_path, ball):
    grid = affine_of(np.full(3, 1.0), np.eye(3), 20.0)

    def shell(points):
        return np.minimum(ellipsoid(16.0)(points), np.linalg.norm(points, axis=1) - 6.0)

    white, grey = maps(shell, grid, core=ellipsoid(11.0))
    radius = np.linalg.norm(ball.points[ball.cells].mean(axis=1), axis=1)
    tags = np.where(radius < 6.0, 3, np.where(radius < 11.0, 1, 2))  # fluid, white, grey
    mesh, report = import_mesh(write(tmp_path / "ball.msh", ball, tags), white, grey, TissueTags(white=(1,), grey=(2,)))
    assert len(mesh.cells) == (tags != 3).sum()
    assert set(np.unique(mesh.white)) == {0.0, 1.0}
    assert mesh.white + mesh.grey == pytest.approx(np.ones(len(mesh.cells)))
    assert abs(report.white_volume_error) < 0.05
    with pytest.raises(MeshError, match=r"found \[1, 2, 3\]"):
        import_mesh(tmp_path / "ball.msh", white, grey, TissueTags(white=(7,), grey=(8,)))
    with pytest.raises(MeshError, match="gmsh:physical"):
        import_mesh(tmp_path / "ball.msh", white, grey, TissueTags(white=(1,), grey=(2,), name="tissue"))


def test_lost_ventricle_is_refused(tmp_path, ball):
    def hollow(points):
        return np.minimum(ellipsoid(16.0)(points), np.linalg.norm(points, axis=1) - 8.0)

    white, grey = maps(hollow, affine_of(np.full(3, 1.0), np.eye(3), 20.0))
    with pytest.raises(MeshError, match="lost ventricles"):
        import_mesh(write(tmp_path / "ball.msh", ball), white, grey)


@pytest.mark.parametrize(("scale", "cure"), [(0.001, "metres"), (0.1, "centimetres"), (1e3, "micrometres")])
def test_units(tmp_path, brain, ball, scale, cure):
    with pytest.raises(MeshError, match=cure):
        import_mesh(write(tmp_path / "ball.vtu", ball, scale=scale), *brain)


def test_axes_of_another_convention(tmp_path, ball):
    shape, affine = affine_of(np.full(3, 1.0), np.eye(3), 20.0)
    affine[:3, 3] += [60.0, 50.0, 10.0]
    white, grey = maps(lambda x: ellipsoid(16.0)(x - [60.0, 50.0, 10.0]), (shape, affine))
    lps = ball.points + np.array([-60.0, -50.0, 10.0])
    meshio.write(tmp_path / "lps.vtu", meshio.Mesh(lps, [("tetra", ball.cells)]))
    with pytest.raises(MeshError, match="LPS"):
        import_mesh(tmp_path / "lps.vtu", white, grey)


def test_two_pieces_and_shared_faces_are_refused(tmp_path, brain, ball):
    radius = np.linalg.norm(ball.points[ball.cells].mean(axis=1), axis=1)
    apart = ball.cells[(radius < 4.0) | (radius > 7.0)]
    meshio.write(tmp_path / "apart.vtu", meshio.Mesh(ball.points, [("tetra", apart)]))
    with pytest.raises(MeshError, match="pieces"):
        import_mesh(tmp_path / "apart.vtu", *brain)
    doubled = np.concatenate([ball.cells, ball.cells[:10]])
    meshio.write(tmp_path / "doubled.vtu", meshio.Mesh(ball.points, [("tetra", doubled)]))
    with pytest.raises(MeshError, match=r"three or more cells|one side"):
        import_mesh(tmp_path / "doubled.vtu", *brain)


def test_files_that_are_no_mesh(tmp_path, brain, ball, capfd):
    with pytest.raises(MeshError, match="no such mesh file"):
        import_mesh(tmp_path / "absent.msh", *brain)
    for name in ("broken.vtu", "broken.msh", "broken.abc"):
        (tmp_path / name).write_text("no mesh at all")
        with pytest.raises(MeshError, match="cannot be read") as caught:
            import_mesh(tmp_path / name, *brain)
        assert "\n" not in str(caught.value)
    surface = meshio.Mesh(ball.points, [("triangle", face_table(ball.cells).boundary)])
    meshio.write(tmp_path / "surface.vtu", surface)
    with pytest.raises(MeshError, match="holds no tetrahedra"):
        import_mesh(tmp_path / "surface.vtu", *brain)
    assert capfd.readouterr() == ("", "")
