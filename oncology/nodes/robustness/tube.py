"""Certified radii from the slopes that a ball of inputs reaches: a tube around each trajectory.

Around the run of a sample every layer is linear up to an error, `delta -> (I + h C W) delta + e`, where
`|e| <= h R |W delta|` componentwise, C are the slopes at the sample (or in the middle of those that the ball reaches)
and R bounds how far secant slopes stray from them. Errors are carried to the output through the linear layers that
follow, each with its sign (a zonotope), so that for small margins the radius approaches the linearised one, which no
certificate can exceed. Rounding of the two runs and of this computation enters e.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.nodes.depth_run import DepthRun
from oncology.nodes.robustness.certificates import EulerNet, euler_net, product_radius, rounding_of_step
from oncology.nodes.robustness.sensitivity import dual_order, input_jacobian, linearised_radius, margins_of
from oncology.nodes.standalone import StandaloneNODE

__all__ = ["certified_radius", "tube_holds"]

PEAKED = ("tanh", "sigmoid")
RISING = ("softplus", "identity", "relu", "leaky-relu", "smooth-relu", "smooth-leaky-relu", "elu0.2", "elu1")

PANELS = 4
"""Upper sums of `int_0^1 sup_{|u| <= s t} |sigma'(z + u) - sigma'(z)| ds`, which bounds a secant slope."""

UNIT = torch.finfo(torch.float64).eps
SAFETY = 1.0 + 1e-9
NUMBERS = 2**23
"""Most numbers in the generators of the samples that are looked at together."""


def certified_radius(
    model: StandaloneNODE, theta: Tensor, run: DepthRun, norm: float = 2.0, candidates: int = 16, rounds: int = 3
) -> Tensor:
    """Radius within which no input of another class lies, at least that of `product_radius`, (K,).

    Radii between the one of the product bound and the linearised one are tried; each that is returned was verified.

    Args:
        model: the network.
        theta: its weights.
        run: its forward run; the class of a sample is that of its largest output.
        norm: 2 or inf, in which the radius is measured.
        candidates: radii tried at once.
        rounds: of candidates, each between the last success and the next failure; the second also looks beyond it, with
            slopes in the middle of their range.

    Raises:
        ConfigError: no guarantee can be given of this network, or the norm is neither 2 nor inf.
    """
    net = euler_net(model, theta)
    _check(net, norm)
    best = product_radius(model, theta, run, norm)
    upper = linearised_radius(model.read(run.final), input_jacobian(model, run), norm).double()
    upper = upper.nan_to_num(nan=0.0, posinf=1e6 * float(best.max()) + 1.0)
    states = run.states.double()
    layers, n, _ = net.matrices.shape
    chunk = max(1, NUMBERS // (layers * n * n))
    return torch.cat(
        [
            _search(model, net, states[:, rows], best[rows], upper[rows], norm, candidates, rounds)
            for rows in torch.arange(states.shape[1], device=states.device).split(chunk)
        ]
    )


def _search(
    model: StandaloneNODE,
    net: EulerNet,
    states: Tensor,
    best: Tensor,
    upper: Tensor,
    norm: float,
    candidates: int,
    rounds: int,
) -> Tensor:
    shares = torch.linspace(0.0, 1.0, candidates + 1, dtype=torch.float64, device=states.device)[1:]
    low, high = torch.maximum(best, 1e-3 * upper), torch.maximum(best, upper)
    for attempt in range(rounds):
        radii = low[:, None] * (high / low.clamp(min=1e-300))[:, None] ** shares
        # slopes in the middle of their range stray less, but for that a radius must be known already
        held = tube_holds(model, net, states, radii, norm, candidates // 2 if attempt else None)
        best = torch.maximum(best, torch.where(held, radii, 0.0).amax(1))
        low = torch.maximum(low, best)
        failed = torch.where(~held & (radii > best[:, None]), radii, high[:, None]).amin(1)
        high = torch.maximum(low, failed if attempt else torch.minimum(high, 1.6 * low))
    return best


def _check(net: EulerNet, norm: float) -> None:
    dual_order(norm)
    if net.activation.name not in PEAKED + RISING:
        names = ", ".join(PEAKED + RISING)
        raise ConfigError(f"slopes of {net.activation.name!r} on an interval are not known; take one of {names}")


def _slopes(net: EulerNet, z: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest and highest sigma'(z + u) over |u| <= reach."""
    sigma = net.activation

    def at(point: Tensor) -> Tensor:
        return sigma.slope(point, sigma.value(point))

    if sigma.name in PEAKED:
        return at(z.abs() + reach), at((z.abs() - reach).clamp(min=0.0))
    return at(z - reach), at(z + reach)


