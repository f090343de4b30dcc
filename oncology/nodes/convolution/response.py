"""Sensitivity of a convolutional NODE: frequency response, propagation of noise, bounds on its growth.

At a state that is constant in space the linearised network multiplies each Fourier mode by a matrix; elsewhere noise is
propagated by random directions (Hutchinson). White noise is quoted per pixel: in the continuum it has no finite trace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.nodes.convolution.convolutional import ConvolutionalNODE
from oncology.nodes.convolution.image_run import ConvolutionRun
from oncology.nodes.convolution.torus import Torus
from oncology.nodes.scheme import EULER

__all__ = ["NoisePropagation", "frequency_response", "growth_bound", "propagate_noise"]


@dataclass(frozen=True)
class NoisePropagation:
    """Expected squared change of the outputs under white noise of the input pixels.

    Attributes:
        variance: `E |y(u + noise) - y(u)|^2` to first order, mean over the images, for noise of variance 1 a pixel.
        error: standard error of the estimate.
    """

    variance: float
    error: float


def frequency_response(model: ConvolutionalNODE, theta: Tensor, torus: Torus, state: Tensor) -> Tensor:
    """Matrices by which the network multiplies the Fourier modes of a small image on a constant background.

    Exact for the discrete network where no pooling flow stands on its way: `prod_j (I + h sigma'(z_j) K^(w, t_j))`.

    Args:
        model: the network, run by Euler steps and without pooling.
        theta: weights, (nodes, J c + 1, c).
        torus: pixel grid.
        state: background value of each channel, (c,).

    Returns:
        (F, c, c), complex: column i is the response of all channels to channel i.

    Raises:
        ConfigError: the scheme is not Euler, or there is a pooling flow.
    """
    if model.scheme != EULER or model.pooling:
        raise ConfigError("the frequency response needs Euler steps and no pooling; propagate noise instead")
    constant = state.reshape(1, -1, *[1] * torus.dimension).expand(1, -1, *torus.pixels)
    run = model.run(theta, constant.contiguous(), torus)
    eye = torch.eye(model.channels, dtype=run.stages[0].symbol.dtype, device=theta.device)
    response = eye.expand(run.stages[0].symbol.shape).clone()
    for stage in run.stages:
        slope = stage.memory[0].flatten(1)[:, 0].to(response.dtype)
        response = response + model.grid.step * slope[:, None] * (stage.symbol.mT @ response)
    return response


def propagate_noise(
    model: ConvolutionalNODE, run: ConvolutionRun, generator: torch.Generator, samples: int = 32
) -> NoisePropagation:
    """Variance of the outputs under white noise in the input channels, `tr(J J*)`, by random directions.

    Args:
        model: the network.
        run: its run on the images in question.
        generator: source of the random signs, on the CPU.
        samples: number of sensitivity solves, at least 2.

    Raises:
        ConfigError: fewer than 2 samples.
    """
    if samples < 2:
        raise ConfigError(f"{samples} random directions; take at least 2")
    shape = (len(run.start), len(model.inputs), *run.start.shape[2:])
    values = []
    for _ in range(samples):
        signs = 2.0 * torch.randint(0, 2, shape, generator=generator, dtype=torch.float64) - 1.0
        moved = run.tangent(None, model.embed(signs.to(run.start))).final
        values.append(float((model.read(moved) ** 2).sum()) / len(run.start))
    spread = torch.tensor(values, dtype=torch.float64)
    return NoisePropagation(float(spread.mean()), float(spread.std()) / math.sqrt(samples))


def growth_bound(model: ConvolutionalNODE, theta: Tensor, torus: Torus) -> float:
    """Bound on |xi(T)| / |xi(0)| for every image, of the discrete network without pooling.

    `prod_j sup_w (|I + h/2 K^(w)|_2 + h/2 |K^(w)|_2)` for slopes in [0, 1]: a slope is 1/2 plus at most 1/2.

    Args:
        model: the network, run by Euler steps.
        theta: weights.
        torus: pixel grid.

    Raises:
        ConfigError: the scheme is not Euler, slopes leave [0, 1], or there is a pooling flow.
    """
    low, high = model.activation.slopes
    if model.scheme != EULER or model.pooling or low < 0 or high > 1:
        raise ConfigError("the bound needs Euler steps, slopes in [0, 1] and no pooling")
    run = model.run(theta, theta.new_zeros(1, model.channels, *torus.pixels), torus)
    eye = torch.eye(model.channels, dtype=run.stages[0].symbol.dtype, device=theta.device)
    bound, half = 1.0, 0.5 * model.grid.step
    for stage in run.stages:
        # the supremum joins both terms mode by mode only where slopes are constant in space; apart, it holds for all
        mean = float(torch.linalg.matrix_norm(eye + half * stage.symbol.mT, 2).max())
        bound *= mean + half * float(torch.linalg.matrix_norm(stage.symbol, 2).max())
    return bound
