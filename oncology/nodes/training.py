"""Training of a standalone NODE in stages of batches, with noise, refinement in depth and any optimiser.

Stages with H1 gradients, noise and refinement: Jaroudi et al., arXiv:2205.13933.

A `TrainingPlan` says what is done, a `Progress` is all that the next visit of a batch depends on: `train` goes from one
to the next, so that a run continues bit for bit from any of them, the generator of shuffles and noise included.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from oncology.errors import ConfigError, NumericalError
from oncology.nodes.cost import Cost
from oncology.nodes.depth import prolong
from oncology.nodes.optimisers import ConjugateGradients, Iterate, Optimiser, forward_equivalents
from oncology.nodes.regularised import RegularisedProblem, random_signs
from oncology.nodes.samples import Samples
from oncology.nodes.standalone import StandaloneNODE
from oncology.nodes.training_problem import TrainingProblem
from oncology.optimise import Counts, Problem

__all__ = ["BatchProblem", "Noise", "Plain", "Progress", "Robust", "TrainingPlan", "TrainingStage", "start", "train"]


@dataclass(frozen=True)
class Noise:
    """Gaussian noise that is drawn anew for every visit of a batch.

    Attributes:
        inputs: standard deviation of each input's noise.
        states: of each state's noise over a unit of depth; a step of length h gets sqrt(h) of it, white noise in depth.

    Raises:
        ConfigError: a deviation is negative or not finite.
    """

    inputs: float = 0.0
    states: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.inputs < math.inf and 0 <= self.states < math.inf):
            raise ConfigError(f"noise {self.inputs:g} of inputs, {self.states:g} of states; need finite numbers >= 0")

    @property
    def silent(self) -> bool:
        """Whether there is none."""
        return self.inputs == 0 and self.states == 0


SILENT = Noise()
NONE = Counts()


@dataclass(frozen=True)
class TrainingStage:
    """A part of training with a space and a grid of its own; the optimiser starts it without memory.

    Attributes:
        epochs: passes over the samples; of a full batch, visits of it.
        smoothing: l of the H1 gradient, in units of depth; 0 is L2.
        refine: whole factor by which the cells are cut before the stage.
        batch: samples in a batch; None takes all at once.
        noise: added to inputs and states.

    Raises:
        ConfigError: a number is out of range.
    """

    epochs: int
    smoothing: float = 0.0
    refine: int = 1
    batch: int | None = None
    noise: Noise = SILENT

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.refine < 1 or (self.batch is not None and self.batch < 1):
            raise ConfigError(f"{self}: need epochs >= 0, refine >= 1 and a batch >= 1")
        if not 0 <= self.smoothing < math.inf:
            raise ConfigError(f"smoothing length {self.smoothing:g}; need a finite length >= 0, in units of depth")

    def batches(self, number: int) -> int:
        """Batches in an epoch of so many samples."""
        return 1 if self.batch is None else math.ceil(number / self.batch)


@dataclass(frozen=True)
class TrainingPlan:
    """What is done in training.

    Attributes:
        stages: one after the other.
        optimiser: that of all stages.
        seed: of shuffles and noise.
        budget: most solves, in forward solves (`forward_equivalents`); training ends at the first visit beyond it.

    Raises:
        ConfigError: there is no stage or the budget is not positive.
    """

    stages: tuple[TrainingStage, ...]
    optimiser: Optimiser = field(default_factory=ConjugateGradients)
    seed: int = 0
    budget: float = math.inf

    def __post_init__(self) -> None:
        if not self.stages or not self.budget > 0:
            raise ConfigError(f"{len(self.stages)} stages with a budget of {self.budget:g}; need one and a budget > 0")


class BatchProblem(Protocol):
    """Makes the cost of a batch."""

    def __call__(
        self, model: StandaloneNODE, samples: Samples, noise: Tensor | None, source: torch.Generator, /
    ) -> Problem[Tensor]:
        """Cost of samples, with the given increments of the states; random parts come from the source."""


@dataclass(frozen=True)
class Plain:
    """The cost alone.

    Attributes:
        cost: what is minimised.
        second: whether tangents carry the full second derivative, for `newton_step`.
    """

    cost: Cost
    second: bool = False

    def __call__(
        self, model: StandaloneNODE, samples: Samples, noise: Tensor | None, source: torch.Generator
    ) -> TrainingProblem[StandaloneNODE]:
        """Cost of a batch."""
        return TrainingProblem(model, self.cost, samples, noise, self.second)


@dataclass(frozen=True)
class Robust:
    """The cost with the sensitivity to the inputs as a penalty (`regularised`).

    An evaluation runs `probes` sensitivity solves more, which `Counts` do not show.

    Attributes:
        cost: what is minimised.
        weight: of the penalty.
        deviation: of the inputs.
        probes: random directions of each sample, drawn anew with every batch.
    """

    cost: Cost
    weight: float
    deviation: float = 1.0
    probes: int = 1

    def __call__(
        self, model: StandaloneNODE, samples: Samples, noise: Tensor | None, source: torch.Generator
    ) -> RegularisedProblem:
        """Penalised cost of a batch."""
        problem = TrainingProblem(model, self.cost, samples, noise)
        return RegularisedProblem(problem, self.weight, random_signs(problem, self.deviation, source, self.probes))


@dataclass(frozen=True, eq=False)
class Progress:
    """Where training is; all that it depends on from here.

    Attributes:
        model: the network on its present grid.
        theta: its weights.
        stage, epoch, batch: the visit that comes next.
        order: the samples as this epoch takes them, (K,); empty before its first batch.
        generator: state of the random numbers.
        memory: of the optimiser.
        counts: solves so far.
        iterations: of the optimiser so far.
        value: cost of the last batch, nan before the first.
    """

    model: StandaloneNODE
    theta: Tensor
    stage: int
    epoch: int
    batch: int
    order: Tensor
    generator: Tensor
    memory: Any = None
    counts: Counts = NONE
    iterations: int = 0
    value: float = math.nan


def start(model: StandaloneNODE, theta: Tensor, plan: TrainingPlan) -> Progress:
    """The beginning of training.

    Raises:
        ConfigError: the weights do not fit the model.
    """
    if tuple(theta.shape) != model.shape:
        raise ConfigError(f"weights of shape {tuple(theta.shape)}; this network has {model.shape}")
    source = torch.Generator().manual_seed(plan.seed)
    fresh = Progress(model, theta, 0, 0, 0, torch.empty(0, dtype=torch.long), source.get_state())
    return _entered(fresh, plan)


def _entered(here: Progress, plan: TrainingPlan) -> Progress:
    """A stage's beginning, its grid refined; past stages without epochs too."""
    while here.stage < len(plan.stages):
        stage = plan.stages[here.stage]
        if stage.refine > 1:
            fine = here.model.grid.refined(stage.refine)
            theta = prolong(here.theta, here.model.grid, fine)
            here = replace(here, model=replace(here.model, grid=fine), theta=theta)
        if stage.epochs > 0:
            break
        here = replace(here, stage=here.stage + 1)
    return replace(here, epoch=0, batch=0, memory=None)


