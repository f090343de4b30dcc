"""Small quadratic models of a least-squares cost, and their exact minimiser inside a box.

Bounds and trust limits of a Gauss-Newton step are one and the same box; solving inside it, instead of clipping the
free step, keeps strongly coupled parameters together when one of them is held. The solver is bounded-variable least
squares (Stark & Parker, Computational Statistics 10, 1995).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Linearisation", "Matrix", "Parameters", "box_minimiser"]

type Parameters = np.ndarray[tuple[int], np.dtype[np.float64]]
type Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]


@dataclass(frozen=True)
class Linearisation:
    """Quadratic model of the cost at a point.

    Attributes:
        value: cost E(x), half a weighted sum of squares plus the prior's.
        gradient: J' W r + prior term, shape (n,).
        hessian: Gauss-Newton matrix J' W J + prior precision, shape (n, n).
    """

    value: float
    gradient: Parameters
    hessian: Matrix


def box_minimiser(
    hessian: Matrix, gradient: Parameters, low: Parameters, high: Parameters, ridge: Parameters
) -> Parameters | None:
    """Minimise `g's + s'(H + diag(ridge))s / 2` over low <= s <= high.

    Parameters are scaled to a unit diagonal first, so that log rates and millimetres weigh alike. With the Cholesky
    factor U'U of the scaled matrix the quadratic is `|U s + U^-T g|^2 / 2` up to a constant.

    Args:
        hessian: H, symmetric, shape (n, n).
        gradient: g, shape (n,).
        low: lower ends of the box, below `high`, -inf allowed; shape (n,).
        high: upper ends of the box, inf allowed; shape (n,).
        ridge: damping added to the diagonal, >= 0; shape (n,).

    Returns:
        The minimiser, or None where the damped matrix is not positive definite in floating point.

    Example:
        >>> box_minimiser(np.eye(2), np.array([-2.0, -0.5]), -np.ones(2), np.ones(2), np.zeros(2)).round(9)
        array([1. , 0.5])
    """
    damped = hessian + np.diag(ridge)
    diagonal = np.diag(damped)
    if not diagonal.min() > 0:
        return None
    scale = 1.0 / np.sqrt(diagonal)
    try:
        upper = np.linalg.cholesky(scale[:, None] * damped * scale).T
    except np.linalg.LinAlgError:
        return None
    import scipy.linalg  # slow to import
    import scipy.optimize

    target = -scipy.linalg.solve_triangular(upper, scale * gradient, trans="T")
    bounds = (low / scale, high / scale)
    fit = scipy.optimize.lsq_linear(upper, target, bounds, method="bvls", tol=1e-15, max_iter=50 * len(scale))
    return np.asarray(scale * fit.x, dtype=float)
