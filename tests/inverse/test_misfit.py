"""Observations of densities: values, slopes, integrals."""

import numpy as np
import pytest

from oncology.errors import ConfigError
from oncology.inverse.misfit import CellDensity, MaskObservation, Observation, TracerObservation, VertexDensity
from oncology.model.fractions import volume_fraction

RNG = np.random.default_rng(3)
CELLS = 40
OBSERVATIONS = {
    "mask": MaskObservation("whole", 0, 0.4, RNG.random(CELLS)),
    "tracer": TracerObservation(0, RNG.random(CELLS), RNG.random(CELLS)),
    "cells": CellDensity(0, RNG.random(CELLS)),
    "vertices": VertexDensity(0, RNG.random((CELLS, 4))),
}


@pytest.mark.parametrize("sharpness", [None, 10.0, 25.0])
def test_slopes_against_central_differences(sharpness):
    rng = np.random.default_rng(2)
    densities = rng.random((300, 4))
    observation = MaskObservation("whole", 0, 0.4, np.zeros(300))
    _, slope = observation.predict(densities, 0.4, sharpness)
    for vertex in range(4):
        step = np.zeros(4)
        step[vertex] = 1e-6
        plus, minus = (
            observation.predict(densities + step, 0.4, sharpness)[0],
            observation.predict(densities - step, 0.4, sharpness)[0],
        )
        np.testing.assert_allclose(slope[:, vertex], (plus - minus) / 2e-6, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("name", OBSERVATIONS)
@pytest.mark.parametrize("sharpness", [None, 10.0])
def test_slopes_and_level_of_what_is_seen_against_central_differences(name, sharpness):
    observation: Observation = OBSERVATIONS[name]
    densities = np.random.default_rng(4).random((CELLS, 4))
    seen = observation.compare(densities, 0.45, sharpness)
    assert seen.residual.shape == seen.slopes.shape[:2]

    def residual(shift: np.ndarray | float, level: float) -> np.ndarray:
        return observation.compare(densities + shift, level, sharpness).residual

    for vertex, step in enumerate(1e-6 * np.eye(4)):
        difference = (residual(step, 0.45) - residual(-step, 0.45)) / 2e-6
        np.testing.assert_allclose(seen.slopes[:, :, vertex], difference, rtol=2e-4, atol=1e-5)
    by_level = (residual(0.0, 0.45 + 1e-6) - residual(0.0, 0.45 - 1e-6)) / 2e-6
    np.testing.assert_allclose(0.0 if seen.by_level is None else seen.by_level, by_level, rtol=2e-4, atol=1e-5)


def test_regions_on_tetrahedra_take_the_exact_fraction():
    densities = np.random.default_rng(9).uniform(0.0, 1.0, (20, 4))
    fractions = np.random.default_rng(10).uniform(0.0, 1.0, 20)
    seen = MaskObservation("core", 0, 0.6, fractions).compare(densities, 0.6, None)
    exact, slopes = volume_fraction(densities, 0.6)
    assert seen.residual == pytest.approx((exact - fractions)[:, None])
    assert seen.slopes == pytest.approx(slopes[:, None, :])


def test_exact_fractions_are_for_tetrahedra_only():
    with pytest.raises(ConfigError, match="sharpness") as caught:
        MaskObservation("whole", 0, 0.4, np.zeros(2)).compare(np.zeros((2, 3)), 0.4, None)
    assert "\n" not in str(caught.value)
