"""Inverse rows of the catalogue: coefficients found from noisy data by Gauss-Newton.

Data are the exact solution, never a run of the model that inverts them, with seeded noise of the stated norm. A value
counts as recovered where its error is within 3.5 posterior standard deviations of the noise (of the 132 values of both
halves of the catalogue one is beyond that by chance in 6 % of all seeds), plus the error that the same discretisation
makes with exact data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from oncology.nodes.depth import DepthGrid
from oncology.nodes.scheme import EULER, RK4
from oncology.reproduce.science_direct import column
from oncology.science.equation import Equation
from oncology.science.equation_problem import EquationProblem
from oncology.science.equations import advection, conservation, heat, kinetic
from oncology.science.equations import reaction_diffusion as growth
from oncology.science.estimation import CoefficientEstimate, estimate
from oncology.science.exponential import ETDRK2
from oncology.science.grid import interval, square
from oncology.science.node import ScienceNODE
from oncology.science.observe import Everywhere, Measurement, Points, StateObservation, noisy
from oncology.science.runge_kutta import BACKWARD_EULER, SDIRK2, explicit
from oncology.science.stepper import Stepper
from oncology.science.unknowns import Unknown, amplitude, number

__all__ = ["INVERSE", "NOISE", "Inverse", "InverseRow"]

NOISE = (0.0, 0.01, 0.05, 0.1)
"""Norms of the noise over that of the data."""

FARTHEST = 3.5
"""Posterior standard deviations within which a value counts as recovered."""


@dataclass(frozen=True)
class Inverse:
    """An inverse case.

    Attributes:
        id: number in the catalogue.
        title: equation and what is sought.
        truth: values that made the data.
        guess: first guess as a multiple of the truth.
        coefficients: names that are sought, of one component each.
        equation: S.
        exact: time -> exact solution, (1, n).
        known: coefficients that are known.
        times: times of the data, days or units of time.
        steps: time steps to the last of them.
        stepper: time integrator.
        fields: positive fields of which an unknown factor is sought; their truth is their first value.
        seen: numbers of the nodal values that are measured; all of them if not given.
    """

    id: str
    title: str
    truth: tuple[float, ...]
    guess: float
    coefficients: tuple[str, ...]
    equation: Equation
    exact: Callable[[float], Tensor]
    known: dict[str, Tensor]
    times: tuple[float, ...]
    steps: int
    stepper: Stepper
    fields: dict[str, Tensor] = field(default_factory=dict)
    seen: Tensor | None = None

    @property
    def observation(self) -> StateObservation:
        """What is measured."""
        return Everywhere() if self.seen is None else Points(self.seen)

    def problem(self, level: float, seed: int = 0) -> tuple[EquationProblem, float]:
        """The problem with noise of a relative norm, and the noise's absolute norm."""
        model = ScienceNODE(self.equation, DepthGrid(self.times[-1], self.steps), self.stepper)
        generator = torch.Generator().manual_seed(seed)
        observation, data, squares = self.observation, [], 0.0
        weights = observation.value(self.equation.weights[None])[0]
        weights = weights.mean().expand(len(weights))  # every value has the same noise, in whatever large a cell
        for time in self.times:
            exact = observation.value(self.exact(time))
            squares += level**2 * float((weights * exact**2).sum())
            data.append(Measurement(model.at(time), observation, noisy(exact, level, generator), weights))
        known = {**self.known, **({} if "initial" in self.fields else {"initial": self.exact(0.0)})}
        return EquationProblem(model, self._unknowns(), known, tuple(data)), math.sqrt(squares)

    def _unknowns(self) -> tuple[Unknown, ...]:
        pairs = zip(self.coefficients, self.truth, strict=True)
        return tuple(
            amplitude(name, self.guess * self.fields[name]) if name in self.fields else number(name, self.guess * value)
            for name, value in pairs
        )

    def rows(self, levels: tuple[float, ...] = NOISE, seed: int = 0) -> Iterator[InverseRow]:
        """Fit at each noise level; the first one is 0, whose errors are those of the discretisation."""
        biases: dict[str, float] | None = None
        for trial, level in enumerate(levels):
            problem, noise = self.problem(level, seed + trial)
            fit = estimate(problem, noise)
            errors = {
                name: math.log(fit.values[name] / value)
                for name, value in zip(self.coefficients, self.truth, strict=True)
            }
            biases = errors if biases is None else biases
            yield InverseRow(self, level, noise, fit, errors, biases)


@dataclass(frozen=True)
class InverseRow:
    """A fit at one noise level.

    Attributes:
        case: the case.
        level: relative norm of the noise.
        noise: its norm.
        fit: the estimate.
        errors: of the logarithms, by name.
        biases: the same with exact data.
    """

    case: Inverse
    level: float
    noise: float
    fit: CoefficientEstimate
    errors: dict[str, float]
    biases: dict[str, float]

    @property
    def deviations(self) -> dict[str, float]:
        """Errors beyond the bias, in posterior standard deviations; of exact data 0."""
        if self.level == 0:
            return dict.fromkeys(self.errors, 0.0)
        return {name: (self.errors[name] - self.biases[name]) / self.fit.sd[name] for name in self.errors}

    @property
    def recovered(self) -> bool:
        """Whether every value is as close to what exact data give as the noise allows."""
        return all(abs(value) <= FARTHEST for value in self.deviations.values())


