"""What data can tell of the unknowns, before any fit: singular values of the sensitivity matrix.

The columns of S are the data's change by each unknown in units of its prior standard deviation. A singular value
near zero is a combination of unknowns that the data do not see; `words` names it. The posterior covariance of a fit
is `delta^2 / m (S' W S)^-1` for m data with noise of norm delta.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from oncology.optimise import Blocks, GaussNewtonResult, LevenbergMarquardt, gauss_newton
from oncology.science.equation_problem import EquationProblem, Scalars

__all__ = ["CoefficientEstimate", "Identifiability", "estimate", "identifiability"]

EXACTLY_ZERO = 1e-6
"""Singular values below this fraction of the largest one are zero in exact arithmetic."""


@dataclass(frozen=True, eq=False)
class Identifiability:
    """Singular values and directions of the sensitivity matrix.

    Attributes:
        names: of the unknowns' components.
        logarithmic: whether each one is a logarithm.
        scales: prior standard deviation of each one.
        singular: singular values, descending; of data over prior standard deviations.
        directions: right singular vectors, as columns.
        noise: standard deviation of the weighted data, 0 where they are exact.
    """

    names: tuple[str, ...]
    logarithmic: tuple[bool, ...]
    scales: np.ndarray
    singular: np.ndarray
    directions: np.ndarray
    noise: float

    @property
    def condition(self) -> float:
        """Largest over smallest singular value."""
        return float(self.singular[0] / self.singular[-1]) if self.singular[-1] > 0 else math.inf

    @property
    def rank(self) -> int:
        """Number of combinations that the data determine at all."""
        return int((self.singular > EXACTLY_ZERO * self.singular[0]).sum())

    @property
    def determined(self) -> int:
        """Number of combinations that the data determine better than their prior does."""
        return int((self.singular[: self.rank] > self.noise).sum())

    def unseen(self) -> list[np.ndarray]:
        """Directions that change no data, in units of value or logarithm; largest entry 1."""
        found = [self.scales * self.directions[:, i] for i in range(self.rank, len(self.names))]
        return [vector / vector[np.argmax(np.abs(vector))] for vector in found]

    def words(self) -> list[str]:
        """A sentence for each combination that the data do not determine, by size of its entries."""
        return [self._sentence(vector) for vector in self.unseen()]

    def _sentence(self, vector: np.ndarray) -> str:
        order = [i for i in np.argsort(-np.abs(vector), kind="stable") if abs(vector[i]) > 1e-3][:6]
        parts = [
            f"{self.names[i]} by the factor c^{vector[i]:.3g}"
            if self.logarithmic[i]
            else f"{self.names[i]} by {vector[i]:.3g} c"
            for i in order
        ]
        return f"the data do not see a change of {', '.join(parts)}"


def identifiability(problem: EquationProblem, at: Blocks | None = None, noise: float = 0.0) -> Identifiability:
    """Singular values of the sensitivity matrix before a fit.

    Args:
        problem: the problem.
        at: where; at the references if not given.
        noise: norm delta of the data's noise.
    """
    here = problem.evaluate(problem.start if at is None else at)
    columns = here.jacobian()
    _, singular, rows = np.linalg.svd(columns, full_matrices=True)
    singular = np.concatenate([singular, np.zeros(columns.shape[1] - len(singular))])
    counts = [unknown.start.numel() for unknown in problem.unknowns]
    return Identifiability(
        names=problem.names,
        logarithmic=tuple(np.repeat([unknown.logarithmic for unknown in problem.unknowns], counts).tolist()),
        scales=np.repeat([unknown.scale for unknown in problem.unknowns], counts),
        singular=singular,
        directions=rows.T,
        noise=noise / math.sqrt(len(columns)),
    )


@dataclass(frozen=True, eq=False)
class CoefficientEstimate:
    """A fit of a few numbers.

    Attributes:
        values: by name, in their units; of an amplitude, its field's first value.
        sd: posterior standard deviation by name, of logarithms where they are sought; 0 for exact data.
        before: what the data could tell, at the first guess.
        residual: weighted norm of the residuals.
        result: the iteration.
    """

    values: dict[str, float]
    sd: dict[str, float]
    before: Identifiability
    residual: float
    result: GaussNewtonResult


DEFAULT_SETTINGS = LevenbergMarquardt(trust=1.0)


def estimate(
    problem: EquationProblem, noise: float = 0.0, settings: LevenbergMarquardt = DEFAULT_SETTINGS
) -> CoefficientEstimate:
    """Fit a few numbers by Gauss-Newton, with the posterior that the noise leaves.

    Args:
        problem: every unknown of it is one number.
        noise: norm delta of the data's noise, in the norm of the weighted residuals.
        settings: of the iteration.
    """
    before = identifiability(problem, noise=noise)
    scalars = Scalars(problem)
    result = gauss_newton(scalars, scalars.start, settings)
    here = problem.evaluate(scalars.blocks(result.x))
    values = {name: float(value.reshape(-1)[0]) for name, value in problem.values(here.x).items()}
    count = sum(entry.data.numel() for entry in problem.data)
    covariance = noise**2 / count * np.linalg.pinv(result.hessian)
    sd = {
        unknown.name: unknown.scale * math.sqrt(max(covariance[i, i], 0.0))
        for i, unknown in enumerate(problem.unknowns)
    }
    return CoefficientEstimate(values, sd, before, here.residual, result)
