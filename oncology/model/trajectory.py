"""Densities over time on the vertices of a mesh file: the one file in which the two engines meet.

P1 values in the vertex order of the mesh file, so that numpy, torch and pyvista read them without FEniCS or ranks.
HDF5, written by serial h5py without compression: HDF5 builds without zlib (that of some PETSc stacks) read it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from oncology.errors import InputError
from oncology.files import hdf5_bytes, write_file

__all__ = ["Trajectory", "TrajectoryError", "read_trajectory", "write_trajectory"]

SCHEMA = 1


class TrajectoryError(InputError):
    """A trajectory, or the file that should hold one, is damaged or inconsistent."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Tumour cell density over time.

    Attributes:
        times: (nt,), strictly increasing, day.
        density: (nt, nv), fraction of the carrying capacity, in the vertex order of the mesh file.
        mesh_fingerprint: `TetMesh.fingerprint` of that mesh.
        meta: numbers and texts that belong to it (parameters, case, version).

    Raises:
        TrajectoryError: shapes do not fit, times do not increase, or a value is not finite.
    """

    times: NDArray[np.float64]
    density: NDArray[np.floating[Any]]
    mesh_fingerprint: str
    meta: Mapping[str, float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shapes = f"times {self.times.shape} and density {self.density.shape}"
        if self.density.ndim != 2 or self.times.shape != self.density.shape[:1] or 0 in self.density.shape:
            raise TrajectoryError(f"trajectory: {shapes} do not fit, expected (nt,) and (nt, nv): write the file again")
        if not np.isfinite(self.times).all() or (np.diff(self.times) <= 0).any():
            raise TrajectoryError("trajectory: times must be finite and strictly increasing days: simulate it again")
        finite = np.isfinite(self.density)
        if not finite.all():
            row, vertex = (int(i) for i in np.argwhere(~finite)[0])
            raise TrajectoryError(
                f"trajectory: density is {self.density[row, vertex]} at time {self.times[row]:g}, vertex {vertex}: "
                "simulate it again with smaller steps"
            )


def write_trajectory(path: str | Path, trajectory: Trajectory) -> None:
    """Write a trajectory, whole or not at all (temporary file, then rename).

    Args:
        path: HDF5 file with /times, /density and the attributes schema, mesh_fingerprint and those of /meta.
        trajectory: what to write; the floating type of `density` is kept.

    Raises:
        OutputError: the file cannot be written.
    """

    def fill(file: h5py.File) -> None:
        file.attrs["schema"] = SCHEMA
        file.attrs["mesh_fingerprint"] = trajectory.mesh_fingerprint
        file.create_dataset("times", data=trajectory.times).attrs["unit"] = "day"
        file.create_dataset("density", data=trajectory.density).attrs["unit"] = "fraction of the carrying capacity"
        meta = file.create_group("meta")
        for key, value in trajectory.meta.items():
            meta.attrs[key] = value

    write_file(path, hdf5_bytes(fill))


def read_trajectory(path: str | Path) -> Trajectory:
    """Read and check a trajectory.

    Args:
        path: file of `write_trajectory`.

    Raises:
        TrajectoryError: the file is missing, no trajectory, of another schema, or its contents are inconsistent.
    """
    path = Path(path)
    if not path.is_file():
        raise TrajectoryError(f"{path}: no such file: run `oncology simulate` or correct the path")
    try:
        with h5py.File(path, "r") as file:
            schema = int(file.attrs["schema"])
            if schema != SCHEMA:
                raise TrajectoryError(f"{path}: has schema {schema}, this version reads {SCHEMA}: write the file again")
            fingerprint = str(file.attrs["mesh_fingerprint"])
            times = np.asarray(file["times"][:], dtype=float)
            density = file["density"][:]
            meta = {key: value if isinstance(value, str) else float(value) for key, value in file["meta"].attrs.items()}
    except (OSError, KeyError, TypeError, ValueError) as error:
        message = " ".join(str(error).split())
        raise TrajectoryError(f"{path}: not a trajectory, or truncated ({message}): write the file again") from error
    try:
        return Trajectory(times, density, fingerprint, meta)
    except TrajectoryError as error:
        raise TrajectoryError(f"{path}: {error}") from error
