"""Equations with some coefficients known and some sought: by name (`heat(grid, conductivity="k")`), or a function.

A coefficient that is given as a word is an unknown of that name; numbers and fields are known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.science.equation import Coefficient, Coefficients, Equation
from oncology.science.equations.advection import Advection, winds
from oncology.science.equations.conservation import ConservationLaw, central
from oncology.science.equations.conservation import burgers as burgers_flux
from oncology.science.equations.heat import Heat
from oncology.science.equations.reaction_diffusion import Law, PowerLaw, ReactionDiffusion
from oncology.science.grid import Grid
from oncology.science.grid_equation import DifferentiatedEquation

__all__ = [
    "FunctionEquation",
    "PosedEquation",
    "RightHandSide",
    "advection",
    "burgers",
    "heat",
    "pose",
    "reaction_diffusion",
]

type Given = str | float | Tensor
"""Name of an unknown, or the value of a coefficient."""

type RightHandSide = Callable[[Tensor, Mapping[str, Tensor]], Tensor]
"""(states (K, n), unknowns by name) -> their rates (K, n), differentiable by torch."""


@dataclass(frozen=True, eq=False)
class PosedEquation:
    """An equation of which some coefficients are known.

    Attributes:
        equation: right-hand side.
        known: values by coefficient, (size,) each.
        unknowns: name of each unknown, by coefficient.
    """

    equation: Equation
    known: dict[str, Tensor]
    unknowns: dict[str, str]

    def coefficient(self, unknown: str) -> Coefficient:
        """Coefficient that an unknown stands for."""
        return next(c for c in self.equation.coefficients if self.unknowns.get(c.name) == unknown)


def pose(equation: Equation, **given: Given) -> PosedEquation:
    """An equation with its coefficients, known or sought.

    Args:
        equation: any equation of `oncology.science`.
        **given: for every coefficient its value, a number or (size,), or the name of an unknown.

    Raises:
        ConfigError: a coefficient is missing, unknown or of another size, or two unknowns share a name.
    """
    names = [coefficient.name for coefficient in equation.coefficients]
    if sorted(given) != sorted(names):
        raise ConfigError(f"coefficients {sorted(given)} of {equation.name}; it has {names}")
    known: dict[str, Tensor] = {}
    unknowns: dict[str, str] = {}
    for coefficient in equation.coefficients:
        value = given[coefficient.name]
        if isinstance(value, str):
            if value in unknowns.values():
                raise ConfigError(f"two unknowns are named {value!r}; take another name for {coefficient.name}")
            unknowns[coefficient.name] = value
            continue
        field = torch.as_tensor(value, dtype=torch.float64).reshape(-1)
        if len(field) not in (1, coefficient.size):
            raise ConfigError(f"{len(field)} values of {coefficient.name}; need 1 or {coefficient.size}")
        known[coefficient.name] = field.expand(coefficient.size).clone()
    return PosedEquation(equation, known, unknowns)


def heat(grid: Grid, conductivity: Given = "conductivity", source: Given = 0.0) -> PosedEquation:
    """Heat equation `u_t = kappa Laplacian u + s`.

    Args:
        grid: cells, with their walls; mm.
        conductivity: kappa, mm^2/day, or the name of the unknown.
        source: s, 1/day, a number or (n,).
    """
    return pose(Heat(grid), conductivity=conductivity, source=source)


def reaction_diffusion(
    grid: Grid, diffusion: Given = "diffusion", proliferation: Given = "proliferation", law: Law | None = None
) -> PosedEquation:
    """Growth and spread of a tumour, `u_t = D Laplacian u + rho f(u)`.

    Args:
        grid: cells, with their walls; mm.
        diffusion: D, mm^2/day, or the name of the unknown.
        proliferation: rho, 1/day, or the name of the unknown.
        law: f, one of `oncology.science.equations.reaction_diffusion`; logistic if not given.
    """
    return pose(ReactionDiffusion(grid, law or PowerLaw()), diffusion=diffusion, proliferation=proliferation)


def advection(
    grid: Grid,
    velocity: Given = "velocity",
    diffusion: Given = "diffusion",
    decay: Given = 0.0,
    fields: Tensor | None = None,
) -> PosedEquation:
    """Advection, diffusion and decay, `u_t + v . grad u = D Laplacian u - r u`.

    Args:
        grid: cells, with their walls; mm.
        velocity: amplitudes of the fields, mm/day, or the name of the unknown where there is one field.
        diffusion: D, mm^2/day, or the name of the unknown.
        decay: r, 1/day, or the name of the unknown.
        fields: divergence-free fields of unit amplitude, (m, d, n); those along the axes if not given.
    """
    equation = Advection(grid, winds(grid) if fields is None else fields)
    return pose(equation, velocity=velocity, diffusion=diffusion, decay=decay)


def burgers(grid: Grid, viscosity: Given = "viscosity") -> PosedEquation:
    """Viscous Burgers equation `u_t + (u^2 / 2)_x = nu u_xx` on an interval that resolves its fronts.

    Args:
        grid: cells of the interval.
        viscosity: nu, or the name of the unknown.
    """
    return pose(ConservationLaw(grid, central(burgers_flux)), viscosity=viscosity)


@dataclass(frozen=True, eq=False)
class FunctionEquation(DifferentiatedEquation):
    """A right-hand side that is any torch function of state and unknowns; its Jacobian is taken as dense.

    Attributes:
        function: (states (K, n), unknowns by name) -> rates (K, n).
        size: n.
        coefficients: the unknowns.
    """

    function: RightHandSide
    size: int
    coefficients: tuple[Coefficient, ...]
    name: str = "function"
    pattern: None = None

    @property
    def weights(self) -> Tensor:
        """1 for every component."""
        return torch.ones(self.size, dtype=torch.float64)

    def value(self, u: Tensor, q: Coefficients) -> Tensor:
        """Rates, (K, n)."""
        return self.function(u, {c.name: part for c, part in zip(self.coefficients, q, strict=True)})
