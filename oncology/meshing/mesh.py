"""The tetrahedral mesh that all other packages use, and its file.

`TetMesh` holds P1 tetrahedra in RAS mm with tissue fractions averaged over each cell. `mesh.h5` is plain HDF5, written
serially and uncompressed so that every rank can read it with any HDF5 build; the vertex order of the file is the
vertex order of every `Trajectory`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from oncology.errors import MeshError
from oncology.files import hdf5_bytes, write_file
from oncology.meshing.topology import cell_volumes

__all__ = ["TetMesh", "read_mesh", "read_quality", "write_mesh"]

FORMAT = 1
ROUTES = ("stuffing", "lattice", "imported", "voxel")


@dataclass(frozen=True, eq=False, repr=False)
class TetMesh:
    """Tetrahedra of positive volume with the tissue in each.

    Attributes:
        points: (nv, 3) vertices, RAS mm; each is used by some cell.
        cells: (nc, 4) vertex numbers, ordered so that the volume is positive.
        white: (nc,) white-matter fraction averaged over the cell, 0..1.
        grey: (nc,) grey-matter fraction averaged over the cell, 0..1.
        size: requested edge length, mm (the mean edge length of an imported mesh).
        route: "stuffing", "lattice", "imported" or "voxel" (between the centres of voxels).
        tagged: whether the tissue is that of the mesh file's own tags, not a mean over the case's maps.

    Raises:
        MeshError: array shapes that do not belong together, vertex numbers out of range, an unknown route.
    """

    points: NDArray[np.float64]
    cells: NDArray[np.int64]
    white: NDArray[np.float64]
    grey: NDArray[np.float64]
    size: float
    route: str
    tagged: bool = False

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together; geometry is checked by `quality`."""
        cells = len(self.cells)
        shapes = (self.points.shape, self.cells.shape, self.white.shape, self.grey.shape)
        if shapes != ((len(self.points), 3), (cells, 4), (cells,), (cells,)) or not cells:
            raise MeshError(f"mesh arrays have shapes {shapes}, expected (nv, 3), (nc, 4), (nc,), (nc,) with nc > 0")
        if self.cells.min() < 0 or self.cells.max() >= len(self.points):
            raise MeshError(
                f"mesh cells use vertices {self.cells.min()}..{self.cells.max()}, expected 0..{len(self.points) - 1}"
            )
        if self.route not in ROUTES:
            raise MeshError(f"mesh route {self.route!r} is unknown: use one of {', '.join(ROUTES)}")

    def __repr__(self) -> str:
        return f"TetMesh({len(self.points)} vertices, {len(self.cells)} cells, {self.size:g} mm, {self.route})"

    @cached_property
    def volumes(self) -> NDArray[np.float64]:
        """Volume of each cell, (nc,), mm^3."""
        return cell_volumes(self.points, self.cells)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the contents: 64 hexadecimal digits, equal for equal meshes on every machine."""
        digest = hashlib.sha256(f"{FORMAT} {self.route} {self.size!r}".encode())
        for array, kind in ((self.points, "<f8"), (self.cells, "<i8"), (self.white, "<f8"), (self.grey, "<f8")):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array, dtype=kind).data)
        return digest.hexdigest()


def write_mesh(path: str | Path, mesh: TetMesh, quality: Mapping[str, float | int | str] | None = None) -> None:
    """Write `/points /cells /white /grey` and attributes to an HDF5 file, completely or not at all.

    Args:
        path: file to write; an existing one is replaced in a single rename.
        mesh: the mesh.
        quality: `QualityReport.as_dict()`, kept as a JSON attribute.

    Raises:
        OutputError: the folder is missing or cannot be written.
    """

    def fill(file: h5py.File) -> None:
        for key in ("points", "cells", "white", "grey"):
            file.create_dataset(key, data=getattr(mesh, key), track_times=False)
        file.attrs.update({"format": FORMAT, "size": mesh.size, "route": mesh.route, "tagged": mesh.tagged})
        file.attrs["fingerprint"] = mesh.fingerprint
        if quality is not None:
            file.attrs["quality"] = json.dumps(dict(quality))

    write_file(path, hdf5_bytes(fill))


def read_mesh(path: str | Path) -> TetMesh:
    """Read a mesh and verify its fingerprint.

    Raises:
        MeshError: the file is missing, not a mesh file, of another format version, or damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            if int(file.attrs["format"]) != FORMAT:
                raise MeshError(f"{path}: mesh format {file.attrs['format']}, expected {FORMAT}: mesh the case again")
            mesh = TetMesh(
                points=np.asarray(file["points"][:], dtype=np.float64),
                cells=np.asarray(file["cells"][:], dtype=np.int64),
                white=np.asarray(file["white"][:], dtype=np.float64),
                grey=np.asarray(file["grey"][:], dtype=np.float64),
                size=float(file.attrs["size"]),
                route=str(file.attrs["route"]),
                tagged=bool(file.attrs.get("tagged", False)),
            )
            fingerprint = str(file.attrs["fingerprint"])
    except FileNotFoundError as error:
        raise MeshError(f"{path}: no such mesh file: check the path or mesh the case again") from error
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise MeshError(f"{path}: not a readable mesh file ({_one_line(error)}): mesh the case again") from error
    if mesh.fingerprint != fingerprint:
        raise MeshError(f"{path}: contents do not match their fingerprint {fingerprint[:12]}: mesh the case again")
    return mesh


def read_quality(path: str | Path) -> dict[str, float | int | str] | None:
    """The quality figures stored with a mesh file, `None` if it has none.

    Raises:
        MeshError: the file cannot be read.
    """
    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get("quality")
            return None if text is None else dict(json.loads(text))
    except (OSError, ValueError, TypeError) as error:
        raise MeshError(f"{path}: not a readable mesh file ({_one_line(error)}): mesh the case again") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
