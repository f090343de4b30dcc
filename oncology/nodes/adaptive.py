"""Inference with adaptive steps: after training, precision is traded for speed (the point of continuous depth).

The trained weights are read as one function of depth: linear weights as they are, weights of constant cells joined
through the middle of the cells by lines or by a cubic spline. Stopping at the jumps between cells instead would cost a
step a cell, which is what the trained net costs already. The result therefore differs from an Euler net by what Euler's
steps are in error; a net whose weights are smooth in depth loses little. Embedded Runge-Kutta pairs with a PI
controller: Hairer, Norsett & Wanner, Solving ODEs I, sections II.4 and II.5 and IV.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from oncology.errors import ConfigError, NumericalError
from oncology.nodes.activation import Activation
from oncology.nodes.depth import DepthGrid
from oncology.nodes.scheme import Scheme
from oncology.nodes.standalone import StandaloneNODE

__all__ = [
    "BOGACKI_SHAMPINE",
    "DORMAND_PRINCE",
    "AdaptiveRun",
    "EmbeddedPair",
    "Tolerance",
    "integrate",
    "march_adaptively",
    "weights_in_depth",
]

type Joined = Literal["linear", "cubic"]

type RightHandSide = Callable[[float, Tensor], Tensor]
"""(t, x) -> x', both (K, n)."""


@dataclass(frozen=True)
class EmbeddedPair:
    """Explicit Runge-Kutta pair whose last stage is the first one of the next step.

    Attributes:
        name: name in files and on the command line.
        order: of the solution that is carried on.
        a: rows of the strictly lower triangular matrix; the last one is the solution.
        error: weights of the stages in the estimate of the error, of order one less.
    """

    name: str
    order: int
    a: tuple[tuple[float, ...], ...]
    error: tuple[float, ...]

    @property
    def scheme(self) -> Scheme:
        """The scheme of the solution that is carried on."""
        return Scheme(self.name, self.order, self.a[:-1], self.a[-1])


