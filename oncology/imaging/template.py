"""Tissue maps of the MNI152 brain (ICBM 2009, Fonov et al. 2011), which nilearn carries."""

from __future__ import annotations

import numpy as np

from oncology.imaging.volume import Volume

__all__ = ["mni152_tissue"]


def mni152_tissue() -> tuple[Volume, Volume]:
    """Return the probabilities of white and of grey matter on 1 mm voxels; their sum is at most one."""
    from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

    images = [load(resolution=1) for load in (load_mni152_wm_template, load_mni152_gm_template)]
    white, grey = (Volume(np.clip(i.get_fdata(dtype=np.float32), 0.0, 1.0), i.affine) for i in images)
    return white, grey.with_data(np.minimum(grey.data, 1.0 - white.data))
