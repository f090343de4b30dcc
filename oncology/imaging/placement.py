"""Images of a case at the points of a mesh: cavities of resections and diffusion tensors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oncology.imaging.case import Case
from oncology.imaging.resample import sample
from oncology.imaging.session import labelled_cavity
from oncology.imaging.tensor import to_matrices
from oncology.imaging.volume import Volume, read_volume
from oncology.model.treatment import Resection

__all__ = ["cavity_at", "surviving_fractions", "tensors_at"]

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
