"""Forward run of a convolutional NODE with its exact discrete tangent, adjoint and second derivative.

Stages `z_i = K(t_i) y_i + b(t_i)`, `k_i = sigma(z_i)` as in `depth_run`, with convolutions as products of Fourier
coefficients; after chosen depth cells a pooling flow follows. Covectors pair by sums over pixels: divided by
the volume of a pixel they are the L2 adjoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from oncology.nodes.activation import Elementwise
from oncology.nodes.convolution.kernel_basis import KernelBasis
from oncology.nodes.convolution.pooling import LinearisedFlow, PoolingFlow
from oncology.nodes.convolution.torus import Torus
from oncology.nodes.depth import Interpolation
from oncology.nodes.scheme import Scheme

__all__ = ["ConvolutionAdjoint", "ConvolutionRun", "ConvolutionTangent", "ImageStage", "PixelLevel", "march"]


@dataclass(frozen=True, eq=False)
class PixelLevel:
    """Kernel functions on one pixel grid.

    Attributes:
        torus: the grid.
        psi: transforms of the kernel functions, (J, F), complex.
        parseval: weights of the half spectrum, (F,).
    """

    torus: Torus
    psi: Tensor
    parseval: Tensor

    def symbol(self, weights: Tensor) -> Tensor:
        """Transform of the kernel, (F, c, c), from the weights (J c + 1, c) of one depth."""
        kappa = weights[:-1].reshape(len(self.psi), -1).to(self.psi.dtype)
        return (self.psi.T @ kappa).reshape(self.psi.shape[1], -1, weights.shape[1])

    def convolve(self, symbol: Tensor, spectrum: Tensor) -> Tensor:
        """Images of the products of a symbol (F, c, c) with spectra (K, c, F)."""
        return self.torus.backward(torch.einsum("kif,fio->kof", spectrum, symbol))

    def transpose(self, symbol: Tensor, images: Tensor) -> Tensor:
        """Transpose of the convolution, applied to images."""
        return self.torus.backward(torch.einsum("kof,fio->kif", self.torus.forward(images), symbol.conj()))

    def weight_dual(self, spectrum: Tensor, pulled: Tensor) -> Tensor:
        """Derivative by the weights of one depth, (J c + 1, c), from the stage's input and its pulled-back covector."""
        correlation = torch.einsum("kif,kof->fio", spectrum.conj(), self.torus.forward(pulled))
        kernels = (self.psi.conj() * self.parseval) @ correlation.flatten(1)
        bias = pulled.flatten(2).sum((0, 2))
        return torch.cat([kernels.real.reshape(-1, len(bias)), bias[None]])

    def add_bias(self, images: Tensor, weights: Tensor) -> Tensor:
        """Images plus the bias of each channel, in place."""
        return images.add_(weights[-1].reshape(-1, *[1] * self.torus.dimension))


@dataclass(frozen=True, eq=False)
class ImageStage:
    """What one Runge-Kutta stage keeps.

    Attributes:
        level: the grid.
        symbol: transform of its kernel, (F, c, c).
        spectrum: of its input y, (K, c, F).
        argument: z, (K, c, *pixels).
        memory: slope of the activation, (K, c, *pixels).
    """

    level: PixelLevel
    symbol: Tensor
    spectrum: Tensor
    argument: Tensor
    memory: Tensor


@dataclass(frozen=True, eq=False)
class ConvolutionTangent:
    """The sensitivity problem along one direction.

    Attributes:
        final: xi(T), (K, c, *pixels).
        arguments: derivative of each stage's z.
        spectra: of the derivative of each stage's input.
        pooled: derivative of the state before each pooling flow, by the cell that it follows.
        direction: weights' direction at the stages, or None.
    """

    final: Tensor
    arguments: list[Tensor]
    spectra: list[Tensor]
    pooled: dict[int, Tensor]
    direction: Tensor | None


@dataclass(frozen=True, eq=False)
class ConvolutionAdjoint:
    """The adjoint problem of one covector.

    Attributes:
        theta: derivative by the weights, a dual vector of their shape.
        input: derivative by the states at depth 0, (K, c, *pixels).
        forces: covector of each stage's slope.
        pulled: the same, pulled back through the activation.
        pooled: covector of the state after each pooling flow, by the cell that it follows.
    """

    theta: Tensor
    input: Tensor
    forces: list[Tensor]
    pulled: list[Tensor]
    pooled: dict[int, Tensor]


