"""The voxels of cells: their fractions are those of the samples, whatever the sizes of the cells."""

import numpy as np
import pytest

from oncology.imaging.resample import cell_average
from oncology.imaging.volume import Volume
from oncology.meshing.averaging import voxel_weights
from oncology.meshing.topology import cell_volumes, oriented


@pytest.mark.parametrize("size", [3.0, 7.0])
def test_weighted_voxels_are_cell_averages(size):
    """Averages of a random image by the weights are those of sampling it at the same points, 0 beyond the image."""
    rng = np.random.default_rng(2)
    image = Volume(rng.random((9, 10, 11)), np.diag([-1.0, 1.5, 1.2, 1.0]))
    lower, upper = image.bounds()
    corners = rng.uniform(lower - 2.0, upper + 2.0, size=(40, 1, 3))
    points = (corners + rng.uniform(0.0, size, size=(40, 4, 3))).reshape(-1, 3)
    cells = oriented(points, np.arange(160).reshape(40, 4))
    volumes = cell_volumes(points, cells)
    weights, used = voxel_weights(image, points, cells, volumes)
    values = np.where(used < 0, 0.0, image.data.ravel()[used])
    assert len(np.unique(used)) == len(used) and (used < 0).sum() == 1
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-12)
    for depth in (2, 3, 4):
        sampled = cell_average(image, points, cells, order=0, depth=depth)
        match = np.isclose(weights @ values, sampled, atol=1e-12)
        fine = np.cbrt(6.0 * np.sqrt(2.0) * volumes) / np.cbrt(image.voxel_volume)
        expected = np.clip(np.ceil(np.log2(np.maximum(fine, 1.0) / 1.5)), 1, 4) + 1 == depth
        assert match[expected].all()
