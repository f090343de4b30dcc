"""Grow the example patient `sub-example01` in the MNI152 brain and write it as a case folder.

Explicit finite volumes on 2 mm voxels, Fisher-Kolmogorov growth (Swanson et al. 2000): deliberately another
discretisation than the finite elements that later fit the case. Run `python data/make_example.py` to write the folder
again; it takes a quarter of a minute.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template
from numpy.typing import NDArray

from oncology.imaging import Volume, resample_to, write_volume

DIFFUSION_WHITE, DIFFUSION_GREY = 0.20, 0.02  # mm^2/day
PROLIFERATION = 0.025  # 1/day
SEED = (34.0, -20.0, 30.0)  # mm RAS
OEDEMA, CORE, NECROSIS = 0.25, 0.60, 0.80  # density above which each compartment shows
START, STEP = -260.0, 0.5  # day
SCANS = {"ses-01": 0.0, "ses-02": 42.0}  # day
LEVELS = 250  # steps of the stored probabilities
REACH = 60.0  # mm around the seed in which the tumour is computed

CASE_TOML = """[subject]
id = "example01"

[labels]
table = "brats2021"   # necrosis 1, oedema 2, enhancing 3 (or 4)

[thresholds]          # cell density at the visible rim of each compartment
oedema = 0.25
core = 0.60           # core = necrosis + enhancing

[[session]]
id = "ses-01"
day = 0.0

[[session]]
id = "ses-02"
day = 42.0
"""


TRUTH = {
    "solver": "explicit finite volumes, 2 mm voxels, steps of 0.5 day (data/make_example.py)",
    "diffusion_white": DIFFUSION_WHITE,
    "diffusion_grey": DIFFUSION_GREY,
    "proliferation": PROLIFERATION,
    "seed_mm": SEED,
    "initial": f"0.5 exp(-r^2/20), cut below 0.1, on day {START:g}",
    "thresholds": {"oedema": OEDEMA, "core": CORE},
}


def template(load: Callable[..., Any]) -> Volume:
    """A tissue map of the MNI152 template on 2 mm voxels."""
    image = load(resolution=2)
    return Volume(np.clip(image.get_fdata(dtype=np.float32), 0, 1), image.affine)


def coarser(volume: Volume, size: float) -> Volume:
    """The map on voxels of `size` mm, with the probabilities rounded as they are stored."""
    low, high = volume.bounds()
    shape = np.ceil((high - low) / size).astype(int)
    affine = np.diag([size, size, size, 1.0])
    affine[:3, 3] = low + size / 2
    out = resample_to(volume, Volume(np.zeros(shape), affine))
    return out.with_data(np.round(out.data * LEVELS) / LEVELS)


def step(u: NDArray[np.float64], faces: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """One explicit step; `faces` holds the diffusivity of the inner faces of each axis over the squared voxel size."""
    change = PROLIFERATION * u * (1 - u)
    for axis, diffusivity in enumerate(faces):
        flux = diffusivity * np.diff(u, axis=axis)
        lower, upper = [slice(None)] * 3, [slice(None)] * 3
        lower[axis], upper[axis] = slice(None, -1), slice(1, None)
        change[tuple(lower)] += flux
        change[tuple(upper)] -= flux
    return u + STEP * change


def grow(white: Volume, grey: Volume) -> dict[str, Volume]:
    """The density at each scan, on the grid of the maps."""
    seed = np.array(SEED)
    corner = np.floor(white.voxel(np.array([seed - REACH, seed + REACH]))).astype(int)
    box = tuple(slice(max(a, 0), b) for a, b in zip(corner.min(axis=0), corner.max(axis=0), strict=True))
    tissue = white.data + grey.data > 0.5
    diffusivity = (DIFFUSION_WHITE * white.data + DIFFUSION_GREY * grey.data) * tissue
    faces = []
    for axis, size in enumerate(white.voxel_sizes):
        a, b = (
            np.moveaxis(diffusivity[box].astype(float), axis, 0)[part] for part in (slice(None, -1), slice(1, None))
        )
        mean = np.divide(2 * a * b, a + b, out=np.zeros_like(a), where=(a > 0) & (b > 0))
        faces.append(np.moveaxis(mean, 0, axis) / size**2)
    centres = white.world(np.argwhere(np.ones(white.shape, dtype=bool))).reshape(*white.shape, 3)
    u = 0.5 * np.exp(-((centres - seed) ** 2).sum(axis=-1) / 20)
    u = np.where((u >= 0.1) & tissue, u, 0.0)[box]
    densities = {}
    steps_before = 0
    for name, day in SCANS.items():
        steps = round((day - START) / STEP)
        for _ in range(steps - steps_before):
            u = step(u, faces)
        steps_before = steps
        density = np.zeros(white.shape)
        density[box] = u
        densities[name] = white.with_data(density)
    return densities


def main() -> None:
    """Write the case beside this file."""
    root = Path(__file__).parent / "sub-example01"
    (root / "anat").mkdir(parents=True, exist_ok=True)
    white, grey = template(load_mni152_wm_template), template(load_mni152_gm_template)
    grey = grey.with_data(np.minimum(grey.data, 1 - white.data))
    for name, tissue in (("WM", white), ("GM", grey)):
        write_volume(root / "anat" / f"sub-example01_label-{name}_probseg.nii.gz", coarser(tissue, 3.0), np.float32)
    for session, density in grow(white, grey).items():
        labels = np.select([density.data > rim for rim in (NECROSIS, CORE, OEDEMA)], [1, 3, 2])
        folder = root / session / "anat"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"sub-example01_{session}_desc-tumor_dseg.nii.gz"
        write_volume(path, density.with_data(labels), np.uint8)
    (root / "case.toml").write_text(CASE_TOML)
    (root / "truth.json").write_text(json.dumps(TRUTH, indent=1) + "\n")


if __name__ == "__main__":
    main()
