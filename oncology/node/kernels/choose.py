"""Which kernel walks through the layers: by activation, scheme, and the device of the weights."""

from __future__ import annotations

from oncology.node.activation import Elementwise
from oncology.node.kernels.euler import EULER_LOOP
from oncology.node.kernels.layers import Kernel, Layers
from oncology.node.kernels.loop import LOOP

__all__ = ["kernel_for"]


def kernel_for(layers: Layers) -> Kernel:
    """The fastest kernel that can run these layers."""
    return EULER_LOOP if layers.scheme.stages == 1 and isinstance(layers.activation, Elementwise) else LOOP
