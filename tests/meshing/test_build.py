"""`build_mesh` on shapes of known volume, on every kind of grid, and on maps no mesh can be made of."""

import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from threadpoolctl import threadpool_limits

from oncology.errors import MeshError
from oncology.imaging.volume import Volume
from oncology.meshing import Grading, build_mesh
from oncology.meshing.topology import face_table
from tests.meshing.images import affine_of, ball_maps, ellipsoid, maps

ROUTES = ["stuffing", "lattice"]


@st.composite
def grids(draw):
    """Voxels of 0.8 to 2 mm, possibly anisotropic, on rotated and flipped axes."""
    voxels = np.array(draw(st.tuples(*[st.sampled_from([0.8, 1.0, 1.5, 2.0])] * 3)))
    turn = Rotation.from_euler("xyz", draw(st.tuples(*[st.floats(-180, 180)] * 3)), degrees=True).as_matrix()
    return affine_of(voxels, turn * np.array(draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))), reach=34.0)


@settings(max_examples=12, deadline=None)
@given(axes=st.tuples(*[st.floats(16.0, 28.0)] * 3), grid=grids(), route=st.sampled_from(ROUTES))
def test_ellipsoids_on_any_grid(axes, grid, route):
    white, grey = maps(ellipsoid(*axes), grid)
    mesh, report = build_mesh(white, grey, 4.0 if route == "stuffing" else 2.5, route)
    truth = 4 / 3 * np.pi * np.prod(axes)
    assert report.volume == pytest.approx(truth, rel=0.02)  # voxels alone miss it by up to 1 %
    assert report.smallest_cell > 0
    assert report.smallest_angle >= 12.0
    assert (report.components, report.overfull_faces, report.folded_faces, report.open_edges) == (1, 0, 0, 0)
    assert np.abs(mesh.points).max(axis=0) == pytest.approx(np.array(axes), abs=4.0)  # RAS axes, whatever the grid


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_blobs_give_valid_meshes(seed):
    rng = np.random.default_rng(seed)
    bumps, at = rng.uniform(8, 16, 6), rng.uniform(-12, 12, (6, 3))

    def blob(points):
        return np.max([r - np.linalg.norm(points - c, axis=1) for r, c in zip(bumps, at, strict=True)], axis=0)

    white, grey = maps(blob, affine_of(np.full(3, 1.0), np.eye(3), 32.0))
    try:
        _, report = build_mesh(white, grey, size=3.0, grading=Grading(at[0], fine_radius=8.0, far_size=5.0))
    except MeshError as error:
        assume("not connected" not in str(error))
        raise
    assert report.smallest_angle >= 12.0
    assert report.folded_faces == 0
    assert abs(report.volume_error) < 0.01


def test_symmetric_difference_of_a_ball_shrinks_with_the_size():
    white, grey = ball_maps(16.0, voxel=0.5)
    smooth, stairs = (
        [build_mesh(white, grey, size, route)[1].symmetric_difference for size in (6.0, 3.0, 1.5)] for route in ROUTES
    )
    assert stairs[1] < 0.7 * stairs[0]
    assert stairs[2] < 0.7 * stairs[1]
    assert smooth[2] < smooth[1] < smooth[0] < stairs[0] / 3
    assert smooth[2] < 3 / 16.0 * 0.5 / 4  # the staircase of the voxels themselves: at most a quarter voxel on average


@pytest.mark.parametrize(("route", "size"), [("stuffing", 3.0), ("lattice", 2.0)])
def test_tissue_fractions_keep_the_volume_of_each_tissue(route, size):
    white, grey = ball_maps(24.0, core=18.0)
    mesh, report = build_mesh(white, grey, size, route)
    core, shell = 4 / 3 * np.pi * 18.0**3, 4 / 3 * np.pi * (24.0**3 - 18.0**3)
    assert (mesh.white * mesh.volumes).sum() == pytest.approx(core, rel=0.01)
    assert (mesh.grey * mesh.volumes).sum() == pytest.approx(shell, rel=0.05)
    assert report.white_volume_error == pytest.approx(0, abs=0.01)
    distance = np.linalg.norm(mesh.points[mesh.cells].mean(axis=1), axis=1)
    assert mesh.white[distance < 14] == pytest.approx(1.0)
    assert mesh.grey[(distance > 20) & (distance < 22)] == pytest.approx(1.0, abs=0.35)


