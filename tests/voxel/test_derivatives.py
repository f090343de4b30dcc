"""Tangent and adjoint on voxels: dual to rounding, Taylor rates, with every law, treatment and tensor, in batches."""

import numpy as np
import pytest
import torch

from oncology.model.growth import Exponential, Gompertz, Logistic
from oncology.model.timegrid import plan_time_grid
from oncology.model.treatment import Chemotherapy, Radiotherapy, Resection
from oncology.optimise import taylor_test
from oncology.voxel.voxel_model import VoxelDirections, VoxelModel
from tests.voxel.boxes import KINDS, mixed

LAWS = (Exponential(), Logistic(), Gompertz())
TREATMENT = (Radiotherapy(8.0, 12.0, 6), Chemotherapy(5.0, 0.05, 8.0), Resection(20.0))
RATES = np.array([[0.45, 0.1, 0.06], [0.3, 0.2, 0.04]])


class Experiment:
    """Two runs at once, three directions each, and duals on both observation days."""

    def __init__(self, kind="scalar", law=None, treatments=TREATMENT, corrected=True, shape=(7, 6, 5)):
        operator = mixed(kind, shape)
        rng = np.random.default_rng(1)
        inside = operator.inside[0]

        def noise(*sizes):
            return torch.as_tensor(rng.normal(size=(*sizes, operator.voxels))) * inside

        cavity = torch.as_tensor(rng.uniform(0.2, 1.0, operator.voxels))
        self.model = VoxelModel(operator, law or Logistic(), {2: cavity}, corrected)
        self.grid = plan_time_grid(-30.0, [8.0, 30.0], treatments, 8.0)
        self.start = (0.3 + 0.1 * noise(2).tanh()) * inside
        rates = 0.2 * RATES * rng.normal(size=(3, 2, 3))
        self.directions = VoxelDirections(rates, 0.05 * noise(3, 2), rng.normal(size=(3, 2)))
        self.duals = [noise(2), noise(2)]
        self.run = self.moved(0, 0.0, keep=True)

    def moved(self, number, h, keep=False):
        """The runs at a distance h along a direction."""
        d = self.directions
        durations = np.array([[i.duration] for i in self.grid.intervals]) * np.ones(2)
        durations[0] += h * d.duration[number]
        start = self.start + h * d.initial[number]
        least = [7] * len(durations)  # no change of the number of stages on the way
        return self.model.run(RATES + h * d.rates[number], start, self.grid, durations, least, keep)


def assert_dual(x: Experiment):
    tangents = x.model.tangent(x.run, x.directions)
    derivative = x.model.adjoint(x.run, x.duals)
    left = sum((du * w).sum(dim=-1) for du, w in zip(tangents, x.duals, strict=True)).numpy()
    d = x.directions
    right = (d.rates * derivative.rates).sum(axis=-1) + d.duration * derivative.duration
    right += (d.initial * derivative.initial).sum(dim=-1).numpy()
    sizes = sum(du.norm(dim=-1) * w.norm(dim=-1) for du, w in zip(tangents, x.duals, strict=True)).numpy()
    assert (np.abs(left - right) <= 1e-12 * sizes).all()


def assert_tangent(x: Experiment, precision=1e-12):
    """Rate 2 of the densities themselves: without the tangent it would be 1."""
    tangents = x.model.tangent(x.run, x.directions)
    for number in range(3):
        slope = torch.stack([du[number] for du in tangents]).numpy().ravel()

        def states(h, number=number):
            return torch.stack(x.moved(number, h).observations).numpy().ravel()

        steps = [0.25 * 0.5**k for k in range(6)]
        rates = [
            taylor_test(states, 0.0, 1.0, slope=s, steps=steps, norm=np.linalg.norm, precision=precision).rate
            for s in (None, slope)
        ]
        assert rates == pytest.approx([1.0, 2.0], abs=0.1)


@pytest.mark.parametrize("treatments", [(), TREATMENT], ids=["untreated", "treated"])
@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_adjoint_and_tangent_are_dual(kind, law, treatments):
    assert_dual(Experiment(kind, law, treatments))


@pytest.mark.parametrize("kind", KINDS)
def test_tangent_is_the_derivative(kind):
    assert_tangent(Experiment(kind))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
def test_tangent_of_every_law_without_the_correction(law):
    x = Experiment(law=law, corrected=False)
    assert_dual(x)
    assert_tangent(x)


@pytest.mark.parametrize("shape", [(40,), (9, 8)])
@pytest.mark.parametrize("kind", KINDS)
def test_other_dimensions(shape, kind):
    x = Experiment(kind, shape=shape)
    assert_dual(x)
    assert_tangent(x)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("parameter", [0, 1, 2, None], ids=["white", "grey", "proliferation", "all"])
def test_taylor_rates_of_a_functional(parameter, kind):
    """J = sum_i |u(t_i)|^2 / 2: rates 1, 2 and 3 with nothing, the slope, and the slope's own derivative."""
    x = Experiment(kind)
    d = x.directions
    if parameter is not None:
        rates = np.broadcast_to(RATES * np.eye(3)[parameter], d.rates.shape)
        d = x.directions = VoxelDirections(rates, 0.0 * d.initial, 0.0 * d.duration)

    def value(h):
        return sum(0.5 * float((u * u).sum()) for u in x.moved(1, h).observations)

    def slope(h):
        run = x.moved(1, h, keep=True)
        derivative = x.model.adjoint(run, list(run.observations))
        initial = float((d.initial[1] * derivative.initial).sum())
        return float((d.rates[1] * derivative.rates).sum() + d.duration[1] @ derivative.duration) + initial

    e = 1e-3
    curvature = (8.0 * (slope(e) - slope(-e)) - (slope(2 * e) - slope(-2 * e))) / (12.0 * e)
    steps = [0.02 * 0.5**k for k in range(4)]
    rates = [
        taylor_test(value, 0.0, 1.0, slope=s, curvature=c, steps=steps, precision=1e-13).rate
        for s, c in ((None, None), (slope(0.0), None), (slope(0.0), curvature))
    ]
    assert rates == pytest.approx([1.0, 2.0, 3.0], abs=0.15)


def test_directions_add_up():
    x = Experiment()
    d = x.directions
    total = VoxelDirections(d.rates.sum(axis=0)[None], d.initial.sum(dim=0)[None], d.duration.sum(axis=0)[None])
    for parts, whole in zip(x.model.tangent(x.run, d), x.model.tangent(x.run, total), strict=True):
        torch.testing.assert_close(parts.sum(dim=0)[None], whole, rtol=1e-12, atol=1e-14)
