"""`Science` modules and `identify`: gradients, exact coefficients, and what data do not determine."""

from __future__ import annotations

import math

import pytest
import torch

import oncology.nodes as nodes
from oncology.errors import ConfigError
from oncology.nodes.scheme import RK4
from oncology.science.equations.kinetic import GoldsteinTaylor
from oncology.science.grid import Axis, Grid, interval
from oncology.science.posed import pose
from oncology.science.runge_kutta import explicit
from tests.science.small import normal


def hump(grid: Grid) -> torch.Tensor:
    return torch.exp(-8.0 * (grid.points[:, 0] - 0.3) ** 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda grid: nodes.Science(nodes.heat(grid, "k", 0.1), 0.5, 3, unknowns={"k": 0.2}),
        lambda grid: nodes.Science(nodes.reaction_diffusion(grid, "D", "rho"), 0.5, 3, unknowns={"D": 0.1}),
        lambda grid: nodes.Science(nodes.advection(grid, decay="r"), 0.5, 3, unknowns={"velocity": -0.3}),
        lambda grid: nodes.Science(nodes.burgers(grid, "nu"), 0.5, 3, unknowns={"nu": 0.1}),
        lambda grid: nodes.Science(lambda u, q: -q["a"] * u**3 + q["b"], 0.5, 3, unknowns={"a": 0.3, "b": 0.2}),
    ],
)
def test_gradients_by_state_and_unknowns(make):
    """Against differences, through the parameters that an optimiser sees."""
    grid = interval(0.0, 1.0, 6)
    model = make(grid)
    names = [name for name, _ in model.named_parameters()]

    def run(state, *parameters):
        return torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), (state,))

    state = (hump(grid) + 0.1 * normal(2, 6)).requires_grad_()
    assert torch.autograd.gradcheck(run, (state, *model.parameters()))


def test_it_is_a_layer_in_single_precision_and_stores_its_unknowns():
    grid = interval(0.0, 1.0, 8)
    model = nodes.Science(nodes.heat(grid, "k"), 0.1, unknowns={"k": 0.2})
    network = torch.nn.Sequential(torch.nn.Linear(3, 8), model, torch.nn.Linear(8, 1))
    network(torch.ones(4, 3)).sum().backward()
    assert network[0].weight.grad is not None and model.sought["k"].grad is not None
    twin = nodes.Science(nodes.heat(grid, "k"), 0.1)
    twin.load_state_dict(model.state_dict())
    assert float(twin.values["k"]) == pytest.approx(0.2, rel=1e-12)
    assert "k=0.2 mm^2/day" in repr(twin)


def test_a_conductivity_of_the_closed_solution_is_found():
    """Cosine modes decay as exp(-k pi^2 m^2 t); the cells' own eigenvalue is known, so that nothing is lost to them."""
    grid = interval(0.0, 1.0, 40)
    u0, seen = torch.cos(math.pi * grid.points[:, 0]), torch.tensor([0.0125, 0.3, 0.51, 0.9875], dtype=torch.float64)
    rate = (80.0 * math.sin(math.pi / 80.0)) ** 2
    exact = {t: (seen, grid.interpolation(seen).value(math.exp(-0.07 * rate * t) * u0[None])[0]) for t in (0.1, 0.3)}
    model = nodes.Science(nodes.heat(grid, conductivity="k"), time=0.3, steps=6)
    found = nodes.identify(model, start=u0, data=exact)
    assert found.k == pytest.approx(0.07, rel=1e-7) and found.identified == {"k": True}
    assert found.residual < 1e-8 and found.sd["k"] < 1e-6
    assert float(model.values["k"]) == pytest.approx(found.k, rel=1e-12)
    assert "mm^2/day" in str(found) and "yes" in str(found)
    with pytest.raises(AttributeError, match="was not sought; found are k"):
        found.diffusivity  # noqa: B018


def test_the_standard_deviation_is_that_of_repeated_experiments():
    grid, noise = interval(0.0, 1.0, 12), 0.02
    seen = torch.arange(12)
    exact = nodes.Science(nodes.heat(grid, conductivity=0.1), time=0.2, steps=4)(hump(grid))[seen]
    found = []
    for seed in range(24):
        model = nodes.Science(nodes.heat(grid, conductivity="k"), time=0.2, steps=4)
        values = exact + noise * normal(12, seed=seed)
        found.append(nodes.identify(model, hump(grid), {0.2: (seen, values)}, noise))
    errors = torch.tensor([(each.k - 0.1) / each.sd["k"] for each in found])
    assert float(errors.std()) == pytest.approx(1.0, abs=0.4) and abs(float(errors.mean())) < 0.5


