"""Any kernel as a CUDA graph: its loop is recorded once and replayed by one launch, whatever scheme and activation.

A recording works on tensors of its own, so that inputs are copied in and outcomes copied out: a thousandth of the
loop's time. An activation must not wait for the device inside its methods, which cannot be recorded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from oncology.nodes.kernels.layers import Kernel, Layers

__all__ = ["cuda_graph", "recorded"]

type Work = Callable[[], tuple[Tensor | None, ...]]

KEPT = 12
"""Recordings held for each loop; the one used longest ago gives way."""


@dataclass(frozen=True)
class _Recording:
    """A loop on tensors of its own; `layers` is held so that nothing else gets its activation's identity."""

    layers: Layers
    inputs: tuple[Tensor | None, ...]
    replay: Work


def recorded(kernel: Kernel, capture: Callable[[Work], Work]) -> Kernel:
    """The same kernel by replays.

    Args:
        kernel: what to record.
        capture: turns work into something that repeats it on the same tensors: `cuda_graph`.
    """
    return Kernel(
        f"{kernel.name} in a graph",
        forward=_replaying(kernel.forward, capture),
        tangent=_replaying(kernel.tangent, capture, changed=1),
        adjoint=_replaying(kernel.adjoint, capture),
    )


def cuda_graph(work: Work) -> Work:
    """Record the launches of some work, after a run that lets libraries set up what cannot be recorded."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        work()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outcome = work()

    def replay() -> tuple[Tensor | None, ...]:
        graph.replay()
        return outcome

    return replay


def _replaying(
    loop: Callable[..., Any], capture: Callable[[Work], Work], changed: int | None = None
) -> Callable[..., Any]:
    """The loop by replays; `changed` is the place of the tensor that it changes, if any."""
    recordings: OrderedDict[tuple[object, ...], _Recording] = OrderedDict()

    def run(layers: Layers, *tensors: Tensor | None) -> tuple[Tensor | None, ...]:
        given = (layers.weights, *tensors)
        key = (id(layers.activation), layers.scheme, layers.step, *map(_form, given))
        if key not in recordings:
            recordings[key] = _record(loop, capture, layers, given)
        recordings.move_to_end(key)
        if len(recordings) > KEPT:
            recordings.popitem(last=False)
        recording = recordings[key]
        _copy(given, recording.inputs)
        outcome = _apart(recording.replay())
        if changed is not None:
            _copy(recording.inputs[changed + 1 : changed + 2], tensors[changed : changed + 1])
        return outcome

    return run


def _record(
    loop: Callable[..., Any], capture: Callable[[Work], Work], layers: Layers, given: tuple[Tensor | None, ...]
) -> _Recording:
    inputs = tuple(None if t is None else t.clone(memory_format=torch.contiguous_format) for t in given)
    weights = inputs[0]
    assert weights is not None  # the layers' own
    own = replace(layers, weights=weights)
    return _Recording(layers, inputs, capture(lambda: loop(own, *inputs[1:])))


def _form(tensor: Tensor | None) -> object:
    return None if tensor is None else (tensor.shape, tensor.dtype, tensor.device)


def _copy(sources: tuple[Tensor | None, ...], targets: tuple[Tensor | None, ...]) -> None:
    for source, target in zip(sources, targets, strict=True):
        if source is not None and target is not None:
            target.copy_(source)


def _apart(outcome: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """Copies of what the next replay overwrites; a view of an earlier outcome stays a view of its copy."""
    copies: dict[int, Tensor] = {}

    def copy(tensor: Tensor | None) -> Tensor | None:
        if tensor is None:
            return None
        storage = tensor.untyped_storage()
        if storage.data_ptr() in copies:
            return copies[storage.data_ptr()].as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
        own = tensor.clone()
        if tensor.is_contiguous() and storage.nbytes() == tensor.nbytes:
            copies[storage.data_ptr()] = own
        return own

    return tuple(copy(tensor) for tensor in outcome)
