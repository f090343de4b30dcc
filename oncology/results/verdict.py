"""Whether the model explains the scans: one verdict on a fit, with reasons in plain sentences.

Judged are the overlap of scan and model in every session and region, in relation to what voxels, cells and the size
of the region allow; how far the fitted boundaries lie from the drawn ones beside what the posterior takes for noise;
and whether the solution was confirmed. Limits and their reasons: docs/reading-results.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from oncology.imaging.metrics import MM3_PER_ML
from oncology.inverse.residual import Residual
from oncology.text import number

if TYPE_CHECKING:
    from oncology.results.schema import Estimate

__all__ = ["LEVELS", "Level", "RegionMatch", "Verdict", "judge", "limits", "verdict_of"]

Level = Literal["explained", "partly", "not_explained"]
LEVELS: tuple[Level, ...] = ("explained", "partly", "not_explained")

GOOD, POOR = 0.9, 0.6  # Dice from which a region counts as explained, below which as not explained
LEAST_GOOD, LEAST_POOR = 0.7, 0.3  # the same for regions so small that voxels and cells blur their boundary
BLUR = 0.15  # mean displacement that voxels and cells cause by themselves, as a fraction of their edge
ONE_SEED = 0.9, 0.5  # the same two limits for the overlap of the whole tumour with what the parameters alone grow
NOISE = 1.5, 3.0  # boundary residual over the assumed standard deviation: above it intervals are too narrow, void
NAMES = {"whole": "whole tumour", "core": "core"}


@dataclass(frozen=True)
class Verdict:
    """Whether the model explains the scans.

    Attributes:
        level: "explained", "partly" or "not_explained".
        reasons: plain sentences, the most serious ones first.

    Example:
        >>> fit.verdict.level, fit.verdict.reasons[0]                   # doctest: +SKIP
        ('explained', 'scan and model overlap by 0.97 or more (Dice) in every session and region')
    """

    level: Level
    reasons: tuple[str, ...]

    @property
    def words(self) -> str:
        """The level in words."""
        return {
            "explained": "the model explains the scans",
            "partly": "the model explains the scans in part",
            "not_explained": "the model does not explain the scans",
        }[self.level]

    @property
    def voids(self) -> bool:
        """Whether no value counts as identified, whatever its interval."""
        return self.level == "not_explained"

    def __str__(self) -> str:
        return f"{self.words}: {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class RegionMatch:
    """Scan against model in one region of one session.

    Attributes:
        session: id.
        region: "whole" or "core".
        dice: overlap 0..1; None where both are empty.
        scan_ml: volume of the scan, mL.
        model_ml: volume of the model, mL.
        voxel: longest edge of the voxels, mm.
    """

    session: str
    region: str
    dice: float | None
    scan_ml: float
    model_ml: float = 0.0
    voxel: float = 0.0

    @property
    def radius(self) -> float:
        """Radius of the ball of the scan's volume, mm."""
        return math.cbrt(0.75 / math.pi * MM3_PER_ML * self.scan_ml)


def judge(
    matches: Iterable[RegionMatch],
    *,
    converged: bool,
    cell: float = 0.0,
    one_seed: float | None = None,
    residual: Residual | None = None,
) -> Verdict:
    """Return the verdict on a fit; the worst finding decides.

    Args:
        matches: every region of every session.
        converged: whether the solution was confirmed.
        cell: edge length of the mesh's cells or of the engine's voxels, mm.
        one_seed: overlap of the whole tumour with that of the parameters alone, before any correction of the shape.
        residual: of the boundaries, where it is known.
    """
    matches = tuple(matches)
    found = [*_overlaps(matches, cell), *_one_seed(one_seed), *_noise(residual)]
    if not converged:
        found.append((1, "the solution was not confirmed: the fit ended before it converged"))
    worst = max((level for level, _ in found), default=0)
    reasons = [reason for level, reason in sorted(found, key=lambda entry: -entry[0]) if level]
    return Verdict(LEVELS[worst], tuple(reasons or _good(matches, residual)))


