"""Second-order tangent and adjoint of a run: derivatives of a sensitivity, and products with the Hessian.

`mixed_tangent` differentiates one tangent solve along another, `mixed_adjoint` differentiates an adjoint solve along a
tangent one; both are the loops of `solve` differentiated line by line, and exact for the scheme.
"""

from __future__ import annotations

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.nodes.activation import Elementwise
from oncology.nodes.depth_run import DepthAdjoint, DepthRun, DepthTangent

__all__ = ["mixed_adjoint", "mixed_tangent", "stage_bends"]


def stage_bends(run: DepthRun) -> Tensor:
    """Second derivative of the activation at each stage, (stages, K, n).

    Raises:
        ConfigError: the activation is not elementwise, so that its second derivative is no vector.
    """
    if not isinstance(run.activation, Elementwise):
        name = run.activation.name
        raise ConfigError(f"activation {name!r} has no elementwise second derivative; take tanh, sigmoid or softplus")
    n = run.weights.shape[1] - 1
    return run.activation.bend(torch.baddbmm(run.weights[:, n:], run.inputs, run.weights[:, :n]))


def mixed_tangent(run: DepthRun, bends: Tensor, first: DepthTangent, second: DepthTangent) -> Tensor:
    """Second derivative x''[d1, d2] of x(T) along two directions, (K, n).

    Args:
        run: forward run.
        bends: `stage_bends` of the run.
        first: tangent along d1.
        second: tangent along d2.
    """
    h, s, n = run.step, run.scheme.stages, run.weights.shape[1] - 1
    source = bends * first.arguments * second.arguments
    z = torch.zeros_like(source)
    for one, other in ((first, second), (second, first)):
        if other.direction is not None:
            z.baddbmm_(one.inputs, other.direction[:, :n])
    state = torch.zeros_like(run.final)
    for j in range(len(run.states) - 1):
        slopes: list[Tensor] = []
        for i in range(s):
            k = j * s + i
            y = state + h * sum((a * q for a, q in zip(run.scheme.a[i], slopes, strict=True)), torch.zeros_like(state))
            argument = torch.addmm(z[k], y, run.weights[k, :n])
            slopes.append(run.activation.pushforward(run.memory[k], argument) + source[k])
        for b, slope in zip(run.scheme.b, slopes, strict=True):
            state = state.add(slope, alpha=h * b)
    return state


def mixed_adjoint(
    run: DepthRun, bends: Tensor, adjoint: DepthAdjoint, tangent: DepthTangent, final: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Derivative of an adjoint solve along a direction: `nu . x''[d, .]` for the adjoint's covector nu.

    With `final` = `Phi''(x(T)) xi(T)` and the adjoint of Phi this is the product of the cost's Hessian with d.

    Args:
        run: forward run.
        bends: `stage_bends` of the run.
        adjoint: adjoint solve with nu.
        tangent: tangent solve along d.
        final: change of nu along d, (K, n); None for zero.

    Returns:
        Dual vectors by the weights, in their shape, and by the states at depth 0, (K, n).
    """
    h, s, n = run.step, run.scheme.stages, run.weights.shape[1] - 1
    source = bends * tangent.arguments * adjoint.forces
    along = tangent.direction
    state = torch.zeros_like(run.final) if final is None else final
    pulled = torch.empty_like(adjoint.pulled)
    for j in range(len(run.states) - 2, -1, -1):
        back: list[Tensor] = []
        for i in range(s - 1, -1, -1):
            k = j * s + i
            force = h * run.scheme.b[i] * state
            for later, q in zip(range(s - 1, i, -1), back, strict=True):
                force = force.add(q, alpha=h * run.scheme.a[later][i])
            pulled[k] = run.activation.pullback(run.memory[k], force) + source[k]
            q = pulled[k] @ run.weights[k, :n].T
            back.append(q if along is None else torch.addmm(q, adjoint.pulled[k], along[k, :n].T))
        for q in back:
            state = state + q
    dual = torch.empty_like(run.weights)
    torch.bmm(run.inputs.mT, pulled, out=dual[:, :n])
    dual[:, :n].baddbmm_(tangent.inputs.mT, adjoint.pulled)
    torch.sum(pulled, dim=1, out=dual[:, n])
    return run.interpolation.pull(dual), state
