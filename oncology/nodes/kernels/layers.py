"""What a kernel computes: the depth loops of a run, its tangent and its adjoint, for given stage weights.

A kernel is three functions that agree to rounding with every other kernel's; `solve` adds what needs no loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from oncology.nodes.activation import Activation
from oncology.nodes.scheme import Scheme

__all__ = ["Kernel", "Layers"]


@dataclass(frozen=True, eq=False)
class Layers:
    """The discrete network that a depth loop walks through.

    Attributes:
        activation: S.
        scheme: explicit Runge-Kutta scheme.
        step: time step h, in units of depth.
        weights: of the stages, (stages, n + 1, m).
    """

    activation: Activation
    scheme: Scheme
    step: float
    weights: Tensor

    @property
    def size(self) -> int:
        """n, number of components of the state."""
        return self.weights.shape[1] - 1

    @property
    def steps(self) -> int:
        """Number of time steps."""
        return len(self.weights) // self.scheme.stages

    @property
    def matrices(self) -> tuple[Tensor, ...]:
        """W of each stage, transposed as row vectors need it: (n, m) each."""
        return self.weights[:, : self.size].unbind(0)

    @property
    def biases(self) -> tuple[Tensor, ...]:
        """Row b of each stage, (m,) each."""
        return self.weights[:, self.size].unbind(0)


@dataclass(frozen=True)
class Kernel:
    """One way to walk through the layers; K samples, arrays over stages have the shape (stages, K, .).

    Attributes:
        name: for tests and benchmarks.
        forward: (layers, x(0), noise after each step or None) -> states after each step, the first one included;
            states y of the stages; what the activation keeps of each stage.
        tangent: (layers, memory, V y + v of the stages, xi(0) or None) -> xi after each step, derivative of y;
            the third argument becomes the derivative of z in place.
        adjoint: (layers, memory, lambda(T), source at each step or None) -> lambda at each step; covectors mu of the
            stages' slopes, None for schemes of one stage, where they are h lambda of the step's end; S'(z)* mu.
    """

    name: str
    forward: Callable[[Layers, Tensor, Tensor | None], tuple[Tensor, Tensor, Tensor]]
    tangent: Callable[[Layers, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]
    adjoint: Callable[[Layers, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor | None, Tensor]]
