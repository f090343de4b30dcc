import json

import numpy as np
import pytest

from oncology.imaging import Case, Volume
from oncology.imaging.phantom import Phantom, grow_phantom, write_phantom_case

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
PHANTOM = Phantom(0.3, 0.03, 0.05, (40.0, 40.0, 40.0), -60.0, (0.0, 30.0), step=0.5, reach=60.0)


def _block(white: float, grey: float, n: int = 41) -> tuple[Volume, Volume]:
    return Volume(np.full((n, n, n), white), AFFINE), Volume(np.full((n, n, n), grey), AFFINE)


def test_a_homogeneous_phantom_is_symmetric_bounded_and_grows():
    densities = grow_phantom(*_block(1.0, 0.0), PHANTOM)
    for density in densities:
        assert density.data.min() >= 0.0 and density.data.max() <= 1.0
        np.testing.assert_allclose(density.data, density.data[::-1], atol=1e-14)
        np.testing.assert_allclose(density.data, density.data.transpose(2, 0, 1), atol=1e-14)
    assert densities[1].data.sum() > 2.0 * densities[0].data.sum()


def test_pure_diffusion_keeps_the_mass_and_spreads_as_a_gaussian():
    still = Phantom(0.3, 0.03, 0.0, (40.0, 40.0, 40.0), 0.0, (10.0, 30.0), reach=60.0)
    early, late = grow_phantom(*_block(1.0, 0.0), still)
    assert late.data.sum() == pytest.approx(early.data.sum(), rel=1e-12)
    x = early.world(np.argwhere(np.ones(early.shape, dtype=bool))) - 40.0
    spread = [(density.data.ravel() @ x[:, 0] ** 2) / density.data.sum() for density in (early, late)]
    # the variance of a diffusing density grows by 2 D t in each direction, whatever its shape
    assert spread[1] - spread[0] == pytest.approx(2 * 0.3 * 20.0, rel=1e-3)


def test_nothing_grows_outside_the_tissue():
    white, grey = _block(1.0, 0.0)
    white.data[:20] = 0.0
    density = grow_phantom(white, grey, PHANTOM)[1].data
    assert density[:20].max() == 0.0 < density[20:].max()


def test_the_case_folder_reads_back(tmp_path):
    white, grey = _block(0.0, 0.0)
    white.data[2:-2, 2:-2, 2:-2], grey.data[2:-2, 2:-2, 2:-2] = 0.7, 0.3
    densities = grow_phantom(white, grey, PHANTOM)
    root = tmp_path / "sub-p"
    write_phantom_case(root, "p", white, grey, PHANTOM, densities, "test")
    case = Case.read(root)
    assert [session.day for session in case.sessions] == [0.0, 30.0]
    np.testing.assert_array_equal(case.sessions[1].whole.data, densities[1].data > 0.25)
    np.testing.assert_array_equal(case.sessions[1].core.data, densities[1].data > 0.6)
    assert json.loads((root / "truth.json").read_text())["diffusion_white"] == 0.3
