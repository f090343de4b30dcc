"""Many runs from seeds on one mesh, as trajectories: what a surrogate is trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncology.meshing.engines import PatientEngine
from oncology.model.trajectory import Trajectory
from oncology.model.tumour import Tumour

__all__ = ["grow_many"]

Vector = NDArray[np.float64]


def grow_many(
    engine: PatientEngine, runs: Iterable[tuple[Tumour, Vector]], meta: dict[str, float | str]
) -> Iterator[Trajectory]:
    """Yield the trajectory of each run, float32, in the vertex order of the mesh (one rank).

    Args:
        engine: of the patient, untreated.
        runs: tumours with the days to keep, ascending, after onset.
        meta: what to write beside the parameters.

    Raises:
        NumericalError: if a diffusion solve does not converge.
    """
    for tumour, days in runs:
        run = engine.run(tumour, engine.plan(tumour, [float(day) for day in days]), keep=False)
        whole: list[Any] = [engine.gather(u) for u in run.densities]
        values = dict(zip(tumour.names, map(float, tumour.values), strict=True))
        density = np.stack(whole).astype(np.float32)
        yield Trajectory(np.asarray(days, dtype=float), density, engine.mesh.fingerprint, {**meta, **values})
