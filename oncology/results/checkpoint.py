"""The checkpoint of a running fit: enough to go on from its last accepted iterate, with the settings it belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from oncology.errors import OutputError
from oncology.inverse.identify import Checkpoint

__all__ = ["CHECKPOINT", "read_checkpoint", "write_checkpoint"]

CHECKPOINT = "checkpoint.json"


def write_checkpoint(path: Path, checkpoint: Checkpoint, settings: Mapping[str, object]) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: the file.
        checkpoint: where the fit stands.
        settings: of the fit, as plain values.
    """
    plain = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in vars(checkpoint).items()}
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({"setup": dict(settings), "checkpoint": plain}), encoding="utf-8")
    temporary.replace(path)


def read_checkpoint(path: Path, settings: Mapping[str, object]) -> Checkpoint | None:
    """Read a checkpoint; None where there is none yet.

    Raises:
        OutputError: the checkpoint belongs to other settings.
    """
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    changed = [key for key, value in settings.items() if content["setup"].get(key) != value]
    if changed:
        raise OutputError(
            f"{path}: was written with another {', '.join(changed)}: give the same settings, or --overwrite instead"
        )
    plain = content["checkpoint"]
    coarse, metric = (None if plain[key] is None else np.array(plain[key]) for key in ("coarse", "metric"))
    return Checkpoint(plain["stage"], np.array(plain["x"]), plain["noise"], coarse, metric)
