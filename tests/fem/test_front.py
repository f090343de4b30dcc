"""Fronts that are narrower than a cell: their speed in grey matter, and ribbons of grey matter, against fine solutions.

The references are finite volumes written down here, on meshes that resolve everything.
"""

import numpy as np
import pytest
from mpi4py import MPI
from scipy import sparse

from oncology.fem.boxes import bcc_box, kuhn_box
from oncology.fem.discretisation import discretise
from oncology.fem.rates import Rates
from oncology.fem.tumour_model import TumourModel
from oncology.model.seed import Seed
from oncology.model.timegrid import Interval, TimeGrid, step_limit
from tests.fem.meshes import owned

EDGE = 2.5  # mm
GROWTH = 0.05  # 1/day


def seed(x):
    return 0.5 * np.maximum(1.0 - (x / 6.5) ** 2, 0.0) ** 2


def bump(x):
    return 0.5 * np.exp(-(x**2) / 50.0)


def grown(u, spacing, days, diffusion, growth):
    """Explicit finite volumes: `diffusion` of each volume, harmonic means across faces, Heun's method."""

    def faces(axis):
        low, high = (np.moveaxis(diffusion, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        return np.moveaxis(2.0 * low * high / (low + high) / spacing**2, 0, axis)

    exchange = [faces(axis) for axis in range(u.ndim)]

    def slope(u):
        rate = growth * u * (1.0 - u)
        for axis, face in enumerate(exchange):
            flux = face * np.diff(u, axis=axis)
            pad = [(0, 0)] * u.ndim
            pad[axis] = (1, 1)
            rate += np.diff(np.pad(flux, pad), axis=axis)
        return rate

    steps = int(np.ceil(days * 4.5 * u.ndim * diffusion.max() / (2.0 * spacing**2)))
    h = days / steps
    for _ in range(steps):
        k = slope(u)
        u = u + 0.5 * h * (k + slope(u + h * k))
    return u


def volumes(model, start, days, rates, step=None):
    """Return the integral of the density on each day."""
    ends = np.diff([0.0, *days])
    step = step or step_limit(rates.proliferation, rates.diffusion_white, Seed().width)
    grid = TimeGrid(
        tuple(Interval(day - d, d, int(np.ceil(d / step)), observe=True) for day, d in zip(days, ends, strict=True))
    )
    run = model.run(rates, start, grid, keep=False)
    return np.array([model.discretisation.integrate(u) for u in run.observations])


@pytest.mark.parametrize(("length", "allowed"), [(0.7, 0.05), (1.0, 0.02), (2.0, 0.02), (4.0, 0.02)])
def test_speed_in_grey_matter(length, allowed):
    """The way of a front over 50 mm, on a line and on a bar of the stuffing route's lattice."""
    diffusion = GROWTH * length**2
    speed = 2.0 * np.sqrt(diffusion * GROWTH)
    days = np.array([40.0, 40.0 + 50.0 / speed])
    reach = 45.0 + speed * days[1] + 10.0 * length
    fine = length / 8.0
    x = fine * (0.5 + np.arange(int(reach / fine)))
    u = grown(seed(x), fine, days[0], np.full(len(x), diffusion), GROWTH)
    way = fine * (grown(u, fine, days[1] - days[0], np.full(len(x), diffusion), GROWTH) - u).sum()
    rates = Rates(10.0 * diffusion, diffusion, GROWTH)
    spacing = EDGE / 0.923
    line = kuhn_box([0.0], [reach], [round(reach / EDGE)])
    bar = bcc_box([0.0] * 3, [round(reach / spacing), 1, 1], spacing)
    for (points, cells), section in ((line, 1.0), (bar, spacing**2)):
        grey = np.ones(len(cells))
        model = TumourModel(discretise(MPI.COMM_SELF, points, cells, 0.0 * grey, grey))
        done = volumes(model, seed(owned(model.discretisation)[:, 0]), days, rates)
        assert (done[1] - done[0]) / section == pytest.approx(way, rel=allowed)
        model.destroy()


def test_fronts_converge_in_grey_matter():
    """The factor is one up to h^2: the order on a smooth front is not lowered."""
    diffusion, days = 0.2, np.array([60.0])
    fine = 0.125
    x = fine * (0.5 + np.arange(int(80.0 / fine)))
    whole = fine * grown(bump(x), fine, days[0], np.full(len(x), diffusion), GROWTH).sum()
    errors = []
    for count in (64, 128):
        points, cells = kuhn_box([0.0], [80.0], [count])
        grey = np.ones(len(cells))
        model = TumourModel(discretise(MPI.COMM_SELF, points, cells, 0.0 * grey, grey))
        found = volumes(model, bump(owned(model.discretisation)[:, 0]), days, Rates(0.4, diffusion, GROWTH), step=0.5)
        errors.append(abs(found[0] - whole))
        model.destroy()
    assert np.log2(errors[0] / errors[1]) >= 1.9


@pytest.mark.parametrize("first", [10.0, 11.3])
def test_ribbon_of_grey_matter(first):
    """3 mm of grey matter between white matter, wherever it lies in the cells: area above .25 after 100 days."""
    half, days, rates = 40.0, 100.0, Rates(0.2, 0.02, GROWTH)
    fine = 0.25

    def in_ribbon(x):
        return (x > first) & (x < first + 3.0)

    axis = fine * (0.5 + np.arange(int(2 * half / fine))) - half
    x, y = np.meshgrid(axis, axis[axis > 0.0], indexing="ij")  # one half: the other is its mirror image
    diffusion = np.where(in_ribbon(x), rates.diffusion_grey, rates.diffusion_white)
    expected = 2.0 * fine**2 * (grown(seed(np.hypot(x, y)), fine, days, diffusion, GROWTH) > 0.25).sum()

    points, cells = kuhn_box([-half] * 2, [half] * 2, [round(2 * half / EDGE)] * 2)
    corners = np.random.default_rng(0).dirichlet(np.ones(3), 400)

    def voxels(points, cells, volumes):
        grey = in_ribbon(points[cells][:, :, 0] @ corners.T).mean(axis=1)
        return sparse.csr_array(np.stack([1.0 - grey, grey], axis=1)), np.array([1.0, 0.0]), np.array([0.0, 1.0])

    nothing = np.zeros(len(cells))
    model = TumourModel(discretise(MPI.COMM_SELF, points, cells, nothing, nothing, voxels=voxels))
    space = model.discretisation
    step = step_limit(GROWTH, rates.diffusion_white, Seed().width)
    start = seed(np.linalg.norm(owned(space), axis=1))
    grid = TimeGrid((Interval(0.0, days, int(np.ceil(days / step)), observe=True),))
    densities = space.to_cells(model.run(rates, start, grid, keep=False).observations[0])
    above = ((densities @ corners.T) > 0.25).mean(axis=1)
    assert above @ space.volumes == pytest.approx(expected, rel=0.03)
