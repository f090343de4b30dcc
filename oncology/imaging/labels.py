"""What the values of a segmentation mean: necrosis, oedema, enhancing tumour, and the cavity of a resection.

A class may have several values or none: a table without core, or without oedema, says that this region was not
segmented. Tables of public data sets are in `oncology.imaging.tables`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncology.errors import CaseError, ImageError
from oncology.imaging.volume import Volume

__all__ = ["LabelTable", "indicator", "read_labels"]

MAX_LABEL = 32767
ROUNDING = 1e-3  # of a label: integers that went through a scale factor


@dataclass(frozen=True)
class LabelTable:
    """Values of each tumour compartment in a segmentation; 0 is background.

    Attributes:
        necrosis: values of the necrotic (and non-enhancing) core.
        oedema: values of oedema, the visible region outside the core.
        enhancing: values of the enhancing tumour.
        name: for reports.
        alternatives: values of which an image may contain only one.
        cavity: values of the cavity of a resection, which is no tumour.

    Raises:
        CaseError: a value is not in 1..32767 or stands for two classes, or there is no value of a tumour at all.
    """

    necrosis: tuple[int, ...] = ()
    oedema: tuple[int, ...] = ()
    enhancing: tuple[int, ...] = ()
    name: str = "explicit"
    alternatives: tuple[int, ...] = ()
    cavity: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.whole:
            raise CaseError("labels: no value is given: give those of necrosis, oedema and enhancing that occur")
        values = self.whole + self.cavity
        for value in values:
            if not 1 <= value <= MAX_LABEL:
                raise CaseError(f"labels: value {value} is outside 1..{MAX_LABEL} (0 is background): correct the table")
            if values.count(value) > 1:
                raise CaseError(f"labels: value {value} is given more than once: give each value to one class")

    @property
    def core(self) -> tuple[int, ...]:
        """Values of the tumour core: necrosis and enhancing tumour."""
        return self.necrosis + self.enhancing

    @property
    def whole(self) -> tuple[int, ...]:
        """Values of the whole tumour: core and oedema."""
        return self.necrosis + self.oedema + self.enhancing


def read_labels(volume: Volume, table: LabelTable) -> Volume:
    """Check a segmentation against its table and store it as small integers.

    Args:
        volume: 3-D image, integers or floats with integer values (within 1e-3).
        table: what the values mean.

    Returns:
        The same grid with int16 data.

    Raises:
        ImageError: the image is not 3-D, a value is not an integer or not in the table, two alternatives occur
            together, or no voxel is labelled.
    """
    data = volume.data
    if data.ndim != 3:
        raise ImageError(f"{volume.name}: has shape {data.shape}, expected 3-D: extract one volume (fslroi, mrconvert)")
    if data.dtype.kind == "f":
        integers = np.rint(data)
        broken = np.abs(data - integers) > ROUNDING
        if broken.any():
            value = float(data[broken].flat[0])
            raise ImageError(f"{volume.name}: label {value:g} is no integer: resample labels with nearest neighbour")
        data = integers
    unknown = _first_unknown(data, table.whole + table.cavity)
    if unknown is not None:
        known = ", ".join(str(value) for value in sorted(table.whole + table.cavity))
        raise ImageError(f"{volume.name}: label {unknown} is not in the table (0, {known}): add it to [labels]")
    labels = data.astype(np.int16)
    if not indicator(labels, table.whole).any():
        raise ImageError(f"{volume.name}: segmentation is empty: leave this session out or segment it")
    present = [value for value in table.alternatives if (labels == value).any()]
    if len(present) > 1:
        raise ImageError(
            f"{volume.name}: {table.name} allows one of the labels {present}, not both: if {present[-1]} is the cavity "
            'of a resection, give [labels] table = "brats2024-posttreatment", else list the values in [labels]'
        )
    return volume.with_data(labels)


def indicator(data: NDArray[Any], values: Iterable[int]) -> NDArray[np.bool_]:
    """True where `data` holds one of `values`."""
    result = np.zeros(data.shape, dtype=bool)
    for value in values:
        result |= data == value
    return result


def _first_unknown(data: NDArray[Any], values: tuple[int, ...]) -> int | None:
    unknown = ~indicator(data, (0, *values))
    return int(data[unknown].flat[0]) if unknown.any() else None
