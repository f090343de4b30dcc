"""Tissue fractions of a case on cubic voxels, and the tetrahedra between their centres.

Voxels are cubes of the wanted size, aligned with the RAS axes, whatever the grid of the images; their tissue fractions
are means of the maps over each cube, and their diffusivities are made of the image voxels inside. Only the
neighbourhood of the tumour is kept, as in the finite-element engine.
Between the centres of tissue voxels lie tetrahedra (Kuhn's subdivision of the cubes of the dual lattice): the cells on
which densities are P1 functions, so that both engines share misfit, files and pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from oncology.errors import MeshError
from oncology.imaging.case import Case
from oncology.imaging.neighbourhood import neighbourhood
from oncology.imaging.volume import Volume
from oncology.meshing.lattice import kuhn_cells
from oncology.meshing.topology import oriented

__all__ = ["TissueBox", "TissueSamples", "tissue_box", "tissue_samples", "voxel_cells"]

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


@dataclass(frozen=True, eq=False)
class TissueSamples:
    """Image voxels of which the tissue voxels of a box consist.

    Attributes:
        averaging: (p, v) fraction of each of the v image voxels in each of the p tissue voxels (in C order).
        white: (v,) white-matter fraction of each image voxel, 0..1.
        grey: (v,) grey-matter fraction, 0..1.
    """

    averaging: sparse.csr_array
    white: Vector
    grey: Vector


def tissue_box(case: Case, size: float, margin: float) -> TissueBox:
    """Return the tissue within a margin of a case's tumour on voxels of a size (both mm): one connected piece.

    Args:
        case: the patient.
        size: edge of a voxel, mm.
        margin: how far the box reaches, mm.

    Raises:
        MeshError: where no voxel is mostly tissue.
    """
    near = neighbourhood(case, margin)
    planes = 1 + (case.tensor is not None)  # of margin along the first axis (`Stencil.guarded`)
    corners = case.white.world(np.argwhere(near & (case.white.data + case.grey.data > _TISSUE)))
    if not len(corners):
        raise MeshError(f"{case.root}: no tissue within {margin:g} mm of the segmentations: check the tissue maps")
    first, last = (np.floor(edge / size).astype(int) for edge in (corners.min(axis=0), corners.max(axis=0)))
    first[0] -= planes
    last[0] += planes
    shape = np.maximum(last - first + 1, 2)
    lower = (first + 0.5) * size
    maps = [np.append(np.where(near, tissue.data, 0.0), 0.0) for tissue in (case.white, case.grey)]  # 0 beyond
    centres = lower + size * np.moveaxis(np.indices(tuple(shape)), 0, -1).reshape(-1, 3)
    means = [[tissue[held].mean(axis=1) for tissue in maps] for held in _held(case.white, centres, size)]
    white, grey = np.clip(np.concatenate(means, axis=1), 0.0, 1.0).reshape(2, *shape)
    labels, count = ndimage.label(white + grey >= _TISSUE)
    if not count:
        raise MeshError(f"{case.root}: no voxel of {size:g} mm is mostly tissue: give a smaller --size")
    labels[:planes] = labels[-planes:] = 0
    inside = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    return TissueBox(white, grey, inside, lower, size)


def tissue_samples(case: Case, box: TissueBox) -> TissueSamples:
    """Return the image voxels in each tissue voxel that are mostly tissue themselves; each has some."""
    white, grey = (np.append(tissue.data, 0.0) for tissue in (case.white, case.grey))
    tissue = white + grey >= _TISSUE
    number = np.cumsum(tissue) - 1
    blocks = []
    for held in _held(case.white, box.points, box.spacing):
        solid = tissue[held]
        counts = solid.sum(axis=1)
        entries = np.repeat(1.0 / counts, counts), number[held[solid]], np.concatenate([[0], np.cumsum(counts)])
        block = sparse.csr_array(entries, shape=(len(held), int(number[-1]) + 1))
        block.sum_duplicates()
        blocks.append(block)
    averaging = sparse.vstack(blocks, format="csr")
    used, columns = np.unique(averaging.indices, return_inverse=True)
    averaging = sparse.csr_array((averaging.data, columns, averaging.indptr), shape=(len(box.points), len(used)))
    return TissueSamples(averaging, white[tissue][used], grey[tissue][used])


def _held(grid: Volume, centres: Vector, size: float) -> Iterator[NDArray[np.int64]]:
    """Yield the numbers of the image voxels at equal distances in cubes, (m, k); the number past the end: beyond."""
    count = max(1, int(np.ceil(_SAMPLES * size / grid.voxel_sizes.min())))
    inner = size * ((np.arange(count) + 0.5) / count - 0.5)
    offsets = np.stack(np.meshgrid(inner, inner, inner, indexing="ij"), axis=-1).reshape(-1, 3)
    offsets = grid.voxel(offsets) - grid.voxel(np.zeros((1, 3))) + 0.5
    for part in np.array_split(grid.voxel(centres), len(centres) // _CHUNK + 1):
        index, beyond = np.zeros((len(part), len(offsets)), dtype=np.int64), np.zeros((len(part), len(offsets)), bool)
        for axis, n in enumerate(grid.shape):
            along = np.floor(part[:, [axis]] + offsets[:, axis]).astype(np.int64)
            beyond |= (along < 0) | (along >= n)
            index = index * n + along
        index[beyond] = int(np.prod(grid.shape))
        yield index


def voxel_cells(box: TissueBox) -> NDArray[np.int64]:
    """Return the tetrahedra between tissue voxels (numbers in C order of the tissue), (m, 4), of positive volume."""
    inside = box.inside
    full = np.ones(tuple(n - 1 for n in inside.shape), dtype=bool)
    for corner in np.ndindex(2, 2, 2):
        full &= inside[tuple(slice(c, n - 1 + c) for c, n in zip(corner, inside.shape, strict=True))]
    number = np.cumsum(inside.ravel()) - 1
    cells = number[kuhn_cells(np.argwhere(full), np.array(inside.shape))]
    return np.asarray(oriented(box.points, cells))
