"""Convolutional NODEs: exact derivatives, independence of the mesh, equivariance, kernels against plain sums."""

from __future__ import annotations

import math

import pytest
import torch

from oncology.errors import ConfigError
from oncology.nodes.activation import TANH, activation_named
from oncology.nodes.convolution.convolutional import ConvolutionalNODE
from oncology.nodes.convolution.images import Images
from oncology.nodes.convolution.kernel_basis import GaussianDerivatives, RadialGaussians, Splines, kernel_gram
from oncology.nodes.convolution.pooling import Contraction, HeatFlow, Restriction, SoftMaxFlow
from oncology.nodes.convolution.torus import Torus
from oncology.nodes.cost import Cost, Magnitude
from oncology.nodes.depth import DepthGrid
from oncology.nodes.modules import CNODE
from oncology.nodes.scheme import EULER, HEUN, RK4
from oncology.nodes.training_problem import TrainingProblem
from oncology.optimise import dot_test, minimise, taylor_test
from tests.nodes.nets import generator, like

BASES = {
    "gaussian": GaussianDerivatives((0.06, 0.12)),
    "radial": RadialGaussians((0.05, 0.1)),
    "splines": Splines(0.3),
}
POOLING = {
    "none": {},
    "flows": {1: SoftMaxFlow(0.05, 0.2), 2: HeatFlow(0.01)},
    "scaling": {1: Contraction(0.3), 3: Restriction()},
}
inner = lambda a, b: float((a * b).sum())  # noqa: E731


def network(basis=BASES["gaussian"], pooling=POOLING["none"], scheme=EULER, kind="constant", activation=TANH):
    return ConvolutionalNODE(3, DepthGrid(1.5, 5, kind), basis, (0,), (1, 2), activation, scheme, pooling)


def pictures(pixels=(8, 12), number=4, seed=3) -> Images:
    inputs = like(torch.empty(number, 1, *pixels), seed)
    return Images(inputs, torch.eye(2, dtype=torch.float64)[torch.arange(number) % 2], (1.0, 1.5))


@pytest.mark.parametrize("basis", BASES.values(), ids=BASES)
@pytest.mark.parametrize("pooling", POOLING.values(), ids=POOLING)
@pytest.mark.parametrize("scheme", [EULER, RK4], ids=lambda s: s.name)
def test_derivatives_of_first_and_second_order(basis, pooling, scheme):
    model = network(basis, pooling, scheme, "linear" if pooling else "constant")
    problem = TrainingProblem(model, Cost(1.0, 0.7, 0.2, 0.1, 0.1), pictures(), second=True)
    theta, direction = model.initial(generator(), 0.7), 0.1 * model.initial(generator(6), 1.0)
    here = problem.evaluate(theta)
    slope, tangent = inner(here.derivative(), direction), here.tangent(direction)
    value = lambda t: problem.evaluate(t).value  # noqa: E731
    assert taylor_test(value, theta, direction, slope).rate == pytest.approx(2.0, abs=0.05)
    assert taylor_test(value, theta, direction, slope, tangent.second).rate == pytest.approx(3.0, abs=0.1)
    assert tangent.model(0.0)[1] == pytest.approx(tangent.curvature, rel=1e-12)
    run = here.run.whole
    covector, start = like(run.final, 5), like(run.start, 7)
    by_theta = dot_test(
        lambda d: run.tangent(d).final, lambda w: run.adjoint(w).theta, direction, covector, inner, inner
    )
    by_input = dot_test(
        lambda d: run.tangent(None, d).final, lambda w: run.adjoint(w).input, start, covector, inner, inner
    )
    assert max(by_theta.error, by_input.error) < 1e-14


@pytest.mark.parametrize("scheme", [EULER, HEUN], ids=lambda s: s.name)
def test_the_cost_does_not_depend_on_the_number_of_pixels(scheme):
    """Spectral convergence: from 64 pixels on nothing changes but rounding."""
    model = ConvolutionalNODE(
        3, DepthGrid(1.0, 8), GaussianDerivatives((0.06, 0.1)), (0,), (1, 2), TANH, scheme, {4: SoftMaxFlow(0.05, 0.1)}
    )
    theta, values = model.initial(generator(), 0.5), []
    for n in (16, 32, 64, 128):
        x = 2.0 * math.pi * torch.arange(n, dtype=torch.float64) / n
        image = torch.sin(x)[:, None] * torch.cos(2 * x) + 0.4 * torch.cos(x)
        images = Images(image[None, None], torch.tensor([[1.0, 0.0]], dtype=torch.float64), (1.0, 1.0))
        values.append(TrainingProblem(model, Cost(1.0, 0.3), images).evaluate(theta).value)
    errors = [abs(value - values[-1]) / values[-1] for value in values[:-1]]
    assert errors[0] < 1e-2
    assert errors[1] < 1e-5
    assert errors[2] < 1e-13


