"""Identification of the scalars: several starts, continuation in the sharpness of the misfit, coarse to fine.

A coarse mesh carries the Gauss-Newton iterations, from a blurred misfit to the exact volume fraction. The fine mesh
then needs few runs: its gradients come from the adjoint while the coarse mesh's Gauss-Newton matrix stays as the
metric; one full linearisation at the end confirms the solution and gives the uncertainty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from oncology.inverse.levels import Level
from oncology.inverse.problem import DenseCost, Evaluated, InverseProblem, SecantCost, residual_tables
from oncology.inverse.scalars import ScalarMap
from oncology.inverse.uncertainty import Information, information
from oncology.inverse.volumes import VolumeCourse, VolumeWatch
from oncology.model.engine import TangentRecord
from oncology.optimise import GaussNewtonResult, GaussNewtonState, LevenbergMarquardt, gauss_newton

__all__ = ["COARSE_STAGES", "Checkpoint", "Identified", "Stage", "Watch", "identify"]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Stage:
    """A run of the optimiser.

    Attributes:
        sharpness: of the misfit; None: exact volume fractions.
        step_tolerance: converged where no scaled unknown would move by more,
        relative_decrease: or where the cost is predicted to decrease by a smaller fraction.
        max_iterations: most accepted steps.
    """

    sharpness: float | None
    step_tolerance: float
    relative_decrease: float
    max_iterations: int

    @property
    def name(self) -> str:
        """For logs."""
        return "volume fraction" if self.sharpness is None else f"sharpness {self.sharpness:g}"


_COARSE = (Stage(10.0, 0.1, 2e-2, 10), Stage(25.0, 5e-2, 5e-3, 8), Stage(None, 1e-2, 1e-3, 10))
COARSE_STAGES = len(_COARSE)
_TRIALS = 8
# Blocks of boundaries on the coarse mesh, which only gives the noise level, mm.
_COARSE_BLOCK = 12.0
_FINE = Stage(None, 5e-3, 1e-3, 8)
# The full linearisation may move the solution by this much at most; else the fine stage goes on with its matrix.
_CONFIRMED = 2e-2


@dataclass(frozen=True)
class Checkpoint:
    """Where an identification stands: enough to go on from the last accepted iterate.

    Attributes:
        stage: number of the coarse stage; -1 before the first, the number of stages once the coarse mesh is finished.
        x: last accepted iterate.
        noise: noise level in use, mm^3.
        coarse: solution of the coarse mesh, if it is finished.
        metric: Gauss-Newton matrix of the coarse mesh without the prior, for noise 1, if it is finished.
    """

    stage: int
    x: Vector
    noise: float
    coarse: Vector | None = None
    metric: Vector | None = None


@dataclass(frozen=True)
class Identified:
    """Outcome of an identification.

    Attributes:
        x: the estimate (scaled unknowns).
        coarse: the estimate of the coarse mesh.
        information: sums at the estimate, for the uncertainty.
        here: the inverse problem on the fine mesh at the estimate.
        converged: whether the full linearisation confirmed the solution.
        iterations: accepted steps over all stages.
        gradients: linearisations over all stages.
        growth: volumes until the last session with their derivatives by the unknowns, where they were watched.
    """

    x: Vector
    coarse: Vector
    information: Information
    here: Evaluated
    converged: bool
    iterations: int
    gradients: int
    growth: VolumeCourse | None = None


Log = Callable[[str, int, Evaluated], None]
Save = Callable[[Checkpoint], None]
# Makes what looks at the tangents at an estimate.
Watch = Callable[[Evaluated], VolumeWatch]


def identify(
    unknowns: ScalarMap,
    coarse: Callable[[], Level],
    fine: Callable[[Vector], Level],
    starts: Sequence[Vector],
    log: Log = lambda stage, iteration, here: None,
    save: Save = lambda checkpoint: None,
    resume: Checkpoint | None = None,
    noise: float = 50.0,
    corrections: int | None = None,
    watch: Watch | None = None,
) -> Identified:
    """Find the parameters that explain the observations.

    Args:
        unknowns: which unknowns there are, with their prior.
        coarse: makes the coarse level.
        fine: makes the fine level for the coarse solution.
        starts: start values; the blurred misfit on the coarse mesh decides between them.
        log: called at every accepted iterate with the stage's name, the iteration's number and the problem there.
        save: called at every accepted iterate with what `resume` takes.
        resume: where to go on.
        noise: first noise level, mm^3; the coarse solution replaces it.
        corrections: most steps on the fine level, each with its own full linearisation; None: until it has converged.

        watch: makes what looks at the tangents of the last linearisation.

    Raises:
        NumericalError: if not even the start values can be run.
    """
    search = _Search(unknowns, log, save)
    here = resume or Checkpoint(-1, np.array(starts[0]), noise)
    if here.metric is None or here.coarse is None:
        level = coarse()
        here = search.coarse_stages(level, starts, here)
        info = _information(search.problem(level, here, None).evaluate(here.x), _COARSE_BLOCK)
        here = replace(here, noise=max(info.noise, 1.0), coarse=here.x, metric=info.normal)
        save(here)
    return search.fine_stage(fine(here.x), here, corrections, watch)


@dataclass(frozen=True)
class _Search:
    """What the stages share; `done` counts iterations and linearisations."""

    unknowns: ScalarMap
    log: Log
    save: Save
    done: list[tuple[int, int]] = field(default_factory=list)

    def problem(self, level: Level, here: Checkpoint, sharpness: float | None) -> InverseProblem:
        """Return the problem on a level at the checkpoint's iterate."""
        return level.problem(self.unknowns, here.x, here.noise, sharpness)

    def run(self, level: Level, stage: Stage, here: Checkpoint, keep: bool) -> GaussNewtonResult:
        """Run one stage from a checkpoint; `keep` tells whether its iterates are worth going on from."""
        cost = DenseCost(self.problem(level, here, stage.sharpness))

        def callback(state: GaussNewtonState) -> None:
            self.log(f"{level.name}, {stage.name}", state.iteration, cost.at(state.x))
            if keep:
                self.save(replace(here, x=state.x))

        result = gauss_newton(cost, here.x, _settings(stage, self.unknowns.trust), callback=callback)
        self.done.append((result.iterations, result.linearisations))
        return result

    def coarse_stages(self, level: Level, starts: Sequence[Vector], here: Checkpoint) -> Checkpoint:
        """Go through the stages on the coarse mesh; the first one is run from every start."""
        fresh = here.stage < 0
        for number, stage in enumerate(_COARSE):
            if number < here.stage:
                continue
            candidates = starts if fresh and number == 0 else [here.x]
            results = [
                self.run(level, stage, replace(here, stage=number, x=np.array(start)), keep=len(candidates) == 1)
                for start in candidates
            ]
            here = replace(here, stage=number, x=min(results, key=lambda result: result.value).x)
        return replace(here, stage=COARSE_STAGES)

    def fine_stage(self, level: Level, here: Checkpoint, corrections: int | None, watch: Watch | None) -> Identified:
        """Iterate on the fine mesh with the coarse mesh's matrix; go on with full linearisations if they ask for it."""
        stage = _FINE if corrections is None else replace(_FINE, max_iterations=corrections)
        coarse, metric, x = here.coarse, here.metric, here.x
        assert coarse is not None and metric is not None
        precision = self.unknowns.prior.matrix
        for attempt in range(3 if corrections is None else 1):
            here = replace(here, x=x)
            dense = DenseCost(self.problem(level, here, None))
            # where the coarse mesh's matrix did not lead to the solution, or one step has to do, iterates get their own
            secant = SecantCost(dense, metric / here.noise + precision)
            cost = secant if attempt == 0 and corrections is None else dense

            def callback(state: GaussNewtonState, here: Checkpoint = here, dense: DenseCost = dense) -> None:
                self.log(f"{level.name}, {_FINE.name}", state.iteration, dense.at(state.x))
                self.save(replace(here, x=state.x))

            result = gauss_newton(cost, x, _settings(stage, self.unknowns.trust), callback=callback)
            x = result.x
            final = dense.at(x)
            seen = None if watch is None else watch(final)
            info = _information(final, record=seen)
            self.done.append((result.iterations, result.linearisations + 1))
            step = np.linalg.solve(info.normal / here.noise + precision, result.gradient)
            # a step well within the error bars, or one that the cost hardly sees, needs no further iteration
            error = np.sqrt(np.diag(np.linalg.inv(info.normal / here.noise + precision)))
            worth = 0.5 * float(step @ result.gradient) / result.value
            small = bool((np.abs(step) <= np.maximum(_CONFIRMED, 0.5 * error)).all())
            confirmed = small or worth <= _FINE.relative_decrease
            if confirmed or (result.iterations == 0 and not result.status.succeeded):
                break
        iterations, gradients = np.sum(self.done, axis=0)
        growth = None if seen is None else seen.course()
        return Identified(x, coarse, info, final, confirmed, int(iterations), int(gradients), growth)


def _information(here: Evaluated, block: float = 6.0, record: TangentRecord | None = None) -> Information:
    return information(residual_tables(here, record), here.problem.space, block)


def _settings(stage: Stage, trust: Vector) -> LevenbergMarquardt:
    return LevenbergMarquardt(
        trust=trust,
        step_tolerance=stage.step_tolerance,
        relative_decrease=stage.relative_decrease,
        max_iterations=stage.max_iterations,
        max_trials=_TRIALS,
    )