def _heat() -> Inverse:
    grid = interval(-10.0, 10.0, 60)

    def exact(t: float) -> Tensor:
        return heat.heat_kernel(grid.points, t, 0.5, 1.0)

    known = {"source": torch.zeros(60, dtype=torch.float64)}
    equation = heat.Heat(grid)
    return Inverse(
        "H1", "heat: conductivity", (0.5,), 2.0, ("conductivity",), equation, exact, known, (2.0,), 10, ETDRK2
    )


def _mode() -> Inverse:
    grid = interval(0.0, 2.0, 40)
    wave, rate = heat.cosine_mode(grid.points, 2.0, 3), heat.mode_rate(3, 2.0)

    def exact(t: float) -> Tensor:
        return math.exp(-0.1 * rate * t) * wave

    known = {"source": torch.zeros(40, dtype=torch.float64)}
    names, equation = ("conductivity",), heat.Heat(grid)
    return Inverse("H2", "cosine mode: conductivity", (0.1,), 2.0, names, equation, exact, known, (0.5,), 10, ETDRK2)


def _growth(
    name: str,
    title: str,
    law: growth.Law,
    truth: tuple[float, float],
    exact: Callable[[Tensor, float], Tensor],
    days: float,
) -> Inverse:
    grid = interval(-30.0, 30.0, 120)
    return Inverse(
        name,
        f"{title}: diffusion, proliferation",
        truth,
        1.6,
        ("diffusion", "proliferation"),
        growth.ReactionDiffusion(grid, law),
        lambda t: exact(grid.points, t),
        {},
        (0.5 * days, days),
        40,
        ETDRK2,
    )


def _uniform(name: str, title: str, law: growth.Law, exact: Callable[[float, float, float], float]) -> Inverse:
    """Without space diffusion is known to have no effect, and only proliferation is sought."""
    grid = interval(0.0, 1.0, 20)
    return Inverse(
        name,
        f"{title} without space: proliferation",
        (0.3,),
        1.6,
        ("proliferation",),
        growth.ReactionDiffusion(grid, law),
        lambda t: torch.full((1, 20), exact(0.2, t, 0.3), dtype=torch.float64),
        {"diffusion": column(0.5)},
        (2.5, 5.0),
        20,
        ETDRK2,
    )


def _wind() -> Inverse:
    grid, unit = square(-8.0, 8.0, 36, "periodic"), column(0.8, -0.6)
    field = torch.tensordot(unit, advection.winds(grid), dims=1)[None]

    def exact(t: float) -> Tensor:
        return advection.carried_kernel(grid.points, t, 1.2 * unit, 0.2, 0.3, 2.0)

    names = ("velocity", "diffusion", "decay")
    equation = advection.Advection(grid, field)
    return Inverse(
        "A1", "kernel in a wind: all three", (1.2, 0.2, 0.3), 1.4, names, equation, exact, {}, (1.0, 2.0), 16, ETDRK2
    )


def _vortex() -> Inverse:
    grid, centre = square(-8.0, 8.0, 36, "periodic"), column(2.0, 0.0)

    def exact(t: float) -> Tensor:
        return advection.rotated_kernel(grid.points, t, 0.7, centre, 0.2, 0.3, 2.0)

    names, truth = ("velocity", "diffusion", "decay"), (0.7, 0.2, 0.3)
    equation = advection.Advection(grid, advection.rotation(grid))
    return Inverse(
        "A1 vortex", "kernel in a vortex: all three", truth, 1.3, names, equation, exact, {}, (1.0, 2.0), 16, ETDRK2
    )


def _layer() -> Inverse:
    grid = interval(0.0, 1.0, 80, "fixed", (0.0, 1.0))
    x = grid.points[:, 0]

    def exact(t: float) -> Tensor:
        return advection.boundary_layer(x, 10.0) if t else x[None]

    known = {"velocity": column(1.0), "decay": column(0.0)}
    names, equation = ("diffusion",), advection.Advection(grid, advection.winds(grid))
    return Inverse(
        "A2", "boundary layer: diffusion", (0.1,), 2.0, names, equation, exact, known, (1e9,), 1, BACKWARD_EULER
    )


def _burgers() -> Inverse:
    grid = interval(0.0, 2.0 * math.pi, 64, "periodic")

    def exact(t: float) -> Tensor:
        return conservation.cole_hopf_mode(grid.points[:, 0], t, 0.1, 1.0, 0.7)

    equation = conservation.ConservationLaw(grid, conservation.central(conservation.burgers))
    return Inverse("B1", "Burgers: viscosity", (0.1,), 2.0, ("viscosity",), equation, exact, {}, (2.0,), 40, ETDRK2)


