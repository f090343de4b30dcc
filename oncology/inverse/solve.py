"""The optimum of an inverse problem on one engine: continuation in sharpness, dense or matrix-free Gauss-Newton.

A few scalars have a dense Gauss-Newton matrix (Levenberg-Marquardt); fields are met by products alone (Newton-CG). The
misfit of segmentations is sharpened in stages, since the exact volume fraction has no slope far from the front.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from oncology.inverse.misfit import Seen
from oncology.inverse.problem import DenseCost, Evaluated, InverseProblem
from oncology.optimise import LevenbergMarquardt, TaylorResult, gauss_newton, taylor_test
from oncology.optimise.newton import NewtonSettings, newton_cg
from oncology.optimise.state import Status

__all__ = ["ProblemTaylor", "Solution", "residual_noise", "solve", "taylor_test_problem"]

Vector = NDArray[np.float64]

_STAGES = ((10.0, 1e-2), (25.0, 1e-2), (None, 1e-4))
_MOST_DENSE = 20  # unknowns
_TRUST = 0.7
_SMOOTH = 25.0


@dataclass(frozen=True)
class Solution:
    """Where an inverse problem was solved.

    Attributes:
        x: optimum of this rank's unknowns.
        status: why the iteration ended.
        here: the problem at the optimum.
        path: name of the stage and cost of every accepted iterate.
    """

    x: Vector = field(repr=False)
    status: Status
    here: Evaluated = field(repr=False)
    path: tuple[tuple[str, float], ...] = field(repr=False)

    @property
    def explanation(self) -> str:
        """Why the iteration ended, in a sentence."""
        return self.status.explanation

    @property
    def misfit(self) -> float:
        """Sum of the integrals of the squared residuals, mm^3."""
        return self.here.misfit


def solve(
    problem: InverseProblem,
    start: Vector | None = None,
    progress: Callable[[str, int, Evaluated], None] = lambda stage, iteration, here: None,
    max_iterations: int = 15,
    measure_noise: bool = True,
) -> Solution:
    """Find the most probable unknowns (collective).

    Args:
        problem: engine, data, unknowns.
        start: first point; None: the unknowns' own first guess.
        progress: called at every accepted iterate with stage, number and problem there.
        max_iterations: most accepted steps of each stage.
        measure_noise: replace the problem's noise level by that of the residuals before the last stage.

    Raises:
        NumericalError: the model cannot be run from the start.
    """
    x = np.array(problem.map.start if start is None else start, dtype=float)
    dense = problem.map.prior.replicated in (None, len(x)) and len(x) <= _MOST_DENSE
    stages = _STAGES if problem.sharpness is None else ((problem.sharpness, 1e-4),)
    path: list[tuple[str, float]] = []
    for sharpness, decrease in stages:
        name = "volume fraction" if sharpness is None else f"sharpness {sharpness:g}"
        stage = replace(problem, sharpness=sharpness, around=x)
        if measure_noise and sharpness is None:
            stage = replace(stage, noise=residual_noise(stage.evaluate(x)))

        def log(iteration: int, here: Evaluated, name: str = name) -> None:
            path.append((name, here.value))
            progress(name, iteration, here)

        run = _dense if dense else _matrix_free
        x, status, here = run(stage, x, decrease, max_iterations, log)
    return Solution(x, status, here, tuple(path))


def residual_noise(here: Evaluated, block: float = 10.0) -> float:
    """Return the noise level of the residuals, mm^3: the misfit for each block that holds any (collective).

    Args:
        here: the problem at an iterate.
        block: edge of the cubes within which residuals are correlated, mm.
    """
    space = here.problem.space
    flat, number = space.blocks(block)
    squares = sum((here.problem.weights(seen) * seen.residual**2).sum(axis=1) for seen in here.seen)
    blocks = space.total(np.bincount(flat, np.broadcast_to(squares, flat.shape), minlength=number))
    return max(here.misfit / max(int((blocks > 0.0).sum()), 1), 1.0)


Log = Callable[[int, Evaluated], None]


def _dense(
    problem: InverseProblem, x: Vector, decrease: float, most: int, log: Log
) -> tuple[Vector, Status, Evaluated]:
    cost = DenseCost(problem)
    settings = LevenbergMarquardt(
        trust=_TRUST, relative_decrease=decrease, step_tolerance=5e-3, max_iterations=most, max_trials=8
    )
    result = gauss_newton(cost, x, settings, lambda state: log(state.iteration, cost.at(state.x)))
    return result.x, result.status, cost.at(result.x)


def _matrix_free(
    problem: InverseProblem, x: Vector, decrease: float, most: int, log: Log
) -> tuple[Vector, Status, Evaluated]:
    last: list[Evaluated] = []

    def accepted(iteration: int, here: object) -> None:
        assert isinstance(here, Evaluated)
        last[:] = [here]
        log(iteration, here)

    prior = problem.map.prior
    settings = NewtonSettings(relative_gradient=1e-4, relative_decrease=decrease, max_iterations=most)
    result = newton_cg(problem.evaluate, x, prior.precision, prior.covariance, problem.dot, settings, accepted)
    return result.x, result.status, last[0]


@dataclass(frozen=True)
class ProblemTaylor:
    """Taylor tests of a problem's data term: without derivative, with the gradient, with gradient and curvature.

    Attributes:
        tests: the three tests; their `order` is the rate to expect.
    """

    tests: tuple[TaylorResult, ...]

    @property
    def rates(self) -> tuple[float, ...]:
        """Observed rates, which should be 1, 2 and 3."""
        return tuple(test.rate for test in self.tests)


def _steepness(seen: Seen) -> Vector:
    """Return how strongly each residual (m, k) answers to the density, relative to the strongest of this rank."""
    slope = np.abs(seen.slopes).sum(axis=-1)
    return np.asarray(slope / max(float(slope.max(initial=0.0)), 1e-300))


# Fourth-order central differences of the slope: the cost of segmentations has no closed second derivative.
_STENCIL = ((-2, 1.0 / 12.0), (-1, -2.0 / 3.0), (1, 2.0 / 3.0), (2, -1.0 / 12.0))


def taylor_test_problem(
    problem: InverseProblem, at: Vector, seed: int = 0, length: float = 0.01, precision: float = 1e-9
) -> ProblemTaylor:
    """Return the Taylor rates of a problem's data term at a point along a random direction (collective).

    The data are moved next to the boundaries, `1/2 int (f - m + c)^2` with a fixed field c, since the gradient of the
    problem itself vanishes at an optimum, where the first rate would be 2. The exact volume fraction is once
    differentiable only: a sigmoid of sharpness 25 takes its place here.

    Args:
        problem: whose derivatives are tested.
        at: point, this rank's unknowns.
        seed: of the direction and the moves; on several ranks fields differ with the partition.
        length: longest step, in prior standard deviations of the unknowns.
        precision: relative accuracy of the misfit, that of the engine's solves.
    """
    x = np.asarray(at, dtype=float)
    if problem.sharpness is None:
        problem = replace(problem, sharpness=_SMOOTH, around=x)
    random = np.random.default_rng(seed)
    moves = [random.uniform(0.5, 1.0) * _steepness(seen) ** 2 for seen in problem.evaluate(x).seen]
    direction = length * problem.map.prior.sample(random.standard_normal(len(x)))
    known: dict[float, float] = {}

    def value(h: float) -> float:
        if h not in known:
            here = problem.evaluate(x + h * direction)
            pairs = zip(here.seen, moves, strict=True)
            parts = [float((problem.weights(s) * s.residual * (0.5 * s.residual + c)).sum()) for s, c in pairs]
            known[h] = float(problem.space.total(np.array(parts)).sum()) / problem.noise
        return known[h]

    def slope(h: float) -> float:
        here = problem.evaluate(x + h * direction)
        moved = tuple(seen.residual + c for seen, c in zip(here.seen, moves, strict=True))
        return problem.dot(here.pull_back(moved), direction) / problem.noise

    first = slope(0.0)
    spacing = 0.1
    second = sum(weight * slope(k * spacing) for k, weight in _STENCIL) / spacing
    pairs = ((None, None), (first, None), (first, second))
    steps = tuple(0.5**k for k in range(5))
    return ProblemTaylor(
        tuple(taylor_test(value, 0.0, 1.0, slope=s, curvature=c, steps=steps, precision=precision) for s, c in pairs)
    )
