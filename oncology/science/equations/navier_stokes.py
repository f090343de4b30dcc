"""Incompressible Navier-Stokes equations on a periodic box, spectral in space, with exact solutions N1 to N3.

    u' = P[-(u . grad) u + s] + nu lap u

P is Leray's projection; products are formed without aliasing (2/3 rule). N1: Taylor-Green vortices, N2: the
Arnold-Beltrami-Childress flow, N3: the Lamb-Oseen vortex. A mean wind carries each along (Galilean invariance), which
makes the non-linear term matter. Canuto, Hussaini, Quarteroni and Zang, Spectral Methods, 2006.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from oncology.errors import ConfigError
from oncology.science.equation import Coefficient, Coefficients
from oncology.science.grid import Axis, Grid
from oncology.science.grid_equation import GridEquation

__all__ = ["NavierStokes", "beltrami", "lamb_oseen", "taylor_green", "torus"]


@dataclass(frozen=True, eq=False)
class NavierStokes(GridEquation):
    """Velocities at the pixels of a periodic box, component by component; coefficients "viscosity" and "force".

    Attributes:
        grid: periodic cubic box of two or three axes.

    Raises:
        ConfigError: an axis is not periodic, or there are not two or three of them.
    """

    name: str = "navier-stokes"

    def __post_init__(self) -> None:
        if len(self.grid.axes) not in (2, 3) or any(axis.boundary != "periodic" for axis in self.grid.axes):
            raise ConfigError("Navier-Stokes needs a periodic box of two or three axes")

    @property
    def dimension(self) -> int:
        """Number d of axes and of velocity components."""
        return len(self.grid.axes)

    @property
    def size(self) -> int:
        """Number of pixels times d."""
        return self.dimension * self.grid.size

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Viscosity, length^2 per time, and force, length per time^2."""
        return Coefficient("viscosity", 1, "mm^2/s", positive=True), Coefficient("force", self.size, "mm/s^2")

    @property
    def weights(self) -> Tensor:
        """Volumes of the pixels, for each component."""
        return self.grid.weights.repeat(self.dimension)

    @property
    def pattern(self) -> None:
        """Everything depends on everything through the pressure."""
        return

    @cached_property
    def waves(self) -> Tensor:
        """Wave numbers of the half spectrum, (d, *modes); radian per unit of length."""
        lines = []
        for number, axis in enumerate(self.grid.axes):
            frequencies = torch.fft.rfftfreq if number == self.dimension - 1 else torch.fft.fftfreq
            lines.append(2.0 * math.pi * frequencies(axis.cells, d=axis.spacing, dtype=torch.float64))
        return torch.stack(torch.meshgrid(*lines, indexing="ij"))

    @cached_property
    def kept(self) -> Tensor:
        """1 for the modes that products of two fields determine without aliasing, 0 for the rest."""
        mask = torch.ones(self.waves.shape[1:], dtype=torch.float64)
        for wave, axis in zip(self.waves, self.grid.axes, strict=True):
            mask = mask * (wave.abs() * axis.spacing < 2.0 * math.pi / 3.0)
        return mask

    def spectrum(self, field: Tensor) -> Tensor:
        """Fourier coefficients (..., *modes) of fields (..., *pixels)."""
        result: Tensor = torch.fft.rfftn(field, dim=tuple(range(-self.dimension, 0)))
        return result

    def field(self, spectrum: Tensor) -> Tensor:
        """Fields of Fourier coefficients."""
        result: Tensor = torch.fft.irfftn(spectrum, s=self.grid.shape, dim=tuple(range(-self.dimension, 0)))
        return result

    def projected(self, spectrum: Tensor) -> Tensor:
        """Leray's projection of spectra (K, d, *modes): the part without divergence; the mean is kept."""
        square = (self.waves**2).sum(0)
        along = (self.waves * spectrum).sum(1) / torch.where(square > 0, square, 1.0)
        return spectrum - self.waves * along[:, None]

    def value(self, u: Tensor, q: Coefficients) -> Tensor:
        """Projected advection and force, and viscosity; (K, d n)."""
        velocity = u.reshape(len(u), self.dimension, *self.grid.shape)
        modes = self.spectrum(velocity)
        smooth = self.field(self.kept * modes)
        advection = torch.zeros_like(modes)
        for j in range(self.dimension):
            slopes = self.field(1j * self.waves[j] * self.kept * modes)
            advection = advection + self.spectrum(smooth[:, j : j + 1] * slopes)
        force = self.spectrum(q[1].reshape(1, self.dimension, *self.grid.shape))
        change = self.projected(force - self.kept * advection)
        viscous = -q[0] * (self.waves**2).sum(0) * modes
        return self.field(change + viscous).reshape(u.shape)

    def modes(self, u: Tensor) -> Tensor:
        """Real Fourier transform of each component."""
        return self.grid.modes(u.reshape(len(u), self.dimension, self.grid.size)).reshape(u.shape)

    def values(self, modes: Tensor) -> Tensor:
        """Its inverse."""
        return self.grid.values(modes.reshape(len(modes), self.dimension, self.grid.size)).reshape(modes.shape)

    def eigenvalues(self, q: Coefficients) -> Tensor:
        """Viscosity times the exact Laplacian of each real Fourier mode."""
        squares = [(axis.angles / axis.spacing) ** 2 for axis in self.grid.axes]
        total = squares[0]
        for square in squares[1:]:
            total = (total[..., None] + square).reshape(-1)
        return -q[0] * total.repeat(self.dimension)


