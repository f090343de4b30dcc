"""Parameter maps: from the vector of unknowns to the inputs of an engine, with tangent and adjoint.

A map says what is unknown and nothing else does: a new unknown is a new map. Maps add up: `ScalarMap(...) +
FieldMap(...)` takes the concatenated vector, and each sets its own entries of the inputs. Vectors hold this rank's
part: replicated entries (the same on every rank) and entries of owned vertices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from oncology.inverse.priors import GaussianPrior, Prior, StackedPrior
from oncology.model.tumour import Tumour, TumourChange

__all__ = ["Change", "FieldMap", "Given", "Inputs", "MapSum", "ParameterMap", "merged"]

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a vector of unknowns stands for.

    Attributes:
        tumour: input of the engine.
        levels: levels of observations that are unknown, by region: thresholds, scale of a tracer.
    """

    tumour: Tumour
    levels: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Change:
    """A change of `Inputs`, or a derivative by them."""

    tumour: TumourChange = field(default_factory=TumourChange)
    levels: Mapping[str, float] = field(default_factory=dict)


class ParameterMap(Protocol):
    """Unknowns to inputs."""

    @property
    def start(self) -> Vector:
        """First guess of the unknowns of this rank, (n,)."""

    @property
    def prior(self) -> Prior:
        """Prior of the unknowns."""

    def apply(self, x: Vector, inputs: Inputs) -> Inputs:
        """Return the inputs with the entries that this map sets."""

    def tangent(self, x: Vector, dx: Vector) -> Change:
        """Return the change of the inputs along dx."""

    def adjoint(self, x: Vector, derivative: Change) -> Vector:
        """Return the derivative by x (a dual vector of this rank) from that by the inputs."""


@dataclass(frozen=True, eq=False)
class Given:
    """A tumour that is known: sets the inputs and has no unknowns.

    Attributes:
        tumour: the tumour.
    """

    tumour: Tumour

    @property
    def start(self) -> Vector:
        """Nothing."""
        return np.empty(0)

    @property
    def prior(self) -> Prior:
        """A prior of nothing."""
        return GaussianPrior(np.empty(0), np.empty(0))

    def apply(self, x: Vector, inputs: Inputs) -> Inputs:
        """Return the inputs with this tumour."""
        return replace(inputs, tumour=self.tumour)

    def tangent(self, x: Vector, dx: Vector) -> Change:
        """Return no change."""
        return Change()

    def adjoint(self, x: Vector, derivative: Change) -> Vector:
        """Return nothing."""
        return np.empty(0)

    def __add__(self, other: ParameterMap) -> MapSum:
        """Return both maps as one."""
        return MapSum((self, other))


@dataclass(frozen=True, eq=False)
class FieldMap:
    """A field on the vertices as an unknown: x is the field itself.

    Attributes:
        entry: which field of the tumour: "initial", "log_diffusion" or "log_proliferation".
        start: first guess, (n,).
        prior: prior of the field.
    """

    entry: str
    start: Vector
    prior: Prior

    def apply(self, x: Vector, inputs: Inputs) -> Inputs:
        """Return the inputs with this field."""
        changed: dict[str, Any] = {self.entry: x}
        return replace(inputs, tumour=replace(inputs.tumour, **changed))

    def tangent(self, x: Vector, dx: Vector) -> Change:
        """Return the change of the field."""
        changed: dict[str, Any] = {self.entry: dx}
        return Change(TumourChange(**changed))

    def adjoint(self, x: Vector, derivative: Change) -> Vector:
        """Return the derivative by the field."""
        return np.asarray(getattr(derivative.tumour, self.entry))

    def __add__(self, other: ParameterMap) -> MapSum:
        """Return both maps as one."""
        return MapSum((self, other))


@dataclass(frozen=True, eq=False)
class MapSum:
    """Maps side by side: the unknowns of all, one after the other.

    Attributes:
        parts: the maps, applied in order.
    """

    parts: tuple[ParameterMap, ...]

    @property
    def start(self) -> Vector:
        """First guesses of all parts."""
        return np.concatenate([part.start for part in self.parts])

    @property
    def prior(self) -> Prior:
        """Priors of all parts, independent of each other."""
        return StackedPrior(tuple(part.prior for part in self.parts))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of unknowns of each part on this rank."""
        return tuple(len(part.start) for part in self.parts)

    def split(self, x: Vector) -> list[Vector]:
        """Return each part's unknowns."""
        return np.split(x, np.cumsum(self.sizes)[:-1])

    def apply(self, x: Vector, inputs: Inputs) -> Inputs:
        """Return the inputs after all parts."""
        for part, own in zip(self.parts, self.split(x), strict=True):
            inputs = part.apply(own, inputs)
        return inputs

    def tangent(self, x: Vector, dx: Vector) -> Change:
        """Return the change of all parts together."""
        total = Change()
        for part, own, moved in zip(self.parts, self.split(x), self.split(dx), strict=True):
            total = merged(total, part.tangent(own, moved))
        return total

    def adjoint(self, x: Vector, derivative: Change) -> Vector:
        """Return the derivatives by the unknowns of all parts."""
        pieces = zip(self.parts, self.split(x), strict=True)
        return np.concatenate([part.adjoint(own, derivative) for part, own in pieces])

    def __add__(self, other: ParameterMap) -> MapSum:
        """Return all maps as one."""
        return MapSum((*self.parts, other))


def merged(a: Change, b: Change) -> Change:
    """Return the sum of two changes."""

    def add(one: Vector | None, two: Vector | None) -> Vector | None:
        if one is None or two is None:
            return two if one is None else one
        return np.asarray(one + two)

    s, t = a.tumour, b.tumour
    scalars = s.values + t.values if len(s.seed) == len(t.seed) else (s if np.any(s.values) else t).values
    tumour = TumourChange.of(
        scalars,
        add(s.initial, t.initial),
        add(s.log_diffusion, t.log_diffusion),
        add(s.log_proliferation, t.log_proliferation),
    )
    regions = {*a.levels, *b.levels}
    return Change(tumour, {name: a.levels.get(name, 0.0) + b.levels.get(name, 0.0) for name in sorted(regions)})
