"""The radial map of the grading."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncology.meshing import Grading

SIZES = st.floats(0.5, 5.0)


@given(size=SIZES, factor=st.floats(1.0, 4.0), fine=st.floats(1.0, 40.0), radius=st.floats(0.0, 300.0))
def test_inward_is_the_inverse_of_outward(size, factor, fine, radius):
    grading = Grading(np.array([1.0, 2.0, 3.0]), fine, factor * size)
    point = grading.centre + np.array([[0.0, 0.6, 0.8]]) * grading.inward(radius, size)
    assert np.linalg.norm(grading.outward(point, size)[0] - grading.centre) == pytest.approx(radius, abs=1e-9)


@given(size=SIZES, factor=st.floats(1.0, 4.0), fine=st.floats(1.0, 40.0))
def test_size_is_fine_in_the_ball_and_grows_without_jumps_to_the_far_size(size, factor, fine):
    grading = Grading(np.zeros(3), fine, factor * size)
    sizes = grading.sizes(np.linspace(0, 100 * fine, 20001), size)
    assert sizes[:201] == pytest.approx(np.full(201, size))
    assert sizes[-1] == pytest.approx(factor * size)
    assert (np.diff(sizes) >= -1e-12).all()
    assert np.diff(sizes).max() <= 0.01 * size * factor
