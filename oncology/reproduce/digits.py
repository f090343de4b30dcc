"""Digits of 8 x 8 pixels: a standalone NODE, a ResNet and torchdiffeq's neural ODE with the same number of parameters.

All three have the depth of as many Euler steps, are trained at equal work on the same batches' size and cost, and are
measured by the same code. torchdiffeq's net has weights that do not depend on depth, so that its field is wider:
`x' = V tanh(U x + a) + c` with a trained linear read-out. The learning rates of Adam are chosen on seeds of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from oncology.errors import ConfigError
from oncology.nodes.activation import TANH
from oncology.nodes.classifier import Classifier, ModuleClassifier, NODEClassifier
from oncology.nodes.cost import Cost
from oncology.nodes.data import Dataset, digits
from oncology.nodes.descent import Adam
from oncology.nodes.evaluation import Measures, evaluate
from oncology.nodes.optimisers import ConjugateGradients, Optimiser
from oncology.nodes.robustness.certificates import INFLATION, EulerNet, lipschitz
from oncology.nodes.robustness.sensitivity import margins_of
from oncology.nodes.samples import Samples
from oncology.nodes.standalone import prototype
from oncology.nodes.training import BatchProblem, Noise, Plain, Robust, TrainingPlan, TrainingStage, start, train
from oncology.optimise import ConjugateGradient
from oncology.reproduce.resnet import PlainResNet, parameter_count, resnet_of_size
from oncology.reproduce.trials import Row, SeededTrial

__all__ = ["NETWORKS", "DigitsSettings", "best_digit_rates", "digit_rate_trials", "digit_trials"]

FEATURES, CLASSES, LAYERS, DEPTH = 64, 10, 10, 3.0
DECAY = 1e-4
INPUT_NOISE = 0.2
PENALISED = 0.4
"""Fraction of the work that is left for what is counted: the penalty's own solves, one sensitivity and one adjoint
solve along each probe, are not."""
RATES = (1e-3, 3e-3, 1e-2)
TUNING_SEEDS = (100, 101)
NETWORKS = (
    "sNODE, NCG",
    "sNODE, NCG, squared misfit",
    "sNODE, NCG, input noise",
    "sNODE, NCG, sensitivity penalty",
    "sNODE, Adam",
    "ResNet, Adam",
    "ResNet, Adam, input noise",
    "torchdiffeq, Adam",
)


@dataclass(frozen=True)
class DigitsSettings:
    """How long and how thoroughly.

    Attributes:
        work: of training, in forward solves of a batch (an adjoint or a sensitivity solve counts two).
        batch: samples in a batch of Adam.
        wide: samples in a batch of the conjugate gradients, which take several iterations on each.
        samples: most test samples that are attacked and certified.
        noise: standard deviation of the Gaussian noise of each pixel; pixels are in [-1, 0].
        radius: in the 2-norm, of attack and certificate.
    """

    work: int = 2400
    batch: int = 100
    wide: int = 450
    samples: int = 200
    noise: float = 0.2
    radius: float = 0.25

    def measures(self, data: Dataset, seed: int) -> Measures:
        """What is measured."""
        return Measures(self.noise, self.radius, data.bounds, self.samples, seed)


class DiffeqNet(nn.Module):
    """torchdiffeq's neural ODE with constant weights and a linear read-out, solved by its fixed-step Euler method."""

    def __init__(self, width: int, source: Callable[..., Tensor]) -> None:
        """Make the network.

        Args:
            width: of the field's hidden layer.
            source: torchdiffeq's `odeint`.
        """
        super().__init__()
        self.inner, self.outer = nn.Linear(FEATURES, width), nn.Linear(width, FEATURES)
        self.last = nn.Linear(FEATURES, CLASSES)
        self.odeint = source
        self.register_buffer("times", torch.linspace(0.0, DEPTH, LAYERS + 1), persistent=False)

    def field(self, time: Tensor, state: Tensor) -> Tensor:
        """Right-hand side, the same at every depth."""
        result: Tensor = self.outer(torch.tanh(self.inner(state)))
        return result

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (K, classes) of inputs (K, features)."""
        result: Tensor = self.last(self.odeint(self.field, inputs, self.times.to(inputs), method="euler")[-1])
        return result


def diffeq_of_size(parameters: int) -> DiffeqNet:
    """Torchdiffeq's neural ODE whose number of parameters is as close to the given one as its width allows.

    Raises:
        ConfigError: torchdiffeq is not installed.
    """
    try:
        from torchdiffeq import odeint  # type: ignore[import-untyped]
    except ImportError as error:
        raise ConfigError(
            "this experiment compares with torchdiffeq, which is missing; pip install torchdiffeq"
        ) from error
    rest = FEATURES + (FEATURES + 1) * CLASSES
    return DiffeqNet(max(1, round((parameters - rest) / (2 * FEATURES + 1))), odeint)


# --- training -----------------------------------------------------------------


def standalone(network: str, seed: int, data: Dataset, settings: DigitsSettings, rate: float) -> NODEClassifier:
    """Train a standalone NODE."""
    model = prototype(FEATURES, CLASSES, DEPTH, LAYERS)
    squared = "squared" in network
    cost = Cost(1.0 if squared else 0.0, 0.0 if squared else 1.0, decay=DECAY)
    noise = Noise(INPUT_NOISE) if "noise" in network else Noise()
    problem: BatchProblem = Robust(cost, 0.03) if "penalty" in network else Plain(cost)
    batch = settings.batch if "Adam" in network else settings.wide
    optimiser: Optimiser
    if "Adam" in network:
        optimiser = Adam(rate, horizon=settings.work // 3)
    else:
        optimiser = ConjugateGradients(ConjugateGradient(powell=math.inf), iterations=10)
    smoothing = 0.0 if "Adam" in network else 1.0
    work = settings.work * (PENALISED if "penalty" in network else 1.0)
    plan = TrainingPlan((TrainingStage(10**6, smoothing, 1, batch, noise),), optimiser, seed, budget=work)
    theta = model.initial(torch.Generator().manual_seed(1000 + seed)).float()
    end = train(data.train, problem, plan, start(model, theta, plan))
    return NODEClassifier(end.model, end.theta)


def module_named(network: str, seed: int) -> nn.Module:
    """A ResNet or torchdiffeq's neural ODE with as many parameters as the standalone NODE, with seeded weights."""
    parameters = parameter_count(prototype(FEATURES, CLASSES, DEPTH, LAYERS))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if network.startswith("ResNet"):
            return resnet_of_size(FEATURES, CLASSES, parameters, LAYERS)
        return diffeq_of_size(parameters)


