"""Training that penalises the sensitivity of the outputs to noise of the inputs.

    R(theta) = weight / 2 mean_k sum_v |P xi_k,v(T)|^2,    xi(0) = v

With probes `deviation e_i` for every input R is `weight deviation^2 / 2` times the mean squared Frobenius norm of the
input Jacobian; with random signs (Hutchinson) it is that in the mean over the signs. Its derivative is exact: one
tangent, one adjoint and one second-order adjoint solve for each probe.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.nodes.depth_run import DepthRun, DepthTangent
from oncology.nodes.second_order import mixed_adjoint, mixed_tangent, stage_bends
from oncology.nodes.standalone import StandaloneNODE
from oncology.nodes.training_problem import TrainingEvaluation, TrainingProblem
from oncology.optimise import Tangent

__all__ = ["RegularisedEvaluation", "RegularisedProblem", "every_input", "random_signs"]


def every_input(problem: TrainingProblem[StandaloneNODE], deviation: float) -> Tensor:
    """Probes along each input, for the exact penalty: (inputs, K, inputs).

    Args:
        problem: training problem whose batch they are for.
        deviation: standard deviation of the noise of each input.
    """
    inputs = problem.samples.inputs
    units = torch.eye(inputs.shape[1], dtype=inputs.dtype, device=inputs.device)
    return (deviation * units)[:, None].expand(-1, len(inputs), -1)


def random_signs(
    problem: TrainingProblem[StandaloneNODE], deviation: float, generator: torch.Generator, number: int = 1
) -> Tensor:
    """Hutchinson's probes with random signs, whose mean penalty is the exact one: (number, K, inputs).

    Args:
        problem: training problem whose batch they are for.
        deviation: standard deviation of the noise of each input.
        generator: source of the signs, on the CPU.
        number: probes of each sample; each costs three solves a gradient.
    """
    inputs = problem.samples.inputs
    signs = 2 * torch.randint(0, 2, (number, *inputs.shape), generator=generator) - 1
    return (deviation / math.sqrt(number)) * signs.to(inputs)


@dataclass(frozen=True, eq=False)
class RegularisedProblem:
    """A training problem with the penalty R added to its cost; what `optimise.minimise` descends.

    Attributes:
        problem: the training problem.
        weight: of the penalty.
        probes: directions v of the inputs, (number, K, inputs); `every_input` or `random_signs`.

    Raises:
        ConfigError: the weight is not positive or the probes do not fit the batch.
    """

    problem: TrainingProblem[StandaloneNODE]
    weight: float
    probes: Tensor

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise ConfigError(f"weight {self.weight:g} of the sensitivity; need a finite number > 0")
        if self.probes.ndim != 3 or self.probes.shape[1:] != self.problem.samples.inputs.shape:
            wanted = f"(number, {', '.join(map(str, self.problem.samples.inputs.shape))})"
            raise ConfigError(f"probes of shape {tuple(self.probes.shape)}; need {wanted}")

    @property
    def scale(self) -> float:
        """Weight over the number of samples."""
        return self.weight / len(self.problem.samples)

    def evaluate(self, theta: Tensor) -> RegularisedEvaluation:
        """Run the network on the batch, and the tangents along the probes."""
        return RegularisedEvaluation(self, self.problem.evaluate(theta))


@dataclass(frozen=True, eq=False)
class RegularisedEvaluation:
    """The penalised cost at one set of weights.

    Attributes:
        setting: the problem.
        base: evaluation without the penalty.
    """

    setting: RegularisedProblem
    base: TrainingEvaluation[StandaloneNODE]

    @property
    def run(self) -> DepthRun:
        """The forward run."""
        assert isinstance(self.base.run, DepthRun)
        return self.base.run

    @cached_property
    def tangents(self) -> list[DepthTangent]:
        """Sensitivities xi of the state along the probes."""
        embed = self.setting.problem.model.embed
        return [self.run.tangent(None, embed(probe)) for probe in self.setting.probes]

    @cached_property
    def bends(self) -> Tensor:
        """Second derivative of the activation at the stages."""
        return stage_bends(self.run)

    @cached_property
    def penalty(self) -> float:
        """R(theta)."""
        read = self.setting.problem.model.read
        return 0.5 * self.setting.scale * sum(float(read(xi.final).square().sum()) for xi in self.tangents)

    @cached_property
    def value(self) -> float:
        """E(theta) + R(theta)."""
        return self.base.value + self.penalty

    @property
    def residual(self) -> float:
        """Root mean square over the samples of |x(T) - y|."""
        return self.base.residual

    @cached_property
    def penalty_derivative(self) -> Tensor:
        """R'(theta), a dual vector in the shape of the weights."""
        model, run = self.setting.problem.model, self.run
        total = torch.zeros_like(self.base.theta)
        for xi in self.tangents:
            covector = self.setting.scale * model.write(model.read(xi.final))
            total += mixed_adjoint(run, self.bends, run.adjoint(covector), xi)[0]
        return total

    def derivative(self) -> Tensor:
        """E'(theta) + R'(theta)."""
        return self.base.derivative() + self.penalty_derivative

    def tangent(self, direction: Tensor) -> Tangent:
        """Curvature along a direction, that of R for linearised xi: `weight mean_k sum_v |P dxi(T)|^2` >= 0."""
        model, run = self.setting.problem.model, self.run
        base, along = self.base.tangent(direction), run.tangent(direction)
        moved = (mixed_tangent(run, self.bends, xi, along) for xi in self.tangents)
        curvature = self.setting.scale * sum(float(model.read(chi).square().sum()) for chi in moved)
        if base.model is None:
            return Tangent(base.curvature + curvature)
        slope = float((self.penalty_derivative * direction).sum())
        return Tangent(base.curvature + curvature, None, _sum(base.model, slope, curvature))


def _sum(
    model: Callable[[float], tuple[float, float]], slope: float, curvature: float
) -> Callable[[float], tuple[float, float]]:
    """Derivative of a line model with a parabola added."""

    def phi(beta: float) -> tuple[float, float]:
        first, second = model(beta)
        return first + slope + curvature * beta, second + curvature

    return phi
