"""Cases, images and label tables: NIfTI in and out, everything placed by affines in RAS+ millimetres."""

from oncology.imaging.case import Case, Session, Thresholds
from oncology.imaging.labels import LabelTable
from oncology.imaging.resample import cell_average, resample_to, sample
from oncology.imaging.tables import BRATS2017, BRATS2021
from oncology.imaging.volume import Volume, canonical, read_volume, write_volume

__all__ = [
    "BRATS2017",
    "BRATS2021",
    "Case",
    "LabelTable",
    "Session",
    "Thresholds",
    "Volume",
    "canonical",
    "cell_average",
    "read_volume",
    "resample_to",
    "sample",
    "write_volume",
]
