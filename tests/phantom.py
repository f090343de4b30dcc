"""A patient grown by explicit finite volumes on 2 mm voxels: another discretisation than the one that fits it.

Heun steps of the unsplit equation with harmonic face diffusivities in an ellipsoidal brain with folded grey matter,
from a Gaussian cut below 0.1 as in the public code; radiotherapy multiplies the density at the fractions' days.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oncology.model.treatment import Radiotherapy
from tests.cases import centres, save, write_toml

SEMI_AXES = np.array([44.0, 48.0, 42.0])
VOXEL = 2.0


@dataclass(frozen=True)
class Phantom:
    """Truth of a patient; mm, day, mm^2/day, 1/day."""

    diffusion_white: float = 0.25
    diffusion_grey: float = 0.05
    proliferation: float = 0.03
    seed: tuple = (12.0, -8.0, 5.0)  # or several centres
    onset: float = -170.0
    days: tuple[float, ...] = (0.0, 40.0)
    thresholds: tuple[float, float] = (0.25, 0.60)
    treatment: Radiotherapy | None = None

    @property
    def front_speed(self) -> float:
        return 2.0 * math.sqrt(self.diffusion_white * self.proliferation)

    def grow(self, step: float = 1.0) -> list[np.ndarray]:
        """Density on the voxels on each day."""
        points, tissue, white = self._brain()
        diffusion = (self.diffusion_white * white + self.diffusion_grey * (1.0 - white)) * tissue
        faces = [_harmonic(diffusion, axis) / VOXEL**2 for axis in range(3)]
        u = np.zeros(tissue.shape)
        for seed in np.reshape(self.seed, (-1, 3)):
            u = np.maximum(u, 0.5 * np.exp(-((points - seed) ** 2).sum(axis=-1) / 20.0))
        u = np.where((u >= 0.1) & tissue, u, 0.0)
        shown = {}
        fractions = [] if self.treatment is None else list(self.treatment.days)
        events = sorted({*self.days, *(day for day in fractions if day < self.days[-1])})
        for start, end in zip([self.onset, *events[:-1]], events, strict=True):
            steps = math.ceil((end - start) / step)
            for _ in range(steps):
                first = self._change(u, faces)
                second = self._change(u + (end - start) / steps * first, faces)
                u = u + 0.5 * (end - start) / steps * (first + second)
            shown[end] = u
            if end in fractions:
                u = u * self.treatment.survival
        return [shown[day] for day in self.days]

    def write(self, folder: Path, id: str = "phantom") -> Path:
        """Write the case in the layout of the package, labels as in BraTS 2017 (necrosis and enhancing are core)."""
        _, affine = _grid()
        _, tissue, white = self._brain()
        root = folder / f"sub-{id}"
        for name, map_ in (("WM", white * tissue), ("GM", (1.0 - white) * tissue)):
            save(root / "anat" / f"sub-{id}_label-{name}_probseg.nii.gz", map_.astype(np.float32), affine)
        oedema, core = self.thresholds
        for number, density in enumerate(self.grow(), start=1):
            labels = np.select([density > 0.5 * (1.0 + core), density > core, density > oedema], [1, 4, 2])
            path = root / f"ses-0{number}" / "anat" / f"sub-{id}_ses-0{number}_desc-tumor_dseg.nii.gz"
            save(path, labels.astype(np.uint8), affine)
        t = self.treatment
        treatments = []
        if t is not None:
            given = {"day": t.day, "dose_gy": t.dose_gy, "fractions": t.fractions}
            treatments = [{"kind": "radiotherapy", **given, "alpha": t.alpha, "alpha_beta": t.alpha_beta}]
        content = {
            "subject": {"id": id},
            "labels": {"table": "brats2017"},
            "thresholds": {"oedema": oedema, "core": core},
            "session": [{"id": f"ses-0{k}", "day": day} for k, day in enumerate(self.days, start=1)],
            "treatment": treatments,
        }
        write_toml(root, content)
        return root

    def _change(self, u: np.ndarray, faces: list[np.ndarray]) -> np.ndarray:
        change = self.proliferation * u * (1.0 - u)
        for axis, face in enumerate(faces):
            flux = np.moveaxis(face * np.diff(u, axis=axis), axis, 0)
            moved = np.moveaxis(change, axis, 0)
            moved[:-1] += flux
            moved[1:] -= flux
        return change

    def _brain(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Voxel centres, the indicator of tissue, and white matter with folds 12 mm deep."""
        shape, affine = _grid()
        points = centres(shape, affine)
        radius = np.linalg.norm(points / SEMI_AXES, axis=-1)
        folds = 0.12 * np.sin(points[..., 0] / 5.0) * np.cos(points[..., 1] / 6.0)
        return points, radius < 1.0, (radius + folds < 0.72).astype(float)


def _grid() -> tuple[tuple[int, int, int], np.ndarray]:
    shape = tuple(int(n) for n in np.ceil(2.0 * (SEMI_AXES + 4.0) / VOXEL))
    affine = np.diag([VOXEL, VOXEL, VOXEL, 1.0])
    affine[:3, 3] = -VOXEL * (np.array(shape) - 1.0) / 2.0
    return shape, affine


def _harmonic(diffusion: np.ndarray, axis: int) -> np.ndarray:
    """Diffusivity of the inner faces across an axis; none where either side has no tissue."""
    values = np.moveaxis(diffusion, axis, 0)
    low, high = values[:-1], values[1:]
    mean = np.divide(2.0 * low * high, low + high, out=np.zeros_like(low), where=(low > 0.0) & (high > 0.0))
    return np.moveaxis(mean, 0, axis)
