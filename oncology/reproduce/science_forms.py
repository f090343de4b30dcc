"""Forms B and C trained by the loop of form A: a gain in depth around known physics, and a closure of unknown growth.

(B) Heat spreads at an unknown speed w(t): `u_t = kappa Laplacian (w(t) u)`, w positive by its parametrisation, found by
conjugate gradients in H1(0, T). (C) Diffusion is known, growth is not: waves of Fisher-KPP teach the closure, and
waves that it has not seen test it. Data are exact solutions in both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from oncology.nodes.depth import DepthGrid
from oncology.nodes.scheme import RK4
from oncology.optimise import Blocks, Result, Stop, euclidean, minimise
from oncology.reproduce.science_direct import column
from oncology.science.equation_problem import EquationProblem
from oncology.science.equations import heat
from oncology.science.equations import reaction_diffusion as growth
from oncology.science.exponential import ETDRK2
from oncology.science.forms import Activated, Closed, ScalarGain
from oncology.science.grid import interval
from oncology.science.node import ScienceNODE
from oncology.science.observe import Everywhere, Measurement, noisy
from oncology.science.runge_kutta import SDIRK2, explicit
from oncology.science.unknowns import Unknown, in_depth

__all__ = ["ClosureRow", "GainRow", "closure_row", "gain_row"]


@dataclass(frozen=True, eq=False)
class GainRow:
    """A gain found from noisy data.

    Attributes:
        level: relative norm of the noise.
        error: relative L2(0, T) error of w.
        times: nodes of depth, (nodes,).
        gain: w at the nodes.
        truth: the gain that made the data.
        result: the iteration.
    """

    level: float
    error: float
    times: Tensor
    gain: Tensor
    truth: Tensor
    result: Result[Blocks]


def gain_row(level: float, seed: int = 0) -> GainRow:
    """Find w(t) = 1 + 0.8 sin(2 pi t) from ten snapshots of two modes.

    Args:
        level: relative norm of the noise.
        seed: of the noise.
    """
    grid, depth, kappa = interval(0.0, 1.0, 32), DepthGrid(1.0, 40), 0.05
    modes = {1: 1.0, 2: 0.5}

    def lasting(t: float) -> float:
        return t + 0.8 * (1.0 - math.cos(2.0 * math.pi * t)) / (2.0 * math.pi)

    def exact(time: float) -> Tensor:
        parts = [
            a * math.exp(-kappa * heat.mode_rate(k, 1.0) * lasting(time)) * heat.cosine_mode(grid.points, 1.0, k)
            for k, a in modes.items()
        ]
        return torch.stack(parts).sum(0)

    model = ScienceNODE(Activated(heat.Heat(grid), ScalarGain()), depth, SDIRK2)
    generator = torch.Generator().manual_seed(seed)
    times = [0.1 * (i + 1) for i in range(10)]
    data = [noisy(exact(time), level, generator) for time in times]
    flat = torch.full((depth.nodes, 1), math.log(math.expm1(1.0)), dtype=torch.float64)
    still = torch.zeros(grid.size, dtype=torch.float64)
    problem = EquationProblem(
        model,
        (in_depth("gain", flat, depth, 0.1),),
        {"conductivity": column(kappa), "source": still, "bias": still, "initial": exact(0.0)},
        tuple(Measurement(model.at(t), Everywhere(), seen, grid.weights) for t, seen in zip(times, data, strict=True)),
    )
    truth = 1.0 + 0.8 * torch.sin(2.0 * math.pi * depth.times)
    raw = torch.log(torch.expm1(truth))[:, None]
    mismatch = problem.evaluate(Blocks((problem.unknowns[0].coordinates(raw),))).residual
    stop = Stop(noise_level=mismatch, max_iterations=200)
    result = minimise(problem, problem.start, problem.space, stop=stop)
    gain = torch.nn.functional.softplus(problem.unknowns[0].value(result.x.parts[0]))[:, 0]
    error = float((gain - truth).norm() / truth.norm())
    return GainRow(level, error, depth.times, gain, truth, result)


@dataclass(frozen=True)
class ClosureRow:
    """Relative errors of final states without and with the trained closure.

    Attributes:
        physics: of the known part alone, on waves not seen in training.
        trained: with the closure, on the waves of the training.
        unseen: with the closure, on waves not seen in training.
        iterations: of the training.
    """

    physics: float
    trained: float
    unseen: float
    iterations: int


def closure_row(width: int = 6, iterations: int = 60, seed: int = 0) -> ClosureRow:
    """Teach a closure what growth does to diffusing waves.

    Args:
        width: neurons of the closure.
        iterations: of conjugate gradients.
        seed: of the first weights.
    """
    grid, days, diffusion, rho = interval(0.0, 30.0, 30), 10.0, 0.5, 0.1
    x = grid.points[:, 0]

    def wave(time: float, places: list[float]) -> Tensor:
        return torch.cat([growth.power_wave(x, time, diffusion, rho, start=place) for place in places])

    physics = heat.Heat(grid)
    model = ScienceNODE(Closed(physics, width), DepthGrid(days, 10), explicit(RK4), 2)
    lessons, exam = torch.linspace(4.0, 22.0, 10).tolist(), torch.linspace(5.0, 21.0, 7).tolist()
    generator = torch.Generator().manual_seed(seed)
    sizes = {"closure_out": grid.size * width, "closure_in": grid.size * width, "closure_bias": width}
    unknowns = tuple(
        Unknown(name, 0.2 * torch.randn(size, generator=generator, dtype=torch.float64), euclidean(), 0.1)
        for name, size in sizes.items()
    )
    known = {"conductivity": column(diffusion), "source": torch.zeros(grid.size, dtype=torch.float64)}
    data = tuple(Measurement(model.at(time), Everywhere(), wave(time, lessons), grid.weights) for time in (5.0, 10.0))
    problem = EquationProblem(model, unknowns, {**known, "initial": wave(0.0, lessons)}, data)
    result = minimise(problem, problem.start, problem.space, stop=Stop(max_iterations=iterations))
    q, _ = problem.inputs(result.x)
    exact, start = wave(days, exam), wave(0.0, exam)
    alone = ScienceNODE(physics, DepthGrid(days, 20), ETDRK2).run(tuple(known.values()), start).final
    final = model.run(q, start).final
    lesson = problem.evaluate(result.x).residuals[-1]
    return ClosureRow(
        float((alone - exact).norm() / exact.norm()),
        float(lesson.norm() / data[-1].data.norm()),
        float((final - exact).norm() / exact.norm()),
        result.iterations,
    )
