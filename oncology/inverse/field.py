"""The initial density as an unknown field, alone or with the rates: cost, derivative and curvature (B4.3 to B4.6).

`J = 1/2 ||r||^2 + alpha/2 (phi, A phi) + s/2 |q|^2` with the data residual r as an integral over the brain, an L2 or
H1 penalty of the density phi and the standardised logarithms q of the rates; J is the negative log-posterior times
the noise s. The problem is exponentially ill-posed (B2.6): iterate until `||r|| <= tau delta`, not to the minimum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oncology.errors import ConfigError, NumericalError
from oncology.inverse.misfit import MaskObservation
from oncology.model.cells import CellSpace
from oncology.optimise import Blocks, Space, Tangent, product, weighted_l2

__all__ = [
    "RATES",
    "CellDensity",
    "FieldData",
    "FieldEvaluation",
    "FieldForward",
    "FieldProblem",
    "FieldSolution",
    "LogPrior",
    "Penalty",
    "RegionFraction",
    "Seen",
    "Unknowns",
    "VertexDensity",
    "joint_space",
    "scalar_weights",
]

Vector = NDArray[np.float64]

# Order of every vector of rates, in mm^2/day, mm^2/day, 1/day.
RATES = ("diffusion_white", "diffusion_grey", "proliferation")

# Largest change of the logarithm of a rate: further away a fixed time grid is meaningless.
_FURTHEST = 5.0


class FieldSolution(Protocol):
    """A forward run from an initial density, and its linearisation."""

    @property
    def densities(self) -> tuple[Vector, ...]:
        """Density at the vertices of each cell (m, d + 1), one array an observation day."""

    def tangent(self, initial: Vector, rates: Vector) -> tuple[Vector, ...]:
        """Return the derivative of `densities` along a direction of the initial density (n,) and of `RATES` (3,)."""

    def adjoint(self, duals: tuple[Vector, ...]) -> tuple[Vector, Vector]:
        """Return the derivatives of `sum <duals, densities>` by this rank's initial density (n,) and `RATES` (3,)."""


class FieldForward(Protocol):
    """Initial density and rates to densities at the observation days."""

    @property
    def space(self) -> CellSpace:
        """The cells on which densities are given."""

    def solve(self, initial: Vector, rates: Vector) -> FieldSolution:
        """Return the run from an initial density (n,) with `RATES` (3,)."""


@dataclass(frozen=True)
class Seen:
    """A residual and its linearisation, k numbers a cell, each of which stands for a k-th of the cell's volume.

    Attributes:
        residual: (m, k) model minus data, dimensionless.
        slopes: (m, k, d + 1) derivative by the densities at the cell vertices.
    """

    residual: Vector
    slopes: Vector


class FieldData(Protocol):
    """Data of one observation day, on the cells of this rank."""

    @property
    def index(self) -> int:
        """Number of the observation day, from 0."""

    def compare(self, densities: Vector) -> Seen:
        """Return model minus data for densities at the cell vertices (m, d + 1)."""


@dataclass(frozen=True)
class CellDensity:
    """Mean density of each cell on one day (D1, D2 of B4.3).

    Attributes:
        index: number of the observation day.
        values: (m,) density, fraction of the carrying capacity.
    """

    index: int
    values: Vector

    def compare(self, densities: Vector) -> Seen:
        """Return the difference of the cell means."""
        corners = densities.shape[1]
        slopes = np.broadcast_to(1.0 / corners, (len(densities), 1, corners))
        return Seen((densities.mean(axis=1) - self.values)[:, None], slopes)


@dataclass(frozen=True)
class VertexDensity:
    """Density at the vertices on one day; the misfit is the integral by lumped mass.

    Attributes:
        index: number of the observation day.
        values: (m, d + 1) density at the vertices of each cell, fraction of the carrying capacity.
    """

    index: int
    values: Vector

    def compare(self, densities: Vector) -> Seen:
        """Return the differences at the cell vertices."""
        corners = densities.shape[1]
        return Seen(densities - self.values, np.broadcast_to(np.eye(corners), (len(densities), corners, corners)))


@dataclass(frozen=True)
class RegionFraction:
    """A segmented region on one day (D3 of B4.3).

    Attributes:
        mask: cell fractions of the region with its rim threshold and day.
        sharpness: of the sigmoid that stands for the volume fraction; None: the exact fraction (tetrahedra only).
    """

    mask: MaskObservation
    sharpness: float | None = None

    @property
    def index(self) -> int:
        """Number of the observation day."""
        return self.mask.index

    def compare(self, densities: Vector) -> Seen:
        """Return the difference of the cell fractions.

        Raises:
            ConfigError: where the exact fraction is asked for on cells that are not tetrahedra.
        """
        if self.sharpness is None and densities.shape[1] != 4:
            raise ConfigError(
                f"exact volume fractions need tetrahedra, not cells of {densities.shape[1]} vertices: give a sharpness"
            )
        fractions, slopes = self.mask.predict(densities, self.mask.level, self.sharpness)
        return Seen((fractions - self.mask.fractions)[:, None], slopes[:, None, :])


