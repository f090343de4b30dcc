"""User-supplied meshes: anything meshio reads, with or without a tissue tag on each cell.

Only tetrahedra count; triangles, lines and unused vertices are dropped and cells turned to positive volume. Without
tags, tissue fractions come from the case's maps; with tags, cells of any other tag (fluid) are left out.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from oncology.errors import MeshError
from oncology.imaging.volume import Volume
from oncology.meshing.averaging import fractions
from oncology.meshing.domain import Box, Domain, brain_domain
from oncology.meshing.mesh import TetMesh
from oncology.meshing.quality import QualityReport, measure_quality, quality_problem
from oncology.meshing.topology import cell_volumes, compact, oriented

if TYPE_CHECKING:
    import meshio

__all__ = ["TissueTags", "import_mesh"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

TETRAHEDRA = ("tetra", "tetra10")  # of quadratic cells the four corners are used
SMALLEST_ANGLE = 1.0  # degrees: other mesh generators leave slivers that P1 elements with lumped mass tolerate
LEAST_OVERLAP = 0.5  # fraction of the mesh that must lie in the brain; otherwise units or axes are wrong


@dataclass(frozen=True)
class TissueTags:
    """Which tags mean which tissue.

    Attributes:
        white: tags of white matter.
        grey: tags of grey matter.
        name: cell data that holds them, such as "gmsh:physical", "medit:ref" or "label"; may be omitted where the
            file has just one set of whole numbers.
    """

    white: Sequence[int]
    grey: Sequence[int]
    name: str | None = None


def import_mesh(
    path: str | Path, white: Volume, grey: Volume, tags: TissueTags | None = None, box: Box | None = None
) -> tuple[TetMesh, QualityReport]:
    """Read a mesh in RAS mm.

    Args:
        path: file that meshio reads.
        white: white-matter probability of the case, 0..1.
        grey: grey-matter probability on the same grid.
        tags: tissue of each cell; from the maps if absent.
        box: the part of the brain that the mesh covers (lower and upper RAS corner, mm), if not all of it.

    Raises:
        MeshError: the file cannot be read, has no tetrahedra or not these tags, is not in mm or not in RAS, or has a
            `quality_problem`.
    """
    raw = _read(Path(path))
    points, cells = _tetrahedra(raw, path)
    labels = None
    if tags is not None:
        labels = _labels(raw, tags, path)
        known = np.isin(labels, [*tags.white, *tags.grey])
        if not known.any():
            found = np.unique(labels)[:20].tolist()
            wanted = f"white {tags.white} or grey {tags.grey}"
            raise MeshError(f"{path}: no cell is tagged {wanted}, found {found}: give the tags of this file")
        cells, labels = cells[known], labels[known]
    points, cells = compact(points, cells)
    cells = oriented(points, cells)
    volumes = cell_volumes(points, cells)
    domain = brain_domain(white, grey, float(white.voxel_sizes.min()), box=box)
    _require_overlap(points, cells, volumes, domain, path)
    if tags is None or labels is None:
        shares = fractions((white.data, grey.data), white, points, cells, volumes)
    else:
        shares = np.array([np.isin(labels, list(wanted)) for wanted in (tags.white, tags.grey)], dtype=float)
    mesh = TetMesh(points, cells, shares[0], shares[1], _mean_edge(points, cells), "imported", tags is not None)
    report = measure_quality(mesh, domain)
    if (problem := quality_problem(report, SMALLEST_ANGLE)) is not None:
        raise MeshError(f"{path}: {problem}: mend the mesh, mesh finer, or give the box that it stands for")
    return mesh, report


def _read(path: Path) -> meshio.Mesh:
    """What meshio makes of a file; it prints and may leave the interpreter on a file it cannot parse."""
    import meshio  # takes long to load, and most fits read no mesh

    if not path.is_file():
        raise MeshError(f"{path}: no such mesh file: check the path")
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return meshio.read(path)
    except (Exception, SystemExit) as error:
        left = isinstance(error, SystemExit)
        reason = "not of the kind its name says" if left else " ".join(str(error).split()) or type(error).__name__
        raise MeshError(f"{path}: cannot be read ({reason}): convert it to .msh, .vtu, .mesh or .xdmf") from error


def _tetrahedra(raw: meshio.Mesh, path: str | Path) -> tuple[Floats, Ints]:
    blocks = [np.asarray(block.data[:, :4], dtype=np.int64) for block in raw.cells if block.type in TETRAHEDRA]
    points = np.asarray(raw.points, dtype=np.float64)
    if not blocks or not sum(map(len, blocks)) or points.shape[1] != 3:
        kinds = ", ".join(sorted({block.type for block in raw.cells})) or "none"
        raise MeshError(f"{path}: holds no tetrahedra (cells: {kinds}): mesh the volume, not just its surface")
    if not np.isfinite(points).all():
        raise MeshError(f"{path}: vertex {int(np.argwhere(~np.isfinite(points))[0, 0])} is not finite: mesh again")
    return points, np.concatenate(blocks)


def _labels(raw: meshio.Mesh, tags: TissueTags, path: str | Path) -> Ints:
    """The tag of each tetrahedron, (nc,)."""
    of_tetrahedra = [number for number, block in enumerate(raw.cells) if block.type in TETRAHEDRA]
    found = {name: np.concatenate([np.asarray(data[n]) for n in of_tetrahedra]) for name, data in raw.cell_data.items()}
    whole = {name: np.rint(data) for name, data in found.items() if data.ndim == 1 and (data == np.rint(data)).all()}
    names = ", ".join(whole) or "none"
    if tags.name is not None:
        if tags.name not in whole:
            raise MeshError(f"{path}: no whole-numbered cell data {tags.name!r}, found {names}: name another")
        return np.asarray(whole[tags.name], dtype=np.int64)
    if "gmsh:physical" in whole:
        return np.asarray(whole["gmsh:physical"], dtype=np.int64)  # beside it, gmsh always writes geometrical tags
    if len(whole) != 1:
        raise MeshError(f"{path}: whole-numbered cell data: {names}; expected one: name the one with the tissue tags")
    return np.asarray(next(iter(whole.values())), dtype=np.int64)


def _mean_edge(points: Floats, cells: Ints) -> float:
    pairs = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
    lengths = [np.sqrt(((points[cells[:, a]] - points[cells[:, b]]) ** 2).sum(axis=1)).mean() for a, b in pairs]
    return float(np.mean(lengths))


def _require_overlap(points: Floats, cells: Ints, volumes: Floats, domain: Domain, path: str | Path) -> None:
    """Refuse a mesh that does not lie in the brain, and suggest why."""
    inside = fractions((domain.mask.data,), domain.mask, points, cells, volumes)[0]
    total = float(volumes.sum())
    if total > 0 and (inside * volumes).sum() >= LEAST_OVERLAP * total:
        return
    lower, upper = points.min(axis=0), points.max(axis=0)
    brain_lower, brain_upper = domain.bounds()
    ratio = float(np.linalg.norm(upper - lower) / np.linalg.norm(brain_upper - brain_lower))
    middle = (lower + upper) / 2 * np.array([-1.0, -1.0, 1.0])
    if ratio < 0.01:
        cure = "it looks like metres, multiply the points by 1000"
    elif ratio < 0.3:
        cure = "it looks like centimetres, multiply the points by 10"
    elif ratio > 100:
        cure = "it looks like micrometres, divide the points by 1000"
    elif ((middle > brain_lower) & (middle < brain_upper)).all():
        cure = "it may be in LPS, negate x and y"
    else:
        cure = "bring it to RAS mm of the images"
    here, brain = (
        f"{np.round(a, 3).tolist()}..{np.round(b, 3).tolist()}" for a, b in ((lower, upper), domain.bounds())
    )
    raise MeshError(f"{path}: mesh in {here} lies mostly outside the brain in {brain} mm: {cure}")
