"""Patients of PREDICT-GBM as cases: the inputs of its benchmark, and what its preprocessing leaves.

The benchmark (github.com/BrainLesion/PredictGBM) mounts a folder with one `Patient-NNNNN`, which holds
`NNNNN-{gm,wm,csf,tumorseg}.nii.gz` and perhaps `-pet`, and takes one density image `NNNNN.nii.gz` back, which it clips
to 0..1 and ranks by. The preprocessing leaves `PATIENT/ses-preop` and, with a later recurrence in the same space,
`ses-followup`. Segmentations hold necrosis 1, oedema 2, enhancing tumour 3 (4 in older ones); tissue maps are
probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oncology.errors import CaseError
from oncology.imaging.resample import resample_to
from oncology.imaging.volume import Volume, read_volume, write_volume

__all__ = ["BenchmarkPatient", "find_patients", "write_benchmark_case"]

PREPROCESSED = {
    **{kind: f"ses-preop/tissue_segmentation/{kind}_pbmap.nii.gz" for kind in ("gm", "wm", "csf")},
    "tumorseg": "ses-preop/tumor_segmentation/tumor_seg.nii.gz",
    "t1": "ses-preop/skull_stripped/t1c_skullstripped.nii.gz",
    "recurrence": "ses-followup/longitudinal/recurrence_preop.nii.gz",
}
NEEDED = ("gm", "wm", "csf", "tumorseg")
SEGMENTATION = "-tumorseg.nii.gz"
SESSION = "ses-01"
TOML = """[subject]
id = "{id}"
[labels]
table = "brats2021"
[thresholds]
oedema = 0.25
core = 0.60
[[session]]
id = "ses-01"
day = 0.0
"""


@dataclass(frozen=True)
class BenchmarkPatient:
    """A patient of the benchmark: its number, its folder, and whether that is what the preprocessing left."""

    number: str
    folder: Path
    preprocessed: bool = False

    def path(self, kind: str) -> Path:
        """Return the image of a kind: "gm", "wm", "csf", "tumorseg", "pet", "t1" or "recurrence"."""
        if self.preprocessed and kind in PREPROCESSED:
            return self.folder / PREPROCESSED[kind]
        return self.folder / f"{self.number}-{kind}.nii.gz"


def find_patients(folder: Path) -> tuple[BenchmarkPatient, ...]:
    """Return the patients of a folder, which is one patient's folder or contains several.

    Raises:
        CaseError: there is none, or one has two segmentations or lacks an image.
    """
    if not folder.is_dir():
        raise CaseError(f"{folder}: no such folder: give the one with NNNNN-gm.nii.gz and its companions")
    # names that begin with a dot are twins that macOS leaves on shared disks
    own = sorted(folder.glob(f"[!.]*{SEGMENTATION}"))
    found = own or sorted(folder.glob(f"[!.]*/[!.]*{SEGMENTATION}"))
    patients = tuple(BenchmarkPatient(path.name.removesuffix(SEGMENTATION), path.parent) for path in found)
    if not patients:
        homes = (
            [folder] if (folder / "ses-preop").is_dir() else sorted(p.parent for p in folder.glob("[!.]*/ses-preop"))
        )
        patients = tuple(BenchmarkPatient(home.resolve().name, home, preprocessed=True) for home in homes)
    if not patients:
        raise CaseError(
            f"{folder}: holds neither NNNNN{SEGMENTATION} nor ses-preop: give a folder of the PREDICT-GBM layout"
        )
    folders = [patient.folder for patient in patients]
    for patient in patients:
        if folders.count(patient.folder) > 1:
            raise CaseError(f"{patient.folder}: holds several segmentations: give each patient a folder")
        missing = [
            str(patient.path(kind).relative_to(patient.folder)) for kind in NEEDED if not patient.path(kind).is_file()
        ]
        if missing:
            raise CaseError(f"{patient.folder}: lacks {', '.join(missing)}: put them there")
    return patients


def write_benchmark_case(patient: BenchmarkPatient, root: Path) -> None:
    """Write a patient's images as a case folder of one session, with its PET, T1 and recurrence if it has them.

    The three tissue maps are scaled to a sum of at most one.

    Args:
        patient: what to convert.
        root: folder to fill.

    Raises:
        ImageError: an image cannot be read.
    """
    identity = "".join(letter for letter in patient.number if letter.isalnum() and letter.isascii()) or "patient"
    white, grey, fluid = (read_volume(patient.path(kind)) for kind in ("wm", "gm", "csf"))
    grey, fluid = (resample_to(image, white) for image in (grey, fluid))
    total = np.maximum(white.data + grey.data + fluid.data, 1.0)
    stem = f"sub-{identity}"
    _write(root / "anat" / f"{stem}_label-WM_probseg.nii.gz", white.with_data(white.data / total))
    _write(root / "anat" / f"{stem}_label-GM_probseg.nii.gz", grey.with_data(grey.data / total))
    scan = root / SESSION / "anat" / f"{stem}_{SESSION}_desc-tumor_dseg.nii.gz"
    _copy(patient.path("tumorseg"), scan)
    if patient.path("pet").is_file():
        _copy(patient.path("pet"), root / SESSION / "pet" / f"{stem}_{SESSION}_trc-FET_pet.nii.gz")
    if patient.path("t1").is_file():
        _copy(patient.path("t1"), root / "anat" / f"{stem}_T1w.nii.gz")
    if patient.path("recurrence").is_file():
        later = root / "ses-followup" / "anat" / f"{stem}_ses-followup_desc-tumor_mask.nii.gz"
        _copy(patient.path("recurrence"), later)
    (root / "case.toml").write_text(TOML.format(id=identity), encoding="utf-8")


def _write(path: Path, volume: Volume) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, volume, np.float32)


def _copy(source: Path, path: Path) -> None:
    """Copy an image unchanged, with its header and any fault it may have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source.read_bytes())
