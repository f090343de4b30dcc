"""A convolutional NODE against a small convolutional network of as many parameters, on scikit-learn's digits.

Both read out averages over the picture. Both are trained by Adam in mini-batches, the NODE then by conjugate gradients
on all images at once (from a random start these stay on the plateau where every class is as likely as any other).
Each is trained once more on pictures with noise that is drawn anew for every batch, all of it by Adam. All four have
as many forward-equivalent passes, meet the same noise and the same attacks, and the same weights of a NODE read the
pictures on twice as many pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from oncology.nodes.classifier import ModuleClassifier
from oncology.nodes.convolution.convolutional import ConvolutionalNODE
from oncology.nodes.convolution.images import Images
from oncology.nodes.convolution.kernel_basis import GaussianDerivatives
from oncology.nodes.cost import Cost
from oncology.nodes.data import Dataset, digits
from oncology.nodes.depth import DepthGrid, depth_space
from oncology.nodes.descent import Adam
from oncology.nodes.modules import CNODE
from oncology.nodes.optimisers import ConjugateGradients, forward_equivalents
from oncology.nodes.robustness.noise import Robustness, RobustnessTest, measure_robustness
from oncology.nodes.samples import Samples
from oncology.nodes.training_problem import TrainingProblem
from oncology.optimise import ConjugateGradient, Counts, hager_zhang
from oncology.reproduce.trials import Row, summed_up

__all__ = [
    "FULL",
    "QUICK",
    "DigitsNode",
    "ImageEffort",
    "ImageRow",
    "compare_on_digits",
    "digits_node",
    "images_of",
    "table_of",
]

PIXELS = 8
BATCH = 100
CHANNELS = 12
INPUT_NOISE = 0.2
"""Standard deviation of each pixel's noise in training; pixels are in [-1, 0]."""


