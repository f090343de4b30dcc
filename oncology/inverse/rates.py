"""The rates of a tumour as unknowns beside a field: standardised logarithms with a log-normal prior each.

Which rates are unknown is a matter of choice; everything else of the tumour is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncology.errors import ConfigError, NumericalError
from oncology.inverse.maps import Change, Inputs
from oncology.inverse.priors import GaussianPrior
from oncology.model.tumour import Tumour, TumourChange

__all__ = ["LogPrior", "RatesMap"]

Vector = NDArray[np.float64]

_RATES = ("diffusion_white", "diffusion_grey", "proliferation")
# Largest change of the logarithm of a rate: further away fixed time steps are meaningless.
_FURTHEST = 5.0


@dataclass(frozen=True)
class LogPrior:
    """Log-normal prior of one rate, which makes it an unknown.

    Attributes:
        name: "diffusion_white", "diffusion_grey" or "proliferation".
        median: prior median and start value, in the rate's unit.
        sd_log: standard deviation of the logarithm.
    """

    name: str
    median: float
    sd_log: float

    def __post_init__(self) -> None:
        if self.name not in _RATES:
            raise ConfigError(
                f"prior of {self.name!r}: only the rates {', '.join(_RATES)} can be unknown with the field"
            )
        if not (0.0 < self.median < math.inf and 0.0 < self.sd_log < math.inf):
            raise ConfigError(
                f"prior of {self.name}: median {self.median:g} and log-deviation {self.sd_log:g} must be > 0"
            )


@dataclass(frozen=True, eq=False)
class RatesMap:
    """Standardised logarithms q of unknown rates, `ln p = ln median + sd_log q`; the other inputs are known.

    Attributes:
        tumour: known inputs.
        priors: rates that are unknown.
    """

    tumour: Tumour
    priors: tuple[LogPrior, ...] = ()

    @property
    def start(self) -> Vector:
        """The medians."""
        return np.zeros(len(self.priors))

    @property
    def prior(self) -> GaussianPrior:
        """Standard normal."""
        return GaussianPrior(np.zeros(len(self.priors)), np.ones(len(self.priors)))

    def rates(self, q: Vector) -> dict[str, float]:
        """Return the unknown rates by name.

        Raises:
            NumericalError: on every rank, if a rate leaves its median by more than a factor of e^5.
        """
        found = {}
        for prior, value in zip(self.priors, q, strict=True):
            if not abs(prior.sd_log * value) <= _FURTHEST:
                raise NumericalError(
                    f"{prior.name} went to {prior.sd_log * value:+.3g} from the logarithm of its median"
                )
            found[prior.name] = prior.median * math.exp(prior.sd_log * float(value))
        return found

    def apply(self, x: Vector, inputs: Inputs) -> Inputs:
        """Return the inputs with the known tumour and these rates."""
        rates: dict[str, Any] = dict(self.rates(x))
        return replace(inputs, tumour=replace(self.tumour, **rates))

    def tangent(self, x: Vector, dx: Vector) -> Change:
        """Return the change of the rates."""
        rates = self.rates(x)
        moved: dict[str, Any] = {
            prior.name: prior.sd_log * rates[prior.name] * float(d) for prior, d in zip(self.priors, dx, strict=True)
        }
        return Change(TumourChange(**moved, seed=(0.0,) * len(self.tumour.seed)))

    def adjoint(self, x: Vector, derivative: Change) -> Vector:
        """Return the derivative by q."""
        rates = self.rates(x)
        return np.array([p.sd_log * rates[p.name] * getattr(derivative.tumour, p.name) for p in self.priors])
