"""A surrogate on disk: a folder with its mesh, its network and its arrays, and what it was trained on as plain values.

`mesh.h5` and `surrogate.h5` are read without torch, `network.pt` holds tensors and plain values only.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from oncology.errors import DataError, OutputError
from oncology.meshing import read_mesh, write_mesh
from oncology.nodes.checkpoint import load_model, save_model
from oncology.surrogate.basis import Basis
from oncology.surrogate.design import Domain
from oncology.surrogate.model import Surrogate

__all__ = ["load_surrogate", "save_surrogate"]

SCHEMA = 2
_ARRAYS, _MESH, _NETWORK = "surrogate.h5", "mesh.h5", "network.pt"
_BASIS = tuple(entry.name for entry in fields(Basis) if entry.name != "energy")


def save_surrogate(folder: Path, surrogate: Surrogate) -> None:
    """Write a surrogate into a folder that exists.

    Raises:
        OutputError: the folder cannot be written.
    """
    write_mesh(folder / _MESH, surrogate.mesh)
    save_model(folder / _NETWORK, surrogate.network, surrogate.theta)
    try:
        with h5py.File(folder / _ARRAYS, "w") as file:
            file.attrs["schema"] = SCHEMA
            file.attrs["mesh_fingerprint"] = surrogate.mesh.fingerprint
            file.attrs["facts"] = json.dumps(dict(surrogate.facts))
            for name in _BASIS:
                values = getattr(surrogate.basis, name)
                file.create_dataset(name, data=values.astype(np.float32) if name == "vectors" else values)
            for name, values in (("start", surrogate.start), ("units", surrogate.units)):
                file.create_dataset(name, data=values)
            file.create_dataset("range", data=[surrogate.domain.lower, surrogate.domain.upper])
            file.attrs["energy"] = surrogate.basis.energy
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error}): choose another --out") from error


def load_surrogate(folder: Path) -> Surrogate:
    """Read a surrogate.

    Raises:
        DataError: the folder holds none, or one of another version, or its files do not belong together.
    """
    path = folder / _ARRAYS
    if not path.is_file():
        raise DataError(f"{folder}: holds no surrogate: give a folder that `oncology train surrogate` wrote")
    try:
        with h5py.File(path, "r") as file:
            if int(file.attrs["schema"]) != SCHEMA:
                raise DataError(f"{path}: has schema {file.attrs['schema']}, this version reads {SCHEMA}: train again")
            arrays: dict[str, Any] = {name: file[name][()] for name in (*_BASIS, "start", "units", "range")}
            fingerprint, energy = str(file.attrs["mesh_fingerprint"]), float(file.attrs["energy"])
            facts = json.loads(file.attrs["facts"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise DataError(f"{path}: not a surrogate, or truncated ({text}): train again") from error
    mesh = read_mesh(folder / _MESH)
    if mesh.fingerprint != fingerprint:
        raise DataError(f"{folder}: mesh.h5 is not the mesh of the surrogate: train again")
    network, theta = load_model(folder / _NETWORK)
    arrays["vectors"] = arrays["vectors"].astype(float)
    basis = Basis(energy=energy, **{name: arrays[name] for name in _BASIS})
    domain = Domain(*arrays["range"])
    return Surrogate(mesh, basis, arrays["start"], arrays["units"], network, theta.to(torch.float64), domain, facts)
