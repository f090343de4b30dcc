"""How far the fitted boundaries lie from the drawn ones, beside what the posterior takes for noise.

Measured by the misfit: the integral of the squared residual over the area of the drawn boundaries. It misses nothing
that lies apart, which the displacements of blocks of the modelled boundary (`oncology.inverse.rims`) cannot see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from oncology.inverse.misfit import MaskObservation
from oncology.inverse.problem import Evaluated
from oncology.inverse.rims import RimProcess

__all__ = ["Residual", "boundary_residual", "displacement"]

_MESH = 0.1  # of the edge of the cells: an allowance for how far off they place a boundary


@dataclass(frozen=True)
class Residual:
    """Distance between fitted and drawn boundaries, and what the posterior takes for noise.

    Attributes:
        found: root mean square distance of the boundaries, mm.
        assumed: standard deviation of their displacements that the posterior and the mesh account for, mm.
    """

    found: float
    assumed: float


def boundary_residual(here: Evaluated, rims: RimProcess, area: float, edge: float) -> Residual:
    """Return the distance that the misfit shows, and that which the posterior assumes (collective).

    Args:
        here: the inverse problem at the estimate.
        rims: displacement of the modelled boundaries in the posterior.
        area: of all drawn boundaries, mm^2.
        edge: edge length of the cells, mm.
    """
    space = here.problem.space
    masks = [
        (observation, seen)
        for observation, seen in zip(here.problem.observations, here.seen, strict=True)
        if isinstance(observation, MaskObservation)
    ]
    misfit = float(space.total(np.array([space.volumes @ seen.residual[:, 0] ** 2 for _, seen in masks])).sum())
    declared = [observation.errors.bias**2 + observation.errors.shift**2 for observation, _ in masks]
    variance = rims.tau**2 + rims.transverse**2 + rims.nugget**2 + sum(declared) / len(declared) + (_MESH * edge) ** 2
    return Residual(displacement(misfit / area, edge), math.sqrt(variance))


def displacement(misfit: float, edge: float) -> float:
    """Return the displacement of a plane boundary, mm, that causes a misfit per area.

    A boundary displaced by d through cells of edge h changes their fractions by d / h where it stays inside one, and
    fully in those that it passes: per area `d^2 / h - d^3 / (3 h^2)` up to h, `d - h / 3` beyond, as a mean over all
    places of the boundary among the cells.

    Args:
        misfit: integral of the squared residual per area of the boundary, mm.
        edge: edge length of the cells, mm.

    Example:
        >>> round(displacement(0.07, 5.0), 2), displacement(4.0, 3.0)
        (0.6, 5.0)
    """
    if misfit >= 2.0 * edge / 3.0:
        return misfit + edge / 3.0
    scaled = misfit / edge
    return edge * float(brentq(lambda d: d * d - d**3 / 3.0 - scaled, 0.0, 1.0))
