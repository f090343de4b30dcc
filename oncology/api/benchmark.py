"""One patient of the PREDICT-GBM benchmark: a fit and one density, on the day of the scan or on a later one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oncology.api.patients import fit
from oncology.forecast.predict import predicted_density
from oncology.imaging import Case, Volume
from oncology.imaging.predictgbm import SESSION, BenchmarkPatient, write_benchmark_case
from oncology.meshing import default_cache
from oncology.parallel import on_root

__all__ = ["benchmark_density"]


def benchmark_density(
    comm: Any, patient: BenchmarkPatient, folder: Path, day: float = 0.0, size: float = 2.5, pet: bool = False
) -> Volume | None:
    """Fit a patient and return the density on the segmentation's grid (collective; None but on rank 0).

    Args:
        comm: MPI communicator.
        patient: the patient's images.
        folder: that exists, for the case that is made of them.
        day: after the scan.
        size: edge length of the mesh around the tumour, mm.
        pet: use the PET image.

    Raises:
        CaseError: an image is missing or cannot be used.
        NumericalError: the model cannot be run.
    """

    def read() -> Case:
        write_benchmark_case(patient, folder / "case")
        return Case.read(folder / "case")

    found = fit(on_root(comm, read), size, pet=pet, comm=comm).results
    if day == 0.0:
        return found.densities[SESSION] if comm.rank == 0 else None
    return predicted_density(comm, found, day, default_cache())
