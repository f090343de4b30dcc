"""Images of a case at the points of a mesh: cavities of resections, diffusion tensors, moved tissue."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncology.imaging.case import Case
from oncology.imaging.resample import sample
from oncology.imaging.session import labelled_cavity
from oncology.imaging.tensor import to_matrices
from oncology.imaging.tissue import moved_white
from oncology.imaging.volume import Volume, read_volume
from oncology.model.treatment import Resection

__all__ = ["cavity_at", "moved_diffusion", "surviving_fractions", "tensors_at"]

Vector = NDArray[np.float64]


def cavity_at(case: Case, resection: Resection, points: Vector) -> Vector:
    """Return the indicator (0..1) of a resection's cavity at points (n, 3), mm.

    The cavity is the mask that is given, else the one that the first scan after the resection has a label for, else the
    core of the last scan before it.
    """
    if resection.mask is not None:
        mask = read_volume(resection.mask)
        cavity = mask.with_data(mask.data > 0.5)
    else:
        labelled = labelled_cavity(case.sessions, resection)
        cavity = labelled or [session for session in case.sessions if session.day < resection.day][-1].core
    return sample(cavity.with_data(cavity.data.astype(float)), points)


def moved_diffusion(case: Case, rates: tuple[float, float], distance: float, points: Vector, size: float) -> Vector:
    """Return what the diffusivity of cells at points gains where the boundary of the white matter is moved, (n,).

    That is the natural logarithm of a factor. A cell's diffusivity is the geometric mean of its voxels', so the
    logarithms of the voxels are averaged, with a Gaussian of the cells' width.

    Args:
        case: the patient.
        rates: diffusivities in white and grey matter, mm^2/day.
        distance: of the motion into the grey matter, mm.
        points: (n, 3), RAS mm.
        size: edge of the cells, mm.
    """
    if len(points) == 0:
        return np.zeros(0)
    width = 0.5 * size / case.white.voxel_sizes
    index = case.white.voxel(points)
    low = np.maximum(np.floor(index.min(axis=0) - 4.0 * width - 2.0), 0).astype(int)
    high = np.minimum(np.ceil(index.max(axis=0) + 4.0 * width + 3.0).astype(int), case.white.data.shape)
    part = tuple(map(slice, low, np.maximum(high, low + 2)))
    affine = case.white.affine.copy()
    affine[:3, 3] = case.white.world(low[None])[0]
    maps = [Volume(tissue.data[part], affine) for tissue in (case.white, case.grey)]
    before, after = (rates[0] * w.data + rates[1] * g.data for w, g in (maps, moved_white(maps[0], maps[1], distance)))
    tissue = (before > 0.0) & (after > 0.0)
    gained = np.log(np.where(tissue, after, 1.0) / np.where(tissue, before, 1.0))
    return sample(Volume(ndimage.gaussian_filter(gained, width), affine), points)


def surviving_fractions(case: Case, points: Vector) -> dict[int, Vector]:
    """Return the fraction of the density that each resection leaves at points (n, 3), by index of the treatment."""
    return {
        number: 1.0 - cavity_at(case, treatment, points)
        for number, treatment in enumerate(case.treatments)
        if isinstance(treatment, Resection)
    }


def tensors_at(tensor: Volume, points: Vector) -> Vector:
    """Return a tensor image at points divided by its mean diffusivity there, (n, 3, 3); identity where it is zero."""
    components = [sample(replace(tensor, data=tensor.data[..., k]), points) for k in range(6)]
    matrices = to_matrices(np.stack(components, axis=-1))
    mean = np.trace(matrices, axis1=1, axis2=2) / 3.0
    result = np.broadcast_to(np.eye(3), matrices.shape).copy()
    known = mean > 1e-3 * np.median(mean[mean > 0.0]) if (mean > 0.0).any() else mean > 0.0
    result[known] = matrices[known] / mean[known, None, None]
    return result
