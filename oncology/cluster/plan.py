"""The schema of `plan.toml`, checked with pydantic: the cases, the settings of `oncology fit`, and the resources.

An unknown key, a wrong type or a value out of range is a `ConfigError` of one line. The settings of a fit are passed
on unchanged and checked by the command line.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from oncology.errors import ConfigError

__all__ = ["CohortPlan", "Options", "Queue", "Slurm", "read_plan", "seconds_of"]

_OWN = ("case", "out", "overwrite", "resume", "help")  # options of `oncology fit` that the cohort sets itself
_DURATION = re.compile(r"(?:(?P<days>\d+)-)?(?P<first>\d+)(?::(?P<second>\d+))?(?::(?P<third>\d+))?")

# The descriptions are the remedy in every message about the key: "give ...".
Line = Annotated[str, Field(min_length=1, pattern=r"^[^\n\r]+$", description="a line of text")]
Lines = Annotated[tuple[Line, ...], Field(strict=False, description="a list of lines")]
Name = Annotated[str, Field(pattern=r"^[\w.,:=+@/-]+$", description="a name without spaces")]
Duration = Annotated[str, Field(description="a time as Slurm writes it: 'HH:MM:SS', 'D-HH:MM:SS' or minutes")]
Memory = Annotated[str, Field(pattern=r"^\d+[KMGT]?$", description="memory as Slurm writes it, for example '4G'")]
AtOnce = Annotated[int, Field(ge=1, description="a whole number of cases, 1 or more")]
Value = bool | int | float | str
Options = dict[str, Value | tuple[Value, ...]]


class _PlanSection(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _QueueKeys(_PlanSection):
    """Keys that may differ between the two queues; None: Slurm's default."""

    partition: Name | None = Field(default=None, description="a name without spaces")
    account: Name | None = Field(default=None, description="a name without spaces")
    time: Duration | None = Field(default=None, description="'HH:MM:SS', 'D-HH:MM:SS' or minutes")
    memory: Memory | None = Field(default=None, description="memory of one rank, for example '4G'")
    gres: Name | None = Field(default=None, description="generic resources of one case, for example 'gpu:1'")
    at_once: AtOnce | None = Field(default=None, description="a whole number of cases, 1 or more")
    sbatch: Lines | None = Field(default=None, description="a list of options of sbatch, for example ['--qos=long']")

    @field_validator("time")
    @classmethod
    def _is_a_time(cls, value: str | None) -> str | None:
        if value is not None and seconds_of(value) is None:
            raise ValueError(
                f"time = {value!r} is not a time in Slurm's notation: give 'HH:MM:SS', 'D-HH:MM:SS' or minutes"
            )
        return value


class Queue(_QueueKeys):
    """`[slurm.gpu]`: resources of the cases with `engine = "voxel"`; missing keys are taken from `[slurm]`."""


class Slurm(_QueueKeys):
    """`[slurm]`: resources of one case.

    Attributes:
        partition: Partition.
        account: Account to charge.
        time: Time limit of one case.
        memory: Memory of one rank.
        gres: Generic resources of one case.
        at_once: Largest number of cases of one array that run at the same time.
        sbatch: Further options of sbatch.
        array_limit: Largest number of cases in one array; the site's own limit applies too.
        warning: Seconds before the time limit at which a fit is asked to save its iterate and stop.
        requeues: How often a case may be requeued before it counts as failed.
        prelude: Shell lines that come first, such as "module load mpich".
        launcher: Command that starts MPI programs; `-n RANKS` is added.
        gpu: The queue of `engine = "voxel"`.
    """

    array_limit: int | None = Field(default=None, ge=1, description="a whole number of cases, 1 or more")
    warning: int = Field(default=300, ge=10, le=86400, description="whole seconds in 10..86400")
    requeues: int = Field(default=20, ge=0, description="a whole number, 0 or more")
    prelude: Lines = Field(default=(), strict=False, description="a list of shell lines")
    launcher: Lines = Field(
        default=("srun", "--mpi=pmi2", "--kill-on-bad-exit=1"),
        min_length=1,
        strict=False,
        description="a list such as ['srun', '--mpi=pmi2']",
    )
    gpu: Queue | None = Field(default=None, description="a table [slurm.gpu]")

    @model_validator(mode="after")
    def _warned_in_time(self) -> Self:
        for name, queue in (("slurm", self), ("slurm.gpu", self.queue(gpu=True))):
            limit = None if queue.time is None else seconds_of(queue.time)
            if limit is not None and limit <= self.warning:
                raise ValueError(
                    f"{name}.time = {queue.time!r} is not longer than the warning of {self.warning} s before its end: "
                    "raise time or lower warning"
                )
        return self

    def queue(self, gpu: bool) -> _QueueKeys:
        """Return the keys of one of the two queues; `[slurm]` fills in what `[slurm.gpu]` does not give."""
        own = {name: getattr(self, name) for name in _QueueKeys.model_fields}
        if gpu and self.gpu is not None:
            own |= self.gpu.model_dump(exclude_none=True)
        return Queue.model_construct(**own)


