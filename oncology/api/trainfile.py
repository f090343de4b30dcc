"""The schema of the file that `oncology train snode --config` reads, checked with pydantic; every key has a default.

The defaults depend on the data set. An unknown key, a wrong type or a value out of range is one `ConfigError` of one
line. What was resolved is written beside the results and can be given again.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oncology.errors import ConfigError

__all__ = ["SnodeConfig", "config_for", "kind_of", "trained_config"]

Count = Annotated[int, Field(ge=1, description="a whole number, 1 or more")]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False, strict=False, description="a number > 0")]
Weight = Annotated[float, Field(ge=0.0, allow_inf_nan=False, strict=False, description="a number >= 0")]
Share = Annotated[float, Field(gt=0.0, lt=1.0, description="a fraction between 0 and 1, both excluded")]
Pair = Annotated[tuple[float, float], Field(strict=False, description="two numbers, [lowest, highest]")]
Floats = Annotated[tuple[float, ...], Field(strict=False, description="a list of numbers")]
Formula = Literal["zero", "fr", "pr+", "fr-pr", "hs", "dy", "hz"]
Rule = Literal["root", "sensitivity", "newton", "previous"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DataSection(_Section):
    """`[data]`: numbers of synthetic points; test fraction of digits and tables; class column; halving of images."""

    train: Count = 200
    test: Count = 1000
    test_share: Share = 0.25
    column: str | None = Field(default=None, description="the name of a column")
    halve: bool = Field(default=True, description="true or false")


class ModelSection(_Section):
    """`[model]`: size of the state (0: one more than the inputs), depth and grid, scheme, deviation of the weights."""

    state: Annotated[int, Field(ge=0, description="a whole number >= 0")] = 0
    length: Positive = 3.0
    cells: Count = 30
    weights: Literal["constant", "linear"] = Field(default="constant", description="'constant' or 'linear'")
    activation: str = Field(default="tanh", description="the name of an activation")
    scheme: str = Field(default="euler", description="the name of a scheme")
    steps: Count = 1
    scale: Weight = Field(default=0.0, description="a number >= 0, 0 for 1 / state")
    precision: Literal["float64", "float32"] = Field(default="float64", description="'float64' or 'float32'")


class CostSection(_Section):
    """`[cost]`: mu1 to mu5, running cost of the state per unit of depth, penalty of the sensitivity to inputs."""

    squared: Weight = 1.0
    entropy: Weight = 0.0
    magnitude: Weight = 0.0
    decay: Weight = 1e-4
    roughness: Weight = 0.0
    running: Weight = 0.0
    sensitivity: Weight = 0.0
    probes: Count = 1


class OptimiserSection(_Section):
    """`[optimiser]`: method, its constants, iterations on each visit of a batch."""

    method: Literal["ncg", "sgd", "adam", "lbfgs"] = Field(default="ncg", description="'ncg', 'sgd', 'adam' or 'lbfgs'")
    formula: Formula = Field(default="pr+", description="'zero', 'fr', 'pr+', 'fr-pr', 'hs', 'dy' or 'hz'")
    search: Literal["armijo", "wolfe"] = Field(default="armijo", description="'armijo' or 'wolfe'")
    step: Rule = Field(default="newton", description="'root', 'sensitivity', 'newton' or 'previous'")
    powell: Weight = Field(default=0.0, description="a number >= 0, 0 for no restarts")
    iterations: Count = 6
    rate: Positive = 0.01
    momentum: Annotated[float, Field(ge=0.0, lt=1.0, description="a number in [0, 1)")] = 0.9
    pairs: Count = 10


class StageSection(_Section):
    """`[[stage]]`: passes, smoothing length in units of depth, refinement, batch (0: all), noise."""

    epochs: Count = 10
    smoothing: Weight = 0.0
    refine: Count = 1
    batch: Annotated[int, Field(ge=0, description="a whole number >= 0, 0 for all samples")] = 0
    noise_inputs: Weight = 0.0
    noise_states: Weight = 0.0


class EvaluationSection(_Section):
    """`[evaluation]`: deviation of the noise, radius in the 2-norm, most samples to attack and certify."""

    noise: Weight = 0.1
    radius: Positive = 0.1
    samples: Count = 500


class LearntSection(_Section):
    """`[learnt]`: written with the results: names of the classes, scaling and bounds of the inputs."""

    classes: Annotated[tuple[str, ...], Field(strict=False, description="a list of names")] = ()
    shift: Floats = ()
    scale: Floats = ()
    bounds: Pair | None = None


class RunSection(_Section):
    """`[run]`: written with the results: device and versions."""

    device: str = "cpu"
    versions: dict[str, str] = {}


class SnodeConfig(_Section):
    """The whole file."""

    data_set: str = Field(default="", description="the name of a data set")
    seed: Annotated[int, Field(ge=0, description="a whole number >= 0")] = 0
    data: DataSection = DataSection()
    model: ModelSection = ModelSection()
    cost: CostSection = CostSection()
    optimiser: OptimiserSection = OptimiserSection()
    stage: Annotated[tuple[StageSection, ...], Field(min_length=1, strict=False, description="a list of stages")] = (
        StageSection(),
    )
    evaluation: EvaluationSection = EvaluationSection()
    learnt: LearntSection = LearntSection()
    run: RunSection = RunSection()


DEFAULTS: dict[str, dict[str, Any]] = {
    "moons": {"optimiser": {"iterations": 10}},
    "circles": {"optimiser": {"iterations": 10}},
    "spirals": {
        "model": {"length": 6.0, "cells": 30, "state": 16, "scale": 0.25},
        "cost": {"squared": 0.0, "entropy": 1.0, "decay": 3e-3},
        "optimiser": {"iterations": 20},
        "stage": [{"epochs": 10, "smoothing": 0.3}, {"epochs": 20, "smoothing": 0.1, "refine": 2}],
    },
    "digits": {
        "model": {"state": 64, "cells": 10, "precision": "float32"},
        "cost": {"squared": 0.0, "entropy": 1.0},
        "optimiser": {"iterations": 10},
        "stage": [{"epochs": 15, "smoothing": 1.0, "batch": 450, "noise_inputs": 0.2}],
        "evaluation": {"radius": 0.25},
    },
    "mnist": {
        "model": {"state": 196, "cells": 150, "precision": "float32"},
        "cost": {"decay": 0.0},
        "stage": [{"epochs": 1, "smoothing": 1.0, "batch": 100}],
        "evaluation": {"radius": 0.25},
    },
    "table": {"stage": [{"epochs": 20}]},
}


def kind_of(data: str) -> str:
    """Return the kind of a data set, as it is named on the command line.

    Raises:
        ConfigError: there is none of that name.
    """
    if data in ("moons", "circles", "spirals", "digits"):
        return data
    if data.startswith("mnist:"):
        return "mnist"
    if data.endswith(".csv"):
        return "table"
    raise ConfigError(f"data {data!r} is unknown; take moons, circles, spirals, digits, mnist:FOLDER or FILE.csv")


def config_for(data: str, path: Path | None) -> SnodeConfig:
    """Read a file of settings over the defaults of a data set.

    Args:
        data: as on the command line.
        path: the file; None takes the defaults.

    Raises:
        ConfigError: the file is missing or no TOML, or has an unknown key or a value out of range.
    """
    defaults = DEFAULTS[kind_of(data)]
    content: dict[str, Any] = {}
    if path is not None:
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ConfigError(
                f"{path}: no such file; give a TOML file of settings, or none for the defaults"
            ) from error
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path}: not readable as TOML ({error}); correct the file") from error
    try:
        return SnodeConfig.model_validate(_over(defaults, content) | {"data_set": _resolved(data)})
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_line(error)}") from error


def _resolved(data: str) -> str:
    """The data set with the absolute path of its file, so that it is found again from elsewhere."""
    match kind_of(data):
        case "mnist":
            return f"mnist:{Path(data.removeprefix('mnist:')).absolute()}"
        case "table":
            return str(Path(data).absolute())
        case name:
            return name


def _over(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Given values over defaults, section by section; a list replaces a list."""
    merged = dict(defaults)
    for key, value in given.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _over(merged[key], value) if both else value
    return merged


