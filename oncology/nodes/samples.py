"""Samples of a network: inputs with their targets, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from oncology.errors import ConfigError

__all__ = ["Batch", "Samples", "check_samples"]


class Batch(Protocol):
    """Inputs with their targets, whatever the inputs are."""

    @property
    def inputs(self) -> Tensor:
        """(K, ...)."""

    @property
    def targets(self) -> Tensor:
        """(K, outputs): one-hot classes or values."""

    def __len__(self) -> int: ...


def check_samples(inputs: Tensor, targets: Tensor, axes: int, expected: str) -> None:
    """Refuse samples that do not belong together.

    Args:
        inputs: (K, ...).
        targets: (K, outputs).
        axes: number of axes that the inputs have.
        expected: shapes that are needed, in words.

    Raises:
        ConfigError: there is no sample, numbers differ, or a value is not finite.
    """
    if inputs.ndim != axes or targets.ndim != 2 or len(inputs) != len(targets):
        shapes = f"{tuple(inputs.shape)} and {tuple(targets.shape)}"
        raise ConfigError(f"inputs and targets of shapes {shapes}; need {expected}")
    if len(inputs) == 0 or not (inputs.isfinite().all() and targets.isfinite().all()):
        raise ConfigError("samples are missing or hold values that are not finite; correct the data")


@dataclass(frozen=True, eq=False)
class Samples:
    """Vectors with their targets.

    Attributes:
        inputs: (K, features).
        targets: (K, outputs): one-hot classes or values.

    Raises:
        ConfigError: there is no sample, numbers differ, or a value is not finite.
    """

    inputs: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        check_samples(self.inputs, self.targets, 2, "(K, features) and (K, outputs)")

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def classes(self) -> Tensor:
        """Largest target of each sample, (K,)."""
        return self.targets.argmax(-1)

    def take(self, rows: Tensor) -> Samples:
        """The samples of the given rows."""
        return Samples(self.inputs[rows], self.targets[rows])

    def to(self, like: Tensor) -> Samples:
        """The samples with the type and on the device of a tensor."""
        return Samples(self.inputs.to(like), self.targets.to(like))
