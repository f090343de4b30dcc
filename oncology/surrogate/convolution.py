"""A convolutional surrogate: the flow of Fisher-KPP on coarse voxels with learned coefficients.

    u' = div(c_D D grad u) + c_rho rho u (1 - u),  c = exp(sum_j theta_j(r) phi_j(q))

on voxels, with depth r, the way `2 sqrt(D_w rho) t` of a free front since onset: in this time D_w is half the length
`sqrt(D_w/rho)` and rho one over twice of it. What coarse voxels get wrong (dispersion, a front thinner than a voxel,
grey matter between voxels) is left to factors c of D_w, D_g and rho, functions of depth and of length and ratio, whose
logarithms theta are learnt from the solver's trajectories; theta = 0 is the plain voxel model. Derivatives are exact
for the discrete scheme: tangents and adjoints of `oncology.voxel`, one segment of depth after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from oncology.imaging.volume import Volume
from oncology.meshing import TetMesh
from oncology.meshing.raster import locate
from oncology.model.seed import Seed
from oncology.model.timegrid import Interval, TimeGrid, step_limit
from oncology.nodes.depth import DepthGrid, apply, depth_space
from oncology.optimise import Stop, Tangent, minimise
from oncology.surrogate.design import Domain
from oncology.voxel.box import TissueBox
from oncology.voxel.stencil import stencil
from oncology.voxel.voxel_model import VoxelDirections, VoxelModel, VoxelRun

__all__ = ["ClosedFlow", "ClosureProblem", "Family", "family_of", "flow_on", "learn_closure"]

Vector = NDArray[np.float64]

_FEATURES = 4  # 1, scaled ln length and its square, scaled ln ratio
_SAMPLES = 3  # sample points of a voxel along each axis, for means
_HEADROOM = 2.0  # diffusivities up to this many times as large need no further stages of a step


@dataclass(frozen=True, eq=False)
class Family:
    """Runs of the solver seen on voxels.

    Attributes:
        variables: (B, 6) ln length, ln ratio, seed and its radius of each run (`coordinates.SIMILARITY` but the reach).
        reaches: (B, F) depth of each frame, mm, ascending.
        density: (F, B, n) density of each frame, means over the voxels of the box.
    """

    variables: Vector
    reaches: Vector
    density: torch.Tensor


@dataclass(frozen=True, eq=False)
class ClosedFlow:
    """The voxel model with depth-dependent factors of its coefficients.

    Attributes:
        box: voxels.
        model: discrete growth model on them.
        domain: range of the similarity variables; its highest reach is the length of the depth interval.
        grid: of the factors, linear between its nodes, in mm of reach.
        segment: longest stretch of depth with constant factors, mm.
    """

    box: TissueBox
    model: VoxelModel
    domain: Domain
    grid: DepthGrid
    segment: float = 8.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of theta: nodes, features, and (D_w, D_g, rho)."""
        return self.grid.nodes, _FEATURES, 3

    def features(self, variables: Vector) -> Vector:
        """Return phi of runs (B, 6), (B, 4)."""
        scaled = self.domain.scaled(np.concatenate([variables, np.zeros((len(variables), 1))], axis=1))
        length, ratio = scaled[:, 0], scaled[:, 1]
        return np.stack([np.ones(len(variables)), length, length**2, ratio], axis=1)

    def start(self, variables: Vector) -> torch.Tensor:
        """Return the seeds' densities (B, n) of runs (B, 6), means over the tissue voxels."""
        points, size = self.box.points, self.box.spacing
        offsets = _offsets(size)
        whole = torch.zeros(len(variables), self.box.inside.size, dtype=torch.float64)
        inside = torch.from_numpy(np.flatnonzero(self.box.inside))
        for row, (*centre, radius) in zip(whole, variables[:, 2:], strict=True):
            seed = Seed(radius=float(radius))
            row[inside] = torch.from_numpy(
                np.mean([seed.density(points + d, np.array(centre)) for d in offsets], axis=0)
            )
        return whole


@dataclass(frozen=True, eq=False)
class _Segment:
    """A stretch of depth: weights of the nodes (B, nodes) for its factors, its grid, and whether a frame ends it."""

    weights: Vector
    durations: Vector
    grid: TimeGrid
    stages: tuple[int, ...]
    frame: bool


