"""The same results on one and on two ranks: each test solves on its own rank alone and on all ranks together.

On one rank it would compare a run with itself: these tests run under mpiexec only.
"""

import numpy as np
import pytest
from mpi4py import MPI

from oncology.fem.engine import ModelEngine
from oncology.fem.projection import project
from oncology.fem.tumour_model import TumourModel
from oncology.inverse.levels import Level
from oncology.inverse.observe import FixedData
from oncology.model.timegrid import plan_time_grid
from oncology.model.treatment import Chemotherapy, Radiotherapy, Resection
from oncology.model.tumour import TumourChange
from oncology.verify.derivatives import parameter_gradient
from oncology.verify.seeded import SeededGrowth
from oncology.verify.verification import level_radius, sphere_density
from tests.fem.meshes import mixed_box, owned

PARAMETERS = np.array([0.5, 0.1, 0.06, 7.0, -6.0, 5.0, -30.0, 12.0])
TREATMENT = (Radiotherapy(8.0, 12.0, 6), Chemotherapy(5.0, 0.05, 8.0), Resection(20.0))

pytestmark = [pytest.mark.mpi, pytest.mark.ranks]


def growth_on(communicator):
    box = mixed_box(communicator)
    cavity = 1.0 - 0.9 * np.exp(-((owned(box) - 5.0) ** 2).sum(axis=1) / 50.0)
    model = TumourModel(box, resections={2: cavity}, tolerance=1e-13)
    return SeededGrowth(ModelEngine(model), plan_time_grid(-30.0, [8.0, 30.0], TREATMENT, 4.0))


@pytest.fixture(scope="module")
def both(comm):
    """The forward map on this rank alone, and on all."""
    return growth_on(MPI.COMM_SELF), growth_on(comm)


def same(comm, alone, together, whole, part, rtol=1e-9):
    """Compare owned values on all ranks with those of one rank, in the vertex order of the mesh file."""
    gathered = comm.bcast(together.gather(part), root=0)
    np.testing.assert_allclose(gathered, alone.gather(whole), rtol=rtol, atol=rtol * np.abs(whole).max())


def test_densities(comm, both):
    runs = [growth.solve(PARAMETERS).run.run for growth in both]
    spaces = [growth.engine.discretisation for growth in both]
    for whole, part in zip(*(run.observations for run in runs), strict=True):
        same(comm, *spaces, whole, part)
        assert spaces[0].integrate(whole) == pytest.approx(spaces[1].integrate(part), rel=1e-11)
        radii = [level_radius(space, u, 0.1) for space, u in zip(spaces, (whole, part), strict=True)]
        assert radii[0] == pytest.approx(radii[1], rel=1e-9)
    assert runs[0].lowest == pytest.approx(runs[1].lowest, abs=1e-12)
    assert runs[0].highest == pytest.approx(runs[1].highest, rel=1e-12)


def test_tangents(comm, both):
    direction = np.array([0.1, 0.02, 0.01, 1.0, -1.0, 0.5, 2.0, 0.7])
    tangents = [
        [day[0] for day in growth.engine.tangent(growth.solve(PARAMETERS).run, [TumourChange.of(direction)])]
        for growth in both
    ]
    for whole, part in zip(*tangents, strict=True):
        same(comm, both[0].engine.discretisation, both[1].engine.discretisation, whole, part)


def test_gradients(comm, both):
    alone, together = (parameter_gradient(growth, PARAMETERS) for growth in both)
    np.testing.assert_allclose(together, alone, rtol=1e-9)
    everyone = comm.allgather(together)
    assert all((gradient == together).all() for gradient in everyone)


def test_projection(comm):
    boxes = [mixed_box(communicator, count=10, half=10.0) for communicator in (MPI.COMM_SELF, comm)]
    same(comm, *boxes, *(project(box, sphere_density) for box in boxes))


def test_extremes_and_the_density_at_the_cut_are_those_of_all_ranks(comm):
    """Each rank has a density of its own, and only one of them is at the cut."""
    space = mixed_box(comm)
    engine = ModelEngine(TumourModel(space))
    mine = np.full(space.owned, 0.1 * (comm.rank + 1))
    cut = np.ones(len(space.points), dtype=bool)
    level = Level(engine, 20.0, None, FixedData((0.0,), ()), cut)
    assert level.cut_density(mine) == pytest.approx(0.1 * comm.size)
    first = Level(engine, 20.0, None, FixedData((0.0,), ()), cut & (comm.rank == 0))
    assert 0.1 * (1.0 - 1e-12) <= first.cut_density(mine) <= 0.1 * comm.size, "cells share vertices of both ranks"
    assert first.cut_density(0.0 * mine) == 0.0
    assert space.extremes(-0.1 * comm.rank, 0.3 + 0.1 * comm.rank) == pytest.approx(
        (-0.1 * (comm.size - 1), 0.3 + 0.1 * (comm.size - 1))
    )
    assert comm.size > 1


def test_iterations_do_not_depend_on_the_ranks(both):
    """Jacobi's preconditioner knows nothing of the partition."""
    first, second = (growth.solve(PARAMETERS).run.run.iterations for growth in both)
    assert abs(first - second) <= 0.03 * first
