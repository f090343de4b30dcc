"""Forms B and C of the science-activated NODE, and the unknown clock: equations made of equations.

(B) `S(W(t) x + b(t); q)` with gains W that keep a dissipative S dissipative whatever their weights: a positive number,
a convolution with a symbol that is nowhere negative (it commutes with the Laplacian), a positive function of space
(then the Laplacian of w u contracts differences of equal mean in H^-1). (C) `S(x; q) + C sigma(A x + c)`, a neural
closure of low rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import scipy.sparse
import torch
from torch import Tensor

from oncology.nodes.activation import TANH, Activation
from oncology.science.equation import Coefficient, Coefficients, Equation, pullback_of, pushforward_of
from oncology.science.grid import Grid

__all__ = ["Activated", "Clocked", "Closed", "ConvolutionGain", "DiagonalGain", "Gain", "ScalarGain"]


class Gain(Protocol):
    """A linear map W of states with weights that may take any real value."""

    @property
    def size(self) -> int:
        """Number of weights."""

    @property
    def local(self) -> bool:
        """Whether W is diagonal in space."""

    def apply(self, weights: Tensor, x: Tensor) -> Tensor:
        """W x, (K, n)."""


@dataclass(frozen=True)
class ScalarGain:
    """W = softplus(w) I; a single weight w."""

    size: int = 1
    local: bool = True

    def apply(self, weights: Tensor, x: Tensor) -> Tensor:
        """W x, (K, n)."""
        return torch.nn.functional.softplus(weights) * x


@dataclass(frozen=True)
class DiagonalGain:
    """W = diag(least + softplus(w)), a positive function of space.

    Attributes:
        size: n, number of nodal values.
        least: lower bound w_0 > 0 of the gain.
    """

    size: int
    least: float = 1e-3
    local: bool = True

    def apply(self, weights: Tensor, x: Tensor) -> Tensor:
        """W x, (K, n)."""
        return (self.least + torch.nn.functional.softplus(weights)) * x


@dataclass(frozen=True, eq=False)
class ConvolutionGain:
    """W = A A with the symmetric convolution A of weights (a_0, a_1, ...): symbol `(a_0 + 2 sum a_j cos j theta)^2`.

    Attributes:
        grid: interval on which it acts, reflected at walls without flux, periodic or odd at fixed ones.
        size: number of weights, half the width of the kernel.
    """

    grid: Grid
    size: int
    local: bool = False

    def symbol(self, weights: Tensor) -> Tensor:
        """Eigenvalues of W, >= 0; (n,)."""
        angles = self.grid.axes[0].angles
        waves = torch.cos(torch.arange(self.size, dtype=angles.dtype)[:, None] * angles)
        return (2.0 * weights @ waves - weights[0]) ** 2

    def apply(self, weights: Tensor, x: Tensor) -> Tensor:
        """W x, (K, n)."""
        return self.grid.values(self.symbol(weights) * self.grid.modes(x))


@dataclass(frozen=True, eq=False)
class Activated:
    """Form B: an equation as the activation of W x + b.

    Attributes:
        equation: S.
        gain: W; its weights are the coefficient "gain", b is the coefficient "bias".
    """

    equation: Equation
    gain: Gain

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"activated {self.equation.name}"

    @property
    def size(self) -> int:
        """Number n of nodal values."""
        return self.equation.size

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Those of the equation, then gain and bias."""
        return (*self.equation.coefficients, Coefficient("gain", self.gain.size), Coefficient("bias", self.size))

    @property
    def weights(self) -> Tensor:
        """Quadrature weights of the equation."""
        return self.equation.weights

    @property
    def pattern(self) -> scipy.sparse.csr_array | None:
        """That of the equation for local gains."""
        return self.equation.pattern if self.gain.local else None

    def argument(self, x: Tensor, q: Coefficients) -> Tensor:
        """W x + b."""
        return self.gain.apply(q[-2], x) + q[-1]

    def value(self, u: Tensor, q: Coefficients) -> Tensor:
        """S(W u + b; q)."""
        return self.equation.value(self.argument(u, q), q[:-2])

    def pushforward(self, u: Tensor, q: Coefficients, du: Tensor, dq: Coefficients) -> Tensor:
        """S' (W du + dW u + db) + S_q dq."""
        move = pushforward_of(self.argument, u, q, du, dq)
        return self.equation.pushforward(self.argument(u, q), q[:-2], move, dq[:-2])

    def pullback(self, u: Tensor, q: Coefficients, covector: Tensor) -> tuple[Tensor, Coefficients]:
        """W* S'* mu, and the duals of q, W and b."""
        force, duals = self.equation.pullback(self.argument(u, q), q[:-2], covector)
        state, rest = pullback_of(self.argument, u, q, force)
        return state, (*duals, *rest[-2:])


