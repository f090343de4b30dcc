"""Identification of the seven scalars: several starts, continuation in the sharpness of the misfit, coarse to fine.

A coarse mesh carries the Gauss-Newton iterations, from a blurred misfit to the exact volume fraction. The fine mesh
then needs few runs: its gradients come from the adjoint while the coarse mesh's Gauss-Newton matrix stays as the
metric; one full linearisation at the end confirms the solution and gives the uncertainty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oncology.inverse.parameters import Prior
from oncology.inverse.problem import FixedMetric, Identification
from oncology.inverse.uncertainty import Information
from oncology.optimise import GaussNewtonState, LevenbergMarquardt, gauss_newton

__all__ = ["Checkpoint", "Identified", "Level", "Stage", "identify"]

Vector = NDArray[np.float64]

_TRUST = (0.7, 0.7, 0.7, 2.0, 2.0, 2.0, 0.7)


class Level(Protocol):
    """One mesh of the coarse-to-fine sequence."""

    @property
    def name(self) -> str:
        """For logs, such as "4 mm"."""

    def problem(self, x: Vector, prior: Prior, noise: float, sharpness: float | None) -> Identification:
        """Return the inverse problem on this mesh with a time grid that suits x."""

    def information(self, problem: Identification, x: Vector) -> Information:
        """Return the sums for the uncertainty at x."""


@dataclass(frozen=True)
class Stage:
    """A run of the optimiser: which misfit, how long, how far."""

    sharpness: float | None
    step_tolerance: float
    max_iterations: int

    @property
    def name(self) -> str:
        """For logs."""
        return "volume fraction" if self.sharpness is None else f"sharpness {self.sharpness:g}"


_COARSE = (Stage(10.0, 5e-2, 10), Stage(25.0, 3e-2, 8), Stage(None, 5e-3, 10))
_FINE = Stage(None, 2e-3, 8)
# The full linearisation may move the solution by this much at most; else the fine stage goes on with its matrix.
_CONFIRMED = 1e-2


@dataclass(frozen=True)
class Checkpoint:
    """Where an identification stands: enough to go on from the last accepted iterate.

    Attributes:
        stage: number of the stage, counted over all levels.
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
        problem: the inverse problem on the fine mesh.
        converged: whether the full linearisation confirmed the solution.
        iterations: accepted steps over all stages.
        runs: forward runs over all stages (a gradient counts as one more).
    """

    x: Vector
    coarse: Vector
    information: Information
    problem: Identification
    converged: bool
    iterations: int
    runs: int


Log = Callable[[str, GaussNewtonState, Identification], None]


def identify(
    coarse: Callable[[], Level],
    fine: Callable[[], Level],
    starts: Sequence[Vector],
    prior: Prior,
    log: Log = lambda stage, state, problem: None,
    save: Callable[[Checkpoint], None] = lambda checkpoint: None,
    resume: Checkpoint | None = None,
    noise: float = 50.0,
) -> Identified:
    """Find the parameters that explain the observations.

    Args:
        coarse: makes the coarse level.
        fine: makes the fine level.
        starts: start values; the blurred misfit on the coarse mesh decides between them.
        prior: prior of the unknowns.
        log: called at every accepted iterate with the stage's name.
        save: called at every accepted iterate with what `resume` takes.
        resume: where to go on.
        noise: first noise level, mm^3; the coarse solution replaces it.

    Raises:
        NumericalError: if not even the start values can be run.
    """
    here = resume or Checkpoint(-1, np.array(starts[0]), noise)
    count = _Count()
    if here.metric is None:
        here = _solve_coarse(coarse(), starts, prior, here, log, save, count)
    level = fine()
    x, metric = here.x, here.metric
    assert metric is not None and here.coarse is not None
    for _ in range(3):
        problem = level.problem(x, prior, here.noise, None)
        fixed = FixedMetric(problem, metric / here.noise + prior.precision)

        def callback(state: GaussNewtonState, problem: Identification = problem) -> None:
            log(f"{level.name}, {_FINE.name}", state, problem)
            save(replace(here, stage=len(_COARSE), x=state.x))

        result = gauss_newton(fixed, x, _settings(_FINE, len(x)), callback=callback)
        count.add(result.iterations, result.evaluations + result.linearisations)
        x = result.x
        info = level.information(problem, x)
        count.add(0, len(x))
        full = info.normal / here.noise + prior.precision
        step = np.linalg.solve(full, fixed.linearise(x).gradient)
        metric = info.normal
        if np.abs(step).max() <= _CONFIRMED:
            break
    return Identified(
        x=x,
        coarse=here.coarse,
        information=info,
        problem=problem,
        converged=bool(np.abs(step).max() <= _CONFIRMED),
        iterations=count.iterations,
        runs=count.runs,
    )


@dataclass
class _Count:
    iterations: int = 0
    runs: int = 0

    def add(self, iterations: int, runs: int) -> None:
        self.iterations += iterations
        self.runs += runs


def _solve_coarse(
    level: Level,
    starts: Sequence[Vector],
    prior: Prior,
    here: Checkpoint,
    log: Log,
    save: Callable[[Checkpoint], None],
    count: _Count,
) -> Checkpoint:
    """Go through the stages on the coarse mesh; the first one is run from every start."""
    x = here.x
    problem = None
    for number, stage in enumerate(_COARSE):
        if number < here.stage:
            continue
        candidates = list(starts) if here.stage < 0 and number == 0 else [x]
        best = np.inf
        for start in candidates:
            problem = level.problem(start, prior, here.noise, stage.sharpness)

            def callback(
                state: GaussNewtonState, problem: Identification = problem, number: int = number, stage: Stage = stage
            ) -> None:
                log(f"{level.name}, {stage.name}", state, problem)
                if len(candidates) == 1:
                    save(replace(here, stage=number, x=state.x))

            result = gauss_newton(problem, start, _settings(stage, len(x)), callback=callback)
            count.add(result.iterations, result.evaluations + result.linearisations * (1 + len(x)))
            if result.value < best:
                best, x = result.value, result.x
    assert problem is not None
    info = level.information(problem, x)
    done = Checkpoint(len(_COARSE), x, max(info.noise, 1.0), x, info.normal)
    save(done)
    return done


def _settings(stage: Stage, size: int) -> LevenbergMarquardt:
    trust = np.array([*_TRUST, *([0.5] * (size - len(_TRUST)))])
    return LevenbergMarquardt(
        trust=trust, step_tolerance=stage.step_tolerance, relative_decrease=1e-6, max_iterations=stage.max_iterations
    )
