"""Bounds on each component, handled by two-metric projection (Bertsekas, SIAM J. Control Optim. 20, 1982).

Components that lie on a bound and would be pushed through it are held; the gradient is the Riesz image of the
derivative on the others, set to zero on the held ones. The projected path is then downhill in any inner product;
clipping a Sobolev gradient does not guarantee that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Box"]


@dataclass(frozen=True)
class Box:
    """Componentwise bounds `lower <= x <= upper`, as floats or arrays like x (numpy or torch alike).

    Example:
        >>> import numpy as np
        >>> Box(0.0, 1.0).project(np.array([-0.5, 0.25, 7.0]))
        array([0.  , 0.25, 1.  ])
    """

    lower: Any
    upper: Any

    def project(self, x: Any) -> Any:
        """Nearest point of the box."""
        return x.clip(self.lower, self.upper)

    def free(self, x: Any, derivative: Any) -> Any:
        """1 where a descent step may move x, 0 where it would leave the box."""
        held = ((x <= self.lower) & (derivative > 0)) | ((x >= self.upper) & (derivative < 0))
        return 1.0 * ~held

    def inward(self, x: Any, direction: Any) -> Any:
        """The direction without the components that would leave the box at once."""
        outward = ((x <= self.lower) & (direction < 0)) | ((x >= self.upper) & (direction > 0))
        return (1.0 * ~outward) * direction
