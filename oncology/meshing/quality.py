"""Quality of a mesh: geometry, topology and how well it matches the image it was made from.

Volumes and the symmetric difference come from the fraction of each cell that the image's region fills, not from voxel
centres inside cells, so they hold at any ratio of cells to voxels. A mesh may differ from the image only
within one mesh size of the surface: lost ventricles or lobes need not show in any total volume.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncology.imaging.volume import Volume
from oncology.meshing.averaging import fractions
from oncology.meshing.dihedral import dihedral_range
from oncology.meshing.domain import Domain
from oncology.meshing.mesh import TetMesh
from oncology.meshing.topology import boundary_edges, component_labels, face_table

__all__ = ["QualityReport", "measure_quality", "quality_problem"]

type Floats = NDArray[np.float64]

TOLERANCE = 0.05  # relative error of the total volume, and of a tissue's volume beyond what the surface explains
LEAST_LIKENESS = 0.4  # symmetric difference above which a mesh does not show the image's shape at all
DEEP_TOLERANCE = 0.01  # of the brain's volume: above the noise of sampling, below a healthy adult's ventricles (2 %)


@dataclass(frozen=True)
class QualityReport:
    """Figures of one mesh; relative errors are fractions (0.01 is one per cent).

    Attributes:
        vertices: number of vertices.
        cells: number of tetrahedra.
        volume: mesh volume, mm^3.
        image_volume: volume of the image's region, mm^3.
        volume_error: (volume - image_volume) / image_volume.
        symmetric_difference: volume in one of mesh and image only, over image_volume.
        white_volume: white-matter volume of the image's region, mm^3.
        grey_volume: grey-matter volume of the image's region, mm^3.
        white_volume_error: relative error of the mesh's white-matter volume.
        grey_volume_error: relative error of the mesh's grey-matter volume.
        fluid_inside: volume in the mesh of fluid further than one mesh size from all brain, over image_volume.
        brain_outside: volume outside the mesh of brain further than one mesh size from all else, over image_volume.
        smallest_cell: smallest signed cell volume, mm^3.
        smallest_angle: smallest dihedral angle, degrees.
        low_angle: angle below which the smallest angles of 1 % of the cells lie, degrees.
        median_angle: median of the cells' smallest dihedral angles, degrees.
        largest_angle: largest dihedral angle, degrees.
        coarsest: largest requested edge length, mm: the far size of a graded mesh, else the mesh size.
        components: number of face-connected pieces.
        overfull_faces: faces shared by three or more cells.
        folded_faces: inner faces with both cells on one side.
        open_edges: boundary edges with an odd number of boundary faces.
        pinched_edges: boundary edges with four or more boundary faces (allowed: P1 elements are not affected).
    """

    vertices: int
    cells: int
    volume: float
    image_volume: float
    volume_error: float
    symmetric_difference: float
    white_volume: float
    grey_volume: float
    white_volume_error: float
    grey_volume_error: float
    fluid_inside: float
    brain_outside: float
    smallest_cell: float
    smallest_angle: float
    low_angle: float
    median_angle: float
    largest_angle: float
    coarsest: float
    components: int
    overfull_faces: int
    folded_faces: int
    open_edges: int
    pinched_edges: int

    def as_dict(self) -> dict[str, float | int | str]:
        """Plain numbers by name, for JSON and tables."""
        return asdict(self)


def measure_quality(mesh: TetMesh, domain: Domain, coarsest: float | None = None) -> QualityReport:
    """Measure a mesh against the region it represents.

    Args:
        mesh: any route.
        domain: the region, cropped as the mesh is.
        coarsest: largest requested edge length, mm, if the mesh is graded; the mesh's size otherwise.
    """
    volumes = mesh.volumes
    faces = face_table(mesh.cells)
    edges = boundary_edges(faces.boundary)
    smallest, largest = dihedral_range(mesh.points, mesh.cells)
    reach = coarsest or mesh.size
    volume, wanted = float(volumes.sum()), domain.volume
    mask = domain.mask
    fluid, core = _deep(mask.with_data(~mask.data), reach), _deep(mask, reach)
    shares = fractions((mask.data, fluid, core), mask, mesh.points, mesh.cells, volumes)
    shared, fluid_inside, core_inside = (float((share * volumes).sum()) for share in shares)
    return QualityReport(
        vertices=len(mesh.points),
        cells=len(mesh.cells),
        volume=volume,
        image_volume=wanted,
        volume_error=volume / wanted - 1,
        symmetric_difference=(volume + wanted - 2 * shared) / wanted,
        white_volume=domain.white,
        grey_volume=domain.grey,
        white_volume_error=_relative(float((mesh.white * volumes).sum()), domain.white),
        grey_volume_error=_relative(float((mesh.grey * volumes).sum()), domain.grey),
        fluid_inside=fluid_inside / wanted,
        brain_outside=max(float(np.count_nonzero(core)) * mask.voxel_volume - core_inside, 0.0) / wanted,
        smallest_cell=float(volumes.min()),
        smallest_angle=float(smallest.min()),
        low_angle=float(np.quantile(smallest, 0.01)),
        median_angle=float(np.median(smallest)),
        largest_angle=float(largest.max()),
        coarsest=reach,
        components=int(component_labels(len(mesh.cells), faces.neighbours).max()) + 1,
        overfull_faces=faces.overfull,
        folded_faces=faces.folded,
        open_edges=int((edges % 2).sum()),
        pinched_edges=int((edges > 2).sum()),
    )


def quality_problem(report: QualityReport, smallest_angle: float) -> str | None:
    """Why no finite-element solve should be run on a mesh, or `None`.

    A tissue's volume may be off by TOLERANCE beyond what the mismatch of the surface explains: a mesh of the right
    total volume still exchanges some brain for fluid, by a fraction that grows with the cells' size over the thickness
    of the tissue there (cortex: about 2.5 mm), and nothing was lost as long as that mismatch stays at the surface.

    Args:
        report: from `measure_quality`.
        smallest_angle: smallest allowed dihedral angle, degrees.

    Returns:
        The first of: cells turned over, overlapping or in several pieces, a small angle, brain lost, fluid filled.
    """
    r, percent = report, 100.0
    geometry = (
        (r.smallest_cell <= 0, f"smallest cell volume {r.smallest_cell:.3g} mm^3 is not positive"),
        (r.overfull_faces > 0, f"{r.overfull_faces} faces belong to three or more cells"),
        (r.folded_faces > 0, f"{r.folded_faces} faces have both cells on one side"),
        (r.open_edges > 0, f"{r.open_edges} boundary edges are open"),
        (r.components > 1, f"the cells form {r.components} pieces that share no face, expected 1"),
        (
            r.smallest_angle < smallest_angle,
            f"smallest dihedral angle {r.smallest_angle:.3g} degrees is below {smallest_angle:g}",
        ),
    )
    likeness = (
        (
            r.fluid_inside > DEEP_TOLERANCE,
            f"fluid of {percent * r.fluid_inside:.1f} % of the brain's volume is in the mesh (lost ventricles?), "
            f"allowed {percent * DEEP_TOLERANCE:g} %",
        ),
        (
            r.brain_outside > DEEP_TOLERANCE,
            f"{percent * r.brain_outside:.1f} % of the brain is missing, allowed {percent * DEEP_TOLERANCE:g} %",
        ),
        (
            r.symmetric_difference > LEAST_LIKENESS,
            f"it differs from the image by {percent * r.symmetric_difference:.0f} % of the brain's volume, "
            f"allowed {percent * LEAST_LIKENESS:g} %",
        ),
        (
            abs(r.volume_error) > TOLERANCE,
            f"its volume is off by {percent * r.volume_error:+.1f} %, allowed {percent * TOLERANCE:g} %",
        ),
        _tissue_check(r, "white", r.white_volume, r.white_volume_error),
        _tissue_check(r, "grey", r.grey_volume, r.grey_volume_error),
    )
    return next((what for failed, what in geometry + likeness if failed), None)


def _tissue_check(report: QualityReport, name: str, volume: float, error: float) -> tuple[bool, str]:
    """Whether a tissue's volume is off by more than TOLERANCE beyond the volume missed (or added) at the surface."""
    side = np.sign(error) * report.volume_error
    surface = (report.symmetric_difference + side) / 2 * report.image_volume / max(volume, report.image_volume * 1e-9)
    allowed = TOLERANCE + surface
    return abs(error) > allowed, f"{name}-matter volume is off by {100 * error:+.1f} %, allowed {100 * allowed:.1f} %"


def _deep(mask: Volume, reach: float) -> NDArray[np.bool_]:
    """Voxels of a mask in the middle of a cube of edge 2 `reach` (mm) that lies wholly in it."""
    width = tuple(2 * np.ceil(reach / mask.voxel_sizes).astype(int) + 1)
    return np.asarray(ndimage.minimum_filter(mask.data.view(np.uint8), size=width, mode="nearest") == 1)


def _relative(value: float, wanted: float) -> float:
    return value / wanted - 1 if wanted > 0 else 0.0
