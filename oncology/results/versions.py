"""Versions of what computed a result."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping

import oncology

__all__ = ["versions"]

_PACKAGES = ("numpy", "scipy", "nibabel", "h5py", "meshio", "pyvista")


def versions(engine: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of the package, of an engine's parts and of what both build on."""
    found = {"oncology": oncology.__version__, "python": platform.python_version(), **engine}
    return found | {name: importlib.metadata.version(name) for name in _PACKAGES}