BOGACKI_SHAMPINE = EmbeddedPair(
    "bogacki-shampine",
    3,
    ((), (1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    (-5 / 72, 1 / 12, 1 / 9, -1 / 8),
)
DORMAND_PRINCE = EmbeddedPair(
    "dormand-prince",
    5,
    (
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
)


@dataclass(frozen=True, eq=False)
class AdaptiveRun:
    """A forward run with adaptive steps.

    Attributes:
        depths: ends of the accepted steps, from 0 to T; (steps + 1,).
        states: x there, (steps + 1, K, n).
        slopes: x' there.
        evaluations: of the right-hand side for the whole batch: the cost, in layers of the trained net.
        rejected: number of steps that were tried again.
    """

    depths: Tensor
    states: Tensor
    slopes: Tensor
    evaluations: int
    rejected: int

    @property
    def final(self) -> Tensor:
        """x(T), (K, n)."""
        return self.states[-1]

    def at(self, depths: Tensor) -> Tensor:
        """States at any depths, (depths, K, n), by the cubic through both ends of a step and their slopes.

        Raises:
            ConfigError: a depth lies outside the interval.
        """
        if depths.min() < 0 or depths.max() > self.depths[-1]:
            raise ConfigError(f"depths from {depths.min():g} to {depths.max():g}; need 0 to {self.depths[-1]:g}")
        step = (torch.searchsorted(self.depths, depths, right=True) - 1).clamp(0, len(self.depths) - 2)
        h = self.depths[step + 1] - self.depths[step]
        shape = (-1, *[1] * (self.states.ndim - 1))
        s, h = ((depths - self.depths[step]) / h).reshape(shape).to(self.states), h.reshape(shape).to(self.states)
        ends = (1 + 2 * s) * (1 - s) ** 2 * self.states[step] + s**2 * (3 - 2 * s) * self.states[step + 1]
        return ends + h * s * (1 - s) * ((1 - s) * self.slopes[step] - s * self.slopes[step + 1])


def weights_in_depth(grid: DepthGrid, theta: Tensor, joined: Joined = "linear") -> Callable[[float], Tensor]:
    """Trained weights as a continuous function of depth.

    Args:
        grid: the weights' grid.
        theta: nodal weights, (nodes, ...).
        joined: how the nodes are joined, "linear" or "cubic" (a spline, not-a-knot). The nodes of constant weights are
            the middles of the cells; lines go on to both ends of depth with their slope.

    Raises:
        ConfigError: the name is unknown, or one cell of constant weights or a cubic of fewer than four nodes is asked.
    """
    if joined not in ("linear", "cubic"):
        raise ConfigError(f"weights joined {joined!r}; take 'linear' or 'cubic'")
    if grid.nodes == 1:
        return lambda t: theta[0]
    first = 0.5 if grid.kind == "constant" else 0.0
    if joined == "cubic":
        from scipy.interpolate import CubicSpline  # slow to import

        positions = (torch.arange(grid.nodes) + first).double().numpy()
        coefficients = torch.from_numpy(CubicSpline(positions, theta.detach().cpu().double().numpy()).c).to(theta)
        return lambda t: _cubic(coefficients, t / grid.step - first)

    def linear(t: float) -> Tensor:
        place = t / grid.step - first
        cell = min(max(int(place), 0), grid.nodes - 2)
        return torch.lerp(theta[cell], theta[cell + 1], place - cell)

    return linear


def _cubic(coefficients: Tensor, place: float) -> Tensor:
    """Value of a spline with unit cells, by Horner's rule."""
    cell = min(max(int(place), 0), coefficients.shape[1] - 1)
    s, value = place - cell, coefficients[0, cell]
    for power in coefficients[1:, cell]:
        value = torch.add(power, value, alpha=s)
    return value


def integrate(
    model: StandaloneNODE,
    theta: Tensor,
    state: Tensor,
    tolerance: float = 1e-3,
    pair: EmbeddedPair = BOGACKI_SHAMPINE,
    joined: Joined = "linear",
    most_evaluations: int = 100_000,
) -> AdaptiveRun:
    """Run a trained network with steps that keep the estimated error of each below a tolerance.

    All samples share their steps; the one with the largest error decides, so that none loses accuracy by the others.

    Args:
        model: the network; its scheme and number of steps are not used.
        theta: weights, (nodes, n + 1, n).
        state: states at depth 0, (K, n).
        tolerance: wanted error of each step, relative to `1 + |x|` in the root mean square over components.
        pair: `BOGACKI_SHAMPINE` for rough answers, `DORMAND_PRINCE` for tolerances below about 1e-5.
        joined: how the weights are read between nodes (`weights_in_depth`).
        most_evaluations: of the right-hand side, before giving up.

    Raises:
        ConfigError: the tolerance is not positive.
        NumericalError: the steps become too small, or too many.
    """
    equation = _Equation(model.activation, weights_in_depth(model.grid, theta, joined))
    wanted = Tolerance(tolerance, tolerance)
    return march_adaptively(equation, state, model.grid.length, wanted, pair, most_evaluations)


@dataclass(frozen=True)
class Tolerance:
    """Wanted error of a step, `absolute + relative |x|` in the root mean square over components.

    Raises:
        ConfigError: a number is not positive and finite.
    """

    relative: float
    absolute: float

    def __post_init__(self) -> None:
        if not (0 < self.relative < math.inf and 0 < self.absolute < math.inf):
            raise ConfigError(f"tolerances {self.relative:g} and {self.absolute:g}; need numbers > 0, 1e-3 as a rule")

    def largest(self, error: Tensor, size: Tensor) -> float:
        """Largest error of a sample over what is wanted of it, for states (K, n) of the given size."""
        return float((error / (self.absolute + self.relative * size)).square().mean(-1).sqrt().max())


def march_adaptively(
    equation: RightHandSide,
    state: Tensor,
    length: float,
    tolerance: Tolerance,
    pair: EmbeddedPair = BOGACKI_SHAMPINE,
    most_evaluations: int = 100_000,
) -> AdaptiveRun:
    """Solve `x' = f(t, x)` from 0 to a depth with steps that keep the estimated error of each below a tolerance.

    Args:
        equation: f.
        state: x(0), (K, n).
        length: T > 0.
        tolerance: wanted error of each step.
        pair: of schemes.
        most_evaluations: of the right-hand side, before giving up.

    Raises:
        NumericalError: the steps become too small, or too many.
    """
    t, slope = 0.0, equation(0.0, state)
    h, evaluations = _first_step(equation, state, slope, length, tolerance, pair.order)
    depths, states, slopes = [0.0], [state], [slope]
    rejected, last, retry = 0, 1.0, False
    while t < length:
        h = min(h, length - t)
        if evaluations > most_evaluations or h <= 1e-13 * length:
            raise NumericalError(
                f"depth {t:g} of {length:g} after {evaluations} evaluations: steps of {h:.1e}; raise the tolerance"
            )
        end = length if h >= length - t else t + h
        moved, last_slope, error = _step(equation, pair, t, h, end, states[-1], slopes[-1], tolerance)
        evaluations += len(pair.a) - 1
        # proportional on its own after a rejection, with the last error (PI) otherwise
        factor = 0.9 * max(error, 1e-10) ** (-(1.0 if retry else 0.7) / pair.order) * (1.0 if retry else last)
        if error <= 1.0:
            t, last, retry = end, max(error, 1e-4) ** (0.4 / pair.order), False
            depths.append(t)
            states.append(moved)
            slopes.append(last_slope)
        else:  # an error that is not finite cuts the step to a fifth
            rejected, retry = rejected + 1, True
            factor = min(factor, 0.9) if math.isfinite(error) else 0.2
        h *= min(max(factor, 0.2), 5.0)
    depth = torch.tensor(depths, dtype=torch.float64, device=state.device)
    return AdaptiveRun(depth, torch.stack(states), torch.stack(slopes), evaluations, rejected)


@dataclass(frozen=True, eq=False)
class _Equation:
    """The right-hand side S(W(t) x + b(t))."""

    activation: Activation
    weights: Callable[[float], Tensor]

    def __call__(self, t: float, state: Tensor) -> Tensor:
        weights = self.weights(t)
        return self.activation.value(torch.addmm(weights[-1], state, weights[:-1]))


def _step(
    equation: RightHandSide,
    pair: EmbeddedPair,
    t: float,
    h: float,
    end: float,
    state: Tensor,
    slope: Tensor,
    tolerance: Tolerance,
) -> tuple[Tensor, Tensor, float]:
    """State and slope after a step, and the largest error of a sample over the tolerance."""
    stages = [slope]
    for row in pair.a[1:]:
        moved = state
        for a, k in zip(row, stages, strict=True):
            if a != 0:
                moved = moved.add(k, alpha=h * a)
        at = end if len(stages) == len(pair.a) - 1 else t + h * sum(row)
        stages.append(equation(at, moved))
    estimate = h * sum((e * k for e, k in zip(pair.error, stages, strict=True)), torch.zeros_like(state))
    return moved, stages[-1], tolerance.largest(estimate, torch.maximum(state.abs(), moved.abs()))


def _first_step(
    equation: RightHandSide, state: Tensor, slope: Tensor, length: float, tolerance: Tolerance, order: int
) -> tuple[float, int]:
    """First step, from the sizes of x' and of its change, and the evaluations spent so far (section II.4)."""

    def largest(x: Tensor) -> float:
        return tolerance.largest(x, state.abs())

    size, speed = largest(state), largest(slope)
    guess = min(0.01 * size / speed if min(size, speed) > 1e-5 else 1e-6, length)
    bend = largest(equation(guess, state.add(slope, alpha=guess)) - slope) / guess
    if not math.isfinite(bend):
        return guess, 2
    sharpest = max(speed, bend)
    step = (0.01 / sharpest) ** (1.0 / order) if sharpest > 1e-15 else max(1e-6, 1e-3 * guess)
    return min(100.0 * guess, step, length), 2
