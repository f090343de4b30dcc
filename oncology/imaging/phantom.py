"""Synthetic patients: a tumour grown on the voxels of tissue maps by explicit finite volumes (Swanson et al. 2000).

Deliberately another discretisation than the finite elements that later fit it (harmonic face diffusivities, forward
Euler, voxels), so that no experiment on it inverts the scheme that made it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oncology.imaging.template import mni152_tissue
from oncology.imaging.volume import Volume, write_volume

__all__ = ["Phantom", "grow_phantom", "write_demo_case", "write_phantom_case"]

type Floats = NDArray[np.float64]

_RIMS = (0.8, 0.6, 0.25)  # density above which necrosis, enhancement and oedema show
_LABELS = (1, 3, 2)  # their values in the segmentation (BraTS 2021)


@dataclass(frozen=True)
class Phantom:
    """A synthetic tumour.

    Attributes:
        diffusion_white: D_w, mm^2/day.
        diffusion_grey: D_g, mm^2/day.
        proliferation: rho, 1/day.
        seed: position, RAS mm.
        onset: day of the seed.
        days: days of the scans, ascending, after onset.
        step: time step, day; must stay below h^2 / (6 D_w).
        reach: half the edge of the box around the seed in which the tumour is computed, mm.
    """

    diffusion_white: float
    diffusion_grey: float
    proliferation: float
    seed: Sequence[float]
    onset: float
    days: Sequence[float]
    step: float = 0.5
    reach: float = 60.0


def grow_phantom(white: Volume, grey: Volume, phantom: Phantom) -> list[Volume]:
    """Return the density (0..1) on each day, on the grid of the maps.

    The seed is `0.5 exp(-r^2/20)` (r in mm), cut below 0.1; tissue is where white + grey > 0.5.
    """
    seed = np.asarray(phantom.seed, dtype=float)
    corner = np.floor(white.voxel(np.array([seed - phantom.reach, seed + phantom.reach]))).astype(int)
    box = tuple(slice(max(a, 0), max(b, 0)) for a, b in zip(corner.min(axis=0), corner.max(axis=0), strict=True))
    p_white, p_grey = (tissue.data[box].astype(float) for tissue in (white, grey))
    tissue = p_white + p_grey > 0.5
    diffusivity = (phantom.diffusion_white * p_white + phantom.diffusion_grey * p_grey) * tissue
    faces = [_face_diffusivity(diffusivity, axis) / size**2 for axis, size in enumerate(white.voxel_sizes)]
    origin = np.array([part.start for part in box])
    centres = white.world(np.argwhere(np.ones(tissue.shape, dtype=bool)) + origin).reshape(*tissue.shape, 3)
    u = 0.5 * np.exp(-((centres - seed) ** 2).sum(axis=-1) / 20.0)
    u = np.where((u >= 0.1) & tissue, u, 0.0)
    densities, now = [], phantom.onset
    for day in phantom.days:
        steps = max(1, round((day - now) / phantom.step))
        for _ in range(steps):
            u = _explicit_step(u, faces, phantom.proliferation, (day - now) / steps)
        now = day
        density = np.zeros(white.shape)
        density[box] = u
        densities.append(white.with_data(density))
    return densities


def write_phantom_case(
    root: Path, name: str, white: Volume, grey: Volume, phantom: Phantom, densities: Sequence[Volume], solver: str
) -> None:
    """Write maps, segmentations, `case.toml` and `truth.json` of a phantom as a case folder."""
    (root / "anat").mkdir(parents=True, exist_ok=True)
    for tissue, volume in (("WM", white), ("GM", grey)):
        write_volume(root / "anat" / f"sub-{name}_label-{tissue}_probseg.nii.gz", volume, np.float32)
    sessions = [f"ses-{k + 1:02d}" for k in range(len(densities))]
    for session, density in zip(sessions, densities, strict=True):
        labels = np.select([density.data > rim for rim in _RIMS], _LABELS)
        folder = root / session / "anat"
        folder.mkdir(parents=True, exist_ok=True)
        write_volume(folder / f"sub-{name}_{session}_desc-tumor_dseg.nii.gz", density.with_data(labels), np.uint8)
    entries = "".join(
        f'\n[[session]]\nid = "{session}"\nday = {float(day)}\n'
        for session, day in zip(sessions, phantom.days, strict=True)
    )
    (root / "case.toml").write_text(
        f'[subject]\nid = "{name}"\n\n'
        '[labels]\ntable = "brats2021"   # necrosis 1, oedema 2, enhancing 3 (or 4)\n\n'
        "[thresholds]          # cell density at the visible boundary of each compartment\n"
        f"oedema = {_RIMS[2]}\ncore = {_RIMS[1]}            # core = necrosis + enhancing\n{entries}",
        encoding="utf-8",
    )
    truth: Mapping[str, object] = {
        "solver": solver,
        "diffusion_white": phantom.diffusion_white,
        "diffusion_grey": phantom.diffusion_grey,
        "proliferation": phantom.proliferation,
        "seed_mm": list(phantom.seed),
        "onset": phantom.onset,
        "initial": "0.5 exp(-r^2/20), cut below 0.1",
        "thresholds": {"oedema": _RIMS[2], "core": _RIMS[1]},
    }
    (root / "truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")


def write_demo_case(root: Path) -> None:
    """Write the synthetic patient of `oncology demo`: a tumour in the MNI152 brain with two scans, as a case folder."""
    white, grey = mni152_tissue()
    phantom = Phantom(
        diffusion_white=0.22,
        diffusion_grey=0.022,
        proliferation=0.025,
        seed=(-30.0, -24.0, 30.0),
        onset=-240.0,
        days=(0.0, 40.0),
        reach=48.0,
    )
    densities = grow_phantom(white, grey, phantom)
    write_phantom_case(root, "demo", white, grey, phantom, densities, "explicit finite volumes, 1 mm voxels")


def _face_diffusivity(diffusivity: Floats, axis: int) -> Floats:
    """Return the harmonic mean across the inner faces of an axis; zero next to voxels without tissue."""
    lower, upper = _sides(axis)
    a, b = diffusivity[lower], diffusivity[upper]
    return np.divide(2.0 * a * b, a + b, out=np.zeros_like(a), where=(a > 0.0) & (b > 0.0))


def _explicit_step(u: Floats, faces: Sequence[Floats], proliferation: float, step: float) -> Floats:
    """Return the density after one forward Euler step; `faces` holds diffusivities over the squared voxel size."""
    change = proliferation * u * (1.0 - u)
    for axis, diffusivity in enumerate(faces):
        lower, upper = _sides(axis)
        flux = diffusivity * (u[upper] - u[lower])
        change[lower] += flux
        change[upper] -= flux
    return np.asarray(u + step * change)


def _sides(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    lower, upper = [slice(None)] * 3, [slice(None)] * 3
    lower[axis], upper[axis] = slice(None, -1), slice(1, None)
    return tuple(lower), tuple(upper)
