"""Inexact Gauss-Newton-CG for many unknowns, and the leading eigenpairs of a curvature against a prior.

Both need products only. The linear systems are solved by conjugate gradients preconditioned by the prior's covariance,
to a tolerance that follows the gradient (Eisenstat and Walker 1996), and end at negative curvature (Steihaug 1983).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oncology.errors import NumericalError
from oncology.optimise.state import Status

__all__ = ["CurvedEvaluation", "NewtonResult", "NewtonSettings", "leading_modes", "newton_cg"]

Vector = NDArray[np.float64]
Product = Callable[[Vector], Vector]
Pairing = Callable[[Vector, Vector], float]


class CurvedEvaluation(Protocol):
    """A cost at one point."""

    @property
    def value(self) -> float:
        """Cost, the same on every rank."""

    def derivative(self) -> Vector:
        """Derivative, a dual vector."""

    def data_normal(self, direction: Vector, /) -> Vector:
        """Gauss-Newton product of the data term, a dual vector."""


@dataclass(frozen=True)
class NewtonSettings:
    """When to end.

    Attributes:
        relative_gradient: converged where the norm of the gradient fell to this fraction of the first one.
        relative_decrease: converged where a step is predicted to lower the cost by less than this fraction.
        max_iterations: most accepted steps.
        max_inner: most conjugate-gradient iterations of a step.
        max_trials: most step lengths tried.
    """

    relative_gradient: float = 1e-6
    relative_decrease: float = 1e-8
    max_iterations: int = 30
    max_inner: int = 60
    max_trials: int = 12


@dataclass(frozen=True)
class NewtonResult:
    """Where the iteration ended and why.

    Attributes:
        x: last accepted point.
        value: cost there.
        status: reason.
        iterations: accepted steps.
        inner: conjugate-gradient iterations in all.
        values: cost of every iterate, the start included.
    """

    x: Vector = field(repr=False)
    value: float
    status: Status
    iterations: int
    inner: int
    values: tuple[float, ...]


def newton_cg(
    evaluate: Callable[[Vector], CurvedEvaluation],
    start: Vector,
    precision: Product,
    covariance: Product,
    dot: Pairing,
    settings: NewtonSettings | None = None,
    callback: Callable[[int, CurvedEvaluation], None] = lambda iteration, here: None,
) -> NewtonResult:
    """Minimise a cost `data(x) + prior(x)` with Gauss-Newton steps (collective).

    Args:
        evaluate: x -> the cost there; may raise `NumericalError`, which rejects a trial.
        start: first point.
        precision: v -> R v, the prior's precision.
        covariance: dual -> R^-1 dual, the preconditioner.
        dot: pairing of a dual vector with a direction, over all ranks.
        settings: tolerances.
        callback: called with every accepted iterate.

    Raises:
        NumericalError: the cost cannot be computed at the start.
    """
    settings = settings or NewtonSettings()
    here, x = evaluate(start), np.array(start, dtype=float)
    values, inner, first = [here.value], 0, math.nan
    callback(0, here)
    for iteration in range(settings.max_iterations + 1):
        gradient = here.derivative()
        size = math.sqrt(max(dot(gradient, covariance(gradient)), 0.0))
        first = size if iteration == 0 else first
        if size <= settings.relative_gradient * first or first == 0.0:
            return NewtonResult(x, here.value, Status.CONVERGED, iteration, inner, tuple(values))
        if iteration == settings.max_iterations:
            break
        evaluated = here

        def hessian(v: Vector, evaluated: CurvedEvaluation = evaluated) -> Vector:
            return evaluated.data_normal(v) + precision(v)

        tolerance = min(0.5, math.sqrt(size / first))
        step, taken = _truncated_cg(hessian, gradient, covariance, dot, tolerance, settings.max_inner)
        inner += taken
        slope = dot(gradient, step)
        if -0.5 * slope <= settings.relative_decrease * abs(here.value):
            return NewtonResult(x, here.value, Status.CONVERGED, iteration, inner, tuple(values))
        found = _backtrack(evaluate, x, here.value, step, slope, settings.max_trials)
        if found is None:
            return NewtonResult(x, here.value, Status.NO_STEP, iteration, inner, tuple(values))
        x, here = found
        values.append(here.value)
        callback(iteration + 1, here)
    return NewtonResult(x, here.value, Status.MAX_ITERATIONS, settings.max_iterations, inner, tuple(values))


def _truncated_cg(
    hessian: Product, gradient: Vector, covariance: Product, dot: Pairing, tolerance: float, most: int
) -> tuple[Vector, int]:
    """Return a step that solves `H step = -gradient` to a tolerance in the prior's norm, and the iterations it took."""
    step = np.zeros_like(gradient)
    residual = -gradient
    z = covariance(residual)
    direction, size = z, dot(residual, z)
    goal = tolerance**2 * size
    for number in range(1, most + 1):
        product = hessian(direction)
        curvature = dot(product, direction)
        if curvature <= 0.0:
            return (direction if number == 1 else step), number
        length = size / curvature
        step = step + length * direction
        residual = residual - length * product
        z = covariance(residual)
        before, size = size, dot(residual, z)
        if size <= goal:
            return step, number
        direction = z + size / before * direction
    return step, most


