"""Proper orthogonal decomposition of log-odds on a mesh, in an inner product that looks at the front.

Method of snapshots: eigenvectors of the Gram matrix of all snapshots about their mean (Sirovich 1987). The inner
product is the lumped mass times the mean of `u (1 - u)` over the snapshots: an error of z is one of `u (1 - u)` times
as much in the density. Vertices that no snapshot ever reaches carry no coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from oncology.errors import DataError
from oncology.surrogate.coordinates import odds_of

__all__ = ["Basis", "fit_basis"]

Vector = NDArray[np.float64]

_LEAST = 1e-4  # weight where no front ever passes, beside u (1 - u)
_REACHED = 1e-3  # density that makes a vertex count as reached
_CHUNK = 4096  # vertices whose log-odds are held in double precision at a time


@dataclass(frozen=True, eq=False)
class Basis:
    """Affine space of log-odds `mean + a vectors` on the reached vertices of a mesh.

    Attributes:
        reached: (n,) their numbers.
        mean: (n,).
        vectors: (r, n), orthonormal in the weighted inner product.
        deviations: (r,) standard deviation of the snapshots along each of them.
        energy: fraction of the snapshots' variance in the space, 0..1.
    """

    reached: NDArray[np.int64]
    mean: Vector
    vectors: Vector
    deviations: Vector
    energy: float

    @property
    def size(self) -> int:
        """Number r of coordinates."""
        return len(self.vectors)


def fit_basis(density: NDArray[np.floating], mass: Vector, size: int) -> tuple[Basis, Vector]:
    """Return the space of `size` dimensions that is nearest to the snapshots, and their coordinates (K, size).

    Args:
        density: (K, nv) snapshots, 0..1.
        mass: (nv,) lumped mass, mm^3.
        size: r, below K.

    Raises:
        DataError: there are too few snapshots for so many dimensions.
    """
    count = len(density)
    reached = np.flatnonzero(density.max(axis=0) > _REACHED)
    gram, mean, root = np.zeros((count, count)), np.empty(len(reached)), np.empty(len(reached))
    parts = [slice(k, k + _CHUNK) for k in range(0, len(reached), _CHUNK)]

    def centred(part: slice) -> Vector:
        """Weighted log-odds about their mean."""
        return np.asarray((odds_of(density[:, reached[part]].astype(float)) - mean[part]) * root[part])

    for part in parts:
        inside = np.clip(density[:, reached[part]].astype(float), 0.0, 1.0)
        mean[part] = odds_of(inside).mean(axis=0)
        root[part] = np.sqrt(mass[reached[part]] * ((inside * (1.0 - inside)).mean(axis=0) + _LEAST))
        fields = centred(part)
        gram += fields @ fields.T
    if not 0 < size < count:
        raise DataError(f"{count} snapshots do not span {size} dimensions: give more --runs, or a smaller --basis")
    values, vectors = scipy.linalg.eigh(gram, subset_by_index=(count - size, count - 1))
    values, vectors = values[::-1], vectors[:, ::-1]
    if not values[-1] > 1e-12 * values[0]:
        raise DataError(f"{count} snapshots do not span {size} dimensions: give more --runs, or a smaller --basis")
    modes = np.empty((size, len(reached)))
    for part in parts:
        modes[:, part] = (vectors / np.sqrt(values)).T @ centred(part) / root[part]
    energy = float(values.sum() / np.trace(gram))
    return Basis(reached, mean, modes, np.sqrt(values / count), energy), vectors * np.sqrt(values)
