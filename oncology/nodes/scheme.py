"""Explicit Runge-Kutta schemes as tables of coefficients (Hairer, Norsett & Wanner, Solving ODEs I, chapter II).

Their exact discrete adjoint is the same loop backwards (`solve`), so that a table is all there is to a scheme.
"""

from __future__ import annotations

from dataclasses import dataclass

from oncology.errors import ConfigError

__all__ = ["EULER", "HEUN", "MIDPOINT", "RK4", "SCHEMES", "Scheme", "scheme_named"]


@dataclass(frozen=True)
class Scheme:
    """An explicit Runge-Kutta scheme.

    Attributes:
        name: name in files and on the command line.
        order: order of convergence for smooth weights.
        a: rows of the strictly lower triangular matrix; row i has i entries.
        b: weights of the stages.
    """

    name: str
    order: int
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]

    @property
    def stages(self) -> int:
        """Number of stages."""
        return len(self.b)

    @property
    def c(self) -> tuple[float, ...]:
        """Position of each stage in the step."""
        return tuple(sum(row) for row in self.a)


EULER = Scheme("euler", 1, ((),), (1.0,))
HEUN = Scheme("heun", 2, ((), (1.0,)), (0.5, 0.5))
MIDPOINT = Scheme("midpoint", 2, ((), (0.5,)), (0.0, 1.0))
RK4 = Scheme("rk4", 4, ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6))

SCHEMES = {scheme.name: scheme for scheme in (EULER, HEUN, MIDPOINT, RK4)}


def scheme_named(name: str) -> Scheme:
    """Scheme by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in SCHEMES:
        raise ConfigError(f"scheme {name!r} is unknown; take one of {', '.join(SCHEMES)}")
    return SCHEMES[name]
