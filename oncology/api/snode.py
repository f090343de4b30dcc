"""Training of a standalone NODE from settings: objects from a file, checkpoints, results into a folder."""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from oncology import __version__
from oncology.api.trainfile import SnodeConfig, kind_of
from oncology.errors import ConfigError, DataError, OutputError
from oncology.results.folder import json_lines

if TYPE_CHECKING:
    from oncology.nodes.data import Dataset
    from oncology.nodes.device import Weights
    from oncology.nodes.optimisers import Iterate, Optimiser
    from oncology.nodes.samples import Samples
    from oncology.nodes.standalone import StandaloneNODE
    from oncology.nodes.training import BatchProblem, Progress, TrainingPlan

__all__ = ["CHECKPOINT", "dataset_of", "evaluate_folder", "run_training", "write_config"]

CHECKPOINT = "checkpoint.pt"
MODEL = "model.pt"
HISTORY = "history.jsonl"
SAVING = 10.0  # seconds between checkpoints within an epoch


def dataset_of(config: SnodeConfig) -> Dataset:
    """Return the data set that the settings name.

    Raises:
        DataError: a file is missing or malformed.
    """
    from oncology.nodes.data import digits, mnist, synthetic, table

    data = config.data
    match kind_of(config.data_set):
        case "digits":
            return digits(config.seed, data.test_share)
        case "mnist":
            return mnist(Path(config.data_set.removeprefix("mnist:")), data.halve)
        case "table":
            return table(Path(config.data_set), data.column, config.seed, data.test_share)
        case name:
            return synthetic(name, config.seed, data.train, data.test)


def model_of(config: SnodeConfig, features: int, classes: int) -> StandaloneNODE:
    """Return the network: inputs in its last coordinates, outputs in its first.

    Raises:
        ConfigError: the state is too small for inputs or outputs.
    """
    from oncology.nodes.activation import activation_named
    from oncology.nodes.depth import DepthGrid
    from oncology.nodes.scheme import scheme_named
    from oncology.nodes.standalone import StandaloneNODE

    m = config.model
    size = m.state or max(features + 1, classes)
    if size < max(features, classes):
        raise ConfigError(
            f"model.state = {size} cannot hold {features} inputs and {classes} outputs; take a larger one"
        )
    return StandaloneNODE(
        size,
        DepthGrid(m.length, m.cells, m.weights),
        tuple(range(size - features, size)),
        tuple(range(classes)),
        activation_named(m.activation),
        scheme_named(m.scheme),
        m.steps,
    )


def problem_of(config: SnodeConfig) -> BatchProblem:
    """Return what makes the cost of a batch."""
    from oncology.nodes.cost import Cost, Magnitude
    from oncology.nodes.training import Plain, Robust

    c = config.cost
    running = Magnitude(c.running) if c.running else None
    cost = Cost(c.squared, c.entropy, c.magnitude, c.decay, c.roughness, running)
    if c.sensitivity:
        return Robust(cost, c.sensitivity, probes=c.probes)
    return Plain(cost, second=config.optimiser.step == "newton")


def plan_of(config: SnodeConfig) -> TrainingPlan:
    """Return the plan of training."""
    from oncology.nodes.training import Noise, TrainingPlan, TrainingStage

    stages = tuple(
        TrainingStage(s.epochs, s.smoothing, s.refine, s.batch or None, Noise(s.noise_inputs, s.noise_states))
        for s in config.stage
    )
    return TrainingPlan(stages, optimiser_of(config), config.seed)


