"""Adversarial examples: by the sensitivity matrix (arXiv:2205.13933), and by projected gradients.

The first looks for the nearest boundary between classes with the linearised net, as DeepFool does; the second searches
a ball for the least margin and is what tests the certificates. Every sample is attacked on its own, in one batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.nodes.classifier import Classifier
from oncology.nodes.robustness.sensitivity import dual_order

__all__ = ["Attacked", "ProjectedGradient", "SensitivityAttack", "noisy_accuracy", "shorten"]

type Bounds = tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class Attacked:
    """What an attack found.

    Attributes:
        inputs: nearest (or worst) input of another class for each sample, (K, inputs); the sample where there is none.
        distances: how far it is from the sample, (K,): 0 where the sample itself is misclassified, inf where the
            attack failed.
    """

    inputs: Tensor
    distances: Tensor

    @property
    def succeeded(self) -> Tensor:
        """Whether each sample could be misclassified, (K,)."""
        return self.distances.isfinite()


def _unit(vectors: Tensor) -> Tensor:
    """Vectors of length one in the same directions; zero stays zero."""
    sizes = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / torch.where(sizes > 0, sizes, torch.ones_like(sizes))


def _clipped(inputs: Tensor, bounds: Bounds) -> Tensor:
    return inputs if bounds is None else inputs.clamp(*bounds)


@dataclass(frozen=True)
class SensitivityAttack:
    """Attack by the sensitivity matrix P of the inputs, `xi(0) = I` (Jaroudi et al., arXiv:2205.13933).

    From the current class c it moves a fixed length along `kappa P_i - P_c`, where i minimises the linearised distance
    `(x_c - kappa x_i) / |kappa P_i - P_c|`, and keeps the misclassified iterate nearest to the sample. P is the exact
    tangent of the discrete net. The defaults are those of the authors.

    Attributes:
        overshoot: kappa; below 1 it aims a little beyond the boundary.
        length: of a move, in the units of the inputs.
        iterations: most moves.
        bounds: lowest and highest value of an input, or None.

    Raises:
        ConfigError: a number is not positive.
    """

    overshoot: float = 0.975
    length: float = 0.03
    iterations: int = 30
    bounds: Bounds = None

    def __post_init__(self) -> None:
        if min(self.overshoot, self.length, self.iterations) <= 0:
            raise ConfigError(f"{self}: overshoot, length and iterations must be > 0")

    def __call__(self, classifier: Classifier, inputs: Tensor, classes: Tensor, target: int | None = None) -> Attacked:
        """Attack samples.

        Args:
            classifier: outputs and Jacobian.
            inputs: samples, (K, inputs).
            classes: their true classes, (K,).
            target: class to be reached; the nearest one if not given.
        """
        nearest = inputs.clone()
        distances = inputs.new_full((len(inputs),), torch.inf)
        point = inputs
        for _ in range(self.iterations):
            outputs, jacobian = classifier.linearised(point)
            distances = _keep(nearest, distances, inputs, point, outputs, classes, target)
            point = _clipped(point + self._move(outputs, jacobian, target), self.bounds)
        distances = _keep(nearest, distances, inputs, point, classifier.outputs(point), classes, target)
        return Attacked(nearest, distances)

    def _move(self, outputs: Tensor, jacobian: Tensor, target: int | None) -> Tensor:
        """Move of each sample, of the fixed length, towards the class with the least linearised distance."""
        rows = torch.arange(len(outputs), device=outputs.device)
        current = outputs.argmax(-1)
        normals = self.overshoot * jacobian - jacobian[rows, current][:, None]
        gaps = outputs[rows, current][:, None] - self.overshoot * outputs
        distances = gaps / torch.linalg.vector_norm(normals, dim=-1)
        distances[rows, current] = torch.inf
        other = distances.nan_to_num(nan=torch.inf).argmin(-1)
        if target is not None:
            other = torch.where(current == target, other, target)
        normal = normals[rows, other]
        return self.length * _unit(normal)


def _keep(
    nearest: Tensor,
    distances: Tensor,
    inputs: Tensor,
    point: Tensor,
    outputs: Tensor,
    classes: Tensor,
    target: int | None,
) -> Tensor:
    """Distances with those of the points that are misclassified and nearer; their inputs go to `nearest`."""
    predicted = outputs.argmax(-1)
    wrong = predicted != classes if target is None else (predicted == target) & (classes != target)
    away = torch.linalg.vector_norm(point - inputs, dim=-1)
    better = wrong & (away < distances)
    nearest[better] = point[better]
    return torch.where(better, away, distances)


def shorten(
    classifier: Classifier, inputs: Tensor, classes: Tensor, attacked: Attacked, halvings: int = 30
) -> Attacked:
    """Bring misclassified inputs to where the segment from the sample meets the boundary, by bisection.

    Args:
        classifier: outputs.
        inputs: samples, (K, inputs).
        classes: their true classes, (K,).
        attacked: what an attack found.
        halvings: of the segment.
    """
    low = torch.zeros_like(attacked.distances)
    high = torch.ones_like(low)
    whole = attacked.inputs - inputs
    for _ in range(halvings):
        middle = 0.5 * (low + high)
        wrong = classifier.outputs(inputs + middle[:, None] * whole).argmax(-1) != classes
        low, high = torch.where(wrong, low, middle), torch.where(wrong, middle, high)
    found = attacked.succeeded
    point = torch.where(found[:, None], inputs + high[:, None] * whole, inputs)
    shortened = torch.linalg.vector_norm(point - inputs, dim=-1)
    # a sample that is wrong itself is at distance 0, which bisection only approaches
    shortened = torch.where(attacked.distances == 0, torch.zeros_like(shortened), shortened)
    return Attacked(point, torch.where(found, shortened, torch.full_like(shortened, torch.inf)))


@dataclass(frozen=True)
class ProjectedGradient:
    """Search of a ball around each sample for the input with the least margin.

    Each start aims at another class, the likeliest first; once all had their turn the starts are random.

    Attributes:
        norm: 2 or inf, of the ball.
        iterations: moves from each start.
        restarts: number of starts.
        length: of a move, as a fraction of the radius; it shrinks to a tenth of it towards the end.
        bounds: lowest and highest value of an input, or None.

    Raises:
        ConfigError: the norm is neither 2 nor inf.
    """

    norm: float = 2.0
    iterations: int = 40
    restarts: int = 3
    length: float = 0.25
    bounds: Bounds = None

    def __post_init__(self) -> None:
        dual_order(self.norm)

    def __call__(
        self, classifier: Classifier, inputs: Tensor, classes: Tensor, radius: float | Tensor, source: torch.Generator
    ) -> Attacked:
        """Attack samples.

        Args:
            classifier: outputs and pull-backs.
            inputs: samples, (K, inputs).
            classes: their true classes, (K,).
            radius: of the ball, one for all or (K,).
            source: of the random starts, on the CPU.

        Returns:
            The input with the least margin within the ball where it is misclassified; distances in the given norm.
        """
        radii = torch.as_tensor(radius, dtype=inputs.dtype, device=inputs.device).expand(len(inputs))[:, None]
        worst, least = inputs.clone(), inputs.new_full((len(inputs),), torch.inf)

        rivals = classifier.outputs(inputs).scatter(1, classes[:, None], -torch.inf).argsort(1, descending=True)[:, :-1]
        for start in range(self.restarts):
            point, rival = inputs, rivals[:, start % rivals.shape[1]]
            if start >= rivals.shape[1]:
                noise = torch.randn(inputs.shape, generator=source, dtype=torch.float64).to(inputs)
                point = self._projected(inputs + radii * self._unit(noise), inputs, radii)
            for move in range(self.iterations + 1):
                outputs, gradient = classifier.pulled(point, partial(_towards, rival, classes))
                margins = _margin(outputs, classes)
                lower = margins < least
                worst[lower], least = point[lower], torch.where(lower, margins, least)
                share = self.length * 0.1 ** (move / self.iterations)
                point = self._projected(point + share * radii * self._unit(gradient), inputs, radii)
        wrong = classifier.outputs(worst).argmax(-1) != classes
        away = torch.linalg.vector_norm(worst - inputs, ord=self.norm, dim=-1)
        return Attacked(
            torch.where(wrong[:, None], worst, inputs), torch.where(wrong, away, torch.full_like(away, torch.inf))
        )

    def _unit(self, gradient: Tensor) -> Tensor:
        """Move of unit norm that increases a linear function with this gradient most."""
        if self.norm == torch.inf:
            return gradient.sign()
        return _unit(gradient)

    def _projected(self, point: Tensor, centre: Tensor, radii: Tensor) -> Tensor:
        """Nearest point of the ball, a little inside so that rounding does not leave it, within the bounds."""
        inside, move = (1.0 - 1e-6) * radii, point - centre
        if self.norm == torch.inf:
            move = torch.maximum(torch.minimum(move, inside), -inside)
        else:
            move = torch.minimum(inside, torch.linalg.vector_norm(move, dim=-1, keepdim=True)) * _unit(move)
        return _clipped(centre + move, self.bounds)


def _margin(outputs: Tensor, classes: Tensor) -> Tensor:
    """By how much the true class exceeds the largest other output."""
    own = outputs.gather(1, classes[:, None])[:, 0]
    return own - outputs.scatter(1, classes[:, None], -torch.inf).amax(1)


def _towards(rival: Tensor, classes: Tensor, outputs: Tensor) -> Tensor:
    """Covector that increases the output of the rival against that of the true class."""
    covector = torch.zeros_like(outputs)
    covector.scatter_(1, rival[:, None], 1.0)
    return covector.scatter_(1, classes[:, None], -1.0)


def noisy_accuracy(
    classifier: Classifier, inputs: Tensor, classes: Tensor, deviation: float, source: torch.Generator, draws: int = 10
) -> float:
    """Fraction of samples that keep their true class under Gaussian noise of the inputs.

    Args:
        classifier: outputs.
        inputs: samples, (K, inputs).
        classes: their true classes, (K,).
        deviation: standard deviation of the noise of each input.
        source: of the noise, on the CPU.
        draws: of the noise of each sample.
    """
    right = 0
    for _ in range(draws):
        noise = torch.randn(inputs.shape, generator=source, dtype=torch.float64).to(inputs)
        right += int((classifier.outputs(inputs + deviation * noise).argmax(-1) == classes).sum())
    return right / (draws * len(inputs))
