"""Training and trained networks on disk, bit for bit, as tensors and plain values: no code is ever unpickled.

Frozen dataclasses become dictionaries with their class's name and come back through a list of known classes; torch
writes and reads the rest with `weights_only`.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.nodes.activation import activation_named
from oncology.nodes.depth import DepthGrid
from oncology.nodes.descent import AdamMemory, LBFGSMemory, StochasticMemory
from oncology.nodes.scheme import scheme_named
from oncology.nodes.standalone import StandaloneNODE
from oncology.nodes.training import Progress
from oncology.optimise import Counts, Record, State
from oncology.optimise.directions import Gradient, Search

__all__ = ["load_model", "load_progress", "save_model", "save_progress"]

KNOWN: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        AdamMemory,
        Counts,
        DepthGrid,
        Gradient,
        LBFGSMemory,
        Progress,
        Record,
        Search,
        State,
        StochasticMemory,
    )
}
CLASS = "class"


def save_progress(path: Path, progress: Progress, setting: dict[str, Any] | None = None) -> None:
    """Write where training is, whole or not at all.

    Args:
        path: the file.
        progress: where training is.
        setting: plain values that a resumed run must share, as `load_progress` returns them.
    """
    _write(path, {"progress": _packed(progress), "setting": setting or {}})


def load_progress(path: Path, device: torch.device | str = "cpu") -> tuple[Progress, dict[str, Any]]:
    """Read where training is, with the setting it was written with.

    Raises:
        ConfigError: the file is not one of `save_progress`.
    """
    content = _read(path, device, "progress")
    progress: Progress = _unpacked(content["progress"])
    progress = dataclasses.replace(progress, order=progress.order.cpu(), generator=progress.generator.cpu())
    return progress, content["setting"]


def save_model(path: Path, model: StandaloneNODE, theta: Tensor) -> None:
    """Write a network with its weights, whole or not at all."""
    _write(path, {"model": _packed(model), "theta": theta.cpu()})


def load_model(path: Path, device: torch.device | str = "cpu") -> tuple[StandaloneNODE, Tensor]:
    """Read a network with its weights.

    Raises:
        ConfigError: the file is not one of `save_model`.
    """
    content = _read(path, device, "model")
    return _unpacked(content["model"]), content["theta"]


def _packed(value: Any) -> Any:
    """Plain values and tensors that hold the same."""
    if isinstance(value, StandaloneNODE):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        fields |= {"activation": value.activation.name, "scheme": value.scheme.name, "grid": _packed(value.grid)}
        return {CLASS: "StandaloneNODE", **fields}
    if isinstance(value, tuple):
        return [_packed(item) for item in value]
    name = type(value).__name__
    if dataclasses.is_dataclass(value) and name in KNOWN:
        fields = {field.name: _packed(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {CLASS: name, **fields}
    return value


def _unpacked(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_unpacked(item) for item in value)
    if not isinstance(value, dict):
        return value
    fields = {key: _unpacked(item) for key, item in value.items() if key != CLASS}
    if value[CLASS] == "StandaloneNODE":
        named = {"activation": activation_named(fields["activation"]), "scheme": scheme_named(fields["scheme"])}
        return StandaloneNODE(**(fields | named))
    return KNOWN[value[CLASS]](**fields)


def _write(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_name(f"{path.name}.new")
    torch.save(content, temporary)
    os.replace(temporary, path)


def _read(path: Path, device: torch.device | str, part: str) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; give the folder of a training") from error
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ConfigError(f"{path}: cannot be read as a file of `oncology train`; train again") from error
    if not isinstance(content, dict) or part not in content:
        raise ConfigError(f"{path}: holds no {part}; give a file that `oncology train` wrote")
    return content
