"""Attacks: exact distances where they are known, crossings of the boundary, the same result for any classifier."""

from __future__ import annotations

import math

import pytest
import torch

from oncology.errors import ConfigError
from oncology.nodes.classifier import ModuleClassifier, NODEClassifier
from oncology.nodes.robustness.attack import Attacked, ProjectedGradient, SensitivityAttack, noisy_accuracy, shorten
from oncology.nodes.robustness.sensitivity import linearised_radius
from tests.nodes.nets import generator, like, net, trained


def linear(features=4, classes=3, seed=2):
    module = torch.nn.Linear(features, classes).double()
    with torch.no_grad():
        module.weight.copy_(like(module.weight, seed))
        module.bias.copy_(like(module.bias, seed + 1))
    return ModuleClassifier(module)


def nearest_plane(classifier, inputs, norm=2.0):
    outputs, jacobian = classifier.linearised(inputs)
    return linearised_radius(outputs, jacobian, norm)


def test_a_linear_classifier_is_crossed_at_its_exact_distance():
    classifier, inputs = linear(), like(torch.empty(50, 4), 7)
    classes = classifier.outputs(inputs).argmax(-1)
    exact = nearest_plane(classifier, inputs)
    # without overshoot the moves are along the normal of the nearest plane; whole moves overshoot by less than one
    attack = SensitivityAttack(overshoot=1.0, iterations=400)
    attacked = attack(classifier, inputs, classes)
    assert bool(attacked.succeeded.all())
    assert bool((attacked.distances >= exact).all())
    assert bool((attacked.distances <= exact + attack.length + 1e-12).all())
    assert torch.allclose(shorten(classifier, inputs, classes, attacked).distances, exact, rtol=1e-7)


def test_the_attack_of_the_authors_moves_as_written():
    classifier, inputs = linear(), like(torch.empty(1, 4), 7)
    outputs, jacobian = classifier.linearised(inputs)
    z, p = outputs[0], jacobian[0]
    c = int(z.argmax())
    normals = [0.975 * p[i] - p[c] for i in range(3)]
    distances = [float((z[c] - 0.975 * z[i]) / normals[i].norm()) if i != c else math.inf for i in range(3)]
    i = distances.index(min(distances))
    point = (inputs[0] + 0.03 * normals[i] / normals[i].norm()).clamp(-1.0, 0.0)
    target = int(classifier.outputs(point[None]).argmax())
    moved = SensitivityAttack(iterations=1, bounds=(-1.0, 0.0))(classifier, inputs, torch.tensor([c + 1]))
    assert torch.equal(moved.inputs, inputs)  # misclassified from the start: nothing is nearer than the sample
    assert float(moved.distances) == 0.0
    wrong = torch.tensor([c]) if target != c else torch.tensor([(c + 1) % 3])
    again = SensitivityAttack(iterations=1, bounds=(-1.0, 0.0))(classifier, point[None], wrong)
    assert float(again.distances) == (math.inf if target == int(wrong) else 0.0)
    step = SensitivityAttack()._move(outputs, jacobian, None)
    assert torch.allclose((inputs + step).clamp(-1.0, 0.0)[0], point, atol=1e-15)


def test_a_target_is_reached_and_a_sample_of_it_counts_as_failed():
    classifier, inputs = linear(), like(torch.empty(50, 4), 7)
    classes = classifier.outputs(inputs).argmax(-1)
    attacked = SensitivityAttack(iterations=600)(classifier, inputs, classes, target=1)
    assert bool((attacked.succeeded == (classes != 1)).all())
    assert bool((classifier.outputs(attacked.inputs[classes != 1]).argmax(-1) == 1).all())
    untargeted = SensitivityAttack(iterations=600)(classifier, inputs, classes)
    others = classes != 1
    assert bool((attacked.distances[others] >= untargeted.distances[others] - 1e-12).all())


def test_a_trained_network_is_fooled_close_to_its_boundary():
    model, theta, samples = trained()
    classifier = NODEClassifier(model, theta)
    classes = samples.classes
    right = classifier.outputs(samples.inputs).argmax(-1) == classes
    assert float(right.double().mean()) > 0.9
    attack = SensitivityAttack(iterations=200)
    attacked = attack(classifier, samples.inputs, classes)
    assert bool((attacked.distances[~right] == 0).all())
    assert float(attacked.succeeded.double().mean()) > 0.9
    found = attacked.succeeded & right
    predicted = classifier.outputs(attacked.inputs).argmax(-1)
    assert bool((predicted[found] != classes[found]).all())
    away = (attacked.inputs - samples.inputs).norm(dim=-1)
    assert torch.allclose(away[found], attacked.distances[found], atol=1e-14)
    shortened = shorten(classifier, samples.inputs, classes, attacked)
    assert bool((shortened.distances[found] <= attacked.distances[found] + 1e-12).all())
    # random moves of that length cross far less often
    noise = like(samples.inputs)
    moved = samples.inputs + shortened.distances.nan_to_num(posinf=0.0)[:, None] * noise / noise.norm(
        dim=1, keepdim=True
    )
    crossed = classifier.outputs(moved).argmax(-1) != classes
    assert float(crossed[found].double().mean()) < 0.3


