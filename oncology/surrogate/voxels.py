"""The convolutional variant from trajectories to a file: training on some runs, errors on others.

The file holds the voxels, the logarithms of the factors over depth, and what they were learnt from; `load_flow` gives
the flow back, whose `ClosureProblem` runs it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from oncology.errors import DataError, OutputError
from oncology.meshing import TetMesh
from oncology.model.trajectory import Trajectory
from oncology.model.tumour import PARAMETERS
from oncology.surrogate.convolution import (
    ClosedFlow,
    ClosureProblem,
    Family,
    family_of,
    flow_on,
    learn_closure,
)
from oncology.surrogate.coordinates import similarity
from oncology.surrogate.design import Domain
from oncology.surrogate.learn import summary
from oncology.voxel.box import TissueBox

__all__ = ["learn_flow", "load_flow", "save_flow"]

SCHEMA = 2
_BOX = ("white", "grey", "inside", "lower", "spacing")


def learn_flow(
    box: TissueBox,
    mesh: TetMesh,
    domain: Domain,
    seen: Sequence[Trajectory],
    unseen: Sequence[Trajectory],
    iterations: int = 25,
    tell: Callable[[str, float | None], None] = lambda text, fraction: None,
) -> tuple[ClosedFlow, torch.Tensor, dict[str, Any]]:
    """Train the voxel flow's factors.

    Args:
        box: voxels.
        mesh: of the runs.
        domain: range of the variables.
        seen: runs to learn from, all with the same number of frames.
        unseen: others, to measure with.
        iterations: most iterations of conjugate gradients.
        tell: called with what is going on and which fraction of it is done.

    Returns:
        The flow, the logarithms of its factors, and relative errors with them and without (`error`, `error_plain`).

    Raises:
        DataError: runs have different numbers of frames.
    """
    flow = flow_on(box, domain)
    train, test = (ClosureProblem(flow, _family(box, mesh, runs)) for runs in (seen, unseen))
    theta = learn_closure(train, iterations, tell=tell)
    plain = test.evaluate(torch.zeros_like(theta)).errors.ravel()
    learnt = test.evaluate(theta).errors.ravel()
    facts = {
        "size_mm": box.spacing,
        "voxels": int(box.inside.sum()),
        "training_runs": len(seen),
        "unseen_runs": len(unseen),
        "error_plain": summary(plain),
        "error": summary(learnt),
    }
    return flow, theta, facts


def _family(box: TissueBox, mesh: TetMesh, runs: Sequence[Trajectory]) -> Family:
    frames = {len(run.times) for run in runs}
    if len(frames) != 1:
        raise DataError(f"runs have {sorted(frames)} frames: give runs with the same number of them")
    parameters = [np.array([float(run.meta[name]) for name in PARAMETERS]) for run in runs]
    variables = [[similarity(p, float(day)) for day in run.times] for p, run in zip(parameters, runs, strict=True)]
    return family_of(box, mesh, np.array(variables), np.stack([run.density for run in runs]))


def save_flow(path: Path, flow: ClosedFlow, theta: torch.Tensor, facts: Mapping[str, Any]) -> None:
    """Write a trained flow.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        with h5py.File(path, "w") as file:
            file.attrs["schema"] = SCHEMA
            file.attrs["facts"] = json.dumps(dict(facts))
            for name in _BOX:
                file.create_dataset(name, data=getattr(flow.box, name))
            file.create_dataset("range", data=[flow.domain.lower, flow.domain.upper])
            file.create_dataset("log_factors", data=theta.numpy())
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error}): choose another --out") from error


def load_flow(path: Path) -> tuple[ClosedFlow, torch.Tensor]:
    """Read a trained flow and the logarithms of its factors.

    Raises:
        DataError: the file is missing, damaged or of another version.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file: give --voxels to `oncology train surrogate`")
    try:
        with h5py.File(path, "r") as file:
            if int(file.attrs["schema"]) != SCHEMA:
                raise DataError(f"{path}: has schema {file.attrs['schema']}, this version reads {SCHEMA}: train again")
            arrays = {name: file[name][()] for name in (*_BOX, "range", "log_factors")}
    except (OSError, KeyError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise DataError(f"{path}: not a trained voxel flow, or truncated ({text}): train again") from error
    box = TissueBox(**{name: arrays[name] for name in _BOX[:-1]}, spacing=float(arrays["spacing"]))
    theta = torch.from_numpy(arrays["log_factors"])
    return flow_on(box, Domain(*arrays["range"]), len(theta) - 1), theta
