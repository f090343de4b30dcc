"""Robustness in one call: attacks and certificates enclose the truth, for networks and for torch modules."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from oncology.errors import ConfigError
from oncology.nodes.classifier import ModuleClassifier, NODEClassifier
from oncology.nodes.robustness.attack import ProjectedGradient
from oncology.nodes.robustness.noise import RobustnessTest, measure_robustness
from oncology.nodes.scheme import RK4
from oncology.reproduce.resnet import to_resnet
from tests.nodes.nets import like, trained

QUICK = RobustnessTest((0.2,), (0.2,), search=ProjectedGradient(iterations=8, restarts=2), draws=2)


@pytest.mark.parametrize("norm", [2.0, math.inf])
def test_certified_attacked_and_clean_accuracies_are_in_order(norm):
    model, theta, samples = trained()
    test = replace(QUICK, radii=(0.01, 0.1, 0.3, 0.6), deviations=(0.0, 0.2, 0.6), norm=norm, draws=10)
    found = measure_robustness(NODEClassifier(model, theta), samples.inputs, samples.classes, test)
    clean = float((model.outputs_of(theta, samples.inputs).argmax(-1) == samples.classes).double().mean())
    assert found.accuracy == found.noisy[0] == clean > 0.9
    assert found.noisy[2] < clean
    for certified, attacked in zip(found.certified, found.attacked, strict=True):
        assert certified <= attacked <= clean
    for shares in (found.certified, found.attacked):
        assert list(shares) == sorted(shares, reverse=True)
        assert shares[0] > shares[-1]
    assert bool((found.radii[found.distances > 0] <= found.distances[found.distances > 0]).all())
    assert found.certified[1] > 0.5 * found.attacked[1]
    assert 0.1 < found.median_distance < 2.0
    assert found.refusal == ""


def test_the_same_network_as_a_module_is_as_robust_and_has_no_certificate():
    model, theta, samples = trained()
    inputs, classes = samples.inputs[:20], samples.classes[:20]
    ours = measure_robustness(NODEClassifier(model, theta), inputs, classes, QUICK)
    theirs = measure_robustness(ModuleClassifier(to_resnet(model, theta)), inputs, classes, QUICK)
    assert (ours.accuracy, ours.noisy, ours.attacked) == (theirs.accuracy, theirs.noisy, theirs.attacked)
    assert torch.allclose(ours.linearised, theirs.linearised, rtol=1e-10)
    assert torch.allclose(ours.distances, theirs.distances, rtol=1e-6)
    assert theirs.certified is None
    assert "standalone" in theirs.refusal


def test_a_network_without_certificates_says_why():
    model, theta, samples = trained()
    other = NODEClassifier(replace(model, scheme=RK4), theta)
    found = measure_robustness(other, samples.inputs[:5], samples.classes[:5], QUICK)
    assert found.certified is None and found.radii is None
    assert "'euler'" in found.refusal


def test_a_linear_classifier_has_its_exact_distances():
    module = torch.nn.Linear(4, 3).double()
    with torch.no_grad():
        module.weight.copy_(like(module.weight))
        module.bias.copy_(like(module.bias, 3))
    inputs = like(torch.empty(40, 4), 7)
    classes = ModuleClassifier(module).outputs(inputs).argmax(-1)
    classes[:5] = (classes[:5] + 1) % 3
    radii = (0.05, 0.3, 1.0)
    found = measure_robustness(ModuleClassifier(module), inputs, classes, RobustnessTest(radii, ()))
    exact = torch.where(torch.arange(40) < 5, 0.0, found.linearised)
    assert found.accuracy == 35 / 40
    assert found.attacked == tuple(float((exact > radius).double().mean()) for radius in radii)
    assert bool((found.distances[:5] == 0).all())
    reached = found.distances.isfinite()
    assert bool((found.distances[reached] >= exact[reached] - 1e-7).all())


def test_the_seed_decides_and_bounds_are_kept():
    model, theta, samples = trained()
    classifier, inputs, classes = NODEClassifier(model, theta), samples.inputs[:10], samples.classes[:10]
    first, again = (measure_robustness(classifier, inputs, classes, QUICK) for _ in range(2))
    assert first.noisy == again.noisy
    assert torch.equal(first.distances, again.distances)
    box = float(inputs.abs().max())
    kept = measure_robustness(classifier, inputs, classes, replace(QUICK, bounds=(-box, box)))
    assert kept.attacked >= first.attacked


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="take 2 or inf"):
        RobustnessTest(norm=3.0)
    with pytest.raises(ConfigError, match="finite numbers >= 0"):
        RobustnessTest(radii=(-0.1,))


def test_no_sample_classified_right_has_no_median():
    model, theta, samples = trained()
    outputs = model.outputs_of(theta, samples.inputs[:4]).argmax(-1)
    found = measure_robustness(NODEClassifier(model, theta), samples.inputs[:4], 1 - outputs, QUICK)
    assert found.accuracy == 0.0
    assert math.isnan(found.median_distance)
