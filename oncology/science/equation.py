"""What a science-activated NODE asks of a differential equation `u' = S(u; q)`, as a protocol.

States are real tensors (K, n): K independent samples of a field with n nodal values, already divided by the mass
matrix. Coefficients q are a tuple of vectors, one per name. Derivatives by either are dual vectors (algebraic); the
equation's quadrature weights turn those of states into L2 gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import scipy.sparse
import torch
from torch import Tensor

from oncology.errors import ConfigError

__all__ = [
    "Coefficient",
    "Coefficients",
    "Equation",
    "SemiLinear",
    "by_name",
    "curvature_of",
    "pullback_of",
    "pushforward_of",
]

type Coefficients = tuple[Tensor, ...]
"""Values of an equation's coefficients in their order, each (size,)."""


@dataclass(frozen=True)
class Coefficient:
    """A coefficient of an equation.

    Attributes:
        name: as in the literature: diffusion, proliferation, velocity.
        size: number of its components: 1 for a number, n for a function of space.
        unit: of its value, in words such as mm^2/day; "1" where it has none.
        positive: whether only positive values make sense, so that an unknown is its logarithm.
    """

    name: str
    size: int = 1
    unit: str = "1"
    positive: bool = False


class Equation(Protocol):
    """A semi-discrete differential equation; all methods accept any number of samples K."""

    def __hash__(self) -> int:
        """By identity: dataclasses with eq=False."""

    @property
    def name(self) -> str:
        """Name in files and tables."""

    @property
    def size(self) -> int:
        """n, number of nodal values of the state."""

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Names, sizes and units of q."""

    @property
    def weights(self) -> Tensor:
        """Quadrature weights of the spatial inner product, (n,)."""

    @property
    def pattern(self) -> scipy.sparse.csr_array | None:
        """Where S'(u) can be different from zero, (n, n); None where that is everywhere."""

    def value(self, u: Tensor, q: Coefficients) -> Tensor:
        """S(u; q), (K, n)."""

    def pushforward(self, u: Tensor, q: Coefficients, du: Tensor, dq: Coefficients) -> Tensor:
        """S_u du + S_q dq, (K, n)."""

    def pullback(self, u: Tensor, q: Coefficients, covector: Tensor) -> tuple[Tensor, Coefficients]:
        """Products S_u* mu, (K, n), and S_q* mu, summed over samples, in the shapes of q."""


@runtime_checkable
class SemiLinear(Equation, Protocol):
    """An equation with a stiff linear part that a real orthogonal transform makes diagonal: S(u) = L u + N(u)."""

    def modes(self, u: Tensor) -> Tensor:
        """Transform of (K, n) to modes (K, n); orthogonal."""

    def values(self, modes: Tensor) -> Tensor:
        """Its inverse, which is its transpose."""

    def eigenvalues(self, q: Coefficients) -> Tensor:
        """Those of L, (n,) in the order of the modes, real."""


def pushforward_of(
    value: Callable[[Tensor, Coefficients], Tensor], u: Tensor, q: Coefficients, du: Tensor, dq: Coefficients
) -> Tensor:
    """Directional derivative of a right-hand side, as the transpose of its pullback: `S' d = d/dw (w S')(d)`.

    Torch's forward differentiation would do the same, but its first call loads a compiler for many seconds.
    """
    with torch.enable_grad():
        inputs = tuple(part.detach().requires_grad_() for part in (u, *q))
        image = value(inputs[0], inputs[1:])
        probe = torch.zeros_like(image, requires_grad=True)
        return _by_probe(_along((image * probe).sum(), inputs, (du, *dq)), probe)


def pullback_of(
    value: Callable[[Tensor, Coefficients], Tensor], u: Tensor, q: Coefficients, covector: Tensor
) -> tuple[Tensor, Coefficients]:
    """Transposed products of a right-hand side by torch's reverse differentiation."""
    with torch.enable_grad():
        inputs = tuple(part.detach().requires_grad_() for part in (u, *q))
        paired = (value(inputs[0], inputs[1:]) * covector).sum()
        duals = torch.autograd.grad(paired, inputs, materialize_grads=True)
    return duals[0], duals[1:]


def curvature_of(value: Callable[[Tensor], Tensor], u: Tensor, du: Tensor) -> Tensor:
    """Second derivative along a direction, S''(u)[du, du], of a right-hand side with given coefficients."""
    with torch.enable_grad():
        state = u.detach().requires_grad_()
        image = value(state)
        probe = torch.zeros_like(image, requires_grad=True)
        first = _along((image * probe).sum(), (state,), (du,))
        return _by_probe(_along(first, (state,), (du,)), probe)


def _by_probe(paired: Tensor, probe: Tensor) -> Tensor:
    """Derivative by the probe, zero where nothing depends on it."""
    if not paired.requires_grad:
        return torch.zeros_like(probe)
    return torch.autograd.grad(paired, probe, materialize_grads=True)[0]


def _along(paired: Tensor, inputs: Coefficients, directions: Coefficients) -> Tensor:
    """Derivative of a number along directions of its inputs, itself differentiable."""
    slopes = torch.autograd.grad(paired, inputs, create_graph=True, materialize_grads=True)
    return torch.stack([(slope * move).sum() for slope, move in zip(slopes, directions, strict=True)]).sum()


def by_name(equation: Equation, values: dict[str, Tensor]) -> Coefficients:
    """Coefficients in the equation's order, (size,) or in depth (nodes, size).

    Raises:
        ConfigError: one is missing, unknown or has another size.
    """
    names = [coefficient.name for coefficient in equation.coefficients]
    if sorted(names) != sorted(values):
        raise ConfigError(f"coefficients {sorted(values)} of {equation.name}; it has {names}")
    for coefficient in equation.coefficients:
        shape = tuple(values[coefficient.name].shape)
        if not shape or shape[-1] != coefficient.size or len(shape) > 2:
            raise ConfigError(
                f"{coefficient.name} of shape {shape}; need ({coefficient.size},) or (nodes, {coefficient.size})"
            )
    return tuple(values[name] for name in names)
