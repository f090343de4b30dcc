"""Mesh and quality report from tissue maps, by either of the package's two routes.

The stuffing route raises or lowers the level until the mesh has the image's volume, keeps one face-connected piece and
repairs the worst dihedral angles. Everything is array arithmetic without threads: equal input gives equal bytes.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from oncology.errors import MeshError
from oncology.imaging.resample import sample
from oncology.imaging.volume import Volume
from oncology.meshing.averaging import fractions
from oncology.meshing.domain import Box, Domain, brain_domain, usable_size
from oncology.meshing.grading import Grading
from oncology.meshing.lattice import lattice_mesh
from oncology.meshing.mesh import TetMesh
from oncology.meshing.quality import QualityReport, measure_quality, quality_problem
from oncology.meshing.repair import repair
from oncology.meshing.stuffing import MEAN_EDGE, Lattice, bcc_lattice, inner_cells, stuff
from oncology.meshing.topology import cell_volumes, compact, component_labels, face_table

__all__ = ["Route", "build_mesh"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]
type Route = Literal["stuffing", "lattice"]

ROUTES = ("stuffing", "lattice")
VOLUME_TOLERANCE = 0.006  # relative error of the total volume that ends the search for the level
VOLUME_TRIALS = 5
SLOPES = (0.5, 8.0)  # of the secant search for the level: snapping makes the volume grow in small steps
SATURATION = 1e-4  # smoothed values closer to 0 or 1 lie more than 3.7 standard deviations from the surface
REPAIR_TARGET = 20.0  # degrees; stuffing leaves 13 without grading
SMALLEST_ANGLE = 5.0  # degrees, below which a mesh is refused
MOST_CUBES = 6_000_000  # lattice cubes over the bounding box; a brain at 1 mm takes about 3 million and 8 GB


def build_mesh(
    white: Volume,
    grey: Volume,
    size: float,
    route: Route = "stuffing",
    grading: Grading | None = None,
    box: Box | None = None,
) -> tuple[TetMesh, QualityReport]:
    """Mesh the brain, or the part of it in a box.

    Args:
        white: white-matter probability, 0..1, with any affine.
        grey: grey-matter probability on the same grid.
        size: edge length, mm (mean edge of the stuffing lattice, edge of the lattice route's boxes).
        route: "stuffing" (smooth surface, graded) or "lattice" (no obtuse angle).
        grading: ball that keeps `size`, and the size far from it; uniform if absent.
        box: lower and upper RAS corner, mm. What lies outside is cut away: there is no flux through the
            cut, and the report compares with the image inside the box.

    Returns:
        The mesh, and its report, free of any `quality_problem`.

    Raises:
        MeshError: no mesh can be made of these maps at this size; the message says what would work.
    """
    if route not in ROUTES:
        raise MeshError(f"mesh route {route!r} is unknown: use one of {', '.join(ROUTES)}")
    domain = brain_domain(white, grey, size, grading, box)
    if grading is not None:
        grading.require_coarser_than(size)
    _require_affordable(domain, size, grading)
    points, cells = _stuffed(domain, size, grading) if route == "stuffing" else lattice_mesh(domain, size, grading)
    if not len(cells):
        raise MeshError(_too_coarse(domain, size, "leaves no cell inside the brain"))
    volumes = cell_volumes(points, cells)
    tissue = fractions((white.data, grey.data), white, points, cells, volumes)
    mesh = TetMesh(points, cells, tissue[0], tissue[1], float(size), route)
    report = measure_quality(mesh, domain, size if grading is None else grading.far_size)
    if (problem := quality_problem(report, SMALLEST_ANGLE)) is not None:
        raise MeshError(_too_coarse(domain, size, f"does not suit these maps ({problem})"))
    return mesh, report


def _stuffed(domain: Domain, size: float, grading: Grading | None) -> tuple[Floats, Ints]:
    """Isosurface stuffing at the level that gives the image's volume, in one piece, repaired."""
    lattice = _background(domain, size, grading)
    depth = _depth(sample(domain.smoothed, lattice.points))
    best, points, cells = np.inf, np.empty((0, 3)), np.empty((0, 4), dtype=np.int64)
    aim, slope = (
        1.0,
        2.0,
    )  # volume to aim for over the image's, and the mesh's gain with it
    last: tuple[float, float] | None = None
    for _ in range(VOLUME_TRIALS):
        above = depth - _depth(domain.level(aim * domain.volume))
        trial = stuff(lattice, inner_cells(lattice, above > 0), above)
        error = float(cell_volumes(*trial).sum()) / domain.volume - 1
        if abs(error) < best and len(trial[1]):
            best, (points, cells) = abs(error), trial
        if best < VOLUME_TOLERANCE or not len(trial[1]):
            break
        if last is not None and last[0] != aim:
            slope = float(np.clip((last[1] - error) / (last[0] - aim), *SLOPES))
        last, aim = (aim, error), aim - error / slope
    if not len(cells):
        return points, cells
    points, cells = _largest_piece(points, cells)
    return repair(points, cells, REPAIR_TARGET), cells


def _depth(smoothed: ArrayLike) -> Floats:
    """Depth below the surface in standard deviations of the smoothing, exact at a plane (the inverse of erf's kin).

    The surface is found by linear interpolation along lattice edges, for which the smoothed step itself is too curved.
    """
    return np.asarray(ndtri(np.clip(smoothed, SATURATION, 1 - SATURATION)))


def _background(domain: Domain, size: float, grading: Grading | None) -> Lattice:
    """The lattice around the region, anchored at the RAS origin, or at a grading's centre and pulled outwards."""
    lower, upper = domain.bounds()
    if grading is None:
        return bcc_lattice(lower - size, upper + size, size / MEAN_EDGE, np.zeros(3))
    near, far = _before_grading(grading, lower - grading.far_size, upper + grading.far_size, size)
    lattice = bcc_lattice(near, far, size / MEAN_EDGE, grading.centre)
    return Lattice(grading.outward(lattice.points, size), lattice.shape)


def _before_grading(grading: Grading, lower: Floats, upper: Floats, size: float) -> Box:
    """A box that the grading maps onto more than the given one: the map never moves a point towards the centre."""
    below = grading.inward(np.maximum(grading.centre - lower, 0.0), size)
    above = grading.inward(np.maximum(upper - grading.centre, 0.0), size)
    return grading.centre - below, grading.centre + above


def _largest_piece(points: Floats, cells: Ints) -> tuple[Floats, Ints]:
    """The face-connected piece of largest volume, without unused vertices."""
    points, cells = compact(points, cells)
    labels = component_labels(len(cells), face_table(cells).neighbours)
    if not labels.any():
        return points, cells
    return compact(points, cells[labels == np.bincount(labels, weights=cell_volumes(points, cells)).argmax()])


def _require_affordable(domain: Domain, size: float, grading: Grading | None) -> None:
    lower, upper = domain.bounds() if grading is None else _before_grading(grading, *domain.bounds(), size)
    cubes = float(np.prod((upper - lower) / size))
    if cubes > MOST_CUBES:
        least = size * (cubes / MOST_CUBES) ** (1 / 3)
        raise MeshError(
            f"mesh size {size:g} mm needs {cubes:.2g} lattice cubes, at most {MOST_CUBES:.2g} are allowed: "
            f"give at least {np.ceil(100 * least) / 100:g} mm, or a box"
        )


def _too_coarse(domain: Domain, size: float, what: str) -> str:
    """A message that names a size which the thickest part of the region can take."""
    return f"mesh size {size:g} mm {what}: try {min(usable_size(domain), size / 2):.2g} mm or less"
