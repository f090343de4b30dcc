"""Whole fits on voxels: cases of other solvers come back to the tolerances of the finite elements."""

import json
import math

import numpy as np
import pytest

from oncology.imaging import Case
from oncology.inverse.estimate import combinations, parameter_quantities
from oncology.inverse.fit import FitSettings, fit_case
from oncology.voxel.patient import VoxelEngines


def overlaps(fit):
    """Overlap of cell fractions and scanned volume in mL, by session and region."""
    space = fit.level.space
    for observation in fit.level.masks:
        corners = space.to_cells(fit.course.run.densities[observation.index])
        model = observation.predict(corners, observation.level, None)[0]
        both = 2.0 * space.volumes @ np.minimum(model, observation.fractions)
        mask = space.volumes @ observation.fractions
        yield (observation.index, observation.region), both / (space.volumes @ model + mask), mask / 1000.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "engines"),
    [
        ("example01", VoxelEngines()),
        ("peer01", VoxelEngines()),
        ("peer01", VoxelEngines(precision="single")),
        ("peer02", VoxelEngines()),
    ],
)
def test_parameters_of_another_solver_come_back(case_folder, name, engines):
    root = case_folder(name)
    truth = json.loads((root / "truth.json").read_text())
    fit = fit_case(engines, Case.read(root), FitSettings())
    found = parameter_quantities(fit.unknowns, fit.posterior)
    assert fit.identified.converged
    for parameter, limit in {"diffusion_white": 0.08, "proliferation": 0.05}.items():
        quantity, true = found[parameter], truth[parameter]
        assert abs(quantity.value / true - 1.0) < limit, quantity
        assert quantity.identified, parameter
        low, high = quantity.interval
        assert low < true < high, quantity
    speed = 2.0 * math.sqrt(truth["diffusion_white"] * truth["proliferation"])
    joined = combinations(fit.unknowns, fit.posterior)
    assert abs(joined["front_speed"].value / speed - 1.0) < 0.05
    assert np.linalg.norm(np.array(fit.tumour.seed) - truth["seed_mm"]) < 1.5
    for compartment, dice, volume in overlaps(fit):
        assert dice >= 0.93 or volume < 10.0, compartment
    lowest, highest = fit.course.run.extremes
    assert -1e-3 < lowest < highest < 1.0 + 1e-3
