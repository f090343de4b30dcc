"""Guarantees for a trained net: Lipschitz bounds, certified radii, bounds for changed weights, remainders.

They hold for the discrete Euler net that is run, not its continuous limit: for two inputs the states differ by
`delta -> (I + h D W) delta`, where D is diagonal with secant slopes of the activation, which lie between its lowest and
highest slope. Whatever holds for every such D holds for the net. `tube` narrows D to what a ball of inputs reaches.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.nodes.activation import Elementwise
from oncology.nodes.depth_run import DepthRun
from oncology.nodes.robustness.sensitivity import margins_of
from oncology.nodes.standalone import StandaloneNODE

__all__ = [
    "EulerNet",
    "continuous_lipschitz",
    "euler_net",
    "layer_factors",
    "lipschitz",
    "logarithmic_norms",
    "product_radius",
    "remainder_constant",
    "rounding_of_step",
    "weight_bound",
]

INFLATION = 1.0 + 1e-10
"""Factor on every computed norm: far above the rounding of a product or a singular value in double precision."""

VERTICES = 8
"""Largest state whose 2^n matrices D with extreme slopes are all looked at."""

STEEPEST_BEND = {
    "tanh": 4.0 / (3.0 * math.sqrt(3.0)),
    "sigmoid": 1.0 / (6.0 * math.sqrt(3.0)),
    "softplus": 0.25,
    "identity": 0.0,
    "smooth-relu": 5.0,
    "smooth-leaky-relu": 4.5,
}
"""sup |sigma''| where sigma' is Lipschitz."""


@dataclass(frozen=True, eq=False)
class EulerNet:
    """The layers `x + h sigma(W x + b)` of a network, in double precision.

    Attributes:
        matrices: W of each layer, (layers, n, n).
        biases: b, (layers, n).
        step: h, in units of depth.
        activation: sigma.
        unit: relative rounding error of the arithmetic that the network is run in.
    """

    matrices: Tensor
    biases: Tensor
    step: float
    activation: Elementwise
    unit: float

    @property
    def slopes(self) -> tuple[float, float]:
        """Lowest and highest slope of the activation."""
        return self.activation.slopes


def euler_net(model: StandaloneNODE, theta: Tensor) -> EulerNet:
    """Layers of a network of which guarantees can be given.

    Raises:
        ConfigError: the activation is not elementwise with slopes in [0, 1], or the scheme is not Euler.
    """
    activation = model.activation
    if not isinstance(activation, Elementwise) or not 0 <= activation.slopes[0] <= activation.slopes[1] <= 1:
        raise ConfigError(
            f"activation {activation.name!r} has no slopes in [0, 1]; certificates need tanh, relu or such"
        )
    if model.scheme.stages != 1:
        raise ConfigError(f"scheme {model.scheme.name!r} has no certificate; run the network with 'euler'")
    layers = model.grid.interpolation(model.steps, model.scheme.c).push(theta).double()
    unit = torch.finfo(theta.dtype).eps
    return EulerNet(layers[:, :-1].mT.contiguous(), layers[:, -1], model.time_step, activation, unit)


def layer_factors(net: EulerNet, norm: float = 2.0, vertices: int = VERTICES) -> Tensor:
    """Lipschitz bound of each layer, the largest `|I + h D W|` over all D, (layers,).

    Exact for the norms 1 and inf, and for the 2-norm of a small state; otherwise the least of
    `|I + h c W| + h r |W|` and `sqrt(1 + 2 h m + h^2 |D W|^2)`, with c and r middle and half width of the slopes, and m
    the logarithmic norm.

    Args:
        net: the layers.
        norm: 1, 2 or inf.
        vertices: largest state whose extreme D are all looked at.
    """
    w, h, (low, high) = net.matrices, net.step, net.slopes
    if norm == 2.0:
        if w.shape[1] <= vertices:
            return _spectral(torch.eye(w.shape[1]).to(w) + h * _extremes(net)).amax(0)
        middle, half, size = 0.5 * (low + high), 0.5 * (high - low), _spectral(w)
        product = _spectral(torch.eye(w.shape[1]).to(w) + h * middle * w) + h * half * size
        energy = 1.0 + 2.0 * h * logarithmic_norms(net, norm, vertices) + (h * high * size) ** 2
        return torch.minimum(product, energy.clamp(min=0.0).sqrt() * INFLATION)
    diagonal, off = w.diagonal(dim1=1, dim2=2), _off_diagonal(w)
    own = [(1.0 + h * d * diagonal).abs() for d in (low, high)]
    if norm == 1.0:
        return (torch.maximum(*own) + h * high * off.sum(1)).amax(1) * INFLATION
    rows = off.sum(2)
    return torch.maximum(own[0] + h * low * rows, own[1] + h * high * rows).amax(1) * _checked(norm)


