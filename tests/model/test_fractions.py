"""Volume fractions of tetrahedra above a threshold, against sampling and symmetries."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from oncology.model.fractions import sigmoid_fraction, volume_fraction

VALUES = arrays(float, (5, 4), elements=st.floats(0.0, 1.0))


def test_volume_fraction_against_uniform_sampling():
    rng = np.random.default_rng(1)
    densities = rng.random((200, 4))
    weights = rng.dirichlet(np.ones(4), 200_000)
    for threshold in (0.16, 0.5, 0.8):
        sampled = (densities @ weights.T > threshold).mean(axis=1)
        np.testing.assert_allclose(volume_fraction(densities, threshold)[0], sampled, atol=6e-3)


@given(VALUES, st.floats(0.05, 0.95))
def test_volume_fraction_is_a_fraction_monotone_and_symmetric(densities, threshold):
    fraction, slope = volume_fraction(densities, threshold)
    assert np.all((fraction >= 0.0) & (fraction <= 1.0 + 1e-12))
    assert np.all(slope >= 0.0)
    complement = volume_fraction(1.0 - densities, 1.0 - threshold)[0]
    flat = np.abs(densities - threshold).min(axis=1) < 1e-6
    np.testing.assert_allclose((fraction + complement)[~flat], 1.0, atol=1e-9)


def test_flat_cells_have_finite_fractions():
    fraction, slope = volume_fraction(np.full((3, 4), 0.25), 0.25)
    assert np.all(fraction == 0.0) and np.all(slope == 0.0)
    fraction, slope = volume_fraction(0.25 + np.array([[1e-14, -1e-14, 1e-14, -1e-14]]), 0.25)
    assert np.isfinite(fraction).all() and np.isfinite(slope).all()


def test_sigmoid_is_one_half_at_the_threshold():
    fraction, _ = sigmoid_fraction(np.full((1, 4), 0.6), 0.6, 25.0)
    assert fraction[0] == 0.5
