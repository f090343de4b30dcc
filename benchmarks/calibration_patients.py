"""Synthetic patients of the coverage benchmark, grown by `benchmarks.independent_growth` and written as case folders.

Two strata. In A the masks are the voxels above the thresholds and the fit is given the maps that the tumour grew in. In
B everything is wrong at once: the thresholds, voxels at the boundaries of the masks, the white-matter map; and the
masks have another grid than the maps. A patient depends on its stratum and number only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from benchmarks.independent_growth import Density, Medium, cells_per_edge, compact_seed, march

__all__ = ["GIVEN", "Anatomy", "Patient", "draw", "mni152", "patient_id", "write_case", "write_patient"]

type Floats = NDArray[np.floating]
type Mask = NDArray[np.bool_]

GIVEN = (0.25, 0.60)  # thresholds in case.toml: whole tumour, core
WHITE_ERROR = 0.5  # mm, of the white matter in the maps of stratum B: half a voxel
THRESHOLD_ERROR = 0.05  # largest error of a threshold in stratum B
FLIPPED = 0.25  # fraction of boundary voxels that change sides where a Gaussian field is positive
FIELD_WIDTH = 3.0  # mm, of that field
LONGEST = 1500.0  # days from onset to the first scan: the 97.5 % quantile of the fit's prior


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Tissue of a brain.

    Attributes:
        white: white-matter probability.
        grey: grey-matter probability.
        affine: (4, 4), isotropic voxels to RAS mm.
    """

    white: Floats
    grey: Floats
    affine: Floats

    @property
    def spacing(self) -> float:
        """Edge of the voxels, mm."""
        return float(np.linalg.norm(self.affine[:3, 0]))

    def voxel(self, points: Floats) -> Floats:
        """Return the index of points in RAS mm, (..., 3)."""
        return (points - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T

    def coarser(self) -> Anatomy:
        """Return the means over blocks of 2 x 2 x 2 voxels."""
        even = tuple(slice(n - n % 2) for n in self.white.shape)

        def mean(image: Floats) -> Floats:
            image = image[even]
            return image.reshape(*(m for n in image.shape for m in (n // 2, 2))).mean(axis=(1, 3, 5))

        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3].sum(axis=1) / 2.0
        affine[:3, :3] *= 2.0
        return Anatomy(mean(self.white), mean(self.grey), affine)


@dataclass(frozen=True)
class Patient:
    """The truth about a patient: mm, day, mm^2/day, 1/day.

    Attributes:
        diffusion_white: D_w.
        diffusion_grey: D_g.
        proliferation: rho.
        seed: place, RAS mm.
        seed_radius: R of the initial density 0.5 (1 - r^2/R^2)_+^2.
        radii: equivalent radius of the whole tumour at which it is scanned.
        thresholds: density at the boundary of whole tumour and core.
        voxel: edge of the voxels of the masks; in stratum A of the maps too.
    """

    diffusion_white: float
    diffusion_grey: float
    proliferation: float
    seed: tuple[float, float, float]
    seed_radius: float
    radii: tuple[float, float]
    thresholds: tuple[float, float] = GIVEN
    voxel: float = 1.0


def patient_id(stratum: str, number: int) -> str:
    """Return the id of a case, such as A07."""
    return f"{stratum}{number:02d}"


def mni152() -> Anatomy:
    """Return the tissue maps of the MNI152 brain that nilearn contains, 1 mm."""
    from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

    images = [load(resolution=1) for load in (load_mni152_wm_template, load_mni152_gm_template)]
    white, grey = (np.clip(image.get_fdata(dtype=np.float32), 0.0, 1.0) for image in images)
    return Anatomy(white, np.minimum(grey, 1.0 - white), np.asarray(images[0].affine))


def draw(rng: np.random.Generator, anatomy: Anatomy, stratum: str) -> Patient:
    """Draw a patient: logarithms of the rates uniform, the seed uniform in white matter."""
    while True:
        white, ratio, rho = np.exp(rng.uniform(np.log([0.05, 0.05, 0.008]), np.log([0.6, 0.3, 0.05])))
        if 1.0 <= math.sqrt(white / rho) <= 5.0:
            break
    voxels = np.argwhere(anatomy.white > 0.5)
    place = voxels[rng.integers(len(voxels))] + rng.uniform(-0.5, 0.5, 3)
    seed = anatomy.affine[:3, :3] @ place + anatomy.affine[:3, 3]
    first = rng.uniform(8.0, 20.0)
    patient = Patient(
        diffusion_white=float(white),
        diffusion_grey=float(white * ratio),
        proliferation=float(rho),
        seed=tuple(map(float, seed)),
        seed_radius=float(6.5 * math.exp(rng.normal(0.0, 0.15))),
        radii=(float(first), float(first + rng.uniform(2.0, 10.0))),
    )
    if stratum == "A":
        return replace(patient, voxel=anatomy.spacing * float(rng.integers(1, 3)))
    low, high = np.array(GIVEN) + rng.uniform(-THRESHOLD_ERROR, THRESHOLD_ERROR, 2)
    voxel = anatomy.spacing * float(rng.uniform(1.0, 2.0))
    return replace(patient, thresholds=(float(low), float(high)), voxel=voxel)


def write_patient(folder: Path, stratum: str, number: int, anatomy: Anatomy, finest: float = 0.25) -> Path:
    """Draw, grow and write a patient; return its case folder, which is left alone if it is complete.

    A tumour that does not reach its second radius, or whose first scan is outside the range of the fit's prior, is
    drawn again: it is excluded before any fit.

    Args:
        folder: of all case folders.
        stratum: "A" or "B".
        number: from 1.
        anatomy: the brain.
        finest: edge of the finest cells that the tumour may grow in, mm.
    """
    id = patient_id(stratum, number)
    case = folder / f"sub-{id}"
    if (case / "truth.json").is_file():
        return case
    rng = np.random.default_rng([2026, ord(stratum), number])
    rejected = 0
    while True:
        patient = draw(rng, anatomy, stratum)
        maps = anatomy.coarser() if stratum == "A" and patient.voxel > 1.5 * anatomy.spacing else anatomy
        scans = _grow(patient, maps, finest)
        if scans is not None:
            break
        rejected += 1
    days = [day for day, _ in scans]
    densities = [density for _, density in scans]
    if stratum == "A":
        masks, affine = [_masks(density.centres(), patient.thresholds) for density in densities], maps.affine
    else:
        masks, affine = _other_grid(rng, patient, maps, densities)
        masks = [_flipped(rng, regions, patient.voxel) for regions in masks]
        maps = _wrong_white(rng, maps)
    write_case(case, maps, masks, affine, days, exact=stratum == "A")
    truth = {**asdict(patient), "duration": days[0], "rejected": rejected}
    (case / "truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    return case


def _grow(patient: Patient, maps: Anatomy, finest: float) -> list[tuple[float, Density]] | None:
    """Return day since onset and density of both scans; None if they are out of reach."""
    tissue = maps.white + maps.grey > 0.5
    diffusivity = (patient.diffusion_white * maps.white + patient.diffusion_grey * maps.grey) * tissue
    parts = cells_per_edge(maps.spacing, patient.diffusion_grey, patient.proliferation, finest)
    medium = Medium(diffusivity.astype(float), patient.proliferation, maps.spacing, parts)
    scans: list[tuple[float, Density]] = []
    for day, density in march(medium, compact_seed(patient.seed_radius), maps.voxel(np.array(patient.seed))):
        radius = (0.75 * density.volume(patient.thresholds[0]) / math.pi) ** (1.0 / 3.0)
        if radius >= patient.radii[len(scans)]:
            scans.append((day, density))
            if len(scans) == 2:
                return scans
        if day > LONGEST and (not scans or day > 2.0 * LONGEST):
            return None
    raise AssertionError("a tumour grows for ever")


def _masks(density: Floats, thresholds: Sequence[float]) -> list[Mask]:
    return [density > threshold for threshold in thresholds]


def _other_grid(
    rng: np.random.Generator, patient: Patient, maps: Anatomy, densities: Sequence[Density]
) -> tuple[list[list[Mask]], Floats]:
    """Return the masks of all scans on a rotated grid around the tumour, and its affine."""
    turn = Rotation.from_rotvec(rng.normal(0.0, math.radians(6.0), 3)).as_matrix()
    last = densities[-1]
    shown = last.voxels[last.values.max(axis=1) > 0.5 * min(patient.thresholds)]
    points = (shown @ maps.affine[:3, :3].T + maps.affine[:3, 3]) @ turn
    low = points.min(axis=0) - 4.0 * patient.voxel - rng.uniform(0.0, patient.voxel, 3)
    shape = np.ceil((points.max(axis=0) - low) / patient.voxel).astype(int) + 5
    affine = np.eye(4)
    affine[:3, :3] = turn * patient.voxel
    affine[:3, 3] = turn @ low
    centres = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    where = maps.voxel(centres)
    return [_masks(density.at(where), patient.thresholds) for density in densities], affine


def _flipped(rng: np.random.Generator, regions: Sequence[Mask], voxel: float) -> list[Mask]:
    """Return nested regions some of whose boundary voxels, inner and outer ones, have changed sides in patches."""
    found: list[Mask] = []
    for region in regions:
        field = ndimage.gaussian_filter(rng.normal(size=region.shape), FIELD_WIDTH / voxel)
        boundary = ndimage.binary_dilation(region) & ~ndimage.binary_erosion(region)
        flip = boundary & (field > 0.0) & (rng.random(region.shape) < FLIPPED)
        found.append((region ^ flip) & (found[0] if found else True))
    return found


def _wrong_white(rng: np.random.Generator, maps: Anatomy) -> Anatomy:
    """Return maps whose white matter is eroded or dilated by half a voxel, then smoothed by 1 mm; the sum is kept."""
    cross = ndimage.generate_binary_structure(3, 1)
    change = ndimage.maximum_filter if rng.random() < 0.5 else ndimage.minimum_filter
    moved = 0.5 * (maps.white + change(maps.white, footprint=cross))
    total = maps.white + maps.grey
    white = np.minimum(ndimage.gaussian_filter(moved, 1.0 / maps.spacing), total)
    return Anatomy(white, total - white, maps.affine)


def write_case(
    case: Path,
    maps: Anatomy,
    masks: Sequence[Sequence[Mask]],
    affine: Floats,
    days: Sequence[float],
    exact: bool = True,
) -> None:
    """Write a case folder, named sub-ID.

    Args:
        case: folder.
        maps: tissue that the fit is given.
        masks: whole tumour and core of every session.
        affine: (4, 4), their voxels to RAS mm.
        days: of the sessions.
        exact: the tumour grew in the very maps, and its thresholds are the given ones; otherwise errors are declared.
    """
    id = case.name.removeprefix("sub-")
    images = {Path("anat") / f"sub-{id}_label-WM_probseg.nii.gz": (maps.white.astype(np.float32), maps.affine)}
    images[Path("anat") / f"sub-{id}_label-GM_probseg.nii.gz"] = (maps.grey.astype(np.float32), maps.affine)
    for k, (whole, core) in enumerate(masks, start=1):
        labels = np.where(core, 3, np.where(whole, 2, 0)).astype(np.uint8)
        images[Path(f"ses-0{k}") / "anat" / f"sub-{id}_ses-0{k}_desc-tumor_dseg.nii.gz"] = (labels, affine)
    for name, (data, where) in images.items():
        (case / name).parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(data, where), case / name)
    deviation = "" if exact else f"sd = {THRESHOLD_ERROR / math.sqrt(3.0):.4f}\n"
    maps_off = 0.0 if exact else WHITE_ERROR
    sessions = "".join(
        f'\n[[session]]\nid = "ses-0{k}"\nday = {day - days[0]:.6f}\n' for k, day in enumerate(days, start=1)
    )
    content = (
        f'[subject]\nid = "{id}"\n\n[labels]\nnecrosis = []\noedema = 2\nenhancing = 3\n\n'
        f"[thresholds]\noedema = {GIVEN[0]}\ncore = {GIVEN[1]}\n{deviation}\n"
        f"[segmentation]\nwhite_mm = {maps_off}\n{sessions}"
    )
    (case / "case.toml").write_text(content, encoding="utf-8")
