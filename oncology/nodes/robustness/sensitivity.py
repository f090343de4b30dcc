"""What a trained standalone NODE is sensitive to: inputs, weights, and uncertainty of both.

All of it is first order and exact for the scheme that was run: rows of the input Jacobian are adjoint solves, columns
are tangent solves, and the Riesz image of an adjoint's dual vector is the depth-importance kernel. None of it is a
guarantee; `certificates` has those.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.nodes.cost import Terminal
from oncology.nodes.depth_run import DepthRun
from oncology.nodes.standalone import StandaloneNODE
from oncology.optimise import Space

__all__ = [
    "WorstPerturbation",
    "depth_kernel",
    "depth_profile",
    "dual_order",
    "input_covariance",
    "input_jacobian",
    "linearised_radius",
    "lyapunov",
    "margins_of",
    "noise_regulariser",
    "weight_covariance",
    "worst_weights",
]


def input_jacobian(model: StandaloneNODE, run: DepthRun) -> Tensor:
    """Derivative of the outputs by the inputs, `P Phi(T, 0) E`, (K, outputs, inputs).

    One adjoint solve for each output, or one tangent solve for each input where those are fewer.

    Args:
        model: the network.
        run: its forward run.
    """
    final = run.final
    if len(model.outputs) <= len(model.inputs):
        return torch.stack(
            [run.adjoint(unit).input[:, list(model.inputs)] for unit in _units(final, model.outputs)], dim=1
        )
    return torch.stack([model.read(run.tangent(None, unit).final) for unit in _units(final, model.inputs)], dim=2)


def _units(like: Tensor, coordinates: tuple[int, ...]) -> list[Tensor]:
    """States (K, n) that are one in one of the coordinates, zero elsewhere."""
    units = []
    for coordinate in coordinates:
        unit = torch.zeros_like(like)
        unit[:, coordinate] = 1.0
        units.append(unit)
    return units


def depth_kernel(run: DepthRun, covector: Tensor, space: Space[Tensor]) -> Tensor:
    """Kernel k of `sum_k covector_k . delta x_k(T) = (k, delta theta)_H` to first order, shape of the weights.

    Args:
        run: forward run.
        covector: one for each sample, (K, n); zero for samples that do not matter.
        space: H; L2 gives `(S'(z)* lambda) (x, 1)`, H1 its smooth image.
    """
    return space.riesz(run.adjoint(covector).theta)


def depth_profile(run: DepthRun, covector: Tensor) -> Tensor:
    """Importance of each depth for `covector . x(T)`, `|S'(z)* lambda| sqrt(1 + |x|^2)`, (time steps, K).

    The 2-norm of the derivative by weights of one time step, over its length: of schemes with several stages too.

    Args:
        run: forward run.
        covector: (K, n).
    """
    stages = (len(run.states) - 1, run.scheme.stages)
    pulled, inputs = run.adjoint(covector).pulled.unflatten(0, stages), run.inputs.unflatten(0, stages)
    gram = torch.einsum("jakm,jbkm->jkab", pulled, pulled) * (1.0 + torch.einsum("jakn,jbkn->jkab", inputs, inputs))
    return gram.sum((-1, -2)).clamp(min=0.0).sqrt() / run.step


@dataclass(frozen=True, eq=False)
class WorstPerturbation:
    """Change of the weights, of unit norm, that moves something most to first order.

    Attributes:
        direction: change in the shape of the weights.
        gain: how far it moves: no unit change moves it further.
    """

    direction: Tensor
    gain: float


def worst_weights(run: DepthRun, covector: Tensor, space: Space[Tensor]) -> WorstPerturbation:
    """Unit change of the weights that increases `sum_k covector_k . x_k(T)` most to first order.

    Args:
        run: forward run.
        covector: (K, n).
        space: L2 for the worst change of any kind, H1 for the worst one that is smooth in depth.

    Raises:
        ConfigError: no change of the weights moves it.
    """
    dual = run.adjoint(covector).theta
    kernel = space.riesz(dual)
    gain = max(space.dual(dual, kernel), 0.0) ** 0.5
    if gain == 0:
        raise ConfigError("the outputs do not depend on the weights to first order; take another covector or sample")
    return WorstPerturbation(kernel / gain, gain)


def input_covariance(model: StandaloneNODE, run: DepthRun, covariance: Tensor) -> Tensor:
    """Covariance of the outputs for uncertain inputs, `J Sigma J'`, (K, outputs, outputs).

    Args:
        model: the network.
        run: its forward run at the mean inputs.
        covariance: Sigma of the inputs, (inputs, inputs) or (K, inputs, inputs).
    """
    jacobian = input_jacobian(model, run)
    return jacobian @ covariance @ jacobian.mT


def weight_covariance(model: StandaloneNODE, run: DepthRun, space: Space[Tensor], variance: float = 1.0) -> Tensor:
    """Covariance of the outputs for uncertain weights, `variance (k_i, k_j)_H`, (K, outputs, outputs).

    Weights are a Gaussian field whose covariance is the Riesz map of H: white in depth for L2 (independent cells of
    variance `variance / h`), smooth for H1 with its smoothing length.

    Args:
        model: the network.
        run: its forward run at the mean weights.
        space: H.
        variance: of the field, in squared units of the weights times units of depth.
    """
    nodes = torch.eye(model.grid.nodes, dtype=run.inputs.dtype, device=run.inputs.device)
    correlation = run.interpolation.push(run.interpolation.push(space.riesz(nodes)).mT.contiguous())
    units = _units(run.final, model.outputs)
    pulled = torch.stack([run.adjoint(unit).pulled for unit in units], dim=2).transpose(0, 1)
    inputs = run.inputs.transpose(0, 1)
    weights = correlation * (1.0 + inputs @ inputs.mT)
    moved = (weights @ pulled.flatten(2)).unflatten(2, pulled.shape[2:])
    return variance * torch.einsum("ksam,ksbm->kab", pulled, moved)


def lyapunov(run: DepthRun, initial: Tensor, weight_variance: float = 0.0, step_variance: float = 0.0) -> Tensor:
    """Covariance of x(T) by the discrete Lyapunov equation `P_{j+1} = M_j P_j M_j' + Q_j`, (K, n, n).

    White weight noise is independent in each time step, with variance `weight_variance / h`.

    Args:
        run: forward run at the mean.
        initial: covariance of x(0), (n, n) or (K, n, n).
        weight_variance: of white noise of the weights, per unit of depth.
        step_variance: of increments added to each component after each time step.
    """
    n, s = run.states.shape[2], run.scheme.stages
    identity = torch.eye(n, dtype=initial.dtype, device=initial.device)
    covariance = initial.expand(run.states.shape[1], n, n)
    for j in range(len(run.states) - 1):
        transition, pulled = _step_rows(run, j, identity)
        inputs = run.inputs[j * s : (j + 1) * s].transpose(0, 1)
        gram = weight_variance / run.step * (1.0 + inputs @ inputs.mT)
        noise = torch.einsum("kst,skrm,tkqm->krq", gram, pulled, pulled)
        covariance = transition @ covariance @ transition.mT + noise + step_variance * identity
    return covariance


def _step_rows(run: DepthRun, j: int, identity: Tensor) -> tuple[Tensor, Tensor]:
    """Transition matrix M_j of one time step, (K, n, n), and `S'(z)* mu` for each of its rows, (stages, K, n, m)."""
    h, s, n = run.step, run.scheme.stages, len(identity)
    size = run.states.shape[1]
    memory = run.memory[j * s : (j + 1) * s, :, None].expand(-1, -1, n, -1)
    rows = identity.expand(size, n, n)
    pulled: list[Tensor] = []
    back: list[Tensor] = []
    for i in range(s - 1, -1, -1):
        force = h * run.scheme.b[i] * identity.expand(size, n, n)
        for later, q in zip(range(s - 1, i, -1), back, strict=True):
            force = force + h * run.scheme.a[later][i] * q
        pulled.append(run.activation.pullback(memory[i], force))
        back.append(pulled[-1] @ run.weights[j * s + i, :n].T)
        rows = rows + back[-1]
    return rows, torch.stack(pulled[::-1])


def noise_regulariser(model: StandaloneNODE, run: DepthRun, terminal: Terminal, covariance: Tensor) -> float:
    """What noise of the inputs adds to the mean cost at leading order, `1/2 tr(J' Phi_xx J Sigma)`.

    The term with second derivatives of the network, `1/2 Phi_x . tr(x'' Sigma)`, vanishes with the residual and is
    left out, as in the Gauss-Newton curvature.

    Args:
        model: the network.
        run: its forward run on the batch.
        terminal: the cost Phi of the batch.
        covariance: Sigma of the inputs, (inputs, inputs), positive semi-definite.
    """
    values, vectors = torch.linalg.eigh(covariance)
    columns = (vectors * values.clamp(min=0.0).sqrt()).T
    total = 0.0
    for column in columns:
        start = model.embed(column.expand(run.states.shape[1], -1))
        total += 0.5 * terminal.curvature(run.final, run.tangent(None, start).final)
    return total


def margins_of(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Predicted classes (K,), and by how much they exceed each output, (K, outputs); inf for the class itself."""
    classes = outputs.argmax(-1)
    margins = outputs.gather(1, classes[:, None]) - outputs
    return classes, margins.scatter(1, classes[:, None], torch.inf)


def linearised_radius(outputs: Tensor, jacobian: Tensor, norm: float = 2.0) -> Tensor:
    """Estimated distance of inputs to the nearest other class, (K,): not a certificate.

    Args:
        outputs: (K, outputs).
        jacobian: derivative of the outputs by the inputs, (K, outputs, inputs).
        norm: 2 or inf, in which the distance is measured.
    """
    classes, margins = margins_of(outputs)
    own = jacobian[torch.arange(len(outputs), device=outputs.device), classes]
    slopes = torch.linalg.vector_norm(own[:, None] - jacobian, ord=dual_order(norm), dim=-1)
    result: Tensor = (margins / slopes).amin(-1)
    return result


def dual_order(norm: float) -> float:
    """Order of the dual norm.

    Raises:
        ConfigError: the norm is neither 2 nor inf.
    """
    if norm not in (2.0, torch.inf):
        raise ConfigError(f"norm {norm:g}; take 2 or inf")
    return 2.0 if norm == 2.0 else 1.0
