"""The checkpoint of a running fit: enough to go on from its last accepted iterate, with what it belongs to.

It carries the settings of the fit and the fingerprints of its inputs, so that a fit never goes on with other data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from oncology.errors import OutputError
from oncology.files import write_file
from oncology.imaging.fingerprint import changed_inputs
from oncology.inverse.identify import Checkpoint

__all__ = ["CHECKPOINT", "CheckpointError", "read_checkpoint", "write_checkpoint"]

CHECKPOINT = "checkpoint.json"
_ANEW = "give the same command with --overwrite instead of --resume to begin anew"
_PLACES = {"case"}  # settings that say where something is; what it holds is in the fingerprints


class CheckpointError(OutputError):
    """A checkpoint is damaged or belongs to another fit."""


def write_checkpoint(
    path: Path, checkpoint: Checkpoint, settings: Mapping[str, object], inputs: Mapping[str, str] | None = None
) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: the file.
        checkpoint: where the fit stands.
        settings: of the fit, as plain values.
        inputs: fingerprints of what it reads.
    """
    plain = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in vars(checkpoint).items()}
    content = {"setup": dict(settings), "inputs": dict(inputs or {}), "checkpoint": plain}
    write_file(path, json.dumps(content))


def read_checkpoint(
    path: Path, settings: Mapping[str, object], inputs: Mapping[str, str] | None = None
) -> Checkpoint | None:
    """Read a checkpoint; None where there is none yet.

    Args:
        path: the file.
        settings: of the fit that wants to go on, as plain values.
        inputs: fingerprints of what it reads.

    Raises:
        CheckpointError: the checkpoint is damaged, or belongs to other settings or inputs.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        setup, before, checkpoint = content["setup"], content.get("inputs", {}), _parsed(content["checkpoint"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: checkpoint is damaged ({' '.join(str(error).split())}): {_ANEW}") from error
    others = changed_inputs(before, inputs or {})
    if others:
        raise CheckpointError(
            f"{path}: belongs to another case, or the case has changed since ({', '.join(others)}): "
            f"give the same case and settings, or {_ANEW}"
        )
    changed = [key for key, value in settings.items() if key not in _PLACES and setup.get(key) != value]
    if changed:
        raise CheckpointError(
            f"{path}: was written with another {', '.join(changed)}: give the same settings, or {_ANEW}"
        )
    return checkpoint


def _parsed(plain: Mapping[str, Any]) -> Checkpoint:
    x = np.array(plain["x"], dtype=float)
    coarse, metric = (None if plain[key] is None else np.array(plain[key], dtype=float) for key in ("coarse", "metric"))
    numbers = [x, np.array(float(plain["noise"])), *(array for array in (coarse, metric) if array is not None)]
    if not all(np.isfinite(array).all() for array in numbers):
        raise ValueError("a number is not finite")
    return Checkpoint(int(plain["stage"]), x, float(plain["noise"]), coarse, metric)
