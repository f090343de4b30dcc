"""Forward run of a standalone NODE with its exact discrete tangent, adjoint and second derivative (B1.3, B1.4, B1.6).

Explicit Runge-Kutta stages `y_i = x + h sum a_il k_l`, `z_i = (y_i, 1) theta_i`, `k_i = S(z_i)`. Tangent and adjoint
are the same loop, line against line; what does not depend on the order of the stages is one batched product over all.
Arrays over stages have the shape (stages, K, .), K samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from oncology.node.activation import Activation
from oncology.node.depth import Interpolation
from oncology.node.scheme import Scheme

__all__ = ["Adjoint", "Run", "Tangent", "march"]


@dataclass(frozen=True, eq=False)
class Tangent:
    """The sensitivity problem along one direction.

    Attributes:
        states: xi after each time step, the first one included; (steps + 1, K, n).
        inputs: derivative of the stages' states y, (stages, K, n).
        arguments: derivative of the stages' z, (stages, K, m).
        direction: weights' direction at the stages, (stages, n + 1, m); None where only the input moves.
    """

    states: Tensor
    inputs: Tensor
    arguments: Tensor
    direction: Tensor | None

    @property
    def final(self) -> Tensor:
        """xi(T), (K, n)."""
        return self.states[-1]


@dataclass(frozen=True, eq=False)
class Adjoint:
    """The adjoint problem of one covector.

    Attributes:
        theta: derivative by the weights, a dual vector of their shape.
        states: lambda at each time step, (steps + 1, K, n); the first one is the derivative by the input.
        forces: mu, covector of each stage's slope k, (stages, K, n).
        pulled: S'(z)* mu, (stages, K, m).
    """

    theta: Tensor
    states: Tensor
    forces: Tensor
    pulled: Tensor

    @property
    def input(self) -> Tensor:
        """lambda(0), derivative by the states at depth 0, (K, n)."""
        return self.states[0]


@dataclass(frozen=True, eq=False)
class Run:
    """A forward run with what its linearisation needs.

    Attributes:
        activation: S.
        scheme: Runge-Kutta scheme.
        step: time step h.
        interpolation: from nodal weights to those of the stages.
        weights: of the stages, (stages, n + 1, m).
        states: x after each time step, the first one included; (steps + 1, K, n).
        inputs: y of the stages, (stages, K, n).
        memory: what the activation keeps of each stage, (stages, K, .).
    """

    activation: Activation
    scheme: Scheme
    step: float
    interpolation: Interpolation
    weights: Tensor
    states: Tensor
    inputs: Tensor
    memory: Tensor

    @property
    def final(self) -> Tensor:
        """x(T), (K, n)."""
        return self.states[-1]

    def tangent(self, direction: Tensor | None, input: Tensor | None = None) -> Tangent:
        """Sensitivity problem `xi' = S'(z)(W xi + V x + v)`, `xi(0) = xi0` (B1.3).

        Args:
            direction: (V, v) in the shape of the weights; None for zero.
            input: xi0, (K, n); None for zero.
        """
        h, s = self.step, self.scheme.stages
        count, n = len(self.states) - 1, self.weights.shape[1] - 1
        along = None if direction is None else self.interpolation.push(direction)
        z = self.inputs.new_zeros(*self.inputs.shape[:2], self.weights.shape[2])
        if along is not None:
            torch.baddbmm(along[:, n:], self.inputs, along[:, :n], out=z)
        xi = torch.zeros_like(self.states)
        if input is not None:
            xi[0] = input
        y = xi[:-1] if s == 1 else torch.empty_like(self.inputs)
        for j in range(count):
            slopes: list[Tensor] = []
            for i in range(s):
                k = j * s + i
                if s > 1:
                    y[k] = _moved(xi[j], h, self.scheme.a[i], slopes)
                z[k].addmm_(y[k], self.weights[k, :n])
                slopes.append(self.activation.pushforward(self.memory[k], z[k]))
            torch.add(xi[j], slopes[0], alpha=h * self.scheme.b[0], out=xi[j + 1])
            for b, slope in zip(self.scheme.b[1:], slopes[1:], strict=True):
                xi[j + 1].add_(slope, alpha=h * b)
        return Tangent(xi, y, z, along)

    def adjoint(self, final: Tensor, along: Tensor | None = None) -> Adjoint:
        """Adjoint problem `-lambda' = W*(S'(z)* lambda) + g(t)`, `lambda(T)` given (B1.4).

        Args:
            final: derivative of the cost by x(T), (K, n).
            along: derivative of the cost by the state at each time step, (steps + 1, K, n); None for zero.
        """
        h, s = self.step, self.scheme.stages
        count, n = len(self.states) - 1, self.weights.shape[1] - 1
        forces = torch.empty_like(self.inputs)
        pulled = self.inputs.new_empty(*self.inputs.shape[:2], self.weights.shape[2])
        states = torch.empty_like(self.states)
        states[count] = final if along is None else final + along[count]
        for j in range(count - 1, -1, -1):
            back: list[Tensor] = []
            for i in range(s - 1, -1, -1):
                k = j * s + i
                torch.mul(states[j + 1], h * self.scheme.b[i], out=forces[k])
                for later, q in zip(range(s - 1, i, -1), back, strict=True):
                    forces[k].add_(q, alpha=h * self.scheme.a[later][i])
                pulled[k] = self.activation.pullback(self.memory[k], forces[k])
                back.append(pulled[k] @ self.weights[k, :n].T)
            torch.add(states[j + 1], back[0], out=states[j])
            for q in back[1:]:
                states[j].add_(q)
            if along is not None:
                states[j].add_(along[j])
        return Adjoint(self._weight_dual(pulled), states, forces, pulled)

    def _weight_dual(self, pulled: Tensor) -> Tensor:
        """Derivative by the weights, `sum_k (y, 1)* U`, from all stages at once."""
        dual = torch.empty_like(self.weights)
        n = dual.shape[1] - 1
        torch.bmm(self.inputs.mT, pulled, out=dual[:, :n])
        torch.sum(pulled, dim=1, out=dual[:, n])
        return self.interpolation.pull(dual)

    def second(self, adjoint: Adjoint, tangent: Tangent) -> float:
        """Second derivative of x along a direction, paired with the adjoint's covectors; no further solve (B1.6).

        `sum_k mu_k . S''(z)[dz, dz] + 2 U_k . (V dy)`.
        """
        n = self.weights.shape[1] - 1
        z = torch.baddbmm(self.weights[:, n:], self.inputs, self.weights[:, :n])
        total = (adjoint.forces * self.activation.curvature(z, tangent.arguments)).sum()
        if tangent.direction is not None:
            total = total + 2.0 * (adjoint.pulled * (tangent.inputs @ tangent.direction[:, :n])).sum()
        return float(total)


def march(
    activation: Activation,
    scheme: Scheme,
    step: float,
    interpolation: Interpolation,
    theta: Tensor,
    state: Tensor,
    noise: Tensor | None = None,
) -> Run:
    """Solve forward with equal time steps.

    Args:
        activation: S.
        scheme: Runge-Kutta scheme.
        step: time step h, in units of depth.
        interpolation: from nodal weights to those of the stages.
        theta: nodal weights, (nodes, n + 1, m).
        state: x(0), (K, n).
        noise: increments added after each time step, (steps, K, n); none if not given.
    """
    weights = interpolation.push(theta)
    s, n = scheme.stages, theta.shape[1] - 1
    count = len(weights) // s
    states = state.new_empty(count + 1, *state.shape)
    states[0] = state
    y = states[:-1] if s == 1 else state.new_empty(len(weights), *state.shape)
    z = state.new_empty(len(weights), len(state), theta.shape[2])
    slopes = torch.empty_like(y)
    for j in range(count):
        for i in range(s):
            k = j * s + i
            if s > 1:
                y[k] = _moved(states[j], step, scheme.a[i], slopes[j * s : k])
            torch.addmm(weights[k, n], y[k], weights[k, :n], out=z[k])
            slopes[k] = activation.value(z[k])
        torch.add(states[j], slopes[j * s], alpha=step * scheme.b[0], out=states[j + 1])
        for i in range(1, s):
            states[j + 1].add_(slopes[j * s + i], alpha=step * scheme.b[i])
        if noise is not None:
            states[j + 1].add_(noise[j])
    return Run(activation, scheme, step, interpolation, weights, states, y, activation.memory(z, slopes))


def _moved(state: Tensor, step: float, row: tuple[float, ...], slopes: Tensor | list[Tensor]) -> Tensor:
    """State of a stage, `x + h sum a_il k_l`."""
    moved = state.clone()
    for a, slope in zip(row, slopes, strict=True):
        if a != 0:
            moved.add_(slope, alpha=step * a)
    return moved
