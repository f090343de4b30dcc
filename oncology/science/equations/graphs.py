"""Curves and profiles that move by their slopes: `w u_t = (w F(u_x))_x + w s` on an interval with given end slopes.

Curve shortening has F = arctan(u_x) (`u_t = u_xx / (1 + u_x^2)`, S2), the gradient flow of length F = u_x / sqrt(1 +
u_x^2) (S3), the p-Laplacian F = |u_x|^(p-2) u_x (P1, P2), total variation p = 1; the weight w = r^(d-1) makes the
interval a radius in R^d. Gage and Hamilton, J. Differential Geometry 23, 1986; Barenblatt, Prikl. Mat. Mekh.
16, 1952. Degenerate moduli are regularised, |z| -> sqrt(z^2 + eps^2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.science.equation import Coefficient, Coefficients
from oncology.science.grid_equation import GridEquation

__all__ = [
    "CURVE_SHORTENING",
    "LENGTH_FLOW",
    "MOBILITY",
    "GraphFlow",
    "PowerFlux",
    "SlopeFlux",
    "barenblatt",
    "grim_reaper",
    "length_flow_arc",
    "smoothed_disc",
    "torsion",
]


class Flux(Protocol):
    """F as a function of the slope, with its own coefficient or none."""

    @property
    def coefficient(self) -> Coefficient | None:
        """A coefficient that F depends on."""

    def value(self, slope: Tensor, q: Tensor | None) -> Tensor:
        """F(u_x)."""


MOBILITY = Coefficient("mobility", 1, "mm^2/day", positive=True)


@dataclass(frozen=True)
class SlopeFlux:
    """A flux that is known up to a factor at most.

    Attributes:
        function: F.
        coefficient: of that factor, `MOBILITY`, or None where it is 1.
    """

    function: Callable[[Tensor], Tensor]
    coefficient: Coefficient | None = None

    def value(self, slope: Tensor, q: Tensor | None) -> Tensor:
        """F(u_x), times the mobility."""
        return self.function(slope) if q is None else q * self.function(slope)


CURVE_SHORTENING = SlopeFlux(torch.atan)
LENGTH_FLOW = SlopeFlux(lambda slope: slope / torch.sqrt(1.0 + slope * slope))


EXPONENT = Coefficient("exponent", 1, "1", positive=True)


@dataclass(frozen=True)
class PowerFlux:
    """`(u_x^2 + eps^2)^((p-2)/2) u_x` with the coefficient "exponent" p > 1.

    Attributes:
        softness: eps > 0, a slope below which the flux is linear.
    """

    softness: float
    coefficient: Coefficient | None = EXPONENT

    def value(self, slope: Tensor, q: Tensor | None) -> Tensor:
        """F(u_x; p)."""
        assert q is not None
        return (slope * slope + self.softness**2) ** (0.5 * (q - 2.0)) * slope


@dataclass(frozen=True, eq=False)
class GraphFlow(GridEquation):
    """Flow of a function of one variable by its slopes; coefficients those of the flux, then "source" (n).

    Attributes:
        grid: an interval; its boundary says what holds where no slope is given: no flux, or fixed values.
        flux: F.
        dimension: d; for d > 1 the interval starts at the radius 0.
        slopes: u_x at the lower and upper end; None keeps the grid's own boundary there.

    Raises:
        ConfigError: the grid is no interval, or a radius does not start at 0.
    """

    flux: Flux
    dimension: int = 1
    slopes: tuple[float | None, float | None] = (None, None)
    name: str = "graph-flow"

    def __post_init__(self) -> None:
        if len(self.grid.axes) != 1 or self.dimension < 1:
            raise ConfigError(
                f"{len(self.grid.axes)} axes in dimension {self.dimension}; need one axis, dimension >= 1"
            )
        if self.dimension > 1 and self.grid.axes[0].lower != 0.0:
            raise ConfigError(f"a radius from {self.grid.axes[0].lower:g}; it starts at 0")

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Of the flux, if it has one, and the source."""
        own = () if self.flux.coefficient is None else (self.flux.coefficient,)
        return (*own, Coefficient("source", self.size))

    @cached_property
    def faces(self) -> Tensor:
        """Weight r^(d-1) at the faces, (n + 1,)."""
        axis = self.grid.axes[0]
        places = axis.lower + axis.spacing * torch.arange(axis.cells + 1, dtype=torch.float64)
        return places ** (self.dimension - 1) if self.dimension > 1 else torch.ones_like(places)

    @cached_property
    def volumes(self) -> Tensor:
        """Mean of r^(d-1) over each cell, (n,)."""
        axis = self.grid.axes[0]
        places = axis.lower + axis.spacing * torch.arange(axis.cells + 1, dtype=torch.float64)
        return torch.diff(places**self.dimension) / (self.dimension * axis.spacing)

    @property
    def weights(self) -> Tensor:
        """Volumes of the cells (of their shells, without the area of the unit sphere)."""
        return self.volumes * self.grid.axes[0].spacing

    def value(self, u: Tensor, q: Coefficients) -> Tensor:
        """`(w F(u_x))_x / w + s`, (K, n)."""
        axis = self.grid.axes[0]
        slopes = torch.diff(self.grid.padded(u, 0), dim=-1) / axis.spacing
        if self.slopes[0] is not None:
            slopes = torch.cat([torch.full_like(slopes[:, :1], self.slopes[0]), slopes[:, 1:]], dim=1)
        if self.slopes[1] is not None:
            slopes = torch.cat([slopes[:, :-1], torch.full_like(slopes[:, -1:], self.slopes[1])], dim=1)
        own = None if self.flux.coefficient is None else q[0]
        flux = self.faces * self.flux.value(slopes, own)
        return torch.diff(flux, dim=-1) / (self.volumes * axis.spacing) + q[-1]


