"""The voxel model against exact solutions, a radial reference, conservation and bounds."""

import math

import numpy as np
import pytest
import torch

from oncology.meshing.lattice import kuhn_cells
from oncology.model.fractions import volume_fraction
from oncology.model.growth import Exponential, Gompertz, Logistic
from oncology.model.timegrid import plan_time_grid, step_limit
from oncology.voxel.legendre import legendre
from oncology.voxel.stencil import stencil
from oncology.voxel.voxel_model import VoxelModel
from tests.voxel.boxes import KINDS, centres, dense, equal_steps, grown, mixed, uniform

# Radial finite volumes with cells of 0.01 mm, solved in tests/fem/test_sphere.py: mm^3, mm, mm.
SPHERE_MASS, SPHERE_HALF, SPHERE_TENTH = 17881.9, 13.512, 22.266


def slopes(errors, ratio=2.0):
    return np.log(np.array(errors[:-1]) / np.array(errors[1:])) / math.log(ratio)


def relative(found, exact):
    return np.linalg.norm(found - exact) / np.linalg.norm(exact)


def wave(x, time, diffusion, rho, power=1.0):
    """Travelling waves of `u_t = D u_xx + rho u (1 - u^q)`: Wang 1988, Ablowitz and Zeppetella 1979 for q = 1."""
    root = math.sqrt(2.0 * (power + 2.0))
    phase = power / root * (math.sqrt(rho / diffusion) * x - (power + 4.0) / root * rho * time)
    return (1.0 + np.exp(phase)) ** (-2.0 / power)


