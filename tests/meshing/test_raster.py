"""Rasterised P1 functions against the functions they interpolate, on grids with any affine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncology.imaging.volume import Volume
from oncology.meshing import Grading, build_mesh
from oncology.meshing.raster import locate, rasterise
from tests.imaging.strategies import affines
from tests.meshing.images import ball_maps, ellipsoid, maps

SIZE = 3.0


@pytest.fixture(scope="module")
def ball():
    """Maps of a ball of 15 mm and its mesh, finer on one side."""
    white, grey = ball_maps(15.0)
    mesh, _ = build_mesh(white, grey, SIZE, grading=Grading(np.array([6.0, 0.0, 0.0]), 6.0, 5.0))
    return white, mesh


def grid(affine, count=20):
    """A cube of voxels (or of their images under the affine) whose middle is at the origin."""
    affine = affine.copy()
    affine[:3, 3] = -affine[:3, :3] @ np.full(3, (count - 1) / 2)
    return Volume(np.zeros((count,) * 3), affine)


@settings(max_examples=25, deadline=None)
@given(affines(), st.tuples(*[st.floats(-1.0, 1.0)] * 4))
def test_linear_functions_are_exact_on_every_grid(ball, affine, slopes):
    _, mesh = ball
    like = grid(affine)
    found = locate(mesh.points, mesh.cells, like)
    data = found.image(mesh.points @ slopes[:3] + slopes[3])
    centres = like.world(np.stack(np.unravel_index(found.voxels, like.shape), axis=1))
    assert np.abs(data.ravel()[found.voxels] - centres @ slopes[:3] - slopes[3]).max(initial=0.0) < 1e-9
    assert np.count_nonzero(data) <= len(found.voxels)


def test_every_voxel_centre_in_the_mesh_and_no_other_is_covered(ball):
    _, mesh = ball
    like = grid(np.diag([2.3, 1.9, 2.1, 1.0]))
    covered = locate(mesh.points, mesh.cells, like).image(np.ones(len(mesh.points))) > 0.5
    centres = like.world(np.argwhere(np.ones(like.shape)))
    corners = mesh.points[mesh.cells]
    inside = np.zeros(len(centres), dtype=bool)
    for corner in corners:  # signed volumes of the four tetrahedra that each point makes with a cell's faces
        near = ((centres >= corner.min(axis=0)) & (centres <= corner.max(axis=0))).nonzero()[0]
        signs = np.ones(len(near), dtype=bool)
        for face, opposite in (((1, 2, 3), 0), ((0, 2, 3), 1), ((0, 1, 3), 2), ((0, 1, 2), 3)):
            a, b, c = corner[list(face)]
            normal = np.cross(b - a, c - a)
            signs &= (centres[near] - a) @ normal * ((corner[opposite] - a) @ normal) >= 0
        inside[near] |= signs
    assert (covered.ravel() == inside).all()
    assert inside.any()


def test_weights_lie_between_zero_and_one_and_sum_to_one(ball):
    white, mesh = ball
    found = locate(mesh.points, mesh.cells, white, white.data > 0.5)
    assert found.weights.min() > -1e-8
    assert np.abs(found.weights.sum(axis=1) - 1).max() < 1e-12
    assert len(np.unique(found.voxels)) == len(found.voxels)


def test_interpolation_is_of_second_order(ball):
    def error(size):
        white, grey = ball_maps(15.0)
        mesh, _ = build_mesh(white, grey, size)
        found = locate(mesh.points, mesh.cells, white)
        centres = white.world(np.stack(np.unravel_index(found.voxels, white.shape), axis=1))
        waves = (np.cos(p / 6.0).prod(axis=1) for p in (mesh.points, centres))
        return np.sqrt(np.mean((found.image(next(waves)).ravel()[found.voxels] - next(waves)) ** 2))

    sizes = np.array([3.6, 2.6, 1.8])
    slope = np.polyfit(np.log(sizes), np.log([error(size) for size in sizes]), 1)[0]
    assert slope > 1.8


def test_the_integral_is_kept():
    white, grey = maps(ellipsoid(14.0, 11.0, 12.0), ((60, 60, 60), grid(np.diag([0.6, 0.6, 0.6, 1.0]), 60).affine))
    mesh, _ = build_mesh(white, grey, 2.5)
    values = np.exp(-(mesh.points**2).sum(axis=1) / 50.0)
    wanted = (values[mesh.cells].mean(axis=1) * mesh.volumes).sum()
    assert rasterise(mesh.points, mesh.cells, values, white).sum() * white.voxel_volume == pytest.approx(
        wanted, rel=3e-3
    )


def test_tissue_near_the_mesh_takes_the_nearest_covered_value(ball):
    white, mesh = ball
    values = 1.0 + 0.01 * mesh.points[:, 0]
    bare = rasterise(mesh.points, mesh.cells, values, white)
    tissue = np.linalg.norm(white.world(np.argwhere(np.ones(white.shape))), axis=1).reshape(white.shape) < 18.0
    filled = rasterise(mesh.points, mesh.cells, values, white, tissue, reach=2.0)
    covered = bare > 0
    added = (filled > 0) & ~covered
    assert (filled[covered] == bare[covered]).all()
    assert added.any()
    assert not (added & ~tissue).any()
    sources = white.world(np.argwhere(covered))
    for voxel in np.argwhere(tissue & ~covered)[::40]:
        distance = np.linalg.norm(sources - white.world(voxel[None]), axis=1)
        nearest = bare[covered][distance < distance.min() + 1e-9]
        reached = distance.min() <= 2.0
        assert added[tuple(voxel)] == reached
        assert not reached or np.isclose(filled[tuple(voxel)], nearest).any()


@pytest.mark.parametrize("shift", [500.0, 17.0])
def test_images_beside_the_mesh_or_partly_on_it(ball, shift):
    white, mesh = ball
    affine = white.affine.copy()
    affine[0, 3] += shift
    like = Volume(white.data, affine)
    found = locate(mesh.points, mesh.cells, like, white.data > 0.5)
    assert (len(found.voxels) == 0) == (shift == 500.0)
    assert found.image(np.ones(len(mesh.points))).max() == pytest.approx(float(shift == 17.0))
