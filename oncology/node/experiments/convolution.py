"""A convolutional NODE against a small convolutional network of as many parameters, on scikit-learn's digits (B3).

Both read out averages over the picture. Both are trained by Adam in mini-batches, the NODE then by conjugate gradients
on all images at once (from a random start these stay on the plateau where every class is as likely as any other); the
network has as many forward-equivalent passes. Both meet the same noise and the same attacks, and the same weights of
the NODE read the pictures on twice as many pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean, stdev

import torch
from torch import Tensor

from oncology.node.baselines import Adam
from oncology.node.classifier import ModuleClassifier
from oncology.node.convolution.basis import GaussianDerivatives
from oncology.node.convolution.layer import ConvolutionalLayer
from oncology.node.convolution.model import ConvolutionalNODE
from oncology.node.convolution.problem import ConvolutionProblem, Images
from oncology.node.cost import Cost
from oncology.node.data import Dataset, digits
from oncology.node.depth import DepthGrid, depth_space
from oncology.node.optimisers import ConjugateGradients, forward_equivalents
from oncology.node.problem import Samples
from oncology.node.robustness import Robustness, RobustnessTest, measure_robustness
from oncology.optimise import ConjugateGradient, Counts, hager_zhang

__all__ = ["DigitsNode", "ImageRow", "compare_on_digits", "digits_node", "images_of", "table_of"]

PIXELS = 8
BATCH = 100
CHANNELS = 12


@dataclass(frozen=True)
class ImageRow:
    """One network trained from one seed.

    Attributes:
        method: "convolutional NODE" or "convolutional network".
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
        self.layer = ConvolutionalLayer(node.model, (1.0, 1.0), node.theta)

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


def digits_node(data: Dataset, seed: int, epochs: int, iterations: int) -> DigitsNode:
    """Train a convolutional NODE with cross-entropy: Adam, then Hager-Zhang directions without Powell's restarts.

    Args:
        data: the digits.
        seed: of weights and batches.
        epochs: of Adam in batches of 100, with a rate that a cosine takes to zero.
        iterations: of conjugate gradients on all training images.
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
            visit = adam.visit(ConvolutionProblem(model, cost, images.take(rows)), flat, theta, memory, False, counts)
            theta, memory = visit.theta, visit.memory
    counts = Counts(forward=epochs, gradient=epochs)
    gradients = ConjugateGradients(ConjugateGradient(hager_zhang, powell=math.inf), iterations=iterations)
    last = gradients.visit(ConvolutionProblem(model, cost, images), model.space(like=theta), theta, None, False, counts)
    return DigitsNode(model, last.theta, forward_equivalents(last.counts))


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


def _trained_network(data: Dataset, seed: int, parameters: int, passes: int, rate: float = 3e-3) -> torch.nn.Sequential:
    """Adam on batches of 100; a value with its gradient counts as three forward passes, as for the NODE."""
    generator = torch.Generator().manual_seed(seed)
    network = convolutional_network(parameters, len(data.classes), generator)
    optimiser = torch.optim.Adam(network.parameters(), rate)
    inputs, classes = data.train.inputs.float(), data.train.classes
    for _ in range(passes // 3):
        for rows in torch.randperm(len(inputs), generator=generator).split(BATCH):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(inputs[rows]), classes[rows]).backward()
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


def compare_on_digits(
    seeds: tuple[int, ...], epochs: int = 60, iterations: int = 40, attacked: int = 100
) -> Iterator[ImageRow]:
    """Rows of the comparison, two a seed.

    Args:
        seeds: of split, weights and batches.
        epochs: of Adam.
        iterations: of conjugate gradients.
        attacked: number of test images that meet noise and attacks.
    """
    for seed in seeds:
        data = digits(seed)
        node = digits_node(data, seed, epochs, iterations)
        module = _ReadOut(node)
        yield _row("convolutional NODE", seed, module, node.passes, data, attacked, _finer(module, data))
        network = _trained_network(data, seed, node.theta.numel(), node.passes)
        yield _row("convolutional network", seed, network, node.passes, data, attacked, math.nan)


def _finer(module: torch.nn.Module, data: Dataset) -> float:
    """Accuracy of the same weights on the pictures' trigonometric interpolants of twice as many pixels a side."""
    pictures = data.test.inputs.float().reshape(-1, PIXELS, PIXELS)
    spectrum = torch.fft.fftshift(torch.fft.fft2(pictures), dim=(1, 2))
    padded = torch.nn.functional.pad(spectrum, (PIXELS // 2,) * 4)
    fine = 4.0 * torch.fft.ifft2(torch.fft.ifftshift(padded, dim=(1, 2))).real
    with torch.no_grad():
        outputs = module(fine.flatten(1))
    return float((outputs.argmax(-1) == data.test.classes).double().mean())


def table_of(rows: list[ImageRow]) -> list[dict[str, str]]:
    """Mean and spread over the seeds of each method, as texts."""

    def spread(values: list[float]) -> str:
        if math.isnan(values[0]):
            return ""
        return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")

    table = []
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        table.append(
            {
                "method": method,
                "parameters": str(own[0].parameters),
                "accuracy": spread([row.accuracy for row in own]),
                "twice the pixels": spread([row.finer for row in own]),
                "noise 0.1": spread([row.noisy[0] for row in own]),
                "noise 0.2": spread([row.noisy[1] for row in own]),
                "attack 0.3": spread([row.attacked[0] for row in own]),
                "attack 0.6": spread([row.attacked[1] for row in own]),
                "distance": spread([row.distance for row in own]),
            }
        )
    return table
