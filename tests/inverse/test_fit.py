"""The fit of a case on a closed-form engine: margins, first day, posterior, cut, and the final course."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest

from oncology.errors import CaseError
from oncology.imaging import Case
from oncology.inverse.fit import final_course, fit_case
from oncology.inverse.identify import identify
from oncology.inverse.levels import FitSettings, Level, level_of
from oncology.inverse.observe import FixedData
from oncology.inverse.shape import GaussianLattice, Shape
from oncology.inverse.start import default_prior
from oncology.inverse.uncertainty import posterior
from oncology.meshing import TetMesh
from oncology.meshing.engines import MeshedEngine
from oncology.model.cells import CellSpace
from oncology.model.growth import Logistic
from oncology.model.treatment import Radiotherapy
from oncology.model.tumour import Tumour
from tests.cases import Scan, write_case
from tests.inverse.expanding import Expanding, ExpandingRun, Front, Tissue, box

EVERYWHERE = Front(Tissue(middle=math.inf))  # white matter
VOXEL = 3.0  # mm


def case_of(folder, diffusion: float, rho: float, onset: float, **options) -> Case:
    """Spheres that the front of the closed form fills: z = 2 rho T - r sqrt(rho / D) and u = 1 / (1 + e^-z)."""
    scans = []
    for number, day in enumerate((0.0, 40.0)):
        whole, core = (
            (2.0 * rho * (day - onset) - math.log(u / (1.0 - u))) * math.sqrt(diffusion / rho) for u in (0.25, 0.60)
        )
        scans.append(Scan(f"ses-0{number + 1}", day, whole, core))
    return Case.read(write_case(folder, voxel=VOXEL, tumour_centre=(0.0, 0.0, 0.0), sessions=scans, **options))


@dataclass(frozen=True)
class OnMesh(Expanding):
    """The closed form with what a fit needs to know of an engine beside."""

    mesh: TetMesh = field(kw_only=True)
    law: Logistic = field(default_factory=Logistic)
    freed: list[float] = field(default_factory=list, kw_only=True)

    def destroy(self) -> None:
        self.freed.append(self.mesh.size)

    def run(self, tumour: Tumour, plan: tuple[float, ...], keep: bool = True, record=None) -> ExpandingRun:
        run = super().run(tumour, plan, keep)
        if record is not None:
            for day, density in zip((tumour.onset, *plan), (tumour.start(self.space), *run.densities), strict=True):
                record(day, density)
        return run


@dataclass
class ClosedForm:
    """Makes closed-form engines on one box, and keeps what was asked of it."""

    count: int = 11
    asked: list[tuple[float, float, bool]] = field(default_factory=list)
    freed: list[float] = field(default_factory=list)
    options: dict[str, object] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def make(self, case: Case, law, size: float, margin: float, fine: bool) -> MeshedEngine:
        self.asked.append((size, margin, fine))
        space = box(33.0, self.count if fine else 8)
        ones = np.ones(len(space.cells))
        mesh = TetMesh(space.points, space.cells, ones, 0.0 * ones, size, "lattice")
        return MeshedEngine(OnMesh(space, EVERYWHERE, mesh=mesh, freed=self.freed), margin)


SETTINGS = FitSettings(size=5.0, shape=False)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    case, engines = case_of(tmp_path_factory.mktemp("fit"), 0.3, 0.02, -90.0), ClosedForm(12)
    return case, engines, fit_case(engines, case, SETTINGS)


def test_the_fine_mesh_reaches_six_infiltration_lengths_beyond_the_scans(fitted):
    """sqrt(D / rho) = 3.9 mm; the coarse mesh is 1.6 times as coarse and reaches 25 mm."""
    _, engines, fit = fitted
    coarse, fine = engines.asked
    assert coarse == (8.0, 25.0, False)
    assert fine == (5.0, pytest.approx(6.0 * fit.unknowns.tumour(fit.identified.coarse).infiltration_length), True)
    assert fine[1] == pytest.approx(6.0 * math.sqrt(0.3 / 0.02), rel=0.2)
    assert fit.level.margin == fine[1] and fit.warnings == () and fit.overlap > 0.9 and fit.shape is None


@pytest.mark.parametrize(
    ("diffusion", "rho", "onset", "margin"), [(0.08, 0.04, -60.0, 18.0), (1.0, 0.012, -80.0, 45.0)], ids=["18", "45"]
)
def test_the_margin_stays_between_18_and_45_mm(tmp_path, diffusion, rho, onset, margin):
    engines = ClosedForm(8)
    fit_case(engines, case_of(tmp_path, diffusion, rho, onset), SETTINGS)
    assert engines.asked[1] == (5.0, margin, True)


@pytest.mark.parametrize(
    ("densities", "meshes", "warned"),
    [([0.074], 2, False), ([0.076, 0.01], 3, False), ([0.3, 0.1], 3, True)],
    ids=["negligible", "widened", "in vain"],
)
def test_a_density_at_the_cut_of_a_third_of_the_threshold_widens_the_mesh(
    tmp_path, monkeypatch, densities, meshes, warned
):
    found, seen, steps = iter(densities), [], []
    monkeypatch.setattr(Level, "cut_density", lambda self, density: seen.append(density) or next(found))
    engines = ClosedForm(8)
    case = case_of(tmp_path, 0.3, 0.02, -90.0)
    fit = fit_case(engines, case, SETTINGS, log=lambda stage, iteration, here: steps.append(iteration))
    np.testing.assert_array_equal(seen[-1], fit.identified.here.run.densities[1])
    assert fit.identified.iterations == sum(step > 0 for step in steps), "those of both meshes"
    assert fit.identified.gradients > len(steps)
    assert engines.freed == [5.0] * (meshes - 2) + [8.0], "only the level of the result is kept"
    margins = [margin for _, margin, fine in engines.asked if fine]
    assert len(engines.asked) == meshes
    assert margins[1:] == ([1.5 * margins[0]] if meshes == 3 else [])
    assert fit.level.margin == margins[-1] and fit.cut_density == densities[-1]
    assert any("at the edge of the meshed region is 0.100" in text for text in fit.warnings) == warned
    assert len(fit.warnings) == warned


def test_a_mesh_that_cannot_be_widened_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(Level, "cut_density", lambda self, density: 0.2)
    engines = ClosedForm(8)
    make = engines.make
    monkeypatch.setattr(engines, "make", lambda *asked: replace(make(*asked), margin=math.inf))
    fit = fit_case(engines, case_of(tmp_path, 0.3, 0.02, -90.0), SETTINGS)
    assert len(engines.asked) == 2 and "0.200" in fit.warnings[0]


def test_the_posterior_of_a_fit_counts_the_refinement(fitted):
    """Errors fall as h^2: the step to no mesh is 1 / (1.6^2 - 1) of that from the coarse to the fine one.

    And cells of 5 mm show the seed's radius to 0.75 mm.
    """
    _, _, fit = fitted
    found, step = fit.identified, fit.identified.x - fit.identified.coarse
    names = list(fit.unknowns.names)
    radius = 0.75 / fit.tumour.seed_radius * np.eye(len(names))[names.index("ln_seed_radius")]
    expected = posterior(found.x, found.information, fit.unknowns.prior, np.stack([step / 1.56, radius]))
    np.testing.assert_allclose(fit.posterior.covariance, expected.covariance, rtol=1e-12)
    np.testing.assert_allclose(fit.posterior.data_covariance, expected.data_covariance, rtol=1e-12)
    np.testing.assert_array_equal(fit.posterior.mean, found.x)
    assert (np.abs(step) > 1e-4).any(), "the meshes differ"


def test_the_closed_form_comes_back_with_its_course(fitted):
    """To the errors of a coarse mesh and of voxels."""
    case, _, fit = fitted
    assert fit.identified.converged
    assert fit.tumour.diffusion_white == pytest.approx(0.3, rel=0.2)
    assert fit.tumour.proliferation == pytest.approx(0.02, rel=0.15)
    assert np.linalg.norm(fit.tumour.seed) < 1.0
    course = fit.course
    assert course.days.tolist() == [fit.tumour.onset, *case.days]
    assert len(course.frames) == 3
    for frame, density in zip(course.frames[1:], course.run.densities, strict=True):
        np.testing.assert_array_equal(frame, density)


def test_the_overlap_is_the_smallest_dice_of_the_whole_tumour(fitted):
    _, _, fit = fitted
    volumes, dice = fit.level.space.volumes, []
    for mask in (o for o in fit.level.masks if o.region == "whole"):
        corners = fit.level.space.to_cells(fit.identified.here.run.densities[mask.index])
        model = mask.predict(corners, 0.25, None)[0]
        dice.append(2.0 * volumes @ np.minimum(model, mask.fractions) / (volumes @ (model + mask.fractions)))
    assert len(dice) == 2 and fit.overlap == pytest.approx(min(dice), rel=1e-9)


def test_a_solution_that_was_not_confirmed_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "oncology.inverse.fit.identify", lambda *args, **options: replace(identify(*args, **options), converged=False)
    )
    fit = fit_case(ClosedForm(8), case_of(tmp_path, 0.3, 0.02, -90.0), SETTINGS)
    assert len(fit.warnings) == 1 and "did not confirm the solution" in fit.warnings[0]


def test_a_treatment_before_the_first_scan_is_the_first_day(tmp_path):
    """The unknown duration then ends at the treatment: the onset comes back from there."""
    case = replace(case_of(tmp_path, 0.3, 0.02, -90.0), treatments=(Radiotherapy(-20.0, 2.0, 1),))
    fit = fit_case(ClosedForm(), case, SETTINGS)
    assert fit.unknowns.first_day == -20.0
    assert fit.tumour.onset == pytest.approx(-90.0, rel=0.15)
    assert fit.tumour.onset == pytest.approx(-20.0 - math.exp(fit.posterior.mean[6]))


def test_unknown_thresholds_and_the_seed_of_the_prior_come_from_the_case(tmp_path):
    case = case_of(tmp_path, 0.3, 0.02, -90.0)
    fit = fit_case(ClosedForm(8), case, replace(SETTINGS, estimate_thresholds=True))
    assert fit.unknowns.thresholds == ("whole", "core")
    seed = fit.unknowns.tumour(fit.unknowns.start).seed
    prior = default_prior(fit.unknowns, seed, {"whole": 0.25, "core": 0.60})
    np.testing.assert_allclose(fit.unknowns.prior.mean, prior.mean)
    np.testing.assert_allclose(fit.unknowns.prior.sd, prior.sd)
    np.testing.assert_allclose(seed, 0.0, atol=VOXEL)


@pytest.mark.parametrize(
    ("diffusion", "rho", "onset", "before"), [(0.3, 0.02, -90.0, None), (0.15, 0.06, -80.0, 2.0)], ids=["late", "early"]
)
def test_a_shape_that_one_seed_does_not_explain_is_corrected(tmp_path, monkeypatch, diffusion, rho, onset, before):
    """Two growth times before the first scan, but half a one after onset; Gaussians of 5 mm up to 12 mm away."""
    case, asked = case_of(tmp_path, diffusion, rho, onset), []

    def fitted_shape(engine, masks, days, unknowns, noise, sharpness, iterations):
        asked.append((len(engine.mesh.points), len(masks), days, sharpness, iterations, unknowns.tumour.onset))
        return SimpleNamespace(heights=np.full(len(unknowns.start), 0.1 * len(asked)))

    monkeypatch.setattr("oncology.inverse.fit.fit_shape", fitted_shape)
    monkeypatch.setattr("oncology.inverse.fit._whole_overlap", lambda identified: 0.899)
    engines = ClosedForm()
    fit = fit_case(engines, case, replace(SETTINGS, shape=True))
    assert fit.shape is not None and len(fit.warnings) == 1 and "only to an overlap of 0.90" in fit.warnings[0]
    growth = 1.0 / fit.tumour.proliferation
    assert fit.shape.day == pytest.approx(fit.tumour.onset + 0.5 * growth if before is None else -before * growth)
    assert [one[1:5] for one in asked] == [(4, (0.0, 40.0), (10.0, 25.0, None), 15), (4, (0.0, 40.0), (None,), 6)]
    assert asked[0][0] < asked[1][0], "first on the coarse mesh"
    assert {one[5] for one in asked} == {fit.shape.day} and (fit.shape.heights == 0.2).all()
    centres, width = fit.shape.lattice.centres, fit.shape.lattice.width
    assert width == 5.0 and np.diff(np.unique(centres[:, 0].round(6))).min() == pytest.approx(10.0)
    radius = (0.75 * case.sessions[1].whole.data.sum() * VOXEL**3 / math.pi) ** (1.0 / 3.0)
    assert radius + 6.0 < np.linalg.norm(centres, axis=1).max() <= radius + 12.0 + VOXEL
    assert fit.course.days[1] == fit.shape.day and len(engines.asked) == 2, "meshes are made once"


@pytest.mark.parametrize(("single", "shape"), [(0.9, True), (0.5, False)])
def test_a_shape_that_is_explained_or_not_asked_for_is_left(tmp_path, monkeypatch, single, shape):
    monkeypatch.setattr("oncology.inverse.fit._whole_overlap", lambda identified: single)
    fit = fit_case(ClosedForm(8), case_of(tmp_path, 0.3, 0.02, -90.0), replace(SETTINGS, shape=shape))
    assert fit.shape is None and fit.overlap == single and fit.warnings == ()


def test_tracers_that_are_not_there_are_told_before_anything_is_meshed(tmp_path):
    engines = ClosedForm()
    with pytest.raises(CaseError, match="no session has a tracer image"):
        fit_case(engines, case_of(tmp_path, 0.3, 0.02, -90.0), replace(SETTINGS, tracer=True))
    assert engines.asked == []


def level_on(space: CellSpace, cut: np.ndarray) -> Level:
    ones = np.ones(len(space.cells))
    mesh = TetMesh(space.points, space.cells, ones, 0.0 * ones, 5.0, "lattice")
    return Level(OnMesh(space, EVERYWHERE, mesh=mesh), 20.0, None, FixedData((0.0,), ()), cut)


def test_the_density_at_the_cut_is_the_highest_there_over_all_ranks():
    space = box(10.0, 2)
    cut = space.points[:, 0] > 9.0
    density = np.where(cut, 0.02 * (1.0 + space.points[:, 1] / 10.0), 0.9)
    assert level_on(space, cut).cut_density(density) == pytest.approx(0.04)
    seen: list[tuple[float, float]] = []
    other = replace(space, extremes=lambda low, high: seen.append((low, high)) or (low, max(high, 0.07)))
    assert level_on(other, cut).cut_density(density) == 0.07, "another rank has more"
    assert seen == [(0.0, pytest.approx(0.04))]
    assert level_on(space, np.zeros_like(cut)).cut_density(density) == 0.0


def test_the_cut_is_one_and_a_half_cells_wide(fitted):
    """Vertices further from every segmentation than the margin without 1.5 cells are next to the cut."""
    case, _, fit = fitted
    made = MeshedEngine(fit.level.engine, 12.0)
    level = level_of(made, case)
    radius = case.sessions[1].whole.world(np.argwhere(case.sessions[1].whole.data))
    reach = np.linalg.norm(radius, axis=1).max()
    away = np.linalg.norm(level.space.points, axis=1) - reach
    assert level.cut[away > 12.0 - 7.5 + 3.0].all()
    assert not level.cut[away < 12.0 - 7.5 - 3.0].any()


@dataclass
class Recorded:
    """An engine in which nothing happens; keeps what it was asked to run."""

    space: CellSpace
    runs: list[Tumour] = field(default_factory=list)

    def plan(self, tumour: Tumour, days: Sequence[float]) -> tuple[float, ...]:
        return (tumour.onset, *days)

    def run(self, tumour: Tumour, plan: tuple[float, ...], keep: bool, record) -> ExpandingRun:
        assert not keep, "a course is not linearised"
        self.runs.append(tumour)
        density = np.full(len(self.space.points), 0.3) if tumour.initial is None else tumour.initial
        for day in plan:
            record(day, density)
        return ExpandingRun(tumour, tuple(density for _ in plan[1:]), ())


def test_a_course_is_corrected_on_the_day_of_the_shape_and_goes_on_from_there():
    """logit u + sum of Gaussians: a height of 2 in the middle lifts 0.3 to 1 / (1 + e^-(logit 0.3 + 2))."""
    space, tumour = box(10.0, 2), Tumour(0.3, 0.03, 0.02, (0.0, 0.0, 0.0), -90.0)
    engine = Recorded(space)
    level = Level(engine, 20.0, None, FixedData((0.0, 40.0), ()), np.zeros(27, dtype=bool))
    plain = final_course(level, tumour, None, (0.0, 40.0))
    assert plain.days.tolist() == [-90.0, 0.0, 40.0] and len(plain.frames) == 3
    assert engine.runs == [tumour]

    shape = Shape(-30.0, GaussianLattice(np.zeros((1, 3)), 5.0), np.array([2.0]))
    course = final_course(level, tumour, shape, (0.0, 40.0))
    assert course.days.tolist() == [-90.0, -30.0, 0.0, 40.0] and len(course.frames) == 4
    later = engine.runs[-1]
    assert later.onset == -30.0 and later.initial is not None
    middle = np.linalg.norm(space.points, axis=1).argmin()
    lifted = 1.0 / (1.0 + math.exp(-(math.log(0.3 / 0.7) + 2.0)))
    assert later.initial[middle] == pytest.approx(lifted)
    np.testing.assert_array_equal(course.frames[1], later.initial)
    np.testing.assert_array_equal(course.frames[0], 0.3)
    np.testing.assert_array_equal(course.run.densities[-1], later.initial)
