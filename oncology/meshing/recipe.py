"""Mesh recipes: the arguments of `build_mesh` in a small TOML file, so that a mesh can be made again by name.

Keys: `size` (mm), `route`, and the optional tables `[grading]` (`centre`, `fine_radius`, `far_size`, mm) and `[box]`
(`lower`, `upper`, RAS mm).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncology.errors import ConfigError
from oncology.imaging.volume import Volume
from oncology.meshing.build import ROUTES, Route, build_mesh
from oncology.meshing.domain import Box
from oncology.meshing.grading import Grading
from oncology.meshing.mesh import TetMesh
from oncology.meshing.quality import QualityReport

__all__ = ["Recipe", "read_recipe"]


@dataclass(frozen=True, eq=False)
class Recipe:
    """Arguments of `build_mesh` other than the maps.

    Attributes:
        size: edge length, mm.
        route: "stuffing" or "lattice".
        grading: fine ball, or `None` for a uniform mesh.
        box: lower and upper RAS corner, mm, or `None` for the whole brain.
    """

    size: float
    route: Route = "stuffing"
    grading: Grading | None = None
    box: Box | None = None

    def build(self, white: Volume, grey: Volume) -> tuple[TetMesh, QualityReport]:
        """Mesh these maps with `build_mesh`, which raises its errors."""
        return build_mesh(white, grey, self.size, self.route, self.grading, self.box)


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe.

    Raises:
        ConfigError: the file is missing or not TOML, a key is missing, unknown or of the wrong type.
        MeshError: a grading out of range.
    """
    try:
        with open(path, "rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}): check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file ({error}): see meshes/README.md for an example") from error
    _require_keys(table, {"size"}, {"route", "grading", "box"}, path)
    route = table.get("route", "stuffing")
    if route not in ROUTES:
        raise ConfigError(f"{path}: route {route!r} is unknown: use one of {', '.join(ROUTES)}")
    return Recipe(_number(table, "size", path), route, _grading(table, path), _box(table, path))


def _grading(table: Mapping[str, Any], path: str | Path) -> Grading | None:
    if "grading" not in table:
        return None
    part = table["grading"]
    _require_keys(part, {"centre", "fine_radius", "far_size"}, set(), path)
    return Grading(_point(part, "centre", path), _number(part, "fine_radius", path), _number(part, "far_size", path))


def _box(table: Mapping[str, Any], path: str | Path) -> Box | None:
    if "box" not in table:
        return None
    part = table["box"]
    _require_keys(part, {"lower", "upper"}, set(), path)
    return _point(part, "lower", path), _point(part, "upper", path)


def _require_keys(table: Any, needed: set[str], optional: set[str], path: str | Path) -> None:
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: expected a table with {', '.join(sorted(needed))}, found {table!r}: write [name]")
    unknown, missing = sorted(set(table) - needed - optional), sorted(needed - set(table))
    if unknown or missing:
        what = f"unknown key {unknown[0]!r}" if unknown else f"missing key {missing[0]!r}"
        raise ConfigError(f"{path}: {what}: allowed are {', '.join(sorted(needed | optional))}")


def _number(table: Mapping[str, Any], key: str, path: str | Path) -> float:
    value = table[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{path}: {key} is {value!r}: give a number of mm")
    return float(value)


def _point(table: Mapping[str, Any], key: str, path: str | Path) -> NDArray[np.float64]:
    value = table[key]
    if not (isinstance(value, list) and len(value) == 3 and all(isinstance(x, int | float) for x in value)):
        raise ConfigError(f"{path}: {key} is {value!r}: give three RAS coordinates in mm")
    return np.array(value, dtype=float)