def test_samples_are_attacked_independently_of_their_batch():
    model, theta, samples = trained()
    classifier = NODEClassifier(model, theta)
    attack = SensitivityAttack()
    together = attack(classifier, samples.inputs[:6], samples.classes[:6])
    alone = [attack(classifier, samples.inputs[k : k + 1], samples.classes[k : k + 1]).distances for k in range(6)]
    assert torch.allclose(together.distances, torch.cat(alone), atol=1e-12)


def test_attacks_are_the_same_by_adjoints_and_by_automatic_differentiation():
    model, theta, samples = trained()
    inputs, classes = samples.inputs[:8], samples.classes[:8]

    class Layers(torch.nn.Module):
        def forward(self, x):
            x = torch.cat([torch.zeros(len(x), 2, dtype=x.dtype), x], dim=1)
            for w in theta:
                x = x + model.time_step * torch.tanh(x @ w[:4] + w[4])
            return x[:, :2]

    ours, theirs = NODEClassifier(model, theta), ModuleClassifier(Layers())
    for attack in (SensitivityAttack(), SensitivityAttack(bounds=(-1.0, 1.0))):
        a, b = attack(ours, inputs, classes), attack(theirs, inputs, classes)
        assert torch.allclose(a.distances, b.distances, atol=1e-10)
    search = ProjectedGradient(iterations=10)
    a, b = (search(classifier, inputs, classes, 0.4, generator()) for classifier in (ours, theirs))
    assert torch.allclose(a.inputs, b.inputs, atol=1e-9)


@pytest.mark.parametrize("norm", [2.0, math.inf])
def test_projected_gradients_cross_planes_within_the_ball_and_no_other(norm):
    classifier, inputs = linear(), like(torch.empty(60, 4), 7)
    classes = classifier.outputs(inputs).argmax(-1)
    exact = nearest_plane(classifier, inputs, norm)
    search = ProjectedGradient(norm)
    for share in (0.9, 0.999, 1.001, 1.1):
        attacked = search(classifier, inputs, classes, share * exact, generator())
        assert bool((attacked.succeeded == (share > 1)).all())
        away = torch.linalg.vector_norm(attacked.inputs - inputs, ord=norm, dim=-1)
        assert bool((away <= share * exact).all())


def test_bounds_are_kept():
    classifier, inputs = linear(), like(torch.empty(60, 4), 7).clamp(-0.5, 0.5)
    classes = classifier.outputs(inputs).argmax(-1)
    for attacked in (
        SensitivityAttack(iterations=5, bounds=(-0.5, 0.5))(classifier, inputs, classes),
        ProjectedGradient(bounds=(-0.5, 0.5))(classifier, inputs, classes, 0.3, generator()),
    ):
        assert float(attacked.inputs.abs().max()) <= 0.5
        assert 0 < int(attacked.succeeded.sum()) < 60


def test_accuracy_under_noise_is_that_of_the_normal_distribution():
    """One linear unit against a constant: the share is Phi(distance / deviation)."""
    module = torch.nn.Linear(3, 2).double()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[0.6, 0.0, 0.8], [0.0, 0.0, 0.0]]))
        module.bias.zero_()
    inputs = torch.tensor([[0.5, 0.3, 0.0]], dtype=torch.float64)  # at distance 0.3
    share = noisy_accuracy(ModuleClassifier(module), inputs, torch.tensor([0]), 0.4, generator(), 5000)
    expected = 0.5 * (1.0 + math.erf(0.3 / 0.4 / math.sqrt(2.0)))
    assert share == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 5000))


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="must be > 0"):
        SensitivityAttack(length=0.0)
    with pytest.raises(ConfigError, match="take 2 or inf"):
        ProjectedGradient(norm=1.0)


def test_zero_gradients_move_nothing():
    model = net()
    flat = NODEClassifier(model, torch.zeros(7, 5, 4, dtype=torch.float64))  # outputs do not depend on inputs
    attacked = SensitivityAttack()(flat, like(torch.empty(3, 2)), torch.zeros(3, dtype=torch.long))
    assert isinstance(attacked, Attacked)
    assert not bool(attacked.succeeded.any())
    assert bool(attacked.inputs.isfinite().all())
