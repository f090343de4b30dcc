"""Depth loops of any scheme and any activation, as torch operations; tangent and adjoint line against line.

Explicit Runge-Kutta stages `y_i = x + h sum a_il k_l`, `z_i = (y_i, 1) theta_i`, `k_i = S(z_i)`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from oncology.nodes.kernels.layers import Kernel, Layers

__all__ = ["LOOP"]


def forward(layers: Layers, state: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """States, inputs of the stages, memory of the activation."""
    activation, scheme, h, s = layers.activation, layers.scheme, layers.step, layers.scheme.stages
    matrices, biases = layers.matrices, layers.biases
    states = state.new_empty(layers.steps + 1, *state.shape)
    states[0] = state
    y = states[:-1] if s == 1 else state.new_empty(len(matrices), *state.shape)
    z = state.new_empty(len(matrices), len(state), layers.weights.shape[2])
    slopes = torch.empty_like(y)
    for j in range(layers.steps):
        for i in range(s):
            k = j * s + i
            if s > 1:
                y[k] = _moved(states[j], h, scheme.a[i], slopes[j * s : k])
            torch.addmm(biases[k], y[k], matrices[k], out=z[k])
            slopes[k] = activation.value(z[k])
        torch.add(states[j], slopes[j * s], alpha=h * scheme.b[0], out=states[j + 1])
        for i in range(1, s):
            states[j + 1].add_(slopes[j * s + i], alpha=h * scheme.b[i])
        if noise is not None:
            states[j + 1].add_(noise[j])
    return states, y, activation.memory(z, slopes)


def tangent(layers: Layers, memory: Tensor, arguments: Tensor, start: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sensitivity xi after each step and at the stages."""
    scheme, h, s, matrices = layers.scheme, layers.step, layers.scheme.stages, layers.matrices
    shape = (arguments.shape[1], layers.size)
    xi = arguments.new_empty(layers.steps + 1, *shape)
    xi[0] = 0.0 if start is None else start
    y = xi[:-1] if s == 1 else arguments.new_empty(len(matrices), *shape)
    for j in range(layers.steps):
        slopes: list[Tensor] = []
        for i in range(s):
            k = j * s + i
            if s > 1:
                y[k] = _moved(xi[j], h, scheme.a[i], slopes)
            arguments[k].addmm_(y[k], matrices[k])
            slopes.append(layers.activation.pushforward(memory[k], arguments[k]))
        torch.add(xi[j], slopes[0], alpha=h * scheme.b[0], out=xi[j + 1])
        for b, slope in zip(scheme.b[1:], slopes[1:], strict=True):
            xi[j + 1].add_(slope, alpha=h * b)
    return xi, y


def adjoint(
    layers: Layers, memory: Tensor, final: Tensor, along: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Lambda at each step, covectors of the stages' slopes, the same pulled back."""
    scheme, h, s, matrices = layers.scheme, layers.step, layers.scheme.stages, layers.matrices
    states = final.new_empty(layers.steps + 1, *final.shape)
    forces = final.new_empty(len(matrices), *final.shape)
    pulled = final.new_empty(len(matrices), len(final), layers.weights.shape[2])
    states[-1] = final if along is None else final + along[-1]
    for j in range(layers.steps - 1, -1, -1):
        back: list[Tensor] = []
        for i in range(s - 1, -1, -1):
            k = j * s + i
            torch.mul(states[j + 1], h * scheme.b[i], out=forces[k])
            for later, q in zip(range(s - 1, i, -1), back, strict=True):
                forces[k].add_(q, alpha=h * scheme.a[later][i])
            pulled[k] = layers.activation.pullback(memory[k], forces[k])
            back.append(pulled[k] @ matrices[k].T)
        torch.add(states[j + 1], back[0], out=states[j])
        for q in back[1:]:
            states[j].add_(q)
        if along is not None:
            states[j].add_(along[j])
    return states, forces, pulled


def _moved(state: Tensor, step: float, row: tuple[float, ...], slopes: Tensor | Sequence[Tensor]) -> Tensor:
    """State of a stage, `x + h sum a_il k_l`."""
    moved = state.clone()
    for a, slope in zip(row, slopes, strict=True):
        if a != 0:
            moved.add_(slope, alpha=step * a)
    return moved


LOOP = Kernel("loop", forward, tangent, adjoint)
