"""First guesses and priors from the segmentations alone.

Equal-volume radii of the regions give the speed of the front (two sessions), the width between the thresholds gives
sqrt(D/rho) (front profile of Ablowitz and Zeppetella 1979), and the radius over the speed gives the age. Several foci
share a region's volume equally. The prior is broad: literature ranges of gliomas (Swanson et al. 2008; Rockne et al.
2010).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from oncology.imaging.case import Case
from oncology.imaging.foci import seeded_foci
from oncology.imaging.resample import sample
from oncology.imaging.volume import Volume, extent
from oncology.inverse.misfit import TRACER
from oncology.inverse.priors import GaussianPrior
from oncology.inverse.scalars import ScalarMap
from oncology.model.seed import Seed
from oncology.model.tumour import Tumour

__all__ = ["default_prior", "radius", "scalar_unknowns", "starting_points"]

Vector = NDArray[np.float64]

# Prior medians and standard deviations of the logarithm: D_w (mm^2/day), D_g/D_w, rho (1/day), duration (day).
_MEDIANS = (0.15, 0.1, 0.02, 300.0)
_SPREADS = (1.0, 1.0, 0.8, 0.8)
_SEED_SD = 20.0  # mm
_RADIUS, _RADIUS_SD = Seed().radius, 0.15  # of the seed: mm, standard deviation of the logarithm
_THRESHOLD_SD = 0.5  # log-odds
_TRACER_SD = 0.5  # ln density a unit of uptake
_STARTS_APART = 6.0  # mm, between seeds that are worth separate starts
# Width of the front between two densities in units of sqrt(D/rho): sqrt(6) times the difference of ln(u^-1/2 - 1).
_FRONT = math.sqrt(6.0)


def radius(region: Volume, count: int = 1) -> float:
    """Return the radius of the ball with a region's volume, or of one of several equal ones that share it, mm."""
    return float((0.75 * region.data.sum() * region.voxel_volume / math.pi / count) ** (1.0 / 3.0))


def default_prior(
    unknowns: ScalarMap, seeds: ArrayLike, given: Mapping[str, float], threshold_sd: float = 0.0
) -> GaussianPrior:
    """Return the prior of all unknowns.

    Args:
        unknowns: which unknowns there are.
        seeds: middle of the tumour, (3,), or of each focus, (k, 3), mm.
        given: thresholds by region, 0..1: prior medians of those that are unknown.
        threshold_sd: their standard deviation as a density; 0: 0.5 in log-odds.
    """
    medians = np.log(_MEDIANS)
    odds = [math.log(given[name] / (1.0 - given[name])) for name in unknowns.thresholds]
    scale = unknowns.seed_scale
    tracer = int(unknowns.tracer)
    radius = int(unknowns.radius)
    mean = [
        *medians[:3],
        *(np.ravel(seeds) / scale),
        medians[3],
        *([math.log(_RADIUS)] * radius),
        *odds,
        *([0.0] * tracer),
    ]
    sd = [
        *_SPREADS[:3],
        *([_SEED_SD / scale] * 3 * unknowns.foci),
        _SPREADS[3],
        *([_RADIUS_SD] * radius),
        *[
            threshold_sd / (given[name] * (1.0 - given[name])) if threshold_sd else _THRESHOLD_SD
            for name in unknowns.thresholds
        ],
        *([_TRACER_SD] * tracer),
    ]
    return GaussianPrior(np.array(mean), np.array(sd))


def scalar_unknowns(
    case: Case, estimate_thresholds: bool = False, tracer: bool = False, seed_radius: float | None = None
) -> tuple[ScalarMap, list[Vector]]:
    """Return the scalar unknowns of a case with their prior, and start values, the most likely one first.

    Args:
        case: the patient.
        estimate_thresholds: treat the thresholds as unknown, with the given ones as prior medians.
        tracer: whether tracer images are observed, whose scale is then unknown.
        seed_radius: radius of the seeds where it is known, mm; None: unknown.

    Raises:
        CaseError: the tumour has too many foci.
    """
    regions = ("whole", "core") if estimate_thresholds else ()
    given = {"whole": case.thresholds.oedema, "core": case.thresholds.core, TRACER: 1.0}
    profile = Seed() if seed_radius is None else Seed(radius=seed_radius)
    foci = len(seeded_foci(case))
    unknowns = ScalarMap(case.first_day, regions, tracer, radius=seed_radius is None, profile=profile, foci=foci)
    starts = starting_points(case, unknowns, given)
    seeds = unknowns.tumour(starts[0]).seeds
    return replace(unknowns, start=starts[0], prior=default_prior(unknowns, seeds, given, case.thresholds.sd)), starts


