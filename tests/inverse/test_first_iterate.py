"""The first step of a reconstruction is the Riesz image of the derivative in the inner product that was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from oncology.fem.engine import ModelEngine
from oncology.fem.tumour_model import TumourModel
from oncology.inverse.misfit import VertexDensity
from oncology.inverse.reconstruct import FieldSettings, initial_problem, reconstruct_initial
from oncology.model.growth import Exponential
from oncology.model.tumour import Tumour
from oncology.optimise import ConjugateGradient, Fixed, zero
from tests.fem.meshes import mixed_box

TUMOUR = Tumour(0.2, 0.05, 0.02, (0.0, 0.0), -30.0)
DAYS = (0.0,)
STEP = 0.5


@pytest.mark.parametrize("length", [0.0, 4.0, 15.0])
def test_it_solves_the_sobolev_equation_with_the_given_length(comm, length):
    """`phi_1 = phi_0 - step (M_L + l^2 K)^-1 J'(phi_0)` with K of unit diffusivity, put together cell by cell."""
    space = mixed_box(comm, 2, count=6)
    engine = ModelEngine(TumourModel(space, Exponential()))
    rng = np.random.default_rng(3)
    data = (VertexDensity(0, space.to_cells(rng.uniform(0.0, 1.0, space.owned))),)
    start = 0.2 + 0.1 * np.cos(0.1 * space.points[: space.owned, 0])
    settings = FieldSettings(
        smoothing=length, bounds=None, direction=ConjugateGradient(zero), step=Fixed(STEP), max_iterations=1
    )
    found = reconstruct_initial(engine, TUMOUR, DAYS, data, None, settings, start)
    derivative = initial_problem(engine, TUMOUR, DAYS, data, settings, start=start).evaluate(start).derivative()
    stiffness = np.zeros((space.owned, space.owned))
    for cell, volume, gradients in zip(space.cells, space.volumes, space.gradients, strict=True):
        stiffness[np.ix_(cell, cell)] += volume * gradients @ gradients.T
    operator = np.diag(space.lumped_mass) + length**2 * stiffness
    np.testing.assert_allclose(found.initial, start - STEP * np.linalg.solve(operator, derivative), rtol=1e-6)
    engine.destroy()
