"""Kinetic equations with their exact solutions K1 to K3: Fokker-Planck, BGK relaxation, Goldstein-Taylor.

K1 is the process of Ornstein and Uhlenbeck (Phys. Rev. 36, 1930) with the fluxes of Scharfetter and Gummel (1969) or
Chang and Cooper (J. Comput. Phys. 6, 1970), which keep mass, sign and equilibrium; K2 the homogeneous model of
Bhatnagar, Gross and Krook (Phys. Rev. 94, 1954); K3 two velocities (Goldstein 1951, Taylor 1922), a telegraph equation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import scipy.sparse
import torch
from torch import Tensor

from oncology.science.equation import Coefficient, Coefficients, pushforward_of
from oncology.science.grid_equation import GridEquation

__all__ = [
    "BGK",
    "FokkerPlanck",
    "GoldsteinTaylor",
    "bernoulli",
    "maxwellian",
    "ornstein_uhlenbeck",
    "telegraph_mode",
]


def bernoulli(z: Tensor) -> Tensor:
    """`z / (exp(z) - 1)`, by its series near zero."""
    small = z.abs() < 1e-2
    near, far = torch.where(small, z, 0.0), torch.where(small, 1.0, z)
    series = 1.0 - near / 2.0 + near**2 / 12.0 - near**4 / 720.0 + near**6 / 30240.0
    return torch.where(small, series, far / torch.expm1(far))


@dataclass(frozen=True, eq=False)
class FokkerPlanck(GridEquation):
    """`f_t = (gamma v f + D f_v)_v` in velocity; coefficients "friction" and "diffusion". No flux through the ends.

    Attributes:
        grid: cells of velocity, with walls without flux.
    """

    name: str = "fokker-planck"

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Gamma and D."""
        return Coefficient("friction", positive=True), Coefficient("diffusion", positive=True)

    def value(self, u: Tensor, q: Coefficients) -> Tensor:
        """Differences of the fluxes `D/h (B(-z) f_i - B(z) f_i+1)` with z = -gamma v h / D at the faces."""
        h = self.grid.axes[0].spacing
        z = -q[0] * (self.grid.points[:-1, 0] + 0.5 * h) * h / q[1]
        inner = q[1] / h * (bernoulli(-z) * u[..., :-1] - bernoulli(z) * u[..., 1:])
        return -self.grid.divergence(torch.nn.functional.pad(inner, (1, 1)))

    def pushforward(self, u: Tensor, q: Coefficients, du: Tensor, dq: Coefficients) -> Tensor:
        """Derivative along state and coefficients; S is linear in the state."""
        moved = self.value(du, q)
        if not any(bool(change.any()) for change in dq):
            return moved
        return moved + pushforward_of(self.value, u, q, torch.zeros_like(u), dq)


def ornstein_uhlenbeck(
    v: Tensor, time: float, friction: float, diffusion: float, mean: float, variance: float
) -> Tensor:
    """K1: Gaussian with mean `m0 exp(-gamma t)` and variance `D/gamma + (s0 - D/gamma) exp(-2 gamma t)`, (1, n)."""
    rest = diffusion / friction
    return maxwellian(
        v, 1.0, mean * math.exp(-friction * time), rest + (variance - rest) * math.exp(-2.0 * friction * time)
    )[None]


def maxwellian(v: Tensor, density: float, mean: float, temperature: float) -> Tensor:
    """Maxwellian of velocities v, (n,)."""
    return density / math.sqrt(2.0 * math.pi * temperature) * torch.exp(-((v - mean) ** 2) / (2.0 * temperature))


@dataclass(frozen=True, eq=False)
class BGK(GridEquation):
    """Homogeneous relaxation `f_t = (M[f] - f) / tau` in velocity; coefficient "relaxation_time".

    Attributes:
        grid: cells of velocity, so wide that f vanishes at its ends.
    """

    name: str = "bgk"

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Tau."""
        return (Coefficient("relaxation_time", 1, "1", positive=True),)

    @property
    def pattern(self) -> None:
        """Moments couple all velocities."""
        return

    def equilibrium(self, u: Tensor) -> Tensor:
        """M[f]: the Maxwellian with the density, mean and temperature of f, (K, n)."""
        v, weights = self.grid.points[:, 0], self.weights
        density = u @ weights
        mean = u @ (weights * v) / density
        temperature = u @ (weights * v**2) / density - mean**2
        spread = (v - mean[:, None]) ** 2 / (2.0 * temperature[:, None])
        return density[:, None] * torch.exp(-spread) / (2.0 * math.pi * temperature[:, None]) ** 0.5

    def value(self, u: Tensor, q: Coefficients) -> Tensor:
        """`(M[f] - f) / tau`."""
        return (self.equilibrium(u) - u) / q[0]


@dataclass(frozen=True, eq=False)
class GoldsteinTaylor(GridEquation):
    """Particles of velocities +c and -c that turn at the rate k: `f+-_t +- c f+-_x = k (f-+ - f+-)`.

    The state holds f+ and then f-; coefficients "speed" and "turning".

    Attributes:
        grid: cells of a periodic interval.
    """

    name: str = "goldstein-taylor"

    parts: ClassVar[int] = 2

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Speed c and turning rate k."""
        return Coefficient("speed", 1, "mm/day", positive=True), Coefficient("turning", 1, "1/day", positive=True)

    @property
    def pattern(self) -> scipy.sparse.csr_array:
        """Neighbouring cells of the same velocity, the same cell of the other one."""
        near = scipy.sparse.kron(scipy.sparse.eye_array(2), self.grid.pattern)
        return scipy.sparse.csr_array(
            near + scipy.sparse.kron([[0.0, 1.0], [1.0, 0.0]], scipy.sparse.eye_array(self.grid.size))
        )

    def value(self, u: Tensor, q: Coefficients) -> Tensor:
        """Central transport and turning."""
        right, left = u.split(self.grid.size, dim=-1)
        turned = q[1] * (left - right)
        return torch.cat([turned - q[0] * self.grid.slope(right), q[0] * self.grid.slope(left) - turned], dim=-1)

    def pushforward(self, u: Tensor, q: Coefficients, du: Tensor, dq: Coefficients) -> Tensor:
        """Derivative along state and coefficients; S is linear in both."""
        return self.value(du, q) + self.value(u, dq)


def telegraph_mode(x: Tensor, time: float, speed: float, turning: float, wave: float) -> Tensor:
    """K3: f+ and f- whose sum solves `rho_tt + 2k rho_t = c^2 rho_xx`, rho = cos qx and rho_t = 0 at first; (1, 2n).

    rho is `exp(-kt) (cosh wt + k/w sinh wt) cos qx` with w^2 = k^2 - c^2 q^2, and the current c (f+ - f-) is
    `exp(-kt) c^2 q / w sinh wt sin qx`.
    """
    root = complex(turning**2 - (speed * wave) ** 2) ** 0.5
    even = complex(math.e) ** (root * time) / 2 + complex(math.e) ** (-root * time) / 2
    odd = time if root == 0 else (complex(math.e) ** (root * time) - complex(math.e) ** (-root * time)) / (2 * root)
    fade = math.exp(-turning * time)
    density = fade * (even + turning * odd).real * torch.cos(wave * x)
    current = fade * speed * wave * complex(odd).real * torch.sin(wave * x)
    return torch.cat([0.5 * (density + current), 0.5 * (density - current)])[None]