@dataclass(frozen=True)
class LogPrior:
    """Log-normal prior of one rate, which makes it an unknown.

    Attributes:
        name: one of `RATES`.
        median: prior median and start value, in the rate's unit.
        sd_log: standard deviation of the logarithm.
    """

    name: str
    median: float
    sd_log: float

    def __post_init__(self) -> None:
        if self.name not in RATES:
            raise ConfigError(
                f"prior of {self.name!r}: only the rates {', '.join(RATES)} can be unknown with the field"
            )
        if not (0.0 < self.median < math.inf and 0.0 < self.sd_log < math.inf):
            raise ConfigError(
                f"prior of {self.name}: median {self.median:g} and log-deviation {self.sd_log:g} must be > 0"
            )


@dataclass(frozen=True)
class Unknowns:
    """Meaning of the flat vector `x = (phi, q)`: owned initial density, then standardised log-rates.

    Every rank holds the same log-rates. A flat vector instead of `Blocks`, because bounds act on components.

    Attributes:
        rates: (3,) rates as far as they are known.
        priors: rates that are unknown, `ln p = ln median + sd_log q`.
    """

    rates: Vector
    priors: tuple[LogPrior, ...] = ()

    @property
    def scalars(self) -> int:
        """Number k of unknown rates."""
        return len(self.priors)

    def join(self, initial: Vector, standard: Vector | None = None) -> Vector:
        """Return x from a density (n,) and standardised log-rates (k,), which are 0 by default."""
        return np.concatenate([initial, np.zeros(self.scalars) if standard is None else standard])

    def split(self, x: Vector) -> tuple[Vector, Vector]:
        """Return density (n,) and standardised log-rates (k,)."""
        owned = len(x) - self.scalars
        return x[:owned], x[owned:]

    def physical(self, standard: Vector) -> Vector:
        """Return all `RATES`, (3,).

        Raises:
            NumericalError: on every rank, if a rate leaves its median by more than a factor of e^5.
        """
        rates = np.array(self.rates, dtype=float)
        for prior, value in zip(self.priors, standard, strict=True):
            if not abs(prior.sd_log * value) <= _FURTHEST:
                raise NumericalError(
                    f"{prior.name} went to {prior.sd_log * value:+.3g} from the logarithm of its median"
                )
            rates[RATES.index(prior.name)] = prior.median * math.exp(prior.sd_log * value)
        return rates

    def jacobian(self, standard: Vector) -> Vector:
        """Return the derivative of `physical`, (3, k)."""
        slopes = np.zeros((len(RATES), self.scalars))
        rates = self.physical(standard)
        for column, prior in enumerate(self.priors):
            row = RATES.index(prior.name)
            slopes[row, column] = prior.sd_log * rates[row]
        return slopes


@dataclass(frozen=True)
class Penalty:
    """Tikhonov term `alpha/2 (phi, A phi)`; A is M for L2 and `M + l^2 K` for H1.

    Attributes:
        weight: alpha, dimensionless.
        operator: phi -> A phi as a dual vector.
    """

    weight: float
    operator: Callable[[Vector], Vector]


@dataclass(frozen=True)
class FieldProblem:
    """Reconstruction of an initial density (`oncology.optimise.Problem` of flat vectors).

    Attributes:
        forward: forward map.
        data: observations.
        unknowns: meaning of x.
        penalty: Tikhonov term, or None.
        noise: s, variance of a residual times its correlation volume, mm^d: weighs the priors against the data.
    """

    forward: FieldForward
    data: tuple[FieldData, ...]
    unknowns: Unknowns
    penalty: Penalty | None = None
    noise: float = 1.0

    def evaluate(self, x: Vector, /) -> FieldEvaluation:
        """Run the model from x.

        Raises:
            NumericalError: if the forward solve fails.
        """
        initial, standard = self.unknowns.split(x)
        solution = self.forward.solve(initial, self.unknowns.physical(standard))
        seen = tuple(item.compare(solution.densities[item.index]) for item in self.data)
        squared = sum(float((self.weights(s.residual) * s.residual**2).sum()) for s in seen)
        penalised = self.penalised(initial)
        squared, rough = self.forward.space.total(np.array([squared, float(penalised @ initial)]))
        value = 0.5 * float(squared + rough) + 0.5 * self.noise * float(standard @ standard)
        return FieldEvaluation(self, x, value, math.sqrt(squared), solution, seen)

    def weights(self, residual: Vector) -> Vector:
        """Return the volume that each number of a residual (m, k) stands for, (m, 1), mm^d."""
        return np.asarray(self.forward.space.volumes[:, None] / residual.shape[1])

    def penalised(self, initial: Vector) -> Vector:
        """Return the derivative of the Tikhonov term, (n,)."""
        if self.penalty is None:
            return np.zeros_like(initial)
        return self.penalty.weight * self.penalty.operator(initial)


