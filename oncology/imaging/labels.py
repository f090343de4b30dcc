"""What the values of a segmentation mean: necrosis, oedema and enhancing tumour.

The named tables are those of the BraTS challenges (Menze et al. 2015; Bakas et al. 2017; Baid et al. 2021); any
other convention is a user-defined `LabelTable`, in which a class may have several values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncology.errors import CaseError, ImageError
from oncology.imaging.volume import Volume

__all__ = ["BRATS2017", "BRATS2021", "NAMED_TABLES", "LabelTable", "read_labels"]

MAX_LABEL = 32767


@dataclass(frozen=True)
class LabelTable:
    """Values of each tumour compartment in a segmentation; 0 is background.

    Attributes:
        necrosis: values of the necrotic (and non-enhancing) core.
        oedema: values of oedema, the visible region outside the core.
        enhancing: values of the enhancing tumour.
        name: for reports.
        alternatives: values of which an image may contain only one.

    Raises:
        CaseError: a value is not in 1..32767 or stands for two classes, or there is no value at all.
    """

    necrosis: tuple[int, ...]
    oedema: tuple[int, ...]
    enhancing: tuple[int, ...]
    name: str = "explicit"
    alternatives: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        values = self.necrosis + self.oedema + self.enhancing
        if not values:
            raise CaseError("labels: no value is given: give necrosis, oedema and enhancing")
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


BRATS2017 = LabelTable(necrosis=(1,), oedema=(2,), enhancing=(4,), name="brats2017")
# The 2021 cohort is in circulation with enhancing tumour as 4 (first release) and as 3 (from the 2023 release on).
BRATS2021 = LabelTable(necrosis=(1,), oedema=(2,), enhancing=(3, 4), name="brats2021", alternatives=(3, 4))
NAMED_TABLES = {table.name: table for table in (BRATS2017, BRATS2021)}


def read_labels(volume: Volume, table: LabelTable) -> Volume:
    """Check a segmentation against its table and store it as small integers.

    Args:
        volume: 3-D image, integers or floats with integer values.
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
    if data.dtype.kind == "f" and not np.array_equal(data, np.rint(data)):
        value = float(data[data != np.rint(data)].flat[0])
        raise ImageError(f"{volume.name}: label {value:g} is no integer: resample labels with nearest neighbour")
    unknown = _first_unknown(data, table.whole)
    if unknown is not None:
        known = ", ".join(str(value) for value in sorted(table.whole))
        raise ImageError(f"{volume.name}: label {unknown} is not in the table (0, {known}): add it to [labels]")
    labels = data.astype(np.int16)
    if not labels.any():
        raise ImageError(f"{volume.name}: segmentation is empty: leave this session out or segment it")
    present = [value for value in table.alternatives if (labels == value).any()]
    if len(present) > 1:
        raise ImageError(
            f"{volume.name}: {table.name} allows one of the labels {present}, not both: give an explicit [labels]"
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