def test_what_the_data_do_not_see_is_said():
    """Of two factors only the product matters; a third unknown matters not at all."""
    u0, time = torch.tensor([[0.1], [0.2]]).double(), 2.0
    grown = u0 * math.exp(0.75 * time) / (1.0 - u0 + u0 * math.exp(0.75 * time))
    model = nodes.Science(
        lambda u, q: q["r"] * q["s"] * u * (1 - u) + 0.0 * q["c"],
        time,
        10,
        stepper=explicit(RK4),
        unknowns={"r": 1.2, "s": 0.5, "c": 0.0},
        positive={"r", "s"},
    )
    found = nodes.identify(model, u0, {time: (torch.tensor([0]), grown)}, noise=1e-4)
    assert found.r * found.s == pytest.approx(0.75, rel=1e-3)
    assert found.identified == {"r": False, "s": False, "c": False}
    assert found.c == 0.0 and found.sd["c"] == pytest.approx(1.0)
    assert found.sd["r"] == pytest.approx(found.r / math.sqrt(2.0), rel=1e-2)
    assert any("c by 1 c" in sentence for sentence in found.identifiability.words())


@pytest.mark.parametrize("boundary", ["noflux", "periodic", "fixed"])
def test_interpolation_knows_the_walls(boundary):
    """Exact for functions that are linear in each coordinate and obey the walls; transpose by the dot test."""
    grid = Grid((Axis(0.0, 2.0, 5, boundary, (1.0, 3.0)), Axis(-1.0, 1.0, 4, "noflux")))
    points = torch.rand(30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2.0 - torch.tensor(
        [0.0, 1.0]
    )
    observe = grid.interpolation(points)
    constant = observe.value(torch.full((1, 20), 2.0, dtype=torch.float64))
    if boundary == "fixed":
        line = (1.0 + grid.points[:, 0])[None]
        assert torch.allclose(observe.value(line), 1.0 + points[None, :, 0])
        ends = torch.tensor([[0.0, 0.3], [2.0, -0.2]])
        assert torch.allclose(grid.interpolation(ends).value(normal(2, 20)), torch.tensor([1.0, 3.0]).double())
    else:
        assert torch.allclose(constant, torch.full_like(constant, 2.0))
        x, inner = grid.points[:, 0], (points[:, 0] > 0.2) & (points[:, 0] < 1.8)
        assert torch.allclose(observe.value(x[None])[0, inner], points[inner, 0])
    if boundary == "periodic":
        ends = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
        seam = grid.interpolation(ends).value(normal(1, 20))[0]
        assert float(seam[0]) == pytest.approx(float(seam[1]))
    u, covector = normal(3, 20), normal(3, 30, seed=1)
    pulled = observe.pullback(u, covector)
    assert float((pulled * u).sum()) == pytest.approx(float((observe.pushforward(u, u) * covector).sum()), rel=1e-12)


GRID = interval(0.0, 1.0, 8)


def conductivity(**options) -> nodes.Science:
    return nodes.Science(nodes.heat(GRID, conductivity="k"), 0.2, **options)


def seek(points, values, **options) -> nodes.Found:
    return nodes.identify(conductivity(), hump(GRID), {0.2: (points, values)}, **options)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: conductivity(unknowns={"D": 1.0}), r"the unknowns are \['k'\]"),
        (lambda: conductivity(unknowns={"k": -1.0}), "value > 0"),
        (lambda: conductivity(steps=0), "at least one cell"),
        (lambda: conductivity()(torch.zeros(3)), "heat has 8"),
        (lambda: nodes.heat(GRID, "k", "k"), "another name"),
        (lambda: nodes.heat(GRID, "k", torch.zeros(3)), "need 1 or 8"),
        (lambda: pose(GoldsteinTaylor(GRID), speed=1.0), "it has"),
        (lambda: nodes.identify(conductivity(), hump(GRID), {}), "at least one of each"),
        (lambda: nodes.identify(conductivity(), hump(GRID), {0.123: (torch.tensor([0]), torch.ones(1))}), "time step"),
        (lambda: seek(torch.tensor([8]), torch.ones(1)), "components 0 to 7"),
        (lambda: seek(torch.tensor([1.5]), torch.ones(1)), "on an axis from 0 to 1"),
        (lambda: seek(torch.ones(2, 3), torch.ones(2)), "points of shape"),
        (lambda: seek(torch.tensor([1, 2]), torch.ones(1)), "finite one for each"),
        (lambda: seek(torch.tensor([1]), torch.ones(1), noise=-1.0), "noise"),
        (
            lambda: nodes.identify(
                nodes.Science(nodes.heat(GRID, 0.1, "s"), 0.2), hump(GRID), {0.2: (torch.tensor([0]), torch.ones(1))}
            ),
            "in_space",
        ),
        (
            lambda: nodes.identify(
                nodes.Science(lambda u, q: q["a"] * u, 0.2, unknowns={"a": 1.0}),
                torch.ones(2),
                {0.2: (torch.tensor([0.5]), torch.ones(1))},
            ),
            "no positions",
        ),
    ],
)
def test_what_cannot_be_is_refused(wrong, words):
    with pytest.raises(ConfigError, match=words):
        wrong()
