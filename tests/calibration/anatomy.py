"""A small brain for the coverage benchmark's tests: an ellipsoid with white matter in folded grey matter, 2 mm."""

import numpy as np

from benchmarks.calibration_patients import Anatomy

SEMI_AXES = np.array([46.0, 50.0, 44.0])  # mm
SPACING = 2.0


def small_brain() -> Anatomy:
    """White matter where a folded ellipsoid says so, grey matter around it."""
    shape = np.ceil(2.0 * (SEMI_AXES + 4.0) / SPACING).astype(int)
    affine = np.diag([SPACING, SPACING, SPACING, 1.0])
    affine[:3, 3] = -SPACING * (shape - 1.0) / 2.0
    points = np.moveaxis(np.indices(shape), 0, -1) * SPACING + affine[:3, 3]
    radius = np.linalg.norm(points / SEMI_AXES, axis=-1)
    folds = 0.12 * np.sin(points[..., 0] / 5.0) * np.cos(points[..., 1] / 6.0)
    tissue = radius < 1.0
    white = (tissue & (radius + folds < 0.72)).astype(float)
    return Anatomy(white, tissue - white, affine)
