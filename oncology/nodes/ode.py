"""`odeint` with the signature of torchdiffeq and the exact derivative of the discrete solution.

torchdiffeq's `odeint_adjoint` solves the adjoint equation with steps of its own, whose result is a derivative of
neither problem; its `odeint` is exact and keeps a graph of every evaluation. Here states at the steps are kept, and
each step is repeated with gradients on the way back: exact, at the memory of the states. Steps of adaptive methods are
chosen without gradients and then taken as given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from oncology.errors import ConfigError
from oncology.nodes.adaptive import (
    BOGACKI_SHAMPINE,
    DORMAND_PRINCE,
    EmbeddedPair,
    Tolerance,
    march_adaptively,
)
from oncology.nodes.autograd import Pullback, by_adjoint
from oncology.nodes.scheme import EULER, HEUN, MIDPOINT, RK4, Scheme

__all__ = ["METHODS", "odeint"]

type Field = Callable[[Tensor, Tensor], Tensor]
"""(t, x) -> x', in the shape of x."""

METHODS: dict[str, Scheme | EmbeddedPair] = {
    "euler": EULER,
    "midpoint": MIDPOINT,
    "heun": HEUN,
    "rk4": RK4,
    "bosh3": BOGACKI_SHAMPINE,
    "dopri5": DORMAND_PRINCE,
}


def odeint(
    f: Field,
    x0: Tensor,
    t: Tensor,
    parameters: Sequence[Tensor] | None = None,
    *,
    rtol: float = 1e-7,
    atol: float = 1e-9,
    method: str = "dopri5",
    steps: int = 1,
) -> Tensor:
    """Solve `x' = f(t, x)`, `x(t[0]) = x0`, differentiable by x0, t and parameters; once.

    Args:
        f: (t, x) -> x'; t is a number as a tensor.
        x0: state at `t[0]`, of any shape.
        t: times, (T,), ascending or descending.
        parameters: tensors on which f depends and by which derivatives are wanted; those of f if it is a module.
        rtol: relative tolerance of a step of "bosh3" and "dopri5".
        atol: absolute tolerance of these.
        method: "dopri5" (Dormand-Prince, adaptive), "bosh3" (Bogacki-Shampine, adaptive), or with fixed steps "euler",
            "midpoint", "heun", "rk4".
        steps: of the latter, from each time to the next.

    Returns:
        States at the times, (T, *x0.shape).

    Raises:
        ConfigError: times are fewer than two or not monotone, the method is unknown, or a number out of range.
        NumericalError: adaptive steps become too small, or too many.

    Example:
        >>> import torch
        >>> rate = torch.tensor(0.5, requires_grad=True)
        >>> x = odeint(lambda t, x: -rate * x, torch.tensor([1.0]), torch.tensor([0.0, 1.0, 2.0]), [rate])
        >>> x[-1].sum().backward()
        >>> print(f"{rate.grad:.4f}")  # -2 exp(-1)
        -0.7358
    """
    moves = torch.sign(torch.diff(t.detach()))
    if t.ndim != 1 or len(t) < 2 or not (bool((moves > 0).all()) or bool((moves < 0).all())):
        raise ConfigError(f"times of shape {tuple(t.shape)}; need two or more, all ascending or all descending")
    if method not in METHODS or steps < 1:
        raise ConfigError(f"method {method!r} with {steps} steps; take one of {', '.join(METHODS)} and steps >= 1")
    if parameters is None:
        parameters = tuple(f.parameters()) if isinstance(f, nn.Module) else ()
    used = tuple(parameter for parameter in parameters if parameter.requires_grad)
    rule, tolerance = METHODS[method], Tolerance(rtol, atol)

    def solve(x: Tensor, times: Tensor, *_: Tensor) -> tuple[Tensor, Pullback]:
        solved = _march(f, rule, tolerance, steps, x, times)
        return solved.outputs, lambda covector: solved.pull(covector, used)

    result: Tensor = by_adjoint(solve, x0, t, *used)
    return result


@dataclass(frozen=True, eq=False)
class _Solved:
    """A solution with the states at all steps.

    Attributes:
        field: f.
        scheme: of every step.
        times: of the outputs.
        fractions: for each interval, where its steps begin and end, from 0 to 1.
        states: for each interval, the states where its steps begin.
        outputs: states at the times.
    """

    field: Field
    scheme: Scheme
    times: Tensor
    fractions: list[list[float]]
    states: list[list[Tensor]]
    outputs: Tensor

    def pull(self, covector: Tensor, parameters: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Derivatives by x0, the times and the parameters: each step again, with gradients, from the last one."""
        state = covector[-1]
        by_time = torch.zeros_like(self.times)
        totals = [torch.zeros_like(parameter) for parameter in parameters]
        for i in range(len(self.fractions) - 1, -1, -1):
            edges = self.fractions[i]
            for j in range(len(edges) - 2, -1, -1):
                with torch.enable_grad():
                    x = self.states[i][j].detach().requires_grad_()
                    ends = self.times[i : i + 2].detach().requires_grad_()
                    moved = _step(self.field, self.scheme, ends, edges[j], edges[j + 1], x)
                    inputs = (x, ends, *parameters)
                    duals = torch.autograd.grad(moved, inputs, state, materialize_grads=True)
                state = duals[0]
                by_time[i : i + 2] += duals[1]
                for total, dual in zip(totals, duals[2:], strict=True):
                    total += dual
            state = state + covector[i]
        return (state, by_time, *totals)


def _march(
    field: Field, rule: Scheme | EmbeddedPair, tolerance: Tolerance, steps: int, x: Tensor, times: Tensor
) -> _Solved:
    scheme = rule if isinstance(rule, Scheme) else rule.scheme
    outputs, fractions, states = [x], list[list[float]](), list[list[Tensor]]()
    for i in range(len(times) - 1):
        ends = times[i : i + 2]
        if isinstance(rule, Scheme):
            edges = [k / steps for k in range(steps + 1)]
        else:
            edges = _adaptive_steps(field, rule, tolerance, ends, x)
        begun: list[Tensor] = []
        for first, last in pairwise(edges):
            begun.append(x)
            x = _step(field, scheme, ends, first, last, x)
        fractions.append(edges)
        states.append(begun)
        outputs.append(x)
    return _Solved(field, scheme, times, fractions, states, torch.stack(outputs))


def _adaptive_steps(field: Field, pair: EmbeddedPair, tolerance: Tolerance, ends: Tensor, x: Tensor) -> list[float]:
    """Ends of the steps that keep the tolerance on an interval, from 0 to 1; RMS error over all components."""
    length = ends[1] - ends[0]

    def equation(fraction: float, flat: Tensor) -> Tensor:
        return (length * field(ends[0] + fraction * length, flat.reshape(x.shape))).reshape(1, -1)

    depths: list[float] = march_adaptively(equation, x.reshape(1, -1), 1.0, tolerance, pair).depths.tolist()
    return depths


def _step(field: Field, scheme: Scheme, ends: Tensor, first: float, last: float, x: Tensor) -> Tensor:
    """State after a step between two fractions of an interval."""
    length = ends[1] - ends[0]
    h = (last - first) * length
    slopes: list[Tensor] = []
    for row, c in zip(scheme.a, scheme.c, strict=True):
        y = x
        for a, slope in zip(row, slopes, strict=True):
            if a != 0:
                y = y + (h * a) * slope
        slopes.append(field(ends[0] + (first + c * (last - first)) * length, y))
    for b, slope in zip(scheme.b, slopes, strict=True):
        if b != 0:
            x = x + (h * b) * slope
    return x
