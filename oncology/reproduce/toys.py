"""Moons, circles and spirals: a reference table, conjugate gradients against Adam at equal work, spirals learnt well.

Definitions: 200 points to learn and 1000 to test with, one-hot targets in the first two of n coordinates,
inputs in the last two, tanh, Euler steps of 1/20, squared misfit of the whole padded state, mu4 = 1e-4, weights of
deviation 1/n at whole depths joined by a cubic spline, depth 3 (spirals 6).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from oncology.nodes.cost import Cost
from oncology.nodes.data import Dataset, synthetic
from oncology.nodes.depth import DepthGrid, apply
from oncology.nodes.descent import LBFGS, Adam
from oncology.nodes.optimisers import ConjugateGradients, Iterate, Optimiser, forward_equivalents
from oncology.nodes.standalone import StandaloneNODE
from oncology.nodes.training import Plain, Progress, TrainingPlan, TrainingStage, start, train
from oncology.optimise import (
    Armijo,
    ConjugateGradient,
    fletcher_reeves,
    hager_zhang,
    newton_step,
    polak_ribiere_plus,
    root_step,
    zero,
)
from oncology.reproduce.trials import Row, SeededTrial

__all__ = ["CELLS", "REFERENCE", "best_rates", "equal_work_trials", "rate_trials", "reference_trials", "spiral_trials"]

COST = Cost(decay=1e-4)
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
TUNING_SEEDS = (100, 101)
"""Of the data and weights on which Adam's rate is chosen: not those that are reported."""

REFERENCE: dict[tuple[str, int], dict[tuple[float, str], float]] = {
    (name, n): dict(zip(((length, rule) for length in (0.0, 1.0) for rule in ("SD", "FR", "PR+")), values, strict=True))
    for (name, n), values in {
        ("moons", 3): (0.984, 0.996, 0.996, 0.902, 0.995, 0.999),
        ("circles", 2): (0.789, 0.946, 0.954, 0.660, 0.826, 0.919),
        ("circles", 3): (0.935, 0.995, 0.997, 0.557, 0.955, 0.996),
        ("spirals", 3): (0.658, 0.838, 0.970, 0.658, 0.767, 0.830),
        ("spirals", 4): (0.653, 0.897, 0.975, 0.657, 0.718, 0.838),
    }.items()
}
"""Test accuracies of an independent implementation by set, size of the state, smoothing length and formula."""

CELLS = tuple(REFERENCE)
RULES = {"SD": ("plain",), "FR": ("restarts", "plain"), "PR+": ("restarts", "plain", "newton", "hager-zhang")}
FORMULAS = {"SD": zero, "FR": fletcher_reeves, "PR+": polak_ribiere_plus}


@dataclass(frozen=True)
class Toy:
    """A network on a synthetic set.

    Attributes:
        name: of the set.
        size: n.
        seed: of points and weights.
        cells: in a unit of depth.
        scale: deviation of the first weights; None for 1/n.
        cost: what is minimised.
    """

    name: str
    size: int
    seed: int
    cells: int = 20
    scale: float | None = None
    cost: Cost = COST

    def data(self) -> Dataset:
        """The points."""
        return synthetic(self.name, self.seed)

    def model(self) -> StandaloneNODE:
        """The network."""
        length, n = 6.0 if self.name == "spirals" else 3.0, self.size
        return StandaloneNODE(n, DepthGrid(length, round(length * self.cells)), (n - 2, n - 1), (0, 1))

    def initial(self) -> Tensor:
        """The first weights."""
        return self.model().initial(torch.Generator().manual_seed(1000 + self.seed), self.scale)


