"""The one time loop: a run is a list of operations on the density, and each knows its tangent and its adjoint.

Operations are steps, treatments and observations. Forward and tangent pass through them in order, the adjoint in
reverse; all knowledge of intervals, treatments and observation days went into the list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["March", "Observe", "Operation", "Scaling", "march", "march_adjoint", "march_tangent"]


class Operation(Protocol):
    """One operation u -> v with its derivatives, written side by side.

    `record` is what the linearisation needs, `change` a direction of the model's inputs and `gather` what collects the
    derivatives by them; only the operations of one engine look into any of them.
    """

    def forward(self, u: Any) -> tuple[Any, Any]:
        """Return v and the record."""

    def tangent(self, record: Any, du: Any, change: Any) -> Any:
        """Return dv."""

    def adjoint(self, record: Any, dual: Any, gather: Any) -> Any:
        """Return the dual of u and add the derivatives by the model's inputs to `gather`."""


@dataclass(frozen=True)
class Observe:
    """The density is observed here."""


@dataclass(frozen=True)
class Scaling:
    """Radiotherapy or resection, `v = factor u`: linear and diagonal, so its own tangent and transpose.

    Attributes:
        factor: surviving fraction, a number or one for each vertex.
    """

    factor: Any

    def forward(self, u: Any) -> tuple[Any, None]:
        """Return what survives."""
        return self.factor * u, None

    def tangent(self, record: None, du: Any, change: Any) -> Any:
        """Return dv."""
        return self.factor * du

    def adjoint(self, record: None, dual: Any, gather: Any) -> Any:
        """Return the dual of u."""
        return self.factor * dual


@dataclass(frozen=True)
class March:
    """Outcome of a forward pass.

    Attributes:
        observations: density at each observation.
        records: one for each operation, None where there is nothing to keep; empty if they were not kept.
    """

    observations: tuple[Any, ...]
    records: tuple[Any, ...]


def march(
    operations: Sequence[Operation | Observe], u: Any, keep: bool, watch: Callable[[int, Any], None] | None = None
) -> March:
    """Apply the operations to a density.

    Args:
        operations: in order.
        u: density at the start.
        keep: keep the records.
        watch: called with the number of each operation that is a step or a treatment, and the density after it.
    """
    observations, records = [], []
    for number, operation in enumerate(operations):
        record = None
        if isinstance(operation, Observe):
            observations.append(u)
        else:
            u, record = operation.forward(u)
            if watch is not None:
                watch(number, u)
        if keep:
            records.append(record)
    return March(tuple(observations), tuple(records))


def march_tangent(
    operations: Sequence[Operation | Observe],
    records: Sequence[Any],
    du: Any,
    change: Any,
    watch: Callable[[Any, Any], None] | None = None,
) -> tuple[Any, ...]:
    """Return the derivative of each observation along a change of the start and of the model's inputs.

    Args:
        operations: of the run.
        records: of the run.
        du: change of the start.
        change: of the model's inputs.
        watch: called with the record of every operation and the change before it.
    """
    observations = []
    for operation, record in zip(operations, records, strict=True):
        if watch is not None:
            watch(record, du)
        if isinstance(operation, Observe):
            observations.append(du)
        else:
            du = operation.tangent(record, du, change)
    return tuple(observations)


def march_adjoint(
    operations: Sequence[Operation | Observe], records: Sequence[Any], dual: Any, duals: Sequence[Any], gather: Any
) -> Any:
    """Return the derivative of `sum_i <duals[i], observations[i]>` by the start; `dual` is zero in its shape.

    Raises:
        ValueError: there are not as many duals as observations.
    """
    count = sum(isinstance(operation, Observe) for operation in operations)
    if len(duals) != count:
        raise ValueError(f"{len(duals)} duals of {count} observations: give one for each")
    remaining = list(duals)
    for operation, record in zip(reversed(operations), reversed(records), strict=True):
        dual = dual + remaining.pop() if isinstance(operation, Observe) else operation.adjoint(record, dual, gather)
    return dual
