"""What a science-activated NODE asks of a differential equation `u' = S(u; q)` (B2.1), as a protocol.

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
import torch.autograd.forward_ad as forward_ad
from torch import Tensor

from oncology.errors import ConfigError

__all__ = ["Coefficient", "Coefficients", "Equation", "SemiLinear", "by_name", "pullback_of", "pushforward_of"]

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
    """Directional derivative of a right-hand side by torch's forward differentiation."""
    with forward_ad.dual_level():
        moving = tuple(forward_ad.make_dual(part, change) for part, change in zip((u, *q), (du, *dq), strict=True))
        primal, tangent = forward_ad.unpack_dual(value(moving[0], moving[1:]))
    return torch.zeros_like(primal) if tangent is None else tangent


def pullback_of(
    value: Callable[[Tensor, Coefficients], Tensor], u: Tensor, q: Coefficients, covector: Tensor
) -> tuple[Tensor, Coefficients]:
    """Transposed products of a right-hand side by torch's reverse differentiation."""
    with torch.enable_grad():
        inputs = tuple(part.detach().requires_grad_() for part in (u, *q))
        duals = torch.autograd.grad(value(inputs[0], inputs[1:]), inputs, covector, materialize_grads=True)
    return duals[0], duals[1:]


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