def train(
    samples: Samples,
    problem: BatchProblem,
    plan: TrainingPlan,
    here: Progress,
    callback: Callable[[Progress, tuple[Iterate, ...]], None] | None = None,
) -> Progress:
    """Train from where training is to the end of the plan.

    Weights, samples and all that is computed have the type and the device of `here.theta`.

    Args:
        samples: to be learnt.
        problem: makes the cost of a batch; `Plain` or `Robust`.
        plan: what is done.
        here: where training is: `start`, or what an earlier run handed to its callback.
        callback: called after every visit of a batch, with the progress and a record of each iteration.

    Returns:
        The end of training.

    Raises:
        NumericalError: the cost is no longer finite.

    Example:
        >>> import torch
        >>> from oncology.nodes.cost import Cost
        >>> from oncology.nodes.depth import DepthGrid
        >>> model = StandaloneNODE(2, DepthGrid(1.0, 4), (0, 1), (0, 1))
        >>> points = Samples(torch.eye(2).double(), torch.eye(2).double().flip(0))
        >>> plan = TrainingPlan((TrainingStage(epochs=2), TrainingStage(epochs=1, refine=2)))
        >>> begun = start(model, model.initial(torch.Generator().manual_seed(0)), plan)
        >>> end = train(points, Plain(Cost()), plan, begun)
        >>> end.iterations, end.model.grid.cells
        (18, 8)
    """
    samples = samples.to(here.theta)
    done: Problem[Tensor] | None = None
    while here.stage < len(plan.stages) and forward_equivalents(here.counts) < plan.budget:
        stage = plan.stages[here.stage]
        space = here.model.space(stage.smoothing, here.theta)
        here, cost, same = _drawn(samples, problem, stage, here, done)
        visit = plan.optimiser.visit(cost, space, here.theta, here.memory, same, here.counts)
        values = [iterate.value for iterate in visit.iterates]
        if not all(map(math.isfinite, values)):
            raise NumericalError(
                f"the cost is {values[-1]} at iteration {here.iterations + len(values)}; take a lower learning rate"
            )
        over = visit.finished and _always_the_same(stage, problem)
        here = _moved_on(
            replace(
                here,
                theta=visit.theta,
                memory=visit.memory,
                counts=visit.counts,
                iterations=here.iterations + len(values),
                value=values[-1] if values else here.value,
            ),
            len(samples),
            plan,
            over,
        )
        done = cost
        if callback is not None:
            callback(here, visit.iterates)
    return here