def test_grading_keeps_fine_cells_in_the_ball_and_saves_the_rest():
    white, grey = ball_maps(40.0)
    centre = np.array([10.0, 0.0, 0.0])
    fine, _ = build_mesh(white, grey, 3.0)
    graded, report = build_mesh(white, grey, 3.0, grading=Grading(centre, fine_radius=12.0, far_size=6.0))
    distance = np.linalg.norm(graded.points[graded.cells].mean(axis=1) - centre, axis=1)
    assert len(graded.cells) < 0.45 * len(fine.cells)
    assert np.median(graded.volumes[distance < 10]) == pytest.approx(np.median(fine.volumes), rel=0.01)
    assert np.quantile(graded.volumes[distance > 38], 0.9) > 6 * np.median(fine.volumes)
    assert report.smallest_angle >= 12.0


@pytest.mark.parametrize("route", ROUTES)
def test_box_cuts_the_brain_and_the_report_speaks_of_the_rest(route):
    white, grey = ball_maps(24.0)
    box = (np.array([-30.0, -30.0, 0.0]), np.full(3, 30.0))
    mesh, report = build_mesh(white, grey, 3.0, route, box=box)
    assert report.image_volume == pytest.approx(2 / 3 * np.pi * 24.0**3, rel=0.03)
    assert abs(report.volume_error) < 0.02
    assert mesh.points[:, 2].min() > -2.0
    assert mesh.white[np.abs(mesh.points[mesh.cells].mean(axis=1)).max(axis=1) < 12] == pytest.approx(1.0)


def test_box_keeps_the_piece_around_the_grading_not_the_largest():
    def dumbbell(points):
        big, small = (r - np.linalg.norm(points - [x, 0, 0], axis=1) for r, x in ((16.0, -16.0), (12.0, 16.0)))
        bridge = 3.0 - np.hypot(points[:, 1], points[:, 2])
        bridge[np.abs(points[:, 0]) > 16] = -1
        return np.max([big, small, bridge], axis=0)

    def gap(points):
        return np.where(np.abs(points[:, 0] - 2.5) < 0.6, -1.0, dumbbell(points))

    white, grey = maps(gap, affine_of(np.full(3, 1.0), np.eye(3), 36.0))
    with pytest.raises(MeshError, match="not connected"):
        build_mesh(white, grey, 3.0)
    near = Grading(np.array([16.0, 0.0, 0.0]), fine_radius=8.0, far_size=3.0)
    mesh, _ = build_mesh(white, grey, 3.0, grading=near, box=(np.full(3, -36.0), np.full(3, 36.0)))
    assert mesh.points[:, 0].min() > 0


def test_cavity_survives_and_small_pockets_are_filled():
    def hollow(points):
        hole = np.linalg.norm(points, axis=1) - 9.0
        pocket = np.linalg.norm(points - [16.0, 0, 0], axis=1) - 1.5
        return np.min([24.0 - np.linalg.norm(points, axis=1), hole, pocket], axis=0)

    white, grey = maps(hollow, affine_of(np.full(3, 1.0), np.eye(3), 28.0))
    mesh, report = build_mesh(white, grey, 3.0)
    assert report.fluid_inside == 0.0
    radius = np.linalg.norm(mesh.points[face_table(mesh.cells).boundary].mean(axis=1), axis=1)
    assert radius.min() == pytest.approx(9.0, abs=0.7)
    assert not ((radius > 12) & (radius < 20)).any()


