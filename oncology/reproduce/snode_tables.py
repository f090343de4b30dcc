"""All tables of the standalone NODE, one a section: `oncology reproduce snode` writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from oncology.reproduce.digits import DigitsSettings, best_digit_rates, digit_rate_trials, digit_trials
from oncology.reproduce.toys import (
    CELLS,
    SETS,
    best_rates,
    equal_work_trials,
    rate_trials,
    reference_trials,
    spiral_trials,
)
from oncology.reproduce.trials import Row, Section, SeededTrial, run_trials, summed_up

__all__ = ["FULL", "QUICK", "SnodeEffort", "sections"]


@dataclass(frozen=True)
class SnodeEffort:
    """How much is run.

    Attributes:
        seeds: of the toys.
        digit_seeds: of the digits.
        iterations: of the reference table.
        cells: sets of the reference table with the size of the state.
        budgets: of the comparison at equal work, in forward solves.
        rates: of Adam, from which one is chosen.
        tuning: seeds on which it is chosen.
        spirals: iterations on the spirals.
        sizes: of the state for the spirals.
        digits: training and measures of the digits.
        digit_rates: of Adam for the digits.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    digit_seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    iterations: int = 200
    cells: tuple[tuple[str, int], ...] = CELLS
    budgets: tuple[int, ...] = (250, 500, 1000)
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
    tuning: tuple[int, ...] = (100, 101)
    spirals: int = 600
    sizes: tuple[int, ...] = (4, 8, 16)
    digits: DigitsSettings = field(default_factory=DigitsSettings)
    digit_rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)


FULL = SnodeEffort()
QUICK = SnodeEffort(
    seeds=(0,),
    digit_seeds=(0,),
    iterations=10,
    cells=(("moons", 3),),
    budgets=(30, 60),
    rates=(1e-2,),
    tuning=(100,),
    spirals=9,
    sizes=(4,),
    digits=DigitsSettings(work=60, samples=4),
    digit_rates=(1e-2,),
)

type Told = Callable[[str, int, int], None]
"""Takes what is going on, and the numbers of trials that are done and of all of them."""


def _silent(title: str, done: int, whole: int) -> None:
    """Tell nobody."""


def sections(effort: SnodeEffort = FULL, workers: int = 1, told: Told = _silent) -> tuple[Section, ...]:
    """The tables.

    Args:
        effort: how much is run.
        workers: processes that share the trials.
        told: called after every trial.
    """

    def run(title: str, trials: Sequence[SeededTrial]) -> list[Row]:
        rows: dict[int, Row] = {}
        for number, row in run_trials(trials, workers):
            rows[number] = row
            told(title, len(rows), len(trials))
        return [rows[number] for number in sorted(rows)]

    def reference() -> Iterator[Row]:
        rows = run("reference table", reference_trials(effort.seeds, effort.iterations, effort.cells))
        labels = ("set", "n", "smoothing", "formula", "rule", "reference")
        yield from summed_up(rows, labels, ("accuracy", "cost", "roughness", "halvings"))

    def equal_work() -> Iterator[Row]:
        tuned = run("Adam's rate", rate_trials(effort.budgets, effort.rates, effort.tuning))
        rows = run(
            "equal work", equal_work_trials(effort.budgets, best_rates(tuned, max(effort.budgets)), effort.seeds)
        )
        costs = [f"cost_{budget}" for budget in effort.budgets]
        yield from summed_up(rows, ("set", "n", "method", "setting"), (*costs, "accuracy"))

    def spirals() -> Iterator[Row]:
        rows = run("spirals", spiral_trials(effort.seeds, effort.spirals, effort.sizes))
        yield from summed_up(rows, ("n", "recipe"), ("accuracy", "train_accuracy", "cost", "forward_equivalents"))

    def digits() -> Iterator[Row]:
        rates = best_digit_rates(
            run("rates for the digits", digit_rate_trials(effort.digits, effort.digit_rates, effort.tuning))
        )
        rows = run("digits", digit_trials(effort.digits, rates, effort.digit_seeds))
        numbers = ("accuracy", "noisy", "attacked", "distance", "certified", "radius")
        yield from summed_up(rows, ("network", "rate", "parameters"), numbers)

    work = f"{effort.budgets[-1]} forward solves"
    names = ", ".join(name for name, _ in SETS)
    return (
        Section("reference", f"Test accuracy after {effort.iterations} iterations, beside the reference", reference),
        Section("equal_work", f"Cost at equal work, up to {work}: {names}", equal_work),
        Section("spirals", "Spirals: cross-entropy, smoothing length 0.1, Newton's step, no restarts", spirals),
        Section("digits", "Digits 8 x 8: the same number of parameters, training work and measures", digits),
    )
