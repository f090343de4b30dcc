"""Runge-Kutta steps, explicit and diagonally implicit, with exact discrete tangent and adjoint.

Stages `y_i = u + h sum_l<i a_il k_l + h a_ii k_i`, `k_i = S(y_i; q_i)` and `u + h sum b_i k_i`. Where a_ii > 0 the
stage is found by Newton's method; its linearisation solves with `I - h a_ii S'(y_i)`, its adjoint with the transpose.
Hairer, Norsett and Wanner, Solving ODEs I (II.1); Hairer and Wanner, Solving ODEs II (IV.6); Hager, Numer. Math. 87,
2000 for adjoints of Runge-Kutta methods.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from oncology.nodes.scheme import Scheme
from oncology.science.equation import Coefficients, Equation
from oncology.science.linear import Factor, factorise, newton

__all__ = ["BACKWARD_EULER", "CRANK_NICOLSON", "SDIRK2", "RungeKutta", "explicit"]


@dataclass(frozen=True)
class RungeKutta:
    """A Runge-Kutta method as its table of coefficients.

    Attributes:
        name: name in files and tables.
        order: order of convergence.
        a: rows of the lower triangular matrix, diagonal included; row i has i + 1 entries.
        b: weights of the stages.
    """

    name: str
    order: int
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]

    @property
    def positions(self) -> tuple[float, ...]:
        """Position of each stage in the step."""
        return tuple(sum(row) for row in self.a)

    def step(self, equation: Equation, length: float, q: list[Coefficients], u: Tensor) -> RungeKuttaStep:
        """Take a step of the given length from u, (K, n)."""
        states: list[Tensor] = []
        slopes: list[Tensor] = []
        for row, coefficients in zip(self.a, q, strict=True):
            base, shift = _combined(u, length, row, slopes), length * row[-1]
            if shift == 0:
                states.append(base)
                slopes.append(equation.value(base, coefficients))
            else:
                states.append(newton(equation, base, coefficients, shift))
                slopes.append((states[-1] - base) / shift)
        return RungeKuttaStep(self, equation, length, q, states, _combined(u, length, self.b, slopes))


@dataclass(frozen=True, eq=False)
class RungeKuttaStep:
    """A Runge-Kutta step that was taken.

    Attributes:
        rule: the method.
        equation: S.
        length: h.
        q: coefficients of each stage.
        states: y of each stage, (K, n).
        final: state after the step, (K, n).
    """

    rule: RungeKutta
    equation: Equation
    length: float
    q: list[Coefficients]
    states: list[Tensor]
    final: Tensor

    @cached_property
    def factors(self) -> list[Factor | None]:
        """Factors of each implicit stage at the state where it ended."""
        shifts = [self.length * row[-1] for row in self.rule.a]
        return [
            factorise(self.equation, y, q, shift) if shift else None
            for y, q, shift in zip(self.states, self.q, shifts, strict=True)
        ]

    def tangent(self, du: Tensor, dq: list[Coefficients]) -> Tensor:
        """Derivative along the first state and the coefficients: `(I - h a_ii S_u) dk = S_u dy + S_q dq`."""
        slopes: list[Tensor] = []
        for row, y, q, change, factor in zip(self.rule.a, self.states, self.q, dq, self.factors, strict=True):
            base = _combined(du, self.length, row, slopes)
            slope = self.equation.pushforward(y, q, base, change)
            slopes.append(slope if factor is None else factor.solve(slope))
        return _combined(du, self.length, self.rule.b, slopes)

    def adjoint(self, covector: Tensor) -> tuple[Tensor, list[Coefficients]]:
        """Transpose of `tangent`, the same lines from the last to the first."""
        rule, h = self.rule, self.length
        slopes = [h * weight * covector for weight in rule.b]
        state, duals = covector.clone(), list(self.q)
        for i in range(len(rule.b) - 1, -1, -1):
            factor = self.factors[i]
            force = slopes[i] if factor is None else factor.solve(slopes[i], transposed=True)
            base, duals[i] = self.equation.pullback(self.states[i], self.q[i], force)
            state += base
            for earlier in range(i):
                if rule.a[i][earlier]:
                    slopes[earlier] = slopes[earlier] + h * rule.a[i][earlier] * base
        return state, duals


def _combined(u: Tensor, length: float, row: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    """`u + h sum a_l k_l` over the slopes that are known."""
    total = u.clone()
    for weight, slope in zip(row, slopes, strict=False):
        if weight:
            torch.add(total, slope, alpha=length * weight, out=total)
    return total


def explicit(scheme: Scheme) -> RungeKutta:
    """An explicit scheme of the core."""
    return RungeKutta(scheme.name, scheme.order, tuple((*row, 0.0) for row in scheme.a), scheme.b)


_GAMMA = 1.0 - 1.0 / math.sqrt(2.0)

BACKWARD_EULER = RungeKutta("backward-euler", 1, ((1.0,),), (1.0,))
CRANK_NICOLSON = RungeKutta("crank-nicolson", 2, ((0.0,), (0.5, 0.5)), (0.5, 0.5))
SDIRK2 = RungeKutta("sdirk2", 2, ((_GAMMA,), (1.0 - _GAMMA, _GAMMA)), (1.0 - _GAMMA, _GAMMA))
"""Alexander's L-stable scheme (SIAM J. Numer. Anal. 14, 1977)."""
