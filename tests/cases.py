"""Small synthetic cases on disk: an ellipsoidal brain with a white core in a grey shell, and spherical tumours.

path = write_case(tmp_path)                                   # two sessions, 4 mm voxels
path = write_case(tmp_path, voxel=5.0, sessions=[Scan("ses-01", 0.0, whole=20.0, core=10.0)])
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import tomli_w

SEMI_AXES = np.array([56.0, 68.0, 52.0])  # mm, of the brain, centred at the RAS origin
WHITE_SHARE = 0.8  # of the semi-axes: within is white matter, beyond is grey
EXPLICIT = {"necrosis": 1, "oedema": 2, "enhancing": 3}


@dataclass(frozen=True)
class Scan:
    """A session with concentric spheres: radii in mm, day in days; a core of radius 0 is absent."""

    id: str
    day: float
    whole: float
    core: float


SCANS = (Scan("ses-01", 0.0, whole=14.0, core=7.0), Scan("ses-02", 40.0, whole=20.0, core=12.0))


def grid(voxel: float | Sequence[float], axes: np.ndarray | None = None) -> tuple[tuple[int, int, int], np.ndarray]:
    """Shape and affine of a grid around the brain, centred at the origin; `axes` (3, 3) turns or flips it."""
    sizes = np.broadcast_to(voxel, 3).astype(float)
    turn = np.eye(3) if axes is None else axes
    reach = np.abs(np.linalg.inv(turn)) @ (SEMI_AXES + 8.0)
    shape = np.ceil(2 * reach / sizes).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = turn * sizes
    affine[:3, 3] = -affine[:3, :3] @ ((shape - 1) / 2)
    return (int(shape[0]), int(shape[1]), int(shape[2])), affine


def centres(shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
    """RAS mm of every voxel centre, (nx, ny, nz, 3)."""
    return np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]


def save(path: Path, data: np.ndarray, affine: np.ndarray) -> Path:
    """Write one NIfTI image, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def write_toml(root: Path, content: Mapping[str, object]) -> None:
    """Write `case.toml`."""
    (root / "case.toml").write_text(tomli_w.dumps(content))


def write_case(
    folder: Path,
    *,
    id: str = "toy01",
    voxel: float | Sequence[float] = 4.0,
    axes: np.ndarray | None = None,
    scan_voxel: float | Sequence[float] | None = None,
    scan_axes: np.ndarray | None = None,
    tumour_centre: Sequence[float] = (-16.0, 12.0, 8.0),
    ventricle: float = 0.0,
    sessions: Sequence[Scan] = SCANS,
    labels: Mapping[str, object] | str = EXPLICIT,
    values: tuple[int, int] = (2, 3),
    thresholds: tuple[float, float] = (0.25, 0.60),
    treatments: Sequence[Mapping[str, object]] = (),
    pet: bool = False,
) -> Path:
    """Write a case and return its folder, `folder / "sub-<id>"`.

    Args:
        folder: where the case folder is made.
        id: subject.
        voxel: edge lengths of the tissue maps, mm.
        axes: (3, 3) orthogonal directions of the index axes of the tissue maps, columns in RAS.
        scan_voxel: edge lengths of the segmentations, mm; those of the maps if not given.
        scan_axes: the same for the segmentations' directions.
        tumour_centre: RAS mm.
        ventricle: radius in mm of a sphere of CSF at the origin.
        sessions: scans.
        labels: content of `[labels]`, or the name of a table.
        values: label values written for oedema and for the core.
        thresholds: oedema and core.
        treatments: content of `[[treatment]]`.
        pet: whether every session has a tracer image, which falls off linearly from the tumour's centre.
    """
    root = folder / f"sub-{id}"
    shape, affine = grid(voxel, axes)
    points = centres(shape, affine)
    radius = np.linalg.norm(points / SEMI_AXES, axis=-1)
    tissue = (radius < 1) & (np.linalg.norm(points, axis=-1) >= ventricle)
    white = (tissue & (radius < WHITE_SHARE)).astype(np.float32)
    save(root / "anat" / f"sub-{id}_label-WM_probseg.nii.gz", white, affine)
    save(root / "anat" / f"sub-{id}_label-GM_probseg.nii.gz", tissue.astype(np.float32) - white, affine)
    shape, affine = grid(voxel if scan_voxel is None else scan_voxel, axes if scan_axes is None else scan_axes)
    distance = np.linalg.norm(centres(shape, affine) - np.asarray(tumour_centre), axis=-1)
    for scan in sessions:
        stem = f"sub-{id}_{scan.id}"
        segmentation = np.where(distance < scan.core, values[1], np.where(distance < scan.whole, values[0], 0))
        save(root / scan.id / "anat" / f"{stem}_desc-tumor_dseg.nii.gz", segmentation.astype(np.uint8), affine)
        if pet:
            uptake = np.maximum(0.0, 60.0 - distance).astype(np.float32)
            save(root / scan.id / "pet" / f"{stem}_trc-FET_pet.nii.gz", uptake, affine)
    write_toml(
        root,
        {
            "subject": {"id": id},
            "labels": labels,
            "thresholds": {"oedema": thresholds[0], "core": thresholds[1]},
            "session": [{"id": scan.id, "day": scan.day} for scan in sessions],
            "treatment": [dict(treatment) for treatment in treatments],
        },
    )
    return root
