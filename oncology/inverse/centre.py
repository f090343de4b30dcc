"""Centre of the posterior where the data are weak: the estimate moves to the mean that belongs to its covariance.

A fit minimises a sum over cells that counts them as independent. Where the data say much that does not matter; where
the prior has a part in the answer, the correlated errors of segmentations leave it a larger one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oncology.errors import NumericalError
from oncology.inverse.identify import Identified, Log, Watch
from oncology.inverse.priors import GaussianPrior
from oncology.inverse.problem import residual_tables
from oncology.inverse.uncertainty import centring, centring_value, information

__all__ = ["centred"]

Vector = NDArray[np.float64]

# The estimate stays where the step is shorter than this fraction of a posterior standard deviation.
_WORTH = 0.25
_ROUNDS = 4
_LONGEST = 1.0  # step, scaled unknowns
_FACTORS = (1.0, 0.5, 0.25)


def centred(
    found: Identified,
    prior: GaussianPrior,
    offsets: Vector,
    watch: Watch | None = None,
    log: Log = lambda stage, iteration, here: None,
) -> Identified:
    """Return the identification at the centre of its posterior, unchanged where that is not worth a step (collective).

    Args:
        found: outcome of an identification.
        prior: prior of the unknowns.
        offsets: what mesh and tissue maps may put the estimate off by, an independent error in each row, (m, n).
        watch: makes what looks at the tangents of a linearisation.
        log: called at every step.
    """
    for number in range(_ROUNDS):
        plan = centring(found.x, found.information, prior, offsets)
        if plan.reach <= _WORTH:
            break
        step = plan.step / max(1.0, float(np.abs(plan.step).max()) / _LONGEST)
        moved = _moved(found, prior, offsets, step, plan.value, watch)
        if moved is None:
            break
        found = moved
        log("centre of the posterior", number + 1, found.here)
    return found


def _moved(
    found: Identified, prior: GaussianPrior, offsets: Vector, step: Vector, value: float, watch: Watch | None
) -> Identified | None:
    """Take the longest part of a step that lowers the function; None where none of them does."""
    problem = found.here.problem
    for factor in _FACTORS:
        x = found.x + factor * step
        try:
            here = problem.evaluate(x)
        except NumericalError:
            continue
        gradient = problem.noise * (here.derivative() - prior.gradient(x))
        if centring_value(x, gradient, found.information, prior, offsets) < value:
            seen = None if watch is None else watch(here)
            info = information(residual_tables(here, seen), problem.space)
            growth = None if seen is None else seen.course()
            return replace(
                found,
                x=x,
                here=here,
                information=info,
                growth=growth,
                iterations=found.iterations + 1,
                gradients=found.gradients + 1,
            )
    return None
