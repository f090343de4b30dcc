"""Physics in the loss: a physics-informed neural network as the baseline of the science-activated NODE.

A tanh network u(x, t) is fitted to data, to initial and boundary values, and to a small residual of the equation at
random points of space and time; unknown coefficients are fitted with it. Raissi, Perdikaris and Karniadakis, J. Comput.
Phys. 378, 2019. Derivatives by x and t are carried forward through the layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from oncology.errors import ConfigError

__all__ = ["Ends", "FieldDerivatives", "Informed", "PinnFit", "PinnProblem", "fit_pinn"]


@dataclass(frozen=True, eq=False)
class FieldDerivatives:
    """A function of space and time with its derivatives at the same points, (m,) each."""

    u: Tensor
    x: Tensor
    xx: Tensor
    t: Tensor


type Ends = Literal["noflux", "fixed", "free"]

type Residual = Callable[[FieldDerivatives, dict[str, Tensor]], Tensor]
"""(u and its derivatives, coefficients) -> u_t - S(u), (m,)."""


@dataclass(frozen=True, eq=False)
class PinnProblem:
    """What is known of a field on (lower, upper) x (0, duration).

    Attributes:
        lower: left end, mm.
        upper: right end, mm.
        duration: day.
        residual: of the equation.
        places: (m, 2), x and t of the data, initial values among them.
        values: (m,), the data.
        unknowns: positive coefficients that are sought, with their starts.
        known: the other coefficients.
        boundary: "noflux", "fixed" to zero, or "free" where data say it all.

    Raises:
        ConfigError: there are no data, or their numbers differ.
    """

    lower: float
    upper: float
    duration: float
    residual: Residual
    places: Tensor
    values: Tensor
    unknowns: dict[str, float] = field(default_factory=dict)
    known: dict[str, float] = field(default_factory=dict)
    boundary: Ends = "noflux"

    def __post_init__(self) -> None:
        if len(self.values) == 0 or self.places.shape != (len(self.values), 2):
            shapes = f"{tuple(self.places.shape)} and {tuple(self.values.shape)}"
            raise ConfigError(f"places and values of shapes {shapes}; need (m, 2) and (m,) with m > 0")


class Informed(torch.nn.Module):
    """A tanh network of (x, t), scaled to the box, with its derivatives.

    Attributes:
        layers: linear maps.
        logs: logarithms of the unknown coefficients over their starts.
    """

    def __init__(self, problem: PinnProblem, width: int, depth: int, generator: torch.Generator) -> None:
        super().__init__()
        sizes = [2, *[width] * depth, 1]
        self.layers: list[torch.nn.Linear] = []
        for into, out in pairwise(sizes):
            layer = torch.nn.Linear(into, out, dtype=torch.float64)
            scale = (2.0 / (into + out)) ** 0.5
            with torch.no_grad():
                layer.weight.copy_(scale * torch.randn(out, into, generator=generator, dtype=torch.float64))
                layer.bias.zero_()
            self.layers.append(layer)
            self.add_module(f"layer{len(self.layers)}", layer)
        zero = torch.zeros((), dtype=torch.float64)
        self.logs = {name: torch.nn.Parameter(zero.clone()) for name in problem.unknowns}
        for name, log in self.logs.items():
            self.register_parameter(f"log_{name}", log)
        self._middle = torch.tensor([0.5 * (problem.lower + problem.upper), 0.5 * problem.duration]).double()
        self._half = torch.tensor([0.5 * (problem.upper - problem.lower), 0.5 * problem.duration]).double()

    def field(self, places: Tensor) -> FieldDerivatives:
        """The field and its derivatives at (m, 2) places."""
        u = (places - self._middle) / self._half
        x, t = torch.zeros_like(u), torch.zeros_like(u)
        x[:, 0], t[:, 1] = 1.0 / self._half[0], 1.0 / self._half[1]
        xx = torch.zeros_like(u)
        for number, layer in enumerate(self.layers):
            u, x, xx, t = layer(u), x @ layer.weight.T, xx @ layer.weight.T, t @ layer.weight.T
            if number < len(self.layers) - 1:
                u = torch.tanh(u)
                slope = 1.0 - u * u
                x, xx, t = slope * x, slope * xx - 2.0 * u * slope * x * x, slope * t
        return FieldDerivatives(u[:, 0], x[:, 0], xx[:, 0], t[:, 0])

    def coefficients(self, problem: PinnProblem) -> dict[str, Tensor]:
        """All coefficients by name."""
        sought = {name: start * torch.exp(self.logs[name]) for name, start in problem.unknowns.items()}
        return {**{name: torch.tensor(value).double() for name, value in problem.known.items()}, **sought}


@dataclass(frozen=True, eq=False)
class PinnFit:
    """A fitted network.

    Attributes:
        network: u(x, t).
        values: the unknown coefficients.
        loss: at the end.
        evaluations: of the loss with its gradient.
    """

    network: Informed
    values: dict[str, float]
    loss: float
    evaluations: int

    def at(self, x: Tensor, time: float) -> Tensor:
        """The field at places (n,) and one time."""
        with torch.no_grad():
            return self.network.field(torch.stack([x, torch.full_like(x, time)], dim=1)).u


def fit_pinn(
    problem: PinnProblem,
    generator: torch.Generator,
    stop: Callable[[int], bool],
    width: int = 32,
    depth: int = 3,
    points: int = 1000,
    rate: float = 1e-3,
    refine_after: int = 2000,
) -> PinnFit:
    """Fit by Adam, then by L-BFGS with strong Wolfe steps, until told to stop or until nothing changes.

    Args:
        problem: equation and data.
        generator: source of the network's start and of the points.
        stop: number of evaluations so far -> whether to end; this is where a budget of time or work comes in.
        width: neurons in a hidden layer.
        depth: hidden layers.
        points: collocation points in space and time; a fifth as many times for each end.
        rate: of Adam.
        refine_after: evaluations after which L-BFGS takes over.
    """
    network = Informed(problem, width, depth, generator)
    span = torch.tensor([problem.upper - problem.lower, problem.duration], dtype=torch.float64)
    inside = torch.rand(points, 2, generator=generator, dtype=torch.float64) * span
    inside[:, 0] += problem.lower
    times = problem.duration * torch.rand(points // 5, generator=generator, dtype=torch.float64)
    ends = torch.cat([torch.stack([torch.full_like(times, end), times], 1) for end in (problem.lower, problem.upper)])
    count = 0

    def loss() -> Tensor:
        misfit = ((network.field(problem.places).u - problem.values) ** 2).mean()
        physics = (problem.residual(network.field(inside), network.coefficients(problem)) ** 2).mean()
        if problem.boundary == "free":
            return misfit + physics
        edge = network.field(ends)
        return misfit + physics + ((edge.u if problem.boundary == "fixed" else edge.x) ** 2).mean()

    def closure() -> Tensor:
        nonlocal count
        count += 1
        network.zero_grad()
        total = loss()
        total.backward()
        return total

    adam = torch.optim.Adam(network.parameters(), lr=rate)
    while count < refine_after and not stop(count):
        adam.step(closure)
    newton = torch.optim.LBFGS(
        network.parameters(), max_iter=20, history_size=50, tolerance_grad=1e-12, line_search_fn="strong_wolfe"
    )
    last = float("inf")
    while not stop(count):
        now = float(newton.step(closure).detach())
        if not now < last:
            break
        last = now
    with torch.no_grad():
        final = float(loss())
        values = {
            name: float(value) for name, value in network.coefficients(problem).items() if name in problem.unknowns
        }
    return PinnFit(network, values, final, count)