def _always_the_same(stage: TrainingStage, problem: BatchProblem) -> bool:
    """Whether all visits of a stage minimise the same cost."""
    return stage.batch is None and stage.noise.silent and isinstance(problem, Plain)


def _drawn(
    samples: Samples, problem: BatchProblem, stage: TrainingStage, here: Progress, done: Problem[Tensor] | None
) -> tuple[Progress, Problem[Tensor], bool]:
    """Cost of the next batch, and whether it is that of the visit before."""
    same = _always_the_same(stage, problem)
    if same and done is not None and here.memory is not None:
        return here, done, True
    source = torch.Generator()
    source.set_state(here.generator)
    if stage.batch is None:
        batch = samples
    else:
        if here.batch == 0:
            here = replace(here, order=torch.randperm(len(samples), generator=source))
        rows = here.order[here.batch * stage.batch : (here.batch + 1) * stage.batch]
        batch = samples.take(rows.to(samples.inputs.device))
    noise, increments = stage.noise, None
    if noise.inputs:
        batch = replace(batch, inputs=batch.inputs + noise.inputs * _normal(batch.inputs.shape, source, here.theta))
    if noise.states:
        shape = torch.Size((here.model.grid.cells * here.model.steps, len(batch), here.model.size))
        increments = noise.states * math.sqrt(here.model.time_step) * _normal(shape, source, here.theta)
    cost = problem(here.model, batch, increments, source)
    return replace(here, generator=source.get_state()), cost, same and here.memory is not None


def _normal(shape: torch.Size, source: torch.Generator, like: Tensor) -> Tensor:
    return torch.randn(shape, generator=source, dtype=torch.float64).to(like)


def _moved_on(here: Progress, number: int, plan: TrainingPlan, over: bool) -> Progress:
    """The visit after this one."""
    stage = plan.stages[here.stage]
    batch, epoch = here.batch + 1, here.epoch
    if batch >= stage.batches(number):
        batch, epoch = 0, epoch + 1
    if over or epoch >= stage.epochs:
        return _entered(replace(here, stage=here.stage + 1), plan)
    return replace(here, epoch=epoch, batch=batch)
