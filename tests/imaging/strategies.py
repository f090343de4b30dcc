"""Random affines and grids for the property tests."""

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation


@st.composite
def affines(draw: st.DrawFn, rotated: bool = True) -> np.ndarray:
    """Anisotropic voxels of 0.5 to 5 mm, permuted, flipped and (optionally) rotated axes, any origin."""
    sizes = draw(st.tuples(*[st.floats(0.5, 5.0)] * 3))
    axes = np.eye(3)[:, draw(st.permutations(range(3)))] * draw(st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3))
    if rotated:
        axes = Rotation.from_rotvec(draw(st.tuples(*[st.floats(-3.0, 3.0)] * 3))).as_matrix() @ axes
    affine = np.eye(4)
    affine[:3, :3] = axes * sizes
    affine[:3, 3] = draw(st.tuples(*[st.floats(-200.0, 200.0)] * 3))
    return affine


shapes = st.tuples(*[st.integers(2, 6)] * 3)
coefficients = st.tuples(*[st.floats(-3.0, 3.0)] * 4)
seeds = st.integers(0, 2**32 - 1)