def optimiser_of(config: SnodeConfig) -> Optimiser:
    """Return the optimiser."""
    from oncology import optimise
    from oncology.nodes.descent import LBFGS, Adam, StochasticGradient
    from oncology.nodes.optimisers import ConjugateGradients

    o = config.optimiser
    match o.method:
        case "adam":
            return Adam(o.rate, iterations=o.iterations)
        case "sgd":
            return StochasticGradient(o.rate, o.momentum, iterations=o.iterations)
        case "lbfgs":
            return LBFGS(o.pairs, iterations=o.iterations)
    formulas = {
        "zero": optimise.zero,
        "fr": optimise.fletcher_reeves,
        "pr+": optimise.polak_ribiere_plus,
        "fr-pr": optimise.fr_pr,
        "hs": optimise.hestenes_stiefel,
        "dy": optimise.dai_yuan,
        "hz": optimise.hager_zhang,
    }
    proposals = {
        "root": optimise.root_step,
        "sensitivity": optimise.sensitivity_step,
        "newton": optimise.newton_step,
        "previous": optimise.scaled_previous,
    }
    search = optimise.Armijo if o.search == "armijo" else optimise.StrongWolfe
    direction = optimise.ConjugateGradient(formulas[o.formula], powell=o.powell or math.inf)
    return ConjugateGradients(direction, search(proposals[o.step]), o.iterations)


