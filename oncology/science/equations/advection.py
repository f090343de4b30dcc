"""Advection, diffusion and decay `u_t + v.grad u = D Laplacian u - r u` with its exact solutions A1 and A2.

The velocity is a combination of given divergence-free fields with unknown amplitudes: axes for a constant wind, a
rotation for a vortex. A1 is the heat kernel carried along the characteristics, A2 the stationary boundary layer
(Roos, Stynes and Tobiska, Robust Numerical Methods for Singularly Perturbed Differential Equations, chapter I).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from oncology.science.equation import Coefficient, Coefficients
from oncology.science.equations.heat import heat_kernel
from oncology.science.grid import Grid
from oncology.science.grid_equation import DiffusiveEquation

__all__ = ["Advection", "boundary_layer", "carried_kernel", "rotated_kernel", "rotation", "winds"]


@dataclass(frozen=True, eq=False)
class Advection(DiffusiveEquation):
    """Advection, diffusion and decay; coefficients "velocity" (m), "diffusion" and "decay".

    Attributes:
        grid: cells, with their walls; mm.
        fields: divergence-free velocity fields of unit amplitude, (m, d, n).
    """

    fields: Tensor
    name: str = "advection-diffusion"

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Amplitudes of the fields, D in mm^2/day and r in 1/day."""
        return (
            Coefficient("velocity", len(self.fields), "mm/day"),
            Coefficient("diffusion", 1, "mm^2/day", positive=True),
            Coefficient("decay", 1, "1/day", positive=True),
        )

    def value(self, u: Tensor, q: Coefficients) -> Tensor:
        """`-v.grad u + D Laplacian u - r u` by central differences."""
        wind = torch.tensordot(q[0], self.fields, dims=1)
        carried = sum((wind[axis] * self.grid.slope(u, axis) for axis in range(len(wind))), start=torch.zeros_like(u))
        return q[1] * self.grid.laplacian(u) - carried - q[2] * u

    def pushforward(self, u: Tensor, q: Coefficients, du: Tensor, dq: Coefficients) -> Tensor:
        """Derivative along state and coefficients; S is linear in both, up to what fixed walls add."""
        return self.value(du, q) - self.value(torch.zeros_like(du), q) + self.value(u, dq)

    def eigenvalues(self, q: Coefficients) -> Tensor:
        """Of diffusion and decay."""
        return q[1] * self.grid.laplacian_eigenvalues - q[2]


def winds(grid: Grid) -> Tensor:
    """Unit fields along each axis, (d, d, n)."""
    unit = torch.eye(len(grid.axes), dtype=torch.float64)
    return unit[:, :, None].expand(-1, -1, grid.size)


def rotation(grid: Grid) -> Tensor:
    """The field (-y, x) of unit angular velocity, (1, 2, n)."""
    x, y = grid.points.T
    return torch.stack([-y, x])[None]


def carried_kernel(
    points: Tensor, time: float, velocity: Tensor, diffusion: float, decay: float, started: float
) -> Tensor:
    """A1 with a constant velocity (d,), mm/day: the heat kernel at `x - v t` times `exp(-r t)`, (1, n)."""
    return math.exp(-decay * time) * heat_kernel(points - time * velocity, time, diffusion, started)


def rotated_kernel(
    points: Tensor, time: float, angular: float, centre: Tensor, diffusion: float, decay: float, started: float
) -> Tensor:
    """A1 with a rotation of `angular` radians a day about the origin: the kernel's centre (2,) turns, (1, n)."""
    c, s = math.cos(angular * time), math.sin(angular * time)
    turned = torch.stack([c * centre[0] - s * centre[1], s * centre[0] + c * centre[1]])
    return math.exp(-decay * time) * heat_kernel(points - turned, time, diffusion, started)


def boundary_layer(x: Tensor, peclet: float) -> Tensor:
    """A2: `(exp(v x / D) - 1) / (exp(v / D) - 1)` on (0, 1) for v / D = peclet, (1, n)."""
    return (torch.expm1(peclet * x) / math.expm1(peclet))[None]
