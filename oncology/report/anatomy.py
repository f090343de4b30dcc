"""What the three-dimensional view shows: the brain around the model's tumour at the last session.

The brain is the surface of the tissue maps where the case is available, else the boundary of the mesh, which ends
where the fit solved near the tumour only.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from oncology.imaging import Volume
from oncology.meshing.topology import face_table
from oncology.report import style
from oncology.report.scene import Scene, Shell
from oncology.results.files import Results

__all__ = ["brain_and_tumour"]

SPACING = 2.2  # mm, between the samples of the brain surface: finer shows no more at the size of the picture
BRAIN, BRAIN_OPACITY = "#8c96a0", 0.14
OPACITY = {"core": 1.0, "whole": 0.28}


def brain_and_tumour(results: Results) -> Scene:
    """Put together the scene of the last session's density."""
    density = results.densities[results.sessions[-1]]
    colours = {"core": style.MODEL["core"], "whole": style.SCAN["whole"]}
    shells = [
        Shell(density.data, density.affine, results.threshold[region], colours[region], OPACITY[region])
        for region in ("core", "whole")
    ]
    points, faces = np.empty((0, 3)), np.empty((0, 3), dtype=np.int64)
    if results.case is not None:
        shells.append(_brain(results.case.white, results.case.grey))
    else:
        points, faces = results.mesh.points, face_table(results.mesh.cells).boundary
    return Scene(tuple(shells), points, faces, BRAIN, BRAIN_OPACITY, _side(results, density))


def _brain(white: Volume, grey: Volume) -> Shell:
    """Tissue smoothed and thinned out to about SPACING."""
    tissue = np.asarray(white.data + grey.data, dtype=np.float32)
    every = np.maximum(np.round(SPACING / white.voxel_sizes).astype(int), 1)
    smooth = ndimage.gaussian_filter(tissue, 0.5 * SPACING / white.voxel_sizes)
    thinned = smooth[:: every[0], :: every[1], :: every[2]]
    return Shell(thinned, white.affine @ np.diag([*every, 1.0]), 0.5, BRAIN, BRAIN_OPACITY)


def _side(results: Results, density: Volume) -> str:
    """The side of the brain on which the tumour lies."""
    tumour = density.world(np.argwhere(density.data >= 0.5 * density.data.max()))[:, 0].mean()
    if results.case is None:
        middle = float(results.mesh.points[:, 0].mean())
    else:
        lower, upper = results.case.white.bounds()
        middle = 0.5 * float(lower[0] + upper[0])
    return "right" if tumour > middle else "left"
