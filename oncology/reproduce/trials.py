"""Tables of experiments, and trials: calls of picklable functions that return the numbers of a row.

Trials are run one by one or by several processes, each on one thread, and summed up over their seeds.
"""

from __future__ import annotations

import math
import multiprocessing
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

import torch

__all__ = ["Row", "Section", "SeededTrial", "mean_of", "run_trials", "spread_of", "summed_up"]

type Row = dict[str, Any]
"""One line of a table: strings, numbers, or None where there is none, by column."""


@dataclass(frozen=True)
class Section:
    """A table that is made row by row.

    Attributes:
        name: of its file.
        title: in words.
        rows: makes the rows; all of them have the same columns.
    """

    name: str
    title: str
    rows: Callable[[], Iterator[Row]]


@dataclass(frozen=True)
class SeededTrial:
    """One run of an experiment.

    Attributes:
        function: takes `arguments` and returns numbers by name; found by its module, as pickling needs.
        arguments: its keyword arguments.
        labels: what the row of this trial says beside the numbers; trials that differ only in the seed share them.
    """

    function: Callable[..., Row]
    arguments: dict[str, Any]
    labels: Row = field(default_factory=dict)


def _call(trial: SeededTrial) -> Row:
    torch.set_num_threads(1)
    return trial.function(**trial.arguments)


def run_trials(trials: Sequence[SeededTrial], workers: int = 1) -> Iterator[tuple[int, Row]]:
    """Run trials, each on one thread, so that what comes back does not depend on the number of workers.

    Args:
        trials: to be run.
        workers: processes; 1 runs in this one.

    Yields:
        Number of a trial with its labels and numbers, in the order in which they end.
    """
    if workers == 1:
        threads = torch.get_num_threads()
        try:
            for number, trial in enumerate(trials):
                yield number, trial.labels | _call(trial)
        finally:
            torch.set_num_threads(threads)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(_call, trial): number for number, trial in enumerate(trials)}
        for done in as_completed(running):
            yield running[done], trials[running[done]].labels | done.result()


def summed_up(rows: Iterable[Row], labels: Sequence[str], numbers: Sequence[str]) -> list[Row]:
    """One row for each combination of labels, with mean, spread and number of the trials.

    Args:
        rows: of the trials.
        labels: names whose values tell rows apart, in the order of first appearance.
        numbers: names of what is averaged: NAME becomes its mean, NAME_sd its spread.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[label] for label in labels), []).append(row)
    out = []
    for key, members in groups.items():
        line: Row = dict(zip(labels, key, strict=True)) | {"seeds": len(members)}
        for name in numbers:
            values = [member[name] for member in members]
            line |= {name: mean_of(values), f"{name}_sd": spread_of(values)}
        out.append(line)
    return out


def mean_of(values: Sequence[float | None]) -> float | None:
    """Mean, or None where a value is missing."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def spread_of(values: Sequence[float | None]) -> float | None:
    """Standard deviation of a sample, None where a value is missing or not finite, or there is one only."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.stdev(known) if len(known) == len(values) and len(known) > 1 else None
