"""Projection of a function of space, smooth or not, onto P1 densities by quadrature on subdivided cells.

The projection solves `(M_L + M_c) u / 2 = int f phi` with the lumped and the consistent mass. Lumped alone it would
widen the function by the variance of a hat function, consistent alone it would narrow it by as much; the mean of both
keeps the integral and the second moments, as nodal values do where the function is smooth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import permutations, product

import numpy as np

from oncology.fem.discretisation import Discretisation

__all__ = ["project", "simplex_parts"]

_PARTS = 12  # parts of an edge of a cell that a jump crosses
_JUMP = 0.02  # deviation from the linear interpolant, as a fraction of max |f|, that tells such a cell
_SWEEPS = 20  # each takes a factor of 4 off the error
_RELAXATION = 1.25  # the spectrum of M_L^-1 (M_L + M_c) / 2 lies in [0.6, 1]


def project(discretisation: Discretisation, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the owned vertex values of the P1 function that stands for `function`.

    Near a jump the values over- and undershoot by a few per cent of it.

    Args:
        discretisation: the mesh.
        function: values (n,) at points (n, d), mm.
    """
    corners, volumes = discretisation.points[discretisation.cells], discretisation.volumes
    at_vertices = function(discretisation.points)
    inner = _inner_points(discretisation.dimension)
    loads, deviation = _loads(corners, volumes, function, at_vertices[discretisation.cells], inner)
    _, largest = discretisation.extremes(0.0, float(np.abs(at_vertices).max(initial=0.0)))
    crossed = np.flatnonzero(deviation > _JUMP * largest)
    linear = at_vertices[discretisation.cells[crossed]]
    parts = simplex_parts(discretisation.dimension, _PARTS)
    loads[crossed], _ = _loads(corners[crossed], volumes[crossed], function, linear, parts)
    right = discretisation.from_cells(loads)
    u = right / discretisation.lumped_mass
    for _ in range(_SWEEPS):
        u = u + _RELAXATION * (right - _mean_mass(discretisation, u)) / discretisation.lumped_mass
    return np.asarray(u)


def simplex_parts(dimension: int, parts: int) -> np.ndarray:
    """Return barycentric coordinates (parts^d, d + 1) of the centroids of equal parts of a simplex.

    The simplex `1 >= x_1 >= ... >= x_d >= 0` is a union of cells of the Kuhn lattice with that spacing.

    Args:
        dimension: d.
        parts: number of parts of each edge.
    """
    orders = [np.eye(dimension)[list(order)].cumsum(axis=0).sum(axis=0) for order in permutations(range(dimension))]
    offsets = np.array(orders) / (dimension + 1)
    corners = np.array(list(product(range(parts), repeat=dimension)), dtype=float)
    centroids = (corners[:, None] + offsets).reshape(-1, dimension) / parts
    inside = centroids[(np.diff(centroids, axis=1) <= 0.0).all(axis=1)]
    padded = np.pad(inside, ((0, 0), (1, 1)), constant_values=((0, 0), (1, 0)))
    return -np.diff(padded, axis=1)


def _inner_points(dimension: int) -> np.ndarray:
    """Return barycentric coordinates (d + 1, d + 1) of the rule of equal weights that is exact for squares."""
    low = (1.0 - 1.0 / math.sqrt(dimension + 2.0)) / (dimension + 1.0)
    return low + (1.0 - (dimension + 1.0) * low) * np.eye(dimension + 1)


def _loads(
    corners: np.ndarray,
    volumes: np.ndarray,
    function: Callable[[np.ndarray], np.ndarray],
    at_vertices: np.ndarray,
    weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return integrals of f times each barycentric coordinate (m, d + 1), largest deviation from linear (m,)."""
    loads, deviation = np.zeros(at_vertices.shape), np.zeros(len(at_vertices))
    for weight in weights:
        values = function(np.einsum("j,mjd->md", weight, corners))
        loads += values[:, None] * weight
        np.maximum(deviation, np.abs(values - at_vertices @ weight), out=deviation)
    return loads * (volumes / len(weights))[:, None], deviation


def _mean_mass(discretisation: Discretisation, u: np.ndarray) -> np.ndarray:
    """Return `(M_L + M_c) u / 2`."""
    values = discretisation.to_cells(u)
    corners = values.shape[1]
    part = discretisation.volumes[:, None] / corners
    consistent = (values + values.sum(axis=1, keepdims=True)) / (corners + 1)
    return discretisation.from_cells(0.5 * part * (values + consistent))
