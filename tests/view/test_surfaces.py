"""Surfaces of tissue: at the right place, thin enough, and still close after decimation."""

import numpy as np
import pytest
import pyvista as pv

from oncology.imaging import Volume
from oncology.view.surfaces import anatomy, decimated, enclosed, mask_surface, tissue_surface
from tests.cases import SEMI_AXES
from tests.view.balls import box_mesh

RADIUS = 40.0


def mesh_of(surface):
    return pv.PolyData.from_regular_faces(surface.points, surface.triangles.astype(np.int64))


@pytest.fixture(scope="module", params=[1.0, -1.0], ids=["right-handed", "left-handed"])
def ball(request):
    affine = np.diag([request.param * 1.5, 1.5, 1.5, 1.0])
    affine[:3, 3] = [-request.param * 50.0, -47.0, -52.0]
    image = Volume(np.zeros((68, 68, 68)), affine)
    r = np.linalg.norm(image.world(np.argwhere(image.data == 0)), axis=1)
    return tissue_surface(image.with_data(np.clip((RADIUS + 0.75 - r) / 1.5, 0.0, 1.0).reshape(image.shape)))


def test_a_ball_is_a_ball_seen_from_outside(ball):
    assert np.linalg.norm(ball.points, axis=1) == pytest.approx(np.full(len(ball.points), RADIUS), abs=0.3)
    corners = ball.points[ball.triangles].astype(float)
    signed = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert signed == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.01)


def test_decimation_keeps_the_bounds(ball):
    most = 3000
    thin = decimated(ball, most)
    assert 0.5 * most < len(thin.triangles) <= 1.02 * most < len(ball.triangles)
    _, nearest = mesh_of(thin).find_closest_cell(ball.points, return_closest_point=True)
    assert np.linalg.norm(ball.points - nearest, axis=1).max() < 0.6
    assert mesh_of(thin).volume == pytest.approx(mesh_of(ball).volume, rel=0.005)
    assert mesh_of(thin).is_manifold


def test_small_surfaces_are_left_as_they_are(ball):
    assert decimated(ball, len(ball.triangles)) is ball


def test_specks_are_left_out():
    data = np.zeros((60, 60, 60))
    data[10:50, 10:50, 10:50] = 1.0
    data[2:4, 2:4, 2:4] = 1.0
    surface = tissue_surface(Volume(data, np.eye(4)))
    assert surface.points.min() > 8.0


def test_brain_and_white_matter_of_a_case(toy):
    found = anatomy(box_mesh(10.0, 2), toy)
    assert set(found) == {"brain", "white"}
    reach = np.abs(found["brain"].points).max(axis=0)
    assert reach == pytest.approx(SEMI_AXES, abs=2.5)
    assert (np.abs(found["white"].points).max(axis=0) < reach).all()


def test_without_a_case_the_mesh_is_the_brain():
    found = anatomy(box_mesh(10.0, 3), None)
    assert set(found) == {"brain"}
    assert mesh_of(found["brain"]).volume == pytest.approx(20.0**3)
    assert len(found["brain"].points) == 4**3 - 2**3


@pytest.mark.parametrize("r", [3.0, 8.0, 20.0])
def test_masks_keep_their_volume(r):
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = [30.0, -30.0, -30.0]
    image = Volume(np.zeros((61, 61, 61)), affine)
    inside = np.linalg.norm(image.world(np.argwhere(image.data == 0)), axis=1) < r
    surface = mask_surface(image.with_data(inside.reshape(image.shape)))
    assert mesh_of(surface).is_manifold
    assert enclosed(surface) == pytest.approx(inside.sum(), rel=0.02)
    assert np.linalg.norm(surface.points, axis=1) == pytest.approx(np.full(len(surface.points), r), abs=0.8)


def test_an_empty_mask_has_no_surface():
    assert not len(mask_surface(Volume(np.zeros((4, 4, 4), dtype=bool), np.eye(4))).triangles)