def fit_module(network: str, seed: int, data: Dataset, settings: DigitsSettings, rate: float) -> ModuleClassifier:
    """Train a module with Adam, cross-entropy and a falling rate; a step costs three forward solves."""
    module, source = module_named(network, seed), torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam(module.parameters(), rate)
    steps = settings.work // 3
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    inputs, classes = data.train.inputs.float(), data.train.classes
    noise = INPUT_NOISE if "noise" in network else 0.0
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(order) == 0:
            order = torch.randperm(len(inputs), generator=source)
        rows, order = order[: settings.batch], order[settings.batch :]
        batch = inputs[rows]
        if noise:
            batch = batch + noise * torch.randn(batch.shape, generator=source)
        adam.zero_grad()
        nn.functional.cross_entropy(module(batch), classes[rows]).backward()
        adam.step()
        schedule.step()
    return ModuleClassifier(module)


def trained(network: str, seed: int, data: Dataset, settings: DigitsSettings, rate: float) -> Classifier:
    """Train any of `NETWORKS`."""
    make = standalone if network.startswith("sNODE") else fit_module
    return make(network, seed, data, settings, rate)


# --- what is certain of the modules ------------------------------------------------


def module_lipschitz(module: nn.Module) -> float:
    """Lipschitz bound in the 2-norm of the discrete net, as a product over its layers."""
    if isinstance(module, PlainResNet):
        weights = torch.stack([_weight(block) for block in module.blocks])
        biases = torch.zeros(weights.shape[:2], dtype=torch.float64)
        layers = lipschitz(EulerNet(weights, biases, 1.0, TANH, 0.0))
        return layers * _size(module.first) * _size(module.last)
    if isinstance(module, DiffeqNet):
        step = DEPTH / LAYERS
        return (1.0 + step * _size(module.inner) * _size(module.outer)) ** LAYERS * _size(module.last)
    raise ConfigError(f"no Lipschitz bound of a {type(module).__name__} is known; take a ResNet or a DiffeqNet")


