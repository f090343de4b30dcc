"""`oncology predict --predict-gbm`: the contract of the PREDICT-GBM benchmark, one fit and one density per patient."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oncology.cli.runtime import guarded, world
from oncology.errors import CaseError, ConfigError, OutputError

if TYPE_CHECKING:
    from oncology.imaging import Volume
    from oncology.imaging.predictgbm import BenchmarkPatient

__all__ = ["answer_benchmark"]

SIZE = 2.5  # mm
LATEST = 3650.0  # day after the scan
SUFFIXES = (".nii.gz", ".nii")


def answer_benchmark(
    folder: Path, out: Path, days: tuple[float, ...], size: float | None, pet: bool, overwrite: bool
) -> None:
    """Fit every patient of a folder and write the density that the benchmark asks for (collective).

    Args:
        folder: one patient's images, or folders of them.
        out: the image to write for one patient, or the folder for NNNNN.nii.gz.
        days: none for the density on the day of the scan, or one day after it.
        size: edge length of the mesh around the tumour, mm.
        pet: use the PET image.
        overwrite: replace images that are there.

    Raises:
        ConfigError: more than one day, or a size out of range.
        CaseError: the folder holds no patient, or a patient is incomplete.
        OutputError: an image is there already or cannot be written.
    """
    size = SIZE if size is None else size
    if not 0.5 <= size <= 20.0:
        raise ConfigError(f"--size {size:g} mm is outside 0.5 to 20 mm: 2.5 mm suits most brains")
    if len(days) > 1:
        raise ConfigError(
            f"--days {len(days)} days: PREDICT-GBM takes one density: give one day, or none for the scan's"
        )
    for day in days:
        if not 0.0 <= day <= LATEST:
            raise ConfigError(f"--days {day:g} is out of range: give a day after the scan, 0 to {LATEST:g}")
    comm = world()
    with guarded(comm):
        from oncology.api.benchmark import benchmark_density
        from oncology.imaging.predictgbm import find_patients
        from oncology.parallel import on_root

        patients = on_root(comm, lambda: find_patients(folder))
        outputs = on_root(comm, lambda: _outputs(patients, out, overwrite, pet))
        for patient, path in zip(patients, outputs, strict=True):
            work = on_root(comm, lambda: Path(tempfile.mkdtemp(prefix="oncology-")))
            try:
                density = benchmark_density(comm, patient, work, days[0] if days else 0.0, size, pet)
                on_root(comm, lambda path=path, density=density: _write(path, density))  # type: ignore[misc]
            finally:
                if comm.rank == 0:
                    shutil.rmtree(work, ignore_errors=True)


def _outputs(patients: tuple[BenchmarkPatient, ...], out: Path, overwrite: bool, pet: bool) -> list[Path]:
    """Where each density goes; refused before any work is done."""
    single = out.name.endswith(SUFFIXES)
    if single and len(patients) > 1:
        raise OutputError(f"{out}: is one image for {len(patients)} patients: give a folder")
    paths = [out if single else out / f"{patient.number}.nii.gz" for patient in patients]
    double = next((path for path in paths if paths.count(path) > 1), None)
    if double is not None:
        raise CaseError(f"{double.name}: two patients have this number: give each its own")
    for patient, path in zip(patients, paths, strict=True):
        if path.exists() and not (overwrite and path.is_file()):
            raise OutputError(f"{path}: is there already: choose another --out, or replace it with --overwrite")
        if pet and not patient.path("pet").is_file():
            raise CaseError(f"{patient.path('pet')}: no such file: put it there, or leave --pet out")
    return paths


def _write(path: Path, density: Volume | None) -> None:
    from oncology.imaging import write_volume

    assert density is not None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent}: cannot be made ({error.strerror}): choose another --out") from error
    write_volume(path, density, np.float32)
