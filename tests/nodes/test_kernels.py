"""Kernels against the plain loop: the same numbers to rounding, exact transposes, and the right one for each net."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from oncology.nodes.activation import ACTIVATIONS, TANH, activation_named
from oncology.nodes.kernels import Layers, choose, kernel_for
from oncology.nodes.kernels.euler import EULER_LOOP
from oncology.nodes.kernels.graph import cuda_graph, recorded
from oncology.nodes.kernels.loop import LOOP
from oncology.nodes.scheme import EULER, HEUN, RK4, SCHEMES, scheme_named
from tests.nodes.nets import like, net

FUSED_NAMES = ("tanh", "sigmoid", "relu", "leaky-relu", "identity")
inner = lambda a, b: float((a * b).sum())  # noqa: E731


def layers(name="tanh", scheme=EULER, size=5, steps=6, dtype=torch.float64):
    weights = like(torch.empty(steps * scheme.stages, size + 1, size), 1).to(dtype) / size**0.5
    return Layers(activation_named(name), scheme, 0.1, weights)


def solves(kernel, network, samples, more):
    """Everything that a kernel computes, from the same random data; `more` adds noise, sources and a start."""
    shape, steps = (samples, network.size), network.steps
    make = lambda seed, *lead: like(torch.empty(*lead, *shape), seed).to(network.weights)  # noqa: E731
    states, inputs, memory = kernel.forward(network, make(2), 0.1 * make(3, steps) if more else None)
    arguments = make(4, len(network.weights))
    xi, moved = kernel.tangent(network, memory, arguments, make(5) if more else None)
    back, forces, pulled = kernel.adjoint(network, memory, make(6), make(7, steps + 1) if more else None)
    forces = network.step * back[1:] if forces is None else forces
    return {
        "states": states, "inputs": inputs, "memory": memory, "xi": xi, "moved": moved, "arguments": arguments,
        "back": back, "forces": forces, "pulled": pulled,
    }  # fmt: skip


def agree(kernel, network, samples=7, tolerance=1e-13):
    for more in (False, True):
        found, expected = (solves(k, network, samples, more) for k in (kernel, LOOP))
        for name, value in expected.items():
            size = 1.0 + float(value.abs().max())
            assert float((found[name] - value).abs().max()) < tolerance * size, (network.activation.name, name, more)


def transposed(kernel, network, samples=7):
    """`(xi(T), w) = (xi(0), lambda(0)) + (V y + v, U)`, with the adjoint of xi started anywhere."""
    shape = (samples, network.size)
    _, _, memory = kernel.forward(network, like(torch.empty(shape), 2).to(network.weights), None)
    source = like(torch.empty(len(network.weights), *shape), 3).to(network.weights)
    start, covector = (like(torch.empty(shape), seed).to(network.weights) for seed in (4, 5))
    xi, _ = kernel.tangent(network, memory, source.clone(), start)
    back, _, pulled = kernel.adjoint(network, memory, covector, None)
    scale = float(torch.linalg.vector_norm(xi[-1]) * torch.linalg.vector_norm(covector))
    return abs(inner(xi[-1], covector) - inner(start, back[0]) - inner(source, pulled)) / scale


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_euler_loop_is_the_plain_loop(name):
    agree(EULER_LOOP, layers(name))
    agree(EULER_LOOP, layers(name, dtype=torch.float32), tolerance=2e-6)


def test_the_euler_loop_works_through_its_scratch_in_pieces(monkeypatch):
    monkeypatch.setattr("oncology.nodes.kernels.euler.SCRATCH", 4 * 7 * 5 * 8)  # four layers of six
    agree(EULER_LOOP, layers())
    monkeypatch.setattr("oncology.nodes.kernels.euler.SCRATCH", 1)
    agree(EULER_LOOP, layers("softplus"))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_tangent_and_adjoint_are_transposes(name, scheme):
    network = layers(name, scheme_named(scheme))
    assert transposed(LOOP, network) < 1e-13
    if scheme == "euler":
        assert transposed(EULER_LOOP, network) < 1e-13


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus", "elu0.2"])
def test_the_euler_loop_passes_gradcheck(name):
    network = layers(name, size=3, steps=3)

    class Loop(torch.autograd.Function):
        @staticmethod
        def forward(context, weights, state):
            context.network = replace(network, weights=weights)
            states, context.inputs, context.memory = EULER_LOOP.forward(context.network, state, None)
            return states[-1].clone()

        @staticmethod
        def backward(context, covector):
            back, _, pulled = EULER_LOOP.adjoint(context.network, context.memory, covector, None)
            return torch.cat([context.inputs.mT @ pulled, pulled.sum(1, keepdim=True)], dim=1), back[0].clone()

    state = like(torch.empty(2, 3), 2).requires_grad_()
    assert torch.autograd.gradcheck(Loop.apply, (network.weights.requires_grad_(), state))


@pytest.mark.parametrize(("kernel", "scheme"), [(EULER_LOOP, EULER), (LOOP, EULER), (LOOP, HEUN), (LOOP, RK4)])
def test_a_recording_repeats_its_loop_on_new_data(kernel, scheme):
    """Recorded by running again, on tensors of the recording's own, which is what a graph does on a GPU."""
    played = []

    def again(work):
        held = work()

        def replay():
            played.append(1)
            for old, new in zip(held, work(), strict=True):
                if old is not None:
                    old.copy_(new)
            return held

        return replay

    twin = recorded(kernel, again)
    agree(twin, layers("sigmoid", scheme))
    first = layers("tanh", scheme)
    state = like(torch.empty(7, 5), 2)
    kept = twin.forward(first, state, None)
    before = [part.clone() for part in kept]
    other = twin.forward(replace(first, weights=0.5 * first.weights), state, None)
    assert not torch.equal(other[0], kept[0])
    assert all(torch.equal(a, b) for a, b in zip(kept, before, strict=True))  # later replays leave results alone
    assert (kept[1].data_ptr() == kept[0].data_ptr()) == (scheme.stages == 1)
    agree(twin, layers("tanh", scheme, size=4), samples=3)
    assert played


