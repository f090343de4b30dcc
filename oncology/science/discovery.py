"""Identification of the unknowns of a `Science` module from data, with what the data determine and what they do not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.optimise import LevenbergMarquardt, gauss_newton
from oncology.science.equation_problem import EquationProblem, Scalars
from oncology.science.estimation import EXACTLY_ZERO, Identifiability, identifiability
from oncology.science.modules import Science
from oncology.science.observe import Measurement, Points, StateObservation
from oncology.science.posed import PosedEquation
from oncology.science.unknowns import INITIAL, number

__all__ = ["Data", "Found", "identify"]

type Data = Mapping[float, tuple[Tensor, Tensor]]
"""By time: points and values."""

PRIOR = 1.0
"""Prior standard deviation of an unknown's logarithm; of an unknown that can be negative, as a multiple of its size."""

NARROWED = 0.5
"""Posterior over prior standard deviation, at most, of an unknown that counts as identified."""

TRUST = LevenbergMarquardt(trust=1.0)


@dataclass(frozen=True, eq=False)
class Found:
    """Unknowns that were identified, each also an attribute: `found.k`.

    Attributes:
        values: estimates by name, in their units.
        sd: posterior standard deviations by name, in the same units.
        identified: by name, whether the data determine the unknown: whether they at least halve the standard deviation
            that it has without them.
        residual: root mean square of the residuals, to be compared with the noise.
        status: why the iteration ended.
        identifiability: singular values of the sensitivities at the estimate; `words` says what the data do not see.
        units: by name.
    """

    values: dict[str, float]
    sd: dict[str, float]
    identified: dict[str, bool]
    residual: float
    status: str
    identifiability: Identifiability
    units: dict[str, str]

    def __getattr__(self, name: str) -> float:
        values: dict[str, float] = self.__dict__.get("values", {})
        if name not in values:
            raise AttributeError(f"{name!r} was not sought; found are {', '.join(values)}")
        return values[name]

    def __str__(self) -> str:
        rows = [("", "value", "sd", "unit", "identified")]
        for name, value in self.values.items():
            known = "yes" if self.identified[name] else "no"
            rows.append((name, f"{value:.6g}", f"{self.sd[name]:.2g}", self.units[name], known))
        table = ["  ".join(f"{cell:<12}" for cell in row).rstrip() for row in rows]
        return "\n".join([*table, f"residual {self.residual:.3g}; {self.status}", *self.identifiability.words()])

    __repr__ = __str__


