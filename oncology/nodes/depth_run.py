"""Forward run of a standalone NODE with its exact discrete tangent, adjoint and second derivative.

Explicit Runge-Kutta stages `y_i = x + h sum a_il k_l`, `z_i = (y_i, 1) theta_i`, `k_i = S(z_i)`. The loops through
depth are a kernel's; what does not depend on the order of the stages is one batched product over all, here.
Arrays over stages have the shape (stages, K, .), K samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from oncology.nodes.activation import Activation
from oncology.nodes.depth import Interpolation
from oncology.nodes.kernels import Kernel, Layers, kernel_for
from oncology.nodes.scheme import Scheme

__all__ = ["DepthAdjoint", "DepthRun", "DepthTangent", "march"]


@dataclass(frozen=True, eq=False)
class DepthTangent:
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
class DepthAdjoint:
    """The adjoint problem of one covector.

    Attributes:
        theta: derivative by the weights, a dual vector of their shape.
        states: lambda at each time step, (steps + 1, K, n); the first one is the derivative by the input.
        pulled: S'(z)* mu, (stages, K, m).
        step: time step h.
        staged: mu where a step has several stages, (stages, K, n); else None.
    """

    theta: Tensor
    states: Tensor
    pulled: Tensor
    step: float
    staged: Tensor | None = None

    @property
    def forces(self) -> Tensor:
        """mu, covector of each stage's slope k, (stages, K, n)."""
        return self.step * self.states[1:] if self.staged is None else self.staged

    @property
    def input(self) -> Tensor:
        """lambda(0), derivative by the states at depth 0, (K, n)."""
        return self.states[0]


@dataclass(frozen=True, eq=False)
class DepthRun:
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

    @property
    def layers(self) -> Layers:
        """The discrete network."""
        return Layers(self.activation, self.scheme, self.step, self.weights)

    @property
    def kernel(self) -> Kernel:
        """What walks through the layers."""
        return kernel_for(self.layers)

    def tangent(self, direction: Tensor | None, input: Tensor | None = None) -> DepthTangent:
        """Sensitivity problem `xi' = S'(z)(W xi + V x + v)`, `xi(0) = xi0`.

        Args:
            direction: (V, v) in the shape of the weights; None for zero.
            input: xi0, (K, n); None for zero.
        """
        n, shape = self.layers.size, (*self.inputs.shape[:2], self.weights.shape[2])
        along = None if direction is None else self.interpolation.push(direction)
        if along is None:
            z = self.inputs.new_zeros(shape)
        else:
            z = torch.baddbmm(along[:, n:], self.inputs, along[:, :n])
        xi, y = self.kernel.tangent(self.layers, self.memory, z, input)
        return DepthTangent(xi, y, z, along)

    def adjoint(self, final: Tensor, along: Tensor | None = None) -> DepthAdjoint:
        """Adjoint problem `-lambda' = W*(S'(z)* lambda) + g(t)`, `lambda(T)` given.

        Args:
            final: derivative of the cost by x(T), (K, n).
            along: derivative of the cost by the state at each time step, (steps + 1, K, n); None for zero.
        """
        states, forces, pulled = self.kernel.adjoint(self.layers, self.memory, final, along)
        return DepthAdjoint(self._weight_dual(pulled), states, pulled, self.step, forces)

    def _weight_dual(self, pulled: Tensor) -> Tensor:
        """Derivative by the weights, `sum_k (y, 1)* U`, from all stages at once."""
        dual = torch.empty_like(self.weights)
        n = self.layers.size
        torch.bmm(self.inputs.mT, pulled, out=dual[:, :n])
        torch.sum(pulled, dim=1, out=dual[:, n])
        return self.interpolation.pull(dual)

    def second(self, adjoint: DepthAdjoint, tangent: DepthTangent) -> float:
        """Second derivative of x along a direction, paired with the adjoint's covectors; no further solve.

        `sum_k mu_k . S''(z)[dz, dz] + 2 U_k . (V dy)`.
        """
        n = self.layers.size
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
) -> DepthRun:
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
    layers = Layers(activation, scheme, step, interpolation.push(theta))
    states, inputs, memory = kernel_for(layers).forward(layers, state, noise)
    return DepthRun(activation, scheme, step, interpolation, layers.weights, states, inputs, memory)
