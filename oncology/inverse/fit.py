"""The whole fit of one case: levels, identification, posterior, correction of the shape, final run.

An engine makes the levels. Coarse and fine level cover the neighbourhood of the tumour; the fine one reaches six
infiltration lengths beyond the segmentations, and where the density at the cut is not negligible after all, it is made
again with a wider margin.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oncology.errors import CaseError
from oncology.imaging.case import Case
from oncology.imaging.resample import sample
from oncology.inverse.field import FieldForward
from oncology.inverse.identify import COARSE_STAGES, Checkpoint, Identified, Level, Log, Save, identify
from oncology.inverse.misfit import MaskObservation, Observation
from oncology.inverse.parameters import Parametrisation, Prior
from oncology.inverse.patient import tumour_distance
from oncology.inverse.shape import GaussianLattice, fit_shape, lattice_points, overlap, reshaped
from oncology.inverse.start import default_prior, starting_points
from oncology.inverse.uncertainty import Posterior, posterior
from oncology.meshing import QualityReport, TetMesh
from oncology.model.cells import CellSpace
from oncology.model.growth import GrowthLaw, Logistic
from oncology.model.seed import Seed
from oncology.model.timegrid import TimeGrid

__all__ = ["CaseFit", "Engine", "FitSettings", "Growth", "PatientLevel", "Shape", "fit_case"]

Vector = NDArray[np.float64]

_COARSENING = 1.6  # coarse edge length over the fine one
_COARSE_MARGIN = 25.0  # mm
_MARGIN_LENGTHS = 6.0
_MARGIN_RANGE = (18.0, 45.0)  # mm
# Largest density at the cut, as a share of the lowest rim threshold: further out it only mirrors the front's tail.
_CUT = 0.3
# The solution moves by about h^2: from the fine mesh to none it moves by this share of what it moved between the two.
_REFINEMENT = 1.0 / (_COARSENING**2 - 1.0)
# A segmentation's rim, as a whole, is known to the standard deviation of a uniform error of one voxel.
_RIM_VOXELS = 12.0**-0.5
# Below this overlap with the whole tumour, one seed does not explain its shape.
_SINGLE_SEED = 0.9
# Its correction: growth times before the first scan (then lengths down to 2 sqrt(D/rho) still show), mm, mm.
_BEFORE_SCAN = 2.0
_SPACING, _AROUND = 10.0, 12.0


@dataclass(frozen=True)
class FitSettings:
    """Settings of a fit that no engine changes; the defaults suit any case.

    Attributes:
        size: edge length of the fine level's cells, mm.
        law: growth law.
        estimate_thresholds: treat the rim thresholds as unknown, with the given ones as prior medians.
        tracer: use the sessions' tracer images (FET-PET) too.
        shape: correct the density before the first scan where one seed does not explain the tumour's shape.
    """

    size: float = 2.5
    law: GrowthLaw = field(default_factory=Logistic)
    estimate_thresholds: bool = False
    tracer: bool = False
    shape: bool = True


class Growth(Protocol):
    """A forward run: its time grid, densities (owned,) on the observation days, and the range of all densities."""

    @property
    def grid(self) -> TimeGrid:
        """Its time grid."""

    @property
    def observations(self) -> tuple[Vector, ...]:
        """Density on each observation day, (owned,) each."""

    @property
    def lowest(self) -> float:
        """Smallest density of the run."""

    @property
    def highest(self) -> float:
        """Largest density of the run."""


class PatientLevel(Level, Protocol):
    """One mesh of a case with what it is compared to; vectors hold the vertices that this rank owns."""

    @property
    def mesh(self) -> TetMesh:
        """The mesh on which densities are P1 functions, on every rank."""

    @property
    def margin(self) -> float:
        """How far it reaches beyond every segmentation, mm; infinite where it cannot be made wider."""

    @property
    def quality(self) -> QualityReport | None:
        """Quality of the mesh, where it was measured."""

    @property
    def law(self) -> GrowthLaw:
        """Growth law."""

    @property
    def seed(self) -> Seed:
        """Shape of the seed."""

    @property
    def observations(self) -> tuple[Observation, ...]:
        """Segmented regions and tracer images on the cells of this rank."""

    @property
    def space(self) -> CellSpace:
        """The cells of this rank."""

    @property
    def points(self) -> Vector:
        """Owned vertices, (owned, 3), mm."""

    def grid(self, parameters: Vector, until: float | None = None) -> TimeGrid:
        """Return a time grid that suits a parameter vector; `until` a day before any session or treatment, if given."""

    def grow(self, rates: Vector, initial: Vector, grid: TimeGrid, record: list[Vector] | None = None) -> Growth:
        """Return the run from an initial density (owned,); `record` receives the density after every step."""

    def field(self, grid: TimeGrid) -> FieldForward:
        """Return the forward map of an initial density."""

    def gather(self, owned: Vector) -> Vector | None:
        """Return a density in the vertex order of the mesh on rank 0, None elsewhere."""

    def cut_density(self, densities: Vector) -> float:
        """Return the highest of densities at the cell vertices (m, 4) next to the artificial cut."""

    def destroy(self) -> None:
        """Free what the level holds (collective)."""


class Engine(Protocol):
    """Makes the levels of a case."""

    def level(self, case: Case, settings: FitSettings, size: float, margin: float, fine: bool) -> PatientLevel:
        """Return a level with cells of a size (mm) that reaches a margin (mm) beyond every segmentation."""

    @property
    def options(self) -> dict[str, object]:
        """What was chosen, as plain values; `engine` names the engine."""

    @property
    def versions(self) -> dict[str, str]:
        """Versions of what computes."""


@dataclass(frozen=True)
class Shape:
    """A correction of the single seed's density (`oncology.inverse.shape`).

    Attributes:
        day: day on which it acts.
        lattice: Gaussians.
        heights: (k,) their heights, log-odds.
    """

    day: float
    lattice: GaussianLattice
    heights: Vector


@dataclass(frozen=True)
class CaseFit:
    """Outcome of a fit.

    Attributes:
        identified: the estimate in scaled unknowns.
        parametrisation: their meaning.
        posterior: their distribution.
        prior: their prior.
        level: the fine level.
        run: final run with the estimate.
        days: day of every frame.
        frames: density of the final run after every step, (owned,) each, the start included.
        shape: correction of the density before the first scan, where one seed did not suffice.
        overlap: overlap of the whole tumour with one seed, 0..1.
        cut_density: highest density at the artificial cut.
        warnings: what the user should know, in sentences.
    """

    identified: Identified
    parametrisation: Parametrisation
    posterior: Posterior
    prior: Prior
    level: PatientLevel
    run: Growth
    days: Vector
    frames: list[Vector]
    shape: Shape | None
    overlap: float
    cut_density: float
    warnings: tuple[str, ...]


def fit_case(
    engine: Engine,
    case: Case,
    settings: FitSettings,
    log: Log = lambda stage, state, problem: None,
    save: Save = lambda checkpoint: None,
    resume: Checkpoint | None = None,
    tell: Callable[[str], None] = lambda text: None,
    corrections: int | None = None,
) -> CaseFit:
    """Identify one case (collective).

    Args:
        engine: makes the levels.
        case: the patient, on every rank.
        settings: of the fit.
        log: called at every accepted iterate.
        save: called at every accepted iterate with a checkpoint.
        resume: checkpoint to go on from.
        tell: called with what is going on, for progress.
        corrections: most steps on the fine level; None: until it has converged.

    Raises:
        CaseError: tracer images are asked for but missing.
        MeshError: where no mesh can be made.
        NumericalError: where the model cannot be run.
    """
    if settings.tracer and all(session.pet is None for session in case.sessions):
        raise CaseError(f"{case.root}: no session has a tracer image (pet/..._trc-FET_pet.nii.gz): fit without --pet")
    regions = ("whole", "core") if settings.estimate_thresholds else ()
    given = (case.thresholds.oedema, case.thresholds.core)[: len(regions)]
    parametrisation = Parametrisation(first_day(case), regions, settings.tracer)
    starts = starting_points(case, parametrisation, given)
    prior = default_prior(parametrisation, 3.0 * starts[0][3:6], given)
    levels: dict[str, PatientLevel] = {}

    def coarse() -> PatientLevel:
        tell("coarse mesh")
        levels["coarse"] = _coarse(engine, case, settings)
        return levels["coarse"]

    def fine(x: Vector, least: float = 0.0) -> PatientLevel:
        tell("fine mesh")
        length = float(np.exp(0.5 * (x[0] - x[2])))
        margin = max(float(np.clip(_MARGIN_LENGTHS * length, *_MARGIN_RANGE)), least)
        levels["fine"] = engine.level(case, settings, settings.size, margin, fine=True)
        return levels["fine"]

    identified = identify(parametrisation, coarse, fine, starts, prior, log, save, resume, corrections=corrections)
    level = levels["fine"]
    warnings: list[str] = []
    limit = _CUT * case.thresholds.oedema
    cut = _cut_density(level, identified)
    if cut > limit and math.isfinite(level.margin):
        tell("wider mesh")
        wider = 1.5 * level.margin
        level.destroy()
        here = Checkpoint(
            COARSE_STAGES, identified.x, identified.problem.noise, identified.coarse, identified.information.normal
        )
        again = identify(
            parametrisation, coarse, lambda x: fine(x, wider), starts, prior, log, save, here, corrections=corrections
        )
        identified = replace(
            again,
            iterations=identified.iterations + again.iterations,
            gradients=identified.gradients + again.gradients,
        )
        level = levels["fine"]
        cut = _cut_density(level, identified)
    if cut > limit:
        warnings.append(
            f"the density at the edge of the meshed region is {cut:.3f}: the tumour may reach beyond it; "
            "its parameters depend on that edge"
        )
    return _finish(engine, case, settings, parametrisation, prior, identified, levels, cut, warnings, tell)


def _cut_density(level: PatientLevel, identified: Identified) -> float:
    return level.cut_density(identified.problem.solve(identified.x).densities[-1])


def _coarse(engine: Engine, case: Case, settings: FitSettings) -> PatientLevel:
    return engine.level(case, settings, _COARSENING * settings.size, _COARSE_MARGIN, fine=False)


def first_day(case: Case) -> float:
    """Return the day of the first session or treatment: the end of the interval that starts at onset."""
    return min([case.sessions[0].day, *(treatment.day for treatment in case.treatments)])


def _finish(
    engine: Engine,
    case: Case,
    settings: FitSettings,
    parametrisation: Parametrisation,
    prior: Prior,
    identified: Identified,
    levels: dict[str, PatientLevel],
    cut: float,
    warnings: list[str],
    tell: Callable[[str], None],
) -> CaseFit:
    """Posterior, correction of the shape where one seed does not suffice, final run."""
    level, x = levels["fine"], identified.x
    rim_error = _RIM_VOXELS * float(np.mean([session.whole.voxel_sizes.mean() for session in case.sessions]))
    shift = _REFINEMENT * (x - identified.coarse)
    laplace = posterior(x, identified.information, prior, shift, rim_error)
    sums = np.array(
        [
            overlap(level.space.volumes, seen.residual + observation.fractions, observation.fractions)
            for observation, seen in identified.problem.observe(x)
            if isinstance(observation, MaskObservation) and observation.region == "whole"
        ]
    )
    both, either = level.space.total(sums).T
    single = float((both / either).min())
    values = parametrisation.physical(x)
    shape = None
    if settings.shape and single < _SINGLE_SEED:
        tell("shape of the tumour")
        if "coarse" not in levels:
            levels["coarse"] = _coarse(engine, case, settings)
        shape = _fit_shape(case, parametrisation, identified, levels)
        warnings.append(
            f"one seed explains the shape of the whole tumour only to an overlap of {single:.2f}: its density was "
            f"corrected on day {shape.day:.0f}; the parameters are those of the single seed"
        )
    if not identified.converged:
        warnings.append("the last full linearisation did not confirm the solution: treat the intervals with care")
    run, days, frames = _final_run(level, values, shape)
    if "coarse" in levels:
        levels["coarse"].destroy()
    return CaseFit(
        identified, parametrisation, laplace, prior, level, run, days, frames, shape, single, cut, tuple(warnings)
    )


def _final_run(level: PatientLevel, values: Vector, shape: Shape | None) -> tuple[Growth, Vector, list[Vector]]:
    """Return the run with the estimate, and the day and density of every step since onset."""
    start, onset = level.seed.density(level.points, values[3:6]), float(values[6])
    days, frames = np.empty(0), [start]
    if shape is not None:
        before = level.grid(values, until=shape.day)
        level.grow(values[:3], start, before, frames)
        start, onset = reshaped(frames[-1], shape.lattice.basis(level.points) @ shape.heights), shape.day
        days, frames = before.days[:-1], [*frames[:-1], start]
    grid = level.grid(_with_onset(values, onset))
    run = level.grow(values[:3], start, grid, frames)
    return run, np.concatenate([days, grid.days]), frames


def _fit_shape(
    case: Case, parametrisation: Parametrisation, identified: Identified, levels: dict[str, PatientLevel]
) -> Shape:
    """Fit the correction on the coarse mesh and polish it on the fine one."""
    values = parametrisation.physical(identified.x)
    day = max(parametrisation.first_day - _BEFORE_SCAN / values[2], values[6] + 0.5 / values[2])
    candidates = lattice_points(*levels["coarse"].box, _SPACING)
    near = sample(tumour_distance(case), candidates, outside=np.inf) <= _AROUND
    lattice = GaussianLattice(candidates[near], 0.5 * _SPACING)
    heights = None
    for name, sharpness, iterations in (("coarse", (10.0, 25.0, None), 15), ("fine", (None,), 6)):
        level = levels[name]
        seed = level.seed.density(level.points, values[3:6])
        until = level.grow(values[:3], seed, level.grid(values, until=day))
        heights = fit_shape(
            level.field(level.grid(_with_onset(values, day))),
            tuple(o for o in level.observations if isinstance(o, MaskObservation)),
            values[:3],
            until.observations[-1],
            lattice.basis(level.points),
            identified.problem.noise,
            heights,
            sharpness,
            iterations,
        ).heights
    assert heights is not None
    return Shape(float(day), lattice, heights)


def _with_onset(values: Vector, onset: float) -> Vector:
    changed = np.array(values)
    changed[6] = onset
    return changed
