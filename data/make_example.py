"""Grow the example patient `sub-example01` in the MNI152 brain and write it as a case folder.

Run `python data/make_example.py` to write the folder again; it takes a quarter of a minute. The growth is that of
`oncology.imaging.phantom`: explicit finite volumes, another discretisation than the finite elements that fit the case.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

from oncology.imaging import Volume, resample_to
from oncology.imaging.phantom import Phantom, grow_phantom, write_phantom_case

PHANTOM = Phantom(
    diffusion_white=0.20,
    diffusion_grey=0.02,
    proliferation=0.025,
    seed=(34.0, -20.0, 30.0),
    onset=-260.0,
    days=(0.0, 42.0),
)
LEVELS = 250  # steps of the stored probabilities


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


def main() -> None:
    """Write the case beside this file."""
    white, grey = template(load_mni152_wm_template), template(load_mni152_gm_template)
    grey = grey.with_data(np.minimum(grey.data, 1 - white.data))
    densities = grow_phantom(white, grey, PHANTOM)
    root = Path(__file__).parent / "sub-example01"
    stored = [coarser(tissue, 3.0) for tissue in (white, grey)]
    solver = "explicit finite volumes, 2 mm voxels, steps of 0.5 day (oncology.imaging.phantom)"
    write_phantom_case(root, "example01", *stored, PHANTOM, densities, solver)


if __name__ == "__main__":
    main()
