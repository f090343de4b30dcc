"""Small boxes of voxels with mixed tissue, holes and random tensors, and whole boxes of white matter."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy import sparse

from oncology.model.growth import GrowthLaw
from oncology.model.timegrid import Interval, TimeGrid
from oncology.voxel.stencil import Stencil, stencil
from oncology.voxel.voxel_model import VoxelModel

KINDS = ("scalar", "tensor")


def mixed(
    kind: str = "scalar", shape: Sequence[int] = (7, 6, 5), seed: int = 0, spacing: float = 2.5, margin: int = 0
) -> Stencil:
    """White and grey fractions at random in four parts of each voxel, a fifth of the voxels and a margin outside.

    With random tensors for the kind "tensor".
    """
    rng = np.random.default_rng(seed)
    inside = rng.uniform(0.0, 1.0, tuple(shape)) > 0.2
    inside[:margin] = inside[len(inside) - margin :] = False
    white, averaging = rng.uniform(0.0, 1.0, 4 * inside.sum()), sparse.eye_array(inside.sum())
    averaging = sparse.csr_array(sparse.kron(averaging, np.full((1, 4), 0.25)))
    tensor = None
    if kind == "tensor":
        roots = rng.normal(size=(*shape, len(shape), len(shape)))
        tensor = roots @ roots.swapaxes(-1, -2) / len(shape) + 0.2 * np.eye(len(shape))
    return stencil(white, 1.0 - white, inside, spacing, averaging, tensor)


def uniform(shape: Sequence[int], spacing: float, tensor: np.ndarray | None = None, **options) -> Stencil:
    """White matter everywhere, with one tensor everywhere if there is one."""
    one = np.ones(tuple(shape))
    field = None if tensor is None else np.broadcast_to(tensor, (*shape, *tensor.shape))
    return stencil(one, 0.0 * one, one > 0.0, spacing, tensor=field, **options)


def centres(shape: Sequence[int], spacing: float, lower: float) -> np.ndarray:
    """Voxel centres (n, d) of a box whose lower corner has equal coordinates, mm."""
    axes = [lower + spacing * (np.arange(n) + 0.5) for n in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(shape))


def edges(operator: Stencil, rates: Sequence[float]) -> torch.Tensor:
    """The couplings at rates D_w, D_g, rho, (k, n)."""
    slopes = operator.slopes(np.array([rates]))[:, 0]
    return torch.einsum("i,ikn->kn", torch.as_tensor(rates).to(slopes), slopes)


def dense(operator: Stencil, rates: Sequence[float]) -> np.ndarray:
    """The matrix of `div(D grad u)`, (n, n), built edge by edge."""
    matrix = np.zeros((operator.voxels, operator.voxels))
    for stride, row in zip(operator.strides, edges(operator, rates).numpy(), strict=True):
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
