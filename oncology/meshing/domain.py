"""From tissue maps to the region to be meshed: a voxel mask and a smooth level set with the same volume.

The region is the largest 6-connected piece of white + grey > 0.5, islands dropped before smoothing could
reconnect them; pockets of fluid smaller than four mesh cells are filled. A Gaussian of 0.35 mesh sizes removes the
staircase of voxels, and the level is chosen by the volume it encloses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncology.errors import MeshError
from oncology.imaging.volume import Volume
from oncology.meshing.grading import Grading

__all__ = ["Box", "Domain", "brain_domain", "usable_size"]

type Floats = NDArray[np.float64]
type Box = tuple[Floats, Floats]
type Mask = NDArray[np.bool_]

TISSUE = 0.5  # white + grey above which a voxel is brain
SMOOTHING = 0.35  # Gaussian sigma over mesh size
MOST_ISLANDS = 0.05  # fraction of the brain that may be dropped as islands without an error
FILLED_CAVITY = 4.0  # pockets below this many size^3 are filled
LEVELS = (0.2, 0.8)  # volume matching may not move the level further: beyond it, shapes are no longer the image's


@dataclass(frozen=True, eq=False)
class Domain:
    """The region to be meshed, on a grid cropped to it and padded.

    Attributes:
        mask: voxels of the image that belong to the region, before pockets are filled.
        smoothed: tissue probability, islands dropped, pockets filled, smoothed; same grid as `mask`.
        white: white-matter volume of the image in `mask`, mm^3.
        grey: grey-matter volume of the image in `mask`, mm^3.
    """

    mask: Volume
    smoothed: Volume
    white: float
    grey: float

    @property
    def volume(self) -> float:
        """Volume of the image's region, mm^3."""
        return float(np.count_nonzero(self.mask.data)) * self.mask.voxel_volume

    def bounds(self) -> Box:
        """Lower and upper RAS corner, mm, of the box around the region's voxels (their faces)."""
        return _bounds(self.mask)

    def level(self, volume: float) -> float:
        """The level above which `smoothed` has the given volume (mm^3, counted in voxels), within LEVELS."""
        values = self.smoothed.data.ravel()
        count = int(np.clip(round(volume / self.mask.voxel_volume), 1, values.size - 1))
        pair = np.partition(values, (values.size - count - 1, values.size - count))[-count - 1 :][:2]
        return float(np.clip(pair.mean(), *LEVELS))


def brain_domain(
    white: Volume, grey: Volume, size: float, near: Grading | None = None, box: Box | None = None
) -> Domain:
    """The region that a mesh of the given size should fill.

    Args:
        white: white-matter probability, 0..1.
        grey: grey-matter probability on the same grid, 0..1.
        size: mesh edge length, mm, > 0.
        near: where the crop leaves several pieces, keep the one with most volume in this grading's fine ball.
        box: lower and upper RAS corner, mm; voxels with their centre outside are cut away.

    Raises:
        MeshError: size not positive, maps on different grids, no brain (in the box), brain smaller than the size or
            not in one piece.
    """
    if not (np.isfinite(size) and size > 0):
        raise MeshError(f"mesh size {size} mm is out of range: give a finite edge length above 0 mm, such as 2.5")
    if white.data.ndim != 3 or not white.same_grid(grey):
        shapes = f"{white.data.shape} and {grey.data.shape}"
        raise MeshError(f"{white.name} and {grey.name} are on different grids, {shapes}: resample one to the other")
    tissue = white.with_data(np.clip(white.data.astype(np.float32) + grey.data.astype(np.float32), 0.0, 1.0))
    whole = _cropped(tissue, tissue.data > TISSUE, margin=0)
    outside: Mask = np.zeros(whole.shape, dtype=bool) if box is None else ~_inside(whole, box)
    everything = (whole.data > TISSUE) & ~outside
    if box is not None and not everything.any():
        raise MeshError(f"{white.name}: no brain between {_corner(box[0])} and {_corner(box[1])} mm: move the box")
    brain = _piece(whole.with_data(everything), near if box is not None else None)
    islands = everything & ~brain
    if box is None and islands.sum() > MOST_ISLANDS * everything.sum():
        share = 100 * islands.sum() / everything.sum()
        raise MeshError(
            f"{white.name}: {share:.0f} % of the brain is not connected to its largest piece, at most "
            f"{100 * MOST_ISLANDS:.0f} % may be dropped: close the gap in the maps, or give a box around one piece"
        )
    _require_larger_than(whole.with_data(brain), size)
    kept = whole.with_data(np.where(islands | outside, np.float32(0.0), whole.data))
    sigma = SMOOTHING * np.maximum(size / white.voxel_sizes, 1.0)
    margin = int(np.ceil(4 * sigma.max())) + 2
    mask = _cropped(whole.with_data(brain), brain, margin)
    filled = _fill_pockets(_cropped(kept, brain, margin).data, mask.data, FILLED_CAVITY * size**3 / white.voxel_volume)
    return Domain(
        mask=mask,
        smoothed=mask.with_data(ndimage.gaussian_filter(filled, sigma, mode="constant")),
        white=_amount(white, whole, brain),
        grey=_amount(grey, whole, brain),
    )


