"""Images of a case at points: cavities inside and outside, from the right session; tensors of unit mean diffusivity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from oncology.imaging import Case
from oncology.imaging.placement import cavity_at, surviving_fractions, tensors_at
from oncology.imaging.volume import Volume
from oncology.model.treatment import Chemotherapy, Radiotherapy, Resection
from tests.cases import Scan, centres, grid, save, write_case

CENTRE = np.array([-16.0, 12.0, 8.0])
SCANS = (Scan("ses-01", 0.0, 14.0, 5.0), Scan("ses-02", 20.0, 16.0, 9.0), Scan("ses-03", 60.0, 18.0, 13.0))


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    """Three sessions whose cores have radii of 5, 9 and 13 mm."""
    folder = tmp_path_factory.mktemp("placement")
    return Case.read(write_case(folder, voxel=2.0, tumour_centre=CENTRE, sessions=SCANS))


def along_x(*distances: float) -> np.ndarray:
    """Points at distances from the tumour's centre, mm."""
    return CENTRE + np.array(distances)[:, None] * np.array([1.0, 0.0, 0.0])


def test_a_given_cavity_is_one_inside_and_zero_outside(tmp_path, case):
    """The file may say 1 or 255, and 0.4 is not inside; the sessions do not matter then."""
    shape, affine = grid(2.0)
    distance = np.linalg.norm(centres(shape, affine) - CENTRE, axis=-1)
    for value in (1.0, 255.0):
        path = save(tmp_path / "mask.nii.gz", np.where(distance < 20.0, value, 0.4).astype(np.float32), affine)
        resection = Resection(30.0, path)
        assert cavity_at(case, resection, along_x(0.0, 17.0, 23.0, 500.0)).tolist() == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("day", "radius"), [(10.0, 5.0), (20.0, 5.0), (20.5, 9.0), (40.0, 9.0), (60.0, 9.0), (70.0, 13.0)]
)
def test_without_a_mask_the_core_of_the_last_session_before_the_operation_is_taken_out(case, day, radius):
    inside, outside = cavity_at(case, Resection(day), along_x(radius - 2.5, radius + 2.5))
    assert (inside, outside) == (1.0, 0.0)


def test_what_survives_is_known_for_each_resection_by_its_number(case):
    treatments = (Radiotherapy(5.0, 2.0, 1), Resection(10.0), Chemotherapy(12.0, 0.1, 1.0), Resection(30.0))
    left = surviving_fractions(replace(case, treatments=treatments), along_x(0.0, 7.0, 12.0))
    assert {number: fraction.tolist() for number, fraction in left.items()} == {1: [0, 1, 1], 3: [0, 0, 1]}
    assert surviving_fractions(case, along_x(0.0)) == {}


def test_tensors_have_a_mean_diffusivity_of_one_and_are_the_identity_where_there_is_none():
    data = np.zeros((3, 1, 1, 6))
    data[0, 0, 0] = [3.0, 0.3, -0.2, 2.0, 0.1, 1.0]  # xx xy xz yy yz zz
    data[1, 0, 0] = 1e-4 * data[0, 0, 0]  # below a thousandth of the usual: noise
    found = tensors_at(
        Volume(data, np.diag([10.0, 10.0, 10.0, 1.0])), np.array([[0.0, 0, 0], [10.0, 0, 0], [20.0, 0, 0]])
    )
    expected = np.array([[3.0, 0.3, -0.2], [0.3, 2.0, 0.1], [-0.2, 0.1, 1.0]]) / 2.0
    np.testing.assert_allclose(found, [expected, np.eye(3), np.eye(3)], atol=1e-12)
    assert np.trace(found[0]) == pytest.approx(3.0)
    empty = tensors_at(Volume(np.zeros((3, 1, 1, 6)), np.eye(4)), np.zeros((1, 3)))
    np.testing.assert_array_equal(empty, [np.eye(3)])


@pytest.mark.parametrize(
    ("treatments", "first"),
    [((), 0.0), ((Radiotherapy(5.0, 2.0, 1),), 0.0), ((Resection(9.0), Chemotherapy(-12.0, 0.1, 1.0)), -12.0)],
)
def test_the_first_day_is_that_of_a_scan_or_of_an_earlier_treatment(case, treatments, first):
    assert replace(case, treatments=treatments).first_day == first
    assert case.days == (0.0, 20.0, 60.0)


def test_distances_are_those_from_the_union_of_all_segmentations(case):
    """The tumour of the last session holds the others: 18 mm around the centre."""
    distance = case.tumour_distance
    away = np.linalg.norm(distance.world(np.argwhere(np.ones(distance.shape))) - CENTRE, axis=1).reshape(distance.shape)
    assert (distance.data[away < 17.0] == 0.0).all()
    far = (away > 25.0) & (away < 40.0)
    np.testing.assert_allclose(distance.data[far], away[far] - 18.0, atol=2.0)


def test_distances_are_exact_near_the_tumour_and_never_too_large(case):
    """Against SciPy's transform of the whole grid; 50 mm around the segmentations is near."""
    union = np.logical_or.reduce([session.whole.data for session in case.sessions])
    exact = ndimage.distance_transform_edt(~union, sampling=case.white.voxel_sizes)
    found = case.tumour_distance.data
    np.testing.assert_allclose(found[exact <= 50.0], exact[exact <= 50.0], atol=1e-9)
    assert (found <= exact + 1e-9).all()
    assert (found[exact > 50.0] > 50.0).all()
    assert (exact > 60.0).any()


def test_a_mask_that_is_not_there_is_named(case):
    with pytest.raises(Exception, match="nowhere"):
        cavity_at(case, Resection(1.0, Path("/nowhere/mask.nii.gz")), along_x(0.0))
