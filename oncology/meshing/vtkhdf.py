"""Densities over time for ParaView: one VTKHDF file with a fixed mesh and a field that changes.

Written by serial h5py from what `Trajectory` and `TetMesh` hold, so it needs no VTK, no ADIOS2 and no ranks. Layout of
VTKHDF 2.0 (VTK's documentation of file formats), "UnstructuredGrid" with "Temporal data": the offsets of geometry are
zero at every step.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from oncology.errors import InputError
from oncology.files import hdf5_bytes, write_file
from oncology.meshing.mesh import TetMesh
from oncology.model.trajectory import Trajectory

__all__ = ["write_vtkhdf"]

VTK_TETRA = 10


def write_vtkhdf(path: str | Path, mesh: TetMesh, trajectory: Trajectory) -> None:
    """Write point data `density` over time (days) and cell data `white` and `grey`, completely or not at all.

    Args:
        path: ends in .vtkhdf; ParaView 5.12 and VTK 9.3 or later read it.
        mesh: the mesh.
        trajectory: densities on it.

    Raises:
        InputError: the trajectory was computed on another mesh.
        OutputError: the file cannot be written.
    """
    if trajectory.mesh_fingerprint != mesh.fingerprint:
        raise InputError(
            f"trajectory of mesh {trajectory.mesh_fingerprint[:12]} does not belong to mesh {mesh.fingerprint[:12]}: "
            "give the mesh.h5 that lies beside it"
        )

    def fill(file: h5py.File) -> None:
        root = file.create_group("VTKHDF")
        root.attrs["Version"] = np.array([2, 0])
        root.attrs["Type"] = np.bytes_("UnstructuredGrid")
        _write_grid(root, mesh)
        _write_steps(root, trajectory)

    write_file(path, hdf5_bytes(fill))


def _write_grid(root: h5py.Group, mesh: TetMesh) -> None:
    cells = len(mesh.cells)
    root.create_dataset("NumberOfPoints", data=np.array([len(mesh.points)]))
    root.create_dataset("NumberOfCells", data=np.array([cells]))
    root.create_dataset("NumberOfConnectivityIds", data=np.array([mesh.cells.size]))
    root.create_dataset("Points", data=mesh.points)
    root.create_dataset("Connectivity", data=mesh.cells.ravel())
    root.create_dataset("Offsets", data=np.arange(cells + 1) * mesh.cells.shape[1])
    root.create_dataset("Types", data=np.full(cells, VTK_TETRA, dtype=np.uint8))
    for name in ("white", "grey"):
        root.create_dataset(f"CellData/{name}", data=getattr(mesh, name))


def _write_steps(root: h5py.Group, trajectory: Trajectory) -> None:
    """The field of all steps in one array, and where each step begins in it."""
    count, vertices = trajectory.density.shape
    root.create_dataset("PointData/density", data=trajectory.density.ravel())
    steps = root.create_group("Steps")
    steps.attrs["NSteps"] = count
    steps.create_dataset("Values", data=trajectory.times)
    steps.create_dataset("NumberOfParts", data=np.ones(count, dtype=np.int64))
    steps.create_dataset("PartOffsets", data=np.zeros(count, dtype=np.int64))
    steps.create_dataset("PointOffsets", data=np.zeros(count, dtype=np.int64))
    steps.create_dataset("CellOffsets", data=np.zeros((count, 1), dtype=np.int64))
    steps.create_dataset("ConnectivityIdOffsets", data=np.zeros((count, 1), dtype=np.int64))
    steps.create_dataset("PointDataOffsets/density", data=np.arange(count) * vertices)
    for name in ("white", "grey"):
        steps.create_dataset(f"CellDataOffsets/{name}", data=np.zeros(count, dtype=np.int64))
