"""Tissue fractions of a case on cubic voxels, and the tetrahedra between their centres.

Voxels are cubes of the wanted size, aligned with the RAS axes, whatever the grid of the images; their tissue fractions
are means of the maps over each cube. Only the neighbourhood of the tumour is kept, as in the finite-element engine.
Between the centres of tissue voxels lie tetrahedra (Kuhn's subdivision of the cubes of the dual lattice): the cells on
which densities are P1 functions, so that both engines share misfit, files and pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncology.errors import MeshError
from oncology.imaging.case import Case
from oncology.imaging.resample import sample
from oncology.imaging.volume import Volume
from oncology.meshing.lattice import kuhn_cells
from oncology.meshing.topology import oriented

__all__ = ["TissueBox", "tissue_box", "voxel_cells"]

Vector = NDArray[np.float64]

_TISSUE = 0.5  # smallest tissue fraction of a voxel that is not fluid
_SAMPLES = 1.5  # samples of the maps a source voxel along each axis
_CHUNK = 1 << 14  # voxels whose fractions are sampled at a time


@dataclass(frozen=True)
class TissueBox:
    """Tissue fractions on a box of cubic voxels.

    Attributes:
        white: (nx, ny, nz) white-matter fraction, 0..1.
        grey: (nx, ny, nz) grey-matter fraction, 0..1.
        inside: which voxels are tissue.
        lower: centre of the first voxel, mm.
        spacing: edge of a voxel, mm.
    """

    white: Vector
    grey: Vector
    inside: NDArray[np.bool_]
    lower: Vector
    spacing: float

    @property
    def points(self) -> Vector:
        """Centres of the tissue voxels in C order, (p, 3), mm."""
        return np.asarray(self.lower + self.spacing * np.argwhere(self.inside))


def tissue_box(case: Case, distance: Volume, size: float, margin: float) -> TissueBox:
    """Return the tissue within a margin of a case's tumour on voxels of a size (both mm): one connected piece.

    Args:
        case: the patient.
        distance: of every voxel of the tissue maps from the tumour, mm.
        size: edge of a voxel, mm.
        margin: how far the box reaches, mm.

    Raises:
        MeshError: where no voxel is mostly tissue.
    """
    near = distance.data <= margin
    planes = 1 + (case.tensor is not None)  # of margin along the first axis (`Stencil.guarded`)
    corners = case.white.world(np.argwhere(near & (case.white.data + case.grey.data > _TISSUE)))
    if not len(corners):
        raise MeshError(f"{case.root}: no tissue within {margin:g} mm of the segmentations: check the tissue maps")
    first, last = (np.floor(edge / size).astype(int) for edge in (corners.min(axis=0), corners.max(axis=0)))
    first[0] -= planes
    last[0] += planes
    shape = np.maximum(last - first + 1, 2)
    lower = (first + 0.5) * size
    maps = np.stack([np.where(near, tissue.data, 0.0) for tissue in (case.white, case.grey)], axis=-1)
    fractions = _means(case.white.with_data(maps), lower, shape, size)
    white, grey = fractions[..., 0], fractions[..., 1]
    labels, count = ndimage.label(white + grey >= _TISSUE)
    if not count:
        raise MeshError(f"{case.root}: no voxel of {size:g} mm is mostly tissue: give a smaller --size")
    labels[:planes] = labels[-planes:] = 0
    inside = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    return TissueBox(white, grey, inside, lower, size)


def _means(maps: Volume, lower: Vector, shape: Vector, size: float) -> Vector:
    """Return the means of maps (..., k) over the cubes of a box, (nx, ny, nz, k)."""
    count = max(1, int(np.ceil(_SAMPLES * size / maps.voxel_sizes.min())))
    inner = (np.arange(count) + 0.5) / count - 0.5
    offsets = size * np.stack(np.meshgrid(inner, inner, inner, indexing="ij"), axis=-1).reshape(-1, 3)
    centres = lower + size * np.moveaxis(np.indices(tuple(shape)), 0, -1).reshape(-1, 3)
    parts = [
        sample(maps, (part[:, None] + offsets).reshape(-1, 3), order=0)
        .reshape(len(part), len(offsets), -1)
        .mean(axis=1)
        for part in np.array_split(centres, len(centres) // _CHUNK + 1)
    ]
    return np.clip(np.concatenate(parts), 0.0, 1.0).reshape(*shape, -1)


def voxel_cells(box: TissueBox) -> NDArray[np.int64]:
    """Return the tetrahedra between tissue voxels (numbers in C order of the tissue), (m, 4), of positive volume."""
    inside = box.inside
    full = np.ones(tuple(n - 1 for n in inside.shape), dtype=bool)
    for corner in np.ndindex(2, 2, 2):
        full &= inside[tuple(slice(c, n - 1 + c) for c, n in zip(corner, inside.shape, strict=True))]
    number = np.cumsum(inside.ravel()) - 1
    cells = number[kuhn_cells(np.argwhere(full), np.array(inside.shape))]
    return np.asarray(oriented(box.points, cells))
