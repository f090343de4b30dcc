"""`oncology train`: networks from data. A kind of network is a command of this group, in a function of its own."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from oncology.api.trainfile import config_for, kind_of, trained_config
from oncology.cli.output import closing, progress
from oncology.cli.runtime import stoppable
from oncology.errors import ConfigError
from oncology.parallel import Alone, launched_rank
from oncology.results.folder import output_folder

__all__ = ["evaluate", "snode", "surrogate", "train"]

train = App(name="train", help="Train and evaluate neural networks.")


@train.command
def snode(
    *,
    data: str,
    out: Path,
    config: Path | None = None,
    device: str = "auto",
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    resume: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Train a standalone neural ODE as a classifier with nonlinear conjugate gradients, or with a baseline.

    SIGUSR1 ends it at the next checkpoint with exit status 75: the same command with --resume goes on bit for bit.

    Args:
        data: moons, circles, spirals, digits, mnist:FOLDER (with the four IDX files) or FILE.csv (with a header).
        out: Folder for the results; made whole at the end, or not at all.
        config: TOML file of settings (docs/snode.md); the defaults depend on the data.
        device: auto, cpu or cuda.
        overwrite: Replace results that an earlier run left in --out.
        resume: Go on from the last checkpoint of a run that was stopped.
    """
    from oncology.api.fitting import require_torch

    require_torch("oncology train snode", processes=True)
    from oncology.api.snode import CHECKPOINT, dataset_of, run_training, write_config
    from oncology.nodes.device import device_named

    if launched_rank() > 0:
        return
    settings = config_for(data, config)
    with output_folder(out, overwrite=overwrite, resume=resume, checkpoint=CHECKPOINT) as work:
        used, samples = device_named(device), dataset_of(settings)
        write_config(settings, samples, used, work)
        with progress() as show, stoppable(Alone()) as leave_if_asked:
            metrics = run_training(settings, samples, used, work, resume, show, leave_if_asked)
    _print(metrics)
    closing(out, following=(shlex.join(("oncology", "train", "evaluate", str(out))),))


@train.command
def surrogate(
    *,
    case: Path,
    out: Path,
    runs: int = 256,
    unseen: int = 32,
    frames: int = 6,
    size: float = 2.5,
    seed: int = 0,
    basis: int = 60,
    iterations: int = 400,
    voxels: float | None = None,
    keep_runs: Annotated[bool, Parameter(negative="")] = False,
    trajectories: Path | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Train a surrogate of the finite-element solver for one patient: a network that gives densities in milliseconds.

    Runs the solver for many parameters around the first guess from the segmentations, in one process; then
    `oncology fit CASE --engine surrogate --surrogate OUT` fits with it.

    Args:
        case: Folder of the case, which holds case.toml.
        out: Folder for the surrogate; made whole at the end, or not at all.
        runs: Number of runs to learn from.
        unseen: Number of further runs to measure the error with.
        frames: Days of each run.
        size: Edge length of the mesh around the tumour, mm.
        seed: Seed of the parameters and of the initial weights.
        basis: Number of reduced coordinates.
        iterations: Most iterations of conjugate gradients.
        voxels: Also train the convolutional variant, on voxels of this edge, mm.
        keep_runs: Keep the runs, as trajectories, in OUT/runs.
        trajectories: Folder of an earlier --keep-runs for this case, whose runs to learn from instead of running the
            solver; their number, days and mesh are theirs.
        overwrite: Replace results that an earlier run left in --out.
    """
    import oncology as onc
    from oncology.api.fitting import require_torch
    from oncology.api.surrogates import Training, train_surrogate
    from oncology.meshing import default_cache

    training = Training(runs, unseen, frames, size, seed, basis, iterations, voxels)
    require_torch("oncology train surrogate")
    with output_folder(out, overwrite=overwrite) as work, progress() as show:
        show("case")
        summary = train_surrogate(
            onc.read_case(case),
            training,
            work,
            trajectories=trajectories,
            keep_runs=keep_runs,
            progress=show,
            cache=default_cache(),
        )
    print(f"learnt from {summary['training_runs']} runs, {summary['training_snapshots']} densities")
    errors = ", ".join(f"{100.0 * value:.2f} % {name}" for name, value in summary["error"].items())
    print(f"relative L2 error on {summary['unseen_runs']} unseen runs: {errors.replace('_', ' ')}")
    if "voxels" in summary:
        before, after = (100.0 * summary["voxels"][key]["median"] for key in ("error_plain", "error"))
        print(f"on voxels of {voxels:g} mm: {after:.2f} % median, {before:.2f} % without what was learnt")
    fit = ("oncology", "fit", str(case), "--engine", "surrogate", "--surrogate", str(out), "--out", f"{case}-fit")
    closing(out, following=(shlex.join(fit),))


@train.command
def evaluate(
    folder: Path,
    /,
    *,
    data: str | None = None,
    noise: float | None = None,
    radius: float | None = None,
    samples: int | None = None,
    device: str = "auto",
    report: Annotated[Path | None, Parameter(name="--json")] = None,
) -> None:
    """Measure a trained network: accuracy, under noise and under attack, and the certified fraction.

    Args:
        folder: What `oncology train snode` left.
        data: Data to test with, instead of the test samples of training; all samples of a CSV file.
        noise: Standard deviation of the Gaussian noise of each input.
        radius: Distance in the 2-norm within which a sample has to keep its class.
        samples: Most samples to attack and to certify.
        device: auto, cpu or cuda.
        report: File for the same numbers as JSON.
    """
    from oncology.api.fitting import require_torch

    require_torch("oncology train evaluate", processes=True)
    from oncology.api.snode import evaluate_folder
    from oncology.nodes.device import device_named

    if launched_rank() > 0:
        return
    if data is not None:
        kind_of(data)
    settings = trained_config(folder, {"noise": noise, "radius": radius, "samples": samples})
    metrics = evaluate_folder(folder, data, settings, device_named(device))
    if report is not None:
        try:
            report.write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{report}: cannot be written ({error.strerror}); choose another --json") from error
    _print(metrics)


WORDS = {
    "samples": "test samples",
    "train_accuracy": "accuracy on what was learnt",
    "accuracy": "accuracy",
    "noisy": "accuracy under noise",
    "attacked": "withstand the attack within the radius",
    "distance": "median distance of an attack that succeeds",
    "certified": "certified within the radius",
    "radius": "median certified radius",
    "cost": "cost",
    "iterations": "iterations",
    "forward_equivalents": "forward solves",
    "seconds": "seconds",
}


def _print(metrics: dict[str, Any]) -> None:
    """Print the numbers, one a line."""
    for key, words in WORDS.items():
        if metrics.get(key) is not None:
            print(f"{words:45}{metrics[key]:.6g}")
