"""Identification: derivatives by adjoint and sensitivity, coordinates, identifiability against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from oncology.errors import ConfigError, NumericalError
from oncology.nodes.depth import DepthGrid
from oncology.optimise import Blocks, dot_test, euclidean, taylor_test
from oncology.science.equation_problem import EquationProblem, Scalars, flatten
from oncology.science.equations.heat import Heat, cosine_mode, mode_rate
from oncology.science.estimation import estimate, identifiability
from oncology.science.exponential import ETDRK2
from oncology.science.grid import interval
from oncology.science.node import ScienceNODE
from oncology.science.observe import Everywhere, FrontPosition, Measurement, Points, noisy
from oncology.science.runge_kutta import SDIRK2
from oncology.science.unknowns import Unknown, in_depth, in_space, number
from tests.science.small import normal, numbers

GRID = interval(0.0, 3.0, 10)
DEPTH = DepthGrid(1.0, 4)
MODEL = ScienceNODE(Heat(GRID), DEPTH, SDIRK2, 2)


def mixed() -> EquationProblem:
    """Conductivity as a logarithm, a source in depth and space, and the initial state, from data at two times."""
    unknowns = (
        number("conductivity", 0.4, 0.5, prior=True),
        in_depth("source", normal(4, 10, seed=1), DEPTH, 0.3, 2.0),
        in_space("initial", normal(1, 10, seed=2), GRID.weights, 0.7, 0.2),
    )
    data = (
        Measurement(3, Points(torch.tensor([1, 4, 5])), normal(1, 3, seed=3), numbers(1.0, 2.0, 0.5)),
        Measurement(8, Everywhere(), normal(1, 10, seed=4), GRID.weights),
    )
    return EquationProblem(MODEL, unknowns, {}, data)


def random_point(problem: EquationProblem, seed: int) -> Blocks:
    return Blocks(tuple(0.5 * normal(*part.shape, seed=seed + i) for i, part in enumerate(problem.start.parts)))


def test_derivative_and_curvature():
    problem = mixed()
    x, d = random_point(problem, 10), random_point(problem, 20)
    here = problem.evaluate(x)
    slope = problem.space.dual(here.derivative(), d)
    assert taylor_test(lambda y: problem.evaluate(y).value, x, d, slope).rate == pytest.approx(2.0, abs=0.05)
    # the same slope from the sensitivity problem, and the curvature from the columns
    columns = here.jacobian()
    flat = flatten(d)
    priors = flatten(
        Blocks(tuple(u.precision * p * v for u, p, v in zip(problem.unknowns, x.parts, d.parts, strict=True)))
    ).sum()
    pairs = zip(problem.data, here.residuals, strict=True)
    residual = np.concatenate([(entry.weights**0.5 * r).reshape(-1).numpy() for entry, r in pairs])
    assert residual @ columns @ flat + priors == pytest.approx(slope, rel=1e-11)
    curvature = here.tangent(d).curvature
    penalty = flatten(Blocks(tuple(u.precision * v * v for u, v in zip(problem.unknowns, d.parts, strict=True)))).sum()
    assert curvature == pytest.approx(np.sum((columns @ flat) ** 2) + penalty, rel=1e-11)
    model = Scalars(problem).linearise(flatten(x))
    assert model.value == here.value
    assert model.gradient @ flat == pytest.approx(slope, rel=1e-11)
    assert flat @ model.hessian @ flat == pytest.approx(curvature, rel=1e-11)


def test_gradients_are_riesz_images_in_the_spaces_of_their_blocks():
    """An L2 gradient by the initial state is the nodal adjoint M^-1 lambda(0): it does not change with the mesh."""
    ends = []
    for cells in (40, 80):
        grid = interval(0.0, 1.0, cells)
        model = ScienceNODE(Heat(grid), DepthGrid(0.1, 10), ETDRK2)
        wave = cosine_mode(grid.points, 1.0, 1)
        problem = EquationProblem(
            model,
            (in_space("initial", 0.0 * wave, grid.weights),),
            {"conductivity": numbers(0.5), "source": torch.zeros(cells, dtype=torch.float64)},
            (Measurement(model.count, Everywhere(), wave, grid.weights),),
        )
        gradient = problem.space.riesz(problem.evaluate(problem.start).derivative()).parts[0]
        ends.append(float((gradient / wave).mean()))
        assert torch.allclose(gradient, -wave * math.exp(-0.05 * mode_rate(1, 1.0, cells)), atol=1e-12)
    assert ends[1] == pytest.approx(-math.exp(-0.05 * math.pi**2), rel=1e-3)


def test_coordinates_are_inverse_to_values():
    positive, free = number("a", 0.3, 0.5), number("b", 0.3, 0.5, logarithmic=False)
    for unknown in (positive, free):
        x = numbers(-0.7)
        assert torch.allclose(unknown.coordinates(unknown.value(x)), x, rtol=1e-13)
        assert float(unknown.value(numbers(0.0))) == 0.3


@pytest.mark.parametrize(
    "operator", [Everywhere(), Points(torch.tensor([2, 7])), FrontPosition(GRID.points[:, 0], 0.4)]
)
def test_observations_have_their_transpose_and_derivative(operator):
    u = torch.sort(torch.sigmoid(normal(3, 10)), descending=True).values
    u[:, 0], u[:, -1] = 0.95, 0.05
    d, w = normal(3, 10, seed=1), normal(*operator.value(u).shape, seed=2)
    inner = lambda a, b: float((a * b).sum())  # noqa: E731
    tangent, adjoint = (lambda x: operator.pushforward(u, x)), (lambda y: operator.pullback(u, y))
    assert dot_test(tangent, adjoint, d, w, inner, inner).error < 1e-14
    rate = taylor_test(
        operator.value, u, 1e-3 * d, 1e-3 * tangent(d), norm=lambda a: float(torch.linalg.vector_norm(a))
    ).rate
    assert rate == math.inf or rate == pytest.approx(2.0, abs=0.1)


def test_a_front_is_where_it_was_put():
    x = GRID.points[:, 0]
    assert float(FrontPosition(x, 0.25).value((1.0 - x / 3.0)[None])) == pytest.approx(2.25, rel=1e-12)
    with pytest.raises(NumericalError, match="no front"):
        FrontPosition(x, 2.0).value((1.0 - x / 3.0)[None])


def test_noise_has_its_norm_and_its_seed():
    data = normal(1, 500)
    noise = noisy(data, 0.05, torch.Generator().manual_seed(3)) - data
    assert float(noise.norm() / data.norm()) == pytest.approx(0.05, rel=1e-12)
    assert torch.equal(noisy(data, 0.05, torch.Generator().manual_seed(3)) - data, noise)


def one_mode(unknowns, duration: float = 1.0) -> EquationProblem:
    wave = cosine_mode(GRID.points, 3.0, 1)
    known = {"conductivity": numbers(0.4), "source": torch.zeros(10, dtype=torch.float64), "initial": wave}
    for unknown in unknowns:
        known.pop(unknown.name)
    model = ScienceNODE(Heat(GRID), DepthGrid(duration, 4), ETDRK2)
    return EquationProblem(model, unknowns, known, (Measurement(4, Everywhere(), 0.5 * wave, GRID.weights),))


def test_one_mode_determines_only_the_integral_of_conductivity():
    """Of four values in depth, the final amplitude sees their mean."""
    unknown = Unknown("conductivity", 0.4 * torch.ones(4, 1, dtype=torch.float64), euclidean(), 1.0, True)
    report = identifiability(one_mode((unknown,)))
    assert report.rank == 1
    assert np.abs(report.directions[:, 0]) == pytest.approx([0.5] * 4, rel=1e-9)
    assert len(report.words()) == 3
    for vector in report.unseen():
        assert vector.sum() == pytest.approx(0.0, abs=1e-9)


def test_the_posterior_is_that_of_the_closed_form():
    """Amplitude exp(-kappa mu T): d amplitude / d ln kappa = -kappa mu T amplitude, one number from ten data."""
    problem = one_mode((number("conductivity", 0.3),))
    noise = 0.01
    fit = estimate(problem, noise)
    rate = mode_rate(1, 3.0, 10)
    assert fit.values["conductivity"] == pytest.approx(math.log(2.0) / rate, rel=1e-6)
    wave = cosine_mode(GRID.points, 3.0, 1)
    column = math.log(2.0) * 0.5 * float((GRID.weights * wave**2).sum()) ** 0.5
    assert fit.sd["conductivity"] == pytest.approx(noise / math.sqrt(10) / column, rel=1e-5)
    assert fit.before.determined == 1
    assert identifiability(problem, noise=100.0).determined == 0


def test_errors_name_what_is_missing():
    with pytest.raises(ConfigError, match="each of"):
        EquationProblem(MODEL, (number("conductivity", 0.3),), {}, ())
    with pytest.raises(ConfigError, match="> 0"):
        number("conductivity", -0.3)
    problem = mixed()
    wrong = EquationProblem(
        MODEL, (), {"conductivity": normal(2), "source": normal(10), "initial": normal(1, 10)}, problem.data
    )
    with pytest.raises(ConfigError, match="conductivity of shape"):
        wrong.evaluate(Blocks(()))