@dataclass(frozen=True, eq=False)
class ClosureProblem:
    """Mean relative squared error of a family's frames, plus the squared H1 norm of theta (`optimise.Problem`).

    Attributes:
        flow: the voxel model.
        family: runs to reproduce.
        decay: of the squared norm of theta, per unit of its mean over depth.
    """

    flow: ClosedFlow
    family: Family
    decay: float = 1e-6

    @cached_property
    def base(self) -> Vector:
        """Rates of each run in time r: D_w, D_g (mm) and rho (1/mm), (B, 3)."""
        length, ratio = np.exp(self.family.variables[:, 0]), np.exp(self.family.variables[:, 1])
        return np.stack([0.5 * length, 0.5 * ratio * length, 0.5 / length], axis=1)

    @cached_property
    def features(self) -> Vector:
        """Features phi of each run, (B, 4)."""
        return self.flow.features(self.family.variables)

    @cached_property
    def seeds(self) -> torch.Tensor:
        """Densities at onset, (B, n)."""
        return self.flow.start(self.family.variables)

    @cached_property
    def scale(self) -> torch.Tensor:
        """One over the squared norm of each frame's density and over the number of frames, (F, B, 1)."""
        squares = (self.family.density**2).sum(dim=-1, keepdim=True)
        return 1.0 / (squares * squares.shape[0] * squares.shape[1])

    @cached_property
    def penalty(self) -> torch.Tensor:
        """Matrix of the squared norm of theta: its mean over depth of value and of slope over the depth."""
        grid = self.flow.grid
        return self.decay * (grid.mass() / grid.length + grid.length * grid.stiffness())

    @cached_property
    def segments(self) -> tuple[_Segment, ...]:
        """Depth from onset to the last frame in stretches that end at frames or between them."""
        edges = np.concatenate([np.zeros((len(self.base), 1)), self.family.reaches], axis=1)
        rates, radius = self.base.max(axis=0), self.family.variables[:, 5].min()
        longest = step_limit(rates[2], float(max(rates[:2])), Seed(radius=float(radius)).width)
        pieces = []
        for before, after in pairwise(edges.T):
            count = max(1, int(np.ceil((after - before).max() / self.flow.segment)))
            for number in range(count):
                start, end = (before + (after - before) * share / count for share in (number, number + 1))
                pieces.append(self._segment(start, end, longest, number == count - 1))
        return tuple(pieces)

    def _segment(self, before: Vector, after: Vector, longest: float, frame: bool) -> _Segment:
        lengths, grid = after - before, self.flow.grid
        longest_of_all = float(lengths.max())
        steps = max(1, int(np.ceil(longest_of_all / longest)))
        time = TimeGrid((Interval(0.0, longest_of_all, steps, observe=True),))
        stages = self.flow.model.stages(_HEADROOM * self.base.max(axis=0), time)
        place = np.clip(0.5 * (before + after) / grid.step, 0.0, grid.cells)
        cell = np.minimum(place.astype(int), grid.cells - 1)
        weights = np.zeros((len(lengths), grid.nodes))
        rows = np.arange(len(lengths))
        weights[rows, cell], weights[rows, cell + 1] = 1.0 - (place - cell), place - cell
        return _Segment(weights, lengths[None], time, stages, frame)

    def rates(self, theta: torch.Tensor, segment: _Segment) -> Vector:
        """Return D_w, D_g and rho of each run in a segment, (B, 3)."""
        logs = np.einsum("bn,bj,njk->bk", segment.weights, self.features, theta.numpy())
        return np.asarray(self.base * np.exp(logs))

    def evaluate(self, theta: torch.Tensor) -> ClosureEvaluation:
        """Run the family with the factors of theta."""
        runs, frames, u = [], [], self.seeds
        for segment in self.segments:
            run = self.flow.model.run(
                self.rates(theta, segment), u, segment.grid, durations=segment.durations, least=segment.stages
            )
            runs.append(run)
            u = run.observations[-1]
            if segment.frame:
                frames.append(u)
        return ClosureEvaluation(self, theta, tuple(runs), torch.stack(frames))


