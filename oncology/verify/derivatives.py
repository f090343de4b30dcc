"""Taylor and dot tests of the model's tangent and adjoint for `J = sum_i |u(t_i)|^2 / 2` (lumped L2 norm).

`J` depends on every input: rates, seed and its radius, onset, initial density, with whatever treatment the time grid
holds. A right gradient leaves remainders of order 1, 2 and 3 without derivatives, with the slope, and with slope and
curvature; the third needs a density above zero everywhere, since growth has a kink there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from oncology.fem.discretisation import Discretisation
from oncology.fem.rates import Rates
from oncology.fem.tumour_model import ModelDirection, Run, TumourModel
from oncology.model.timegrid import TimeGrid
from oncology.model.tumour import PARAMETERS
from oncology.optimise import DotResult, dot_test, taylor_test
from oncology.verify.seeded import SeededGrowth

__all__ = [
    "TaylorRates",
    "initial_dot",
    "initial_rates",
    "observed_energy",
    "parameter_dot",
    "parameter_gradient",
    "parameter_rates",
    "parameter_value",
    "vertex_noise",
]

_STEPS = tuple(0.5**k for k in range(1, 6))
_PRECISION = 1e-11  # of J, with diffusion solves to 1e-13
_STENCIL = ((-2, 1.0 / 12.0), (-1, -2.0 / 3.0), (1, 2.0 / 3.0), (2, -1.0 / 12.0))
_SPACING = 0.05


@dataclass(frozen=True)
class TaylorRates:
    """Observed rates of a Taylor test.

    Attributes:
        name: the input that was varied.
        rates: without derivatives, with the slope, with slope and curvature; 1, 2 and 3 where the gradient is right.
    """

    name: str
    rates: tuple[float, float, float]


def observed_energy(discretisation: Discretisation, run: Run) -> float:
    """Return J of a run, mm^d."""
    local = sum(discretisation.lumped_mass @ u**2 for u in run.observations)
    return 0.5 * float(discretisation.total(np.array([local]))[0])


def parameter_value(growth: SeededGrowth, parameters: np.ndarray) -> float:
    """Return J for a parameter vector in the order of `PARAMETERS` (with d seed coordinates)."""
    run = growth.solve(parameters, linearise=False).run
    space, mass = growth.engine.space, _lumped_mass(growth)
    return 0.5 * float(space.total(np.array([sum(float(mass @ u**2) for u in run.densities)]))[0])


def parameter_gradient(growth: SeededGrowth, parameters: np.ndarray) -> np.ndarray:
    """Return the derivative of J by the parameter vector, from the adjoint."""
    run, mass = growth.solve(parameters).run, _lumped_mass(growth)
    return growth.engine.adjoint(run, [mass * u for u in run.densities]).values


def _lumped_mass(growth: SeededGrowth) -> np.ndarray:
    """Return the lumped mass of the owned vertices, (n,), mm^d."""
    space = growth.engine.space
    corners = space.cells.shape[1]
    return space.from_cells(np.repeat(space.volumes[:, None] / corners, corners, axis=1))


def parameter_rates(growth: SeededGrowth, parameters: np.ndarray, scales: Sequence[float]) -> tuple[TaylorRates, ...]:
    """Return the Taylor rates for each parameter alone.

    Args:
        growth: forward map; its model must solve to 1e-13.
        parameters: point, in the order of `PARAMETERS`.
        scales: longest step in each parameter, in its own unit.
    """
    names = (*PARAMETERS[: len(parameters) - 2], *PARAMETERS[-2:])

    def value(p: np.ndarray) -> float:
        return parameter_value(growth, p)

    def slope(p: np.ndarray, direction: np.ndarray) -> float:
        return float(parameter_gradient(growth, p) @ direction)

    directions = np.diag(np.asarray(scales, dtype=float))
    return tuple(_rates(n, value, slope, parameters, d) for n, d in zip(names, directions, strict=True))


def initial_rates(
    model: TumourModel, rates: Rates, initial: np.ndarray, direction: np.ndarray, grid: TimeGrid
) -> TaylorRates:
    """Return the Taylor rates for the initial density along a direction (both at the owned vertices)."""
    discretisation = model.discretisation

    def value(start: np.ndarray) -> float:
        return observed_energy(discretisation, model.run(rates, start, grid, keep=False))

    def slope(start: np.ndarray, along: np.ndarray) -> float:
        run = model.run(rates, start, grid)
        derivative = model.adjoint(run, _energy_duals(discretisation, run))
        return _pairing(discretisation, derivative.initial, along)

    return _rates("initial density", value, slope, initial, direction)


def parameter_dot(growth: SeededGrowth, parameters: np.ndarray, seed: int = 0) -> DotResult:
    """Return the dot test of `SeededSolution` with a random direction and random duals at the cells' vertices.

    Args:
        growth: forward map.
        parameters: point, in the order of `PARAMETERS`.
        seed: of the random numbers, the same on any number of ranks.
    """
    solution, space = growth.solve(parameters), growth.engine.space
    densities = solution.densities
    shape = densities[0].shape
    noise = [space.to_cells(_point_noise(space.owned, seed + i)) for i in range(len(densities))]
    direction = np.random.default_rng(seed).uniform(0.5, 1.0, len(parameters)) * np.maximum(np.abs(parameters), 1.0)

    def tangent(d: np.ndarray) -> np.ndarray:
        return np.concatenate([du.ravel() for du in solution.tangent(d)])

    def adjoint(w: np.ndarray) -> np.ndarray:
        return solution.adjoint(tuple(w.reshape(-1, *shape)))

    def inner(a: np.ndarray, b: np.ndarray) -> float:
        return float(space.total(np.array([a @ b]))[0])

    duals = np.concatenate([values.ravel() for values in noise])
    return dot_test(tangent, adjoint, direction, duals, inner, lambda d, g: float(d @ g))


def _point_noise(points: np.ndarray, seed: int) -> np.ndarray:
    """Return rough numbers of order one at points (n, d), functions of position and seed alone."""
    waves = np.random.default_rng(seed).uniform(5.0, 50.0, size=points.shape[1:])
    return np.asarray(np.sin(points @ waves) + np.cos(points @ waves[::-1]))


def initial_dot(model: TumourModel, run: Run, seed: int = 0) -> DotResult:
    """Return the dot test of a run for a random direction of rates, length of the first interval and initial density.

    Args:
        model: the model that was run.
        run: the run, with its steps.
        seed: of the random numbers.
    """
    discretisation = model.discretisation
    start, *noise = (vertex_noise(discretisation, seed + i) for i in range(1 + len(run.observations)))
    scalars = np.random.default_rng(seed).uniform(0.01, 0.1, 4)

    def tangent(d: np.ndarray) -> np.ndarray:
        direction = ModelDirection(Rates(float(d[0]), float(d[1]), float(d[2])), d[4:], float(d[3]))
        return np.concatenate([day[0] for day in model.tangent(run, [direction])])

    def adjoint(w: np.ndarray) -> np.ndarray:
        derivative = model.adjoint(run, list(w.reshape(len(run.observations), -1)))
        rates = derivative.rates
        first = (rates.diffusion_white, rates.diffusion_grey, rates.proliferation, derivative.duration)
        return np.concatenate([first, derivative.initial])

    def inner(a: np.ndarray, b: np.ndarray) -> float:
        return _pairing(discretisation, a, b)

    def pairing(d: np.ndarray, g: np.ndarray) -> float:
        # the four scalars are the same on every rank
        return float(d[:4] @ g[:4]) + _pairing(discretisation, d[4:], g[4:])

    return dot_test(tangent, adjoint, np.concatenate([scalars, start]), np.concatenate(noise), inner, pairing)


def vertex_noise(discretisation: Discretisation, seed: int) -> np.ndarray:
    """Return standard normal numbers at the owned vertices, the same whatever the number of ranks."""
    return discretisation.scatter(np.random.default_rng(seed).standard_normal(discretisation.vertex_count))


def _energy_duals(discretisation: Discretisation, run: Run) -> list[np.ndarray]:
    return [discretisation.lumped_mass * u for u in run.observations]


def _pairing(discretisation: Discretisation, dual: np.ndarray, direction: np.ndarray) -> float:
    return float(discretisation.total(np.array([dual @ direction]))[0])


def _rates(
    name: str,
    value: Callable[[np.ndarray], float],
    slope: Callable[[np.ndarray, np.ndarray], float],
    x: np.ndarray,
    direction: np.ndarray,
) -> TaylorRates:
    """Return the three rates; the curvature is the slope's derivative by fourth-order differences."""
    first = slope(x, direction)
    second = sum(weight * slope(x + k * _SPACING * direction, direction) for k, weight in _STENCIL) / _SPACING
    known: dict[float, float] = {}

    def along(h: float) -> float:
        if h not in known:
            known[h] = value(x + h * direction)
        return known[h]

    one, two, three = (
        taylor_test(along, 0.0, 1.0, slope=s, curvature=c, steps=_STEPS, precision=_PRECISION).rate
        for s, c in ((None, None), (first, None), (first, second))
    )
    return TaylorRates(name, (one, two, three))