@dataclass(frozen=True)
class FieldEvaluation:
    """The problem at one x (`oncology.optimise.Evaluation`).

    Attributes:
        problem: what was evaluated.
        x: where.
        value: J, mm^d.
        residual: ||r||, mm^(d/2), the unit of the noise level.
        solution: forward run.
        seen: residuals of the data.
    """

    problem: FieldProblem
    x: Vector
    value: float
    residual: float
    solution: FieldSolution = field(repr=False)
    seen: tuple[Seen, ...] = field(repr=False)

    def derivative(self) -> Vector:
        """Return the derivative of J as a dual vector: one adjoint run."""
        initial, standard = self.problem.unknowns.split(self.x)
        by_field, by_scalars = self._pull_back(tuple(s.residual for s in self.seen))
        return np.concatenate([by_field + self.problem.penalised(initial), by_scalars + self.problem.noise * standard])

    def tangent(self, direction: Vector) -> Tangent:
        """Return the Gauss-Newton curvature of J along a direction: one tangent run (B1.6)."""
        problem = self.problem
        initial, standard = problem.unknowns.split(direction)
        changes = self._push_forward(direction)
        squared = sum(float((problem.weights(change) * change**2).sum()) for change in changes)
        squared, rough = problem.forward.space.total(np.array([squared, float(problem.penalised(initial) @ initial)]))
        return Tangent(float(squared + rough) + problem.noise * float(standard @ standard))

    def normal(self, direction: Vector) -> Vector:
        """Return `F'* F'` of a direction as a dual vector, without penalty and prior: a tangent and an adjoint run."""
        return np.concatenate(self._pull_back(self._push_forward(direction)))

    def _push_forward(self, direction: Vector) -> tuple[Vector, ...]:
        """Return the change of every residual, (m, k) each, along a direction of x."""
        unknowns = self.problem.unknowns
        initial, standard = unknowns.split(direction)
        changes = self.solution.tangent(initial, unknowns.jacobian(unknowns.split(self.x)[1]) @ standard)
        return tuple(
            np.einsum("mkv,mv->mk", s.slopes, changes[item.index])
            for item, s in zip(self.problem.data, self.seen, strict=True)
        )

    def _pull_back(self, residuals: tuple[Vector, ...]) -> tuple[Vector, Vector]:
        """Return the derivatives of `sum int residuals . seen` by field (n,) and standardised log-rates (k,)."""
        duals = [np.zeros_like(density) for density in self.solution.densities]
        for item, s, residual in zip(self.problem.data, self.seen, residuals, strict=True):
            duals[item.index] += np.einsum("mk,mkv->mv", self.problem.weights(residual) * residual, s.slopes)
        by_field, by_rates = self.solution.adjoint(tuple(duals))
        unknowns = self.problem.unknowns
        return by_field, unknowns.jacobian(unknowns.split(self.x)[1]).T @ by_rates


def scalar_weights(problem: FieldProblem, growth: float) -> Vector:
    """Return the weights of the log-rates in `joint_space`, (k,), mm^d: both are then equally stiff (pitfall D.12).

    The curvature of J by a log-rate is about `||data||^2` (the data scale with the density), that by the field at most
    the square of its growth.

    Args:
        problem: data, priors and noise.
        growth: exp(rho T), the growth of a small density up to the last observation.
    """
    total = problem.forward.space.total
    nothing = np.zeros(problem.forward.space.cells.shape)
    residuals = [item.compare(nothing).residual for item in problem.data]
    squared = total(np.array([sum(float((problem.weights(r) * r**2).sum()) for r in residuals)]))[0]
    deviations = np.array([prior.sd_log for prior in problem.unknowns.priors])
    return np.asarray((deviations**2 * squared + problem.noise) / growth**2)


def joint_space(fields: Space[Vector], unknowns: Unknowns, weights: Vector) -> Space[Vector]:
    """Inner product of flat vectors: that of the fields plus the log-rates' with weights (k,), mm^d."""
    if unknowns.scalars == 0:
        return fields
    both = product(fields, weighted_l2(weights))

    def blocks(x: Vector) -> Blocks:
        return Blocks(unknowns.split(x))

    return Space(
        inner=lambda a, b: both.inner(blocks(a), blocks(b)),
        dual=lambda f, d: both.dual(blocks(f), blocks(d)),
        riesz=lambda f: np.concatenate(both.riesz(blocks(f)).parts),
    )