def _checked(norm: float) -> float:
    if norm != math.inf:
        raise ConfigError(f"norm {norm:g}; take 1, 2 or inf")
    return INFLATION


def _spectral(matrices: Tensor) -> Tensor:
    result: Tensor = torch.linalg.matrix_norm(matrices, ord=2) * INFLATION
    return result


def _off_diagonal(matrices: Tensor) -> Tensor:
    return matrices.abs() - torch.diag_embed(matrices.diagonal(dim1=1, dim2=2).abs())


def _extremes(net: EulerNet) -> Tensor:
    """D W for every D with extreme slopes, (2^n, layers, n, n): a convex function of D is largest at one of them."""
    corners = net.matrices.new_tensor(list(itertools.product(net.slopes, repeat=net.matrices.shape[1])))
    return corners[:, None, :, None] * net.matrices


def lipschitz(net: EulerNet, norm: float = 2.0) -> float:
    """Bound Lambda of `|x(T) - y(T)| <= Lambda |x(0) - y(0)|`, the product over the layers."""
    return float(layer_factors(net, norm).prod())


def logarithmic_norms(net: EulerNet, norm: float = 2.0, vertices: int = VERTICES) -> Tensor:
    """Bound of the logarithmic norm of D W over all D, at each layer, (layers,).

    Args:
        net: the layers.
        norm: 1, 2 or inf.
        vertices: largest state whose extreme D are all looked at.
    """
    w, (low, high) = net.matrices, net.slopes
    if norm == 2.0:
        if w.shape[1] <= vertices:
            extremes = _extremes(net)
            return _up(torch.linalg.eigvalsh(0.5 * (extremes + extremes.mT))[..., -1].amax(0), w)
        symmetric = torch.linalg.eigvalsh(0.5 * (w + w.mT))[:, -1]
        size = _spectral(w)
        return _up(torch.minimum(0.5 * (low + high) * symmetric + 0.5 * (high - low) * size, high * size), w)
    diagonal, off = w.diagonal(dim1=1, dim2=2), _off_diagonal(w)
    if norm == 1.0:
        return _up((torch.maximum(low * diagonal, high * diagonal) + high * off.sum(1)).amax(1), w)
    rows = diagonal + off.sum(2)
    return _up(torch.maximum(low * rows, high * rows).amax(1) * (_checked(norm) / INFLATION), w)


def _up(values: Tensor, matrices: Tensor) -> Tensor:
    """Values moved up by far more than their rounding, which is relative to the size of the matrices."""
    result: Tensor = values + (INFLATION - 1.0) * torch.linalg.matrix_norm(matrices)
    return result


def continuous_lipschitz(model: StandaloneNODE, theta: Tensor, norm: float = 2.0) -> float:
    """Lipschitz bound `exp(int m)` of the continuous limit, not of the net that is run.

    The logarithmic norm is convex in the weights, so that the trapezoidal rule is above it for linear ones.
    """
    net = euler_net(model, theta)
    nodes = EulerNet(theta[:, :-1].double().mT, theta[:, -1].double(), model.grid.step, net.activation, net.unit)
    values = logarithmic_norms(nodes, norm)
    ends = 0.0 if model.grid.kind == "constant" else 0.5 * float(values[0] + values[-1])
    return math.exp(model.grid.step * (float(values.sum()) - ends))


