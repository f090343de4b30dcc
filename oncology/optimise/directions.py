"""Search directions of nonlinear conjugate gradients, `d = -g + beta d_last`, with one inner product throughout.

Every formula needs the same few products in H, which are pairings with derivatives,
`(g_k, g_{k-1})_H = G_{k-1}[g_k]`, without a further Riesz solve. Restarts and the descent test apply to every
formula. Nocedal & Wright, Numerical Optimization, chapter 5; Hager & Zhang, SIAM J. Optim. 16, 2005.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from oncology.optimise.problem import Vector
from oncology.optimise.spaces import Space

__all__ = [
    "Beta",
    "ConjugateGradient",
    "Gradient",
    "Products",
    "Search",
    "conjugate",
    "dai_yuan",
    "fletcher_reeves",
    "fr_pr",
    "gradient_of",
    "hager_zhang",
    "hestenes_stiefel",
    "polak_ribiere_plus",
    "steepest",
    "zero",
]


@dataclass(frozen=True)
class Gradient[V: Vector]:
    """A derivative with its Riesz image.

    Attributes:
        derivative: G, a dual vector.
        riesz: g, its gradient in H.
        squared: |g|_H^2 = G[g].
    """

    derivative: V
    riesz: V
    squared: float

    @property
    def norm(self) -> float:
        """|g|_H."""
        return math.sqrt(max(self.squared, 0.0))


def gradient_of[V: Vector](space: Space[V], derivative: V) -> Gradient[V]:
    """Riesz image of a derivative, with its norm."""
    riesz = space.riesz(derivative)
    return Gradient(derivative, riesz, space.dual(derivative, riesz))


@dataclass(frozen=True)
class Products:
    """Inner products in H that the formulas read: g new gradient, p previous gradient, d previous direction."""

    gg: float
    pp: float
    gp: float
    gd: float
    pd: float
    dd: float

    @property
    def dy(self) -> float:
        """(d, y) with y = g - p."""
        return self.gd - self.pd

    @property
    def yy(self) -> float:
        """(y, y)."""
        return self.gg - 2.0 * self.gp + self.pp


type Beta = Callable[[Products], float]


def _ratio(numerator: float, denominator: float) -> float:
    """Quotient, or nan where there is none: `ConjugateGradient` restarts on it."""
    return numerator / denominator if denominator != 0 else math.nan


def zero(p: Products) -> float:
    """No conjugation: steepest descent, and Landweber with a fixed step."""
    return 0.0


def fletcher_reeves(p: Products) -> float:
    """`(g, g) / (p, p)`."""
    return _ratio(p.gg, p.pp)


def polak_ribiere_plus(p: Products) -> float:
    """`max(0, (g, y) / (p, p))`."""
    return max(_ratio(p.gg - p.gp, p.pp), 0.0)


def fr_pr(p: Products) -> float:
    """Polak-Ribiere kept within plus and minus Fletcher-Reeves (Nocedal & Wright, eq. 5.48)."""
    bound = fletcher_reeves(p)
    return max(-bound, min(bound, _ratio(p.gg - p.gp, p.pp)))


def hestenes_stiefel(p: Products) -> float:
    """`(g, y) / (d, y)`."""
    return _ratio(p.gg - p.gp, p.dy)


def dai_yuan(p: Products) -> float:
    """`(g, g) / (d, y)`."""
    return _ratio(p.gg, p.dy)


def hager_zhang(p: Products) -> float:
    """`(y - 2 d (y, y) / (d, y), g) / (d, y)`, bounded below (Hager & Zhang 2005, eqs. 1.3 and 1.6 with eta 0.01)."""
    beta = _ratio(p.gg - p.gp - 2.0 * _ratio(p.yy * p.gd, p.dy), p.dy)
    lowest = -_ratio(1.0, math.sqrt(max(p.dd, 0.0)) * min(0.01, math.sqrt(max(p.pp, 0.0))))
    return max(beta, lowest)


@dataclass(frozen=True)
class ConjugateGradient:
    """A formula with its restarts.

    Attributes:
        beta: conjugate coefficient.
        powell: restart where |(g, p)| >= powell |g|^2 (successive gradients far from orthogonal); inf never does.
        period: restart every so many iterations; None never does.
        descent: restart where the slope G[d] > -descent |g| |d|.
    """

    beta: Beta = polak_ribiere_plus
    powell: float = 0.2
    period: int | None = None
    descent: float = 1e-6

    def coefficient(self, products: Products, iteration: int) -> float:
        """Conjugate coefficient of this iteration; 0 on a restart."""
        if self.period is not None and iteration % self.period == 0:
            return 0.0
        if abs(products.gp) >= self.powell * products.gg:
            return 0.0
        value = self.beta(products)
        return value if math.isfinite(value) else 0.0


@dataclass(frozen=True)
class Search[V: Vector]:
    """A descent direction.

    Attributes:
        direction: d.
        slope: G[d].
        coefficient: conjugate coefficient that made it.
        squared: |d|_H^2.
    """

    direction: V
    slope: float
    coefficient: float
    squared: float


def steepest[V: Vector](gradient: Gradient[V]) -> Search[V]:
    """Steepest descent `d = -g`."""
    return Search(-1.0 * gradient.riesz, -gradient.squared, 0.0, gradient.squared)


def conjugate[V: Vector](
    rule: ConjugateGradient, space: Space[V], new: Gradient[V], old: Gradient[V], last: Search[V], iteration: int
) -> Search[V]:
    """Next direction `d = -g + beta d_last`, always one of descent.

    Args:
        rule: formula and restarts.
        space: inner product.
        new: gradient at the new iterate.
        old: gradient at the last iterate.
        last: direction that led from the old to the new iterate.
        iteration: number of the step that is to come, from 0.
    """
    products = Products(
        gg=new.squared,
        pp=old.squared,
        gp=space.dual(old.derivative, new.riesz),
        gd=space.dual(new.derivative, last.direction),
        pd=last.slope,
        dd=last.squared,
    )
    gamma = rule.coefficient(products, iteration)
    if gamma == 0.0:
        return steepest(new)
    direction = gamma * last.direction - new.riesz
    slope = space.dual(new.derivative, direction)
    # (g, d)_H = G[d], so that the norm follows from known products: an inner product in H1 costs as much as a solve
    squared = gamma * gamma * products.dd - 2.0 * gamma * products.gd + products.gg
    # written so that a slope or norm that overflowed to nan or inf restarts as well
    downhill = -math.inf < slope <= -rule.descent * new.norm * math.sqrt(max(squared, 0.0))
    return Search(direction, slope, gamma, squared) if downhill else steepest(new)