def identify(model: Science, start: Tensor, data: Data, noise: float = 0.0) -> Found:
    """Find the unknowns of a model from measured states; the model's parameters take the values found.

    Gauss-Newton iterations with exact sensitivities, from the present values of the model's parameters. Each unknown
    has a wide normal prior around its first guess, a factor e for positive ones, whose weight is that of the noise.

    Args:
        model: with unknowns of one component each.
        start: state at time 0, (n,), or (K, n) for K runs.
        data: by time, which must end a time step, points and values (m,) or (K, m): points as positions (m,) or (m, d)
            in the box of the grid, or as whole numbers, the components of the state.
        noise: standard deviation of each value; 0 for exact data.

    Raises:
        ConfigError: there are no data or no unknowns, one is a field, or data do not fit the model.
        NumericalError: a run leaves the finite numbers at the first guess.

    Example:
        >>> import torch
        >>> from oncology.science.grid import interval
        >>> from oncology.science.posed import heat
        >>> grid = interval(0.0, 1.0, 16)
        >>> u0 = torch.cos(torch.pi * grid.points[:, 0])
        >>> truth = Science(heat(grid, conductivity=0.3), time=0.2)
        >>> seen = torch.arange(0, 16, 3)
        >>> found = identify(Science(heat(grid, conductivity="k"), time=0.2), u0, {0.2: (seen, truth(u0)[seen])})
        >>> print(f"{found.k:.6f}")
        0.300000
    """
    state = start.detach().double()
    state = state if state.ndim > 1 else state[None]
    posed = model.posed(state.shape[-1])
    if not data or not posed.unknowns:
        raise ConfigError(f"{len(data)} times of data for {len(posed.unknowns)} unknowns; need at least one of each")
    if not 0 <= noise < math.inf:
        raise ConfigError(f"noise {noise:g}; give the standard deviation of each value, >= 0")
    problem = _problem(model, posed, state, data, noise)
    scalars = Scalars(problem)
    result = gauss_newton(scalars, scalars.start, TRUST)
    blocks = scalars.blocks(result.x)
    here = problem.evaluate(blocks)
    count = sum(entry.data.numel() for entry in problem.data)
    report = identifiability(problem, blocks, noise * math.sqrt(count))
    spread = _posterior(report)
    values, sd, units, identified = dict[str, float](), dict[str, float](), dict[str, str](), dict[str, bool]()
    for i, unknown in enumerate(problem.unknowns):
        name = posed.unknowns[unknown.name]
        coefficient = posed.coefficient(name)
        value = float(unknown.value(blocks.parts[i])[0])
        model.set(name, value)
        values[name], units[name] = value, coefficient.unit
        sd[name] = float(spread[i]) * unknown.scale * (value if unknown.logarithmic else 1.0)
        identified[name] = bool(spread[i] <= NARROWED)
    named = replace(report, names=tuple(posed.unknowns[name] for name in report.names))
    residual = here.residual / math.sqrt(count)
    return Found(values, sd, identified, residual, str(result.status), named, units)


def _problem(model: Science, posed: PosedEquation, state: Tensor, data: Data, noise: float) -> EquationProblem:
    node = model.model(posed.equation)
    unknowns = []
    for coefficient, name in posed.unknowns.items():
        guess = model.values[name].detach()
        if len(guess) > 1:
            raise ConfigError(f"{name} has {len(guess)} values; fields are for `EquationProblem` with `in_space`")
        positive = posed.coefficient(name).positive
        scale = PRIOR if positive else PRIOR * max(abs(float(guess)), 1.0)
        unknowns.append(replace(number(coefficient, float(guess), scale, positive), precision=noise**2))
    measured = []
    for time, (points, values) in sorted(data.items()):
        observation = _observation(posed, points)
        rows = values.detach().double()
        rows = (rows if rows.ndim > 1 else rows[None]).expand(len(state), -1)
        if rows.shape[1] != len(points) or not bool(rows.isfinite().all()):
            raise ConfigError(f"{rows.shape[1]} values at {len(points)} points; need a finite one for each")
        weights = torch.ones(rows.shape[1], dtype=torch.float64)
        measured.append(Measurement(node.at(time), observation, rows, weights))
    return EquationProblem(node, tuple(unknowns), {**posed.known, INITIAL: state}, tuple(measured))


def _observation(posed: PosedEquation, points: Tensor) -> StateObservation:
    """What is measured at points: components by number, or positions in the box of the grid."""
    if not points.is_floating_point():
        if len(points) == 0 or not 0 <= int(points.min()) <= int(points.max()) < posed.equation.size:
            raise ConfigError(f"points {points.tolist()[:8]}; the state has components 0 to {posed.equation.size - 1}")
        return Points(points.long())
    grid = getattr(posed.equation, "grid", None)
    if grid is None or grid.size != posed.equation.size:
        raise ConfigError(f"{posed.equation.name} has no positions; give points as numbers of components")
    result: StateObservation = grid.interpolation(points.detach().double())
    return result


def _posterior(report: Identifiability) -> np.ndarray:
    """Posterior over prior standard deviation of each unknown, with the prior as it is."""
    noise = max(report.noise, EXACTLY_ZERO * float(report.singular[0]), 1e-300)
    variances = report.directions**2 @ (1.0 / (1.0 + (report.singular / noise) ** 2))
    return np.asarray(np.sqrt(variances))
