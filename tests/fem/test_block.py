"""Several vectors at once against one at a time: products, solves, and the tangents made of them."""

import numpy as np
import pytest

from oncology.errors import NumericalError
from oncology.fem.block import BlockMatrix
from oncology.fem.diffusion import ShiftedOperator
from oncology.fem.rates import Rates
from oncology.fem.stiffness import Stiffness
from oncology.model.tumour import TumourChange
from oncology.verify.derivatives import vertex_noise
from tests.fem.meshes import mixed_box
from tests.fem.test_derivatives import PARAMETERS, TREATMENT, growth_on

pytestmark = pytest.mark.mpi

TOLERANCE = 1e-12


@pytest.fixture(scope="module")
def box(comm):
    return mixed_box(comm)


@pytest.fixture(scope="module")
def operator(box):
    made = ShiftedOperator(box, TOLERANCE)
    stiffness = Stiffness(box, Rates(0.3, 0.03, 0.02))
    made.fill(3.0, stiffness.whole)
    stiffness.destroy()
    yield made
    made.destroy()


def test_products_and_solutions_are_those_of_single_vectors(box, operator):
    """One right-hand side is zero, and one start value is the solution."""
    rows = np.stack([vertex_noise(box, seed) for seed in range(4)])
    rows[2] = 0.0
    products = operator.mass(rows)
    for row, product in zip(rows, products, strict=True):
        np.testing.assert_allclose(product, operator.mass(row), rtol=1e-12, atol=1e-12)
    guess = np.zeros_like(rows)
    guess[1] = operator.solve(products[1], guess[1])
    found = operator.solve(products, guess)
    for row, product, start in zip(found, products, guess, strict=True):
        np.testing.assert_allclose(row, operator.solve(product, start), rtol=1e-9, atol=1e-10)
    assert (found[2] == 0.0).all()


def test_what_does_not_converge_is_an_error_on_every_rank(box):
    block = BlockMatrix(box.mass)
    rows = np.stack([vertex_noise(box, 1), vertex_noise(box, 2)])
    with pytest.raises(NumericalError, match="2 directions did not converge in 1 iterations"):
        block.solve(rows, np.zeros_like(rows), TOLERANCE, 1)
    with pytest.raises(NumericalError, match="not finite"):
        block.solve(rows * np.nan, np.zeros_like(rows), TOLERANCE, 100)
    block.destroy()


def test_tangents_along_many_directions_are_those_along_each(box):
    growth = growth_on(box, TREATMENT)
    run = growth.solve(PARAMETERS).run
    changes = [TumourChange.of(direction) for direction in np.eye(len(PARAMETERS))]
    changes += [TumourChange(initial=vertex_noise(box, seed)) for seed in range(11)]
    for day in zip(
        growth.engine.tangent(run, changes), *(growth.engine.tangent(run, [c]) for c in changes), strict=True
    ):
        together, *alone = day
        np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-8, atol=1e-10 * np.abs(together).max())
