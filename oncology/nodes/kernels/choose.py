"""Which kernel walks through the layers: by activation, scheme, and the device and type of the weights."""

from __future__ import annotations

from importlib.util import find_spec

from oncology.nodes.activation import Elementwise
from oncology.nodes.kernels.euler import EULER_LOOP
from oncology.nodes.kernels.graph import cuda_graph, recorded
from oncology.nodes.kernels.layers import Kernel, Layers
from oncology.nodes.kernels.loop import LOOP

__all__ = ["kernel_for"]

RECORDED = {loop.name: recorded(loop, cuda_graph) for loop in (LOOP, EULER_LOOP)}


def kernel_for(layers: Layers) -> Kernel:
    """The fastest kernel that can run these layers; on a GPU one that launches nothing layer by layer."""
    loop = EULER_LOOP if layers.scheme.stages == 1 and isinstance(layers.activation, Elementwise) else LOOP
    if layers.weights.device.type != "cuda":
        return loop
    if find_spec("triton") is not None:  # it comes with torch's builds for GPUs only, and loads slowly
        from oncology.nodes.kernels.fused import FUSED, fuses

        if fuses(layers):
            return FUSED
    return RECORDED[loop.name]
