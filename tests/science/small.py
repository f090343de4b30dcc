"""Small equations with random coefficients, and the checks that every equation and stepper has to pass."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from oncology.nodes.depth import DepthGrid
from oncology.nodes.scheme import RK4
from oncology.optimise import Blocks, taylor_test
from oncology.science.equation import Coefficients, Equation
from oncology.science.exponential import ETDRK2
from oncology.science.node import ScienceNODE
from oncology.science.runge_kutta import BACKWARD_EULER, CRANK_NICOLSON, SDIRK2, explicit

STEPPERS = {stepper.name: stepper for stepper in (explicit(RK4), BACKWARD_EULER, CRANK_NICOLSON, SDIRK2, ETDRK2)}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def orders(errors: list[float], factor: float = 2.0) -> list[float]:
    """Observed orders between errors of grids that are each `factor` times finer."""
    return [math.log(coarse / fine, factor) for coarse, fine in pairwise(errors)]


def product_errors(equation: Equation, u: Tensor, q: Coefficients) -> tuple[float, float]:
    """Error of the dot test of an equation's products, and the Taylor rate of its pushforward."""
    du, dq = normal(*u.shape, seed=11), tuple(normal(*part.shape, seed=12 + i) for i, part in enumerate(q))
    covector = normal(*u.shape, seed=10)
    pushed = equation.pushforward(u, q, du, dq)
    state, duals = equation.pullback(u, q, covector)
    backward = (state * du).sum() + sum((a * b).sum() for a, b in zip(duals, dq, strict=True))
    error = abs(float((pushed * covector).sum() - backward)) / float(pushed.norm() * covector.norm())
    rate = taylor_test(
        lambda x: equation.value(x.parts[0], x.parts[1:]),
        Blocks((u, *q)),
        0.03 * Blocks((du, *dq)),
        0.03 * pushed,
        norm=lambda a: float(torch.linalg.vector_norm(a)),
    ).rate
    return error, rate


def run_errors(model: ScienceNODE, q: Coefficients, state: Tensor, size: float = 0.03) -> tuple[float, float]:
    """Error of a run's dot test, with covectors at all times, and the Taylor rate of its tangent."""
    run = model.run(q, state)
    d0, dq = normal(*state.shape, seed=21), tuple(normal(*part.shape, seed=22 + i) for i, part in enumerate(q))
    covector = normal(model.count + 1, *state.shape, seed=20)
    xi, solved = run.tangent(dq, d0), run.adjoint(covector)
    backward = (solved.initial * d0).sum() + sum((a * b).sum() for a, b in zip(solved.coefficients, dq, strict=True))
    error = abs(float((xi * covector).sum() - backward)) / float(xi.norm() * covector.norm())
    rate = taylor_test(
        lambda x: model.run(x.parts[1:], x.parts[0]).final,
        Blocks((state, *q)),
        size * Blocks((d0, *dq)),
        size * xi[-1],
        norm=lambda a: float(torch.linalg.vector_norm(a)),
    ).rate
    return error, rate


def of(
    equation: Equation, stepper: str, length: float = 1.0, cells: int = 3, steps: int = 2, keep: int = 1
) -> ScienceNODE:
    return ScienceNODE(equation, DepthGrid(length, cells), STEPPERS[stepper], steps, keep)