FUSED_IN_INTERPRETER = """
import torch
from oncology.nodes.kernels.fused import FUSED
from tests.nodes.test_kernels import FUSED_NAMES, agree, layers, transposed
for name in FUSED_NAMES:
    agree(FUSED, layers(name, size=21, steps=3), samples=19)
    assert transposed(FUSED, layers(name, size=21, steps=3), samples=19) < 1e-13, name
agree(FUSED, layers(size=21, steps=3, dtype=torch.float32), samples=19, tolerance=4e-6)
agree(FUSED, layers(size=260, steps=2), samples=2)
print("agreed")
"""


def test_the_fused_kernel_agrees_in_the_interpreter():
    pytest.importorskip("triton", reason="triton comes with torch for Linux only")
    done = subprocess.run(
        [sys.executable, "-c", FUSED_IN_INTERPRETER],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "agreed", done.stderr[-2000:]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_net_has_its_kernel(name, scheme, monkeypatch):
    network = layers(name, scheme_named(scheme))
    assert kernel_for(network) is (EULER_LOOP if scheme == "euler" else LOOP)
    vector = SimpleNamespace(name="tanh")
    assert kernel_for(replace(network, activation=vector)) is LOOP
    on_gpu = SimpleNamespace(device=torch.device("cuda"), dtype=torch.float32)
    fused = scheme == "euler" and name in FUSED_NAMES
    pytest.importorskip("triton", reason="triton comes with torch for Linux only")
    there = replace(network, weights=on_gpu)
    plain = "euler" if scheme == "euler" else "loop"
    assert kernel_for(there).name == ("fused" if fused else f"{plain} in a graph")
    double = replace(there, weights=SimpleNamespace(device=torch.device("cuda"), dtype=torch.float64))
    assert kernel_for(double).name == f"{plain} in a graph"
    assert kernel_for(replace(there, activation=replace(TANH, slopes=(0.0, 2.0)))).name != "fused"
    monkeypatch.setattr(choose, "find_spec", lambda _: None)
    assert kernel_for(there).name == f"{plain} in a graph"


def test_a_run_uses_the_kernel_of_its_layers():
    run = net().run(net().initial(torch.Generator().manual_seed(0)), like(torch.empty(3, 4)))
    assert run.kernel is EULER_LOOP
    assert torch.equal(run.adjoint(like(run.final)).forces[-1], run.step * like(run.final))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("name", ["tanh", "softplus"])
@pytest.mark.parametrize("scheme", ["euler", "rk4"])
def test_kernels_agree_on_the_gpu(name, scheme):
    for dtype, tolerance in ((torch.float32, 2e-5), (torch.float64, 1e-12)):
        network = layers(name, scheme_named(scheme), size=196, steps=10, dtype=dtype)
        network = replace(network, weights=network.weights.cuda())
        agree(kernel_for(network), network, samples=33, tolerance=tolerance)
        agree(recorded(LOOP, cuda_graph), network, samples=33, tolerance=tolerance)
