"""Depth loops for each device and configuration: one choice, made in `kernel_for`."""

from oncology.nodes.kernels.choose import kernel_for
from oncology.nodes.kernels.layers import Kernel, Layers

__all__ = ["Kernel", "Layers", "kernel_for"]
