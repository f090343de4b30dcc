"""Conversion to and from residual networks, and the plain one to compare with."""

from __future__ import annotations

import pytest
import torch

from oncology.errors import ConfigError
from oncology.nodes.classifier import ModuleClassifier, NODEClassifier
from oncology.nodes.robustness.attack import SensitivityAttack
from oncology.nodes.scheme import RK4
from oncology.reproduce.resnet import EulerResNet, from_resnet, parameter_count, resnet_of_size, to_resnet
from tests.nodes.nets import batch, generator, like, net, trained


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_network_goes_to_a_resnet_and_back_without_a_change(dtype):
    model = net()
    theta, inputs = model.initial(generator(), 0.9).to(dtype), batch().inputs.to(dtype)
    module = to_resnet(model, theta)
    back, weights = from_resnet(module)
    assert torch.equal(weights, theta)
    assert back == model
    again = to_resnet(back, weights)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), again.parameters(), strict=True))
    tolerance = 10 * torch.finfo(dtype).eps
    assert torch.allclose(module(inputs), model.outputs_of(theta, inputs), atol=tolerance)


@pytest.mark.parametrize(("kind", "steps"), [("constant", 3), ("linear", 1), ("linear", 2)])
def test_other_weights_become_constant_on_the_time_steps(kind, steps):
    model = net(kind=kind, steps=steps)
    theta, inputs = model.initial(generator(), 0.9), batch().inputs
    flat, weights = from_resnet(to_resnet(model, theta))
    assert len(weights) == 7 * steps
    assert torch.allclose(flat.outputs_of(weights, inputs), model.outputs_of(theta, inputs), atol=1e-14)


def test_gradients_of_the_module_are_those_of_the_adjoint():
    model = net()
    theta, inputs = model.initial(generator(), 0.9), batch().inputs
    module, covector = to_resnet(model, theta), like(torch.empty(9, 2))
    (covector * module(inputs)).sum().backward()
    dual = model.run(theta, model.embed(inputs)).adjoint(model.write(covector)).theta
    for block, layer in zip(module.blocks, dual, strict=True):
        assert torch.allclose(block.weight.grad.T, layer[:4], atol=1e-13)
        assert torch.allclose(block.bias.grad, layer[4], atol=1e-13)


def test_a_resnet_trained_by_torch_comes_back_as_a_network():
    samples = batch(40)
    module = EulerResNet(net())
    with torch.no_grad():
        for block in module.blocks:
            block.weight.copy_(0.5 * like(block.weight))
    parameters = list(module.parameters())
    losses = []
    for _ in range(40):
        loss = (module(samples.inputs) - samples.targets).square().mean()
        losses.append(loss.item())
        with torch.no_grad():
            for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                parameter -= 0.5 * slope
    assert losses[-1] < 0.5 * losses[0]
    model, theta = from_resnet(module)
    assert torch.allclose(model.outputs_of(theta, samples.inputs), module(samples.inputs), atol=1e-13)


def test_the_module_is_attacked_as_the_network_is():
    model, theta, samples = trained()
    inputs, classes = samples.inputs[:8], samples.classes[:8]
    ours, theirs = NODEClassifier(model, theta), ModuleClassifier(to_resnet(model, theta))
    a, b = (SensitivityAttack(iterations=10)(classifier, inputs, classes) for classifier in (ours, theirs))
    assert torch.allclose(a.distances, b.distances, atol=1e-11)


@pytest.mark.parametrize("parameters", [150, 1000, 12345, 200000])
@pytest.mark.parametrize("blocks", [1, 7])
def test_a_plain_resnet_has_the_number_of_parameters_that_its_width_allows(parameters, blocks):
    found = parameter_count(resnet_of_size(64, 10, parameters, blocks))
    torch.manual_seed(0)
    module = resnet_of_size(64, 10, parameters, blocks)
    assert parameter_count(module) == found
    width = module.first.out_features
    others = [(65 + 10) * w + 10 + blocks * w * (w + 1) for w in (max(width - 1, 1), width + 1)]
    assert abs(found - parameters) <= min(abs(other - parameters) for other in others)
    assert module(torch.zeros(3, 64)).shape == (3, 10)


def test_a_network_counts_its_parameters():
    model = net()
    assert parameter_count(model) == 7 * 5 * 4 == parameter_count(to_resnet(model, model.initial(generator())))


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="take 'euler'"):
        EulerResNet(net(scheme=RK4))
    with pytest.raises(ConfigError, match="at least one block"):
        resnet_of_size(64, 10, 20, 3)
