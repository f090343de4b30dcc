"""Depth loops of Euler's scheme with an elementwise activation: two to three operations a layer, in the cache.

What a layer needs once stays small and is used again: arguments and slopes of a few layers at a time, and the scaling
by h inside the products.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from oncology.nodes.activation import TANH, Activation
from oncology.nodes.kernels.layers import Kernel, Layers

__all__ = ["EULER_LOOP"]

SCRATCH = 2**20
"""Bytes of the arguments that are held at a time: what a core's own cache takes."""


def forward(layers: Layers, state: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """States, inputs of the stages (the same), slopes of the activation."""
    states = state.new_empty(layers.steps + 1, *state.shape)
    memory = state.new_empty(layers.steps, *state.shape)
    states[0] = state
    h, x, matrices, biases = layers.step, states.unbind(0), layers.matrices, layers.biases
    size = max(1, min(layers.steps, SCRATCH // max(1, state.numel() * state.element_size())))
    z, values = state.new_empty(size, *state.shape), state.new_empty(size, *state.shape)
    each_z, each_value = z.unbind(0), values.unbind(0)
    scale, write = _writer(layers.activation, state)
    for first in range(0, layers.steps, size):
        count = min(size, layers.steps - first)
        for i, k in enumerate(range(first, first + count)):
            torch.addmm(biases[k], x[k], matrices[k], alpha=scale, beta=scale, out=each_z[i])
            write(each_z[i], each_value[i])
            torch.add(x[k], each_value[i], alpha=h, out=x[k + 1])
            if noise is not None:
                x[k + 1].add_(noise[k])
        memory[first : first + count] = layers.activation.memory(z[:count], values[:count])
    return states, states[:-1], memory


def tangent(layers: Layers, memory: Tensor, arguments: Tensor, start: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sensitivity xi after each step and at the stages (the same)."""
    xi = arguments.new_empty(layers.steps + 1, *arguments.shape[1:])
    xi[0] = 0.0 if start is None else start
    x, z, slopes, matrices = xi.unbind(0), arguments.unbind(0), memory.unbind(0), layers.matrices
    for k in range(layers.steps):
        z[k].addmm_(x[k], matrices[k])
        torch.addcmul(x[k], slopes[k], z[k], value=layers.step, out=x[k + 1])
    return xi, xi[:-1]


def adjoint(
    layers: Layers, memory: Tensor, final: Tensor, along: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Lambda at each step, and the covectors pulled back."""
    states, pulled = final.new_empty(layers.steps + 1, *final.shape), torch.empty_like(memory)
    states[-1] = final if along is None else final + along[-1]
    x, u, slopes, zero = states.unbind(0), pulled.unbind(0), memory.unbind(0), final.new_zeros(())
    matrices = layers.matrices
    for k in range(layers.steps - 1, -1, -1):
        torch.addcmul(zero, slopes[k], x[k + 1], value=layers.step, out=u[k])
        torch.addmm(x[k + 1], u[k], matrices[k].T, out=x[k])
        if along is not None:
            x[k].add_(along[k])
    return states, None, pulled


def _writer(activation: Activation, like: Tensor) -> tuple[float, Callable[[Tensor, Tensor], None]]:
    """A factor of z, and what writes S(z) for z times that factor.

    `tanh z = 2 sigmoid(2 z) - 1` takes half the time of torch's tanh, which costs half as much as the product on a CPU;
    both are right to the rounding of 1. The slope of tanh needs no z.
    """
    minus_one = like.new_full((), -1.0)

    def write_tanh(twice: Tensor, value: Tensor) -> None:
        torch.add(minus_one, torch.sigmoid(twice, out=value), alpha=2.0, out=value)

    def write(z: Tensor, value: Tensor) -> None:
        value.copy_(activation.value(z))

    return (2.0, write_tanh) if activation is TANH else (1.0, write)


EULER_LOOP = Kernel("euler", forward, tangent, adjoint)
