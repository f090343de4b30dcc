"""Fields from noisy data beyond the heat equation: initial states, a conductivity in space, a control in depth.

The data are exact solutions (A1, B3, a rod at rest, the cycloid) on the cells of the inversion, with seeded noise.
Conjugate gradients stop by the discrepancy principle. The yardstick of each is the best truncated singular-value
expansion of the problem linearised at the truth, in the inner product of the search: of the same noise, it keeps as
many modes as serve, which needs the truth to know.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from oncology.nodes.depth import DepthGrid, depth_space
from oncology.nodes.scheme import MIDPOINT
from oncology.optimise import Blocks, Result, Space, Stop, minimise
from oncology.reproduce.science_direct import column
from oncology.science.equation_problem import EquationEvaluation, EquationProblem, unflatten
from oncology.science.equations import advection, conservation, heat
from oncology.science.exponential import ETDRK2
from oncology.science.grid import interval
from oncology.science.node import ScienceNODE
from oncology.science.observe import Everywhere, Measurement, noisy
from oncology.science.runge_kutta import BACKWARD_EULER, explicit
from oncology.science.unknowns import INITIAL, Unknown, in_depth, in_space
from oncology.science.variational import brachistochrone as fall

__all__ = ["FIELDS", "TAU", "RecoveredField", "SoughtField", "recover", "search"]

TAU = 1.1
"""Safety factor of the discrepancy principle."""


@dataclass(frozen=True)
class SoughtField:
    """A field to find.

    Attributes:
        id: number in the catalogue.
        title: equation and what is sought.
        model: equation, depth and stepper.
        unknown: the field, with its first guess and inner product.
        truth: its value, in the shape of the first guess.
        weights: of the squares in the L2 norm of its coordinates, as many as it has values.
        known: everything else.
        exact: time -> exact solution, (1, n).
        times: times of the data.
    """

    id: str
    title: str
    model: ScienceNODE
    unknown: Unknown
    truth: Tensor
    weights: Tensor
    known: dict[str, Tensor]
    exact: Callable[[float], Tensor]
    times: tuple[float, ...]

    def problem(self, level: float, seed: int) -> EquationProblem:
        """The problem, with noise of a relative norm."""
        generator = torch.Generator().manual_seed(seed)
        weights = self.model.equation.weights
        data = tuple(
            Measurement(self.model.at(time), Everywhere(), noisy(self.exact(time), level, generator), weights)
            for time in self.times
        )
        return EquationProblem(self.model, (self.unknown,), self.known, data)


@dataclass(frozen=True, eq=False)
class RecoveredField:
    """A reconstruction at one noise level.

    Attributes:
        field: what is sought.
        level: relative norm of the noise.
        error: L2 error of the coordinates over that of the first guess: 0 is the truth, 1 no better than the guess.
        best: the same of the best truncated expansion.
        singular: singular values of the sensitivity at the truth, descending.
        noise: norm of noise and discretisation error.
        result: the iteration.
    """

    field: SoughtField
    level: float
    error: float
    best: float
    singular: np.ndarray
    noise: float
    result: Result[Blocks]

    @property
    def above(self) -> int:
        """Number of directions in which the true change of the field moves the data by more than the noise."""
        size = float(torch.linalg.vector_norm(self.field.weights.sqrt() * self.truth.reshape(-1)))
        return int((self.singular * size > self.noise).sum())

    @property
    def truth(self) -> Tensor:
        """Coordinates of the true field."""
        return self.field.unknown.coordinates(self.field.truth)


def search(problem: EquationProblem, noise: float) -> Result[Blocks]:
    """Conjugate gradients that stop by the discrepancy principle.

    Args:
        problem: the problem.
        noise: norm of noise and discretisation error, in that of the weighted residuals.
    """
    stop = Stop(noise_level=noise, tau=TAU, max_iterations=500)
    return minimise(problem, problem.start, problem.space, stop=stop)


def recover(field: SoughtField, level: float, seed: int = 0) -> RecoveredField:
    """Find the field.

    Args:
        field: what is sought.
        level: relative norm of the noise.
        seed: of the noise.
    """
    problem = field.problem(level, seed)
    truth = field.unknown.coordinates(field.truth)
    there = problem.evaluate(Blocks((truth,)))
    result = search(problem, there.residual)
    roots = field.weights.sqrt().numpy()
    size = float(np.linalg.norm(roots * truth.reshape(-1).numpy()))
    wrong = float(np.linalg.norm(roots * (result.x.parts[0] - truth).reshape(-1).numpy()))
    singular, errors = _truncations(there, truth.reshape(-1).numpy())
    best = float(np.linalg.norm(roots[:, None] * errors, axis=0).min())
    return RecoveredField(field, level, wrong / size, best / size, singular, there.residual, result)


def _truncations(there: EquationEvaluation, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Singular values at the truth, and errors of the truncated expansions, a column for each number of modes kept.

    The modes are orthonormal in the inner product of the search. Those kept carry the noise over their singular
    value, the others are missing from the truth.
    """
    problem = there.problem
    pairs = zip(problem.data, there.residuals, strict=True)
    misfit = np.concatenate([(entry.weights**0.5 * r).reshape(-1).numpy() for entry, r in pairs])
    upright = np.linalg.inv(np.linalg.cholesky(_gram(problem.space, problem.start))).T
    left, singular, right = np.linalg.svd(there.jacobian() @ upright, full_matrices=False)
    modes, count = upright @ right.T, len(singular)
    kept = np.triu(np.ones((count, count + 1)), 1)
    noise, missing = (left.T @ misfit) / singular, right @ np.linalg.solve(upright, truth)
    return singular, modes @ (kept * noise[:, None] + (1.0 - kept) * missing[:, None])