def run_training(
    config: SnodeConfig,
    data: Dataset,
    device: str,
    work: Path,
    resume: bool = False,
    tell: Callable[[str, float | None], None] = lambda text, fraction: None,
    leave: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Train and evaluate a network, and write everything into a working folder; return the metrics.

    Args:
        config: settings.
        data: what to learn from, and what to evaluate on.
        device: "cpu" or "cuda".
        work: folder for checkpoint, model, history and metrics.
        resume: continue from the checkpoint, if there is one.
        tell: called with what is going on and which fraction of it is done.
        leave: called after every checkpoint; may raise to end the training there.

    Raises:
        OutputError: the checkpoint belongs to other settings.
    """
    from oncology.nodes.checkpoint import load_progress, save_model, save_progress
    from oncology.nodes.device import seeded_weights
    from oncology.nodes.training import start, train

    plan, setting = plan_of(config), {"config": config.model_dump_json(exclude={"run", "learnt"}), "device": device}
    model = model_of(config, data.features, len(data.classes))
    if resume and (work / CHECKPOINT).is_file():
        here, written = load_progress(work / CHECKPOINT, device)
        if written != setting:
            raise OutputError(f"{work / CHECKPOINT}: was written with other settings: give the same, or --overwrite")
    else:
        theta = seeded_weights(model, config.seed, config.model.scale or None, config.model.precision, device)
        here = start(model, theta, plan)
    _cut_history(work / HISTORY, here.iterations)
    started, saved, passed = time.perf_counter(), time.perf_counter(), (here.stage, here.epoch)
    with json_lines(work / HISTORY) as record:

        def after_visit(now: Progress, iterates: tuple[Iterate, ...]) -> None:
            nonlocal saved, passed
            _record(record, now, iterates)
            tell(
                f"stage {passed[0] + 1}/{len(plan.stages)}, epoch {passed[1] + 1}: cost {now.value:.5g}",
                _done(now, plan),
            )
            if (now.stage, now.epoch) != passed or time.perf_counter() - saved > SAVING:
                saved, passed = time.perf_counter(), (now.stage, now.epoch)
                save_progress(work / CHECKPOINT, now, setting)
                leave()

        end = train(data.train, problem_of(config), plan, here, after_visit)
        seconds = time.perf_counter() - started
        tell("evaluation", None)
        metrics = measure(config, end.model, end.theta, data)
    from oncology.nodes.optimisers import forward_equivalents

    metrics |= {
        "cost": end.value if math.isfinite(end.value) else None,
        "iterations": end.iterations,
        "solves": vars(end.counts),
        "forward_equivalents": forward_equivalents(end.counts),
        "seconds": round(seconds, 2),
    }
    save_model(work / MODEL, end.model, end.theta)
    (work / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    (work / CHECKPOINT).unlink(missing_ok=True)
    return metrics


def _done(now: Progress, plan: TrainingPlan) -> float:
    """Return the fraction of the epochs that are over."""
    past = sum(stage.epochs for stage in plan.stages[: now.stage])
    return (past + now.epoch) / max(1, sum(stage.epochs for stage in plan.stages))


def _record(record: Callable[[dict[str, object]], None], now: Progress, iterates: tuple[Iterate, ...]) -> None:
    """Write one line per iteration."""
    from oncology.nodes.optimisers import forward_equivalents

    for number, iterate in enumerate(iterates, now.iterations - len(iterates) + 1):
        record(
            {
                "iteration": number,
                "cost": iterate.value,
                "gradient_norm": iterate.gradient_norm,
                "length": iterate.length,
                "forward_equivalents": forward_equivalents(iterate.counts),
            }
        )


def _cut_history(path: Path, iterations: int) -> None:
    """Drop what was recorded after the checkpoint."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[:iterations]
        path.write_text("".join(lines), encoding="utf-8")


def _finite(metrics: dict[str, Any]) -> dict[str, Any]:
    """Metrics with null for what is not finite."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in metrics.items()
    }


def measure(
    config: SnodeConfig, model: StandaloneNODE, theta: Weights, data: Dataset, test: Samples | None = None
) -> dict[str, Any]:
    """Return the measures of the network on the test samples, and its accuracy on those it has learnt."""
    from oncology.nodes.classifier import NODEClassifier
    from oncology.nodes.evaluation import Measures, evaluate

    e, classifier = config.evaluation, NODEClassifier(model, theta)
    measures = Measures(e.noise, e.radius, data.bounds, e.samples, config.seed)
    samples = (data.test if test is None else test).to(theta)
    found = evaluate(classifier, samples, measures).as_dict()
    learnt = data.train.to(theta)
    right = classifier.outputs(learnt.inputs).argmax(-1) == learnt.classes
    return _finite({"samples": len(samples), "train_accuracy": float(right.double().mean()), **found})


def write_config(config: SnodeConfig, data: Dataset, device: str, work: Path) -> None:
    """Write every resolved setting, the classes and the scaling of the inputs."""
    from oncology.nodes.device import torch_version

    scaling = data.scaling
    learnt = {
        "classes": list(data.classes),
        "shift": [] if scaling is None else list(scaling.shift),
        "scale": [] if scaling is None else list(scaling.scale),
    }
    if data.bounds is not None:
        learnt["bounds"] = list(data.bounds)
    content = config.model_dump(mode="json", exclude_none=True, exclude={"run", "learnt"})
    versions = {"oncology": __version__, "torch": torch_version(), "python": platform.python_version()}
    content |= {"learnt": learnt, "run": {"device": device, "versions": versions}}
    (work / "config.toml").write_text(tomli_w.dumps(content), encoding="utf-8")


def evaluate_folder(folder: Path, data: str | None, config: SnodeConfig, device: str) -> dict[str, Any]:
    """Return the measures of a trained network, on its own test samples or on other data.

    Raises:
        ConfigError: the folder holds no trained network.
        DataError: the data do not fit the network.
    """
    from oncology.nodes.checkpoint import load_model

    model, theta = load_model(folder / MODEL, device)
    used = config if data is None else config.model_copy(update={"data_set": data})
    if data is not None and kind_of(data) == "table":
        return _of_table(used, model, theta)
    own = dataset_of(used)
    if own.features != len(model.inputs) or len(own.classes) != len(model.outputs):
        sizes = f"{own.features} features and {len(own.classes)} classes"
        raise DataError(
            f"{used.data_set}: {sizes}; the network has learnt {len(model.inputs)} and {len(model.outputs)}"
        )
    metrics = measure(used, model, theta, own)
    if data is not None:
        metrics.pop("train_accuracy")  # of samples that this network has not learnt
    return metrics


def _of_table(config: SnodeConfig, model: StandaloneNODE, theta: Weights) -> dict[str, Any]:
    """Return the measures of the network on all samples of a CSV file."""
    from oncology.nodes.data import Dataset, FeatureScaling, table_to_test

    learnt = config.learnt
    scaling = FeatureScaling(learnt.shift, learnt.scale) if learnt.shift else None
    samples = table_to_test(Path(config.data_set), config.data.column, learnt.classes, scaling)
    if samples.inputs.shape[1] != len(model.inputs):
        raise DataError(
            f"{config.data_set}: {samples.inputs.shape[1]} features; the network has learnt {len(model.inputs)}"
        )
    found = measure(config, model, theta, Dataset(config.data_set, samples, samples, learnt.classes, learnt.bounds))
    return {key: value for key, value in found.items() if key != "train_accuracy"}
