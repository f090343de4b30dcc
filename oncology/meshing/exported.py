"""Meshes for other programs, with the tissue fractions as cell data, in the single-file formats of meshio."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import meshio

from oncology.errors import OutputError
from oncology.meshing.mesh import TetMesh

__all__ = ["FORMATS", "export_mesh"]

FORMATS = {".vtu": "vtu", ".vtk": "vtk", ".msh": "gmsh", ".mesh": "medit"}


def export_mesh(path: str | Path, mesh: TetMesh) -> None:
    """Write a mesh with cell data `white` and `grey` (0..1), completely or not at all (temporary file, then rename).

    Args:
        path: ends in one of FORMATS; the medit format (.mesh) keeps no cell data.
        mesh: points in RAS mm.

    Raises:
        OutputError: another suffix, or the file cannot be written.
    """
    path = Path(path)
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise OutputError(f"{path}: mesh format {path.suffix!r} is unknown: use one of {', '.join(FORMATS)}")
    tissue = {} if form == "medit" else {"white": [mesh.white], "grey": [mesh.grey]}
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        meshio.write(temporary, meshio.Mesh(mesh.points, [("tetra", mesh.cells)], cell_data=tissue), file_format=form)
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}): choose another folder") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
