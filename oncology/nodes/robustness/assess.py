"""Sensitivity, certificates and attacks of a network in one call each."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from oncology.errors import ConfigError
from oncology.nodes.classifier import Classifier, ModuleClassifier, NODEClassifier
from oncology.nodes.modules import SNODE
from oncology.nodes.robustness.attack import Attacked, ProjectedGradient
from oncology.nodes.robustness.tube import certified_radius

__all__ = ["attack", "certify", "jacobian"]


def _classifier(net: nn.Module, x: Tensor) -> tuple[Classifier, Tensor]:
    """The network as a classifier of flat inputs, and the inputs: of an SNODE in the type of its weights."""
    if isinstance(net, SNODE):
        theta = net.theta.detach()
        return NODEClassifier(net.model, theta), x.detach().to(theta)
    if x.ndim > 2:
        net = nn.Sequential(nn.Unflatten(1, x.shape[1:]), net)
    return ModuleClassifier(net), x.detach().flatten(1)


def certify(net: SNODE, x: Tensor, norm: float = 2.0) -> Tensor:
    """Radii within which no input of another class lies: sound, rounding errors included.

    Holds for the discrete network as it is run, in the precision of its weights, and for the class that it predicts,
    right or wrong. Around the run of each sample, slopes of the activation are bounded on what a ball reaches
    (docs/sensitivity.md).

    Args:
        net: the network, with Euler's scheme and an activation with slopes in [0, 1].
        x: inputs, (K, inputs).
        norm: 2 or inf, in which radii are measured.

    Returns:
        (K,), double precision, in the unit of the inputs.

    Raises:
        ConfigError: no guarantee can be given of this network, or the norm is neither 2 nor inf.
    """
    if not isinstance(net, SNODE):
        raise ConfigError(f"a {type(net).__name__} has no certificate; give an SNODE")
    theta = net.theta.detach()
    return certified_radius(net.model, theta, net.model.run(theta, net.model.embed(x.detach().to(theta))), norm)


def attack(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    radius: float | Tensor,
    norm: float = 2.0,
    *,
    iterations: int = 40,
    restarts: int = 3,
    bounds: tuple[float, float] | None = None,
    seed: int = 0,
) -> Attacked:
    """Search the ball around each sample for the input with the least margin, by projected gradients.

    Args:
        net: an `SNODE`, or any torch module whose samples are independent; in evaluation mode.
        x: inputs, (K, ...).
        y: their true classes, (K,); or targets (K, classes), of which the largest counts.
        radius: of the ball, one for all or (K,).
        norm: 2 or inf.
        iterations: moves from each start.
        restarts: starts; each aims at another class, further ones are random.
        bounds: lowest and highest value of an input, or None.
        seed: of the random starts.

    Returns:
        `inputs` in the shape of x, the sample itself where none is misclassified; their `distances` (K,), inf there.

    Raises:
        ConfigError: the norm is neither 2 nor inf.
    """
    classifier, flat = _classifier(net, x)
    classes = y if y.ndim == 1 else y.argmax(-1)
    search = ProjectedGradient(float(norm), iterations, restarts, bounds=bounds)
    found = search(classifier, flat, classes, radius, torch.Generator().manual_seed(seed))
    return Attacked(found.inputs.reshape(x.shape), found.distances)


def jacobian(net: nn.Module, x: Tensor) -> Tensor:
    """Derivative of the outputs by the inputs, exact for the discrete network.

    Args:
        net: an `SNODE`, or any torch module whose samples are independent.
        x: inputs, (K, ...).

    Returns:
        (K, outputs, ...).
    """
    classifier, flat = _classifier(net, x)
    derivative = classifier.linearised(flat)[1]
    if not math.prod(derivative.shape):
        raise ConfigError(f"inputs of shape {tuple(x.shape)}; need at least one sample")
    return derivative.reshape(*derivative.shape[:2], *x.shape[1:])