def usable_size(domain: Domain) -> float:
    """A mesh size that the thickest part of the region can take, mm: half its thickness, to two digits."""
    mask = domain.mask
    depth = float(ndimage.distance_transform_edt(np.pad(mask.data, 1), sampling=mask.voxel_sizes).max())
    return float(f"{max(depth - mask.voxel_sizes.min() / 2, mask.voxel_sizes.min() / 2):.2g}")


def _cropped(volume: Volume, around: Mask, margin: int) -> Volume:
    """The part of a volume around the true voxels of a mask, with `margin` voxels (zero beyond the image) each side."""
    lower, upper = _index_box(around, volume)
    lower, upper = lower - margin, upper + margin
    clipped = tuple(slice(max(a, 0), min(b, n)) for a, b, n in zip(lower, upper, volume.shape, strict=True))
    beyond = [(max(-a, 0), max(b - n, 0)) for a, b, n in zip(lower, upper, volume.shape, strict=True)]
    affine = volume.affine.copy()
    affine[:3, 3] = volume.world(lower[None].astype(float))[0]
    return Volume(np.pad(volume.data[clipped], beyond), affine, volume.path)


def _index_box(mask: Mask, volume: Volume) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and one-past-last index of the true voxels along each axis."""
    ranges = []
    for axis in range(3):
        along = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if not len(along):
            raise MeshError(
                f"{volume.name}: no voxel has white + grey above {TISSUE:g}: check that the maps are "
                "probabilities from 0 to 1"
            )
        ranges.append((along[0], along[-1] + 1))
    return np.array([a for a, _ in ranges]), np.array([b for _, b in ranges])


def _bounds(mask: Volume) -> Box:
    lower, upper = _index_box(mask.data, mask)
    corners = np.array(np.meshgrid(*np.stack([lower - 0.5, upper - 0.5], axis=1))).reshape(3, -1).T
    world = mask.world(corners)
    return world.min(axis=0), world.max(axis=0)


def _inside(volume: Volume, box: Box) -> Mask:
    """Voxels whose centre lies in a box."""
    lower, upper = (np.asarray(corner, dtype=float) for corner in box)
    if lower.shape != (3,) or upper.shape != (3,) or not (lower < upper).all():
        raise MeshError(f"box {_corner(lower)} to {_corner(upper)} mm has no inside: give the lower corner first")
    inside = np.ones(volume.shape, dtype=bool)
    index = np.ogrid[tuple(slice(n) for n in volume.shape)]
    for axis in range(3):
        position = sum(volume.affine[axis, a] * index[a] for a in range(3)) + volume.affine[axis, 3]
        inside &= (position >= lower[axis]) & (position <= upper[axis])
    return inside


def _piece(mask: Volume, near: Grading | None) -> Mask:
    """The 6-connected piece with most voxels, counted around the fine ball if there is one and it holds any."""
    labels, count = ndimage.label(mask.data)
    if count == 1:
        return mask.data
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    if near is not None:
        cube = (near.centre - near.fine_radius, near.centre + near.fine_radius)
        close = np.bincount(labels[_inside(mask, cube)], minlength=count + 1)
        close[0] = 0
        sizes = close if close.any() else sizes
    return np.asarray(labels == sizes.argmax())


def _fill_pockets(tissue: NDArray[np.float32], mask: Mask, voxels: float) -> NDArray[np.float32]:
    """Set pockets of the complement with fewer voxels than given to one."""
    labels, _ = ndimage.label(~mask)
    small = np.bincount(labels.ravel()) < voxels
    small[0] = False
    return np.where(small[labels], np.float32(1.0), tissue)


def _require_larger_than(mask: Volume, size: float) -> None:
    lower, upper = _bounds(mask)
    extent = float((upper - lower).min())
    if size >= extent:
        raise MeshError(
            f"mesh size {size:g} mm is larger than the brain, whose smallest extent is {extent:.3g} mm: "
            f"give at most {extent / 8:.2g} mm"
        )


def _amount(tissue: Volume, whole: Volume, brain: Mask) -> float:
    """Integral of a tissue map over the region, mm^3."""
    start = np.rint(tissue.voxel(whole.affine[None, :3, 3])[0]).astype(int)
    part = tissue.data[tuple(slice(a, a + n) for a, n in zip(start, whole.shape, strict=True))]
    return float(part.sum(where=brain, dtype=np.float64)) * tissue.voxel_volume


def _corner(corner: Floats) -> str:
    return "(" + ", ".join(f"{float(x):g}" for x in np.ravel(corner)) + ")"