def rounding_of_step(net: EulerNet, layer: int, magnitude: Tensor) -> Tensor:
    """Bound of the rounding error of one computed layer, for states of at most the given components (..., n).

    Holds for every order of summation, and for activations good to eight roundings of their value and of one.
    """
    weights, n = net.matrices[layer].abs(), magnitude.shape[-1]
    argument = magnitude @ weights.mT + net.biases[layer].abs()
    slope = argument + abs(net.activation.at_zero)
    return net.unit * (net.step * ((n + 16) * slope + 8.0) + 2.0 * (magnitude + net.step * slope))


def product_radius(model: StandaloneNODE, theta: Tensor, run: DepthRun, norm: float = 2.0) -> Tensor:
    """Radius within which no input of another class lies, by the Lipschitz bound of the whole net, (K,).

    `min_i (x_c - x_i)(T) / (sqrt(2) Lambda_2)` or `/ (2 Lambda_inf)`, less what rounding of both runs could do.

    Args:
        model: the network.
        theta: its weights.
        run: its forward run; the class of a sample is that of its largest output.
        norm: 2 or inf, in which the radius is measured.

    Raises:
        ConfigError: no guarantee can be given of this network, or the norm is neither 2 nor inf.
    """
    if norm == 1.0:
        raise ConfigError("norm 1; take 2 or inf")
    net = euler_net(model, theta)
    factors = layer_factors(net, norm)
    states = run.states.double()
    shares = margins_of(model.read(states[-1]))[1].amin(-1) / (math.sqrt(2.0) if norm == 2.0 else 2.0)
    reach = shares / factors.prod()
    error = torch.zeros_like(reach)
    for j, factor in enumerate(factors):
        magnitude = states[j].abs() + (reach + error)[:, None]
        local = 2.0 * torch.linalg.vector_norm(rounding_of_step(net, j, magnitude), ord=norm, dim=-1)
        reach, error = factor * reach, INFLATION * (factor * error + local)
    radius = (shares - error) / factors.prod()
    return (radius / INFLATION).nan_to_num(nan=0.0, posinf=0.0).clamp(min=0.0)


def weight_bound(model: StandaloneNODE, theta: Tensor, change: Tensor, run: DepthRun, norm: float = 2.0) -> Tensor:
    """Bound of how far changed weights move x(T), not only to first order, (K,).

    `e_{j+1} = L_j e_j + h |dW x_j + db|`, L_j the Lipschitz bound of the changed layer, x_j the states of the run.

    Args:
        model: the network.
        theta: its weights.
        change: change of the weights, in their shape.
        run: forward run with the unchanged weights.
        norm: 1, 2 or inf.
    """
    net = euler_net(model, theta + change)
    along = run.interpolation.push(change).double()
    states = run.states[:-1].double()
    forces = torch.baddbmm(along[:, -1:], states, along[:, :-1])
    sizes = net.step * net.slopes[1] * torch.linalg.vector_norm(forces, ord=norm, dim=-1)
    bound = torch.zeros_like(sizes[0])
    for factor, size in zip(layer_factors(net, norm), sizes, strict=True):
        bound = INFLATION * (factor * bound + size)
    return bound


def remainder_constant(model: StandaloneNODE, theta: Tensor) -> float:
    """C of `|x(T; x0 + d) - x(T; x0) - xi(T)|_2 <= C |d|_2^2`, for any input.

    Raises:
        ConfigError: the slope of the activation is not Lipschitz, or no guarantee can be given.
    """
    net = euler_net(model, theta)
    if net.activation.name not in STEEPEST_BEND:
        raise ConfigError(f"the slope of {net.activation.name!r} jumps; take one of {', '.join(STEEPEST_BEND)}")
    factors, bend = layer_factors(net), STEEPEST_BEND[net.activation.name]
    reach, constant = 1.0, 0.0
    for factor, size in zip(factors.tolist(), _spectral(net.matrices).tolist(), strict=True):
        constant = INFLATION * (factor * constant + 0.5 * net.step * bend * (size * reach) ** 2)
        reach *= factor
    return constant
