"""The front door `oncology.nodes`: short, lazy, and its modules are torch modules like any other."""

from __future__ import annotations

import copy
import io
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import oncology.nodes as nodes
from oncology.errors import ConfigError
from tests.nodes.nets import batch, generator

ROOT = Path(__file__).parents[2]


def snode(**options) -> nodes.SNODE:
    return nodes.SNODE(2, 2, 4, 2.0, 7, generator=generator(), dtype=torch.float64, **options)


def test_the_door_loads_what_is_asked_for_and_no_more():
    """torch comes with the first network, the equations with the first equation."""
    asked = (
        "import sys, oncology.nodes as nodes; seen = [set(sys.modules)]; nodes.SNODE; seen.append(set(sys.modules));"
        "nodes.Science; seen.append(set(sys.modules));"
        "names = ('torch', 'oncology.science', 'scipy', 'torch._dynamo');"
        "print(*[int(name in loaded) for loaded in seen for name in names])"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["0", "0", "0", "0", "1", "0", "0", "0", "1", "1", "1", "0"]


def test_every_public_name_is_there():
    assert sorted(nodes._HOMES) == sorted(nodes.__all__) == dir(nodes)
    for name in nodes.__all__:
        assert getattr(nodes, name).__module__ == nodes._HOMES[name]
    with pytest.raises(AttributeError, match="RNODE"):
        nodes.RNODE  # noqa: B018


def test_the_examples_of_the_documentation_are_short():
    page = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```", page)
    cards = [block for block in blocks if re.search("nodes.fit|nodes.CNODE|nodes.identify", block)]
    assert len(cards) == 4
    assert all(len(card.strip().splitlines()) <= 8 and card.count("import") <= 1 for card in cards)


def test_gradients_are_those_of_the_composed_layers():
    """Against the same network written in torch operations, differentiated by torch."""
    net = snode()
    x = batch().inputs.clone().requires_grad_()
    weight = torch.randn(9, 2, generator=generator(3), dtype=torch.float64)

    def plain(theta, inputs):
        state = torch.cat([inputs.new_zeros(len(inputs), 2), inputs], 1)
        for layer in theta:
            state = state + 2.0 / 7 * torch.tanh(state @ layer[:-1] + layer[-1])
        return state[:, :2]

    theta = net.theta.detach().clone().requires_grad_()
    wanted = torch.autograd.grad((weight * plain(theta, x)).sum(), (theta, x))
    outputs = net(x)
    found = torch.autograd.grad((weight * outputs).sum(), (net.theta, x))
    assert torch.allclose(outputs, plain(theta, x), rtol=1e-13, atol=1e-14)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, rtol=1e-11, atol=1e-13)
    with pytest.raises(RuntimeError, match="differentiated once"):
        torch.autograd.grad((weight * net(x)).sum(), x, create_graph=True)
    assert torch.allclose(nodes.jacobian(net, x)[:, 0], torch.autograd.grad(net(x)[:, 0].sum(), x)[0], atol=1e-14)


def test_it_works_wherever_a_module_does():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), nodes.SNODE(2, 4, 5, 1.0, 3), torch.nn.Linear(4, 1))
    names = [name for name, _ in network.named_parameters()]
    assert "1.theta" in names and network(torch.ones(2, 6, 3)).shape == (2, 6, 1)
    compiled = torch.compile(network, backend="aot_eager")
    x = torch.randn(5, 3)
    assert torch.allclose(compiled(x), network(x), atol=1e-6)
    optimiser = torch.optim.Adam(network.parameters(), 0.05)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = (compiled(x) - x.prod(1, keepdim=True)).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]
    twin = copy.deepcopy(network)
    assert twin[1].model.activation is network[1].model.activation
    stored = io.BytesIO()
    torch.save(network, stored)
    stored.seek(0)
    again = torch.load(stored, weights_only=False)
    assert torch.equal(again(x), network(x)) and torch.equal(twin(x), network(x))
    twin[1].theta.data.zero_()
    twin.load_state_dict(network.state_dict())
    assert torch.equal(twin(x), network(x))


def test_seeds_give_the_same_weights():
    torch.manual_seed(3)
    first = nodes.SNODE(2, 2, 3, 1.0, 4), nodes.CNODE(2)
    torch.manual_seed(3)
    second = nodes.SNODE(2, 2, 3, 1.0, 4), nodes.CNODE(2)
    assert all(torch.equal(one.theta, other.theta) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("method", ["lbfgs", "ncg", "adam"])
def test_every_method_learns_the_circle(method):
    samples = batch(60)
    net = snode()
    seen = []
    fit = nodes.fit(
        net, samples.inputs, samples.classes, method, 0.3, 1, iterations=60, rate=0.05,
        callback=lambda now, records: seen.extend(records),
    )  # fmt: skip
    assert fit.accuracy > 0.95 and fit.net is net
    assert net.model.grid.cells == 14 and net.theta.shape == (14, 5, 4)
    assert fit.history == tuple(seen) and fit.iterations == len(seen) <= 120
    assert min(record.value for record in seen) < 0.5 * seen[0].value
    assert f"{fit.value:.6g}" in str(fit) and fit.work == seen[-1].counts.forward + 2 * (
        seen[-1].counts.gradient + seen[-1].counts.tangent
    )


def test_refinement_changes_nothing_but_the_steps():
    """In the limit of many layers: the weights are the same function of depth."""
    net = nodes.SNODE(2, 2, 4, 2.0, 400, generator=generator(), dtype=torch.float64)
    x = batch().inputs
    before = net(x).detach()
    net.refine(2)
    assert float((net(x).detach() - before).abs().max()) < 2e-3


def test_values_are_learnt_by_their_squares():
    x = torch.linspace(-1.0, 1.0, 21, dtype=torch.float64)[:, None]
    fit = nodes.fit(nodes.SNODE(1, 1, 3, 2.0, 8, generator=generator(), dtype=torch.float64), x, x**2, decay=1e-6)
    assert math.isnan(fit.accuracy) and "-" in str(fit)
    assert float((fit.net(x).detach() - x**2).abs().max()) < 0.05


def test_certificates_hold_against_attacks_in_both_norms():
    samples = batch(40)
    net = snode()
    nodes.fit(net, samples.inputs, samples.classes, iterations=60)
    for norm in (2, math.inf):
        radius = nodes.certify(net, samples.inputs, norm)
        found = nodes.attack(net, samples.inputs, net(samples.inputs).argmax(1), radius=3.0 * radius, norm=norm)
        assert bool((radius > 0).all()) and bool(found.succeeded.any())
        assert bool((found.distances > radius).all())
        moved = torch.linalg.vector_norm(found.inputs - samples.inputs, ord=norm, dim=1)
        assert torch.allclose(moved[found.succeeded], found.distances[found.succeeded])


def test_attacks_and_jacobians_take_any_module_and_shape():
    torch.manual_seed(1)
    cnn = torch.nn.Sequential(nodes.CNODE(2, layers=2), torch.nn.Flatten(), torch.nn.Linear(32, 3)).double()
    images = torch.randn(5, 2, 4, 4, dtype=torch.float64)
    y = cnn(images).argmax(1)
    found = nodes.attack(cnn, images, y, radius=3.0)
    assert found.inputs.shape == images.shape and bool(found.succeeded.any())
    broken = cnn(found.inputs).argmax(1) != y
    assert torch.equal(broken, found.succeeded)
    derivative = nodes.jacobian(cnn, images)
    assert derivative.shape == (5, 3, 2, 4, 4)
    step = 1e-6 * torch.randn_like(images)
    change = (cnn(images + step) - cnn(images - step)) / 2
    assert torch.allclose((derivative * step[:, None]).flatten(2).sum(2), change, rtol=1e-6, atol=1e-14)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: nodes.SNODE(2, 3, 2, 1.0, 4), "take width >= 3"),
        (lambda: nodes.SNODE(2, 2, 2, 1.0, 4, activation="swish"), "is unknown"),
        (lambda: nodes.fit(torch.nn.Linear(2, 2), *two()), "torch.optim"),
        (lambda: nodes.fit(snode(), *two(), method="sgd"), "take 'lbfgs'"),
        (lambda: nodes.fit(snode(), *two(), iterations=0), "iterations >= 1"),
        (lambda: nodes.fit(snode(), two()[0], torch.tensor([0, 2])), "0 to 1"),
        (lambda: nodes.fit(snode(), two()[0], torch.zeros(2)), "targets of shape"),
        (lambda: nodes.certify(torch.nn.Linear(2, 2), two()[0]), "no certificate"),
        (lambda: nodes.certify(snode(), two()[0], norm=3), "take 2 or inf"),
        (lambda: nodes.attack(snode(), *two(), radius=1.0, norm=1), "take 2 or inf"),
        (lambda: nodes.jacobian(snode(), torch.zeros(0, 2)), "at least one sample"),
        (lambda: nodes.CNODE(3)(torch.zeros(2, 2, 4, 4)), "need"),
    ],
)
def test_what_cannot_be_is_refused(wrong, words):
    with pytest.raises(ConfigError, match=words):
        wrong()


def two() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.eye(2), torch.tensor([0, 1])
