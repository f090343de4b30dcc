"""How good a classifier is: accuracy, also under noise and attack, and what can be certified of it.

Every number is a fraction of all samples, misclassified ones included, so that networks are compared on equal terms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.nodes.classifier import Classifier, NODEClassifier
from oncology.nodes.robustness.attack import SensitivityAttack, noisy_accuracy, shorten
from oncology.nodes.robustness.tube import certified_radius
from oncology.nodes.samples import Samples
from oncology.nodes.standalone import StandaloneNODE

__all__ = ["ClassifierScores", "Measures", "certified_radii", "evaluate"]


@dataclass(frozen=True)
class Measures:
    """What is measured, in the units of the inputs.

    Attributes:
        noise: standard deviation of the Gaussian noise of each input.
        radius: distance in the 2-norm within which a sample has to keep its class.
        bounds: lowest and highest value of an input, which the attack respects; or None.
        samples: most samples that are attacked and certified, the first ones.
        seed: of the noise.
    """

    noise: float = 0.1
    radius: float = 0.1
    bounds: tuple[float, float] | None = None
    samples: int = 500
    seed: int = 0


@dataclass(frozen=True)
class ClassifierScores:
    """What was found; None where nothing can be certified.

    Attributes:
        accuracy: fraction that gets its class.
        noisy: the same under Gaussian noise.
        attacked: fraction for which the attack finds no input of another class within the radius.
        distance: median distance of the nearest input of another class that the attack finds; 0 for what is
            misclassified itself, inf if most samples withstand.
        certified: fraction that is right and certified within the radius, at most `attacked`.
        radius: median certified radius; 0 for what is misclassified.
    """

    accuracy: float
    noisy: float
    attacked: float
    distance: float
    certified: float | None
    radius: float | None

    def as_dict(self) -> dict[str, Any]:
        """The numbers by name."""
        return asdict(self)


def certified_radii(model: StandaloneNODE, theta: Tensor, samples: Samples) -> Tensor:
    """Radius within which each sample certainly keeps its true class, 0 where it is misclassified, (K,).

    Raises:
        ConfigError: nothing can be certified of this network.
    """
    run = model.run(theta, model.embed(samples.inputs))
    right = model.read(run.final).argmax(-1) == samples.classes
    return torch.where(right, certified_radius(model, theta, run), 0.0)


def evaluate(
    classifier: Classifier,
    samples: Samples,
    measures: Measures,
    radii: Callable[[Samples], Tensor] | None = None,
) -> ClassifierScores:
    """Measure a classifier.

    Args:
        classifier: to be measured; a standalone NODE is certified too.
        samples: with their true classes.
        measures: what is measured.
        radii: certified radii of samples, for classifiers that are no standalone NODE.
    """
    source = torch.Generator().manual_seed(measures.seed)
    accuracy = float((classifier.outputs(samples.inputs).argmax(-1) == samples.classes).double().mean())
    noisy = noisy_accuracy(classifier, samples.inputs, samples.classes, measures.noise, source)
    few = samples.take(torch.arange(min(len(samples), measures.samples), device=samples.inputs.device))
    found = SensitivityAttack(bounds=measures.bounds)(classifier, few.inputs, few.classes)
    distances = shorten(classifier, few.inputs, few.classes, found).distances
    if radii is None and isinstance(classifier, NODEClassifier):
        radii = _of_node(classifier)
    certain = _certain(few, radii)
    return ClassifierScores(
        accuracy,
        noisy,
        float((distances > measures.radius).double().mean()),
        float(distances.median()),
        None if certain is None else float((certain >= measures.radius).double().mean()),
        None if certain is None else float(certain.median()),
    )


def _of_node(classifier: NODEClassifier) -> Callable[[Samples], Tensor]:
    return lambda samples: certified_radii(classifier.model, classifier.theta, samples)


def _certain(samples: Samples, radii: Callable[[Samples], Tensor] | None) -> Tensor | None:
    if radii is None:
        return None
    try:
        return radii(samples)
    except ConfigError:
        return None
