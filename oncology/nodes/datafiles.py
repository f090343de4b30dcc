"""Sample files: IDX (the format of MNIST), plain or compressed, and CSV; every fault is one line that names its place.

IDX is a magic number of two zero bytes, a type and a number of axes, the sizes as big-endian 32-bit integers, and the
values in C order (LeCun, Cortes & Burges, the MNIST database).
"""

from __future__ import annotations

import csv
import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oncology.errors import DataError

__all__ = ["IDX_TYPES", "Mnist", "Table", "read_idx", "read_mnist", "read_table"]

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP_MAGIC = b"\x1f\x8b"

type Array = np.ndarray[Any, np.dtype[Any]]


def read_idx(path: Path) -> Array:
    """Array of an IDX file, in the machine's byte order.

    Args:
        path: the file, plain or compressed with gzip whatever its name.

    Raises:
        DataError: the file is missing, no IDX file, or shorter or longer than its header says.
    """
    try:
        content = path.read_bytes()
        if content[:2] == GZIP_MAGIC:
            content = gzip.decompress(content)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; download the four IDX files of MNIST into one folder") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); download the file again") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_TYPES:
        raise DataError(f"{path}: is no IDX file (it starts with {content[:4].hex(' ') or 'nothing'}); give one")
    axes, values = content[3], content[4:]
    if len(values) < 4 * axes:
        raise DataError(f"{path}: ends within its header of {axes} axes; download the file again")
    shape = struct.unpack(f">{axes}I", values[: 4 * axes])
    kind = np.dtype(IDX_TYPES[content[2]])
    wanted, found = math.prod(shape) * kind.itemsize, len(values) - 4 * axes
    if wanted != found:
        size = " x ".join(map(str, shape))
        raise DataError(f"{path}: holds {found} bytes of values instead of {wanted} ({size}); download the file again")
    return np.frombuffer(values, kind, offset=4 * axes).reshape(shape).astype(kind.newbyteorder("="))


@dataclass(frozen=True, eq=False)
class Mnist:
    """One part of MNIST: images (K, height, width), double precision, and labels (K,)."""

    images: Array
    labels: Array


def read_mnist(folder: Path, part: str, halve: bool = True) -> Mnist:
    """Images and labels of one part.

    Args:
        folder: holds the files.
        part: "train" or "t10k".
        halve: average 2 x 2 pixels.

    Raises:
        DataError: a file is missing or malformed, or images and labels do not belong together.
    """
    image_file, label_file = (_found(folder, part, kind) for kind in ("images-idx3", "labels-idx1"))
    images, labels = read_idx(image_file), read_idx(label_file)
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or images.size == 0:
        shapes = f"{images.shape} and {labels.shape}"
        raise DataError(
            f"{image_file}: images and labels of shapes {shapes} do not belong together; give both of one set"
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise DataError(f"{label_file}: labels are not whole numbers >= 0; give the labels of the images")
    pixels = images.astype(np.float64)
    if halve:
        number, height, width = pixels.shape
        if height % 2 or width % 2:
            raise DataError(f"{image_file}: {height} x {width} pixels cannot be halved; switch halving off")
        pixels = pixels.reshape(number, height // 2, 2, width // 2, 2).mean((2, 4))
    return Mnist(pixels, labels.astype(np.int64))


def _found(folder: Path, part: str, kind: str) -> Path:
    """The file under one of its usual names."""
    names = [f"{part}-{kind}-ubyte", f"{part}-{kind.replace('-idx', '.idx')}-ubyte"]
    paths = [folder / f"{name}{end}" for name in names for end in ("", ".gz")]
    return next((path for path in paths if path.is_file()), paths[0])


@dataclass(frozen=True, eq=False)
class Table:
    """Samples of a CSV file.

    Attributes:
        names: of the features.
        features: (K, features), double precision.
        classes: word of each sample.
    """

    names: tuple[str, ...]
    features: Array
    classes: tuple[str, ...]


def read_table(path: Path, column: str | None = None) -> Table:
    """Samples of a CSV file with a header.

    Args:
        path: the file, UTF-8, separated by commas.
        column: name of the classes' column; the last one if not given.

    Raises:
        DataError: the file is missing or has no samples, a line has another number of cells than the header, a value is
            no finite number or a class is empty; the line names line and column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.reader(handle, strict=True)
            rows = [(reader.line_num, row) for row in reader if row]
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; give a CSV file with a header") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error}); save it as UTF-8 with commas") from error
    if len(rows) < 2:
        raise DataError(f"{path}: holds no samples; give a header and a line for each sample")
    header = [name.strip() for name in rows[0][1]]
    place = _class_column(path, header, column)
    features, classes = [], []
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise DataError(f"{path}, line {line}: {len(row)} cells under a header of {len(header)}; correct the line")
        features.append([_number(path, line, header[i], cell) for i, cell in enumerate(row) if i != place])
        classes.append(row[place].strip())
        if not classes[-1]:
            raise DataError(f"{path}, line {line}, column {header[place]!r}: no class; fill it in")
    names = tuple(name for i, name in enumerate(header) if i != place)
    return Table(names, np.array(features, dtype=np.float64), tuple(classes))


def _class_column(path: Path, header: list[str], column: str | None) -> int:
    if len(header) < 2:
        raise DataError(f"{path}: one column only; give a column for each feature and one for the class")
    if column is None:
        return len(header) - 1
    if header.count(column) != 1:
        raise DataError(f"{path}: {header.count(column)} columns are named {column!r}; take one of {', '.join(header)}")
    return header.index(column)


def _number(path: Path, line: int, name: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{path}, line {line}, column {name!r}: {cell!r} is no finite number; correct the cell")
    return value
