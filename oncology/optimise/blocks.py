"""Several vectors as one: a field and scalars, or weights and biases, each block with its own inner product.

The product space sums the blocks' inner products. Scale each block by its prior standard deviation first: otherwise
the stiffest block dominates every gradient, and the conjugate gradients hardly move the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from oncology.optimise.spaces import Space

__all__ = ["Blocks", "product"]


@dataclass(frozen=True)
class Blocks:
    """A vector made of vectors; `+`, `-` and scaling act on each part.

    Example:
        >>> 2.0 * Blocks((1.0, 3.0)) - Blocks((1.0, 1.0))
        Blocks(parts=(1.0, 5.0))
    """

    parts: tuple[Any, ...]

    def __add__(self, other: Blocks) -> Blocks:
        return Blocks(tuple(a + b for a, b in zip(self.parts, other.parts, strict=True)))

    def __sub__(self, other: Blocks) -> Blocks:
        return Blocks(tuple(a - b for a, b in zip(self.parts, other.parts, strict=True)))

    def __rmul__(self, factor: float) -> Blocks:
        return Blocks(tuple(factor * a for a in self.parts))


def product(*spaces: Space[Any]) -> Space[Blocks]:
    """Product of spaces, block by block: `(a, b) = sum_i (a_i, b_i)_i`."""

    def summed(forms: list[Callable[[Any, Any], float]]) -> Callable[[Blocks, Blocks], float]:
        return lambda a, b: sum(form(p, q) for form, p, q in zip(forms, a.parts, b.parts, strict=True))

    return Space(
        inner=summed([space.inner for space in spaces]),
        dual=summed([space.dual for space in spaces]),
        riesz=lambda f: Blocks(tuple(space.riesz(p) for space, p in zip(spaces, f.parts, strict=True))),
    )
