"""Strong Wolfe line search (Nocedal & Wright, Numerical Optimization, algorithms 3.5 and 3.6) on any vectors.

Fletcher-Reeves and Dai-Yuan need it to give descent directions. It costs an adjoint solve for each trial that
descends; with a sensitivity proposal the first trial is usually accepted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from oncology.errors import ConfigError
from oncology.optimise.problem import Counts, Vector
from oncology.optimise.steps import ROUNDING, Line, Proposal, Trial, scaled_previous

__all__ = ["StrongWolfe"]


@dataclass(frozen=True)
class _End:
    """One end of the bracket: length, cost (inf where it cannot be computed)."""

    length: float
    value: float


@dataclass(frozen=True)
class StrongWolfe:
    """Sufficient decrease and `|E'(x + beta d)[d]| <= curvature |E'(x)[d]|`.

    Attributes:
        proposal: first length to try.
        sufficient: required fraction of the first-order decrease.
        curvature: required reduction of the slope, in (sufficient, 1); at most 0.5 for conjugate gradients.
        trials: largest number of lengths tried; then the best point with sufficient decrease is taken.
        rounding: relative rounding error of the cost.
    """

    proposal: Proposal = scaled_previous
    sufficient: float = 1e-4
    curvature: float = 0.1
    trials: int = 30
    rounding: float = ROUNDING

    def __post_init__(self) -> None:
        if not 0 < self.sufficient < self.curvature < 1:
            raise ConfigError(
                f"Wolfe constants {self.sufficient:g} and {self.curvature:g}: need 0 < sufficient < curvature < 1"
            )

    def __call__[V: Vector](self, line: Line[V]) -> tuple[Trial[V] | None, Counts]:
        """Point that meets both conditions, or the best one with sufficient decrease."""
        if line.bounds is not None:
            raise ConfigError("StrongWolfe takes no bounds: the path bends at them; take Armijo")
        length, counts = self.proposal(line)
        best: Trial[V] | None = None
        low, low_slope, high = _End(0.0, line.here.value), line.slope, None
        for _ in range(self.trials):
            trial = line.at(length)
            counts += Counts(forward=1)
            value = math.inf if trial is None else trial.evaluation.value
            falls = trial is not None and line.descends(trial, self.sufficient, self.rounding)
            if trial is None or not falls or (low.length > 0 and value >= low.value):
                high = _End(length, value)
            else:
                derivative = trial.evaluation.derivative()
                counts += Counts(gradient=1)
                best, slope = replace(trial, derivative=derivative), line.space.dual(derivative, line.direction)
                if abs(slope) <= self.curvature * abs(line.slope):
                    break
                away = math.inf if high is None else high.length - low.length
                high = low if slope * away >= 0 else high
                low, low_slope = _End(length, value), slope
            length = _next_length(low, low_slope, high)
        return best, counts


def _next_length(low: _End, slope: float, high: _End | None) -> float:
    """Minimum of the parabola through both ends with the slope at the lower, kept well inside; open: twice as far."""
    if high is None:
        return 2.0 * low.length
    width = high.length - low.length
    bend = high.value - low.value - slope * width
    part = -0.5 * slope * width / bend if bend > 0 else 0.5
    return low.length + min(max(part, 0.1), 0.9) * width