@pytest.mark.parametrize("basis", BASES.values(), ids=BASES)
def test_translations_commute_with_the_network(basis):
    model = network(basis, POOLING["flows"])
    theta, images = model.initial(generator(), 0.7), pictures()
    state = model.embed(images.inputs)
    shift = lambda u: torch.roll(u, (3, 5), dims=(2, 3))  # noqa: E731
    moved = model.run(theta, shift(state), images.torus).final
    assert torch.allclose(moved, shift(model.run(theta, state, images.torus).final), atol=1e-13)


def test_radial_kernels_commute_with_quarter_turns_and_others_do_not():
    images = Images(like(torch.empty(2, 1, 9, 9)), torch.eye(2, dtype=torch.float64), (1.0, 1.0))
    for basis, commutes in ((BASES["radial"], True), (BASES["gaussian"], False)):
        model = network(basis)
        theta, state = model.initial(generator(), 0.7), model.embed(images.inputs)
        turned = model.run(theta, torch.rot90(state, dims=(2, 3)), images.torus).final
        difference = (turned - torch.rot90(model.run(theta, state, images.torus).final, dims=(2, 3))).abs().max()
        assert (float(difference) < 1e-13) == commutes


def test_a_convolution_is_the_integral_over_the_kernel():
    """Against a plain sum over pixels of `G_s(x - y) u(y) h^d`, and of the derivative's kernel."""
    basis = GaussianDerivatives((0.07,), order=1)
    torus = Torus((32, 32), (1.0, 1.0))
    u = like(torch.empty(32, 32), 4)
    x = torch.arange(32, dtype=torch.float64) / 32
    offset = (x[:, None] - x + 0.5) % 1.0 - 0.5
    line = torch.exp(-0.5 * (offset / 0.07) ** 2) / (0.07 * math.sqrt(2.0 * math.pi)) / 32
    slope = -offset / 0.07 * line  # s d/dx of the Gaussian
    expected = [line @ u @ line.T, line @ u @ slope.T, slope @ u @ line.T]
    psi = torus.transform(basis)
    for row, image in zip(psi, expected, strict=True):
        assert torch.allclose(torus.backward(row * torus.forward(u)), image, atol=2e-6 * float(u.abs().max()))


def test_splines_vanish_beyond_their_reach_and_integrate_to_one():
    basis = Splines(0.25, 3, 3, dimension=1)
    torus = Torus((400,), (1.0,))
    kernels = torus.backward(torus.transform(basis)) * 400
    x = (torch.arange(400, dtype=torch.float64) / 400 + 0.5) % 1.0 - 0.5
    assert torch.allclose(kernels.mean(-1), torch.ones(3, dtype=torch.float64), atol=1e-12)
    assert float(kernels[:, x.abs() > 0.252].abs().max()) < 1e-4 * float(kernels.max())


@pytest.mark.parametrize("basis", BASES.values(), ids=BASES)
def test_gram_matrices_are_integrals_over_space(basis):
    torus = Torus((128, 128), (3.0, 3.0))
    kernels = torus.backward(torus.transform(basis)) / torus.pixel_volume
    plain = torch.einsum("iab,jab->ij", kernels, kernels) * torus.pixel_volume
    scale = kernel_gram(basis).diagonal().sqrt()
    relative = (kernel_gram(basis) - plain) / (scale[:, None] * scale)
    assert float(relative.abs().max()) < (1e-3 if isinstance(basis, Splines) else 1e-9)
    psi = torus.transform(basis)
    steep = ((psi * torus.parseval * -torus.laplacian()) @ psi.conj().mT).real / torus.pixel_volume
    both = kernel_gram(basis, 0.2) - kernel_gram(basis) - 0.04 * steep
    assert float((both / (scale[:, None] * scale)).abs().max()) < (3e-2 if isinstance(basis, Splines) else 1e-9)


@pytest.mark.parametrize("lengths", [(0.0, 0.0), (0.4, 0.0), (0.3, 0.08)])
def test_the_space_of_kernels_has_a_riesz_map(lengths):
    model = network(kind="linear")
    space = model.space(*lengths)
    f, d = model.initial(generator(1), 1.0), model.initial(generator(2), 1.0)
    assert space.inner(space.riesz(f), d) == pytest.approx(space.dual(f, d), rel=1e-9)
    # constant in depth, the kernel's L2 norm is that of its picture
    if lengths == (0.0, 0.0):
        theta = f[:1].expand_as(f).clone()
        torus = Torus((96, 96), (3.0, 3.0))
        kappa = theta[0, :-1].reshape(model.basis.number, 3, 3)
        kernels = torus.backward(torch.einsum("jf,jio->iof", torus.transform(model.basis), kappa + 0j))
        squares = float((kernels**2).sum()) / torus.pixel_volume + float((theta[0, -1] ** 2).sum())
        assert space.inner(theta, theta) == pytest.approx(1.5 * squares, rel=1e-8)


def test_reading_and_writing_are_transposes_and_independent_of_pixels():
    model = network()
    outputs, state = like(torch.empty(4, 2)), like(torch.empty(4, 3, 8, 6), 1)
    assert inner(model.write(outputs, (8, 6)), state) == pytest.approx(inner(outputs, model.read(state)), rel=1e-13)