def _shock() -> Inverse:
    grid = interval(-12.0, 16.0, 140)

    def exact(t: float) -> Tensor:
        return conservation.viscous_shock(grid.points[:, 0], t, 0.5, 0.5, 1.0)

    equation = conservation.ConservationLaw(grid, conservation.central(conservation.burgers))
    return Inverse(
        "B2", "viscous shock: viscosity", (0.5,), 2.0, ("viscosity",), equation, exact, {}, (4.0,), 40, ETDRK2
    )


def _sine() -> Inverse:
    grid = interval(0.0, 1.0, 60, "fixed")
    x = grid.points[:, 0]

    def exact(t: float) -> Tensor:
        return conservation.sine_start(x, t, 0.05) if t else torch.sin(math.pi * x)[None]

    equation = conservation.ConservationLaw(grid, conservation.central(conservation.burgers))
    names = ("viscosity",)
    return Inverse("B3", "Burgers from sine: viscosity", (0.05,), 2.0, names, equation, exact, {}, (0.5,), 30, ETDRK2)


def _riemann(name: str, title: str, left: float, right: float) -> Inverse:
    """The factor of both states, which a jump turns into speed."""
    grid = interval(-1.0, 2.0, 120)
    x = grid.points[:, 0]

    def exact(t: float) -> Tensor:
        return conservation.riemann(x, max(t, 1e-12), left, right)

    equation = conservation.ConservationLaw(grid, conservation.engquist_osher)
    known = {"viscosity": column(0.0)}
    names, start = ("initial",), {"initial": exact(0.0)}
    stepper = explicit(EULER)
    return Inverse(name, title, (left,), 1.2, names, equation, exact, known, (0.8,), 80, stepper, start)


def _fokker_planck() -> Inverse:
    grid = interval(-8.0, 8.0, 80)

    def exact(t: float) -> Tensor:
        return kinetic.ornstein_uhlenbeck(grid.points[:, 0], t, 1.0, 0.8, 2.0, 0.5)

    names, equation = ("friction", "diffusion"), kinetic.FokkerPlanck(grid)
    return Inverse("K1", "Fokker-Planck: both", (1.0, 0.8), 1.5, names, equation, exact, {}, (0.5, 1.0), 20, SDIRK2)


def _bgk() -> Inverse:
    grid = interval(-14.0, 14.0, 80)
    v, model = grid.points[:, 0], kinetic.BGK(grid)
    start = (kinetic.maxwellian(v, 0.7, -1.5, 0.6) + kinetic.maxwellian(v, 0.3, 2.0, 1.2))[None]
    rest = model.equilibrium(start)

    def exact(t: float) -> Tensor:
        return rest + math.exp(-t / 0.5) * (start - rest)

    names = ("relaxation_time",)
    return Inverse("K2", "BGK: relaxation time", (0.5,), 2.0, names, model, exact, {}, (0.6,), 10, explicit(RK4))


def _telegraph() -> Inverse:
    grid = interval(0.0, 2.0 * math.pi, 64, "periodic")

    def exact(t: float) -> Tensor:
        return kinetic.telegraph_mode(grid.points[:, 0], t, 1.0, 0.3, 2.0)

    names, equation = ("speed", "turning"), kinetic.GoldsteinTaylor(grid)
    return Inverse(
        "K3", "Goldstein-Taylor: both", (1.0, 0.3), 1.2, names, equation, exact, {}, (0.6, 1.2), 24, explicit(RK4)
    )


INVERSE = (
    _heat(),
    _mode(),
    _growth(
        "F1", "Fisher-KPP", growth.PowerLaw(), (0.5, 0.1), lambda p, t: growth.power_wave(p[:, 0], t, 0.5, 0.1), 20.0
    ),
    _growth(
        "F2",
        "growth u(1 - u^2)",
        growth.PowerLaw(2),
        (0.5, 0.1),
        lambda p, t: growth.power_wave(p[:, 0], t, 0.5, 0.1, 2),
        20.0,
    ),
    _growth(
        "F3",
        "bistable growth",
        growth.BistableLaw(0.25),
        (0.5, 0.4),
        lambda p, t: growth.bistable_wave(p[:, 0], t, 0.5, 0.4, 0.25),
        20.0,
    ),
    _growth(
        "F4",
        "Gompertz growth",
        growth.GompertzLaw(),
        (0.5, 0.05),
        lambda p, t: growth.gompertz_gaussian(p, t, 0.5, 0.05, 20.0, -0.5),
        10.0,
    ),
    _growth(
        "F5",
        "exponential growth",
        growth.ExponentialLaw(),
        (0.5, 0.1),
        lambda p, t: growth.exponential_kernel(p, t, 0.5, 0.1, 4.0),
        10.0,
    ),
    _uniform("F5 logistic", "logistic growth", growth.PowerLaw(), growth.logistic_growth),
    _uniform("F5 Gompertz", "Gompertz growth", growth.GompertzLaw(), growth.gompertz_growth),
    _wind(),
    _vortex(),
    _layer(),
    _burgers(),
    _shock(),
    _sine(),
    _riemann("B4 shock", "inviscid shock: factor of the start", 1.0, 0.2),
    _riemann("B4 fan", "inviscid rarefaction: factor of the start", 0.2, 1.0),
    _fokker_planck(),
    _bgk(),
    _telegraph(),
)