def test_how_the_voxels_are_stored_does_not_matter():
    white, grey = ball_maps(16.0, core=12.0)
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = white.shape[0] - 1
    turned = [Volume(np.swapaxes(v.data[::-1], 1, 2), (v.affine @ flip)[:, [0, 2, 1, 3]]) for v in (white, grey)]
    mesh, report = build_mesh(white, grey, 3.0)
    other, same = build_mesh(*turned, 3.0)
    assert report.volume == pytest.approx(same.volume, rel=1e-6)
    assert other.points == pytest.approx(mesh.points, abs=1e-6)


@pytest.mark.parametrize("route", ROUTES)
def test_same_bytes_on_any_number_of_threads(route):
    white, grey = maps(ellipsoid(20.0, 25.0, 16.0), affine_of(np.array([1.0, 1.2, 0.9]), np.eye(3), 30.0))
    prints = []
    for threads in (1, 2, 2):
        with threadpool_limits(threads):
            grading = Grading(np.array([5.0, 3.0, 1.0]), fine_radius=8.0, far_size=4.0)
            prints.append(build_mesh(white, grey, 2.5, route, grading)[0].fingerprint)
    assert len(set(prints)) == 1


@pytest.mark.parametrize("size", [0.0, -1.0, np.nan, np.inf])
def test_size_must_be_positive_and_finite(size):
    with pytest.raises(MeshError, match="give a finite edge length"):
        build_mesh(*ball_maps(10.0), size)


@pytest.mark.parametrize("route", ROUTES)
def test_empty_mask(route):
    white, grey = ball_maps(10.0)
    with pytest.raises(MeshError, match=r"no voxel has white \+ grey above 0\.5"):
        build_mesh(white.with_data(0 * white.data), grey, 3.0, route)


@pytest.mark.parametrize("route", ROUTES)
def test_size_larger_than_the_brain(route):
    with pytest.raises(MeshError, match="larger than the brain, whose smallest extent is 2") as caught:
        build_mesh(*ball_maps(10.0), 25.0, route)
    build_mesh(*ball_maps(10.0), advised(caught), route)


@pytest.mark.parametrize("route", ROUTES)
def test_sheet_thinner_than_the_size_names_a_size_that_works(route):
    def shell(points):
        return 1.6 - np.abs(np.linalg.norm(points, axis=1) - 20.0)

    white, grey = maps(shell, affine_of(np.full(3, 1.0), np.eye(3), 26.0))
    with pytest.raises(MeshError, match=r"try .* mm or less") as caught:
        build_mesh(white, grey, 12.0, route)
    build_mesh(white, grey, advised(caught), route)


def advised(caught):
    return float(re.findall(r"([\d.]+) mm", str(caught.value))[-1])


def test_size_too_small_for_memory():
    with pytest.raises(MeshError, match="give at least") as caught:
        build_mesh(*ball_maps(24.0), 0.1)
    assert "\n" not in str(caught.value)


def test_maps_on_different_grids():
    with pytest.raises(MeshError, match="different grids"):
        build_mesh(ball_maps(10.0)[0], ball_maps(12.0)[1], 3.0)


def test_box_without_brain_and_box_without_inside():
    white, grey = ball_maps(10.0)
    with pytest.raises(MeshError, match="no brain between"):
        build_mesh(white, grey, 3.0, box=(np.full(3, 50.0), np.full(3, 60.0)))
    with pytest.raises(MeshError, match="has no inside"):
        build_mesh(white, grey, 3.0, box=(np.full(3, 5.0), np.full(3, -5.0)))


def test_unknown_route_and_bad_grading():
    with pytest.raises(MeshError, match="stuffing, lattice"):
        build_mesh(*ball_maps(10.0), 3.0, route="delaunay")
    with pytest.raises(MeshError, match="fine_radius"):
        Grading(np.zeros(3), fine_radius=0.0, far_size=3.0)
    with pytest.raises(MeshError, match="below the mesh size"):
        build_mesh(*ball_maps(10.0), 3.0, grading=Grading(np.zeros(3), fine_radius=5.0, far_size=2.0))
