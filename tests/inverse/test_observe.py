"""What images say on cells: masks of both regions, uptake above the background near the tumour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oncology.errors import CaseError
from oncology.imaging import Case
from oncology.inverse.misfit import TRACER, MaskObservation, TracerObservation
from oncology.inverse.observe import ScanData, observe
from oncology.model.cells import CellSpace
from tests.cases import Scan, write_case

CENTRE = np.array([-16.0, 12.0, 8.0])
WHOLE = 14.0  # mm, radius of the whole tumour


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    scans = (Scan("ses-01", 0.0, WHOLE, 7.0), Scan("ses-02", 40.0, WHOLE, 7.0))
    folder = tmp_path_factory.mktemp("observe")
    return Case.read(write_case(folder, voxel=2.0, tumour_centre=CENTRE, sessions=scans, thresholds=(0.3, 0.7)))


def cells_at(distances: list[float]) -> CellSpace:
    """Small tetrahedra at distances from the tumour's centre, mm."""
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.05
    middles = CENTRE + np.array(distances)[:, None] * np.array([0.0, 0.0, 1.0])
    points = (middles[:, None] + corners).reshape(-1, 3)
    return CellSpace(points, np.arange(len(points)).reshape(-1, 4), np.ones(len(distances)))


def test_masks_of_both_regions_of_every_session_have_their_thresholds(case):
    found = observe(case).on(cells_at([0.0, 10.0, 20.0]))
    assert all(isinstance(o, MaskObservation) for o in found)
    assert [(o.index, o.region, o.level, o.fractions.tolist()) for o in found] == [
        (0, "whole", 0.3, [1, 1, 0]),
        (0, "core", 0.7, [1, 0, 0]),
        (1, "whole", 0.3, [1, 1, 0]),
        (1, "core", 0.7, [1, 0, 0]),
    ]
    assert observe(case).days == (0.0, 40.0)
    # voxels of 2 mm: later sessions are registered to the first one to within a voxel
    assert [(o.errors.level, o.errors.bias) for o in found] == [(0.0, 0.0)] * 4
    assert [o.errors.shift for o in found] == pytest.approx([0.0, 0.0, 2.0 / np.sqrt(12.0), 2.0 / np.sqrt(12.0)])
    declared = replace(case, thresholds=replace(case.thresholds, sd=0.03), segmentation_bias=0.5)
    assert {(o.errors.level, o.errors.bias) for o in observe(declared).on(cells_at([0.0]))} == {(0.03, 0.5)}


def with_tracer(case: Case, background: float, height: float) -> Case:
    """Uptake in the second session: `height` in the tumour, a tenth more in its core, the background elsewhere."""
    first, session = case.sessions
    uptake = background + height * (session.whole.data + 0.1 * session.core.data)
    return replace(case, sessions=(first, replace(session, pet=session.whole.with_data(uptake))))


@pytest.mark.parametrize("background", [0.0, 5.0])
def test_uptake_is_measured_above_the_background_in_units_of_its_high_values(case, background):
    """Where the core is more than a twentieth of the tumour, the 95th percentile lies in it: at 1.1 heights."""
    data = ScanData(with_tracer(case, background, 20.0), tracer=True)
    (tracer,) = (o for o in data.on(cells_at([0.0, 10.0, 17.0, 22.0])) if isinstance(o, TracerObservation))
    np.testing.assert_allclose(tracer.uptake, [1.0, 1.0 / 1.1, 0.0, 0.0], atol=1e-6)
    assert tracer.support.tolist() == [0.5, 0.5, 0.5, 0.0], "5 mm around the tumour, at half the weight of a mask"
    assert (tracer.index, tracer.level, tracer.region) == (1, 1.0, TRACER)
    densities = np.array([[0.8] * 4, [0.2] * 4, [0.1] * 4, [0.9] * 4])
    seen = tracer.compare(densities, 0.5, None)
    expected = 0.5 * (densities[:3, 0] - 0.5 * tracer.uptake[:3])
    np.testing.assert_allclose(seen.residual[:, 0], [*expected, 0.0], atol=1e-12)


def test_the_background_is_that_of_the_brain_beyond_20_mm(case):
    """A warm ring around the tumour is neither background nor tumour."""
    made = with_tracer(case, 5.0, 20.0)
    session = made.sessions[1]
    away = np.linalg.norm(session.pet.world(np.argwhere(np.ones(session.pet.shape))) - CENTRE, axis=1)
    warm = np.where(
        (away.reshape(session.pet.shape) > WHOLE + 1.0) & (away.reshape(session.pet.shape) < 33.0), 9.0, 0.0
    )
    ring = replace(session, pet=session.pet.with_data(session.pet.data + warm))
    data = ScanData(replace(made, sessions=(made.sessions[0], ring)), tracer=True)
    tracer = data.on(cells_at([0.0]))[-1]
    assert isinstance(tracer, TracerObservation) and tracer.uptake[0] == pytest.approx(1.0, abs=1e-6)


def test_a_tumour_that_takes_up_no_more_than_the_brain_is_refused(case):
    with pytest.raises(CaseError, match=r"not above that of the healthy brain \(5\): fit without --pet"):
        ScanData(with_tracer(case, 5.0, 0.0), tracer=True).on(cells_at([0.0]))
    with pytest.raises(CaseError, match="no session has a tracer image"):
        observe(case, tracer=True)
    made = with_tracer(case, 5.0, 20.0)
    assert observe(made, tracer=True).tracer, "one session with an image is enough"
    assert len(observe(made).on(cells_at([0.0]))) == 4, "not asked for, not used"


def test_masks_are_not_smoothed_and_uptake_is(case):
    """At the edge a cell is inside or outside by its voxel, while the tracer is interpolated between voxels."""
    space = cells_at([13.2, 13.6, 14.4])
    whole = observe(case).on(space)[0]
    assert isinstance(whole, MaskObservation) and set(whole.fractions.tolist()) == {0.0, 1.0}
    tracer = ScanData(with_tracer(case, 0.0, 20.0), tracer=True).on(space)[-1]
    assert isinstance(tracer, TracerObservation)
    assert ((tracer.uptake > 0.0) & (tracer.uptake < 1.0 / 1.1 - 1e-6)).any()
