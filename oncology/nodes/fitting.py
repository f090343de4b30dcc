"""Training of a `SNODE` in one call, by the training loop and the optimisers of this package.

Gradients are taken in a Sobolev space of weights in depth, as in Baravdish et al., arXiv:2202.05766: this is what
`torch.optim`, which knows components only, cannot do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from oncology.errors import ConfigError
from oncology.nodes.cost import Cost
from oncology.nodes.descent import LBFGS, Adam
from oncology.nodes.modules import SNODE
from oncology.nodes.optimisers import ConjugateGradients, Iterate, Optimiser, forward_equivalents
from oncology.nodes.samples import Samples
from oncology.nodes.training import Plain, Progress, TrainingPlan, TrainingStage, start, train
from oncology.optimise import Armijo, ConjugateGradient, newton_step

__all__ = ["NetworkFit", "fit", "samples_of"]

type Method = Literal["lbfgs", "ncg", "adam"]

CHUNK = 10
"""Iterations between two calls of the callback."""


@dataclass(frozen=True, eq=False)
class NetworkFit:
    """What a training did.

    Attributes:
        net: the trained network, the one that was given.
        value: cost at the end, of the last batch.
        accuracy: fraction of the training samples that get their class; nan where targets are values.
        iterations: of the optimiser.
        work: solves in forward solves; an adjoint or a sensitivity solve counts two.
        status: why it ended.
        history: one record per iteration.
    """

    net: SNODE
    value: float
    accuracy: float
    iterations: int
    work: int
    status: str
    history: tuple[Iterate, ...]

    def __str__(self) -> str:
        lines = (
            ("cost", f"{self.value:.6g}"),
            ("accuracy in training", "-" if math.isnan(self.accuracy) else f"{self.accuracy:.4f}"),
            ("iterations", str(self.iterations)),
            ("forward solves", str(self.work)),
            ("status", self.status),
        )
        return "\n".join(f"{name:<22}{value}" for name, value in lines)

    __repr__ = __str__


def samples_of(net: SNODE, x: Tensor, y: Tensor) -> Samples:
    """Inputs with their targets, in the type and on the device of the weights.

    Args:
        net: the network.
        x: inputs, (K, inputs).
        y: classes (K,), whole numbers; or targets (K, classes).

    Raises:
        ConfigError: numbers do not fit, a class is not there, or a value is not finite.
    """
    classes = len(net.model.outputs)
    if y.ndim == 1 and not y.is_floating_point():
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
            raise ConfigError(f"classes from {int(y.min())} to {int(y.max())}; this network has 0 to {classes - 1}")
        y = nn.functional.one_hot(y.long(), classes)
    if y.ndim != 2 or y.shape[1] != classes:
        raise ConfigError(f"targets of shape {tuple(y.shape)}; need whole numbers (K,) or values (K, {classes})")
    theta = net.theta.detach()
    return Samples(x.detach().to(theta), y.detach().to(theta))


def _optimiser(method: Method | Optimiser, rate: float) -> Optimiser:
    if not isinstance(method, str):
        return method
    if method == "lbfgs":
        return LBFGS(iterations=CHUNK)
    if method == "ncg":
        # restarts cost more than they give on one batch (docs/snode.md); Newton's step needs no further solve
        return ConjugateGradients(ConjugateGradient(powell=math.inf), Armijo(newton_step), CHUNK)
    if method == "adam":
        return Adam(rate, iterations=CHUNK)
    raise ConfigError(f"method {method!r} is unknown; take 'lbfgs', 'ncg', 'adam' or an optimiser")


def fit(
    net: SNODE,
    x: Tensor,
    y: Tensor,
    method: Method | Optimiser = "lbfgs",
    smooth: float = 0.1,
    refine: int = 0,
    *,
    iterations: int = 200,
    decay: float = 1e-3,
    batch: int | None = None,
    rate: float = 1e-2,
    seed: int = 0,
    callback: Callable[[Progress, tuple[Iterate, ...]], None] | None = None,
) -> NetworkFit:
    """Train a standalone neural ODE; its weights change in place.

    The cost is the mean cross-entropy of classes, or half the mean squared misfit of values (of the whole final state,
    whose other components are to vanish), plus `decay / 2` times the squared L2 norm of the weights in depth.

    Args:
        net: the network.
        x: inputs, (K, inputs).
        y: classes (K,), whole numbers; or values (K, classes).
        method: "lbfgs", "ncg" (nonlinear conjugate gradients, Polak-Ribiere+), "adam", or an optimiser of
            `oncology.nodes.optimisers` and `baselines`.
        smooth: length l of the Sobolev inner product `int a b + l^2 int a' b'` in which gradients are taken, in units
            of depth; 0 is L2.
        refine: how often the layers are doubled after a training on fewer, each with `iterations` of its own.
        iterations: at most, on each number of layers.
        decay: weight of the penalty.
        batch: samples in a batch; None takes all at once, which L-BFGS and conjugate gradients need to be efficient.
        rate: learning rate of Adam.
        seed: of the shuffles.
        callback: called with the progress and its records after every 10 iterations or batch.

    Raises:
        ConfigError: data or options do not fit.
        NumericalError: the cost is no longer finite; the network keeps its weights.

    Example:
        >>> import torch
        >>> net = SNODE(2, 2, 3, 2.0, 8, generator=torch.Generator().manual_seed(0))
        >>> x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> fit(net, x, torch.tensor([0, 1, 1, 0]), iterations=60).accuracy
        1.0
    """
    if not isinstance(net, SNODE):
        raise ConfigError(f"a {type(net).__name__} is no SNODE; train larger networks with torch.optim")
    if refine < 0 or iterations < 1:
        raise ConfigError(f"refine={refine}, iterations={iterations}; need refine >= 0 and iterations >= 1")
    samples = samples_of(net, x, y)
    labels = y.ndim == 1
    optimiser = _optimiser(method, rate)
    stages = tuple(
        TrainingStage(math.ceil(iterations / CHUNK), smooth, 1 if number == 0 else 2, batch)
        for number in range(refine + 1)
    )
    plan = TrainingPlan(stages, optimiser, seed)
    cost = Cost(0.0, 1.0, decay=decay) if labels else Cost(decay=decay)
    history: list[Iterate] = []

    def keep(now: Progress, iterates: tuple[Iterate, ...]) -> None:
        history.extend(iterates)
        if callback is not None:
            callback(now, iterates)

    begun = start(net.model, net.theta.detach().clone(), plan)
    end = train(samples, Plain(cost, second=method == "ncg"), plan, begun, keep)
    net.take(end.model, end.theta)
    accuracy = math.nan
    if labels:
        predicted = end.model.outputs_of(end.theta, samples.inputs).argmax(-1)
        accuracy = float((predicted == samples.classes).double().mean())
    visits = sum(stage.epochs * stage.batches(len(samples)) for stage in stages)
    whole = end.iterations >= CHUNK * visits
    status = "iterations used up" if whole else "no further descent"
    return NetworkFit(net, end.value, accuracy, end.iterations, forward_equivalents(end.counts), status, tuple(history))
