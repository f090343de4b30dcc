"""Growth and treatment laws of tumour cell density `u` (fraction of the carrying capacity, 0..1).

Reaction `du/dt = rho f(u)` with f exponential, logistic or Gompertz (Jaroudi 2017; B4.1 of the specification); each
law has its exact flow, because the time stepping solves the reaction exactly at every vertex. Treatment is
instantaneous cell survival (linear-quadratic law for radiotherapy) or an exponentially decaying kill rate.
The laws are plain operators: `rate` accepts floats, numpy arrays, torch tensors and UFL expressions, the flows accept
all of these but UFL. An exposure is a number or, for several runs at once, a torch tensor that broadcasts with u.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

__all__ = [
    "Chemotherapy",
    "Exponential",
    "Gompertz",
    "GrowthLaw",
    "Logistic",
    "Radiotherapy",
    "Resection",
    "Treatment",
]


class GrowthLaw(Protocol):
    """Reaction `du/dt = rho f(u)`; `exposure` is the dimensionless integral of rho over a time step."""

    def rate(self, u: Any) -> Any:
        """Return f(u), dimensionless."""

    def flow(self, u: Any, exposure: Any) -> Any:
        """Return the exact solution after `exposure`, started at u; its derivative by `exposure` is `rate(flow)`."""

    def flow_slope(self, u: Any, exposure: Any) -> Any:
        """Return the derivative of the flow by its start value u."""


@dataclass(frozen=True)
class Exponential:
    """Exponential growth, f(u) = u (unbounded: densities may leave [0, 1])."""

    def rate(self, u: Any) -> Any:
        """Return f(u) = u."""
        return u

    def flow(self, u: Any, exposure: Any) -> Any:
        """Return u exp(exposure)."""
        return _exp(exposure) * u

    def flow_slope(self, u: Any, exposure: Any) -> Any:
        """Return exp(exposure), in the shape of u."""
        return _exp(exposure) + 0.0 * u


@dataclass(frozen=True)
class Logistic:
    """Logistic growth, f(u) = u (1 - u) for u > 0 and 0 otherwise.

    Below zero nothing grows: the small undershoots of a diffusion step would otherwise grow exponentially.
    """

    def rate(self, u: Any) -> Any:
        """Return f(u)."""
        return _elementary(u).where(u > 0.0, u * (1.0 - u), 0.0 * u)

    def flow(self, u: Any, exposure: Any) -> Any:
        """Return u e / (1 + u (e - 1)) with e = exp(exposure), and u itself below zero."""
        xp = _elementary(u)
        return xp.where(u > 0.0, _exp(exposure) * u / self._denominator(u, exposure), u)

    def flow_slope(self, u: Any, exposure: Any) -> Any:
        """Return e / (1 + u (e - 1))^2 with e = exp(exposure), and 1 below zero."""
        denominator = self._denominator(u, exposure)
        return _elementary(u).where(u > 0.0, _exp(exposure) / (denominator * denominator), 1.0 + 0.0 * u)

    def _denominator(self, u: Any, exposure: Any) -> Any:
        return 1.0 + _expm1(exposure) * _elementary(u).clip(u, 0.0)


@dataclass(frozen=True)
class Gompertz:
    """Gompertz growth, f(u) = -u ln(max(u, floor)) for u > 0 and 0 otherwise.

    Below `floor` the growth is exponential with the rate reached there, ln(1/floor): the pure law has f'(0) = infinity,
    where neither tangent nor adjoint exists (B2.2). The flow stays exact, continuous and once differentiable.

    Attributes:
        floor: density below which growth is exponential, dimensionless, in (0, 1).
    """

    floor: float = 1e-8

    def rate(self, u: Any) -> Any:
        """Return f(u)."""
        xp = _elementary(u)
        return xp.where(u > 0.0, -1.0 * u * xp.log(xp.clip(u, self.floor)), 0.0 * u)

    def flow(self, u: Any, exposure: Any) -> Any:
        """Return exp(exp(-exposure) ln u) above the floor; below it, exponential growth until the floor is reached."""
        xp = _elementary(u)
        log_start, remaining, early = self._split(u, exposure, xp)
        grown = xp.where(
            early, xp.exp(log_start - exposure * math.log(self.floor)), xp.exp(xp.exp(-remaining) * log_start)
        )
        return xp.where(u > 0.0, grown, u)

    def flow_slope(self, u: Any, exposure: Any) -> Any:
        """Return the derivative f(flow)/f(u) of the flow by u (1 for u <= 0, where nothing grows)."""
        xp = _elementary(u)
        log_start, remaining, early = self._split(u, exposure, xp)
        decay = xp.exp(-remaining)
        slope = xp.exp(decay * log_start + xp.log(decay) - xp.log(xp.clip(u, 1e-300)))
        growth = _exp(-exposure * math.log(self.floor)) + 0.0 * u
        return xp.where(u > 0.0, xp.where(early, growth, slope), 1.0 + 0.0 * u)

    def _split(self, u: Any, exposure: float, xp: Any) -> tuple[Any, Any, Any]:
        """Return (log of the start of the Gompertz part, exposure left for it, mask of what never reaches the floor).

        Where the floor is never reached, the first entry is ln u itself.
        """
        log_u = xp.log(xp.clip(u, 1e-300))
        log_floor = math.log(self.floor)
        used = xp.clip((log_floor - log_u) / -log_floor, 0.0)
        early = used >= exposure
        log_start = xp.where(early, log_u, xp.clip(log_u, log_floor))
        return log_start, xp.clip(exposure - used, 0.0), early & (log_u < log_floor)


class _Numpy:
    """Elementary functions for floats and numpy arrays."""

    exp, log, where = staticmethod(np.exp), staticmethod(np.log), staticmethod(np.where)

    @staticmethod
    def clip(u: Any, low: float) -> Any:
        return np.maximum(u, low)


class _Torch:
    """The same for torch tensors, found without importing torch here."""

    @staticmethod
    def exp(u: Any) -> Any:
        return u.exp()

    @staticmethod
    def log(u: Any) -> Any:
        return u.log()

    @staticmethod
    def where(condition: Any, a: Any, b: Any) -> Any:
        return sys.modules["torch"].where(condition, a, b)

    @staticmethod
    def clip(u: Any, low: float) -> Any:
        return u.clamp(min=low)


class _Ufl:
    """The same for UFL expressions, found without importing UFL here."""

    @staticmethod
    def log(u: Any) -> Any:
        return sys.modules["ufl"].ln(u)

    @staticmethod
    def where(condition: Any, a: Any, b: Any) -> Any:
        return sys.modules["ufl"].conditional(condition, a, b)

    @staticmethod
    def clip(u: Any, low: float) -> Any:
        return sys.modules["ufl"].max_value(u, low)


def _exp(exposure: Any) -> Any:
    return exposure.exp() if _elementary(exposure) is _Torch else math.exp(exposure)


def _expm1(exposure: Any) -> Any:
    return exposure.expm1() if _elementary(exposure) is _Torch else math.expm1(exposure)


def _elementary(u: Any) -> Any:
    """Return the elementary functions that fit the type of u."""
    package = type(u).__module__.partition(".")[0]
    if package in ("ufl", "dolfinx"):
        return _Ufl
    return _Torch if package == "torch" else _Numpy


@dataclass(frozen=True)
class Radiotherapy:
    """Fractionated radiotherapy: u -> S u at each fraction, S = exp(-alpha d (1 + d / alpha_beta)).

    Linear-quadratic law (Fowler 1989; Rockne et al. 2010), d the dose of one fraction. Fractions are given one a day
    on five days, then two days of rest, from `day` on.

    Attributes:
        day: day of the first fraction, in the time of the case's sessions.
        dose_gy: total dose, Gy.
        fractions: number of equal fractions.
        alpha: linear radiosensitivity, 1/Gy.
        alpha_beta: ratio alpha / beta, Gy.
    """

    day: float
    dose_gy: float
    fractions: int
    alpha: float = 0.04
    alpha_beta: float = 10.0

    @property
    def survival(self) -> float:
        """Surviving fraction of one fraction, dimensionless."""
        dose = self.dose_gy / self.fractions
        return math.exp(-self.alpha * dose * (1.0 + dose / self.alpha_beta))

    @property
    def days(self) -> tuple[float, ...]:
        """Days of the fractions, day."""
        return tuple(self.day + 7.0 * (k // 5) + k % 5 for k in range(self.fractions))


@dataclass(frozen=True)
class Chemotherapy:
    """Chemotherapy: du/dt = ... - k(t) u with k(t) = rate 2^(-(t - day)/half_life) from `day` on.

    Attributes:
        day: day of administration.
        rate: initial kill rate, 1/day.
        half_life: half-life of the kill rate, day.
    """

    day: float
    rate: float
    half_life: float

    def exposure(self, start: float, end: float) -> float:
        """Return the integral of k(t) over [start, end] (days), dimensionless."""
        decay = math.log(2.0) / self.half_life
        first, last = max(start, self.day) - self.day, max(end, self.day) - self.day
        return self.rate / decay * (math.exp(-decay * first) - math.exp(-decay * last))


@dataclass(frozen=True)
class Resection:
    """Resection: u -> 0 inside the cavity.

    Attributes:
        day: day of the operation.
        mask: NIfTI file of the cavity (1 inside); None: the core of the last session before `day` is taken out.
    """

    day: float
    mask: Path | None = None


Treatment = Radiotherapy | Chemotherapy | Resection
