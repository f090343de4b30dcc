"""Adaptive inference against scipy and torchdiffeq, the trained Euler net, and exact solutions."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.integrate
import torch
import torchdiffeq

from oncology.errors import ConfigError, NumericalError
from oncology.nodes.activation import activation_named
from oncology.nodes.adaptive import BOGACKI_SHAMPINE, DORMAND_PRINCE, AdaptiveRun, integrate, weights_in_depth
from oncology.nodes.depth import DepthGrid, prolong
from oncology.nodes.scheme import RK4
from tests.nodes.nets import batch, generator, like, net

PAIRS = (BOGACKI_SHAMPINE, DORMAND_PRINCE)


def smooth(cells=40, kind="constant", length=2.0, seed=0, scale=0.9):
    model = net(cells=cells, kind=kind, length=length)
    return model, model.initial(generator(seed), scale), model.embed(batch(5).inputs)


def right_hand_side(model, theta, joined="linear"):
    weights = weights_in_depth(model.grid, theta, joined)
    return lambda t, x: torch.tanh(x @ weights(float(t))[:4] + weights(float(t))[4])


@pytest.mark.parametrize("pair", PAIRS, ids=lambda p: p.name)
def test_the_tables_satisfy_the_conditions_of_their_order(pair):
    """Sums over rooted trees up to order three, of the solution; of the estimate they vanish up to one order less."""
    s = len(pair.a)
    a = np.zeros((s, s))
    for i, row in enumerate(pair.a):
        a[i, : len(row)] = row
    b, c, e = a[-1], a.sum(1), np.array(pair.error)
    assert [b.sum(), b @ c, b @ c**2, b @ a @ c] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 6], abs=1e-15)
    assert [e.sum(), e @ c] == pytest.approx([0, 0], abs=1e-15)
    if pair.order == 5:
        trees = [b @ c**3, b @ (c * (a @ c)), b @ a @ c**2, b @ a @ a @ c, b @ c**4, b @ a @ a @ a @ c]
        assert trees == pytest.approx([1 / 4, 1 / 8, 1 / 12, 1 / 24, 1 / 5, 1 / 120], abs=1e-15)
        assert [e @ c**2, e @ a @ c, e @ c**3] == pytest.approx([0] * 3, abs=1e-15)
        assert abs(e @ c**4) > 1e-4
    else:
        assert abs(e @ c**2) > 1e-3


@pytest.mark.parametrize("joined", ["linear", "cubic"])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda p: p.name)
def test_final_states_agree_with_scipy_and_torchdiffeq(pair, joined):
    model, theta, state = smooth(cells=8)
    equation = right_hand_side(model, theta, joined)
    run = integrate(model, theta, state, 1e-9, pair, joined)
    by_scipy = scipy.integrate.solve_ivp(
        lambda t, x: equation(t, torch.from_numpy(x).reshape(5, 4)).reshape(-1).numpy(),
        (0.0, 2.0),
        state.reshape(-1).numpy(),
        method="DOP853",
        rtol=1e-11,
        atol=1e-12,
        max_step=0.02,
    )
    expected = torch.from_numpy(by_scipy.y[:, -1]).reshape(5, 4)
    assert torch.allclose(run.final, expected, atol=2e-8)
    times = torch.tensor([0.0, 2.0], dtype=torch.float64)
    theirs = torchdiffeq.odeint(equation, state, times, method="dopri5", rtol=1e-9, atol=1e-9)[-1]
    assert torch.allclose(run.final, theirs, atol=1e-7)


@pytest.mark.parametrize(
    ("pair", "tolerances"),
    [(BOGACKI_SHAMPINE, (1e-6, 1e-7, 1e-8)), (DORMAND_PRINCE, (1e-7, 1e-9, 1e-11))],
    ids=["3", "5"],
)
def test_work_and_error_follow_the_order(pair, tolerances):
    """Error against evaluations in the logarithm, for weights that are smooth (one linear piece)."""
    model, theta, state = smooth(cells=1, kind="linear", length=4.0)
    exact = integrate(model, theta, state, 1e-13, DORMAND_PRINCE).final
    runs = [integrate(model, theta, state, tolerance, pair) for tolerance in tolerances]
    errors = [float((run.final - exact).abs().max()) for run in runs]
    fewer = math.log(runs[2].evaluations / runs[1].evaluations)
    assert math.log(errors[1] / errors[2]) / fewer == pytest.approx(pair.order, abs=0.4)
    for error, tolerance in zip(errors, tolerances, strict=True):
        assert error < 20 * tolerance


def test_precision_is_traded_for_evaluations_fewer_than_the_trained_net_has_layers():
    model, theta, state = smooth(cells=150, length=3.0, scale=0.25)
    euler = model.run(theta, state).final
    runs = [integrate(model, theta, state, tolerance, joined="cubic") for tolerance in (1e-1, 1e-2, 1e-3, 1e-4)]
    exact = integrate(model, theta, state, 1e-10, DORMAND_PRINCE, "cubic").final
    errors = [float((run.final - exact).abs().max()) for run in runs]
    work = [run.evaluations for run in runs]
    assert all(a < b for a, b in pairwise(work))
    assert all(a > b for a, b in pairwise(errors))
    assert work[1] < 150 / 3
    assert errors[1] < float((euler - exact).abs().max())  # and nearer to the continuous net than Euler's steps are


def test_an_euler_net_is_approached_as_its_grid_is_refined():
    model, theta, state = smooth(cells=10, kind="linear")
    exact = integrate(model, theta, state, 1e-10, DORMAND_PRINCE).final
    gaps = []
    for factor in (16, 32):
        fine = model.grid.refined(factor)
        euler = type(model)(4, fine, model.inputs, model.outputs).run(prolong(theta, model.grid, fine), state).final
        gaps.append(float((euler - exact).abs().max()))
    assert gaps[0] / gaps[1] == pytest.approx(2.0, rel=0.1)
    quick = type(model)(4, model.grid, model.inputs, model.outputs, scheme=RK4, steps=20).run(theta, state).final
    assert torch.allclose(quick, exact, atol=1e-8)


def test_evaluations_are_counted():
    model, theta, state = smooth()
    calls = []
    sigma = activation_named("tanh")

    class Counting:
        name, lipschitz = "counting", 1.0

        def value(self, z):
            calls.append(1)
            return sigma.value(z)

    counted = type(model)(4, model.grid, model.inputs, model.outputs, Counting())
    run = integrate(counted, theta, state, 1e-6)
    assert run.evaluations == len(calls)
    assert run.evaluations == 2 + 3 * (len(run.depths) - 1 + run.rejected)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda p: p.name)
def test_a_narrow_feature_of_the_weights_is_not_stepped_over_unnoticed(pair):
    """Weights that jump up by a factor of 200 in one cell: steps are rejected, and the answer stays right."""
    model, theta, state = smooth(cells=40, scale=0.2)
    theta[25] *= 200.0
    run = integrate(model, theta, state, 1e-5, pair)
    exact = integrate(model, theta, state, 1e-9, DORMAND_PRINCE).final
    assert run.rejected > 0
    assert float((run.final - exact).abs().max()) < 2e-3


def test_dense_output_is_of_fourth_order_and_passes_through_the_steps():
    depths = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    cubic = lambda t: torch.stack([t**3 - t, 2 * t**2], dim=-1)[:, None]  # noqa: E731
    slope = lambda t: torch.stack([3 * t**2 - 1, 4 * t], dim=-1)[:, None]  # noqa: E731
    run = AdaptiveRun(depths, cubic(depths), slope(depths), 0, 0)
    t = torch.linspace(0.0, 1.0, 21, dtype=torch.float64)
    assert torch.allclose(run.at(t), cubic(t), atol=1e-14)
    model, theta, state = smooth(cells=1, kind="linear")
    exact = integrate(model, theta, state, 1e-12, DORMAND_PRINCE)
    run = integrate(model, theta, state, 1e-6)
    assert torch.equal(run.at(run.depths), run.states)
    middle = 0.5 * (run.depths[1:] + run.depths[:-1])
    assert float((run.at(middle) - exact.at(middle)).abs().max()) < 1e-5
    with pytest.raises(ConfigError, match="need 0 to 2"):
        run.at(torch.tensor([2.1], dtype=torch.float64))


def test_no_sample_is_less_precise_for_its_company():
    model, theta, state = smooth()
    state[0] *= 30.0
    exact = integrate(model, theta, state, 1e-10, DORMAND_PRINCE).final
    together = integrate(model, theta, state, 1e-4)
    for k in range(5):
        alone = integrate(model, theta, state[k : k + 1], 1e-4)
        assert alone.evaluations <= together.evaluations + 6
        assert float((together.final[k] - exact[k]).abs().max()) < 20 * 1e-4 * (1 + float(exact[k].abs().max()))


def test_weights_pass_through_their_nodes_and_reproduce_lines():
    for kind in ("constant", "linear"):
        grid = DepthGrid(2.0, 6, kind)
        theta = like(torch.empty(grid.nodes, 3, 2))
        line = grid.times[:, None, None] * like(theta[0], 3) + like(theta[0], 4)
        for joined in ("linear", "cubic"):
            values, straight = (weights_in_depth(grid, nodes, joined) for nodes in (theta, line))
            for node, t in enumerate(grid.times.tolist()):
                assert torch.allclose(values(t), theta[node], atol=1e-13)
            for t in (0.0, 0.1, 1.234, 2.0):
                assert torch.allclose(straight(t), t * like(theta[0], 3) + like(theta[0], 4), atol=1e-12)
    assert torch.equal(weights_in_depth(DepthGrid(2.0, 1), theta[:1])(1.7), theta[0])


def test_nothing_moves_where_nothing_acts():
    model, theta, state = smooth()
    run = integrate(model, 0.0 * theta, state)
    assert torch.equal(run.final, state)
    run = integrate(model, theta, 0.0 * state)
    assert bool(run.final.isfinite().all())


def test_what_cannot_be_is_refused():
    model, theta, state = smooth()
    with pytest.raises(ConfigError, match="tolerances 0"):
        integrate(model, theta, state, 0.0)
    with pytest.raises(ConfigError, match="'linear' or 'cubic'"):
        integrate(model, theta, state, joined="quintic")
    with pytest.raises(NumericalError, match="raise the tolerance"):
        integrate(model, theta, state, 1e-9, most_evaluations=50)
    growing = type(model)(4, model.grid, model.inputs, model.outputs, activation_named("identity"))
    with pytest.raises(NumericalError, match="raise the tolerance"):
        integrate(growing, 1e3 * theta, state, 1e-9, most_evaluations=500)
