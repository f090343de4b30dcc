"""Growth laws of the tumour cell density `u` (fraction of the carrying capacity, 0..1).

The reaction is `du/dt = rho f(u)` with f exponential, logistic or Gompertz (Jaroudi 2017). Each law has its exact flow,
because the time stepping solves the reaction exactly at every vertex. The laws are plain operators: `rate` accepts
floats, numpy arrays, torch tensors and UFL expressions, the flows accept all of these but UFL. An exposure is a number
or, for several runs at once, a torch tensor that broadcasts with u.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

__all__ = ["Exponential", "Gompertz", "GrowthLaw", "Logistic"]


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
    where neither tangent nor adjoint exists. The flow stays exact, continuous and once differentiable.

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
    if _elementary(exposure) is _Torch:
        return exposure.exp()
    return np.exp(exposure) if isinstance(exposure, np.ndarray) else math.exp(exposure)


def _expm1(exposure: Any) -> Any:
    if _elementary(exposure) is _Torch:
        return exposure.expm1()
    return np.expm1(exposure) if isinstance(exposure, np.ndarray) else math.expm1(exposure)


def _elementary(u: Any) -> Any:
    """Return the elementary functions that fit the type of u."""
    package = type(u).__module__.partition(".")[0]
    if package in ("ufl", "dolfinx"):
        return _Ufl
    return _Torch if package == "torch" else _Numpy
