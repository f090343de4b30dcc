"""A differential equation as the activation of the core's standalone NODE, `x' = S(W(t) x + b(t); q)` with any W.

It follows the core's `Activation` protocol, so that training, sensitivity and attacks of `oncology.nodes` run on it
unchanged. Unlike the gains of `forms`, an arbitrary W can destroy dissipativity: keep it near a multiple of I.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from oncology.science.equation import Coefficients, Equation, curvature_of

__all__ = ["EquationActivation"]


@dataclass(frozen=True, eq=False)
class EquationActivation:
    """The right-hand side of an equation with known coefficients.

    Attributes:
        equation: S.
        q: its coefficients, (size,) each.
    """

    equation: Equation
    q: Coefficients

    @property
    def name(self) -> str:
        """Name of the equation."""
        return self.equation.name

    @property
    def lipschitz(self) -> float:
        """None that is independent of the mesh."""
        return math.inf

    @property
    def _still(self) -> Coefficients:
        return tuple(torch.zeros_like(part) for part in self.q)

    def value(self, z: Tensor) -> Tensor:
        """S(z; q)."""
        return self.equation.value(_rows(z), self.q).reshape(z.shape)

    def memory(self, z: Tensor, value: Tensor) -> Tensor:
        """The point itself."""
        return z

    def pushforward(self, memory: Tensor, direction: Tensor) -> Tensor:
        """S'(z) dz."""
        pushed = self.equation.pushforward(_rows(memory), self.q, _rows(direction), self._still)
        return pushed.reshape(memory.shape)

    def pullback(self, memory: Tensor, covector: Tensor) -> Tensor:
        """S'(z)* u."""
        return self.equation.pullback(_rows(memory), self.q, _rows(covector))[0].reshape(memory.shape)

    def curvature(self, z: Tensor, direction: Tensor) -> Tensor:
        """S''(z)[dz, dz]."""
        bent = curvature_of(lambda u: self.equation.value(u, self.q), _rows(z), _rows(direction))
        return bent.reshape(z.shape)


def _rows(z: Tensor) -> Tensor:
    return z.reshape(-1, z.shape[-1])
