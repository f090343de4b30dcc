"""What an evaluation finds, against a network whose distances to the boundary are known: zero weights, the identity."""

from __future__ import annotations

import math

import pytest
import torch

from oncology.nodes.classifier import ModuleClassifier, NODEClassifier
from oncology.nodes.evaluation import Measures, certified_radii, evaluate
from oncology.nodes.samples import Samples
from oncology.nodes.scheme import RK4
from oncology.nodes.standalone import prototype
from oncology.reproduce.digits import DiffeqNet, diffeq_of_size, module_lipschitz, module_radii
from oncology.reproduce.resnet import PlainResNet, parameter_count
from oncology.reproduce.trials import SeededTrial, run_trials, summed_up
from tests.nodes.nets import generator


@pytest.fixture
def points() -> Samples:
    """Points of the plane; the class is that of the larger component, but for every fifth one."""
    inputs = torch.rand(100, 2, generator=generator(), dtype=torch.float64)
    classes = inputs.argmax(1)
    classes[::5] = 1 - classes[::5]
    return Samples(inputs, torch.eye(2, dtype=torch.float64)[classes])


def identity() -> NODEClassifier:
    model = prototype(2, 2, length=1.0, cells=4)
    return NODEClassifier(model, torch.zeros(model.shape, dtype=torch.float64))


def test_the_identity_is_measured_as_geometry_says(points):
    away = (points.inputs[:, 0] - points.inputs[:, 1]).abs() / math.sqrt(2.0)
    right = points.inputs.argmax(1) == points.classes
    exact = torch.where(right, away, 0.0)
    radius, noise = 0.1, 0.05
    found = evaluate(identity(), points, Measures(noise=noise, radius=radius, seed=1))
    assert found.accuracy == pytest.approx(0.8)
    assert found.attacked == pytest.approx(float((exact > radius).double().mean()))
    # the attack aims beyond the boundary by kappa = 0.975, a little off the normal
    slant = (1.0 + 0.975) / math.sqrt(2.0 * (1.0 + 0.975**2))
    assert found.distance == pytest.approx(float(exact.median()) / slant, rel=1e-6)
    assert found.certified == found.attacked  # the network is linear: its certificate is exact
    assert found.radius == pytest.approx(float(exact.median()), rel=1e-6)
    # the difference of two components has noise of deviation sqrt(2) noise
    kept = torch.special.ndtr(torch.where(right, away, -away) / noise)
    assert found.noisy == pytest.approx(float(kept.mean()), abs=0.02)


def test_radii_are_those_of_the_samples_that_are_right(points):
    classifier = identity()
    radii = certified_radii(classifier.model, classifier.theta, points)
    assert ((radii > 0) == (points.inputs.argmax(1) == points.classes)).all()


def test_nothing_is_certified_where_nothing_can_be(points):
    model = prototype(2, 2, length=1.0, cells=4)
    classifier = NODEClassifier(type(model)(2, model.grid, (0, 1), (0, 1), scheme=RK4), identity().theta)
    found = evaluate(classifier, points, Measures())
    assert (found.certified, found.radius) == (None, None)
    assert found.accuracy == pytest.approx(0.8)


@pytest.mark.parametrize("kind", ["resnet", "diffeq"])
def test_bounds_of_modules_are_above_every_observed_slope_and_their_radii_hold(kind):
    torch.manual_seed(0)
    module = PlainResNet(64, 10, 12, 3) if kind == "resnet" else diffeq_of_size(3000)
    bound = module_lipschitz(module)
    inputs = torch.randn(50, 64, generator=generator(1))
    moves = torch.randn(50, 64, generator=generator(2))
    with torch.no_grad():
        slopes = (module(inputs + 1e-2 * moves) - module(inputs)).norm(dim=1) / (1e-2 * moves.norm(dim=1))
    assert 0.02 * bound < slopes.max() < bound
    classifier = ModuleClassifier(module)
    classes = classifier.outputs(inputs).argmax(1)
    samples = Samples(inputs, torch.eye(10)[classes])
    radii = module_radii(module)(samples)
    assert (radii > 0).all()
    edge = inputs + 0.999 * radii[:, None].float() * torch.nn.functional.normalize(moves)
    assert (classifier.outputs(edge).argmax(1) == classes).all()


def test_torchdiffeqs_network_has_as_many_parameters_as_its_width_allows():
    wanted = 41600
    module = diffeq_of_size(wanted)
    assert isinstance(module, DiffeqNet)
    assert abs(parameter_count(module) - wanted) <= 129 / 2


def measured(seed: int, offset: float) -> dict[str, float]:
    return {"value": seed + offset}


def test_trials_are_summed_up_over_their_seeds():
    trials = [
        SeededTrial(measured, {"seed": seed, "offset": offset}, {"offset": offset, "seed": seed})
        for offset in (0.0, 10.0)
        for seed in (1, 2, 6)
    ]
    rows = [row for _, row in run_trials(trials)]
    first, second = summed_up(rows, ("offset",), ("value",))
    assert (first["value"], second["value"], first["seeds"]) == (3.0, 13.0, 3)
    assert first["value_sd"] == pytest.approx(math.sqrt(7.0))