@dataclass(frozen=True)
class ImageEffort:
    """How much is run.

    Attributes:
        seeds: of split, weights, batches and noise.
        epochs: of Adam before conjugate gradients.
        iterations: of conjugate gradients.
        attacked: number of test images that meet noise and attacks.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    epochs: int = 60
    iterations: int = 40
    attacked: int = 100


FULL = ImageEffort()
QUICK = ImageEffort(seeds=(0,), epochs=2, iterations=1, attacked=4)


@dataclass(frozen=True)
class ImageRow:
    """One network trained from one seed.

    Attributes:
        method: "convolutional NODE" or "convolutional network", and "input noise" where it was trained with it.
        seed: of weights, split and batches.
        parameters: number of weights.
        passes: forward-equivalent passes over the training images.
        accuracy: on the test images.
        finer: the same on pictures of twice as many pixels a side, where the network can read them; else nan.
        noisy: under noise of each deviation of the test.
        attacked: within each radius of the test, for the images that were attacked.
        distance: median distance of the nearest picture of another class that was found.
    """

    method: str
    seed: int
    parameters: int
    passes: int
    accuracy: float
    finer: float
    noisy: tuple[float, ...]
    attacked: tuple[float, ...]
    distance: float


@dataclass(frozen=True, eq=False)
class DigitsNode:
    """A trained convolutional NODE."""

    model: ConvolutionalNODE
    theta: Tensor
    passes: int


class _ReadOut(torch.nn.Module):
    """The NODE as a module of flat pictures."""

    def __init__(self, node: DigitsNode) -> None:
        super().__init__()
        self.node = node
        self.layer = CNODE.of(node.model, node.theta, (1.0, 1.0))

    def forward(self, flat: Tensor) -> Tensor:
        """Outputs (K, 10) of pictures (K, pixels)."""
        side = math.isqrt(flat.shape[1])
        model = self.node.model
        state = flat.new_zeros(len(flat), model.channels - 1, side, side)
        picture = flat.reshape(-1, 1, side, side)
        return model.read(self.layer(torch.cat([state, picture], dim=1)))


def images_of(samples: Samples) -> Images:
    """Pictures on the unit square, single precision."""
    pictures = samples.inputs.reshape(len(samples), 1, PIXELS, PIXELS)
    return Images(pictures.float(), samples.targets.float(), (1.0, 1.0))


def digits_node(data: Dataset, seed: int, epochs: int, iterations: int, noise: float = 0.0) -> DigitsNode:
    """Train a convolutional NODE with cross-entropy: Adam, then Hager-Zhang directions without Powell's restarts.

    Args:
        data: the digits.
        seed: of weights, batches and noise.
        epochs: of Adam in batches of 100, with a rate that a cosine takes to zero.
        iterations: of conjugate gradients on all training images; 0 for none.
        noise: standard deviation of each pixel's noise, drawn anew for every batch of Adam.
    """
    outputs = tuple(range(len(data.classes)))
    basis = GaussianDerivatives((0.08, 0.16), 2)
    model = ConvolutionalNODE(CHANNELS, DepthGrid(3.0, 4), basis, (CHANNELS - 1,), outputs, gain=10.0)
    source = torch.Generator().manual_seed(seed)
    theta = model.initial(source, 2.0 / CHANNELS).float()
    images, cost, flat = images_of(data.train), Cost(0.0, 1.0, decay=1e-6), depth_space(model.grid, like=theta)
    adam = Adam(rate=0.03, decays=(0.9, 0.99), horizon=epochs * math.ceil(len(images) / BATCH))
    memory, counts = None, Counts()
    for _ in range(epochs):
        for rows in torch.randperm(len(images), generator=source).split(BATCH):
            batch = images.take(rows)
            batch = replace(batch, inputs=_noised(batch.inputs, noise, source))
            visit = adam.visit(TrainingProblem(model, cost, batch), flat, theta, memory, False, counts)
            theta, memory = visit.theta, visit.memory
    counts = Counts(forward=epochs, gradient=epochs)
    if iterations == 0:
        return DigitsNode(model, theta, forward_equivalents(counts))
    gradients = ConjugateGradients(ConjugateGradient(hager_zhang, powell=math.inf), iterations=iterations)
    last = gradients.visit(TrainingProblem(model, cost, images), model.space(like=theta), theta, None, False, counts)
    return DigitsNode(model, last.theta, forward_equivalents(last.counts))


def _noised(pictures: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    if deviation == 0:
        return pictures
    return pictures + deviation * torch.randn(pictures.shape, generator=generator)


def convolutional_network(parameters: int, classes: int, generator: torch.Generator) -> torch.nn.Sequential:
    """Three convolutions with tanh and an average over the picture, with about the given number of weights."""
    width = round((math.sqrt((22.0 + classes) ** 2 + 72.0 * parameters) - (22.0 + classes)) / 36.0)
    network = torch.nn.Sequential(
        torch.nn.Unflatten(1, (1, PIXELS, PIXELS)),
        torch.nn.Conv2d(1, width, 3, padding=1),
        torch.nn.Tanh(),
        torch.nn.Conv2d(width, width, 3, padding=1),
        torch.nn.Tanh(),
        torch.nn.Conv2d(width, width, 3, padding=1),
        torch.nn.Tanh(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(width, classes),
    )
    with torch.no_grad():
        for weight in network.parameters():
            fan = weight[0].numel() if weight.ndim > 1 else width
            weight.copy_(torch.randn(weight.shape, generator=generator) * (fan**-0.5 if weight.ndim > 1 else 0.0))
    return network


def _trained_network(
    data: Dataset, seed: int, parameters: int, passes: int, noise: float = 0.0, rate: float = 3e-3
) -> torch.nn.Sequential:
    """Adam on batches of 100; a value with its gradient counts as three forward passes, as for the NODE."""
    generator = torch.Generator().manual_seed(seed)
    network = convolutional_network(parameters, len(data.classes), generator)
    optimiser = torch.optim.Adam(network.parameters(), rate)
    inputs, classes = data.train.inputs.float(), data.train.classes
    for _ in range(passes // 3):
        for rows in torch.randperm(len(inputs), generator=generator).split(BATCH):
            optimiser.zero_grad()
            outputs = network(_noised(inputs[rows], noise, generator))
            torch.nn.functional.cross_entropy(outputs, classes[rows]).backward()
            optimiser.step()
    return network.eval()


def _row(
    method: str, seed: int, module: torch.nn.Module, passes: int, data: Dataset, attacked: int, finer: float
) -> ImageRow:
    inputs, classes = data.test.inputs.float(), data.test.classes
    test = RobustnessTest(radii=(0.3, 0.6), deviations=(0.1, 0.2), bounds=data.bounds, seed=seed)
    found: Robustness = measure_robustness(ModuleClassifier(module), inputs[:attacked], classes[:attacked], test)
    with torch.no_grad():
        accuracy = float((module(inputs).argmax(-1) == classes).double().mean())
    count = sum(p.numel() for p in module.parameters())
    return ImageRow(method, seed, count, passes, accuracy, finer, found.noisy, found.attacked, found.median_distance)


def compare_on_digits(effort: ImageEffort = FULL) -> Iterator[ImageRow]:
    """Rows of the comparison, four a seed.

    Args:
        effort: how much is run.
    """
    for seed in effort.seeds:
        data = digits(seed)
        node = digits_node(data, seed, effort.epochs, effort.iterations)
        noisy = digits_node(data, seed, node.passes // 3, 0, INPUT_NOISE)
        for method, found in (("convolutional NODE", node), ("convolutional NODE, input noise", noisy)):
            module = _ReadOut(found)
            yield _row(method, seed, module, found.passes, data, effort.attacked, _finer(module, data))
        for method, noise in (("convolutional network", 0.0), ("convolutional network, input noise", INPUT_NOISE)):
            network = _trained_network(data, seed, node.theta.numel(), node.passes, noise)
            yield _row(method, seed, network, node.passes, data, effort.attacked, math.nan)


def _finer(module: torch.nn.Module, data: Dataset) -> float:
    """Accuracy of the same weights on the pictures' trigonometric interpolants of twice as many pixels a side."""
    pictures = data.test.inputs.float().reshape(-1, PIXELS, PIXELS)
    spectrum = torch.fft.fftshift(torch.fft.fft2(pictures), dim=(1, 2))
    padded = torch.nn.functional.pad(spectrum, (PIXELS // 2,) * 4)
    fine = 4.0 * torch.fft.ifft2(torch.fft.ifftshift(padded, dim=(1, 2))).real
    with torch.no_grad():
        outputs = module(fine.flatten(1))
    return float((outputs.argmax(-1) == data.test.classes).double().mean())


def table_of(rows: Iterable[ImageRow]) -> list[Row]:
    """Mean and spread over the seeds of each method."""
    numbers = (
        "passes",
        "accuracy",
        "twice the pixels",
        "noise 0.1",
        "noise 0.2",
        "attack 0.3",
        "attack 0.6",
        "distance",
    )
    lines: list[Row] = [
        {
            "method": row.method,
            "parameters": row.parameters,
            "passes": row.passes,
            "accuracy": row.accuracy,
            "twice the pixels": None if math.isnan(row.finer) else row.finer,
            "noise 0.1": row.noisy[0],
            "noise 0.2": row.noisy[1],
            "attack 0.3": row.attacked[0],
            "attack 0.6": row.attacked[1],
            "distance": row.distance,
        }
        for row in rows
    ]
    return summed_up(lines, ("method", "parameters"), numbers)
