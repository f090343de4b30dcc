"""Balls that grow, with everything known in closed form: u = 1 / (1 + exp((r - R(t)) / w)).

The density exceeds c within r = R + w ln((1 - c) / c), so volumes and distances of fronts are elementary, and the logit
of u is linear in r and, with a front of constant speed, in t.
"""

from collections.abc import Callable

import numpy as np

from oncology.meshing import TetMesh
from oncology.meshing.topology import oriented
from oncology.model.trajectory import Trajectory
from oncology.view.sources import Subject

WIDTH = 3.0  # mm
SPEED = 0.2  # mm/day
KUHN = [(0, 1, 3, 7), (0, 1, 5, 7), (0, 2, 3, 7), (0, 2, 6, 7), (0, 4, 5, 7), (0, 4, 6, 7)]  # by bits of x, y, z


def box_mesh(half: float, count: int) -> TetMesh:
    """Cube from -half to half (mm) in count^3 cubes of six tetrahedra."""
    axis = np.linspace(-half, half, count + 1)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    number = np.arange((count + 1) ** 3).reshape(3 * [count + 1])
    corners = np.stack(
        [number[i : i + count, j : j + count, k : k + count].ravel() for k in (0, 1) for j in (0, 1) for i in (0, 1)],
        axis=1,
    )
    cells = oriented(points, np.concatenate([corners[:, tet] for tet in KUHN]))
    return TetMesh(points, cells, np.ones(len(cells)), np.zeros(len(cells)), 2 * half / count, "lattice")


def radius(front: float, level: float) -> float:
    """Radius within which the density exceeds a level, mm."""
    return front + WIDTH * np.log((1 - level) / level)


def volume(front: float, level: float) -> float:
    """Volume of that ball, mL."""
    return 4 / 3 * np.pi * max(radius(front, level), 0.0) ** 3 / 1e3


def density(points: np.ndarray, front: float) -> np.ndarray:
    return 1 / (1 + np.exp((np.linalg.norm(points, axis=1) - front) / WIDTH))


def growing(mesh: TetMesh, days: np.ndarray, front: Callable[[float], float] | None = None) -> Subject:
    """A ball in a mesh whose front is at 6 mm on day 0 and moves at SPEED, or as is said."""
    place = front or (lambda day: 6.0 + SPEED * day)
    frames = np.array([density(mesh.points, place(day)) for day in days])
    trajectory = Trajectory(days, frames, mesh.fingerprint)
    return Subject("ball", "simulation", "", mesh, trajectory, None, {"whole": 0.25, "core": 0.6})