@dataclass(frozen=True, eq=False)
class Closed:
    """Form C: an equation with a neural closure `C sigma(A x + c)`; costs `omega + L |C| |A|` of stability.

    Coefficients "closure_out" C (n * width), "closure_in" A (width * n) and "closure_bias" c (width) follow those of
    the equation.

    Attributes:
        equation: S.
        width: number of neurons.
        activation: sigma.
    """

    equation: Equation
    width: int
    activation: Activation = TANH

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"closed {self.equation.name}"

    @property
    def size(self) -> int:
        """Number n of nodal values."""
        return self.equation.size

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Those of the equation, then of the closure."""
        wide = self.size * self.width
        closure = (Coefficient("closure_out", wide), Coefficient("closure_in", wide))
        return (*self.equation.coefficients, *closure, Coefficient("closure_bias", self.width))

    @property
    def weights(self) -> Tensor:
        """Quadrature weights of the equation."""
        return self.equation.weights

    @property
    def pattern(self) -> None:
        """The closure couples everything."""
        return

    def _parts(self, q: Coefficients) -> tuple[Tensor, Tensor, Tensor]:
        return q[-3].reshape(self.width, self.size), q[-2].reshape(self.size, self.width), q[-1]

    def value(self, u: Tensor, q: Coefficients) -> Tensor:
        """S(u; q) + C sigma(A u + c)."""
        out, into, bias = self._parts(q)
        return self.equation.value(u, q[:-3]) + self.activation.value(u @ into + bias) @ out

    def pushforward(self, u: Tensor, q: Coefficients, du: Tensor, dq: Coefficients) -> Tensor:
        """Derivative along state and all coefficients."""
        (out, into, bias), (d_out, d_into, d_bias) = self._parts(q), self._parts(dq)
        z = u @ into + bias
        hidden = self.activation.value(z)
        move = self.activation.pushforward(self.activation.memory(z, hidden), du @ into + u @ d_into + d_bias)
        return self.equation.pushforward(u, q[:-3], du, dq[:-3]) + move @ out + hidden @ d_out

    def pullback(self, u: Tensor, q: Coefficients, covector: Tensor) -> tuple[Tensor, Coefficients]:
        """Transposed products by state and all coefficients."""
        out, into, bias = self._parts(q)
        z = u @ into + bias
        hidden = self.activation.value(z)
        force = self.activation.pullback(self.activation.memory(z, hidden), covector @ out.T)
        state, duals = self.equation.pullback(u, q[:-3], covector)
        closure = ((hidden.T @ covector).reshape(-1), (u.T @ force).reshape(-1), force.sum(0))
        return state + force @ into.T, (*duals, *closure)


@dataclass(frozen=True, eq=False)
class Clocked:
    """An equation whose duration is unknown too: `c S(u; q)` on (0, 1), c the coefficient "duration".

    Attributes:
        equation: S.
    """

    equation: Equation

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"clocked {self.equation.name}"

    @property
    def size(self) -> int:
        """Number n of nodal values."""
        return self.equation.size

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Those of the equation, then the duration."""
        return (*self.equation.coefficients, Coefficient("duration", 1, "day", positive=True))

    @property
    def weights(self) -> Tensor:
        """Quadrature weights of the equation."""
        return self.equation.weights

    @property
    def pattern(self) -> scipy.sparse.csr_array | None:
        """That of the equation."""
        return self.equation.pattern

    def value(self, u: Tensor, q: Coefficients) -> Tensor:
        """C S(u; q)."""
        return q[-1] * self.equation.value(u, q[:-1])

    def pushforward(self, u: Tensor, q: Coefficients, du: Tensor, dq: Coefficients) -> Tensor:
        """C (S_u du + S_q dq) + dc S."""
        moved = self.equation.pushforward(u, q[:-1], du, dq[:-1])
        return q[-1] * moved + dq[-1] * self.equation.value(u, q[:-1])

    def pullback(self, u: Tensor, q: Coefficients, covector: Tensor) -> tuple[Tensor, Coefficients]:
        """Transposed products by state, coefficients and duration."""
        state, duals = self.equation.pullback(u, q[:-1], q[-1] * covector)
        duration = (covector * self.equation.value(u, q[:-1])).sum().reshape(1)
        return state, (*duals, duration)