def test_training_descends_and_generalises_to_another_size():
    """Bright or dark spots: trained on 8 x 8 pixels, the same weights tell them apart on 16 x 16."""
    model = ConvolutionalNODE(3, DepthGrid(1.5, 6), GaussianDerivatives((0.1,), 1), (0,), (1, 2))

    def spots(n: int, number: int, seed: int) -> Images:
        centres = torch.rand(number, 2, 1, generator=generator(seed), dtype=torch.float64)
        x = torch.arange(n, dtype=torch.float64) / n
        offset = (x - centres + 0.5) % 1.0 - 0.5
        bump = torch.exp(-(offset[:, 0, :, None] ** 2 + offset[:, 1, None, :] ** 2) / 0.02)
        sign = torch.where(torch.arange(number) % 2 == 0, 1.0, -1.0)[:, None, None]
        return Images((sign * bump)[:, None], torch.eye(2, dtype=torch.float64)[torch.arange(number) % 2], (1.0, 1.0))

    problem = TrainingProblem(model, Cost(1.0, decay=1e-4), spots(8, 20, 0))
    result = minimise(problem, model.initial(generator()), model.space(0.5, 0.05), callback=None)
    assert result.value < 0.05 * result.history[0].value
    for size in (8, 16):
        test = spots(size, 40, 1)
        outputs = model.read(model.run(result.x, model.embed(test.inputs), test.torus).final)
        assert torch.equal(outputs.argmax(-1), test.classes)


def test_as_a_layer_it_has_torch_gradients():
    model = network(pooling={2: SoftMaxFlow(0.05, 0.2)})
    layer = CNODE.of(model, model.initial(generator(), 0.5), (1.0, 1.5))
    images = like(torch.empty(2, 3, 4, 6)).requires_grad_()
    # along random directions: every component would be a run of its own
    assert torch.autograd.gradcheck(
        lambda theta, pictures: torch.func.functional_call(layer, {"theta": theta}, (pictures,)),
        (layer.theta, images),
        fast_mode=True,
    )
    network_around = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3, padding=1).double(), layer, torch.nn.Flatten())
    network_around(like(torch.empty(2, 1, 4, 6))).sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network_around.parameters())


def test_single_precision_agrees_with_double():
    model = network(pooling=POOLING["flows"])
    theta, images = model.initial(generator(), 0.5), pictures()
    state = model.embed(images.inputs)
    double = model.run(theta, state, images.torus)
    single = model.run(theta.float(), state.float(), images.torus)
    assert single.final.dtype == torch.float32
    assert torch.allclose(single.final.double(), double.final, atol=1e-5)
    covector = like(double.final)
    assert torch.allclose(single.adjoint(covector.float()).theta.double(), double.adjoint(covector).theta, atol=1e-3)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: GaussianDerivatives((0.0,)), "scales > 0"),
        (lambda: RadialGaussians((0.2, 0.1)), "increasing"),
        (lambda: Splines(0.1, 3, 1), "degree >= 3"),
        (lambda: kernel_gram(GaussianDerivatives((0.1, 0.1 + 1e-9))), "linearly dependent"),
        (lambda: Torus((4, 0), (1.0, 1.0)), "one length > 0"),
        (lambda: Torus((4,), (1.0,)).transform(BASES["gaussian"]), "dimensions"),
        (lambda: network(pooling={9: HeatFlow(0.1)}), "cells are numbered 0 to 4"),
        (lambda: network().embed(torch.zeros(2, 2, 4, 4)), "need"),
        (lambda: ConvolutionalNODE(2, DepthGrid(1.0, 2), BASES["radial"], (0, 5), (1,)), "from 0 to 1"),
        (lambda: SoftMaxFlow(0.1, 0.0), "both > 0"),
        (lambda: Restriction().target(Torus((6, 8), (1.0, 1.0))), "multiples of 4"),
        (lambda: TrainingProblem(network(), Cost(1.0, running=Magnitude(1.0)), pictures()), "no running cost"),
        (lambda: Images(torch.zeros(0, 1, 4, 4), torch.zeros(0, 2), (1.0, 1.0)), "missing"),
        (lambda: Images(torch.zeros(2, 1, 4), torch.zeros(2, 2), (1.0, 1.0)), "need"),
    ],
)
def test_what_cannot_be_is_refused(wrong, words):
    with pytest.raises(ConfigError, match=words):
        wrong()


def test_activations_of_other_slopes_work_too():
    model = network(activation=activation_named("smooth-relu"))
    problem = TrainingProblem(model, Cost(1.0), pictures())
    theta, direction = model.initial(generator(), 0.7), 0.1 * model.initial(generator(6), 1.0)
    slope = inner(problem.evaluate(theta).derivative(), direction)
    assert taylor_test(lambda t: problem.evaluate(t).value, theta, direction, slope).rate > 1.8
