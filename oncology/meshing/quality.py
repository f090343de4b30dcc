"""What a mesh is worth: geometry, topology and how well it matches the image it was made from.

Volumes and the symmetric difference come from the share of each cell that the image's region fills, not from voxel
centres inside cells, so they hold at any ratio of cells to voxels. Fluid further than one mesh size from all brain must
stay outside the mesh: lost ventricles do not show in any total volume.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oncology.meshing.averaging import fraction
from oncology.meshing.dihedral import dihedral_range
from oncology.meshing.domain import Domain
from oncology.meshing.mesh import TetMesh
from oncology.meshing.topology import boundary_edges, component_labels, face_table

__all__ = ["QualityReport", "measure_quality", "quality_problem"]

type Floats = NDArray[np.float64]

TISSUE_TOLERANCE = 0.05  # relative error of a tissue's volume
CORTEX = 2.5  # mm, mean thickness of the cortex
FLUID_TOLERANCE = 0.005  # of the brain's volume; the ventricles of a healthy adult are about 2 %


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
        white_volume_error: relative error of the white-matter volume.
        grey_volume_error: relative error of the grey-matter volume.
        fluid_inside: mesh volume in fluid further than one mesh size from all brain, over image_volume.
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
        pinched_edges: boundary edges with four or more boundary faces (allowed, P1 elements do not mind).
    """

    vertices: int
    cells: int
    volume: float
    image_volume: float
    volume_error: float
    symmetric_difference: float
    white_volume_error: float
    grey_volume_error: float
    fluid_inside: float
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
    """Measure a mesh against the region it stands for.

    Args:
        mesh: any route.
        domain: the region, cropped as the mesh is.
        coarsest: largest wanted edge length, mm, if the mesh is graded; the mesh's size otherwise.
    """
    volumes = mesh.volumes
    faces = face_table(mesh.cells)
    edges = boundary_edges(faces.boundary)
    smallest, largest = dihedral_range(mesh.points, mesh.cells)
    reach = coarsest or mesh.size
    volume, wanted = float(volumes.sum()), domain.volume
    filled = fraction(domain.mask.with_data(domain.mask.data.astype(np.float32)), mesh.points, mesh.cells, volumes, 0)
    shared = float((filled * volumes).sum())
    return QualityReport(
        vertices=len(mesh.points),
        cells=len(mesh.cells),
        volume=volume,
        image_volume=wanted,
        volume_error=volume / wanted - 1,
        symmetric_difference=(volume + wanted - 2 * shared) / wanted,
        white_volume_error=_relative(float((mesh.white * volumes).sum()), domain.white),
        grey_volume_error=_relative(float((mesh.grey * volumes).sum()), domain.grey),
        fluid_inside=_fluid_inside(mesh, domain, filled, reach) / wanted,
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

    White matter may be off by TISSUE_TOLERANCE. For grey matter that holds as long as cells are no longer than the
    cortex is thick (CORTEX, mm; Fischl & Dale, PNAS 97 (2000)); coarser cells trade more of the thin ribbon for fluid
    although the volume of the whole is matched, so the tolerance grows in proportion to `coarsest` over CORTEX.

    Args:
        report: from `measure_quality`.
        smallest_angle: smallest allowed dihedral angle, degrees.

    Returns:
        The first of: cells turned over, overlapping or in several pieces, too small an angle, tissue lost, fluid filled.
    """
    grey_tolerance = TISSUE_TOLERANCE * max(1.0, report.coarsest / CORTEX)
    checks = (
        (report.smallest_cell <= 0, f"smallest cell volume {report.smallest_cell:.3g} mm^3 is not positive"),
        (report.overfull_faces > 0, f"{report.overfull_faces} faces belong to three or more cells"),
        (report.folded_faces > 0, f"{report.folded_faces} faces have both cells on one side"),
        (report.open_edges > 0, f"{report.open_edges} boundary edges are open"),
        (report.components > 1, f"the cells form {report.components} pieces that share no face, expected 1"),
        (
            report.smallest_angle < smallest_angle,
            f"smallest dihedral angle {report.smallest_angle:.3g} degrees is below {smallest_angle:g}",
        ),
        (
            abs(report.white_volume_error) > TISSUE_TOLERANCE,
            f"white-matter volume is off by {100 * report.white_volume_error:+.1f} %, allowed {100 * TISSUE_TOLERANCE:g} %",
        ),
        (
            abs(report.grey_volume_error) > grey_tolerance,
            f"grey-matter volume is off by {100 * report.grey_volume_error:+.1f} %, allowed {100 * grey_tolerance:.3g} %",
        ),
        (
            report.fluid_inside > FLUID_TOLERANCE,
            f"{100 * report.fluid_inside:.1f} % of the brain's volume is fluid inside the mesh (lost ventricles?), "
            f"allowed {100 * FLUID_TOLERANCE:g} %",
        ),
    )
    return next((what for failed, what in checks if failed), None)


def _fluid_inside(mesh: TetMesh, domain: Domain, filled: Floats, reach: float) -> float:
    """Mesh volume (mm^3) around voxels that are centres of a brain-free cube of edge 2 `reach`."""
    partial = np.flatnonzero(filled < 1.0)
    width = 2 * np.ceil(reach / domain.mask.voxel_sizes).astype(int) + 1
    brain = ndimage.maximum_filter(domain.mask.data.view(np.uint8), size=tuple(width), mode="constant")
    fluid = domain.mask.with_data((brain == 0).astype(np.float32))
    volumes = mesh.volumes[partial]
    return float((fraction(fluid, mesh.points, mesh.cells[partial], volumes, 0) * volumes).sum())


def _relative(value: float, wanted: float) -> float:
    return value / wanted - 1 if wanted > 0 else 0.0
