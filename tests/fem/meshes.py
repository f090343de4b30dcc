"""Small meshes and models that several tests of the finite-element engine share."""

import numpy as np

from oncology.fem.boxes import kuhn_box
from oncology.fem.discretisation import Discretisation, discretise
from oncology.fem.rates import Rates
from oncology.fem.stiffness import Stiffness
from oncology.imaging.volume import Volume
from oncology.meshing import build_mesh


def mixed_box(comm, dimension=3, count=8, half=20.0, seed=0, **options) -> Discretisation:
    """A box around the origin on the Kuhn lattice, each cell with its own mixture of white and grey matter."""
    points, cells = kuhn_box([-half] * dimension, [half] * dimension, [count] * dimension)
    white = np.random.default_rng(seed).uniform(0.0, 1.0, len(cells))
    return discretise(comm, points, cells, white, 1.0 - white, **options)


def tissue_stiffness(discretisation: Discretisation):
    """Stiffness matrices of the white- and the grey-matter fraction with unit diffusivity: no growth, no front."""
    return Stiffness(discretisation, Rates(0.5, 0.1, 0.0)).parts[:2]


def ball_mesh(route: str, size: float, radius: float = 30.0, voxel: float = 2.0):
    """Points and cells of a ball of white matter, meshed from an image by one of the package's routes."""
    count = int(np.ceil(2 * (radius + 3 * voxel) / voxel))
    affine = np.diag([voxel, voxel, voxel, 1.0])
    affine[:3, 3] = -voxel * (count - 1) / 2
    centres = np.moveaxis(np.indices((count,) * 3), 0, -1) * voxel + affine[:3, 3]
    white = (np.linalg.norm(centres, axis=-1) < radius).astype(float)
    mesh, _ = build_mesh(Volume(white, affine), Volume(np.zeros_like(white), affine), size, route)
    return mesh.points, mesh.cells


def owned(discretisation: Discretisation) -> np.ndarray:
    """Coordinates of the vertices that this rank owns."""
    return discretisation.points[: discretisation.owned]
