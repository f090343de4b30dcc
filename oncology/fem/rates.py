"""Rates of growth and diffusion as the discrete model takes them, and a change of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rates", "RatesChange"]

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rates:
    """Growth and diffusion, or a change of them.

    Attributes:
        diffusion_white: D_w, mm^2/day.
        diffusion_grey: D_g, mm^2/day.
        proliferation: rho, 1/day.
        log_diffusion: (n,) m_D of the owned vertices: the diffusivity is multiplied by exp(mean of m_D over a cell).
        log_proliferation: (n,) m_r of the owned vertices: rho is multiplied by exp(m_r).
    """

    diffusion_white: float
    diffusion_grey: float
    proliferation: float
    log_diffusion: Vector | None = None
    log_proliferation: Vector | None = None

    @property
    def scalars(self) -> Vector:
        """D_w, D_g and rho, (3,)."""
        return np.array([self.diffusion_white, self.diffusion_grey, self.proliferation], dtype=float)


@dataclass(frozen=True, eq=False)
class RatesChange:
    """A direction of rates and of the length of the first interval (day)."""

    rates: Rates
    duration: float
