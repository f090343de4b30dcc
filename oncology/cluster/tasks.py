"""The tasks of a plan: one fit for every case and variant, each with its own name and folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncology.cluster.plan import CohortPlan, Options
from oncology.errors import ConfigError

__all__ = ["Task", "case_folders", "list_tasks"]

VOXEL = "voxel"  # the engine that uses a GPU if there is one
ALONE = (VOXEL, "surrogate")  # engines that run in one process


@dataclass(frozen=True)
class Task:
    """One fit.

    Attributes:
        name: Name of the case's folder, preceded by that of the variant if the plan has variants.
        variant: Name of the variant; empty if the plan has none.
        case: Folder of the case.
        out: Folder of the results.
        options: Options of `oncology fit` by name.
        ranks: MPI ranks.
    """

    name: str
    variant: str
    case: Path
    out: Path
    options: Options
    ranks: int

    @property
    def on_gpu(self) -> bool:
        """Whether the fit belongs in the queue for GPUs."""
        return self.options.get("engine") == VOXEL

    @property
    def words(self) -> list[str]:
        """Options as words of a command line."""
        return [word for key, value in self.options.items() for word in _words(key, value)]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a file; `from_dict` reads them."""
        return {**vars(self), "case": str(self.case), "out": str(self.out)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Task:
        """Return the task of `as_dict`."""
        options = {key: tuple(v) if isinstance(v, list) else v for key, v in values["options"].items()}
        return cls(**{**values, "case": Path(values["case"]), "out": Path(values["out"]), "options": options})


def _words(key: str, value: Any) -> Iterator[str]:
    """Yield one option: `--name=value`, or the name followed by the values of a list."""
    name = key.replace("_", "-")
    if isinstance(value, tuple):
        yield from (f"--{name}", *map(str, value))
    else:
        yield f"--{name}={str(value).lower() if isinstance(value, bool) else value}"


def case_folders(plan: CohortPlan) -> list[Path]:
    """Return the folders that the plan's patterns name, sorted by name.

    Folders without a case.toml are included: their fit reports the error, and the others go on.

    Raises:
        ConfigError: a pattern names no folder, or two folders have one name.
    """
    found: dict[str, Path] = {}
    for pattern in plan.cases:
        anchor, relative = _split(plan.folder, pattern)
        folders = [path for path in anchor.glob(relative) if path.is_dir() and path.resolve() != plan.results.resolve()]
        folders = [path for path in folders if not path.name.startswith(".")]
        if not folders:
            raise ConfigError(f"{plan.path}: cases = {pattern!r} names no folder in {anchor}: correct the pattern")
        for path in (folder.resolve() for folder in folders):
            if found.setdefault(path.name, path) != path:
                raise ConfigError(
                    f"{plan.path}: cases: {found[path.name]} and {path} have one name: rename one, or make two plans"
                )
    return [found[name] for name in sorted(found)]


def _split(folder: Path, pattern: str) -> tuple[Path, str]:
    path = Path(pattern).expanduser()
    if path.is_absolute():
        return Path(path.anchor), str(path.relative_to(path.anchor))
    return folder, str(path)


def list_tasks(plan: CohortPlan) -> list[Task]:
    """Return the tasks of a plan: every case with every variant, variants one after the other.

    Raises:
        ConfigError: from `case_folders`.
    """
    common, cases = _normal(plan.fit), case_folders(plan)
    tasks = []
    for variant, own in (plan.variant or {"": {}}).items():
        options = common | _normal(own)
        ranks = 1 if options.get("engine") in ALONE else plan.ranks
        for case in cases:
            name = f"{variant}/{case.name}" if variant else case.name
            tasks.append(Task(name, variant, case, plan.results / name, options, ranks))
    return tasks


def _normal(options: Options) -> Options:
    return {key.replace("-", "_"): value for key, value in options.items()}
