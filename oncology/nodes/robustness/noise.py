"""Robustness of a trained classifier in one call: accuracy, under noise, under attack, certified.

Attacks give an upper bound of the accuracy within a radius, certificates a lower bound; the truth lies between. The
same call serves standalone NODEs and any torch module, which has no certificate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.nodes.classifier import Classifier, NODEClassifier
from oncology.nodes.robustness.attack import Attacked, ProjectedGradient, SensitivityAttack, noisy_accuracy, shorten
from oncology.nodes.robustness.sensitivity import dual_order, linearised_radius
from oncology.nodes.robustness.tube import certified_radius

__all__ = ["Robustness", "RobustnessTest", "measure_robustness"]


@dataclass(frozen=True)
class RobustnessTest:
    """What is measured.

    Attributes:
        radii: within which samples are attacked and certified, in the units of the inputs.
        deviations: standard deviations of Gaussian noise of each input.
        norm: 2 or inf, in which radii and distances are measured.
        bounds: lowest and highest value that an attacked input may have, or None. Certificates need none.
        attack: attack by the sensitivity matrix.
        search: projected gradients; its norm and bounds are those of the test.
        draws: of the noise of each sample.
        seed: of noise and random starts.

    Raises:
        ConfigError: a radius or deviation is negative, or the norm is neither 2 nor inf.
    """

    radii: tuple[float, ...] = (0.05, 0.1, 0.2)
    deviations: tuple[float, ...] = (0.05, 0.1, 0.2)
    norm: float = 2.0
    bounds: tuple[float, float] | None = None
    attack: SensitivityAttack = SensitivityAttack()  # noqa: RUF009 - frozen
    search: ProjectedGradient = ProjectedGradient()  # noqa: RUF009 - frozen
    draws: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        dual_order(self.norm)
        if not all(0 <= number < math.inf for number in (*self.radii, *self.deviations)):
            raise ConfigError(f"radii {self.radii} and deviations {self.deviations}; need finite numbers >= 0")


@dataclass(frozen=True, eq=False)
class Robustness:
    """What was measured; distances and radii in the norm of the test and the units of the inputs.

    Attributes:
        test: what was asked for.
        accuracy: fraction of samples that are classified right.
        noisy: fraction under noise, for each deviation.
        attacked: fraction that is right and that no attack breaks within each radius.
        certified: fraction that is right and cannot be broken within each radius; None without certificates.
        distances: to the nearest input of another class that was found, (K,); 0 where the sample is wrong, inf where
            none was found.
        linearised: linearised radius, (K,): an estimate.
        radii: certified radius of the prediction, right or wrong, (K,); None without certificates.
        refusal: why there are no certificates; empty where there are.
    """

    test: RobustnessTest
    accuracy: float
    noisy: tuple[float, ...]
    attacked: tuple[float, ...]
    certified: tuple[float, ...] | None
    distances: Tensor
    linearised: Tensor
    radii: Tensor | None
    refusal: str = ""

    @property
    def median_distance(self) -> float:
        """Median of the distances of samples that are classified right; nan where there is none."""
        right = self.distances > 0
        return float(self.distances[right].median()) if bool(right.any()) else math.nan


def measure_robustness(
    classifier: Classifier, inputs: Tensor, classes: Tensor, test: RobustnessTest | None = None
) -> Robustness:
    """Measure how robust a classifier is.

    Args:
        classifier: `NODEClassifier` or `ModuleClassifier`.
        inputs: test samples, (K, inputs).
        classes: their true classes, (K,).
        test: what is measured; the defaults if not given.
    """
    test = test or RobustnessTest()
    source = torch.Generator().manual_seed(test.seed)
    outputs, jacobian = classifier.linearised(inputs)
    right = outputs.argmax(-1) == classes
    noisy = tuple(
        noisy_accuracy(classifier, inputs, classes, deviation, source, test.draws) for deviation in test.deviations
    )
    distances = _nearest(classifier, inputs, classes, test, source)
    radii, refusal = _certified(classifier, inputs, test.norm)

    def share(kept: Tensor) -> float:
        return float((right & kept).double().mean())

    return Robustness(
        test=test,
        accuracy=share(right),
        noisy=noisy,
        attacked=tuple(share(distances > radius) for radius in test.radii),
        certified=None if radii is None else tuple(share(radii >= radius) for radius in test.radii),
        distances=distances,
        linearised=linearised_radius(outputs, jacobian, test.norm),
        radii=radii,
        refusal=refusal,
    )


def _nearest(
    classifier: Classifier, inputs: Tensor, classes: Tensor, test: RobustnessTest, source: torch.Generator
) -> Tensor:
    """Distance of the nearest misclassified input that the attack, or a search within one of the radii, finds."""

    def distance(attacked: Attacked) -> Tensor:
        found = shorten(classifier, inputs, classes, attacked)
        away = torch.linalg.vector_norm(found.inputs - inputs, ord=test.norm, dim=-1)
        return torch.where(found.succeeded, torch.where(found.distances == 0, 0.0, away), torch.inf)

    nearest = distance(replace(test.attack, bounds=test.bounds)(classifier, inputs, classes))
    search = replace(test.search, norm=test.norm, bounds=test.bounds)
    for radius in test.radii:
        nearest = torch.minimum(nearest, distance(search(classifier, inputs, classes, radius, source)))
    return nearest


def _certified(classifier: Classifier, inputs: Tensor, norm: float) -> tuple[Tensor | None, str]:
    """Certified radii, or why there are none."""
    if not isinstance(classifier, NODEClassifier):
        return None, "certificates are for standalone NODEs"
    model, theta = classifier.model, classifier.theta
    try:
        return certified_radius(model, theta, model.run(theta, model.embed(inputs)), norm), ""
    except ConfigError as error:
        return None, str(error)