def _gram(space: Space[Blocks], like: Blocks) -> np.ndarray:
    """Matrix of an inner product in the components of the coordinates."""
    count = sum(part.numel() for part in like.parts)
    units = [unflatten(row, like) for row in np.eye(count)]
    return np.array([[space.inner(a, b) for b in units] for a in units])


def _carried_start() -> SoughtField:
    """Two kernels in a wind, from where they are at the end."""
    grid, wind = interval(-6.0, 6.0, 60, "periodic"), column(1.2)
    equation = advection.Advection(grid, advection.winds(grid))

    def exact(time: float) -> Tensor:
        kernels = (
            share * advection.carried_kernel(grid.points - place, time, wind, 0.1, 0.2, 2.0)
            for share, place in ((1.0, -2.0), (0.6, 0.5))
        )
        return torch.stack(list(kernels)).sum(0)

    known = {"velocity": wind, "diffusion": column(0.1), "decay": column(0.2)}
    model = ScienceNODE(equation, DepthGrid(1.5, 15), ETDRK2)
    unknown = in_space(INITIAL, torch.zeros(1, grid.size, dtype=torch.float64), grid.weights)
    return SoughtField("A1", "initial state in a wind", model, unknown, exact(0.0), grid.weights, known, exact, (1.5,))


def _burgers_start() -> SoughtField:
    """The sine from which a steep front has grown."""
    grid = interval(0.0, 1.0, 40, "fixed")
    x = grid.points[:, 0]
    equation = conservation.ConservationLaw(grid, conservation.central(conservation.burgers))
    model = ScienceNODE(equation, DepthGrid(0.4, 20), ETDRK2)
    unknown = in_space(INITIAL, torch.zeros(1, grid.size, dtype=torch.float64), grid.weights)
    return SoughtField(
        "B3",
        "initial state of Burgers",
        model,
        unknown,
        torch.sin(math.pi * x)[None],
        grid.weights,
        {"viscosity": column(0.05)},
        lambda time: conservation.sine_start(x, time, 0.05),
        (0.4,),
    )


def _conductivity() -> SoughtField:
    """Of a rod at rest whose flux turns inside; ln kappa in H1."""
    wall = float(heat.rippled_rod(column(1.0), 0.5, 0.4)[0])
    grid = interval(0.0, 1.0, 60, "fixed", (0.0, wall))
    equation = heat.LayeredHeat(grid)
    faces = DepthGrid(1.0, 60, "linear")
    exact, _ = heat.rippled_rod(grid.points[:, 0], 0.5, 0.4)
    _, truth = heat.rippled_rod(equation.faces, 0.5, 0.4)
    unknown = Unknown("conductivity", torch.ones_like(truth), depth_space(faces, 0.2), logarithmic=True)
    known = {"source": torch.ones(grid.size, dtype=torch.float64), INITIAL: exact}
    model = ScienceNODE(equation, DepthGrid(1e6, 1), BACKWARD_EULER)
    return SoughtField(
        "H3",
        "ln conductivity of a rod",
        model,
        unknown,
        truth,
        faces.mass().sum(1),
        known,
        lambda time: exact,
        (1e6,),
    )


def _path() -> SoughtField:
    """The angle of the path of fastest descent in time, from the bead's positions; in H1."""
    angle = fall.cycloid_angle(1.0, 1.2)
    radius, cells = 1.2 / (1.0 - math.cos(angle)), 30
    depth = DepthGrid(angle * math.sqrt(radius / 9.81), cells)
    truth = (0.5 * math.pi - 0.5 * angle * depth.times / depth.length)[:, None]
    unknown = in_depth("angle", torch.full_like(truth, math.atan2(1.2, 1.0)), depth, 0.2 * depth.length)
    known = {"gravity": column(9.81), INITIAL: fall.cycloid(0.0, radius)}
    weights = torch.full((cells,), depth.step, dtype=torch.float64)
    return SoughtField(
        "V1",
        "angle of the brachistochrone",
        ScienceNODE(fall.Slide(), depth, explicit(MIDPOINT)),
        unknown,
        truth,
        weights,
        known,
        lambda time: fall.cycloid(angle * time / depth.length, radius),
        tuple(depth.step * (i + 1) for i in range(cells)),
    )


FIELDS = (_carried_start(), _burgers_start(), _conductivity(), _path())