@dataclass(frozen=True, eq=False)
class ConvolutionRun:
    """A forward run with what its linearisation needs.

    Attributes:
        activation: sigma.
        scheme: Runge-Kutta scheme.
        step: time step h.
        interpolation: from nodal weights to those of the stages.
        weights: of the stages, (stages, J c + 1, c).
        start: states at depth 0, (K, c, *pixels).
        final: states at depth T, on a smaller grid where the picture was restricted.
        stages: what each stage keeps, in order.
        flows: linearised pooling flows by the cell that they follow.
    """

    activation: Elementwise
    scheme: Scheme
    step: float
    interpolation: Interpolation
    weights: Tensor
    start: Tensor
    final: Tensor
    stages: list[ImageStage]
    flows: dict[int, LinearisedFlow]

    def tangent(self, direction: Tensor | None, input: Tensor | None = None) -> ConvolutionTangent:
        """Sensitivity problem `xi_t = sigma'(z)(K xi + V u + v)`.

        Args:
            direction: (V, v) in the shape of the weights; None for zero.
            input: xi(0), (K, c, *pixels); None for zero.
        """
        s = self.scheme.stages
        along = None if direction is None else self.interpolation.push(direction)
        xi = torch.zeros_like(self.start) if input is None else input
        arguments, spectra, pooled = list[Tensor](), list[Tensor](), dict[int, Tensor]()
        for j in range(len(self.stages) // s):
            slopes: list[Tensor] = []
            for i in range(s):
                stage = self.stages[j * s + i]
                spectra.append(stage.level.torus.forward(_moved(xi, self.step, self.scheme.a[i], slopes)))
                dz = stage.level.convolve(stage.symbol, spectra[-1])
                if along is not None:
                    weights = along[j * s + i]
                    dz.add_(stage.level.convolve(stage.level.symbol(weights), stage.spectrum))
                    stage.level.add_bias(dz, weights)
                arguments.append(dz)
                slopes.append(self.activation.pushforward(stage.memory, dz))
            xi = _moved(xi, self.step, self.scheme.b, slopes)
            if j in self.flows:
                pooled[j] = xi
                xi = self.flows[j].push(xi)
        return ConvolutionTangent(xi, arguments, spectra, pooled, along)

    def adjoint(self, final: Tensor) -> ConvolutionAdjoint:
        """Adjoint problem `-lambda_t = K*(sigma'(z) lambda)`, `lambda(T)` given.

        Args:
            final: derivative of the cost by the final states, (K, c, *pixels).
        """
        s, a, b = self.scheme.stages, self.scheme.a, self.scheme.b
        dual = torch.empty_like(self.weights)
        forces, pulled = [final] * len(self.stages), [final] * len(self.stages)
        pooled: dict[int, Tensor] = {}
        costate = final
        for j in range(len(self.stages) // s - 1, -1, -1):
            if j in self.flows:
                pooled[j] = costate
                costate = self.flows[j].pull(costate)
            back: list[Tensor] = []
            for i in range(s - 1, -1, -1):
                k = j * s + i
                stage = self.stages[k]
                # the stages behind this one came first: their pulled-back covectors weigh with their column of a
                column = tuple(a[later][i] for later in range(s - 1, i, -1))
                forces[k] = _moved((self.step * b[i]) * costate, self.step, column, back)
                pulled[k] = self.activation.pullback(stage.memory, forces[k])
                dual[k] = stage.level.weight_dual(stage.spectrum, pulled[k])
                back.append(stage.level.transpose(stage.symbol, pulled[k]))
            costate = costate + sum(back[1:], back[0])
        return ConvolutionAdjoint(self.interpolation.pull(dual), costate, forces, pulled, pooled)

    def second(self, adjoint: ConvolutionAdjoint, tangent: ConvolutionTangent) -> float:
        """Second derivative of the final states along a direction, paired with the adjoint's covectors."""
        total = self.final.new_zeros(())
        for k, stage in enumerate(self.stages):
            bent = self.activation.curvature(stage.argument, tangent.arguments[k])
            total += (adjoint.forces[k] * bent).sum()
            if tangent.direction is not None:
                moved = stage.level.convolve(stage.level.symbol(tangent.direction[k]), tangent.spectra[k])
                total += 2.0 * (adjoint.pulled[k] * moved).sum()
        for j, flow in self.flows.items():
            total += (adjoint.pooled[j] * flow.second(tangent.pooled[j])).sum()
        return float(total)


def march(
    activation: Elementwise,
    scheme: Scheme,
    step: float,
    basis: KernelBasis,
    pooling: Mapping[int, PoolingFlow],
    interpolation: Interpolation,
    theta: Tensor,
    state: Tensor,
    torus: Torus,
) -> ConvolutionRun:
    """Solve forward, one time step a depth cell.

    Args:
        activation: sigma.
        scheme: Runge-Kutta scheme.
        step: time step h, in units of depth.
        basis: kernel functions.
        pooling: flows by the number of the cell that they follow.
        interpolation: from nodal weights to those of the stages.
        theta: nodal weights, (nodes, J c + 1, c).
        state: u(0), (K, c, *pixels).
        torus: grid of the images.
    """
    weights = interpolation.push(theta)
    s = scheme.stages
    level = _level(torus, basis, state)
    stages: list[ImageStage] = []
    flows: dict[int, LinearisedFlow] = {}
    u = state
    for j in range(len(weights) // s):
        slopes: list[Tensor] = []
        for i in range(s):
            theta_i = weights[j * s + i]
            symbol, spectrum = level.symbol(theta_i), level.torus.forward(_moved(u, step, scheme.a[i], slopes))
            z = level.add_bias(level.convolve(symbol, spectrum), theta_i)
            slopes.append(activation.value(z))
            stages.append(ImageStage(level, symbol, spectrum, z, activation.memory(z, slopes[-1])))
        u = _moved(u, step, scheme.b, slopes)
        if j in pooling:
            target = pooling[j].target(level.torus)
            u, flows[j] = pooling[j].apply(level.torus, u)
            if target != level.torus:
                level = _level(target, basis, u)
    return ConvolutionRun(activation, scheme, step, interpolation, weights, state, u, stages, flows)


def _level(torus: Torus, basis: KernelBasis, like: Tensor) -> PixelLevel:
    precision = torch.complex128 if like.dtype == torch.float64 else torch.complex64
    return PixelLevel(torus, torus.transform(basis).to(like.device, precision), torus.parseval.to(like))


def _moved(state: Tensor, step: float, row: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    """`x + h sum a_l k_l`."""
    moved = state
    for a, slope in zip(row, slopes, strict=True):
        if a != 0:
            moved = torch.add(moved, slope, alpha=step * a)
    return moved
