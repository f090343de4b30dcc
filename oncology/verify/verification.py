"""Measures the discrete model against truth that it does not know: exact solutions, conservation, a radial reference.

Everything returns numbers; what they should be is written in `oncology.verify.checks` and in the tests. The exact
solutions are in `oncology.verify.exact`, the meshes with flat faces in `oncology.fem.boxes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from oncology.fem.diffusion import DiffusionScheme, Sdirk2
from oncology.fem.discretisation import Discretisation, discretise
from oncology.fem.projection import project
from oncology.fem.rates import Rates
from oncology.fem.tumour_model import Run, TumourModel
from oncology.model.fractions import volume_fraction
from oncology.model.growth import Gompertz, GrowthLaw, Logistic
from oncology.model.timegrid import Interval, TimeGrid, plan_time_grid, step_limit
from oncology.verify.exact import gompertz_gaussian, logistic_wave

__all__ = [
    "SPHERE_RATES",
    "SPHERE_REFERENCE",
    "Convergence",
    "MassBalance",
    "Problem",
    "Sphere",
    "convergence",
    "equal_steps",
    "gaussian_problem",
    "grow_sphere",
    "homogeneous",
    "level_radius",
    "mass_balance",
    "relative_error",
    "solve",
    "sphere_density",
    "wave_problem",
]


_DEFAULT_SCHEME: DiffusionScheme = Sdirk2()


@dataclass(frozen=True)
class Problem:
    """An equation in homogeneous tissue with a known solution.

    Attributes:
        law: growth law f.
        rates: D (in `diffusion_white`; both tissues alike), mm^2/day, and rho, 1/day.
        duration: time from the initial to the final density, day.
        density: solution at points (n, d) in mm and a time in days.
    """

    law: GrowthLaw
    rates: Rates
    duration: float
    density: Callable[[np.ndarray, float], np.ndarray]


def wave_problem(diffusion: float = 0.13, proliferation: float = 0.012, duration: float = 300.0) -> Problem:
    """Return the logistic wave along the first axis; between -120 and 140 mm its ends are flat."""

    def density(points: np.ndarray, time: float) -> np.ndarray:
        return logistic_wave(points[:, 0], time, diffusion, proliferation)

    return Problem(Logistic(), Rates(diffusion, diffusion, proliferation), duration, density)


def gaussian_problem(diffusion: float = 0.2, proliferation: float = 0.05, duration: float = 10.0) -> Problem:
    """Return the Gompertz Gaussian in any dimension; 30 mm from the origin it is below 1e-8."""

    def density(points: np.ndarray, time: float) -> np.ndarray:
        return gompertz_gaussian(points, time, diffusion, proliferation, 30.0, -0.3)

    # the exact solution belongs to the pure law: below this floor it would differ by less than rounding
    return Problem(Gompertz(floor=1e-16), Rates(diffusion, diffusion, proliferation), duration, density)


def homogeneous(comm: Any, mesh: tuple[np.ndarray, np.ndarray], corrected_mass: bool = True) -> Discretisation:
    """Return the discretisation of a mesh (points, cells) that is white matter everywhere."""
    points, cells = mesh
    one = np.ones(len(cells))
    return discretise(comm, points, cells, one, 0.0 * one, corrected_mass=corrected_mass)


def equal_steps(duration: float, steps: int) -> TimeGrid:
    """Return a time grid of equal steps from day 0, observed at its end; `duration` in days."""
    return TimeGrid((Interval(0.0, duration, steps, observe=True),))


def solve(
    problem: Problem,
    discretisation: Discretisation,
    steps: int,
    scheme: DiffusionScheme = _DEFAULT_SCHEME,
    tolerance: float = 1e-11,
) -> np.ndarray:
    """Return the final density at the owned vertices, started from the exact one, in equal steps."""
    model = TumourModel(discretisation, problem.law, scheme, tolerance=tolerance)
    start = problem.density(discretisation.points[: discretisation.owned], 0.0)
    run = model.run(problem.rates, start, equal_steps(problem.duration, steps), keep=False)
    model.destroy()
    return run.observations[0]


def relative_error(discretisation: Discretisation, density: np.ndarray, exact: np.ndarray) -> float:
    """Return the L2 norm (lumped) of the difference over that of the exact density, both at the owned vertices."""
    mass = discretisation.lumped_mass
    squares = discretisation.total(np.array([mass @ (density - exact) ** 2, mass @ exact**2]))
    return math.sqrt(squares[0] / squares[1])


@dataclass(frozen=True)
class Convergence:
    """Errors under refinement; `sizes` are mesh sizes or time steps in descending order."""

    sizes: tuple[float, ...]
    errors: tuple[float, ...]

    @property
    def slopes(self) -> tuple[float, ...]:
        """Observed order between neighbours, coarse to fine."""
        pairs = zip(pairwise(self.errors), pairwise(self.sizes), strict=True)
        return tuple(math.log(e / f) / math.log(h / k) for (e, f), (h, k) in pairs)

    @property
    def slope(self) -> float:
        """Smallest observed order."""
        return min(self.slopes)


def convergence(error: Callable[[int], float], counts: Sequence[int]) -> Convergence:
    """Return the errors for ascending numbers of cells an edge, or of steps; sizes are their inverses."""
    return Convergence(tuple(1.0 / count for count in counts), tuple(error(count) for count in counts))


@dataclass(frozen=True)
class MassBalance:
    """How the integral of the density changes in a run without treatment.

    Attributes:
        gain: final minus initial integral, mm^d.
        reaction: time integral of `rho int f(u) dx` by the trapezoidal rule over the steps, mm^d.
        leak: largest change of the integral by a diffusion step, relative to the integral.
    """

    gain: float
    reaction: float
    leak: float


def mass_balance(model: TumourModel, run: Run, final: np.ndarray) -> MassBalance:
    """Return the balance `d/dt int u = rho int f(u)` of a run that kept its steps, and what diffusion leaks.

    Args:
        model: the model that was run, without treatment in the grid.
        run: the run.
        final: density after its last step, at the owned vertices.
    """
    discretisation, law, rho = model.discretisation, model.law, run.rates.proliferation

    def integrals(densities: Iterable[np.ndarray]) -> np.ndarray:
        return discretisation.total(np.array([discretisation.lumped_mass @ u for u in densities]))

    pairs = run.steps
    lengths = np.array([step.tau for step, _ in pairs])
    densities = [record.start for _, record in pairs] + [final]
    total = integrals(densities)
    rates = rho * integrals(law.rate(u) for u in densities)
    grown = integrals(law.flow(record.start, step.exposure) for step, record in pairs)
    diffused = integrals(record.stages[-1] for _, record in pairs)
    return MassBalance(
        gain=float(total[-1] - total[0]),
        reaction=float(lengths @ (rates[:-1] + rates[1:]) / 2.0),
        leak=float(np.abs(diffused / grown - 1.0).max()),
    )


@dataclass(frozen=True)
class Sphere:
    """A tumour in homogeneous tissue after 60 days.

    Attributes:
        initial_mass: integral of the density at the start, mm^3.
        mass: the same at the end, mm^3.
        radius_half: radius of the ball with the volume where the density exceeds 0.5, mm.
        radius_tenth: the same for 0.1, mm.
        lowest: smallest density of the run.
        highest: largest density of the run.
        notes: what the time grid changed against what was asked.
    """

    initial_mass: float
    mass: float
    radius_half: float
    radius_tenth: float
    lowest: float
    highest: float
    notes: tuple[str, ...] = ()


# Radial finite volumes with cells of 0.01 mm and steps of 0.02 day; tests/fem solves it again.
SPHERE_REFERENCE = Sphere(160.506, 17881.9, 13.512, 22.266, 0.0, 1.0)
SPHERE_RATES = Rates(0.5, 0.5, 0.10)
_SPHERE_DAYS = 60.0
_SPHERE_WIDTH = math.sqrt(10.0)


def sphere_density(points: np.ndarray) -> np.ndarray:
    """Return the initial density `min(1, 250 (20 pi)^-1.5 exp(-r^2 / 20))`, cut to 0 below 0.1, at points in mm."""
    squared = (points**2).sum(axis=1)
    density = np.minimum(1.0, 250.0 * (20.0 * math.pi) ** -1.5 * np.exp(-squared / 20.0))
    return np.where(density < 0.1, 0.0, density)


def grow_sphere(discretisation: Discretisation, asked_step: float | None = None, images: int = 1) -> Sphere:
    """Grow the sphere of D = 0.5 mm^2/day and rho = 0.10 /day for 60 days.

    Args:
        discretisation: homogeneous 3-D mesh around the origin, at least 34 mm to each side.
        asked_step: time step, day; None: the longest accurate one.
        images: how many mirror images of the mesh make the whole: 8 for the octant of positive coordinates.
    """
    longest = step_limit(SPHERE_RATES.proliferation, SPHERE_RATES.diffusion_white, _SPHERE_WIDTH)
    grid = plan_time_grid(0.0, [_SPHERE_DAYS], (), longest, asked_step)
    start = project(discretisation, sphere_density)
    model = TumourModel(discretisation)
    run = model.run(SPHERE_RATES, start, grid, keep=False)
    model.destroy()
    end = run.observations[0]
    return Sphere(
        initial_mass=images * discretisation.integrate(start),
        mass=images * discretisation.integrate(end),
        radius_half=level_radius(discretisation, end, 0.5, images),
        radius_tenth=level_radius(discretisation, end, 0.1, images),
        lowest=run.lowest,
        highest=run.highest,
        notes=grid.notes,
    )


def level_radius(discretisation: Discretisation, density: np.ndarray, level: float, images: int = 1) -> float:
    """Return the radius of the ball with the volume where a 3-D density (and its images) exceeds the level, mm."""
    fractions, _ = volume_fraction(discretisation.to_cells(density), level)
    volume = images * float(discretisation.total(np.array([discretisation.volumes @ fractions]))[0])
    return math.cbrt(3.0 * volume / (4.0 * math.pi))
