"""Solves as torch operations whose backward pass is their own exact discrete adjoint.

Automatic differentiation would record every layer; here the solve keeps what its adjoint needs and nothing else. All
modules of `oncology.nodes` and `oncology.science` enter torch through `by_adjoint`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._compile import _disable_dynamo

__all__ = ["Pullback", "Solve", "by_adjoint"]

type Pullback = Callable[[Tensor], tuple[Tensor | None, ...]]
"""Takes the derivative by a solve's result to those by each of its inputs."""

type Solve = Callable[..., tuple[Tensor, Pullback]]
"""Takes tensors to a result and its pull-back; called without gradients."""


class _Adjointed(torch.autograd.Function):
    """A solve as a torch operation; once differentiable."""

    @staticmethod
    def forward(context: Any, solve: Solve, *inputs: Tensor) -> Tensor:
        result, context.pull = solve(*(part.detach() for part in inputs))
        return result.clone()

    @staticmethod
    def backward(context: Any, covector: Tensor) -> tuple[Tensor | None, ...]:
        # torch's `once_differentiable` would take the derivative as constant where the covector is
        if torch.is_grad_enabled():
            raise RuntimeError("a neural ODE can be differentiated once; leave out create_graph=True")
        return (None, *context.pull(covector))


@_disable_dynamo  # `torch.compiler.disable` is the same, and loads the compiler for over a second
def by_adjoint(solve: Solve, *inputs: Tensor) -> Tensor:
    """Result of a solve, differentiated by its own adjoint; once.

    `torch.compile` leaves the solve as it is and compiles what stands around it.

    Args:
        solve: takes the inputs, detached, to its result and the pull-back of a covector.
        *inputs: tensors by which the result can be differentiated.

    Raises:
        RuntimeError: on the way back, where a graph of the derivative itself is asked for.

    Example:
        >>> import torch
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> by_adjoint(lambda z: (z * z, lambda covector: (2.0 * z * covector,)), x).backward()
        >>> x.grad
        tensor(6.)
    """
    result: Tensor = _Adjointed.apply(solve, *inputs)
    return result
