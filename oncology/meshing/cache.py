"""Meshes kept by content: the same maps, recipe and package version give the same file name.

A file is written under a temporary name and renamed, so that several processes may fill one cache; what cannot be read
back, or does not match its fingerprint, is built again, and what cannot be written is not kept.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import oncology
from oncology.errors import MeshError, OutputError
from oncology.imaging.volume import Volume
from oncology.meshing.build import Route, build_mesh
from oncology.meshing.domain import Box
from oncology.meshing.grading import Grading
from oncology.meshing.mesh import TetMesh, read_mesh, read_quality, write_mesh
from oncology.meshing.quality import QualityReport

__all__ = ["cached_mesh", "default_cache", "mesh_key"]


def cached_mesh(
    cache_dir: str | Path,
    white: Volume,
    grey: Volume,
    size: float,
    route: Route = "stuffing",
    grading: Grading | None = None,
    box: Box | None = None,
) -> tuple[TetMesh, QualityReport]:
    """`build_mesh` with the same arguments, or what it returned last time.

    Args:
        cache_dir: folder of the cache; made if missing.
        white: as in `build_mesh`, like all that follow.
        grey: see above.
        size: see above.
        route: see above.
        grading: see above.
        box: see above.

    Raises:
        MeshError: as `build_mesh`.
    """
    folder = Path(cache_dir)
    path = folder / f"mesh-{mesh_key(white, grey, size, route, grading, box)[:32]}.h5"
    with suppress(MeshError, OSError):  # none yet, damaged, or not to be read: built below
        return read_mesh(path), _report(path)
    mesh, report = build_mesh(white, grey, size, route, grading, box)
    with suppress(OSError, OutputError):  # a full disk or a read-only home makes the cache useless, not the mesh
        folder.mkdir(parents=True, exist_ok=True)
        write_mesh(path, mesh, report.as_dict())
    return mesh, report


def default_cache() -> Path | None:
    """Return the user's folder of meshes, None where it cannot be written.

    It is ONCOLOGY_CACHE, or `oncology` in XDG_CACHE_HOME or ~/.cache.
    """
    given = os.environ.get("ONCOLOGY_CACHE")
    if given:
        return Path(given)
    folder = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "oncology"
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return folder if os.access(existing, os.W_OK) else None


def mesh_key(white: Volume, grey: Volume, size: float, route: Route, grading: Grading | None, box: Box | None) -> str:
    """SHA-256 of all that determines a mesh: maps with their affines, recipe, package version."""
    digest = hashlib.sha256(f"{oncology.__version__} {float(size)!r} {route}".encode())
    numbers: list[Any] = [white.data, white.affine, grey.data, grey.affine]
    if grading is not None:
        numbers += [grading.centre, (grading.fine_radius, grading.far_size)]
    if box is not None:
        numbers += list(box)
    digest.update(f" {grading is not None} {box is not None}".encode())
    for value in numbers:
        array = np.ascontiguousarray(value)
        digest.update(f"{array.shape} {array.dtype.str}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _report(path: Path) -> QualityReport:
    figures = read_quality(path)
    try:
        return QualityReport(**figures)  # type: ignore[arg-type]
    except TypeError as error:
        raise MeshError(f"{path}: holds no quality report of this version: mesh the case again") from error
