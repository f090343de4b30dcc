"""What is odd about the images of a case: files, label tables, tissue maps, grids. Each check yields sentences.

Called by `oncology.imaging.plausibility`, which lists all checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncology.imaging.labels import indicator
from oncology.imaging.metrics import volume_ml
from oncology.imaging.resample import resample_to
from oncology.imaging.volume import Volume, read_volume
from oncology.model.treatment import Resection
from oncology.text import number

if TYPE_CHECKING:
    from oncology.imaging.case import Case

__all__ = ["files", "label_order", "maps", "thickness"]

THICK = 3.0  # mm, voxel edge
FEW_SLICES = 5  # voxels along an axis, or of a tumour along it, below which a shape is hardly seen
BRAIN = (500.0, 2200.0)  # mL, usual range of white and grey matter together
LARGEST_FRACTION = 0.35  # of white and grey matter that is tumour
UNKNOWN_TISSUE = 0.5  # fraction of the tumour without a tissue class
DEEPER = 1.0  # mm by which grey matter may lie deeper below the surface than white matter
BLOCK = 3.0  # mm, grid on which depths are measured
ENCLOSED = 0.2  # fraction of a region's outer faces that touch what should surround it
FACES = 200  # fewest faces between regions from which their order is judged


def files(case: Case) -> Iterator[str]:
    """What the files themselves are odd about: notes of the reader."""
    images = [case.white, case.grey, case.t1, case.tensor]
    images += [image for session in case.sessions for image in (session.labels, session.pet)]
    for image in images:
        if image is not None:
            yield from (f"{image.path.name if image.path else 'image'}: {note}" for note in image.notes)


def thickness(case: Case) -> Iterator[str]:
    """Thick slices, and images or tumours of a few voxels."""
    volumes = {"tissue maps": case.white} | {session.id: session.labels for session in case.sessions}
    for name, volume in volumes.items():
        sizes = " × ".join(f"{size:.3g}" for size in volume.voxel_sizes)
        if volume.voxel_sizes.max() > THICK:
            yield f"{name}: voxels of {sizes} mm are thick, at most {THICK:g} mm are advised: resample from thin slices"
        if min(volume.shape) < FEW_SLICES:
            yield (
                f"{name}: the image has only {min(volume.shape)} voxels along one axis ({sizes} mm): "
                "use an image of the whole head"
            )
    for session in case.sessions:
        extent = [part.stop - part.start for part in ndimage.find_objects(session.whole.data.astype(np.uint8))[0]]
        if min(extent) < min(FEW_SLICES, min(session.whole.shape)):
            yield (
                f"{session.id}: the tumour is only {min(extent)} voxels thick along one axis: its shape and growth are "
                "hardly seen; use thinner slices, or check the segmentation"
            )


def maps(case: Case) -> Iterator[str]:
    """Tissue maps that hold no whole brain, or white matter where grey should be."""
    tissue = float((case.white.data + case.grey.data).sum()) * case.white.voxel_volume / 1e3
    if not BRAIN[0] <= tissue <= BRAIN[1]:
        yield (
            f"tissue maps: hold {number(tissue)} mL of white and grey matter, usual are {BRAIN[0]:g} to {BRAIN[1]:g}: "
            "check the maps and their voxel size"
        )
    largest = max(case.sessions, key=lambda session: volume_ml(session.whole))
    fraction = volume_ml(largest.whole) / max(tissue, 1e-9)
    if fraction > LARGEST_FRACTION:
        yield (
            f"{largest.id}: the tumour has {100 * fraction:.0f} % of the volume of white and grey matter: "
            "check the labels and the tissue maps"
        )
    if case.reassigned_fraction > UNKNOWN_TISSUE:
        yield (
            f"tissue maps: say neither white nor grey matter for {100 * case.reassigned_fraction:.0f} % of the tumour, "
            "which is taken as white matter: use maps that were filled in under the tumour"
        )
    white, grey = _depths(case)
    if grey > white + DEEPER:
        yield (
            f"tissue maps: grey matter lies {grey - white:.1f} mm deeper in the brain than white matter: "
            "the two maps seem to be exchanged (WM and GM in the file names)"
        )


def _depths(case: Case) -> tuple[float, float]:
    """Mean depth of white and of grey matter below the surface of both, mm, on blocks of about 3 mm."""
    size = np.maximum(1, np.round(BLOCK / case.white.voxel_sizes)).astype(int)
    white, grey = (image.data[:: size[0], :: size[1], :: size[2]] for image in (case.white, case.grey))
    tissue = ndimage.binary_fill_holes(np.pad(white + grey > 0.5, 1))
    depth = ndimage.distance_transform_edt(tissue, sampling=size * case.white.voxel_sizes)[1:-1, 1:-1, 1:-1]
    means = [float((depth * image).sum() / max(float(image.sum()), 1e-9)) for image in (white, grey)]
    return means[0], means[1]


def label_order(case: Case) -> Iterator[str]:
    """Classes that lie the wrong way round: oedema inside the core, enhancing tumour inside necrosis, odd cavities."""
    table = case.labels
    operated = [treatment.day for treatment in case.treatments if isinstance(treatment, Resection)]
    for session in case.sessions:
        labels = _cropped(session.labels.data)
        oedema, necrosis, enhancing = (
            indicator(labels, values) for values in (table.oedema, table.necrosis, table.enhancing)
        )
        core, background = necrosis | enhancing, ~indicator(labels, table.whole)
        out, to_core = _faces(oedema, background), _faces(oedema, core)
        if to_core > FACES and out < ENCLOSED * to_core:
            yield (
                f"{session.id}: oedema lies inside the core and hardly touches its outside: the order of labels may "
                f"be another one than that of table {table.name} (Decathlon: oedema 1, necrosis 2): check [labels]"
            )
        around, out = _faces(enhancing, necrosis), _faces(enhancing, background | oedema)
        values = ", ".join(map(str, table.enhancing))
        cure = (
            "if it is a resection cavity, as label 4 of BraTS 2024 and other data of treated patients, say so in "
            '[labels] (cavity = 4, or table = "brats2024-posttreatment")'
        )
        if around > FACES and out < ENCLOSED * around:
            yield f"{session.id}: enhancing tumour (label {values}) lies inside necrosis, usual is the reverse: {cure}"
        elif 4 in table.enhancing and (labels == 4).any() and any(day < session.day for day in operated):
            yield f"{session.id}: label 4 is read as enhancing tumour after a resection: {cure}"
    yield from _cavities(case)


def _cavities(case: Case) -> Iterator[str]:
    """Cavities that meet no tumour, and labelled ones without a resection."""
    resections = [treatment for treatment in case.treatments if isinstance(treatment, Resection)]
    for session in case.sessions:
        if session.cavity is not None and not any(treatment.day < session.day for treatment in resections):
            yield (
                f"{session.id}: shows a resection cavity of {number(volume_ml(session.cavity))} mL, case.toml has no "
                "resection before it: add it, so that the model removes what was there"
            )
    for treatment in resections:
        if treatment.mask is None:
            continue
        cavity = read_volume(treatment.mask, dtype=None)
        before = [session for session in case.sessions if session.day <= treatment.day] or list(case.sessions[:1])
        if not _meet(cavity, before[-1].whole):
            yield (
                f"{treatment.mask.name}: the resection cavity meets no tumour of {before[-1].id}: "
                "check that both are in one space"
            )


def _meet(cavity: Volume, tumour: Volume) -> bool:
    there = resample_to(cavity.with_data((cavity.data > 0).astype(np.uint8)), tumour, order=0).data > 0
    return bool((there & tumour.data).any())


def _cropped(labels: NDArray[Any]) -> NDArray[Any]:
    """The labelled part of an image with a border of background."""
    (box,) = ndimage.find_objects((labels != 0).astype(np.uint8))
    return np.pad(labels[box], 1)


def _faces(region: NDArray[np.bool_], other: NDArray[np.bool_]) -> int:
    """Number of voxel faces between two regions."""
    count = 0
    for axis in range(3):
        a, b = (np.moveaxis(mask, axis, 0) for mask in (region, other))
        count += int(np.count_nonzero(a[1:] & b[:-1])) + int(np.count_nonzero(a[:-1] & b[1:]))
    return count
