"""Costs with known minima, shared by the tests of the optimiser."""

from __future__ import annotations

import numpy as np

from oncology.optimise import FunctionProblem, Tangent


def spd(size: int, seed: int, condition: float = 100.0) -> np.ndarray:
    """Random symmetric positive matrix with eigenvalues from 1 to the condition number."""
    basis, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))
    return basis @ np.diag(np.geomspace(1.0, condition, size)) @ basis.T


def quadratic(matrix: np.ndarray, centre: np.ndarray) -> FunctionProblem:
    return FunctionProblem(
        value=lambda x: 0.5 * float((x - centre) @ matrix @ (x - centre)),
        derivative=lambda x: matrix @ (x - centre),
        tangent=lambda x, d: Tangent(float(d @ matrix @ d), second=float(d @ matrix @ d)),
    )


def _rosenbrock_derivative(x):
    """Derivative of sum 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2, in arithmetic that numpy and torch share."""
    ahead, here = x[1:], x[:-1]
    valley = ahead - here * here
    out = 0.0 * x
    out[:-1] += -400.0 * here * valley - 2.0 * (1.0 - here)
    out[1:] += 200.0 * valley
    return out


def _rosenbrock_tangent(x, d) -> Tangent:
    """Gauss-Newton and full curvature of the residuals sqrt(2) (10 (x_{i+1} - x_i^2), 1 - x_i)."""
    slopes = 10.0 * (d[1:] - 2.0 * x[:-1] * d[:-1])
    gauss_newton = 2.0 * float((slopes * slopes).sum() + (d[:-1] * d[:-1]).sum())
    bend = -400.0 * float(((x[1:] - x[:-1] * x[:-1]) * d[:-1] * d[:-1]).sum())
    return Tangent(gauss_newton, second=gauss_newton + bend)


ROSENBROCK = FunctionProblem(
    value=lambda x: float((100.0 * (x[1:] - x[:-1] * x[:-1]) ** 2 + (1.0 - x[:-1]) ** 2).sum()),
    derivative=_rosenbrock_derivative,
    tangent=_rosenbrock_tangent,
)
