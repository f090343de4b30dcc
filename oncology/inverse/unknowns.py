"""Names for what is unknown, before there is a mesh: `Scalars() + Field("diffusion", Matern(sd=0.5, length=30.0))`.

An `InverseProblem` puts them on its engine, where they become parameter maps with a prior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from oncology.errors import ConfigError
from oncology.inverse.maps import FieldMap, MapSum, ParameterMap
from oncology.inverse.observe import Data, ScanData
from oncology.inverse.priors import MaternPrior, matern_coefficients
from oncology.inverse.start import scalar_unknowns
from oncology.model.engine import Engine

__all__ = ["Field", "Matern", "Scalars", "Unbound", "UnknownSum"]

_ENTRIES = {"diffusion": "log_diffusion", "proliferation": "log_proliferation"}
_LARGEST_SD = 2.0


@runtime_checkable
class Unbound(Protocol):
    """Unknowns that wait for an engine."""

    def on(self, engine: Any, data: Data) -> ParameterMap:
        """Return the map of these unknowns on an engine."""


@dataclass(frozen=True)
class Matern:
    """Matern prior of the logarithm of a field around zero.

    Attributes:
        sd: pointwise standard deviation, natural logarithm, in (0, 2].
        length: correlation length, mm: at this distance the correlation is about 0.14.
    """

    sd: float = 0.5
    length: float = 30.0

    def __post_init__(self) -> None:
        if not 0.0 < self.sd <= _LARGEST_SD:
            raise ConfigError(f"standard deviation {self.sd:g} of a field: give a number in (0, {_LARGEST_SD:g}]")
        if not self.length > 0.0:
            raise ConfigError(f"correlation length {self.length:g} mm of a field: give a positive length, 30 mm say")


@dataclass(frozen=True)
class Scalars:
    """The scalars of a tumour: D_w, D_g, rho, seed, onset, the seed's radius, and thresholds where asked for.

    First guess and prior come from the case; tracer images bring their scale as an unknown.

    Attributes:
        estimate_thresholds: treat the thresholds as unknown around those of the case.
        seed_radius: radius of the seed where it is known, mm; None: unknown around 6.5 mm.
    """

    estimate_thresholds: bool = False
    seed_radius: float | None = None

    def on(self, engine: Engine, data: Data) -> ParameterMap:
        """Return the map of the scalars.

        Raises:
            ConfigError: the data are not those of a case.
        """
        if not isinstance(data, ScanData):
            raise ConfigError("Scalars() takes its first guess from a case: give observe(case) as data")
        return scalar_unknowns(data.case, self.estimate_thresholds, data.tracer, self.seed_radius)[0]

    def __add__(self, other: Unbound) -> UnknownSum:
        """Return both as one."""
        return UnknownSum((self, other))


@dataclass(frozen=True)
class Field:
    """The logarithm of a rate over its tissue's value, as a field on the mesh.

    Attributes:
        quantity: "diffusion" or "proliferation".
        prior: prior of the logarithm.
    """

    quantity: str
    prior: Matern

    def __post_init__(self) -> None:
        if self.quantity not in _ENTRIES:
            raise ConfigError(f"field {self.quantity!r}: give one of {', '.join(_ENTRIES)}")

    def on(self, engine: Any, data: Data) -> ParameterMap:
        """Return the map of the field, zero at first.

        Raises:
            ConfigError: the engine solves no elliptic problems, or the correlation length does not suit its mesh.
        """
        if not hasattr(engine, "elliptic"):
            raise ConfigError(f"{type(engine).__name__} knows no fields: take FiniteElements")
        space = engine.space
        dimension = space.points.shape[1]
        volume, cells = space.total(np.array([space.volumes.sum(), float(len(space.volumes))]))
        size, extent = (float(v ** (1.0 / dimension)) for v in (volume / cells, volume))
        if not 2.0 * size <= self.prior.length <= 10.0 * extent:
            raise ConfigError(
                f"correlation length {self.prior.length:g} mm: give {2.0 * size:.3g} mm (two cells) to "
                f"{10.0 * extent:.3g} mm (ten times the meshed region)"
            )
        operator = engine.elliptic(*matern_coefficients(self.prior.sd, self.prior.length, dimension))
        zero = np.zeros(len(space.owned))
        return FieldMap(_ENTRIES[self.quantity], zero, MaternPrior(zero, operator))

    def __add__(self, other: Unbound) -> UnknownSum:
        """Return both as one."""
        return UnknownSum((self, other))


@dataclass(frozen=True)
class UnknownSum:
    """Several unknowns; scalars before fields.

    Attributes:
        parts: in order.
    """

    parts: tuple[Unbound, ...]

    def on(self, engine: Any, data: Data) -> ParameterMap:
        """Return the map of all parts."""
        return MapSum(tuple(part.on(engine, data) for part in self.parts))

    def __add__(self, other: Unbound) -> UnknownSum:
        """Return all as one."""
        return UnknownSum((*self.parts, other))
