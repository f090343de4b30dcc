"""Both engines see the whole case: its tissue, its diffusion tensor, its treatments and their days."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oncology.imaging import Case
from oncology.meshing.engines import MeshedEngine
from oncology.model.growth import Exponential, Logistic
from oncology.model.treatment import Radiotherapy, Resection
from oncology.model.tumour import Tumour
from tests.cases import Scan, centres, grid, save, write_case

CENTRE = (-16.0, 12.0, 8.0)
TUMOUR = Tumour(0.25, 0.05, 0.03, CENTRE, onset=-100.0)
STILL = replace(TUMOUR, diffusion_white=1e-9, diffusion_grey=1e-9, proliferation=1e-9)


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    scans = [Scan("ses-01", 0.0, 14.0, 9.0), Scan("ses-02", 20.0, 20.0, 15.0), Scan("ses-03", 40.0, 24.0, 21.0)]
    folder = tmp_path_factory.mktemp("engines")
    return Case.read(write_case(folder, voxel=3.0, tumour_centre=CENTRE, sessions=scans))


@pytest.fixture(params=["fem", "voxel"])
def make(request, comm):
    """From a case and a law to an engine around the tumour."""
    if request.param == "voxel":
        engines = pytest.importorskip("oncology.voxel.patient", reason="needs torch").VoxelEngines()
    else:
        from oncology.fem.patient import FiniteElementEngines

        engines = FiniteElementEngines(comm, "lattice")

    def meshed(case: Case, law=None) -> MeshedEngine:
        return engines.make(case, law or Logistic(), 5.0, 20.0, fine=True)

    return meshed


def grown(made: MeshedEngine, tumour: Tumour, *days: float) -> tuple[np.ndarray, list[np.ndarray]]:
    """Distances of the vertices from the tumour's centre, mm, and densities on days."""
    engine = made.engine
    run = engine.run(tumour, engine.plan(tumour, days), keep=False)
    away = np.linalg.norm(engine.space.owned - np.array(CENTRE), axis=1)
    found = [u.copy() for u in run.densities]
    engine.destroy()
    return away, found


def test_a_tensor_turns_the_tumour(make, case):
    """With fast diffusion along x the whole tumour gets longer there, and narrower across."""
    tensor = np.zeros((*case.white.shape, 6), dtype=np.float32)
    tensor[..., [0, 3, 5]] = [3.0, 0.5, 0.5]
    widths = []
    for one in (case, replace(case, tensor=case.white.with_data(tensor))):
        made = make(one)
        points = made.engine.space.owned.copy()
        u = grown(made, TUMOUR, 0.0)[1][0]
        centred = points - np.average(points, axis=0, weights=u)
        widths.append(np.sqrt(np.average(centred**2, axis=0, weights=u)))
    assert widths[1][0] > 1.2 * widths[0][0]
    assert (widths[1][1:] < widths[0][1:]).all()


def emptied(make, case: Case, day: float, centre: np.ndarray, radius: float) -> None:
    """Without growth and diffusion a density stays what it is, until a ball around the centre is taken out on a day."""
    made = make(case)
    points = made.engine.space.owned
    start = 0.2 + 0.001 * points[:, 0]
    away = np.linalg.norm(points - centre, axis=1)
    inside, outside = away < radius - 4.0, away > radius + 4.0  # the image has voxels of 3 mm
    assert inside.any() and outside.sum() > 100
    _, (before, after, later) = grown(made, replace(STILL, initial=start), day - 1.0, day + 1.0, 50.0)
    np.testing.assert_allclose(before, start, atol=1e-6)
    np.testing.assert_allclose(after[inside], 0.0, atol=1e-6)
    np.testing.assert_allclose(after[outside], start[outside], atol=1e-6)
    np.testing.assert_allclose(later, after, atol=1e-6)


@pytest.mark.parametrize(("day", "radius"), [(10.0, 9.0), (30.0, 15.0)])
def test_a_resection_takes_out_the_core_of_the_last_session_before(make, case, day, radius):
    emptied(make, replace(case, treatments=(Resection(day),)), day, np.array(CENTRE), radius)


def test_a_given_cavity_is_what_is_taken_out(make, case, tmp_path):
    shape, affine = grid(3.0)
    middle = np.add(CENTRE, (9.0, -6.0, 0.0))
    near = np.linalg.norm(centres(shape, affine) - middle, axis=-1) < 9.0
    path = save(tmp_path / "cavity.nii.gz", near.astype(np.float32), affine)
    emptied(make, replace(case, treatments=(Resection(5.0, path),)), 5.0, middle, 9.0)


def test_radiotherapy_leaves_its_surviving_fraction_from_its_day_on(make, case):
    therapy = Radiotherapy(10.0, 4.0, 2)
    made = make(replace(case, treatments=(therapy,)))
    start = np.full(len(made.engine.space.owned), 0.3)
    _, found = grown(made, replace(STILL, initial=start), 9.5, 10.5, 11.5)
    for density, count in zip(found, (0, 1, 2), strict=True):
        np.testing.assert_allclose(density, 0.3 * therapy.survival**count, rtol=1e-6)


def test_growth_follows_the_law_that_was_chosen(make, case):
    """From a small uniform density without diffusion: e^(rho t) u of the exponential law, less of the logistic one."""
    made = [make(case, law) for law in (Exponential(), Logistic())]
    start = np.full(len(made[0].engine.space.owned), 0.05)
    tumour = replace(STILL, proliferation=0.02, initial=start)
    (_, (exponential,)), (_, (logistic,)) = (grown(one, tumour, 0.0) for one in made)
    growth = np.exp(0.02 * 100.0)
    np.testing.assert_allclose(exponential, 0.05 * growth, rtol=1e-6)
    np.testing.assert_allclose(logistic, 0.05 * growth / (1.0 + 0.05 * (growth - 1.0)), rtol=1e-6)


def test_every_frame_has_its_day(make, case):
    """Days of the record: onset first, every observation among them, in order; the densities are those of the run."""
    made = make(case)
    frames: list[tuple[float, np.ndarray]] = []
    plan = made.engine.plan(TUMOUR, (0.0, 40.0))
    run = made.engine.run(TUMOUR, plan, keep=False, record=lambda day, u: frames.append((day, u.copy())))
    days = [day for day, _ in frames]
    assert days[0] == -100.0 and days[-1] == pytest.approx(40.0) and days == sorted(days)
    for day, density in zip((0.0, 40.0), run.densities, strict=True):
        nearest = int(np.abs(np.array(days) - day).argmin())
        assert days[nearest] == pytest.approx(day, abs=1e-9)
        np.testing.assert_allclose(frames[nearest][1], density, atol=1e-12)
    np.testing.assert_allclose(frames[0][1], TUMOUR.start(made.engine.space), atol=1e-7)
    made.engine.destroy()