def starting_points(case: Case, unknowns: ScalarMap, given: Mapping[str, float]) -> list[Vector]:
    """Return start values of the unknowns, the most likely one first.

    Args:
        case: the patient.
        unknowns: which unknowns there are; with one seed the tumour is taken as one focus.
        given: thresholds by region, 0..1.
    """
    count = unknowns.foci
    whole = [radius(session.whole, count) for session in case.sessions]
    inner, outer = case.thresholds.core, case.thresholds.oedema
    shape = _FRONT * (math.log(outer**-0.5 - 1.0) - math.log(inner**-0.5 - 1.0))
    width = math.sqrt(_MEDIANS[0] / _MEDIANS[2])
    both = [session for session in case.sessions if len(session.regions) > 1]
    if both:
        width = float(np.clip((radius(both[-1].whole, count) - radius(both[-1].core, count)) / shape, 0.7, 8.0))
    days = [session.day for session in case.sessions]
    median_speed = 2.0 * math.sqrt(_MEDIANS[0] * _MEDIANS[2])
    speed = median_speed
    if len(days) > 1:
        measured = (whole[-1] - whole[0]) / (days[-1] - days[0])
        speed = float(np.clip(measured, 0.2 * median_speed, 5.0 * median_speed))
    diffusion, proliferation = 0.5 * speed * width, 0.5 * speed / width
    duration = whole[0] / speed + 2.0 / proliferation
    onset = unknowns.first_day - duration
    rates = diffusion, _MEDIANS[1] * diffusion, proliferation
    tumours = [Tumour(*rates, tuple(seed), onset, others=tuple(map(tuple, o))) for seed, *o in _seeds(case, count)]
    return [unknowns.pack(tumour, given) for tumour in tumours]


def _seeds(case: Case, count: int) -> list[list[Vector]]:
    """Return candidates for the seeds of all foci together, the most likely ones first."""
    first = case.sessions[0]
    if count == 1:
        return [[seed] for seed in _focus_seeds(case, first.whole, first.core)]
    regions = [focus.region for focus in case.foci]
    cores = [region.with_data(region.data & first.core.data) for region in regions]
    found = [_focus_seeds(case, whole, core) for whole, core in zip(regions, cores, strict=True)]
    return [[seeds[min(k, len(seeds) - 1)] for seeds in found] for k in range(max(map(len, found)))]


def _focus_seeds(case: Case, whole: Volume, core: Volume) -> list[Vector]:
    """Return candidate seeds: the deepest point of the core, its centre, the centre of the whole tumour; in tissue."""
    dense = core if core.data.any() else whole
    box = extent(dense.data)
    depth = ndimage.distance_transform_edt(np.pad(dense.data[box], 1), sampling=dense.voxel_sizes)[1:-1, 1:-1, 1:-1]
    corner = [side.start for side in box]
    deepest = dense.world(np.add(np.unravel_index(int(depth.argmax()), depth.shape), corner)[None])[0]
    inside = whole.world(np.argwhere(whole.data))
    tissue = sample(case.white, inside) + sample(case.grey, inside) > 0.5
    allowed = inside[tissue] if tissue.any() else inside
    seeds: list[Vector] = []
    for wanted in (_centre(dense), deepest, _centre(whole)):
        seed = allowed[((allowed - wanted) ** 2).sum(axis=1).argmin()]
        if all(np.linalg.norm(seed - other) > _STARTS_APART for other in seeds):
            seeds.append(seed)
    return seeds


def _centre(region: Volume) -> Vector:
    return np.asarray(region.world(np.argwhere(region.data)).mean(axis=0))
