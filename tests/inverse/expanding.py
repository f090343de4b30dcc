"""A growth model in closed form: a front that runs outwards from the seed at the Fisher speed of the local tissue.

`u = 1 / (1 + exp(-z))` with `z = 2 rho T - r sqrt(rho / D(x))`: along every ray the level z = 0 lies at
`2 sqrt(D rho) T` and is sqrt(D / rho) wide. It is an `Engine` and a `Level` on Kuhn's lattice, so that inverse
problems are tested against exact volumes, without finite elements.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from oncology.inverse.misfit import MaskObservation
from oncology.inverse.observe import FixedData
from oncology.inverse.problem import InverseProblem
from oncology.inverse.scalars import ScalarMap
from oncology.meshing.lattice import kuhn_cells
from oncology.meshing.topology import cell_volumes
from oncology.model.cells import CellSpace
from oncology.model.seed import Seed
from oncology.model.tumour import Tumour, TumourChange

REGIONS = {"whole": 0.25, "core": 0.60}
# In the order of PARAMETERS; the front does not depend on the radius, which is then given.
TRUTH = np.array([0.3, 0.1, 0.02, 1.0, -2.0, 0.5, -90.0, 6.5])
DAYS = (0.0, 40.0)


def box(half: float, count: int) -> CellSpace:
    """A cube of edge 2 `half` mm around the origin, `count` boxes along each edge."""
    axis = np.linspace(-half, half, count + 1)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    boxes = np.stack(np.meshgrid(*[np.arange(count)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    cells = kuhn_cells(boxes, np.full(3, count + 1))
    return CellSpace(points, cells, np.abs(cell_volumes(points, cells)))


@dataclass(frozen=True)
class Tissue:
    """White matter where x < middle, grey beyond; `width` in mm. The far tissue is left out with middle = inf."""

    middle: float = 3.0
    width: float = 2.0

    def white(self, points: np.ndarray) -> np.ndarray:
        return 0.5 * (1.0 - np.tanh((points[:, 0] - self.middle) / self.width))


@dataclass(frozen=True)
class Front:
    """z at points for one day, and its derivatives by the parameters, (n,) and (n, 8)."""

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
                np.zeros(len(points)),
            ]
        )
        return z, slopes


@dataclass(frozen=True)
class ExpandingRun:
    tumour: Tumour
    densities: tuple[np.ndarray, ...]
    slopes: tuple[np.ndarray, ...]  # (n, 8) by the parameters
    notes: tuple[str, ...] = ()

    @property
    def extremes(self) -> tuple[float, float]:
        return min(u.min() for u in self.densities), max(u.max() for u in self.densities)


@dataclass(frozen=True)
class Expanding:
    """The closed form as an engine; its plan is the observation days."""

    space: CellSpace
    front: Front = field(default_factory=Front)

    def plan(self, tumour: Tumour, days: Sequence[float]) -> tuple[float, ...]:
        return tuple(days)

    def run(self, tumour: Tumour, plan: tuple[float, ...], keep: bool = True, record=None) -> ExpandingRun:
        densities, slopes = [], []
        for day in plan:
            z, by_parameters = self.front.exponent(self.space.points, tumour.values, day)
            u = 0.5 * (1.0 + np.tanh(0.5 * z))
            densities.append(u)
            slopes.append((u * (1.0 - u))[:, None] * by_parameters)
        return ExpandingRun(tumour, tuple(densities), tuple(slopes))

    def tangent(self, run: ExpandingRun, changes: Sequence[TumourChange]) -> tuple[np.ndarray, ...]:
        directions = np.array([change.values for change in changes])
        return tuple(directions @ slope.T for slope in run.slopes)

    def adjoint(self, run: ExpandingRun, duals: Sequence[np.ndarray]) -> TumourChange:
        return TumourChange.of(sum(dual @ slope for dual, slope in zip(duals, run.slopes, strict=True)))

    def destroy(self) -> None:
        pass

    def segmented(self, truth: np.ndarray, depth: int = 6, days: tuple[float, ...] = DAYS) -> FixedData:
        """What a perfect reader would segment, from the closed form at `depth`^3 / 6 points of every cell."""
        made = []
        for index, day in enumerate(days):
            inside = {region: np.zeros(len(self.space.cells)) for region in REGIONS}
            weights = interior_points(depth)
            for weight in weights:
                points = np.einsum("v,mvd->md", weight, self.space.points[self.space.cells])
                z, _ = self.front.exponent(points, truth, day)
                for region, level in REGIONS.items():
                    inside[region] += (z > np.log(level / (1.0 - level))) / len(weights)
            made += [MaskObservation(region, index, level, inside[region]) for region, level in REGIONS.items()]
        return FixedData(days, tuple(made))


def interior_points(depth: int) -> np.ndarray:
    """Barycentric coordinates of points spread evenly inside a tetrahedron."""
    steps = [k for k in itertools.product(range(depth), repeat=3) if sum(k) < depth]
    first = (np.array(steps) + 0.25) / depth
    return np.column_stack([first, 1.0 - first.sum(axis=1)])


@dataclass(frozen=True)
class ExpandingLevel:
    """A mesh of the closed form (`oncology.inverse.levels.Level`); `asked` keeps the sharpness of every problem."""

    name: str
    engine: Expanding
    data: FixedData
    asked: list[float | None] = field(default_factory=list)

    def problem(self, unknowns: ScalarMap, x: np.ndarray, noise: float, sharpness: float | None) -> InverseProblem:
        self.asked.append(sharpness)
        return InverseProblem(self.engine, self.data, unknowns, noise, sharpness, x)


def tumour(values: np.ndarray) -> Tumour:
    """The tumour with scalars in the order of PARAMETERS."""
    white, grey, rho, *seed, onset, radius = map(float, values)
    return Tumour(white, grey, rho, tuple(seed), onset, Seed(radius=radius))


def pack(unknowns: ScalarMap, values: np.ndarray, levels: Mapping[str, float] | None = None) -> np.ndarray:
    """Scaled unknowns of scalars in the order of PARAMETERS."""
    return unknowns.pack(tumour(values), levels)
