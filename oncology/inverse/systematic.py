"""Errors that an estimate has as a whole and that no residual shows: those of the mesh and of the tissue maps.

Each is one direction in which the estimate may be off, with the length of one standard deviation. The change c of the
residuals that an error causes moves the minimum of the squared misfit by `-H^-1 J' c`; the posterior counts every
direction as an independent error (`oncology.inverse.uncertainty`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from oncology.inverse.identify import Identified
from oncology.inverse.problem import Evaluated
from oncology.model.engine import TissueEngine

__all__ = ["COARSENING", "systematic_errors"]

Vector = NDArray[np.float64]

COARSENING = 1.6  # edge of the coarse mesh over that of the fine one
# The solution moves by about h^2: from the fine mesh to none by this fraction of what it moved between the two.
_REFINEMENT = 1.0 / (COARSENING**2 - 1.0)
# Standard deviation of what cells show of the seed's radius, in their edges: two meshes agree on it and both err.
_RADIUS = 0.15
# Directions that the residuals do not see: eigenvalues of the Gauss-Newton matrix below this fraction of the largest.
_UNSEEN = 1e-10


def systematic_errors(found: Identified, names: Sequence[str], size: float, white_error: float) -> Vector:
    """Return what the estimate may be off by, an independent error in each row, (m, n) (collective).

    Args:
        found: outcome of an identification.
        names: of the unknowns.
        size: edge of the cells, mm.
        white_error: standard deviation of how far the maps' white matter reaches too far, mm.
    """
    here = found.here
    errors = [_REFINEMENT * (found.x - found.coarse)]
    if "ln_seed_radius" in names:
        radius = np.zeros(len(names))
        column = names.index("ln_seed_radius")
        radius[column] = _RADIUS * size / np.exp(found.x[column])
        errors.append(radius)
    engine = here.problem.engine
    if white_error > 0.0 and isinstance(engine, TissueEngine):
        pulled = here.pull_back(_moved_tissue(here, engine, white_error))
        errors.append(np.linalg.pinv(found.information.normal, rcond=_UNSEEN, hermitian=True) @ pulled)
    return np.stack(errors)


def _moved_tissue(here: Evaluated, engine: TissueEngine, distance: float) -> tuple[Vector, ...]:
    """Return the change of every residual where the boundary of the white matter moves outwards by a distance, mm."""
    problem = here.problem
    run = engine.run_moved(here.inputs.tumour, problem.plan, distance)
    corners = [problem.space.to_cells(density) for density in run.densities]
    changes = []
    for observation, seen in zip(problem.observations, here.seen, strict=True):
        level = here.inputs.levels.get(observation.region, observation.level)
        moved = observation.compare(corners[observation.index], level, problem.sharpness)
        changes.append(moved.residual - seen.residual)
    return tuple(changes)
