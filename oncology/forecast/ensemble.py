"""Many untreated runs from seeds on one mesh, as trajectories: what a surrogate is trained on.

Each run is the forward run of `oncology.fem.model` with the time grid of a fit; nothing is linearised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncology.fem.model import Rates, TumourModel
from oncology.meshing import TetMesh
from oncology.model.cells import PARAMETERS
from oncology.model.seed import Seed
from oncology.model.timegrid import plan_time_grid, step_limit
from oncology.model.trajectory import Trajectory

__all__ = ["grow_many"]

Vector = NDArray[np.float64]


def grow_many(
    model: TumourModel, mesh: TetMesh, runs: Iterable[tuple[Vector, Vector]], meta: dict[str, float | str]
) -> Iterator[Trajectory]:
    """Yield the trajectory of each run, float32, in the vertex order of the mesh (one rank).

    Args:
        model: discrete model on the mesh, its treatments left out.
        mesh: the mesh.
        runs: parameters in the order of `model.cells.PARAMETERS` (mm^2/day, mm^2/day, 1/day, mm, mm, mm, day) with
            the days to keep, ascending, after onset.
        meta: what to write beside the parameters.

    Raises:
        NumericalError: if a diffusion solve does not converge.
    """
    space, seed = model.discretisation, Seed()
    points = space.points[: space.owned]
    for parameters, days in runs:
        white, grey, growth, onset = (float(parameters[k]) for k in (0, 1, 2, 6))
        longest = step_limit(growth, max(white, grey), seed.width)
        grid = plan_time_grid(onset, [float(day) for day in days], (), longest)
        run = model.run(Rates(white, grey, growth), seed.density(points, parameters[3:6]), grid, keep=False)
        whole: list[Any] = [space.gather(u) for u in run.observations]
        values = dict(zip(PARAMETERS, map(float, parameters), strict=True))
        yield Trajectory(
            np.asarray(days, dtype=float), np.stack(whole).astype(np.float32), mesh.fingerprint, {**meta, **values}
        )
