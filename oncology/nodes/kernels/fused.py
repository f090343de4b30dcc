"""Euler's scheme with an elementwise activation as one Triton kernel a solve: no launch a layer.

Samples are independent, so each program carries its block of them through all layers; the weights of a layer are read
by all programs at about the same time and come from the L2 cache. States pass from layer to layer through memory that
no other program touches, with a barrier between layers. Products in single precision take three passes of the tensor
cores (tf32x3), which keeps them at single precision's rounding.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from oncology.nodes.activation import ACTIVATIONS
from oncology.nodes.kernels.layers import Kernel, Layers

__all__ = ["FUSED", "fuses"]

ACTIVATIONS_HERE = ("tanh", "sigmoid", "relu", "leaky-relu", "identity")

ROWS = 16
"""Samples of a program: the least that the tensor cores take."""

LARGEST = 256
"""Columns of the weights that a program holds sums of; most networks fit, and each layer is one pass then."""


@triton.jit
def _value_and_slope(z, NAME: tl.constexpr):
    if NAME == "tanh":
        e = tl.exp(-2.0 * tl.abs(z))
        size = (1.0 - e) / (1.0 + e)
        value = tl.where(z < 0.0, -size, size)
        slope = 1.0 - value * value
    elif NAME == "sigmoid":
        e = tl.exp(-tl.abs(z))
        value = tl.where(z < 0.0, e, 1.0) / (1.0 + e)
        slope = value * (1.0 - value)
    elif NAME == "relu":
        value = tl.where(z > 0.0, z, 0.0)
        slope = tl.where(z > 0.0, 1.0, 0.0)
    elif NAME == "leaky-relu":
        value = tl.where(z > 0.0, z, 0.1 * z)
        slope = tl.where(z > 0.0, 1.0, tl.zeros_like(z) + 0.1)
    else:
        tl.static_assert(NAME == "identity")
        value = z
        slope = 0.0 * z + 1.0
    return value, slope


@triton.jit
def _product(z, x, w, rows, columns, samples, n: tl.constexpr, INNER: tl.constexpr, PRECISION: tl.constexpr):
    """Add `x W` to a tile of z."""
    for first in range(0, n, INNER):
        inner = first + tl.arange(0, INNER)
        a_inside = (rows[:, None] < samples) & (inner[None, :] < n)
        b_inside = (inner[:, None] < n) & (columns[None, :] < n)
        a = tl.load(x + rows[:, None] * n + inner[None, :], mask=a_inside, other=0.0)
        b = tl.load(w + inner[:, None] * n + columns[None, :], mask=b_inside, other=0.0)
        z = tl.dot(a, b, z, input_precision=PRECISION, out_dtype=z.dtype)
    return z


@triton.jit
def _forward(
    x, memory, w, noise, steps, samples, n: tl.constexpr,
    STEP: tl.constexpr, NAME: tl.constexpr, NOISY: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, INNER: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    for _ in range(steps):
        for first in range(0, n, COLUMNS):
            columns = first + tl.arange(0, COLUMNS)
            bias = tl.load(w + n * n + columns, mask=columns < n, other=0.0)
            z = tl.zeros((ROWS, COLUMNS), dtype=x.dtype.element_ty) + bias[None, :]
            z = _product(z, x, w, rows, columns, samples, n, INNER, PRECISION)
            value, slope = _value_and_slope(z, NAME)
            at = rows[:, None] * n + columns[None, :]
            inside = (rows[:, None] < samples) & (columns[None, :] < n)
            moved = tl.load(x + at, mask=inside, other=0.0) + STEP * value
            if NOISY:
                moved += tl.load(noise + at, mask=inside, other=0.0)
            tl.store(x + samples * n + at, moved, mask=inside)
            tl.store(memory + at, slope, mask=inside)
        tl.debug_barrier()
        x += samples * n
        memory += samples * n
        noise += samples * n if NOISY else 0
        w += (n + 1) * n


@triton.jit
def _tangent(
    x, memory, w, z_all, steps, samples, n: tl.constexpr,
    STEP: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, INNER: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    for _ in range(steps):
        for first in range(0, n, COLUMNS):
            columns = first + tl.arange(0, COLUMNS)
            at = rows[:, None] * n + columns[None, :]
            inside = (rows[:, None] < samples) & (columns[None, :] < n)
            z = tl.load(z_all + at, mask=inside, other=0.0)
            z = _product(z, x, w, rows, columns, samples, n, INNER, PRECISION)
            slope = tl.load(memory + at, mask=inside, other=0.0)
            moved = tl.load(x + at, mask=inside, other=0.0) + STEP * slope * z
            tl.store(z_all + at, z, mask=inside)
            tl.store(x + samples * n + at, moved, mask=inside)
        tl.debug_barrier()
        x += samples * n
        memory += samples * n
        z_all += samples * n
        w += (n + 1) * n


@triton.jit
def _adjoint(
    x, memory, w, pulled, along, steps, samples, n: tl.constexpr,
    STEP: tl.constexpr, SOURCE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, INNER: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Pointers stand at the last layer, x at lambda(T)."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    for _ in range(steps):
        for first in range(0, n, COLUMNS):
            columns = first + tl.arange(0, COLUMNS)
            at = rows[:, None] * n + columns[None, :]
            inside = (rows[:, None] < samples) & (columns[None, :] < n)
            moved = tl.load(x + at, mask=inside, other=0.0)
            u = STEP * tl.load(memory + at, mask=inside, other=0.0) * moved
            tl.store(pulled + at, u, mask=inside)
            if SOURCE:
                moved += tl.load(along + at, mask=inside, other=0.0)
            for start in range(0, n, INNER):
                inner = start + tl.arange(0, INNER)
                here = rows[:, None] * n + inner[None, :]
                a_inside = (rows[:, None] < samples) & (inner[None, :] < n)
                b_inside = (columns[:, None] < n) & (inner[None, :] < n)
                a = tl.load(memory + here, mask=a_inside, other=0.0) * tl.load(x + here, mask=a_inside, other=0.0)
                b = tl.load(w + columns[:, None] * n + inner[None, :], mask=b_inside, other=0.0)
                moved = tl.dot(STEP * a, tl.trans(b), moved, input_precision=PRECISION, out_dtype=moved.dtype)
            tl.store(x - samples * n + at, moved, mask=inside)
        tl.debug_barrier()
        x -= samples * n
        memory -= samples * n
        pulled -= samples * n
        along -= samples * n if SOURCE else 0
        w -= (n + 1) * n


def fuses(layers: Layers) -> bool:
    """Whether these layers are what the kernel knows: one stage, single precision, an activation of its own."""
    name = layers.activation.name
    known = name in ACTIVATIONS_HERE and layers.activation is ACTIVATIONS[name]
    return known and layers.scheme.stages == 1 and layers.weights.dtype == torch.float32


def forward(layers: Layers, state: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """States, inputs of the stages (the same), slopes of the activation."""
    states = state.new_empty(layers.steps + 1, *state.shape)
    memory = state.new_empty(layers.steps, *state.shape)
    states[0] = state
    kept = memory if noise is None else noise.contiguous()
    name = layers.activation.name
    _launch(_forward, layers, states, memory, layers.weights.contiguous(), kept, NAME=name, NOISY=noise is not None)
    return states, states[:-1], memory


def tangent(layers: Layers, memory: Tensor, arguments: Tensor, start: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sensitivity xi after each step and at the stages (the same)."""
    xi = arguments.new_empty(layers.steps + 1, *arguments.shape[1:])
    xi[0] = 0.0 if start is None else start
    _launch(_tangent, layers, xi, memory, layers.weights.contiguous(), arguments)
    return xi, xi[:-1]


def adjoint(
    layers: Layers, memory: Tensor, final: Tensor, along: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Lambda at each step, and the covectors pulled back."""
    states, pulled = final.new_empty(layers.steps + 1, *final.shape), torch.empty_like(memory)
    states[-1] = final if along is None else final + along[-1]
    source = memory if along is None else along[:-1].contiguous()
    last = [stack[-1] for stack in (states, memory, layers.weights.contiguous(), pulled, source)]
    _launch(_adjoint, layers, *last, SOURCE=along is not None)
    return states, None, pulled


def _launch(kernel: Any, layers: Layers, states: Tensor, *others: Tensor, **options: Any) -> None:
    samples = states.shape[-2]
    precision = "ieee" if states.dtype == torch.float64 else "tf32x3"
    arguments = (states, *others, layers.steps, samples, layers.size)
    columns = max(16, min(LARGEST, triton.next_power_of_2(layers.size)))
    kernel[(triton.cdiv(samples, ROWS),)](
        *arguments,
        STEP=layers.step,
        PRECISION=precision,
        ROWS=ROWS,
        COLUMNS=columns,
        INNER=16,
        num_warps=8,
        num_stages=4,
        **options,
    )


FUSED = Kernel("fused", forward, tangent, adjoint)
