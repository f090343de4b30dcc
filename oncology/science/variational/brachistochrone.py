"""The curve of fastest descent as an identity-activated NODE with the path's angle as its weight (V1).

With q = sqrt(y) the start is regular: `x' = T sqrt(2g) q cos(theta)`, `q' = T sqrt(g/2) sin(theta)` on (0, 1), T
minimal such that (x, q)(1) = (X, sqrt(Y)). The exact weight is linear in depth, `theta = pi/2 - phi_T s / 2`, on the
cycloid `x = r (phi - sin phi)`, `y = r (1 - cos phi)`, `T = phi_T sqrt(r / g)`. Goldstine, History of the Calculus of
Variations, 1980.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import torch
from torch import Tensor

from oncology.errors import ConfigError, NumericalError
from oncology.nodes.depth import DepthGrid, depth_space
from oncology.optimise import Armijo, Blocks, FunctionProblem, Stop, Tangent, euclidean, minimise, newton_step, product
from oncology.science.equation import Coefficient, Coefficients
from oncology.science.grid_equation import DifferentiatedEquation

__all__ = [
    "Brachistochrone",
    "Descent",
    "Slide",
    "cycloid",
    "cycloid_angle",
    "descend_by_conjugate_gradients",
    "descend_by_programming",
]


@dataclass(frozen=True, eq=False)
class Slide(DifferentiatedEquation):
    """A bead on a wire whose angle is given in time: state (x, q), coefficients "gravity" and "angle"; s and m."""

    name: str = "slide"
    size: int = 2
    coefficients: tuple[Coefficient, ...] = (Coefficient("gravity", 1, "m/s^2", positive=True), Coefficient("angle"))
    pattern: None = None

    @property
    def weights(self) -> Tensor:
        """1 for both."""
        return torch.ones(2, dtype=torch.float64)

    def value(self, u: Tensor, q: Coefficients) -> Tensor:
        """`(sqrt(2g) q cos(angle), sqrt(g/2) sin(angle))`, (K, 2)."""
        gravity, angle = q
        fall = torch.sqrt(0.5 * gravity) * torch.sin(angle)
        return torch.cat([torch.sqrt(2.0 * gravity) * u[:, 1:] * torch.cos(angle), fall.expand(len(u), 1)], dim=1)


@dataclass(frozen=True)
class Brachistochrone:
    """A discrete problem: the angle is constant on each depth cell, q is the mean of a cell's ends.

    Attributes:
        across: X > 0, horizontal distance of the end.
        down: Y > 0, vertical distance of the end.
        cells: N.
        gravity: g.

    Raises:
        ConfigError: a number is not positive.
    """

    across: float
    down: float
    cells: int
    gravity: float = 1.0

    def __post_init__(self) -> None:
        if min(self.across, self.down, self.gravity) <= 0 or self.cells < 2:
            raise ConfigError("the brachistochrone needs X, Y, g > 0 and at least 2 cells")

    @property
    def grid(self) -> DepthGrid:
        """Depth (0, 1) and its cells."""
        return DepthGrid(1.0, self.cells)

    @property
    def start(self) -> tuple[Tensor, float]:
        """The straight line: its angle on every cell, and its time of descent."""
        angle = math.atan2(self.down, self.across)
        length = math.hypot(self.across, self.down)
        time = math.sqrt(2.0 * length / (self.gravity * math.sin(angle)))
        return torch.full((self.cells,), angle, dtype=torch.float64), time

    def end(self, angles: Tensor, time: Tensor) -> Tensor:
        """Miss (x - X, q - sqrt(Y)) at depth 1, (2,)."""
        h = 1.0 / self.cells
        q = torch.cat(
            [time.new_zeros(1), torch.cumsum(h * time * math.sqrt(0.5 * self.gravity) * torch.sin(angles), 0)]
        )
        x = (h * time * math.sqrt(2.0 * self.gravity) * 0.5 * (q[1:] + q[:-1]) * torch.cos(angles)).sum()
        return torch.stack([x - self.across, q[-1] - math.sqrt(self.down)])


@dataclass(frozen=True, eq=False)
class Descent:
    """A solution.

    Attributes:
        time: T.
        angles: theta of each cell, (N,), radian.
        miss: largest violation of the end point.
        iterations: of the method.
    """

    time: float
    angles: Tensor
    miss: float
    iterations: int


def cycloid_angle(across: float, down: float) -> float:
    """phi_T of the cycloid through the end point, 0 < phi_T < 2 pi."""
    wanted = across / down
    return float(
        scipy.optimize.brentq(
            lambda phi: (phi - math.sin(phi)) / (1.0 - math.cos(phi)) - wanted, 1e-6, 2 * math.pi - 1e-6
        )
    )


def cycloid(phi: float, radius: float) -> Tensor:
    """State (x, q) of the bead on the cycloid after rolling by phi; (1, 2)."""
    x, y = radius * (phi - math.sin(phi)), radius * (1.0 - math.cos(phi))
    return torch.tensor([[x, math.sqrt(y)]], dtype=torch.float64)


def descend_by_programming(problem: Brachistochrone) -> Descent:
    """Sequential quadratic programming over all weights and T, with exact derivatives of the end point.

    Raises:
        NumericalError: it does not converge.
    """

    def end(flat: np.ndarray) -> np.ndarray:
        z = torch.from_numpy(flat)
        return problem.end(z[:-1], z[-1]).numpy()

    def slopes(flat: np.ndarray) -> np.ndarray:
        z = torch.from_numpy(flat)
        jacobian = torch.autograd.functional.jacobian(lambda v: problem.end(v[:-1], v[-1]), z)
        return np.asarray(jacobian.numpy())

    angles, time = problem.start
    only_time = np.zeros(problem.cells + 1)
    only_time[-1] = 1.0
    solved = scipy.optimize.minimize(
        lambda flat: float(flat[-1]),
        np.append(angles.numpy(), time),
        jac=lambda flat: only_time,
        method="SLSQP",
        constraints=[{"type": "eq", "fun": end, "jac": slopes}],
        options={"maxiter": 500, "ftol": 1e-14},
    )
    if not solved.success:
        raise NumericalError(f"the brachistochrone was not found ({solved.message}); take fewer cells")
    return Descent(float(solved.x[-1]), torch.from_numpy(solved.x[:-1]), float(np.abs(end(solved.x)).max()), solved.nit)


def descend_by_conjugate_gradients(problem: Brachistochrone, smoothing: float = 0.0, rounds: int = 12) -> Descent:
    """Nonlinear conjugate gradients in L2 or H1 of depth on augmented Lagrangians of the end point.

    Hestenes, J. Optim. Theory Appl. 4, 1969; multipliers are updated `rounds` times with a fixed penalty.

    Args:
        problem: the problem.
        smoothing: Sobolev length of the weight, in units of depth.
        rounds: updates of the multipliers.
    """
    penalty = 10.0
    space = product(depth_space(problem.grid, smoothing), euclidean())
    angles, time = problem.start
    x = Blocks((angles, torch.tensor(time, dtype=torch.float64)))
    multipliers, iterations = torch.zeros(2, dtype=torch.float64), 0
    for _ in range(rounds):
        lagrangian = _lagrangian(problem, multipliers, penalty)
        result = minimise(lagrangian, x, space, step=Armijo(newton_step), stop=Stop(1e-9, max_iterations=300))
        x, iterations = result.x, iterations + result.iterations
        multipliers = multipliers + penalty * problem.end(*x.parts)
    miss = float(problem.end(*x.parts).abs().max())
    return Descent(float(x.parts[1]), x.parts[0], miss, iterations)


def _lagrangian(problem: Brachistochrone, multipliers: Tensor, penalty: float) -> FunctionProblem[Blocks]:
    """`T + l . c + r/2 |c|^2` with exact derivative and second derivative along a direction."""

    def cost(angles: Tensor, time: Tensor) -> Tensor:
        miss = problem.end(angles, time)
        return time + multipliers @ miss + 0.5 * penalty * (miss @ miss)

    def derivative(x: Blocks) -> Blocks:
        inputs = tuple(part.detach().requires_grad_() for part in x.parts)
        with torch.enable_grad():
            return Blocks(torch.autograd.grad(cost(*inputs), inputs))

    def tangent(x: Blocks, d: Blocks) -> Tangent:
        def along(step: Tensor) -> Tensor:
            return problem.end(*(part + step * change for part, change in zip(x.parts, d.parts, strict=True)))

        first, second = _line(along)
        curvature = penalty * float(first @ first)
        force = multipliers + penalty * problem.end(*x.parts)
        return Tangent(curvature, curvature + float(force @ second))

    return FunctionProblem(lambda x: float(cost(*x.parts)), derivative, tangent)


def _line(function: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """First and second derivative of a vector function of one number at 0."""
    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    firsts, seconds = list[Tensor](), list[Tensor]()
    with torch.enable_grad():
        for component in function(step):
            (first,) = torch.autograd.grad(component, step, create_graph=True)
            (second,) = torch.autograd.grad(first, step, retain_graph=True)
            firsts.append(first.detach())
            seconds.append(second)
    return torch.stack(firsts), torch.stack(seconds)
