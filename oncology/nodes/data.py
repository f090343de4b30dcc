"""Data sets of standalone NODEs: moons, circles and spirals, scikit-learn's digits, and the user's own files.

Inputs of images are scaled affinely to [-1, 0], those of tables to mean 0 and deviation 1 of the training
part. Every generator is seeded; training and test points of a synthetic set are drawn one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from oncology.errors import ConfigError, DataError
from oncology.nodes.datafiles import Table, read_mnist, read_table
from oncology.nodes.samples import Samples

__all__ = [
    "SYNTHETIC",
    "Dataset",
    "FeatureScaling",
    "circles",
    "digits",
    "mnist",
    "moons",
    "one_hot",
    "spirals",
    "synthetic",
    "table",
    "table_to_test",
]

INK = (-1.0, 0.0)
"""Lowest and highest input of an image: full ink and paper."""


@dataclass(frozen=True)
class FeatureScaling:
    """Affine map of each feature, `(x - shift) / scale`."""

    shift: tuple[float, ...]
    scale: tuple[float, ...]

    def __call__(self, features: Tensor) -> Tensor:
        """Scaled features, (K, features)."""
        return (features - features.new_tensor(self.shift)) / features.new_tensor(self.scale)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples to learn and to test with.

    Attributes:
        name: as on the command line.
        train: samples to learn, targets one-hot; double precision.
        test: samples that are not learnt.
        classes: names of the classes, in the order of the outputs.
        bounds: lowest and highest value that an input can take, or None.
        scaling: of the features of a table; None where inputs are as the set defines them.
    """

    name: str
    train: Samples
    test: Samples
    classes: tuple[str, ...]
    bounds: tuple[float, float] | None = None
    scaling: FeatureScaling | None = None

    @property
    def features(self) -> int:
        """Number of inputs."""
        return self.train.inputs.shape[1]


def one_hot(classes: Tensor, number: int) -> Tensor:
    """Targets of classes, (K, number), double precision."""
    return torch.nn.functional.one_hot(classes, number).to(torch.float64)


def _uniform(number: int, source: torch.Generator) -> Tensor:
    return torch.rand(number, generator=source, dtype=torch.float64)


def _points(radius: Tensor, angle: Tensor, noise: float, source: torch.Generator) -> Tensor:
    exact = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)
    return exact + noise * torch.randn(exact.shape, generator=source, dtype=torch.float64)