def torus(cells: int, dimension: int, length: float = 2.0 * math.pi) -> Grid:
    """Periodic cube."""
    return Grid(tuple(Axis(0.0, length, cells, "periodic") for _ in range(dimension)))


def taylor_green(
    grid: Grid, time: float, viscosity: float, k: int = 1, wind: tuple[float, float] = (0.0, 0.0)
) -> Tensor:
    """N1 in the frame of a mean wind U: `U + (cos kX sin kY, -sin kX cos kY) exp(-2 nu k^2 t)`, `X = x - U t`.

    Args:
        grid: periodic square.
        time: t.
        viscosity: nu.
        k: wave number.
        wind: U.

    Returns:
        (1, 2 n).
    """
    x, y = (k * (grid.points[:, i] - wind[i] * time) for i in range(2))
    decay = math.exp(-2.0 * viscosity * k**2 * time)
    u = wind[0] + decay * torch.cos(x) * torch.sin(y)
    v = wind[1] - decay * torch.sin(x) * torch.cos(y)
    return torch.cat([u, v])[None]


def beltrami(
    grid: Grid,
    time: float,
    viscosity: float,
    k: int = 1,
    strength: tuple[float, float, float] = (1.0, 0.7, 0.4),
    wind: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Tensor:
    """N2, the ABC flow, whose advection is a gradient, in the frame of a mean wind: (1, 3 n)."""
    x, y, z = (k * (grid.points[:, i] - wind[i] * time) for i in range(3))
    a, b, c = strength
    flow = [
        a * torch.sin(z) + c * torch.cos(y),
        b * torch.sin(x) + a * torch.cos(z),
        c * torch.sin(y) + b * torch.cos(x),
    ]
    decay = math.exp(-viscosity * k**2 * time)
    return torch.cat([mean + decay * part for mean, part in zip(wind, flow, strict=True)])[None]


def lamb_oseen(
    equation: NavierStokes,
    time: float,
    viscosity: float,
    circulation: float,
    started: float,
    wind: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    """N3 in the middle of the box: velocity of the vorticity `G / (4 pi nu t) exp(-r^2 / (4 nu t))` less its mean.

    Neighbouring boxes hold copies, whose strain vanishes in the centre by symmetry: there the vortex is that of free
    space up to (core / box)^4.

    Args:
        equation: on a periodic square.
        time: t.
        viscosity: nu.
        circulation: G.
        started: age of the vortex at t = 0.
        wind: mean velocity; it must not carry the vortex near the walls of the box.

    Returns:
        (1, 2 n).
    """
    grid = equation.grid
    middle = [0.5 * (axis.lower + axis.upper) for axis in grid.axes]
    centre = torch.tensor([m + time * speed for m, speed in zip(middle, wind, strict=True)], dtype=torch.float64)
    spread = 4.0 * viscosity * (time + started)
    vorticity = circulation / (math.pi * spread) * torch.exp(-((grid.points - centre) ** 2).sum(-1) / spread)
    square = (equation.waves**2).sum(0)
    stream = equation.spectrum(vorticity.reshape(grid.shape)) / torch.where(square > 0, square, torch.inf)
    # u = d psi / dy, v = -d psi / dx with -lap psi = vorticity
    modes = torch.stack([1j * equation.waves[1] * stream, -1j * equation.waves[0] * stream])
    mean = torch.tensor(wind, dtype=torch.float64).reshape(2, 1, 1)
    return (equation.field(modes) + mean).reshape(1, -1)
