"""Small boxes of voxels with mixed tissue, holes and random tensors, and whole boxes of white matter."""

from collections.abc import Sequence

import numpy as np
import torch

from oncology.model.growth import GrowthLaw
from oncology.model.timegrid import Interval, TimeGrid
from oncology.voxel.stencil import Stencil, stencil
from oncology.voxel.voxel_model import VoxelModel

MEANS = ("arithmetic", "harmonic", "tensor")


def mixed(
    mean: str = "arithmetic", shape: Sequence[int] = (7, 6, 5), seed: int = 0, spacing: float = 2.5, margin: int = 0
) -> Stencil:
    """White and grey fractions at random, a fifth of the voxels and a margin outside, random tensors for "tensor"."""
    rng = np.random.default_rng(seed)
    white = rng.uniform(0.0, 1.0, tuple(shape))
    inside = rng.uniform(0.0, 1.0, tuple(shape)) > 0.2
    inside[:margin] = inside[len(inside) - margin :] = False
    tensor = None
    if mean == "tensor":
        roots = rng.normal(size=(*shape, len(shape), len(shape)))
        tensor = roots @ roots.swapaxes(-1, -2) / len(shape) + 0.2 * np.eye(len(shape))
        mean = "arithmetic"
    return stencil(white, 1.0 - white, inside, spacing, mean, tensor)


def uniform(shape: Sequence[int], spacing: float, tensor: np.ndarray | None = None, **options) -> Stencil:
    """White matter everywhere, with one tensor everywhere if there is one."""
    one = np.ones(tuple(shape))
    field = None if tensor is None else np.broadcast_to(tensor, (*shape, *tensor.shape))
    return stencil(one, 0.0 * one, one > 0.0, spacing, tensor=field, **options)


def centres(shape: Sequence[int], spacing: float, lower: float) -> np.ndarray:
    """Voxel centres (n, d) of a box whose lower corner has equal coordinates, mm."""
    axes = [lower + spacing * (np.arange(n) + 0.5) for n in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(shape))


def dense(operator: Stencil, diffusion_white: float, diffusion_grey: float) -> np.ndarray:
    """The matrix of `div(D grad u)`, (n, n), built edge by edge."""
    one = torch.ones(1, dtype=torch.float64)
    white, grey = operator.slopes(diffusion_white * one, diffusion_grey * one)
    edges = (diffusion_white * white + diffusion_grey * grey)[0].numpy()
    matrix = np.zeros((operator.voxels, operator.voxels))
    for stride, row in zip(operator.strides, edges, strict=True):
        for i in np.flatnonzero(row):
            matrix[i, i + stride] += row[i]
            matrix[i + stride, i] += row[i]
            matrix[i, i] -= row[i]
            matrix[i + stride, i + stride] -= row[i]
    return matrix


def equal_steps(duration: float, steps: int) -> TimeGrid:
    """Equal steps from day 0, observed at the end."""
    return TimeGrid((Interval(0.0, duration, steps, observe=True),))


def grown(
    operator: Stencil, law: GrowthLaw, rates: Sequence[float], start: np.ndarray, grid: TimeGrid, corrected: bool = True
) -> np.ndarray:
    """Density (n,) at the end of the grid."""
    model = VoxelModel(operator, law, corrected=corrected)
    run = model.run(np.array([rates], dtype=float), torch.as_tensor(start)[None], grid, keep=False)
    return run.observations[-1][0].numpy()