def moons(number: int, source: torch.Generator, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    """Two unit half-circles that reach into each other; classes alternate.

    Returns:
        Inputs (number, 2) and classes (number,).
    """
    classes = torch.arange(number) % 2
    points = _points(torch.ones(number, dtype=torch.float64), math.pi * _uniform(number, source), noise, source)
    lower = torch.tensor([1.0, 0.5], dtype=torch.float64) - points
    return torch.where(classes[:, None] == 0, points, lower), classes


def circles(number: int, source: torch.Generator, noise: float = 0.08) -> tuple[Tensor, Tensor]:
    """Circles of radii 0.5 and 1 around the same point; classes alternate.

    Returns:
        Inputs (number, 2) and classes (number,).
    """
    classes = torch.arange(number) % 2
    radius = torch.where(classes == 0, 0.5, 1.0).to(torch.float64)
    return _points(radius, 2.0 * math.pi * _uniform(number, source), noise, source), classes


def spirals(number: int, source: torch.Generator, noise: float = 0.02) -> tuple[Tensor, Tensor]:
    """Two arms, radius u and angle 3 pi u (and + pi), u in [0.1, 1] with density ~ u - 0.1; classes alternate.

    With this density a half-plane classifies .65 to .66 of the points, as well as steepest descent does in the
    reference table of `oncology.reproduce.toys`; with a constant density it would reach .63.

    Returns:
        Inputs (number, 2) and classes (number,).
    """
    classes = torch.arange(number) % 2
    radius = 0.1 + 0.9 * torch.sqrt(_uniform(number, source))
    return _points(radius, math.pi * (3.0 * radius + classes), noise, source), classes


SYNTHETIC: dict[str, Callable[[int, torch.Generator], tuple[Tensor, Tensor]]] = {
    "moons": moons,
    "circles": circles,
    "spirals": spirals,
}


def synthetic(name: str, seed: int = 0, train: int = 200, test: int = 1000) -> Dataset:
    """Moons, circles or spirals, 200 points to learn and 1000 to test with.

    Args:
        name: key of `SYNTHETIC`.
        seed: of the points.
        train: number of points to learn.
        test: number of points to test with.

    Raises:
        ConfigError: there is no set of that name, or a number is below 2.
    """
    if name not in SYNTHETIC or min(train, test) < 2:
        known = ", ".join(SYNTHETIC)
        raise ConfigError(f"{train} and {test} points of {name!r}; take {known} with at least 2 and 2 points")
    source = torch.Generator().manual_seed(seed)
    parts = []
    for number in (train, test):
        inputs, classes = SYNTHETIC[name](number, source)
        parts.append(Samples(inputs, one_hot(classes, 2)))
    return Dataset(name, parts[0], parts[1], ("0", "1"))


def _inked(images: Tensor) -> Tensor:
    """Inputs of images whose lowest value is paper and whose highest is ink."""
    low, high = images.min(), images.max()
    if not high > low:
        raise DataError(f"all pixels of the images are {float(low):g}; give images that show something")
    return -(images - low) / (high - low)


def _split(number: int, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Shuffled rows to learn and to test with."""
    held = round(share * number)
    if not 0 < held < number:
        raise ConfigError(f"a test fraction of {share:g} of {number} samples leaves one part empty; take another one")
    order = torch.randperm(number, generator=torch.Generator().manual_seed(seed))
    return order[held:], order[:held]


def digits(seed: int = 0, share: float = 0.25) -> Dataset:
    """The 1797 digits of 8 x 8 pixels that come with scikit-learn.

    Args:
        seed: of the split.
        share: of the samples that are tested with.

    Raises:
        ConfigError: scikit-learn is not installed, or a part would be empty.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ConfigError("the digits come with scikit-learn, which is missing; pip install scikit-learn") from error
    pixels, labels = load_digits(return_X_y=True)
    images = _inked(torch.from_numpy(pixels).to(torch.float64))
    targets = one_hot(torch.from_numpy(labels).long(), 10)
    rows = _split(len(images), share, seed)
    parts = [Samples(images[part], targets[part]) for part in rows]
    return Dataset("digits", parts[0], parts[1], tuple("0123456789"), INK)


def mnist(folder: Path, halve: bool = True) -> Dataset:
    """MNIST, or any set of its format, from the four IDX files in a folder.

    Args:
        folder: holds images and labels named `train-*` and `t10k-*`, plain or compressed with gzip.
        halve: average 2 x 2 pixels, 28 x 28 to 14 x 14.

    Raises:
        DataError: a file is missing or malformed.
    """
    read = [read_mnist(folder, part, halve) for part in ("train", "t10k")]
    if read[0].images.shape[1:] != read[1].images.shape[1:]:
        raise DataError(f"{folder}: images of both parts differ in size; give files of one data set")
    number = int(max(part.labels.max() for part in read)) + 1
    whole = torch.from_numpy(read[0].images), torch.from_numpy(read[1].images)
    images = _inked(torch.cat([part.flatten(1) for part in whole]).to(torch.float64))
    targets = [one_hot(torch.from_numpy(part.labels), number) for part in read]
    count = len(whole[0])
    train, test = Samples(images[:count], targets[0]), Samples(images[count:], targets[1])
    return Dataset(f"mnist:{folder}", train, test, tuple(map(str, range(number))), INK)


def table(path: Path, column: str | None = None, seed: int = 0, share: float = 0.25) -> Dataset:
    """The user's own samples, a CSV file with a header; classes are the words of one column.

    Args:
        path: the file.
        column: name of the classes' column; the last one if not given.
        seed: of the split.
        share: of the samples that are tested with.

    Raises:
        DataError: the file is missing or malformed, or has one class only.
    """
    read = read_table(path, column)
    names = tuple(sorted(set(read.classes)))
    if len(names) < 2:
        raise DataError(f"{path}: every sample is of class {names[0]!r}; give samples of two classes or more")
    features = torch.from_numpy(read.features)
    rows = _split(len(features), share, seed)
    learnt = features[rows[0]]
    spread = learnt.std(0, correction=0)
    spread = torch.where(spread > 0, spread, torch.ones_like(spread))
    scaling = FeatureScaling(tuple(learnt.mean(0).tolist()), tuple(spread.tolist()))
    targets = _targets(path, read, names)
    parts = [Samples(scaling(features[part]), targets[part]) for part in rows]
    return Dataset(str(path), parts[0], parts[1], names, None, scaling)


def _targets(path: Path, read: Table, names: tuple[str, ...]) -> Tensor:
    unknown = sorted(set(read.classes) - set(names))
    if unknown:
        raise DataError(f"{path}: class {unknown[0]!r} was not learnt; the network knows {', '.join(names)}")
    return one_hot(torch.tensor([names.index(name) for name in read.classes]), len(names))


def table_to_test(path: Path, column: str | None, names: tuple[str, ...], scaling: FeatureScaling | None) -> Samples:
    """All samples of a CSV file, with the classes and the scaling of a trained network.

    Raises:
        DataError: the file is malformed, or has another number of features or an unknown class.
    """
    read = read_table(path, column)
    features = torch.from_numpy(read.features)
    if scaling is not None:
        if features.shape[1] != len(scaling.shift):
            raise DataError(f"{path}: {features.shape[1]} features; the network has learnt {len(scaling.shift)}")
        features = scaling(features)
    return Samples(features, _targets(path, read, names))
