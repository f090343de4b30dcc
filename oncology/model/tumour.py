"""A tumour as the growth model sees it, and a change of it: what an engine runs, and what its derivatives are by.

`u_t = div(D exp(m_D) T grad u) + rho exp(m_r) f(u)` from a seed at onset, or from one at each of several foci. Fields
(the density at onset, m_D, m_r) hold the vertices that a rank owns, in the engine's order; None stands for the seeds,
and for fields that are zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oncology.model.cells import CellSpace
from oncology.model.seed import Seed

__all__ = ["PARAMETERS", "Tumour", "TumourChange", "seed_names"]

Vector = NDArray[np.float64]

# Names of the scalars of a tumour with one focus, in the order of `Tumour.values`: mm^2/day, mm^2/day, 1/day, mm, mm,
# mm, day, mm.
PARAMETERS = (
    "diffusion_white",
    "diffusion_grey",
    "proliferation",
    "seed_x",
    "seed_y",
    "seed_z",
    "onset",
    "seed_radius",
)


@dataclass(frozen=True, eq=False)
class Tumour:
    """A tumour that grows from a seed, or from several that share onset, radius and density.

    Attributes:
        diffusion_white: diffusivity D_w in white matter, mm^2/day.
        diffusion_grey: diffusivity D_g in grey matter, mm^2/day.
        proliferation: rate rho, 1/day.
        seed: centre of the seed, (d,), mm; that of the largest focus where there are several.
        onset: day on which the density is that of the seeds.
        profile: density and radius of each seed.
        initial: (n,) density at onset instead of the seed's, fraction of the carrying capacity.
        log_diffusion: (n,) m_D, natural logarithm of the diffusivity over that of the tissue.
        log_proliferation: (n,) m_r, natural logarithm of the proliferation over rho.
        others: centres of the seeds of further foci, (d,) each, mm.

    Example:
        >>> tumour = Tumour(0.2, 0.02, 0.02, seed=(30.0, -20.0, 28.0), onset=-300.0)
        >>> round(tumour.front_speed, 4), round(tumour.infiltration_length, 2)
        (0.1265, 3.16)
    """

    diffusion_white: float
    diffusion_grey: float
    proliferation: float
    seed: tuple[float, ...]
    onset: float
    profile: Seed = field(default_factory=Seed)
    initial: Vector | None = field(default=None, repr=False)
    log_diffusion: Vector | None = field(default=None, repr=False)
    log_proliferation: Vector | None = field(default=None, repr=False)
    others: tuple[tuple[float, ...], ...] = ()

    @property
    def seeds(self) -> Vector:
        """Centres of the seeds of all k foci, (k, d), mm."""
        return np.array([self.seed, *self.others], dtype=float)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of `values`: `PARAMETERS`, with seed2_x and so on of further foci after seed_z."""
        axes = "xyz"[: len(self.seed)]
        return (*PARAMETERS[:3], *seed_names(1 + len(self.others), axes), *PARAMETERS[-2:])

    @property
    def seed_radius(self) -> float:
        """Radius of the seed, mm."""
        return self.profile.radius

    @property
    def values(self) -> Vector:
        """The scalars in the order of `PARAMETERS`, the centres of all foci one after another, (5 + k d,)."""
        rates = (self.diffusion_white, self.diffusion_grey, self.proliferation)
        return np.array([*rates, *self.seeds.ravel(), self.onset, self.seed_radius], dtype=float)

    @property
    def front_speed(self) -> float:
        """Speed `2 sqrt(D_w rho)` of a front in white matter, mm/day."""
        return 2.0 * float(np.sqrt(self.diffusion_white * self.proliferation))

    @property
    def infiltration_length(self) -> float:
        """Length `sqrt(D_w / rho)` of a front in white matter, mm."""
        return float(np.sqrt(self.diffusion_white / self.proliferation))

    def start(self, space: CellSpace) -> Vector:
        """Return the density at onset at the owned vertices, (n,): `initial`, if there is one, else the seeds'."""
        if self.initial is not None:
            return self.initial
        return self.profile.density(space.owned, self.seeds, space.spacing)

    def start_slopes(self, space: CellSpace) -> Vector:
        """Return the derivatives of the density at onset by the seeds' coordinates and their radius, (n, k d + 1)."""
        if self.initial is not None:
            return np.zeros((len(space.owned), self.seeds.size + 1))
        return self.profile.slopes(space.owned, self.seeds, space.spacing)


def seed_names(count: int, axes: str = "xyz") -> tuple[str, ...]:
    """Return the names of the coordinates of the seeds of several foci, the first one's without a number.

    Example:
        >>> seed_names(2)
        ('seed_x', 'seed_y', 'seed_z', 'seed2_x', 'seed2_y', 'seed2_z')
    """
    return tuple(f"seed{number if number > 1 else ''}_{axis}" for number in range(1, count + 1) for axis in axes)


@dataclass(frozen=True, eq=False)
class TumourChange:
    """A direction in which a tumour changes, or a derivative by its entries; the attributes are those of `Tumour`.

    `seed` holds the coordinates of all k foci one after another, (k d,). As a derivative, fields are algebraic (their
    L2 gradient is `field / lumped_mass`) and scalars are sums over ranks; a field that the tumour does not have is
    None.
    """

    diffusion_white: float = 0.0
    diffusion_grey: float = 0.0
    proliferation: float = 0.0
    seed: Vector | tuple[float, ...] = (0.0, 0.0, 0.0)
    onset: float = 0.0
    seed_radius: float = 0.0
    initial: Vector | None = None
    log_diffusion: Vector | None = None
    log_proliferation: Vector | None = None

    @classmethod
    def of(
        cls,
        values: Vector,
        initial: Vector | None = None,
        log_diffusion: Vector | None = None,
        log_proliferation: Vector | None = None,
    ) -> TumourChange:
        """Return the change with scalars (5 + k d,) in the order of `Tumour.values`."""
        white, grey, growth, onset, radius = (float(values[k]) for k in (0, 1, 2, -2, -1))
        seed = np.array(values[3:-2])
        return cls(white, grey, growth, seed, onset, radius, initial, log_diffusion, log_proliferation)

    @property
    def values(self) -> Vector:
        """The scalars in the order of `Tumour.values`, (5 + k d,)."""
        rates = (self.diffusion_white, self.diffusion_grey, self.proliferation)
        return np.array([*rates, *self.seed, self.onset, self.seed_radius], dtype=float)

    def start(self, tumour: Tumour, space: CellSpace) -> Vector | None:
        """Return the change of the density at onset at the owned vertices, (n,); None where it does not change."""
        if tumour.initial is not None:
            return self.initial
        moved = np.array([*self.seed, self.seed_radius], dtype=float)
        if not moved.any():
            return None
        return np.asarray(tumour.start_slopes(space) @ moved)
