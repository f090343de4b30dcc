"""What an iteration returns: the state of an iterate, when to stop, why it stopped, and where it ended.

All of it is plain frozen data. A `State` holds everything the next iterate depends on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from oncology.errors import ConfigError
from oncology.optimise.directions import Gradient, Search
from oncology.optimise.problem import Counts, Vector

__all__ = ["Record", "Result", "State", "Status", "Stop"]


class Status(StrEnum):
    """Reason for which an iteration stopped; its value is the word that goes into files."""

    CONVERGED = "converged"
    DISCREPANCY = "discrepancy"
    STAGNATION = "stagnation"
    MAX_ITERATIONS = "max_iterations"
    NO_STEP = "no_step"

    @property
    def explanation(self) -> str:
        """One sentence on what happened."""
        return _EXPLANATIONS[self]

    @property
    def succeeded(self) -> bool:
        """Whether the iteration reached its goal."""
        return self in (Status.CONVERGED, Status.DISCREPANCY)


_EXPLANATIONS = {
    Status.CONVERGED: "The gradient or the predicted decrease fell below its tolerance.",
    Status.DISCREPANCY: "The data are matched to the noise level; further iterations would fit the noise.",
    Status.STAGNATION: "The cost no longer decreases by more than its tolerance, but the gradient is not yet small.",
    Status.MAX_ITERATIONS: "The allowed number of iterations was used up.",
    Status.NO_STEP: "No acceptable step was found along the descent direction: a wrong derivative or a rough cost.",
}


@dataclass(frozen=True)
class Stop:
    """When to end.

    Attributes:
        relative_gradient: converged where |g|_H <= relative_gradient |g_0|_H.
        absolute_gradient: converged where |g|_H <= absolute_gradient.
        stagnation: relative decrease of the cost that counts as none.
        patience: successive iterations without decrease that end the run.
        noise_level: delta, norm of the data error in the unit of `Evaluation.residual`, discretisation included;
            None switches the discrepancy principle off.
        tau: safety factor > 1 of the discrepancy principle: ends where residual <= tau delta.
        max_iterations: largest number of iterations, those before a resumption included.
    """

    relative_gradient: float = 1e-6
    absolute_gradient: float = 0.0
    stagnation: float = 1e-12
    patience: int = 3
    noise_level: float | None = None
    tau: float = 1.1
    max_iterations: int = 200

    def __post_init__(self) -> None:
        if min(self.relative_gradient, self.absolute_gradient, self.stagnation) < 0:
            raise ConfigError("a tolerance of Stop is negative; take 0 to switch it off")
        if min(self.patience, self.max_iterations + 1) < 1:
            raise ConfigError(f"patience {self.patience} (>= 1) or max_iterations {self.max_iterations} (>= 0) of Stop")
        if self.noise_level is not None and not (self.noise_level >= 0 and self.tau >= 1):
            raise ConfigError(f"noise level {self.noise_level:g} and tau {self.tau:g} of Stop: need >= 0 and >= 1")

    def status(self, state: State[Vector]) -> Status | None:
        """Reason to end at this iterate, or None."""
        if self.noise_level is not None and state.residual <= self.tau * self.noise_level:
            return Status.DISCREPANCY
        if state.gradient.norm <= max(self.relative_gradient * state.first_norm, self.absolute_gradient):
            return Status.CONVERGED
        if state.stalled >= self.patience:
            return Status.STAGNATION
        return Status.MAX_ITERATIONS if state.iteration >= self.max_iterations else None


@dataclass(frozen=True)
class Record:
    """One line of the history: an accepted iterate and the step that led to it (both 0 at the start)."""

    iteration: int
    value: float
    residual: float
    gradient_norm: float
    length: float
    coefficient: float


@dataclass(frozen=True)
class State[V: Vector]:
    """An accepted iterate with all that the iteration needs to continue; pickle it to resume in another process.

    Attributes:
        x: the iterate.
        value: cost at x.
        residual: norm of the data residual at x, nan where the problem has none.
        gradient: derivative and gradient at x, zero on components held by a bound.
        free: 1 on the components that bounds leave free; None without bounds.
        search: direction of the next step.
        first_norm: gradient norm at the start of the run.
        iteration: accepted steps so far.
        stalled: successive steps without decrease.
        counts: solves so far.
        history: one record per iterate, the start included.
    """

    x: V
    value: float
    residual: float
    gradient: Gradient[V]
    free: V | None
    search: Search[V]
    first_norm: float
    iteration: int
    stalled: int
    counts: Counts
    history: tuple[Record, ...]


@dataclass(frozen=True)
class Result[V: Vector]:
    """Where the iteration ended, why, and at what cost; `status.explanation` says it in words."""

    x: V
    value: float
    residual: float
    gradient_norm: float
    status: Status
    counts: Counts
    history: tuple[Record, ...]
    state: State[V]

    @property
    def iterations(self) -> int:
        """Accepted steps, those before a resumption included."""
        return self.state.iteration