def _weight(layer: nn.Module) -> Tensor:
    return layer.get_parameter("weight").detach().double()


def _size(layer: nn.Module) -> float:
    return float(torch.linalg.matrix_norm(_weight(layer), ord=2)) * INFLATION


def module_radii(module: nn.Module) -> Callable[[Samples], Tensor]:
    """Certified radii, `margin / (sqrt(2) Lambda)`, but for the rounding of the outputs, far below them."""
    bound = module_lipschitz(module)

    def radii(samples: Samples) -> Tensor:
        outputs = ModuleClassifier(module).outputs(samples.inputs).double()
        margins = margins_of(outputs)[1].amin(-1)
        return torch.where(outputs.argmax(-1) == samples.classes, margins / (math.sqrt(2.0) * bound), 0.0)

    return radii


# --- trials ---------------------------------------------------------------------


def digit_trial(network: str, seed: int, rate: float, settings: DigitsSettings) -> Row:
    """Train a network with one seed and measure it."""
    data = digits(seed)
    classifier = trained(network, seed, data, settings, rate)
    module = classifier.module if isinstance(classifier, ModuleClassifier) else None
    test = Samples(data.test.inputs.float(), data.test.targets)
    radii = None if module is None else module_radii(module)
    found = evaluate(classifier, test, settings.measures(data, seed), radii)
    model = prototype(FEATURES, CLASSES, DEPTH, LAYERS)
    return {"parameters": parameter_count(model if module is None else module), **found.as_dict()}


def digit_rate_trial(network: str, seed: int, rate: float, settings: DigitsSettings) -> Row:
    """Accuracy of a network trained with a learning rate, on a part of the samples that is held back from learning."""
    whole = digits(seed)
    held = round(0.2 * len(whole.train))
    inner = Dataset(
        "digits",
        whole.train.take(torch.arange(held, len(whole.train))),
        whole.train.take(torch.arange(held)),
        whole.classes,
        whole.bounds,
    )
    classifier = trained(network, seed, inner, settings, rate)
    predicted = classifier.outputs(inner.test.inputs.float()).argmax(-1)
    return {"accuracy": float((predicted == inner.test.classes).double().mean())}


def digit_rate_trials(
    settings: DigitsSettings, rates: Sequence[float] = RATES, seeds: Sequence[int] = TUNING_SEEDS
) -> list[SeededTrial]:
    """Trials that choose the learning rate of each network that Adam trains."""
    return [
        SeededTrial(
            digit_rate_trial,
            {"network": network, "seed": seed, "rate": rate, "settings": settings},
            {"network": network, "rate": rate, "seed": seed},
        )
        for network in NETWORKS
        if "Adam" in network
        for rate in rates
        for seed in seeds
    ]


def best_digit_rates(rows: Sequence[Row]) -> dict[str, float]:
    """Rate with the highest mean accuracy of each network."""
    totals: dict[str, dict[float, float]] = {}
    for row in rows:
        of_network = totals.setdefault(row["network"], {})
        of_network[row["rate"]] = of_network.get(row["rate"], 0.0) + row["accuracy"]
    return {network: max(sums, key=lambda rate: sums[rate]) for network, sums in totals.items()}


def digit_trials(
    settings: DigitsSettings, rates: dict[str, float], seeds: Sequence[int] = (0, 1, 2, 3, 4)
) -> list[SeededTrial]:
    """Trials of every network, on splits and first weights of their own."""
    return [
        SeededTrial(
            digit_trial,
            {"network": network, "seed": seed, "rate": rates.get(network, 0.0), "settings": settings},
            {"network": network, "rate": rates.get(network), "seed": seed},
        )
        for network in NETWORKS
        for seed in seeds
    ]
