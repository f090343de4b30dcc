"""What other programs read of our files: VTK's own reader of VTKHDF, and meshio."""

import meshio
import numpy as np
import pytest
import pyvista as pv

from oncology.errors import InputError, OutputError
from oncology.meshing import TetMesh, build_mesh
from oncology.meshing.exported import export_mesh
from oncology.meshing.solid import solid_surface, write_stl
from oncology.meshing.vtkhdf import write_vtkhdf
from oncology.model.fractions import volume_fraction
from oncology.model.trajectory import Trajectory
from tests.meshing.images import ball_maps


@pytest.fixture(scope="module")
def mesh() -> TetMesh:
    return build_mesh(*ball_maps(10.0, core=7.0), 3.0)[0]


def series(mesh: TetMesh, dtype: type = np.float32) -> Trajectory:
    """A density that tells its vertex and its day."""
    times = np.array([-10.0, 0.0, 2.5, 40.0])
    return Trajectory(times, (mesh.points[:, 0] + times[:, None]).astype(dtype) / 100.0, mesh.fingerprint)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vtk_reads_every_step_and_the_mesh(tmp_path, mesh, dtype):
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonExecutionModel import vtkStreamingDemandDrivenPipeline
    from vtkmodules.vtkIOHDF import vtkHDFReader

    trajectory = series(mesh, dtype)
    write_vtkhdf(tmp_path / "series.vtkhdf", mesh, trajectory)
    reader = vtkHDFReader()
    reader.SetFileName(str(tmp_path / "series.vtkhdf"))
    reader.UpdateInformation()
    information = reader.GetOutputInformation(0)
    days = information.Get(vtkStreamingDemandDrivenPipeline.TIME_STEPS())
    assert days == tuple(trajectory.times)
    for day, density in zip(days, trajectory.density, strict=True):
        reader.UpdateTimeStep(day)
        grid = reader.GetOutput()
        assert grid.GetNumberOfCells() == len(mesh.cells)
        assert (vtk_to_numpy(grid.GetPoints().GetData()) == mesh.points).all()
        assert (vtk_to_numpy(grid.GetPointData().GetArray("density")) == density).all()
        assert (vtk_to_numpy(grid.GetCellData().GetArray("white")) == mesh.white).all()
        cells = vtk_to_numpy(grid.GetCells().GetConnectivityArray()).reshape(-1, 4)
        assert (cells == mesh.cells).all()
        assert {grid.GetCellType(cell) for cell in range(0, len(cells), 97)} == {10}
    assert [path.name for path in tmp_path.iterdir()] == ["series.vtkhdf"]


def test_a_trajectory_of_another_mesh_is_refused(tmp_path, mesh):
    other = Trajectory(np.array([0.0]), np.zeros((1, len(mesh.points))), "0" * 64)
    with pytest.raises(InputError, match="000000000000 does not belong"):
        write_vtkhdf(tmp_path / "series.vtkhdf", mesh, other)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".vtu", ".vtk", ".msh", ".mesh"])
def test_meshio_reads_back_what_was_exported(tmp_path, mesh, suffix):
    path = tmp_path / f"brain{suffix}"
    export_mesh(path, mesh)
    found = meshio.read(path)
    assert np.abs(found.points - mesh.points).max() < 1e-6
    assert (found.cells_dict["tetra"] == mesh.cells).all()
    if suffix != ".mesh":
        assert np.abs(found.cell_data["white"][0] - mesh.white).max() < 1e-6
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("radius", [6.0, 12.0])
def test_solids_are_closed_and_keep_the_volume_of_the_density(tmp_path, mesh, radius):
    """A ball that ends inside the mesh, and one that is cut by its surface: all of the mesh."""
    density = 1 / (1 + np.exp(np.linalg.norm(mesh.points, axis=1) - radius))
    points, triangles = solid_surface(mesh, density, 0.5)
    write_stl(tmp_path / "ball.stl", points, triangles)
    assert (tmp_path / "ball.stl").read_bytes()[:9] == b"SPACE=RAS"
    surface = pv.read(tmp_path / "ball.stl").clean()
    assert surface.n_open_edges == 0
    fraction = volume_fraction(density[mesh.cells], 0.5)[0]
    corners = points[triangles]
    signed = np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    assert signed == pytest.approx(fraction @ mesh.volumes, rel=1e-4)  # outwards, and exact for a P1 density
    assert surface.volume == pytest.approx(signed, rel=1e-4)


def test_where_a_level_is_never_reached_there_is_no_solid(mesh):
    points, triangles = solid_surface(mesh, np.zeros(len(mesh.points)), 0.25)
    assert not len(points) and not len(triangles)


def test_formats_and_places_that_cannot_be_written(tmp_path, mesh):
    with pytest.raises(OutputError, match=r"format '\.stl' is unknown: use one of \.vtu"):
        export_mesh(tmp_path / "brain.stl", mesh)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        export_mesh(tmp_path / "file" / "brain.vtu", mesh)
    with pytest.raises(OutputError, match="cannot be written"):
        write_vtkhdf(tmp_path / "file" / "series.vtkhdf", mesh, series(mesh))