class PowerLaw:
    """f(u) = u (1 - u^q): v = u^q grows logistically with q rho."""

    def __init__(self, power):
        self.power = power

    def flow(self, u, exposure):
        v, e = u**self.power, math.exp(self.power * exposure)
        return (v * e / (1.0 + v * (e - 1.0))) ** (1.0 / self.power)


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("power", [1.0, 2.0, 0.5])
def test_travelling_waves(power, corrected):
    """Second order, and a front speed within 0.1 % at 1 mm."""
    diffusion, rho, duration, errors = 0.13, 0.012, 300.0, []
    law = Logistic() if power == 1.0 else PowerLaw(power)
    for count in (130, 260, 520):
        x = centres((count,), 520.0 / count, -260.0)[:, 0]
        start, exact = (wave(x, t, diffusion, rho, power) for t in (0.0, duration))
        operator = uniform((count,), 520.0 / count)
        u = grown(operator, law, (diffusion, diffusion, rho), start, equal_steps(duration, count // 10), corrected)
        errors.append(relative(u, exact))
    assert slopes(errors).min() > 1.9
    front = [np.interp(-0.5, -v, x) for v in (start, u)]
    speed = (power + 4.0) / math.sqrt(2.0 * (power + 2.0)) * math.sqrt(rho * diffusion)
    assert (front[1] - front[0]) / duration == pytest.approx(speed, rel=1e-3)


def test_the_front_factor_does_not_lower_the_order():
    """A travelling wave in grey matter, where the factor tends to one."""
    diffusion, rho, duration, errors = 0.13, 0.012, 300.0, []
    for count in (260, 520, 1040):
        x, one = centres((count,), 520.0 / count, -260.0)[:, 0], np.ones(count)
        start, exact = (wave(x, t, diffusion, rho) for t in (0.0, duration))
        operator = stencil(0.0 * one, one, one > 0.0, 520.0 / count)
        rates, grid = (10.0 * diffusion, diffusion, rho), equal_steps(duration, count // 10)
        errors.append(relative(grown(operator, Logistic(), rates, start, grid), exact))
    assert slopes(errors).min() > 1.9


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_gompertz_gaussian(dimension, corrected):
    """A Gaussian that grows by `-rho u ln u`, up to the time step that the package would choose."""
    diffusion, rho, duration, spread, peak = 0.2, 0.05, 10.0, 30.0, -0.3

    def exact(x, time):
        rest = 4.0 * diffusion / rho
        wide = (spread + rest) * math.exp(rho * time) - rest
        fall = 2.0 * dimension * diffusion / (rho * (spread + rest)) * math.log(wide / spread)
        return np.exp(math.exp(-rho * time) * (peak - fall) - (x**2).sum(axis=1) / wide)

    errors = []
    for count in (16, 32, 64) if dimension == 3 else (20, 40, 80):
        shape, h = (count,) * dimension, 60.0 / count
        x, operator = centres(shape, h, -30.0), uniform(shape, h)
        # the exact solution belongs to the pure law: below this floor it would differ by less than rounding
        law, grid = Gompertz(floor=1e-16), equal_steps(duration, count // 5)
        u = grown(operator, law, (diffusion, diffusion, rho), exact(x, 0.0), grid, corrected)
        errors.append(relative(u, exact(x, duration)))
    assert slopes(errors).min() > 1.8
    assert slopes(errors)[-1] > 1.9


@pytest.mark.parametrize("eigenvalues", [(1.6, 0.4), (1.6, 0.8, 0.6)])
def test_rotated_gaussian(eigenvalues):
    """A diffusing Gaussian with a tensor in general position; the box is wide enough for its tails."""
    dimension = len(eigenvalues)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(dimension, dimension)))
    tensor, errors = turn @ np.diag(eigenvalues) @ turn.T, []

    def exact(x, time):
        wide = 25.0 * np.eye(dimension) + 2.0 * time * 0.5 * tensor
        height = math.sqrt(np.linalg.det(25.0 * np.eye(dimension)) / np.linalg.det(wide))
        return height * np.exp(-0.5 * np.einsum("ni,ij,nj->n", x, np.linalg.inv(wide), x))

    for count in (12, 24, 48):
        shape = (count,) * dimension
        x, operator = centres(shape, 68.0 / count, -34.0), uniform(shape, 68.0 / count, tensor)
        u = grown(operator, Exponential(), (0.5, 0.5, 0.0), exact(x, 0.0), equal_steps(10.0, count // 6), False)
        errors.append(relative(u, exact(x, 10.0)))
    assert slopes(errors).min() > 1.8


def test_cosine_mode_and_its_semi_discrete_rate():
    """On cell centres the mode decays with `(4/h^2) sin^2(k pi h / 2 L)`, up to the error in time."""
    length, count, diffusion, duration, k = 50.0, 20, 0.3, 100.0, 3
    x, errors = centres((count,), length / count, 0.0)[:, 0], []
    start = np.cos(k * math.pi * x / length)
    rate = 4.0 / (length / count) ** 2 * math.sin(0.5 * k * math.pi / count) ** 2
    for steps in (10, 20, 40, 400):
        operator = uniform((count,), length / count)
        u = grown(operator, Exponential(), (diffusion, diffusion, 0.0), start, equal_steps(duration, steps), False)
        errors.append(np.abs(u - start * math.exp(-diffusion * rate * duration)).max())
    assert slopes(errors[:3]).min() > 1.9
    assert errors[-1] < 1e-6


def test_exponential_growth_scales_the_heat_equation():
    """`e^(rho t)` times the diffusing density, exactly; in white matter, where diffusion does not depend on rho."""
    inside = mixed().inside[0].numpy()
    one = np.ones((7, 6, 5))
    operator = stencil(one, 0.0 * one, inside.reshape(one.shape), 2.5)
    start = np.random.default_rng(0).uniform(size=operator.voxels) * inside
    still, growing = (grown(operator, Exponential(), (0.5, 0.1, r), start, equal_steps(20.0, 5)) for r in (0.0, 0.05))
    np.testing.assert_allclose(growing, math.e * still, rtol=1e-12)


@pytest.mark.parametrize("corrected", [True, False])
def test_the_polynomial(corrected):
    """It is what the recursion makes, agrees with the exponential as it should and never exceeds one."""
    for mu, stiffness in ((0.6, 7.2), (4.0, 48.0), (0.05, 0.6), (0.0, 3.0)):
        p = legendre(np.array([stiffness]), np.array([mu]), 3, corrected)
        w, b = p.weight[0], p.share[0]

        def value(z, p=p, w=w, b=b):
            before, now = np.ones_like(z), 1.0 + w * z
            for factor in p.factors[1:]:
                before, now = now, before + factor * (1.0 + w * z) * now
            return 1.0 - b + b * now / p.scale

        z = -np.linspace(0.0, stiffness, 400)
        assert (np.abs(value(z)) <= 1.0 + 1e-13).all()
        e = 1e-3
        first = (value(np.array([e])) - value(np.array([-e])))[0] / (2.0 * e)
        second = (value(np.array([e])) - 2.0 + value(np.array([-e])))[0] / e**2
        assert first == pytest.approx(1.0, abs=1e-5)
        lost = min(0.05 / mu, 0.125) if corrected and mu > 0.4 else None
        if not corrected:
            assert second == pytest.approx(1.0, abs=1e-5)
        elif lost is not None:
            assert second == pytest.approx(1.0 - 2.0 * lost, abs=1e-5)
        assert second >= 0.5 - 1e-5


def test_long_steps_are_stable_and_short_steps_converge_to_the_exponential():
    operator = mixed("tensor")
    start = np.random.default_rng(0).uniform(size=operator.voxels) * operator.inside[0].numpy()
    values, vectors = np.linalg.eigh(dense(operator, (0.5, 0.05, 0.0)))
    exact = vectors @ (np.exp(40.0 * values) * (vectors.T @ start))
    errors = [
        relative(grown(operator, Exponential(), (0.5, 0.05, 0.0), start, equal_steps(40.0, n), False), exact)
        for n in (8, 16, 32, 64)
    ]
    assert slopes(errors)[-1] > 1.9
    one = grown(operator, Exponential(), (0.5, 0.05, 0.0), start, equal_steps(4000.0, 1))
    assert np.abs(one).max() <= 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_mass_and_fluid(kind):
    """Diffusion conserves the integral; what is outside stays empty."""
    operator = mixed(kind)
    inside = operator.inside[0].numpy()
    start = np.random.default_rng(0).uniform(size=operator.voxels) * inside
    u = grown(operator, Logistic(), (0.5, 0.05, 0.0), start, equal_steps(40.0, 4))
    assert u.sum() == pytest.approx(start.sum(), rel=1e-13)
    assert not u[~inside].any()


def test_mass_balance_of_growth():
    """`d/dt int u = rho int f(u)`: the trapezoidal rule over ever shorter steps closes the balance."""
    operator, rho, errors = uniform((12, 12, 12), 2.5), 0.05, []
    x = centres((12, 12, 12), 2.5, -15.0)
    start = 0.5 * np.exp(-(x**2).sum(axis=1) / 20.0)
    for steps in (10, 20, 40):
        states = [start]
        model = VoxelModel(operator)
        model.run(
            np.array([[0.3, 0.3, rho]]),
            torch.as_tensor(start)[None],
            equal_steps(40.0, steps),
            keep=False,
            record=lambda u, states=states: states.append(u[0].numpy().copy()),
        )
        rates = np.array([rho * (u * (1.0 - u)).sum() for u in states])
        grown_by = 40.0 / steps * (rates[1:] + rates[:-1]).sum() / 2.0
        errors.append(abs(states[-1].sum() - start.sum() - grown_by) / grown_by)
    assert slopes(errors).min() > 1.9


@pytest.mark.parametrize("law", [Logistic(), Gompertz()], ids=["logistic", "gompertz"])
def test_densities_stay_between_zero_and_one(law):
    """Until the tumour has filled its box, across tissue of very different diffusivity."""
    operator = mixed(shape=(10, 9, 8))
    x = centres((10, 9, 8), 2.5, -10.0)
    start = 0.5 * np.exp(-(x**2).sum(axis=1) / 20.0) * operator.inside[0].numpy()
    model = VoxelModel(operator, law)
    rates = np.array([[0.6, 0.02, 0.05]])
    grid = plan_time_grid(0.0, [400.0], (), step_limit(0.05, 0.6, math.sqrt(10.0)))
    run = model.run(rates, torch.as_tensor(start)[None], grid, keep=False)
    assert -1e-3 <= run.lowest and run.highest <= 1.0 + 1e-3
    assert run.observations[0].max() > 0.99


@pytest.mark.parametrize("step", [None, 1.0])
def test_the_sphere(step):
    """The benchmark of the finite-element engine at 1 mm: the octant of positive coordinates (planes of symmetry)."""
    count, h = 34, 1.0
    x = centres((count,) * 3, h, 0.0)
    inner = h * ((np.arange(5) + 0.5) / 5 - 0.5)
    squares = [((x[:, k, None] + inner) ** 2) for k in range(3)]
    total = squares[0][:, :, None, None] + squares[1][:, None, :, None] + squares[2][:, None, None, :]
    density = np.minimum(1.0, 250.0 * (20.0 * math.pi) ** -1.5 * np.exp(-total / 20.0))
    start = np.where(density < 0.1, 0.0, density).mean(axis=(1, 2, 3))
    grid = plan_time_grid(0.0, [60.0], (), step_limit(0.1, 0.5, math.sqrt(10.0)), step)
    u = grown(uniform((count,) * 3, h), Logistic(), (0.5, 0.5, 0.1), start, grid)
    assert 8.0 * h**3 * u.sum() == pytest.approx(SPHERE_MASS, rel=0.005)
    # the box from centre to centre misses half a voxel at the planes of symmetry: mirror it
    mirrored = np.pad(u.reshape((count,) * 3), ((1, 0),) * 3, mode="edge").ravel()
    cells = kuhn_cells(np.argwhere(np.ones((count,) * 3, bool)), np.full(3, count + 1))
    corner = np.ones((count,) * 3)
    for axis in range(3):
        corner[(slice(None),) * axis + (0,)] *= 0.5
    volumes = np.tile(corner.ravel() * h**3 / 6.0, 6)
    for level, radius in ((0.5, SPHERE_HALF), (0.1, SPHERE_TENTH)):
        volume = 8.0 * volumes @ volume_fraction(mirrored[cells], level)[0]
        assert (0.75 * volume / math.pi) ** (1.0 / 3.0) == pytest.approx(radius, abs=0.05)
