"""Errors of the package: what the user can correct is an `InputError`; every other error is not.

Every message is one line that names the offending value (and file), the allowed range and what to do next.
The command line turns `InputError` into exit status 2 and every other `OncologyError` into exit status 1.
"""

from __future__ import annotations

__all__ = [
    "ArgumentError",
    "CaseError",
    "ConfigError",
    "DataError",
    "ImageError",
    "InputError",
    "MeshError",
    "NumericalError",
    "OncologyError",
    "OutputError",
]


class OncologyError(Exception):
    """Base class of every error that this package raises on purpose."""


class InputError(OncologyError):
    """Something the user gave is missing, malformed or out of range (exit status 2)."""


class CaseError(InputError):
    """A case folder or its `case.toml` is incomplete, inconsistent or has unknown keys."""


class ImageError(InputError):
    """An image cannot be read, or its voxels or its affine cannot be used."""


class MeshError(InputError):
    """No usable mesh can be made of the given mask, size or file."""


class ConfigError(InputError):
    """A setting is unknown, out of range or contradicts another."""


class ArgumentError(ConfigError):
    """An argument of a function is out of range; the command line names it as an option.

    Attributes:
        name: of the argument, in Python.
        text: what is wrong with it and what to give instead.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name} {text}")
        self.name = name
        self.text = text

    def __reduce__(self) -> tuple[type[ArgumentError], tuple[str, str]]:
        return type(self), (self.name, self.text)  # errors travel between ranks

    @property
    def option(self) -> str:
        """The message with the argument written as an option of the command line."""
        return f"--{self.name.replace('_', '-')} {self.text}"


class DataError(InputError):
    """A file of samples is missing, malformed or does not fit the network."""


class OutputError(InputError):
    """A result cannot be written to the requested place."""


class NumericalError(OncologyError):
    """A solve diverged, lost accuracy or produced values that cannot be right (exit status 1)."""