@dataclass(frozen=True, eq=False)
class _Differences:
    """Differences from the nominal state, `inputs d + errors w` with |d| <= radius and |w| <= sizes.

    Attributes:
        inputs: (K, n, inputs).
        errors: (K, n, generators).
        sizes: (K, generators, radii).
    """

    inputs: Tensor
    errors: Tensor
    sizes: Tensor

    def through(self, matrix: Tensor) -> _Differences:
        """Their images under a matrix (n, n)."""
        return _Differences(matrix @ self.inputs, matrix @ self.errors, self.sizes)

    def box(self, radii: Tensor, order: float) -> Tensor:
        """Bound of each component, (K, n, radii)."""
        rows = torch.linalg.vector_norm(self.inputs, ord=order, dim=-1)
        result: Tensor = rows[..., None] * radii[:, None] + self.errors.abs() @ self.sizes
        return result


def tube_holds(
    model: StandaloneNODE, net: EulerNet, states: Tensor, radii: Tensor, norm: float, centre: int | None = None
) -> Tensor:
    """Whether no input within each radius has another class, (K, radii); false where it cannot be told.

    Args:
        model: the network.
        net: its layers.
        states: computed states of the samples, (layers + 1, K, n), double precision.
        radii: (K, radii).
        norm: 2 or inf.
        centre: index of the radius whose slopes have C in the middle of their range; None for the slopes at the sample.
    """
    size, n = states.shape[1:]
    count, order = radii.shape[1], dual_order(norm)
    start = torch.zeros(size, n, len(model.inputs), dtype=torch.float64, device=states.device)
    start[:, list(model.inputs), torch.arange(len(model.inputs))] = 1.0
    moved = _Differences(start, start.new_zeros(size, n, 0), start.new_zeros(size, 0, count))
    for layer in range(len(net.matrices)):
        moved = _layer(net, layer, states[layer], moved, radii, order, centre)
    classes, margins = margins_of(model.read(states[-1]))
    outputs = list(model.outputs)
    box = moved.box(radii, order)[:, outputs]
    rows = torch.arange(size, device=states.device)
    own = torch.tensor(outputs, device=states.device)[classes]
    apart = _Differences(
        moved.inputs[rows, own][:, None] - moved.inputs[:, outputs],
        moved.errors[rows, own][:, None] - moved.errors[:, outputs],
        moved.sizes,
    ).box(radii, order)
    fuzz = 4.0 * UNIT * (box + box[rows, classes][:, None])
    return (SAFETY * (apart + fuzz) < margins[..., None]).all(1)


def _layer(
    net: EulerNet,
    layer: int,
    state: Tensor,
    moved: _Differences,
    radii: Tensor,
    order: float,
    centre: int | None,
) -> _Differences:
    """Differences after a layer; the errors that it adds become new generators."""
    h, matrix, n = net.step, net.matrices[layer], state.shape[1]
    z = state @ matrix.mT + net.biases[layer]
    slope = net.activation.slope(z, net.activation.value(z))
    box = moved.box(radii, order)
    pushed = matrix.abs() @ box
    magnitude = state.abs()[..., None] + box
    image = moved.through(matrix)
    argument = image.box(radii, order) + (n + 4) * UNIT * pushed
    wobble = (n + 4) * UNIT * (matrix.abs() @ magnitude + net.biases[layer].abs()[:, None])
    lowest, highest = torch.zeros_like(argument), torch.zeros_like(argument)
    for panel in range(1, PANELS + 1):
        low, high = _slopes(net, z[..., None], panel / PANELS * argument + wobble)
        lowest, highest = lowest + low / PANELS, highest + high / PANELS
    if centre is not None:
        middle = 0.5 * (lowest + highest)[..., centre]
        slope = torch.where(middle.isfinite(), middle, slope)
    stray = torch.maximum(highest - slope[..., None], slope[..., None] - lowest).clamp(min=0.0) + 8.0 * UNIT
    rounding = rounding_of_step(net, layer, magnitude.mT).mT
    defect = (n + 8) * UNIT * (box + h * pushed)
    sizes = SAFETY * (h * stray * argument + 2.0 * rounding + defect)
    linear = h * slope[..., None]
    identity = torch.eye(n, dtype=state.dtype, device=state.device).expand(len(state), n, n)
    return _Differences(
        moved.inputs + linear * image.inputs,
        torch.cat([moved.errors + linear * image.errors, identity], dim=2),
        torch.cat([moved.sizes, sizes], dim=1),
    )
