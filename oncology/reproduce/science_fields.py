"""Inverse rows with fields: source and initial state of the heat equation.

Both maps are diagonal in cosine modes: `(1 - exp(-mu_k T)) / mu_k` for a source, `exp(-mu_k T)` for the initial state.
Data come from these sums with the eigenvalues of the continuous problem, the inversion has those of a grid. Conjugate
gradients stop by the discrepancy principle; the best truncated expansion, which needs the truth, is the yardstick.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from oncology.nodes.depth import DepthGrid
from oncology.optimise import Blocks, Result
from oncology.reproduce.science_direct import column
from oncology.reproduce.science_recovery import TAU, SoughtField, search
from oncology.science.equations import heat
from oncology.science.exponential import ETDRK2
from oncology.science.grid import Grid, interval
from oncology.science.node import ScienceNODE
from oncology.science.unknowns import in_space

__all__ = ["FieldRow", "field_row"]

type Sought = Literal["source", "initial"]

CELLS, CONDUCTIVITY, DURATION = 64, 0.02, 1.0
MODES = np.array([0.6, 0.8, -0.5, 0.4, 0.3, -0.2, 0.15, 0.1])
"""Coefficients of the true field in the orthonormal cosine modes 0 to 7 of (0, 1)."""


def _basis(grid: Grid) -> Tensor:
    """Orthonormal cosine modes at the cells, (modes, n)."""
    rows = [heat.cosine_mode(grid.points, 1.0, k)[0] * (1.0 if k == 0 else math.sqrt(2.0)) for k in range(len(MODES))]
    return torch.stack(rows)


def gains(sought: Sought) -> np.ndarray:
    """Singular values of the modes in the continuous problem."""
    rates = CONDUCTIVITY * np.array([heat.mode_rate(k, 1.0) for k in range(len(MODES))])
    if sought == "initial":
        return np.exp(-rates * DURATION)
    return np.where(rates == 0, DURATION, -np.expm1(-rates * DURATION) / np.where(rates == 0, 1.0, rates))


@dataclass(frozen=True, eq=False)
class FieldRow:
    """A reconstruction at one noise level.

    Attributes:
        sought: what is sought.
        level: relative norm of the noise.
        noise: norm of noise and discretisation error together, the level of the discrepancy principle.
        error: relative L2 error of the field.
        best: the same of the best truncated expansion of the same data.
        modes: errors of the modes' coefficients.
        bounds: what the discrepancy principle allows them: `(1 + tau) delta` over their singular value.
        result: the iteration.
    """

    sought: Sought
    level: float
    noise: float
    error: float
    best: float
    modes: np.ndarray
    bounds: np.ndarray
    result: Result[Blocks]


def field_row(sought: Sought, level: float, seed: int = 0) -> FieldRow:
    """Reconstruct the source or the initial state from the final state.

    Args:
        sought: which one.
        level: relative norm of the noise.
        seed: of the noise.
    """
    grid = interval(0.0, 1.0, CELLS)
    basis, singular = _basis(grid), gains(sought)
    truth = torch.from_numpy(MODES) @ basis
    exact = (torch.from_numpy(MODES * singular) @ basis)[None]
    nothing = torch.zeros(CELLS, dtype=torch.float64)
    known = {"conductivity": column(CONDUCTIVITY), "source": nothing, "initial": nothing[None]}
    start = known.pop(sought)
    model = ScienceNODE(heat.Heat(grid), DepthGrid(DURATION, 10), ETDRK2)
    unknown = in_space(sought, start, grid.weights)
    title = f"{sought} of the heat equation"
    field = SoughtField(
        "H", title, model, unknown, truth.reshape(start.shape), grid.weights, known, lambda time: exact, (DURATION,)
    )
    problem = field.problem(level, seed)
    data = problem.data[0].data
    measured = float(grid.weights[0]) ** 0.5
    mismatch = problem.evaluate(Blocks((truth.reshape(start.shape),))).run.final - exact
    delta = measured * math.hypot(float((data - exact).norm()), float(mismatch.norm()))
    result = search(problem, delta)
    found = result.x.parts[0].reshape(-1)
    coefficients = (basis @ (grid.weights * found)).numpy()
    seen = (basis @ (grid.weights * data[0])).numpy() / singular
    cut = [
        np.linalg.norm(np.where(np.arange(len(MODES)) < count, seen, 0.0) - MODES) for count in range(len(MODES) + 1)
    ]
    size = float(np.linalg.norm(MODES))
    return FieldRow(
        sought,
        level,
        delta,
        float((found - truth).norm() / truth.norm()),
        float(min(cut)) / size,
        np.abs(coefficients - MODES),
        (1.0 + TAU) * delta / singular,
        result,
    )
