"""`oncology case from-brats`, `from-lumiere` and `from-predictgbm`: patients of public data sets as cases."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from oncology.cli.casedays import read_days
from oncology.parallel import launched_rank

if TYPE_CHECKING:
    from oncology.imaging.caseimport import Tissue

__all__ = ["from_brats", "from_lumiere", "from_predictgbm"]

Names = Annotated[tuple[str, ...], Parameter(consume_multiple=True)]


def from_brats(
    folder: Path,
    /,
    *,
    out: Path,
    white: Path | None = None,
    grey: Path | None = None,
    subject: str | None = None,
    sessions: Names = (),
    days: Names = (),
    table: str | None = None,
    thresholds: tuple[float, float] = (0.25, 0.6),
) -> int:
    """Write a case from a patient of BraTS, 2017 to 2024 (docs/public-data.md).

    BraTS has no maps of white and grey matter and no days: both are given here.

    Args:
        folder: Folder of a scan, such as BraTS2021_00042, or of many scans.
        out: Folder of the case to make.
        white: White-matter probability in the space of the scans (found if the folder holds one).
        grey: Grey-matter probability in the space of the scans (found if the folder holds one).
        subject: Patient, such as BraTS-GLI-00005, where the folder holds several.
        sessions: Scans to take, such as 100 101 (all of the patient if not given).
        days: Day of each scan, or its date (2023-11-05); needed for several scans.
        table: Label table, where the name does not tell the year (docs/case-format.md).
        thresholds: Cell density at the boundary of the whole tumour and of the core, 0 to 1.

    Returns:
        0; invalid input ends with exit status 2.
    """
    if launched_rank() > 0:
        return 0
    from oncology.imaging.brats import find_brats
    from oncology.imaging.caseimport import import_case

    patient = find_brats(folder, subject, sessions, table)
    home = patient.scans[0].segmentation.parent
    import_case(out, patient, _tissue(home, white, grey), read_days(days), thresholds)
    return _told(out, patient.notes)


def from_lumiere(
    folder: Path,
    /,
    *,
    out: Path,
    white: Path | None = None,
    grey: Path | None = None,
    template: bool = False,
    subject: str | None = None,
    sessions: Names = (),
    days: Names = (),
    segmentation: Literal["deepbratumia", "hd-glio"] = "deepbratumia",
    ratings: Path | None = None,
    thresholds: tuple[float, float] = (0.25, 0.6),
) -> int:
    """Write a case from a patient of LUMIERE (docs/public-data.md).

    Days are those of the weeks in the names. LUMIERE has no maps of white and grey matter: they are given here.

    Args:
        folder: Folder of a patient, such as Imaging/Patient-001, or of many patients.
        out: Folder of the case to make.
        white: White-matter probability in the space of the segmentations (found if the patient's folder holds one).
        grey: Grey-matter probability in the space of the segmentations (found if the patient's folder holds one).
        template: Take both maps from the MNI152 brain, in whose space DeepBraTumIA's segmentations lie.
        subject: Patient, such as Patient-001, where the folder holds several.
        sessions: Scans to take, such as week-000-1 (all with a segmentation if not given).
        days: Day of each scan, or its date, where it is known better.
        segmentation: Whose segmentations: deepbratumia, or hd-glio for a single scan.
        ratings: LUMIERE-ExpertRating CSV file, which tells the surgery (looked for beside the patients).
        thresholds: Cell density at the boundary of the whole tumour and of the core, 0 to 1.

    Returns:
        0; invalid input ends with exit status 2.
    """
    if launched_rank() > 0:
        return 0
    from oncology.errors import ArgumentError
    from oncology.imaging.caseimport import Tissue, import_case
    from oncology.imaging.lumiere import find_lumiere

    if template and (white or grey or segmentation != "deepbratumia"):
        raise ArgumentError(
            "template", "stands for --white and --grey, for segmentations of deepbratumia: leave it out"
        )
    patient = find_lumiere(folder, subject, segmentation, sessions, ratings)
    home = patient.scans[0].segmentation.parents[3]
    tissue = Tissue(template=True) if template else _tissue(home, white, grey)
    import_case(out, patient, tissue, read_days(days), thresholds)
    return _told(out, patient.notes)


def from_predictgbm(folder: Path, /, *, out: Path, subject: str | None = None) -> int:
    """Write a case from a patient of PREDICT-GBM, of its benchmark or of its preprocessing (docs/public-data.md).

    Args:
        folder: Folder of a patient, with NNNNN-tumorseg.nii.gz and its companions or with ses-preop, or of many.
        out: Folder of the case to make.
        subject: Patient, such as 00017 or Patient-001, where the folder holds several.

    Returns:
        0; invalid input ends with exit status 2.
    """
    if launched_rank() > 0:
        return 0
    from oncology.imaging.caseimport import new_case
    from oncology.imaging.datasets import one_of
    from oncology.imaging.predictgbm import find_patients, write_benchmark_case

    patients = {patient.number: patient for patient in find_patients(folder)}
    chosen = patients[one_of(folder, patients, subject)]
    with new_case(out) as work:
        write_benchmark_case(chosen, work)
    return _told(out, ())


def _tissue(home: Path, white: Path | None, grey: Path | None) -> Tissue:
    """What is given, else what the folder of the scans holds."""
    from oncology.imaging.caseimport import Tissue
    from oncology.imaging.datasets import find_tissue

    return Tissue(white or find_tissue(home, "white"), grey or find_tissue(home, "grey"))


def _told(out: Path, notes: Iterable[str]) -> int:
    for note in notes:
        print(f"oncology: note: {note}", file=sys.stderr)
    print(out)
    print(f"next: {shlex.join(('oncology', 'case', 'check', str(out)))}")
    return 0
