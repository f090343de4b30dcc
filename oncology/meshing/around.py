"""Meshes of a case's brain by a recipe, fine around the tumour."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from oncology.imaging.case import Case
from oncology.meshing.cache import cached_mesh
from oncology.meshing.grading import Grading
from oncology.meshing.mesh import TetMesh
from oncology.meshing.quality import QualityReport
from oncology.meshing.recipe import Recipe

__all__ = ["around_tumour", "built_mesh", "far_size_of"]

COARSENING = 1.6  # edge length far from the tumour over that around it
REACH = 5.0  # mm around the segmentations that the fine ball covers too


def far_size_of(size: float) -> float:
    """Return the default edge length far from the tumour, mm."""
    return COARSENING * size


def built_mesh(case: Case, recipe: Recipe, cache: Path | None) -> tuple[TetMesh, QualityReport]:
    """Return the mesh of a recipe for a case, from the cache folder if there is one."""
    if cache is None:
        return recipe.build(case.white, case.grey)
    return cached_mesh(cache, case.white, case.grey, recipe.size, recipe.route, recipe.grading, recipe.box)


def around_tumour(case: Case, far_size: float) -> Grading:
    """Return a fine ball that covers every segmentation and what lies within 5 mm of it."""
    tumour = np.concatenate([session.whole.world(np.argwhere(session.whole.data)) for session in case.sessions])
    centre = (tumour.min(axis=0) + tumour.max(axis=0)) / 2
    radius = float(np.linalg.norm(tumour - centre, axis=1).max()) + REACH
    return Grading(np.round(centre, 3), round(radius, 3), far_size)