@dataclass(frozen=True, eq=False)
class ClosureEvaluation:
    """The cost at one theta with its runs done (`optimise.Evaluation`).

    Attributes:
        problem: the problem.
        theta: logarithms of the factors.
        runs: of each segment.
        frames: (F, B, n) densities.
    """

    problem: ClosureProblem
    theta: torch.Tensor
    runs: tuple[VoxelRun, ...]
    frames: torch.Tensor

    @property
    def errors(self) -> Vector:
        """Relative error of each frame in L2, (F, B)."""
        miss = self.frames - self.problem.family.density
        return np.asarray((miss**2).sum(-1).div((self.problem.family.density**2).sum(-1)).sqrt().numpy())

    @cached_property
    def value(self) -> float:
        """E(theta)."""
        miss = self.frames - self.problem.family.density
        penalty = (self.theta * apply(self.problem.penalty, self.theta)).sum()
        return 0.5 * float((self.problem.scale * miss**2).sum() + penalty)

    @property
    def residual(self) -> float:
        """Root mean square of the relative errors."""
        return float(np.sqrt((self.errors**2).mean()))

    def derivative(self) -> torch.Tensor:
        """E'(theta), a dual vector: one adjoint solve."""
        problem = self.problem
        misses = list(problem.scale * (self.frames - problem.family.density))
        dual, total = torch.zeros_like(problem.seeds), np.zeros(problem.flow.shape)
        for segment, run in zip(reversed(problem.segments), reversed(self.runs), strict=True):
            if segment.frame:
                dual = dual + misses.pop()
            derivative = problem.flow.model.adjoint(run, [dual])
            dual = derivative.initial
            total += np.einsum("bn,bj,bk->njk", segment.weights, problem.features, derivative.rates * run.rates)
        return torch.from_numpy(total) + apply(problem.penalty, self.theta)

    def tangent(self, direction: torch.Tensor) -> Tangent:
        """Curvature of E along a direction without the curvature of the flow: one sensitivity solve."""
        problem = self.problem
        du, moved = torch.zeros_like(problem.seeds)[None], []
        for segment, run in zip(problem.segments, self.runs, strict=True):
            logs = np.einsum("bn,bj,njk->bk", segment.weights, problem.features, direction.numpy())
            change = VoxelDirections((run.rates * logs)[None], du, np.zeros((1, len(logs))))
            (du,) = problem.flow.model.tangent(run, change)
            if segment.frame:
                moved.append(du[0])
        penalty = (direction * apply(problem.penalty, direction)).sum()
        return Tangent(float((problem.scale * torch.stack(moved) ** 2).sum() + penalty))


def flow_on(box: TissueBox, domain: Domain, cells: int = 6) -> ClosedFlow:
    """Return the flow on voxels, its factors on so many cells of depth."""
    operator = stencil(box.white, box.grey, box.inside, box.spacing)
    return ClosedFlow(box, VoxelModel(operator), domain, DepthGrid(float(domain.upper[-1]), cells, "linear"))


def family_of(box: TissueBox, mesh: TetMesh, variables: Vector, density: NDArray[np.floating]) -> Family:
    """Return runs on a mesh as means over voxels.

    Args:
        box: voxels.
        mesh: of the runs.
        variables: (B, F, 7) similarity variables of each frame.
        density: (B, F, nv).
    """
    shape = np.array(box.inside.shape) * _SAMPLES
    affine = np.diag([*np.full(3, box.spacing / _SAMPLES), 1.0])
    affine[:3, 3] = box.lower + 0.5 * box.spacing * (1.0 / _SAMPLES - 1.0)
    tissue = np.kron(box.inside, np.ones((_SAMPLES, _SAMPLES, _SAMPLES), dtype=bool))
    raster = locate(mesh.points, mesh.cells, Volume(np.zeros(tuple(shape)), affine), tissue, box.spacing)
    split = [part for n in box.inside.shape for part in (n, _SAMPLES)]
    frames = np.zeros((density.shape[1], density.shape[0], box.inside.size))
    for run, days in enumerate(density):
        for frame, values in enumerate(days):
            means = raster.image(values.astype(float)).reshape(split).mean(axis=(1, 3, 5))
            frames[frame, run] = np.where(box.inside, means, 0.0).ravel()
    return Family(variables[:, 0, :-1], variables[:, :, -1], torch.from_numpy(frames))


def learn_closure(
    problem: ClosureProblem,
    iterations: int = 40,
    smoothing: float = 0.3,
    tell: Callable[[str, float | None], None] = lambda text, fraction: None,
) -> torch.Tensor:
    """Return theta by nonlinear conjugate gradients in H1 of depth from the plain voxel model, theta = 0.

    Args:
        problem: what to reproduce.
        iterations: most iterations.
        smoothing: l of the H1 gradient, as a fraction of the depth.
        tell: called with what is going on and which fraction of it is done.
    """
    first = torch.zeros(problem.flow.shape, dtype=torch.float64)
    result = minimise(
        problem,
        first,
        depth_space(problem.flow.grid, smoothing * problem.flow.grid.length, first),
        stop=Stop(relative_gradient=1e-4, stagnation=1e-6, max_iterations=iterations),
        callback=lambda state: tell(f"voxel flow: cost {state.value:.2e}", state.iteration / iterations),
    )
    return result.x


def _offsets(size: float) -> Vector:
    """Return the sample points of a voxel from its centre, mm."""
    inner = (np.arange(_SAMPLES) + 0.5) / _SAMPLES - 0.5
    return np.asarray(size * np.stack(np.meshgrid(inner, inner, inner, indexing="ij"), axis=-1).reshape(-1, 3))