def learn(toy: Toy, stages: tuple[TrainingStage, ...], optimiser: Optimiser, second: bool = False) -> Row:
    """Train on a synthetic set; return accuracies, cost, roughness and solves."""
    data, plan = toy.data(), TrainingPlan(stages, optimiser, toy.seed)
    end = train(data.train, Plain(toy.cost, second), plan, start(toy.model(), toy.initial(), plan))
    stiffness = end.model.grid.stiffness()
    return {
        "accuracy": _accuracy(end, data.test.inputs, data.test.classes),
        "train_accuracy": _accuracy(end, data.train.inputs, data.train.classes),
        "cost": end.value,
        "roughness": math.sqrt(float((end.theta * apply(stiffness, end.theta)).sum())),
        "forward_equivalents": forward_equivalents(end.counts),
        "halvings": (end.counts.forward - end.counts.gradient) / max(end.iterations, 1),
    }


def _accuracy(end: Progress, inputs: Tensor, classes: Tensor) -> float:
    return float((end.model.outputs_of(end.theta, inputs).argmax(-1) == classes).double().mean())


# --- reference table ----------------------------------------------------------


def reference_trial(
    name: str, size: int, smoothing: float, formula: str, rule: str, seed: int, iterations: int = 200
) -> Row:
    """One cell of the reference table with one seed: full batch, one run of the conjugate gradients."""
    newton = rule in ("newton", "hager-zhang")
    method = ConjugateGradient(
        hager_zhang if rule == "hager-zhang" else FORMULAS[formula], powell=0.2 if rule == "restarts" else math.inf
    )
    optimiser = ConjugateGradients(method, Armijo(newton_step if newton else root_step), iterations)
    return learn(Toy(name, size, seed), (TrainingStage(1, smoothing),), optimiser, second=newton)


def reference_trials(
    seeds: Sequence[int] = (0, 1, 2),
    iterations: int = 200,
    cells: Sequence[tuple[str, int]] = CELLS,
) -> list[SeededTrial]:
    """Trials of the reference table, with variants of the method.

    `restarts` is with Powell's restarts, `plain` is without them, `newton` is without them and takes Newton's step,
    whose second derivative costs no further solve; `hager-zhang` is that with the formula of Hager and Zhang, beside
    the reference of PR+.

    Args:
        seeds: of points and weights.
        iterations: of the method.
        cells: sets with the size of the state.
    """
    trials = []
    for name, size in cells:
        for smoothing, formula in REFERENCE[name, size]:
            for rule in RULES[formula]:
                given = {"name": name, "size": size, "smoothing": smoothing, "formula": formula}
                given |= {"rule": rule, "iterations": iterations}
                labels = {"set": name, "n": size, "smoothing": smoothing, "formula": formula}
                labels |= {"rule": rule, "reference": REFERENCE[name, size][smoothing, formula]}
                trials += [
                    SeededTrial(reference_trial, given | {"seed": seed}, labels | {"seed": seed}) for seed in seeds
                ]
    return trials


# --- equal work --------------------------------------------------------------

METHODS = ("NCG L2", "NCG L2 newton", "NCG H1", "L-BFGS")
SETS = (("moons", 3), ("circles", 3), ("spirals", 4))