def _backtrack(
    evaluate: Callable[[Vector], CurvedEvaluation], x: Vector, value: float, step: Vector, slope: float, trials: int
) -> tuple[Vector, CurvedEvaluation] | None:
    """Halve the step until it lowers the cost enough (Armijo); None where no length does."""
    length = 1.0
    for _ in range(trials):
        trial = x + length * step
        try:
            there = evaluate(trial)
        except NumericalError:
            there = None
        if there is not None and there.value <= value + 1e-4 * length * slope:
            return trial, there
        length *= 0.5
    return None


def leading_modes(
    product: Product,
    precision: Product,
    covariance: Product,
    dot: Pairing,
    start: Vector,
    most: int,
    smallest: float = 0.05,
) -> tuple[Vector, Vector]:
    """Return the leading eigenpairs of `H v = lambda R v` by Lanczos with full reorthogonalisation (collective).

    Args:
        product: v -> H v, symmetric and not negative, a dual vector.
        precision: v -> R v.
        covariance: dual -> R^-1 dual.
        dot: pairing of a dual vector with a direction, over all ranks.
        start: first direction, at random.
        most: most products with H.
        smallest: ends once the smallest Ritz value lies below.

    Returns:
        Eigenvalues (k,), descending, and eigenvectors (n, k), orthonormal in the inner product of R.
    """
    basis: list[Vector] = []
    duals: list[Vector] = []
    diagonal: list[float] = []
    off: list[float] = []
    v = start / math.sqrt(dot(precision(start), start))
    for _ in range(most):
        basis.append(v)
        duals.append(precision(v))
        image = product(v)
        diagonal.append(dot(image, v))
        w = covariance(image)
        for _again in range(2):
            for other, dual in zip(basis, duals, strict=True):
                w = w - dot(dual, w) * other
        size = math.sqrt(max(dot(precision(w), w), 0.0))
        values = np.linalg.eigvalsh(_tridiagonal(diagonal, off))
        if size <= 1e-12 * max(values.max(), 1e-300) or (
            len(basis) > 2 and values.min() < smallest and size < smallest
        ):
            break
        off.append(size)
        v = w / size
    values, vectors = np.linalg.eigh(_tridiagonal(diagonal, off[: len(diagonal) - 1]))
    order = np.argsort(-values)
    return np.maximum(values[order], 0.0), np.stack(basis, axis=1) @ vectors[:, order]


def _tridiagonal(diagonal: list[float], off: list[float]) -> Vector:
    size = len(diagonal)
    sides = np.array(off[: size - 1])
    return np.diag(diagonal) + np.diag(sides, 1) + np.diag(sides, -1)