def verdict_of(estimate: Estimate) -> Verdict:
    """Return the verdict of an `estimate.json`; of one that an earlier version wrote, from what it holds."""
    if estimate.verdict:
        return Verdict(estimate.verdict, estimate.verdict_reasons)
    matches = []
    for session, regions in estimate.dice.items():
        for region, dice in regions.items():
            volumes = estimate.volumes_ml.get(session, {}).get(region)
            scan, model = (0.0, 0.0) if volumes is None else (volumes.scan, volumes.model)
            matches.append(RegionMatch(session, region, dice, scan, model))
    size = estimate.mesh.get("size_mm")
    return judge(
        matches,
        converged=estimate.status == "converged",
        cell=float(size) if isinstance(size, int | float) else 0.0,
        one_seed=estimate.single_seed_overlap,
    )


def limits(match: RegionMatch, cell: float) -> tuple[float, float]:
    """Return the Dice from which a region counts as explained, and that below which it does not.

    A boundary that is displaced by d on a ball of radius R costs 1.5 d / R of Dice.

    Args:
        match: the region.
        cell: edge length of the mesh's cells, mm.
    """
    blurred = 1.5 * BLUR * max(match.voxel, cell) / match.radius if match.scan_ml > 0.0 else 0.0
    return max(GOOD - blurred, LEAST_GOOD), max(POOR - blurred, LEAST_POOR)


def _overlaps(matches: Sequence[RegionMatch], cell: float) -> Iterator[tuple[int, str]]:
    wholes = {match.session: match.scan_ml for match in matches if match.region == "whole" and match.scan_ml > 0.0}
    for match in matches:
        name = f"{match.session}: scan and model of the {NAMES.get(match.region, match.region)}"
        good, poor = limits(match, cell)
        if match.scan_ml == 0.0 and match.session in wholes:
            empty = 1.0 - match.model_ml / wholes[match.session]
            if empty < good:
                yield 2 if empty < poor else 1, f"{name} differ: none was drawn, the model has {_ml(match.model_ml)}"
        elif match.dice is not None and match.dice < good:
            # a core that the cells cannot show does not void what the whole tumour says
            unseen = match.session in wholes and match.region != "whole" and match.radius < max(match.voxel, cell)
            only = f"overlap by only {number(match.dice, 2)} (Dice; {number(good, 2)} or more is expected)"
            yield 2 if match.dice < poor and not unseen else 1, f"{name} {only if match.dice else 'do not overlap'}"


def _ml(volume: float) -> str:
    return f"{number(volume)} mL"


def _one_seed(overlap: float | None) -> Iterator[tuple[int, str]]:
    if overlap is not None and overlap < ONE_SEED[0]:
        yield (
            2 if overlap < ONE_SEED[1] else 1,
            f"the parameters alone, without a correction of the shape, overlap with the whole tumour by only "
            f"{number(overlap, 2)} (Dice)",
        )


def _noise(residual: Residual | None) -> Iterator[tuple[int, str]]:
    if residual is not None and residual.found > NOISE[0] * residual.assumed:
        yield (
            2 if residual.found > NOISE[1] * residual.assumed else 1,
            f"the boundaries of scan and model lie {number(residual.found, 2)} mm apart, intervals and mesh allow for "
            f"{number(residual.assumed, 2)} mm: the intervals are too narrow",
        )


def _good(matches: Sequence[RegionMatch], residual: Residual | None) -> Iterator[str]:
    overlaps = [match.dice for match in matches if match.dice is not None]
    if overlaps:
        least = math.floor(100.0 * min(overlaps)) / 100.0
        yield f"scan and model overlap by {least:.2f} or more (Dice) in every session and region"
    if residual is not None:
        yield (
            f"their boundaries lie {number(residual.found, 2)} mm apart, intervals and mesh allow for "
            f"{number(residual.assumed, 2)} mm"
        )
