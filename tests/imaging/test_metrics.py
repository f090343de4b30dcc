"""Overlap, volumes and surface distances against scipy and figures known by geometry."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import distance

from oncology.errors import ImageError
from oncology.imaging import Volume
from oncology.imaging.metrics import compare, dice, surface_area, surface_points, volume_ml

SIZES = np.array([1.0, 1.5, 2.0])


def mask(data: np.ndarray, affine: np.ndarray | None = None) -> Volume:
    return Volume(data, np.diag([*SIZES, 1.0]) if affine is None else affine)


def blobs(seed: int, share: float) -> np.ndarray:
    """Smooth random regions."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(18, 16, 14)), 2.0)
    return noise > np.quantile(noise, 1 - share)


@given(seed=st.integers(0, 1000), share=st.floats(0.02, 0.6))
def test_dice_is_scipys(seed, share):
    a, b = blobs(seed, share), blobs(seed + 1, 0.3)
    assert dice(a, b) == pytest.approx(1.0 - distance.dice(a.ravel(), b.ravel()), abs=1e-14)


def test_dice_of_nothing_is_not_one():
    nothing = np.zeros((3, 3, 3), dtype=bool)
    assert dice(nothing, nothing) is None
    assert dice(nothing, ~nothing) == 0.0


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), share=st.floats(0.02, 0.6))
def test_distances_are_those_of_the_distance_transform(seed, share):
    a, b = blobs(seed, share), blobs(seed + 1, 0.3)
    rims = [x & ~ndimage.binary_erosion(x) for x in (a, b)]
    there, back = (
        ndimage.distance_transform_edt(~target, sampling=SIZES)[source]
        for source, target in ((rims[0], rims[1]), (rims[1], rims[0]))
    )
    found = compare(mask(a), mask(b))
    assert found.hausdorff95 == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-12)
    assert found.mean_distance == pytest.approx(np.concatenate([there, back]).mean(), rel=1e-12)


def test_slabs_a_known_distance_apart():
    a, b = np.zeros((2, 12, 10, 10), dtype=bool)
    a[2:4], b[5:7] = True, True  # two layers each: 2 mm and 3 mm to the nearest layer of the other
    found = compare(mask(a), mask(b))
    assert (found.hausdorff95, found.mean_distance, found.dice) == (3.0, 2.5, 0.0)
    assert found.surface_dice == 0.5  # the layers 2 mm apart are within the longest edge of a voxel
    assert found.reference_ml == found.predicted_ml == pytest.approx(2 * 15.0 * 20.0 / 1000)


@pytest.mark.parametrize("voxel", [1.0, 0.5])
def test_balls_differ_by_their_radii(voxel):
    """The centres of rim voxels lie within a voxel of the true surface."""
    steps = round(20.0 / voxel)
    radius = voxel * np.linalg.norm(np.indices((2 * steps + 1,) * 3) - steps, axis=0)
    affine = np.diag([voxel, voxel, voxel, 1.0])
    found = compare(Volume(radius < 18.0, affine), Volume(radius < 12.0, affine))
    assert found.mean_distance == pytest.approx(6.0, abs=voxel)
    assert found.hausdorff95 == pytest.approx(6.0, abs=voxel)
    assert found.dice == pytest.approx(2 * 12**3 / (18**3 + 12**3), rel=0.01)


@pytest.mark.parametrize("sizes", [(1.0, 1.0, 1.0), (0.5, 1.0, 2.0)])
def test_the_area_of_a_ball_is_that_of_its_sphere(sizes):
    steps = np.round(22.0 / np.array(sizes)).astype(int)
    offsets = np.indices(2 * steps + 1).T - steps
    ball = np.linalg.norm(offsets * sizes, axis=-1).T < 20.0
    found = surface_area(Volume(ball, np.diag([*sizes, 1.0])))
    assert found == pytest.approx(4.0 * np.pi * 20.0**2, rel=0.02)
    assert surface_area(mask(np.zeros((3, 3, 3), dtype=bool))) == 0.0


def test_distances_do_not_depend_on_where_the_head_lies():
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * SIZES, (30.0, -20.0, 7.0)
    a, b = blobs(1, 0.2), blobs(2, 0.2)
    straight, turned = compare(mask(a), mask(b)), compare(mask(a, affine), mask(b, affine))
    assert turned.hausdorff95 == pytest.approx(straight.hausdorff95, rel=1e-10)
    assert turned.mean_distance == pytest.approx(straight.mean_distance, rel=1e-10)


def test_a_mask_at_the_edge_of_the_image_has_a_rim_there():
    full = mask(np.ones((3, 4, 5), dtype=bool))
    assert len(surface_points(full)) == 3 * 4 * 5 - 1 * 2 * 3
    assert volume_ml(full) == pytest.approx(60 * 3.0 / 1000)


def test_an_absent_region_has_no_distance():
    nothing = mask(np.zeros((4, 4, 4), dtype=bool))
    found = compare(nothing, mask(np.ones((4, 4, 4), dtype=bool)))
    assert (found.hausdorff95, found.mean_distance, found.surface_dice, found.dice) == (None, None, None, 0.0)


def test_other_grids_are_refused():
    with pytest.raises(ImageError, match="resample"):
        compare(mask(np.ones((4, 4, 4), dtype=bool)), Volume(np.ones((4, 4, 4), dtype=bool), np.eye(4)))
