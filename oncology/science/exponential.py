"""Exponential Runge-Kutta steps of second order for a linear part that a transform makes diagonal (ETDRK2).

    a  = exp(hL) u + h phi_1(hL) N(u; q_0),   u+ = a + h phi_2(hL) (N(a; q_1) - N(u; q_0)),   N = S - L(q_0)

Cox and Matthews, J. Comput. Phys. 176, 2002; Hochbruck and Ostermann, Acta Numerica 19, 2010. The derivative by the
eigenvalues uses `phi_k' = phi_k - k phi_k+1`, so that diffusivities inside L are differentiated exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.science.equation import Coefficients, Equation, SemiLinear, pullback_of, pushforward_of

__all__ = ["ETDRK2", "ExponentialRule", "ExponentialStep", "phi_functions"]

SERIES_TERMS = 18


def phi_functions(z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """phi_0 = exp to phi_3 of real arguments, phi_k+1 = (phi_k - 1/k!) / z; by their series near zero."""
    small = z.abs() < 1.0
    series_at, safe = torch.where(small, z, 0.0), torch.where(small, 1.0, z)
    series = torch.zeros_like(z)
    for k in range(SERIES_TERMS, -1, -1):
        series = series * series_at + 1.0 / math.factorial(k + 3)
    first = torch.expm1(safe) / safe
    second = (first - 1.0) / safe
    third = torch.where(small, series, (second - 0.5) / safe)
    second = torch.where(small, 0.5 + z * third, second)
    first = torch.where(small, 1.0 + z * second, first)
    return torch.exp(z), first, second, third


@dataclass(frozen=True)
class ExponentialRule:
    """The ETDRK2 rule; exact where the equation is linear, diagonal and without a source.

    Attributes:
        name: name in files and tables.
        order: order of convergence.
        positions: where the two stages read the coefficients; L takes those of the first.
    """

    name: str = "etdrk2"
    order: int = 2
    positions: tuple[float, ...] = (0.0, 1.0)

    def step(self, equation: Equation, length: float, q: list[Coefficients], u: Tensor) -> ExponentialStep:
        """Take a step of the given length from u, (K, n).

        Raises:
            ConfigError: the equation has no diagonal linear part.
        """
        if not isinstance(equation, SemiLinear):
            raise ConfigError(f"{equation.name} has no diagonal linear part; take an implicit stepper such as SDIRK2")
        return ExponentialStep(equation, length, q, u)


ETDRK2 = ExponentialRule()


@dataclass(frozen=True, eq=False)
class ExponentialStep:
    """An ETDRK2 step, in modes (marked by a hat in the comments).

    Attributes:
        equation: S.
        length: h.
        q: coefficients of both stages.
        start: u, (K, n).
    """

    equation: SemiLinear
    length: float
    q: list[Coefficients]
    start: Tensor

    @cached_property
    def eigenvalues(self) -> Tensor:
        """Those of L, (n,)."""
        return self.equation.eigenvalues(self.q[0])

    def _growth(self, _: Tensor, q: Coefficients) -> Tensor:
        return self.equation.eigenvalues(q)

    @cached_property
    def phi(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """phi_0 to phi_3 of h times the eigenvalues."""
        return phi_functions(self.length * self.eigenvalues)

    @cached_property
    def modes(self) -> tuple[Tensor, Tensor]:
        """State u and N(u; q_0) in modes."""
        u = self.equation.modes(self.start)
        return u, self.equation.modes(self.equation.value(self.start, self.q[0])) - self.eigenvalues * u

    @cached_property
    def middle(self) -> tuple[Tensor, Tensor, Tensor]:
        """Predictor a in cells, a and N(a; q_1) in modes."""
        u, force = self.modes
        a = self.phi[0] * u + self.length * self.phi[1] * force
        cells = self.equation.values(a)
        return cells, a, self.equation.modes(self.equation.value(cells, self.q[1])) - self.eigenvalues * a

    @cached_property
    def final(self) -> Tensor:
        """State after the step, (K, n)."""
        _, a, force = self.middle
        return self.equation.values(a + self.length * self.phi[2] * (force - self.modes[1]))

    def tangent(self, du: Tensor, dq: list[Coefficients]) -> Tensor:
        """Derivative along the first state and the coefficients of both stages."""
        equation, h, values = self.equation, self.length, self.eigenvalues
        (u, force), (cells, a, later), (p0, p1, p2, p3) = self.modes, self.middle, self.phi
        moved = pushforward_of(self._growth, values, self.q[0], torch.zeros_like(values), dq[0])
        d_u = equation.modes(du)
        d_force = equation.modes(equation.pushforward(self.start, self.q[0], du, dq[0])) - values * d_u - moved * u
        d_a = p0 * d_u + h * p1 * d_force + h * moved * (p0 * u + h * (p1 - p2) * force)
        pushed = equation.pushforward(cells, self.q[1], equation.values(d_a), dq[1])
        d_later = equation.modes(pushed) - values * d_a - moved * a
        final = d_a + h * p2 * (d_later - d_force) + h * h * (p2 - 2.0 * p3) * moved * (later - force)
        return equation.values(final)

    def adjoint(self, covector: Tensor) -> tuple[Tensor, list[Coefficients]]:
        """Transpose of `tangent`, line by line from its end."""
        equation, h, values = self.equation, self.length, self.eigenvalues
        (u, force), (cells, a, later), (p0, p1, p2, p3) = self.modes, self.middle, self.phi
        final = equation.modes(covector)
        d_later = h * p2 * final
        moved = h * h * (p2 - 2.0 * p3) * (later - force) * final - a * d_later
        pushed, second = equation.pullback(cells, self.q[1], equation.values(d_later))
        d_a = final - values * d_later + equation.modes(pushed)
        d_force = h * p1 * d_a - d_later
        moved = moved + h * (p0 * u + h * (p1 - p2) * force) * d_a - u * d_force
        pushed, first = equation.pullback(self.start, self.q[0], equation.values(d_force))
        state = equation.values(p0 * d_a - values * d_force) + pushed
        _, by_eigenvalues = pullback_of(self._growth, values, self.q[0], moved.sum(0))
        return state, [tuple(x + y for x, y in zip(first, by_eigenvalues, strict=True)), second]
