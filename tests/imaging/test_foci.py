"""Foci of a segmentation: what counts as one, what as several, and one piece of brain that holds them all."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import KDTree

from oncology.errors import CaseError
from oncology.imaging import Case, Volume
from oncology.imaging.foci import find_foci, late_foci, seeded_foci
from oncology.imaging.neighbourhood import corridor, neighbourhood
from tests.cases import write_case
from tests.imaging.strategies import affines

AFFINE = np.diag([1.0, 2.0, 1.5, 1.0])


def balls(*placed, affine=AFFINE, shape=(80, 40, 40)) -> Volume:
    """A mask of balls, each (x, y, z, radius) in mm."""
    grid = Volume(np.zeros(shape, dtype=bool), affine)
    points = grid.world(np.argwhere(~grid.data))
    inside = [np.linalg.norm(points - ball[:3], axis=1) <= ball[3] for ball in placed]
    return grid.with_data(np.any(inside, axis=0).reshape(shape))


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15), st.integers(0, 15)), max_size=40), affines())
def test_foci_share_out_the_mask(voxels, affine):
    """Every voxel is in one focus, the largest come first, and no two are close to each other."""
    data = np.zeros((16, 16, 16), dtype=bool)
    for voxel in voxels:
        data[tuple(np.clip(np.array(voxel)[:, None] + [-1, 0], 0, None))] = True
    mask = Volume(data, affine)
    foci = find_foci(mask)
    assert len(foci) == 0 if not data.any() else len(foci) > 0
    np.testing.assert_array_equal(sum(f.region.data.astype(int) for f in foci) if foci else 0 * data, data)
    volumes = [focus.volume_ml for focus in foci]
    assert volumes == sorted(volumes, reverse=True)
    for k, focus in enumerate(foci):
        points = KDTree(mask.world(np.argwhere(focus.region.data)))
        for other in foci[:k]:
            assert points.query(mask.world(np.argwhere(other.region.data)))[0].min() > 5.0


@settings(max_examples=15)
@given(affines())
def test_centres_are_where_the_balls_are(affine):
    """Whatever the orientation of the image: two balls of different size, the larger one first."""
    shape = tuple(int(n) for n in np.ceil([90.0, 40.0, 40.0] / np.linalg.norm(affine[:3, :3], axis=0)))
    grid = Volume(np.zeros(shape, dtype=bool), affine)
    ends = grid.world(np.array([[0.22, 0.5, 0.5], [0.78, 0.5, 0.5]]) * (np.array(shape) - 1.0))
    mask = balls((*ends[0], 9.0), (*ends[1], 13.0), affine=affine, shape=shape)
    large, small = find_foci(mask)
    assert np.linalg.norm(large.centre - ends[1]) < 1.5 and np.linalg.norm(small.centre - ends[0]) < 1.5
    assert large.volume_ml == pytest.approx(4.0 / 3.0 * np.pi * 13.0**3 / 1e3, rel=0.15)


def test_pieces_close_to_each_other_are_one_focus():
    """Faces 4 mm apart across a sulcus; 9 mm apart they are two."""
    assert len(find_foci(balls((20, 40, 30, 8), (40, 40, 30, 8)))) == 1
    assert len(find_foci(balls((20, 40, 30, 8), (45, 40, 30, 8)))) == 2


def test_specks_belong_to_the_focus_they_are_next_to():
    near, far = (45, 40, 30, 3), (66, 40, 30, 3)  # .12 mL, 2 % of the largest
    foci = find_foci(balls((20, 40, 30, 11), near, far))
    assert len(foci) == 1 and foci[0].region.data[66, 20, 20]
    foci = find_foci(balls((14, 40, 30, 11), (57, 40, 30, 9), (38, 40, 30, 3)))
    assert len(foci) == 2 and foci[1].region.data[38, 20, 20] and not foci[0].region.data[38, 20, 20]


def test_equal_small_balls_are_no_specks_of_each_other():
    places = [(8.0 + 15.0 * i, 10.0 + 20.0 * j, 10.0 + 20.0 * k) for i in range(5) for j in (0, 1) for k in (0, 1)]
    assert len(find_foci(balls(*[(*place, 3.0) for place in places]))) == 20


def test_a_few_foci_are_fitted_and_many_refused(tmp_path):
    case = Case.read(write_case(tmp_path))
    first = case.sessions[0]

    def shown(*placed):
        return replace(case, sessions=(replace(first, whole=balls(*placed)), *case.sessions[1:]))

    five = [(10.0 + 15.0 * k, 40.0, 30.0, 4.0) for k in range(5)]
    assert len(seeded_foci(shown(*five))) == 5
    with pytest.raises(CaseError, match="6 separate foci, at most 5 are fitted: this looks like metastases") as caught:
        seeded_foci(shown(*five, (40.0, 70.0, 50.0, 4.0)))
    assert "leave one lesion in the segmentation" in str(caught.value)


def test_a_late_focus_is_far_from_what_was_seen_before():
    before, grown = (20, 40, 30, 8), (20, 40, 30, 10)
    assert late_foci(balls(before), balls(grown)) == ()
    assert late_foci(balls(before), balls(grown, (45, 40, 30, 7))) == ()  # 8 mm from what was seen
    (late,) = late_foci(balls(before), balls(grown, (60, 40, 30, 7)))
    assert np.linalg.norm(late.centre - [60, 40, 30]) < 1.0
    assert late_foci(balls(before), balls((60, 40, 30, 7))) == ()  # not registered


def two_foci(tmp_path, **options) -> Case:
    """Foci of 10 mm at x = -36 and 36 mm, which a margin of 12 mm leaves apart."""
    case = Case.read(write_case(tmp_path, voxel=2.0, tumour_centre=(-36.0, 0.0, 0.0), **options))
    points = case.white.world(np.argwhere(np.ones(case.white.shape)))
    other = (np.linalg.norm(points - [36.0, 0.0, 0.0], axis=1) < 10.0).reshape(case.white.shape)
    sessions = tuple(replace(s, whole=s.whole.with_data(s.whole.data | other)) for s in case.sessions)
    return replace(case, sessions=sessions)


def pieces_of(mask: np.ndarray) -> int:
    return int(ndimage.label(mask)[1])


def test_a_neighbourhood_holds_all_foci_in_one_piece(tmp_path):
    case = two_foci(tmp_path)
    near, tissue = case.tumour_distance.data <= 12.0, case.white.data + case.grey.data > 0.5
    assert len(case.foci) == 2 and pieces_of(near & tissue) == 2
    found = neighbourhood(case, 12.0)
    assert pieces_of(found & tissue) == 1 and found[near].all()
    added = (found & ~near).sum() * case.white.voxel_volume / 1e3
    assert 2.0 < added < 60.0, added  # a corridor, 10 mm long, and not the whole brain
    np.testing.assert_array_equal(neighbourhood(case, 40.0), case.tumour_distance.data <= 40.0)


def test_one_focus_has_no_corridor(tmp_path):
    case = Case.read(write_case(tmp_path))
    np.testing.assert_array_equal(neighbourhood(case, 12.0), case.tumour_distance.data <= 12.0)


def test_a_corridor_leads_around_fluid(tmp_path):
    """A ventricle of 14 mm radius lies between the foci."""
    case = two_foci(tmp_path, ventricle=14.0)
    tissue = case.white.data + case.grey.data > 0.5
    assert pieces_of(neighbourhood(case, 8.0) & tissue) == 1


def test_foci_that_no_tissue_connects(tmp_path):
    case = two_foci(tmp_path)
    cut = np.abs(case.white.world(np.argwhere(np.ones(case.white.shape)))[:, 0]).reshape(case.white.shape) < 5.0
    white, grey = (tissue.with_data(np.where(cut, 0.0, tissue.data)) for tissue in (case.white, case.grey))
    with pytest.raises(CaseError, match="no white or grey matter connects the focus at 36 0 0 mm"):
        neighbourhood(replace(case, white=white, grey=grey), 12.0)


def test_a_corridor_goes_where_blocks_of_three_millimetres_do_not():
    """A bridge one voxel thick is lost in blocks and found in voxels; without it there is no way."""
    tissue = np.ones((30, 12, 12), dtype=bool)
    tissue[12:18] = False
    tissue[12:18, 5, 5] = True
    start, end = np.zeros_like(tissue), np.zeros_like(tissue)
    start[2, 5, 5] = end[27, 5, 5] = True
    way = corridor(tissue, start, end, np.ones(3))
    assert way is not None and way[12:18, 5, 5].all() and not (way & ~tissue).any()
    tissue[15] = False
    assert corridor(tissue, start, end, np.ones(3)) is None