class PlanFile(_PlanSection):
    """The whole of `plan.toml`."""

    cases: Lines = Field(min_length=1, strict=False, description="a list of folders, for example ['patients/sub-*']")
    out: Line = Field(description="a folder for all results")
    ranks: int = Field(default=1, ge=1, le=65536, description="a whole number of MPI ranks, 1 or more")
    python: Lines = Field(default=(), strict=False, description="the words that start Python, a list")
    fit: Options = Field(default={}, description="options of `oncology fit`")
    variant: dict[str, Options] = Field(default={}, description="tables [variant.NAME] of options of `oncology fit`")
    slurm: Slurm | None = Field(default=None, description="a table [slurm]")

    @field_validator("cases", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("fit", "variant", mode="before")
    @classmethod
    def _lists_are_tuples(cls, value: object) -> object:
        return _tupled(value)

    @model_validator(mode="after")
    def _options_are_those_of_a_case(self) -> Self:
        for where, options in (("fit", self.fit), *((f"variant.{name}", o) for name, o in self.variant.items())):
            taken = next((key for key in options if key.replace("-", "_") in _OWN), None)
            if taken is not None:
                raise ValueError(f"{where}.{taken} is set by the cohort for every case: remove it")
        strange = next((name for name in self.variant if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name)), None)
        if strange is not None:
            raise ValueError(f"variant.{strange} names a folder: use letters, digits, '.', '+', '-' and '_' only")
        return self


class CohortPlan(PlanFile):
    """A plan together with the file it was read from.

    Attributes:
        path: The file; relative paths in it start at its folder.
        cases: Folders, or patterns of folders.
        out: Folder of all results.
        ranks: MPI ranks of one case.
        python: Command that starts Python for the fits; empty for the current interpreter.
        fit: Options of `oncology fit` for all variants.
        variant: Options by variant, which override those of `fit`; empty for a single variant without a name.
        slurm: Resources of one case on Slurm; None without a section `[slurm]`.
    """

    path: Path

    @property
    def folder(self) -> Path:
        """Folder of the plan, where its relative paths start."""
        return self.path.parent

    @property
    def results(self) -> Path:
        """Folder of all results."""
        return (self.folder / self.out).resolve()


def read_plan(path: str | Path) -> CohortPlan:
    """Read and check a plan.

    Raises:
        ConfigError: the file is missing, no TOML, has unknown or missing keys, or a value out of range; one line that
            names file, key, value and remedy.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}): give a plan, see docs/cohorts.md") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file ({' '.join(str(error).split())}): correct the file") from error
    try:
        plan_file = PlanFile.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_line(error)}") from error
    fields = {name: getattr(plan_file, name) for name in PlanFile.model_fields}
    return CohortPlan.model_construct(path=path.resolve(), **fields)


def seconds_of(time: str) -> int | None:
    """Return a time in Slurm's notation in seconds; None if it is not one.

    >>> seconds_of("90"), seconds_of("01:30:00"), seconds_of("1-12"), seconds_of("two hours")
    (5400, 5400, 129600, None)
    """
    match = _DURATION.fullmatch(time)
    if match is None:
        return None
    days, first, second, third = (None if part is None else int(part) for part in match.groups())
    if days is not None:  # D-HH[:MM[:SS]]
        return 86400 * days + 3600 * (first or 0) + 60 * (second or 0) + (third or 0)
    if third is not None:  # HH:MM:SS
        return 3600 * (first or 0) + 60 * (second or 0) + third
    return 60 * (first or 0) + (second or 0)  # MM[:SS]


def _tupled(value: object) -> Any:
    if isinstance(value, dict):
        return {key: _tupled(item) for key, item in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _first_line(error: ValidationError) -> str:
    """Return the first error as one line: key, value, and what to give instead."""
    problems = error.errors(include_url=False)
    # A misspelt key is also reported as missing, first: the unknown key explains both.
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    names = [str(part) for part in problem["loc"]]
    names = names[
        : {"fit": 2, "variant": 3}.get(names[0] if names else "")
    ]  # the rest of the location names types of values
    key = ".".join(name for name in names if not name.isdigit())
    section = _section(names[:-1])
    match problem["type"]:
        case "extra_forbidden":
            line = f"unknown key {key}: allowed here are {', '.join(section.model_fields)}"
        case "missing":
            line = f"key {key} is missing: give {section.model_fields[names[-1]].description}"
        case "value_error":
            line = str(problem["ctx"]["error"])
        case _:
            line = f"{key} = {problem['input']!r} is not allowed: give {_remedy(names) or problem['msg']}"
    return " ".join(line.split())


def _section(names: list[str]) -> type[_PlanSection]:
    sections: dict[str, type[_PlanSection]] = {"slurm": Slurm, "slurm.gpu": Queue}
    return sections.get(".".join(names), PlanFile)


def _remedy(names: list[str]) -> str | None:
    """Return what the key at a location should hold."""
    if names[0] in ("fit", "variant") and len(names) > 1:
        return "a number, a text, true or false, or a list of them"
    depth = next((k for k in (2, 1, 0) if names[:k] in ([], ["slurm"], ["slurm", "gpu"])), 0)
    field = _section(names[:depth]).model_fields.get(names[depth]) if depth < len(names) else None
    return None if field is None else field.description