def grim_reaper(x: Tensor, time: float) -> Tensor:
    """S2: `t - ln cos x` for |x| < pi/2, of slope tan x; (1, n)."""
    return (time - torch.log(torch.cos(x)))[None]


def length_flow_arc(x: Tensor, time: float, c: float) -> Tensor:
    """S3: `c t - sqrt(1 - c^2 x^2) / c` for |x| < 1/c, of slope c x / sqrt(1 - c^2 x^2); (1, n)."""
    return (c * time - torch.sqrt(1.0 - (c * x) ** 2) / c)[None]


def torsion(r: Tensor, p: float, radius: float, dimension: int) -> Tensor:
    """P1, `-div(|grad u|^(p-2) grad u) = 1` in a ball, zero on its sphere; (1, n)."""
    power = p / (p - 1.0)
    result: Tensor = ((p - 1.0) / p * dimension ** (-1.0 / (p - 1.0)) * (radius**power - r**power))[None]
    return result


def smoothed_disc(r: Tensor, weight: float, radius: float, outer: float) -> Tensor:
    """Disc of height 1 in a larger one, smoothed by total variation (Rudin, Osher and Fatemi); (1, n).

    `TV(u) + |u - g|^2 / (2 weight)` is least at the height `1 - 2 w / R`, and what was lost lies outside. A step of
    backward Euler of length `weight` with p = 1 finds it. Strong and Chan, Inverse Problems 19, 2003.

    Args:
        r: radii, (n,).
        weight: of the total variation, below R / 2 by the height outside.
        radius: R of the disc.
        outer: radius of the domain.
    """
    lost = 2.0 * weight / radius
    return torch.where(r < radius, 1.0 - lost, lost * radius**2 / (outer**2 - radius**2)).to(r)[None]


def barenblatt(r: Tensor, time: float, p: float, dimension: int, constant: float = 1.0) -> Tensor:
    """P2: the point source's solution of the p-Laplace flow, p > 2, at time t > 0; (1, n)."""
    k = 1.0 / (dimension * (p - 2.0) + p)
    q = (p - 2.0) / p * k ** (1.0 / (p - 1.0))
    inside = (constant - q * (r * time**-k) ** (p / (p - 1.0))).clamp(min=0.0)
    result: Tensor = (time ** (-dimension * k) * inside ** ((p - 1.0) / (p - 2.0)))[None]
    return result
