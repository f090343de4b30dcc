"""Radiotherapy targets: against distances to every voxel, a plan of the field's own making, and counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from oncology.errors import ConfigError, ImageError
from oncology.imaging import Case, Volume, read_volume
from oncology.imaging.target import brain_mask, coverage, densest_target, margin_target, nearest_target, voxel_count
from tests.cases import write_case

SHAPE = (14, 12, 10)
SIZES = (2.0, 3.0, 2.5)


def image(data: np.ndarray) -> Volume:
    return Volume(data, np.diag([*SIZES, 1.0]))


def ball(radius: float, centre: tuple[float, float, float] = (14.0, 16.0, 12.0)) -> Volume:
    empty = image(np.zeros(SHAPE, dtype=bool))
    distance = np.linalg.norm(empty.world(np.argwhere(~empty.data)) - centre, axis=1)
    return empty.with_data(distance.reshape(SHAPE) <= radius)


def everywhere() -> Volume:
    return image(np.ones(SHAPE, dtype=bool))


def test_margin_is_a_distance_to_the_nearest_core_voxel_clipped_to_the_brain():
    core, brain = ball(5.0), ball(9.0, (17.0, 16.0, 12.0))
    centres = core.world(np.argwhere(np.ones(SHAPE)))
    distance, _ = cKDTree(core.world(np.argwhere(core.data))).query(centres)
    wanted = (distance.reshape(SHAPE) <= 6.1) & brain.data
    assert (margin_target(core, brain, 6.1).data == wanted).all()
    assert (wanted != (distance.reshape(SHAPE) <= 6.1)).any(), "the brain clips this margin"


def test_no_margin_is_the_core_itself():
    core = ball(6.0)
    assert (margin_target(core, everywhere(), 0.0).data == core.data).all()


@given(st.integers(1, int(np.prod(SHAPE))), st.integers(0, 10))
def test_targets_of_a_count_have_it_and_hold_the_densest(count, seed):
    density = np.random.default_rng(seed).random(SHAPE)
    target = densest_target(image(density), everywhere(), count).data
    assert target.sum() == count
    assert density[target].min() >= density[~target].max(initial=0.0)
    assert nearest_target(ball(5.0), everywhere(), count).data.sum() == count


@given(st.floats(0.0, 20.0))
def test_nearest_voxels_are_those_of_a_margin(margin):
    core, brain = ball(5.0), ball(15.0)
    wanted = margin_target(core, brain, margin)
    assert (nearest_target(core, brain, int(wanted.data.sum())).data == wanted.data).all()


def test_where_the_density_ends_the_nearest_voxels_follow():
    seen = ball(6.0)
    density = seen.with_data(np.where(seen.data, 0.3, 1e-9 * np.random.default_rng(1).random(SHAPE)))
    wanted = margin_target(seen, everywhere(), 4.0)
    assert (densest_target(density, everywhere(), int(wanted.data.sum())).data == wanted.data).all()


def test_coverage_is_the_share_of_the_recurrence_on_any_grid():
    recurrence = ball(7.0)
    half = recurrence.with_data(np.arange(SHAPE[0])[:, None, None] * np.ones(SHAPE) >= 7)
    assert coverage(recurrence, everywhere()) == 1.0
    assert coverage(recurrence, half) == (recurrence.data & half.data).sum() / recurrence.data.sum()
    affine = np.diag([0.5 * SIZES[0], *SIZES[1:], 1.0])
    affine[0, 3] = -0.25 * SIZES[0]  # the same half space: two voxels for each of the other grid
    fine = Volume(np.repeat(half.data, 2, axis=0), affine)
    assert coverage(recurrence, fine) == coverage(recurrence, half)


def test_volumes_are_counted_in_whole_voxels():
    assert voxel_count(1.5, everywhere()) == 100
    assert voxel_count(0.0151, everywhere()) == 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: margin_target(ball(5.0), everywhere(), -1.0), "margin -1 mm"),
        (lambda: margin_target(ball(5.0), everywhere(), np.inf), "margin inf mm"),
        (lambda: margin_target(image(np.zeros(SHAPE, bool)), everywhere()), "core is empty"),
        (lambda: densest_target(image(np.zeros(SHAPE)), everywhere(), 3), "density zero"),
        (lambda: nearest_target(ball(5.0), everywhere(), 10_000), "does not fit into the brain of 25.2 mL"),
        (lambda: voxel_count(0.0, everywhere()), "volume 0 mL"),
        (lambda: voxel_count(float("nan"), everywhere()), "volume nan mL"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make, words):
    with pytest.raises(ConfigError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_an_empty_recurrence_is_refused():
    with pytest.raises(ImageError, match="mask is empty"):
        coverage(image(np.zeros(SHAPE, bool)), everywhere())


def test_brain_holds_its_ventricle(tmp_path):
    case = Case.read(write_case(tmp_path, ventricle=9.0))
    like = case.sessions[0].whole
    brain = brain_mask(case.white, case.grey, like)
    assert brain.data[tuple(np.round(like.voxel([[0.0, 0.0, 0.0]])).astype(int)[0])]
    assert not brain.data[0].any() and not brain.data[:, :, -1].any()


def test_standard_plan_of_the_field(shared_cases):
    """The plan that came with the published case: 15 mm around its core, inside a brain mask we do not have."""
    root = shared_cases / "sub-gliodil001"
    case = Case.read(root)
    core = case.sessions[0].core
    path = root / "ses-01" / "plan" / "sub-gliodil001_ses-01_desc-standard15mm_mask.nii.gz"
    published = read_volume(path, dtype=None).data > 0
    ours = margin_target(core, brain_mask(case.white, case.grey, core)).data
    assert 2.0 * (ours & published).sum() / (ours.sum() + published.sum()) > 0.99
