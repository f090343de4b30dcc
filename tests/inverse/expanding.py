"""A growth model in closed form: a front that runs outwards from the seed at the Fisher speed of the local tissue.

`u = 1 / (1 + exp(-z))` with `z = 2 rho T - r sqrt(rho / D(x))`: along every ray the level z = 0 lies at
`2 sqrt(D rho) T` and is sqrt(D / rho) wide. It is a `ForwardMap` and a `Level` on Kuhn's lattice, so that inverse
problems are tested against exact volumes, without finite elements.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
from oncology.inverse.parameters import Parametrisation, Prior

from oncology.inverse.misfit import MaskObservation
from oncology.inverse.problem import Identification
from oncology.meshing.lattice import kuhn_cells
from oncology.model.cells import CellSpace

REGIONS = {"whole": 0.25, "core": 0.60}
TRUTH = np.array([0.3, 0.1, 0.02, 1.0, -2.0, 0.5, -90.0])  # in the order of PARAMETERS
DAYS = (0.0, 40.0)


def box(half: float, count: int) -> CellSpace:
    """A cube of edge 2 `half` mm around the origin, `count` boxes along each edge."""
    axis = np.linspace(-half, half, count + 1)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    boxes = np.stack(np.meshgrid(*[np.arange(count)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    cells = kuhn_cells(boxes, np.full(3, count + 1))
    volumes = np.abs(np.linalg.det(points[cells[:, 1:]] - points[cells[:, :1]])) / 6.0
    return CellSpace(points, cells, volumes, lambda values: np.array(values))


@dataclass(frozen=True)
class Tissue:
    """White matter where x < middle, grey beyond; `width` in mm. The far tissue is left out with middle = inf."""

    middle: float = 3.0
    width: float = 2.0

    def white(self, points: np.ndarray) -> np.ndarray:
        return 0.5 * (1.0 - np.tanh((points[:, 0] - self.middle) / self.width))


@dataclass(frozen=True)
class Front:
    """z at points for one day, and its derivatives by the parameters, (n,) and (n, 7)."""

    tissue: Tissue = field(default_factory=Tissue)

    def exponent(self, points: np.ndarray, p: np.ndarray, day: float) -> tuple[np.ndarray, np.ndarray]:
        white = self.tissue.white(points)
        diffusion, rho = p[0] * white + p[1] * (1.0 - white), p[2]
        away = points - p[3:6]
        r = np.sqrt((away**2).sum(axis=1) + 0.01)
        z = 2.0 * rho * (day - p[6]) - r * np.sqrt(rho / diffusion)
        by_diffusion = 0.5 * r * np.sqrt(rho) * diffusion**-1.5
        slopes = np.column_stack(
            [
                by_diffusion * white,
                by_diffusion * (1.0 - white),
                2.0 * (day - p[6]) - 0.5 * r / np.sqrt(rho * diffusion),
                away * (np.sqrt(rho / diffusion) / r)[:, None],
                np.full(len(points), -2.0 * rho),
            ]
        )
        return z, slopes


@dataclass(frozen=True)
class ExpandingSolution:
    densities: tuple[np.ndarray, ...]
    slopes: tuple[np.ndarray, ...]  # (m, 4, 7) by the parameters

    def tangent(self, direction: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(slope @ direction for slope in self.slopes)

    def adjoint(self, duals: tuple[np.ndarray, ...]) -> np.ndarray:
        return sum(np.einsum("mv,mvk->k", dual, slope) for dual, slope in zip(duals, self.slopes, strict=True))


@dataclass(frozen=True)
class Expanding:
    """The closed form as a forward map."""

    space: CellSpace
    days: tuple[float, ...] = DAYS
    front: Front = field(default_factory=Front)

    def solve(self, parameters: np.ndarray) -> ExpandingSolution:
        densities, slopes = [], []
        for day in self.days:
            z, by_parameters = self.front.exponent(self.space.points, parameters, day)
            u = 0.5 * (1.0 + np.tanh(0.5 * z))
            densities.append(u[self.space.cells])
            slopes.append(((u * (1.0 - u))[:, None] * by_parameters)[self.space.cells])
        return ExpandingSolution(tuple(densities), tuple(slopes))

    def observations(self, truth: np.ndarray, depth: int = 6) -> tuple[MaskObservation, ...]:
        """What a perfect reader would segment, from the closed form at `depth`^3 / 6 points of every cell."""
        made = []
        for index, day in enumerate(self.days):
            inside = {region: np.zeros(len(self.space.cells)) for region in REGIONS}
            weights = interior_points(depth)
            for weight in weights:
                points = np.einsum("v,mvd->md", weight, self.space.points[self.space.cells])
                z, _ = self.front.exponent(points, truth, day)
                for region, rim in REGIONS.items():
                    inside[region] += (z > np.log(rim / (1.0 - rim))) / len(weights)
            made += [MaskObservation(region, index, rim, inside[region]) for region, rim in REGIONS.items()]
        return tuple(made)


def interior_points(depth: int) -> np.ndarray:
    """Barycentric coordinates of points spread evenly inside a tetrahedron."""
    steps = [k for k in itertools.product(range(depth), repeat=3) if sum(k) < depth]
    first = (np.array(steps) + 0.25) / depth
    return np.column_stack([first, 1.0 - first.sum(axis=1)])


@dataclass(frozen=True)
class ExpandingLevel:
    """A mesh of the closed form (`oncology.inverse.identify.Level`); `asked` keeps the sharpness of every problem."""

    name: str
    forward: Expanding
    observed: tuple[MaskObservation, ...]
    asked: list[float | None] = field(default_factory=list)

    @property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.forward.space.points.min(axis=0), self.forward.space.points.max(axis=0)

    def problem(
        self, parametrisation: Parametrisation, x: np.ndarray, prior: Prior, noise: float, sharpness: float | None
    ) -> Identification:
        self.asked.append(sharpness)
        return Identification(self.forward, self.observed, parametrisation, prior, noise, sharpness)


def pack(parametrisation: Parametrisation, parameters: np.ndarray, thresholds: tuple[float, ...] = ()) -> np.ndarray:
    """Scaled unknowns of parameters in the order of PARAMETERS."""
    white, grey, rho, *seed, onset = parameters
    return parametrisation.pack(white, grey, rho, seed, onset, thresholds)
