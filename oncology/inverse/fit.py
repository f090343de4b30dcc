"""The whole fit of one case: levels, identification, posterior, correction of the shape, final run.

`Engines` make the levels. Coarse and fine level cover the neighbourhood of the tumour; the fine one reaches six
infiltration lengths beyond the segmentations, and where the density at the cut is not negligible after all, it is made
again with a wider margin.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from oncology.imaging.case import Case
from oncology.imaging.resample import sample
from oncology.inverse.centre import centred
from oncology.inverse.identify import COARSE_STAGES, Checkpoint, Identified, Log, Save, identify
from oncology.inverse.levels import FitSettings, Level, level_of
from oncology.inverse.misfit import MaskObservation
from oncology.inverse.observe import observe
from oncology.inverse.problem import Evaluated
from oncology.inverse.scalars import ScalarMap
from oncology.inverse.shape import GaussianLattice, LatticeMap, Shape, fit_shape, lattice_points, overlap, reshaped
from oncology.inverse.start import scalar_unknowns
from oncology.inverse.systematic import COARSENING, systematic_errors
from oncology.inverse.uncertainty import Posterior, posterior
from oncology.inverse.volumes import VolumeWatch, boundary_level
from oncology.meshing.engines import Engines
from oncology.model.engine import EngineRun
from oncology.model.tumour import Tumour

__all__ = ["CUT", "CaseFit", "Course", "FitSettings", "final_course", "fit_case"]

Vector = NDArray[np.float64]

_COARSE_MARGIN = 25.0  # mm
_MARGIN_LENGTHS = 6.0
_MARGIN_RANGE = (18.0, 45.0)  # mm
# Largest density at the cut, as a fraction of the lowest threshold: further out it only mirrors the front's tail.
CUT = 0.3
# Below this overlap with the whole tumour, one seed for each focus does not explain its shape.
_SINGLE_SEED = 0.9
# Its correction: growth times before the first scan (then lengths down to 2 sqrt(D/rho) still show), mm, mm.
_BEFORE_SCAN = 2.0
_SPACING, _AROUND = 10.0, 12.0


@dataclass(frozen=True)
class Course:
    """A tumour from onset to the last observation.

    Attributes:
        run: the last run, from onset or from the correction of the shape on.
        days: (nt,) day of every frame.
        frames: density (n,) of the owned vertices after every step, the start included.
    """

    run: EngineRun
    days: Vector
    frames: tuple[Vector, ...]


@dataclass(frozen=True)
class CaseFit:
    """Outcome of a fit.

    Attributes:
        identified: the estimate in scaled unknowns.
        unknowns: their meaning, with their prior.
        posterior: their distribution.
        level: the fine level.
        course: final run with the estimate.
        shape: correction of the density before the first scan, where one seed for each focus did not suffice.
        overlap: overlap of the whole tumour with what grew from the seeds, 0..1.
        cut_density: highest density at the artificial cut.
        warnings: what the user should know, in sentences.
    """

    identified: Identified
    unknowns: ScalarMap
    posterior: Posterior
    level: Level
    course: Course
    shape: Shape | None
    overlap: float
    cut_density: float
    warnings: tuple[str, ...]

    @property
    def tumour(self) -> Tumour:
        """The estimate."""
        return self.unknowns.tumour(self.posterior.mean)


def fit_case(
    engines: Engines,
    case: Case,
    settings: FitSettings,
    log: Log = lambda stage, iteration, here: None,
    save: Save = lambda checkpoint: None,
    resume: Checkpoint | None = None,
    tell: Callable[[str], None] = lambda text: None,
    corrections: int | None = None,
) -> CaseFit:
    """Identify one case (collective).

    Args:
        engines: makes the engine of each level.
        case: the patient, on every rank.
        settings: of the fit.
        log: called at every accepted iterate.
        save: called at every accepted iterate with a checkpoint.
        resume: checkpoint to go on from.
        tell: called with what is going on, for progress.
        corrections: most steps on the fine level; None: until it has converged.

    Raises:
        CaseError: tracer images are asked for but missing, or the tumour has too many foci.
        MeshError: where no mesh can be made.
        NumericalError: where the model cannot be run.
    """
    observe(case, settings.tracer)
    unknowns, starts = scalar_unknowns(case, settings.estimate_thresholds, settings.tracer, settings.seed_radius)
    levels: dict[str, Level] = {}

    def level(size: float, margin: float, fine: bool) -> Level:
        return level_of(engines.make(case, settings.law, size, margin, fine), case, settings.tracer)

    def coarse() -> Level:
        if "coarse" not in levels:
            tell("coarse mesh")
            levels["coarse"] = level(COARSENING * settings.size, _COARSE_MARGIN, fine=False)
        return levels["coarse"]

    def fine(x: Vector, least: float = 0.0) -> Level:
        tell("fine mesh")
        length = unknowns.tumour(x).infiltration_length
        margin = max(float(np.clip(_MARGIN_LENGTHS * length, *_MARGIN_RANGE)), least)
        levels["fine"] = level(settings.size, margin, fine=True)
        return levels["fine"]

    def centred_at(found: Identified) -> tuple[Identified, Vector]:
        offsets = systematic_errors(found, unknowns.names, settings.size, case.white_error)
        return centred(found, unknowns.prior, offsets, watch, log), offsets

    given = {"whole": case.thresholds.oedema, "core": case.thresholds.core}

    def watch(here: Evaluated) -> VolumeWatch:
        tell("uncertainty")
        levels = {region: boundary_level(unknowns, here.x, region, level) for region, level in given.items()}
        return VolumeWatch(here.problem.space, levels)

    identified, offsets = centred_at(
        identify(unknowns, coarse, fine, starts, log, save, resume, corrections=corrections, watch=watch)
    )
    warnings: list[str] = []
    limit = CUT * case.thresholds.oedema
    cut = levels["fine"].cut_density(identified.here.run.densities[-1])
    if cut > limit and math.isfinite(levels["fine"].margin):
        tell("wider mesh")
        wider = 1.5 * levels["fine"].margin
        levels["fine"].destroy()
        here = Checkpoint(
            COARSE_STAGES,
            identified.x,
            identified.here.problem.noise,
            identified.coarse,
            identified.information.normal,
        )
        again, offsets = centred_at(
            identify(
                unknowns,
                coarse,
                lambda x: fine(x, wider),
                starts,
                log,
                save,
                here,
                corrections=corrections,
                watch=watch,
            )
        )
        identified = replace(
            again,
            iterations=identified.iterations + again.iterations,
            gradients=identified.gradients + again.gradients,
        )
        cut = levels["fine"].cut_density(identified.here.run.densities[-1])
    if cut > limit:
        warnings.append(
            f"the density at the edge of the meshed region is {cut:.3f}: the tumour may reach beyond it; "
            "its parameters depend on that edge"
        )
    outcome = _finish(case, settings, unknowns, identified, offsets, levels["fine"], coarse, cut, warnings, tell)
    if "coarse" in levels:
        levels["coarse"].destroy()
    return outcome


def _finish(
    case: Case,
    settings: FitSettings,
    unknowns: ScalarMap,
    identified: Identified,
    offsets: Vector,
    level: Level,
    coarse: Callable[[], Level],
    cut: float,
    warnings: list[str],
    tell: Callable[[str], None],
) -> CaseFit:
    """Posterior, correction of the shape where the seeds do not suffice, final run."""
    x = identified.x
    laplace = posterior(x, identified.information, unknowns.prior, offsets)
    single = _whole_overlap(identified)
    tumour, shape = unknowns.tumour(x), None
    if settings.shape and single < _SINGLE_SEED:
        tell("shape of the tumour")
        shape = _corrected_shape(case, tumour, identified.here.problem.noise, (coarse(), level))
        seeds, which = ("one seed explains", "the single seed")
        if unknowns.foci > 1:
            seeds, which = (f"{unknowns.foci} seeds explain", "the seeds")
        warnings.append(
            f"{seeds} the shape of the whole tumour only to an overlap of {single:.2f}: its density was "
            f"corrected on day {shape.day:.0f}; the parameters are those of {which}"
        )
    rims = identified.information.rims
    if rims is not None and not rims.converged:
        warnings.append(
            "the residuals do not show how far the segmented boundaries are off; the intervals assume displacements "
            f"of {rims.tau:.1f} mm, correlated over {rims.length:.0f} mm"
        )
    if not identified.converged:
        warnings.append("the last full linearisation did not confirm the solution: treat the intervals with care")
    course = final_course(level, tumour, shape, case.days)
    return CaseFit(identified, unknowns, laplace, level, course, shape, single, cut, tuple(warnings))


def _whole_overlap(identified: Identified) -> float:
    """Return the smallest Dice overlap of the sessions, of cell fractions: of the whole tumour, or of cores alone."""
    here = identified.here
    space = here.problem.space
    regions = {observation.region for observation in here.problem.observations}
    region = "whole" if "whole" in regions else "core"
    sums = np.array(
        [
            overlap(space.volumes, seen.residual[:, 0] + observation.fractions, observation.fractions)
            for observation, seen in zip(here.problem.observations, here.seen, strict=True)
            if isinstance(observation, MaskObservation) and observation.region == region
        ]
    )
    both, either = space.total(sums).T
    return float((both / either).min())


def final_course(level: Level, tumour: Tumour, shape: Shape | None, days: tuple[float, ...]) -> Course:
    """Return the tumour from onset to the last of the days, corrected on the shape's day if there is one (collective).

    Args:
        level: mesh and engine.
        tumour: that grows from its seeds.
        shape: correction of its density.
        days: observation days, ascending.
    """
    engine = level.engine
    frames: list[tuple[float, Vector]] = []

    def record(day: float, density: Vector) -> None:
        frames.append((day, density))

    if shape is not None:
        before = engine.run(tumour, engine.plan(tumour, [shape.day]), keep=False, record=record)
        frames.pop()
        start = reshaped(before.densities[-1], shape.lattice.basis(level.space.owned) @ shape.heights)
        tumour = replace(tumour, onset=shape.day, initial=start)
    run = engine.run(tumour, engine.plan(tumour, days), keep=False, record=record)
    return Course(run, np.array([day for day, _ in frames]), tuple(density for _, density in frames))


def _corrected_shape(case: Case, tumour: Tumour, noise: float, levels: tuple[Level, Level]) -> Shape:
    """Fit the correction of the shape on the coarse mesh and polish it on the fine one."""
    rho = tumour.proliferation
    day = max(case.first_day - _BEFORE_SCAN / rho, tumour.onset + 0.5 / rho)
    candidates = lattice_points(*levels[0].space.bounds(), _SPACING)
    near = sample(case.tumour_distance, candidates, outside=np.inf) <= _AROUND
    lattice = GaussianLattice(candidates[near], 0.5 * _SPACING)
    heights = np.zeros(len(lattice.centres))
    for level, sharpness, iterations in zip(levels, ((10.0, 25.0, None), (None,)), (15, 6), strict=True):
        engine = level.engine
        until = engine.run(tumour, engine.plan(tumour, [day]), keep=False)
        unknowns = LatticeMap.of(lattice, level.space, replace(tumour, onset=day), until.densities[-1], heights)
        heights = fit_shape(engine, level.masks, case.days, unknowns, noise, sharpness, iterations).heights
    return Shape(float(day), lattice, heights)