def _first_line(error: ValidationError) -> str:
    """The first complaint as one line: key, value, and what to give instead."""
    problems = error.errors(include_url=False)
    # an unknown key is the usual cause of a missing one, and is named first
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    location = problem["loc"]
    key = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    section = _section(location)
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key}; allowed here are {', '.join(section.model_fields)}"
    names = [part for part in location if isinstance(part, str)]
    field = section.model_fields.get(names[-1])
    remedy = (field.description if field is not None else None) or problem["msg"]
    return f"{key} = {problem['input']!r} is not allowed; give {remedy}"


def _section(location: tuple[int | str, ...]) -> type[_Section]:
    """The model that holds the key at a location."""
    if len(location) == 1:
        return SnodeConfig
    kinds: dict[str, type[_Section]] = {
        "data": DataSection,
        "model": ModelSection,
        "cost": CostSection,
        "optimiser": OptimiserSection,
        "stage": StageSection,
        "evaluation": EvaluationSection,
        "learnt": LearntSection,
        "run": RunSection,
    }
    return kinds.get(str(location[0]), SnodeConfig)


def trained_config(folder: Path, evaluation: Mapping[str, Any]) -> SnodeConfig:
    """Read the settings that a training has left.

    Args:
        folder: of the training.
        evaluation: values of `[evaluation]` to put in place of those; None keeps one.

    Raises:
        ConfigError: the folder holds no training, or a value is out of range.
    """
    path = folder / "config.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read; give the folder that `oncology train snode` wrote") from error
    given = {key: value for key, value in evaluation.items() if value is not None}
    try:
        return SnodeConfig.model_validate(_over(content, {"evaluation": given}))
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_line(error)}") from error