def equal_work_trial(
    name: str, size: int, method: str, seed: int, budgets: Sequence[int], rate: float = 0.0, cosine: bool = False
) -> Row:
    """Lowest cost that a method has reached within each budget of forward equivalents."""
    largest = max(budgets)
    optimiser: Optimiser
    if method == "Adam":
        optimiser = Adam(rate, horizon=largest // 3 if cosine else None, iterations=10)
    elif method == "L-BFGS":
        optimiser = LBFGS(iterations=10)
    else:
        newton = method.endswith("newton")
        optimiser = ConjugateGradients(
            ConjugateGradient(powell=math.inf), Armijo(newton_step if newton else root_step), iterations=largest
        )
    plan = TrainingPlan((TrainingStage(10**6, 1.0 if method == "NCG H1" else 0.0),), optimiser, seed, budget=largest)
    toy, seen = Toy(name, size, seed), list[Iterate]()
    data = toy.data()
    problem = Plain(toy.cost, second=method.endswith("newton"))
    begun = start(toy.model(), toy.initial(), plan)
    end = train(data.train, problem, plan, begun, lambda now, iterates: seen.extend(iterates))
    costs = {
        f"cost_{budget}": min(
            (iterate.value for iterate in seen if forward_equivalents(iterate.counts) <= budget), default=math.nan
        )
        for budget in budgets
    }
    return costs | {"accuracy": _accuracy(end, data.test.inputs, data.test.classes)}


def rate_trials(
    budgets: Sequence[int], rates: Sequence[float] = RATES, seeds: Sequence[int] = TUNING_SEEDS
) -> list[SeededTrial]:
    """Trials that choose Adam's rate, constant or falling like a cosine, for each set on seeds of their own."""
    return [
        SeededTrial(
            equal_work_trial,
            {"name": name, "size": size, "method": "Adam", "seed": seed, "budgets": budgets}
            | {"rate": rate, "cosine": cosine},
            {"set": name, "n": size, "rate": rate, "cosine": cosine, "seed": seed},
        )
        for name, size in SETS
        for rate in rates
        for cosine in (False, True)
        for seed in seeds
    ]


def best_rates(rows: Sequence[Row], budget: int) -> dict[str, tuple[float, bool]]:
    """Rate and schedule with the least mean cost at a budget, for each set."""
    best = {}
    for name in dict.fromkeys(row["set"] for row in rows):
        totals: dict[tuple[float, bool], float] = {}
        for row in rows:
            if row["set"] == name:
                key = (row["rate"], row["cosine"])
                totals[key] = totals.get(key, 0.0) + row[f"cost_{budget}"]
        best[name] = min(totals, key=lambda key: totals[key])
    return best


def equal_work_trials(
    budgets: Sequence[int], chosen: dict[str, tuple[float, bool]], seeds: Sequence[int] = (0, 1, 2)
) -> list[SeededTrial]:
    """Trials of every method at equal work, Adam with the rates that were chosen."""
    trials = []
    for name, size in SETS:
        rate, cosine = chosen[name]
        for method in (*METHODS, "Adam"):
            given = {"name": name, "size": size, "method": method, "budgets": budgets}
            given |= {"rate": rate, "cosine": cosine} if method == "Adam" else {}
            schedule = f"rate {rate:g}{', cosine' if cosine else ''}" if method == "Adam" else ""
            labels = {"set": name, "n": size, "method": method, "setting": schedule}
            trials += [SeededTrial(equal_work_trial, given | {"seed": seed}, labels | {"seed": seed}) for seed in seeds]
    return trials


# --- spirals -----------------------------------------------------------------


def spiral_trial(size: int, recipe: str, seed: int, iterations: int = 600) -> Row:
    """Spirals with cross-entropy and a short smoothing length, on a fixed grid or refined in depth."""
    toy = Toy("spirals", size, seed, cells=5, scale=1.0 / math.sqrt(size), cost=Cost(0.0, 1.0, decay=3e-3))
    optimiser = ConjugateGradients(ConjugateGradient(powell=math.inf), Armijo(newton_step), iterations // 3)
    refined = (TrainingStage(1, 0.3), TrainingStage(1, 0.1, refine=2), TrainingStage(1, 0.1, refine=2))
    return learn(toy, refined if recipe == "refined" else (TrainingStage(3, 0.1),), optimiser, second=True)


def spiral_trials(
    seeds: Sequence[int] = (0, 1, 2), iterations: int = 600, sizes: Sequence[int] = (4, 8, 16)
) -> list[SeededTrial]:
    """Trials with spirals."""
    return [
        SeededTrial(
            spiral_trial,
            {"size": size, "recipe": recipe, "seed": seed, "iterations": iterations},
            {"n": size, "recipe": recipe, "seed": seed},
        )
        for size in sizes
        for recipe in ("fixed grid", "refined")
        for seed in seeds
    ]
