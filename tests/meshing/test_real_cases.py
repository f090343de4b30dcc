"""Brains of patients and of the repository's example: quality and tissue volumes of the meshes that a fit uses."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from oncology.imaging.volume import read_volume
from oncology.meshing import Grading, build_mesh

CASES = ["example01", "peer01", "peer02", "gliomasolver", "gliodil001"]
BRAINS = ["peer01", "gliomasolver", "gliodil001"]  # peer02 has the brain of peer01
MARGIN = 25.0  # mm around the tumour


@lru_cache(maxsize=1)
def maps_of(folder: Path):
    anat, name = folder / "anat", folder.name
    return tuple(read_volume(anat / f"{name}_label-{tissue}_probseg.nii.gz") for tissue in ("WM", "GM"))


def tumour_of(folder: Path):
    """RAS mm of the tumour voxels of the last session."""
    path = sorted(folder.glob("ses-0*/anat/*_desc-tumor_dseg.nii.gz"))[-1]
    volume = read_volume(path, dtype=None)
    return volume.world(np.argwhere(volume.data > 0))


def check(report):
    assert report.smallest_angle >= 12.0
    assert report.smallest_cell > 0
    assert (report.components, report.overfull_faces, report.folded_faces, report.open_edges) == (1, 0, 0, 0)
    assert abs(report.volume_error) < 0.01
    assert abs(report.white_volume_error) < 0.05
    assert max(report.fluid_inside, report.brain_outside) < 0.002  # noise of sampling


@pytest.mark.slow
@pytest.mark.parametrize(("route", "size", "difference"), [("stuffing", 2.5, 0.07), ("lattice", 4.0, 0.13)])
@pytest.mark.parametrize("case", ["example01", *BRAINS])
def test_whole_brain(case_folder, case, route, size, difference):
    _, report = build_mesh(*maps_of(case_folder(case)), size, route)
    check(report)
    assert report.symmetric_difference < difference
    if size <= 2.5:
        assert abs(report.grey_volume_error) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("route", ["stuffing", "lattice"])
@pytest.mark.parametrize("case", BRAINS)
def test_coarse_whole_brain(case_folder, case, route):
    _, report = build_mesh(*maps_of(case_folder(case)), 6.0, route)
    check(report)
    assert report.symmetric_difference < 0.18  # walls of grey matter thinner than half a cell


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_graded_around_the_tumour_and_cropped(case_folder, case):
    white, grey = maps_of(case_folder(case))
    tumour = tumour_of(case_folder(case))
    centre = tumour.mean(axis=0)
    grading = Grading(centre, float(np.linalg.norm(tumour - centre, axis=1).max()), far_size=4.0)
    box = (tumour.min(axis=0) - MARGIN, tumour.max(axis=0) + MARGIN)
    mesh, report = build_mesh(white, grey, 2.5, grading=grading, box=box)
    check(report)
    assert ((mesh.points > box[0] - 2.5) & (mesh.points < box[1] + 2.5)).all()


@pytest.mark.slow
def test_graded_whole_brain(shared_cases):
    white, grey = maps_of(shared_cases / "sub-gliodil001")
    centre = tumour_of(shared_cases / "sub-gliodil001").mean(axis=0)
    _, report = build_mesh(white, grey, 1.5, grading=Grading(centre, 15.0, far_size=4.0))
    check(report)
